//! What root remembers so that an archive which is in the store already need not be unpacked, or even read, again.
//!
//! ```text
//! known/size-BYTES      lines "KEY DEV INO CTIME": stored archives of this length, as they were when stored
//! known/path-DIGEST     one line "DEV INO SIZE MTIME CTIME KEY": a file that was imported, as it was then
//! ```
//! Only root may look into `known`, so nobody else can make root believe something here. A file that is the same
//! in all of these was not changed in between: its change time cannot be set.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags, Stat};
use std::os::unix::ffi::OsStrExt;

use super::{Image, Locked, Store, StoreError, digest, files};

/// Lines of one file, at most.
const LINES: usize = 32;
/// Bytes of one file, at most.
const LIMIT: usize = 16 << 10;

impl Store {
    /// The complete stored image whose archive has exactly the content of `file`.
    pub(super) fn same_archive(&self, file: &File, stat: &Stat) -> Result<Option<Image>, StoreError> {
        let name = size_name(stat);
        let read = files::read(self.cas.as_fd(), &name, LIMIT)
            .map_err(|error| StoreError::file("read", name, error))?;
        let Some(lines) = read.and_then(|(text, _)| String::from_utf8(text).ok()) else { return Ok(None) };
        for line in lines.lines() {
            let Some((key, identity)) = line.split_once(' ') else { continue };
            let Some(image) = self.image(key)?.filter(|image| image.trusted) else { continue };
            let Some(blob) = self.open_blob(key) else { continue };
            let known = rustix::fs::fstat(&blob).is_ok_and(|stat| blob_identity(&stat) == identity);
            if known && self.is_complete(&image)? && is_same(file, &blob).unwrap_or(false) {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// Remembers the archive of `image`, which just moved to its place.
    pub(super) fn know_archive(&self, _: &Locked, image: &Image) -> Result<(), StoreError> {
        let Some(stat) = self.open_blob(image.key()).and_then(|blob| rustix::fs::fstat(&blob).ok()) else {
            return Ok(());
        };
        let name = size_name(&stat);
        let failed = |error| StoreError::file("write", &*name, error);
        let old = files::read(self.cas.as_fd(), &name, LIMIT).map_err(failed)?.map(|(text, _)| text);
        let old = String::from_utf8(old.unwrap_or_default()).unwrap_or_default();
        let mut text = format!("{} {}\n", image.key(), blob_identity(&stat));
        for line in old.lines().filter(|line| !line.starts_with(image.key())).take(LINES - 1) {
            text.push_str(line);
            text.push('\n');
        }
        files::replace(self.cas.as_fd(), &name, text.as_bytes()).map_err(failed)
    }

    /// Forgets the archive of `image`.
    pub(super) fn forget_archive(&self, _: &Locked, image: &Image) -> rustix::io::Result<()> {
        let name = format!("known/size-{}", image.archive_size());
        let Some((text, _)) = files::read(self.cas.as_fd(), &name, LIMIT)? else { return Ok(()) };
        let text = String::from_utf8(text).unwrap_or_default();
        let kept: String = text
            .lines()
            .filter(|line| !line.starts_with(image.key()))
            .flat_map(|line| [line, "\n"])
            .collect();
        if kept.is_empty() {
            return files::remove(self.cas.as_fd(), &name);
        }
        files::replace(self.cas.as_fd(), &name, kept.as_bytes())
    }

    /// The complete stored image that was imported from the file at `path`, if that is still as it was.
    pub(super) fn remembered(&self, path: &Path, stat: &Stat) -> Result<Option<Image>, StoreError> {
        let name = path_name(path);
        let read = files::read(self.cas.as_fd(), &name, LIMIT)
            .map_err(|error| StoreError::file("read", name, error))?;
        let text = read.and_then(|(text, _)| String::from_utf8(text).ok());
        let Some(key) = text.as_ref().and_then(|text| text.trim_end().strip_prefix(&source_identity(stat)))
        else {
            return Ok(None);
        };
        match self.image(key)?.filter(|image| image.trusted) {
            Some(image) if self.is_complete(&image)? => Ok(Some(image)),
            _ => Ok(None),
        }
    }

    /// Remembers that `image` came from the file at `path`, which was as `before` when it was opened. Not when it
    /// changed just before or since: times are not fine enough to tell.
    pub(super) fn remember(&self, path: &Path, file: &File, before: &Stat, image: &Image) {
        let settled = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .is_ok_and(|now| i64::try_from(now.as_secs()).is_ok_and(|now| now - before.st_ctime >= 2));
        let unchanged =
            rustix::fs::fstat(file).is_ok_and(|now| source_identity(&now) == source_identity(before));
        if settled && unchanged {
            let text = format!("{}{}\n", source_identity(before), image.key());
            // A full disk costs time only.
            let _ = files::replace(self.cas.as_fd(), &path_name(path), text.as_bytes());
        }
    }

    pub(super) fn open_blob(&self, key: &str) -> Option<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let blob = rustix::fs::openat(&self.cas, format!("blob/{key}"), flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&blob).ok()?;
        let regular = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        regular.then(|| File::from(blob))
    }
}

fn size_name(stat: &Stat) -> String {
    format!("known/size-{}", stat.st_size)
}

fn path_name(path: &Path) -> String {
    format!("known/path-{}", digest(&[path.as_os_str().as_bytes()]))
}

fn blob_identity(stat: &Stat) -> String {
    format!("{} {} {}.{}", stat.st_dev, stat.st_ino, stat.st_ctime, stat.st_ctime_nsec)
}

fn source_identity(stat: &Stat) -> String {
    format!(
        "{} {} {} {}.{} {}.{} ",
        stat.st_dev,
        stat.st_ino,
        stat.st_size,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec
    )
}

/// Compares two files from their beginning.
fn is_same(a: &File, b: &File) -> io::Result<bool> {
    let mut buffers = [vec![0; 256 << 10], vec![0; 256 << 10]];
    let mut offset = 0;
    loop {
        let [left, right] = &mut buffers;
        let count = a.read_at(left, offset)?;
        if count == 0 {
            return Ok(b.read_at(&mut right[..1], offset)? == 0);
        }
        if b.read_exact_at(&mut right[..count], offset).is_err() || left[..count] != right[..count] {
            return Ok(false);
        }
        offset += count as u64;
    }
}
