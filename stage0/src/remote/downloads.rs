//! Unfinished downloads, and what is known of finished ones.
//!
//! ```text
//! $dir/tmp/download/          root's                      0700
//! $dir/cas/tmp/download-UID/  anybody else's              0700
//! ├── NAME.part               the first part of a body; locked by who works on it
//! ├── NAME.part.json          what it is known by
//! └── NAME.json               what came of the last fetch: image, freshness, whether it was verified
//! ```
//! NAME is 64 digits of the SHA-512 of the URL, or the digest of a blob. Each user has a directory of his own, because what is
//! written here is believed later: nobody believes another's.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use transport::digest::{Algorithm, Hasher};
use transport::{Digest, Validators};

use crate::context::Context;

/// Bytes of one of the small files, at most.
const LIMIT: u64 = 64 << 10;
/// After this time nobody goes on with a part any more, in seconds.
const STALE: i64 = 7 * 24 * 3600;

/// A user's downloads.
#[derive(Debug)]
pub(crate) struct Downloads {
    dir: OwnedFd,
}

/// What came of the last fetch of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The URL in full, or the name of an image of a registry.
    pub(crate) source: String,
    /// The image in the store.
    pub(crate) key: String,
    /// What the server knows this version by.
    pub(crate) validators: Validators,
    /// For how many seconds it is fresh.
    pub(crate) max_age: Option<u64>,
    /// When it was fetched or confirmed, in seconds since 1970.
    pub(crate) fetched: u64,
    /// Whether its signature was checked.
    pub(crate) verified: bool,
}

impl Record {
    /// Whether the server need not be asked at the time `now`, in seconds since 1970.
    pub(crate) fn is_fresh(&self, now: u64) -> bool {
        self.max_age.is_some_and(|age| now >= self.fetched && now - self.fetched < age)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Downloads {
    /// This user's.
    pub(crate) fn open(context: &Context) -> Result<Self> {
        let user = rustix::process::geteuid();
        let data = context.data_dir()?;
        let path = if user.is_root() {
            data.join("tmp/download")
        } else {
            data.join(format!("cas/tmp/download-{}", user.as_raw()))
        };
        let failed = || format!("cannot use {} for downloads", path.display());
        if user.is_root() {
            std::fs::create_dir_all(data.join("tmp")).with_context(failed)?;
        }
        match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(failed),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&path, flags, Mode::empty()).with_context(failed)?;
        let stat = rustix::fs::fstat(&dir).with_context(failed)?;
        let is_ours = stat.st_uid == user.as_raw();
        ensure!(is_ours, "cannot use {} for downloads: it belongs to another user", path.display());
        // A directory inherits the group, and the bit that hands it on.
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o700)).with_context(failed)?;
        let downloads = Self { dir };
        downloads.forget_stale();
        Ok(downloads)
    }

    /// What is known of `source`.
    pub(crate) fn record(&self, source: &str) -> Option<Record> {
        self.read::<Record>(&format!("{}.json", name(source))).filter(|record| record.source == source)
    }

    /// Notes what came of a fetch.
    pub(crate) fn remember(&self, record: &Record) -> Result<()> {
        self.write(&format!("{}.json", name(&record.source)), record)
    }

    /// The part of `source`, for this process alone; waits while another one works on it.
    pub(crate) fn part(&self, source: &str) -> Result<Part> {
        self.part_called(&name(source))
    }

    /// The part of the blob with this digest.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<Part> {
        self.part_called(&digest.to_string().replace(':', "-"))
    }

    fn part_called(&self, name: &str) -> Result<Part> {
        let path = format!("{name}.part");
        let failed = || format!("cannot open the unfinished download {path}");
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&self.dir, &path, flags, Mode::from_raw_mode(0o600));
            let file = file.with_context(failed)?;
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => continue,
                locked => locked.with_context(failed)?,
            }
            // Who had it before may have finished with it.
            if rustix::fs::fstat(&file).with_context(failed)?.st_nlink > 0 {
                let dir = self.dir.try_clone().with_context(failed)?;
                let downloads = Downloads { dir };
                return Ok(Part { downloads, name: name.to_owned(), file: File::from(file) });
            }
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty()).ok()?;
        let mut text = Vec::new();
        File::from(file).take(LIMIT).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes a small file, whole or not at all.
    fn write(&self, name: &str, content: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(content)?;
        let temporary = format!(".{name}.{}", rustix::process::getpid().as_raw_nonzero());
        let write = || -> std::io::Result<()> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&self.dir, &temporary, flags, Mode::from_raw_mode(0o600))?;
            File::from(file).write_all(&text)?;
            Ok(rustix::fs::renameat(&self.dir, &temporary, &self.dir, name)?)
        };
        write().with_context(|| format!("cannot write {name} of the downloads"))
    }

    fn remove(&self, name: &str) {
        // What stays is found stale one day.
        let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
    }

    /// Removes parts that nobody went on with.
    fn forget_stale(&self) {
        let Ok(entries) = rustix::fs::Dir::read_from(&self.dir) else { return };
        let limit = i64::try_from(now()).unwrap_or(i64::MAX) - STALE;
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().to_str() else { continue };
            let stat = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW);
            let is_part = name.contains(".part") || name.starts_with('.');
            if is_part && name != "." && name != ".." && stat.is_ok_and(|stat| stat.st_mtime < limit) {
                self.remove(name);
            }
        }
    }
}

/// An unfinished download. It stays when this value is dropped.
#[derive(Debug)]
pub(crate) struct Part {
    downloads: Downloads,
    name: String,
    file: File,
}

impl Part {
    /// The file, readable and writable.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The file once more, read from its beginning.
    pub(crate) fn reopen(&self) -> Result<File> {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        File::open(&path).with_context(|| format!("cannot open the download {} again", self.name))
    }

    /// What it is known by. `None` when nothing can be gone on with.
    pub(crate) fn validators(&self) -> Option<Validators> {
        self.downloads.read(&self.known())
    }

    /// Notes what it is known by.
    pub(crate) fn note(&self, validators: &Validators) -> Result<()> {
        self.downloads.write(&self.known(), validators)
    }

    /// Removes it.
    pub(crate) fn discard(self) {
        self.downloads.remove(&self.known());
        self.downloads.remove(&format!("{}.part", self.name));
    }

    fn known(&self) -> String {
        format!("{}.part.json", self.name)
    }
}

impl AsFd for Part {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// What the files of `source` are called.
fn name(source: &str) -> String {
    Hasher::hash(Algorithm::Sha512, source.as_bytes()).hex()[..64].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn downloads(path: &std::path::Path) -> Downloads {
        Downloads { dir: sys::path::open_directory(path).unwrap() }
    }

    #[test]
    fn parts_are_gone_on_with_and_go_away() {
        let dir = tempfile::tempdir().unwrap();
        let downloads = downloads(dir.path());
        let url = "https://example.com/a.aci";
        let part = downloads.part(url).unwrap();
        assert_eq!(part.validators(), None);
        let known = Validators { etag: Some("\"1\"".to_owned()), last_modified: None };
        part.file().write_all(b"first").unwrap();
        part.note(&known).unwrap();
        drop(part);
        let part = downloads.part(url).unwrap();
        assert_eq!(part.validators(), Some(known));
        assert_eq!(part.file().metadata().unwrap().len(), 5);
        part.discard();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_at_a_time_works_on_a_part() {
        let dir = tempfile::tempdir().unwrap();
        let part = downloads(dir.path()).part("x").unwrap();
        let other = downloads(dir.path());
        let waits = std::thread::spawn(move || {
            let part = other.part("x").unwrap();
            part.file().metadata().unwrap().len()
        });
        part.file().write_all(b"complete").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        part.discard();
        // It does not get the file that is gone.
        assert_eq!(waits.join().unwrap(), 0);
    }

    #[test]
    fn records_are_believed_for_their_source_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let downloads = downloads(dir.path());
        let record = |max_age| Record {
            source: "https://example.com/a.aci".to_owned(),
            key: "sha512-0".to_owned(),
            validators: Validators::default(),
            max_age,
            fetched: 1000,
            verified: true,
        };
        downloads.remember(&record(Some(60))).unwrap();
        assert_eq!(downloads.record("https://example.com/a.aci"), Some(record(Some(60))));
        assert_eq!(downloads.record("https://example.com/b.aci"), None);
        for (max_age, now, fresh) in [
            (Some(60), 1000, true),
            (Some(60), 1059, true),
            (Some(60), 1060, false),
            (Some(60), 999, false),
            (Some(0), 1000, false),
            (None, 1000, false),
        ] {
            assert_eq!(record(max_age).is_fresh(now), fresh, "{max_age:?} {now}");
        }
        std::fs::write(dir.path().join(format!("{}.json", name("c"))), "{").unwrap();
        assert_eq!(downloads.record("c"), None);
    }
}
