//! Puts the entries of a hostile archive into a directory.
//!
//! All work is done through handles of directories below one root: names are single components, created with
//! `O_EXCL` and never opened through a symbolic link, and a path that leads through symbolic links of the
//! archive itself is resolved by the kernel as if the root were `/` ([`sys::path`]). So nothing outside the root
//! is ever opened, made, linked or changed, whatever the archive says and in whatever order.
//!
//! * A later entry replaces an earlier one of the same path; only a directory over a directory is kept.
//! * Parents that the archive does not have are made: mode 0755, ours, time 0.
//! * Hard links may stand before the file they link to.
//! * Of extended attributes only `user.*` and `security.capability` are kept, and of `user.*` nothing of
//!   overlayfs. Those of symbolic links, devices and pipes are dropped: Linux has no place for them.
//! * Access times are set to the modification time, so that the same archive gives the same tree.

mod levels;
mod marks;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use sys::path::{open_beneath, open_in_root};

use crate::archive::{ArchiveError, Entry, Feed, Kind, Problem, Region, Time, Walker, quoted};
use crate::limits::{Limit, Limits};
use crate::remove::remove_tree;
use levels::{Levels, is_whiteout, timestamps};
pub use marks::Marks;
pub(crate) use marks::OPAQUE;

/// Hard links that may wait for their targets, and how often the waiting ones are tried.
const EARLY_LINKS: usize = 100_000;
const EARLY_ROUNDS: usize = 16;

/// Puts entries into a directory.
#[derive(Debug)]
pub struct Unpacker {
    levels: Levels,
    /// Whose the files are when nobody changes it.
    we: (u32, u32),
    umask_cleared: bool,
    early: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether there are any.
    whiteouts: bool,
    done: Unpacked,
}

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes written to files; holes do not count.
    pub bytes: u64,
    /// Extended attributes that were dropped.
    pub dropped_xattrs: u64,
    /// Directories that say something about the layers below.
    pub marks: Marks,
}

impl Unpacker {
    /// Starts in the empty directory `root`. When the process has umask 0, say so: it saves calls.
    pub fn new(root: OwnedFd, limits: &Limits, umask_cleared: bool) -> Result<Self, ArchiveError> {
        Ok(Unpacker {
            levels: Levels::new(root, limits)?,
            we: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            umask_cleared,
            early: Vec::new(),
            whiteouts: false,
            done: Unpacked::default(),
        })
    }

    /// Puts `entry` at `path`: components joined by `/`, none of them `.` or `..`; empty for the root. A hard
    /// link's target is such a path too. The content comes from `walker`.
    pub fn put<F: Feed>(
        &mut self,
        entry: &Entry,
        path: &[u8],
        walker: &mut Walker<F>,
    ) -> Result<(), ArchiveError> {
        if path.is_empty() {
            self.levels.enter(b"")?;
            let root = rustix::io::fcntl_dupfd_cloexec(self.levels.root(), 0)
                .map_err(|e| failed("open", path, e))?;
            set_owner_and_mode(root.as_fd(), entry, true)?;
            self.set_xattrs(root.as_fd(), entry)?;
            self.levels.set_root_time(entry.mtime);
            self.levels.marks.implicit.remove(&b""[..]);
            return Ok(());
        }
        let (parent, name) = split(path);
        self.levels.enter(parent)?;
        match &entry.kind {
            Kind::Directory => self.directory(entry, path, name),
            Kind::File => {
                let file = self.create(entry, name)?;
                self.write(&file, path, walker)?;
                self.close(&file, entry)
            }
            Kind::Sparse { length, regions } => {
                let file = self.create(entry, name)?;
                rustix::fs::ftruncate(&file, *length)
                    .map_err(|error| failed("set the length of", path, error))?;
                for region in regions {
                    self.write_region(&file, *region, path, walker)?;
                }
                self.close(&file, entry)
            }
            Kind::Symlink(target) => {
                self.replacing(entry, name, |dir| rustix::fs::symlinkat(&target[..], dir, name))?;
                self.finish_node(entry, name, false)
            }
            Kind::HardLink(target) => {
                if !self.link(target, path, name)? {
                    self.defer(path, target)?;
                }
                Ok(())
            }
            Kind::CharDevice { major, minor } => {
                self.node(entry, name, FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))
            }
            Kind::BlockDevice { major, minor } => {
                self.node(entry, name, FileType::BlockDevice, rustix::fs::makedev(*major, *minor))
            }
            Kind::Fifo => self.node(entry, name, FileType::Fifo, 0),
        }
    }

    /// Takes away what the layers below have at `path`. What this layer has there itself stays, whichever came first.
    pub fn white_out(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        let (parent, name) = split(path);
        self.levels.enter(parent)?;
        if is_directory(self.here(), name) {
            return self.levels.marks.add_opaque(path);
        }
        if exists(self.here(), name) {
            return Ok(());
        }
        self.whiteouts = true;
        let here = self.here();
        rustix::fs::mknodat(here, name, FileType::CharacterDevice, Mode::empty(), 0)
            .and_then(|()| {
                let time = timestamps(Time::default());
                rustix::fs::utimensat(here, name, &time, AtFlags::SYMLINK_NOFOLLOW)
            })
            .map_err(|error| failed("white out", path, error))
    }

    /// Takes away what the layers below have in the directory `path`. The caller marks it: that takes rights that a
    /// process which reads archives should not have.
    pub fn make_opaque(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        self.levels.enter(path)?;
        self.levels.marks.add_opaque(path)
    }

    /// Makes the hard links that waited and gives the last directories their times.
    pub fn finish(mut self) -> Result<Unpacked, ArchiveError> {
        for _ in 0..EARLY_ROUNDS {
            let waiting = std::mem::take(&mut self.early);
            if waiting.is_empty() {
                break;
            }
            let before = waiting.len();
            for (path, target) in waiting {
                let (parent, name) = split(&path);
                self.levels.enter(parent)?;
                // What came later at the same path has won.
                if exists(self.here(), name) || self.link(&target, &path, name)? {
                    continue;
                }
                self.early.push((path, target));
            }
            if self.early.len() == before {
                break;
            }
        }
        if let Some((path, target)) = self.early.first() {
            return Err(ArchiveError::entry(path, Problem::LinkMissing(quoted(target))));
        }
        self.done.marks = self.levels.finish()?;
        Ok(self.done)
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.levels.current().dir.as_fd()
    }

    /// Whether what is made here has to change hands to be `entry`'s.
    fn is_foreign(&self, entry: &Entry) -> bool {
        (entry.uid, entry.gid) != self.we || self.levels.current().inherits_group
    }

    /// The mode to make something with, and whether it has to be changed afterwards.
    fn first_mode(&self, entry: &Entry) -> (Mode, bool) {
        let change = !self.umask_cleared || entry.mode & 0o6000 != 0 || self.is_foreign(entry);
        (Mode::from_raw_mode(if change { 0o600 } else { entry.mode }), change)
    }

    /// Makes something at `name` in the current directory; what stands there already goes.
    fn replacing<T>(
        &self,
        entry: &Entry,
        name: &[u8],
        make: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Result<T, ArchiveError> {
        let made = match make(self.here()) {
            Err(Errno::EXIST) => remove_tree(self.here(), name).and_then(|()| make(self.here())),
            made => made,
        };
        made.map_err(|error| failed("create", &entry.path, error))
    }

    fn directory(&mut self, entry: &Entry, path: &[u8], name: &[u8]) -> Result<(), ArchiveError> {
        let open = |at: BorrowedFd<'_>| {
            open_beneath(at, bytes_as_path(name), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
        };
        if self.whiteouts && is_whiteout(self.here(), name) {
            self.levels.marks.add_opaque(path)?;
        }
        let (_, change) = self.first_mode(entry);
        let first = Mode::from_raw_mode(if change { 0o700 } else { entry.mode });
        let (dir, fresh) = self.replacing(entry, name, |at| match rustix::fs::mkdirat(at, name, first) {
            Err(Errno::EXIST) => match open(at) {
                Err(Errno::LOOP | Errno::NOTDIR) => Err(Errno::EXIST),
                opened => opened.map(|dir| (dir, false)),
            },
            made => made.and_then(|()| open(at)).map(|dir| (dir, true)),
        })?;
        if !fresh {
            self.levels.marks.implicit.remove(path);
        }
        if change || !fresh {
            set_owner_and_mode(dir.as_fd(), entry, !fresh || self.is_foreign(entry))?;
        }
        self.set_xattrs(dir.as_fd(), entry)?;
        self.levels.descend(name, dir, entry.mtime, entry.mode & 0o2000 != 0)
    }

    fn create(&self, entry: &Entry, name: &[u8]) -> Result<OwnedFd, ArchiveError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (mode, _) = self.first_mode(entry);
        self.replacing(entry, name, |dir| rustix::fs::openat(dir, name, flags, mode))
    }

    fn write<F: Feed>(
        &mut self,
        file: &OwnedFd,
        path: &[u8],
        walker: &mut Walker<F>,
    ) -> Result<(), ArchiveError> {
        loop {
            let content = walker.content()?;
            if content.is_empty() {
                return Ok(());
            }
            let written = match rustix::io::write(file, content) {
                Err(Errno::INTR) => 0,
                written => written.map_err(|error| failed("write", path, error))?,
            };
            self.done.bytes += written as u64;
            walker.consume_content(written);
        }
    }

    fn write_region<F: Feed>(
        &mut self,
        file: &OwnedFd,
        region: Region,
        path: &[u8],
        walker: &mut Walker<F>,
    ) -> Result<(), ArchiveError> {
        let Region { mut offset, length } = region;
        let end = offset + length;
        while offset < end {
            let content = walker.content()?;
            let count = usize::try_from(end - offset).unwrap_or(usize::MAX).min(content.len());
            let written = match rustix::io::pwrite(file, &content[..count], offset) {
                Err(Errno::INTR) => 0,
                written => written.map_err(|error| failed("write", path, error))?,
            };
            offset += written as u64;
            self.done.bytes += written as u64;
            walker.consume_content(written);
        }
        Ok(())
    }

    /// Gives a new regular file all but its content.
    fn close(&mut self, file: &OwnedFd, entry: &Entry) -> Result<(), ArchiveError> {
        let (_, change) = self.first_mode(entry);
        if change {
            set_owner_and_mode(file.as_fd(), entry, self.is_foreign(entry))?;
        }
        self.set_xattrs(file.as_fd(), entry)?;
        rustix::fs::futimens(file, &timestamps(entry.mtime))
            .map_err(|error| failed("set the time of", &entry.path, error))
    }

    fn set_xattrs(&mut self, file: BorrowedFd<'_>, entry: &Entry) -> Result<(), ArchiveError> {
        for (name, value) in &entry.xattrs {
            if !is_kept_xattr(name) {
                self.done.dropped_xattrs += 1;
                continue;
            }
            match rustix::fs::fsetxattr(file, &name[..], value, XattrFlags::empty()) {
                Ok(()) => {}
                // A file system without them; a program that lost its capabilities would not work, though.
                Err(Errno::OPNOTSUPP) if name.starts_with(b"user.") => self.done.dropped_xattrs += 1,
                Err(error) => return Err(failed("set an extended attribute of", &entry.path, error)),
            }
        }
        Ok(())
    }

    fn node(&mut self, entry: &Entry, name: &[u8], kind: FileType, device: u64) -> Result<(), ArchiveError> {
        self.replacing(entry, name, |dir| {
            rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(0o600), device)
        })?;
        self.finish_node(entry, name, true)
    }

    /// Gives something new that cannot be opened its owner, mode and time.
    fn finish_node(&mut self, entry: &Entry, name: &[u8], mode: bool) -> Result<(), ArchiveError> {
        self.done.dropped_xattrs += entry.xattrs.len() as u64;
        let dir = self.here();
        if self.is_foreign(entry) {
            let (user, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(dir, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| failed("change the owner of", &entry.path, error))?;
        }
        if mode {
            // It is the node that was just made: no symbolic link, and nobody else works in this directory.
            rustix::fs::chmodat(dir, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(|error| failed("change the mode of", &entry.path, error))?;
        }
        rustix::fs::utimensat(dir, name, &timestamps(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed("set the time of", &entry.path, error))
    }

    /// Links `name` in the current directory to `target`; false when there is no such file (yet).
    fn link(&self, target: &[u8], path: &[u8], name: &[u8]) -> Result<bool, ArchiveError> {
        let (target_parent, target_name) = split(target);
        let here = self.here();
        let elsewhere;
        let from = if !self.levels.in_alias() && target_parent == split(path).0 {
            here
        } else {
            let parent = if target_parent.is_empty() { Path::new(".") } else { bytes_as_path(target_parent) };
            match open_in_root(self.levels.root(), parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
                Ok(dir) => elsewhere = dir,
                Err(Errno::NOENT) => return Ok(false),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(ArchiveError::entry(path, Problem::LinkMissing(quoted(target))));
                }
                Err(error) => return Err(failed("open", target, error)),
            }
            elsewhere.as_fd()
        };
        let link = || rustix::fs::linkat(from, target_name, here, name, AtFlags::empty());
        let linked = match link() {
            Err(Errno::EXIST) if is_same(from, target_name, here, name) => Ok(()),
            Err(Errno::EXIST) => remove_tree(here, name).and_then(|()| link()),
            linked => linked,
        };
        match linked {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(Errno::PERM) if is_directory(from, target_name) => {
                Err(ArchiveError::entry(path, Problem::LinkToDirectory(quoted(target))))
            }
            Err(error) => Err(failed("link", path, error)),
        }
    }

    fn defer(&mut self, path: &[u8], target: &[u8]) -> Result<(), ArchiveError> {
        if self.early.len() >= EARLY_LINKS {
            return Err(ArchiveError::limit(Limit::EarlyLinks, EARLY_LINKS as u64, Some(path)));
        }
        remove_tree(self.here(), split(path).1).map_err(|error| failed("remove", path, error))?;
        self.early.push((path.to_vec(), target.to_vec()));
        Ok(())
    }
}

/// A change of owner takes set-uid bits and capabilities away, so the mode comes after it, attributes last.
fn set_owner_and_mode(file: BorrowedFd<'_>, entry: &Entry, owner: bool) -> Result<(), ArchiveError> {
    if owner {
        let (user, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        rustix::fs::fchown(file, Some(user), Some(group))
            .map_err(|error| failed("change the owner of", &entry.path, error))?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))
        .map_err(|error| failed("change the mode of", &entry.path, error))
}

fn failed(doing: &str, path: &[u8], error: Errno) -> ArchiveError {
    ArchiveError::system(doing, path, error)
}

/// Whether an extended attribute of an archive is taken over.
fn is_kept_xattr(name: &[u8]) -> bool {
    name == b"security.capability" || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn bytes_as_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

fn exists(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn is_directory(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn is_same(a: BorrowedFd<'_>, a_name: &[u8], b: BorrowedFd<'_>, b_name: &[u8]) -> bool {
    let identity = |dir, name: &[u8]| {
        rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino)).ok()
    };
    let a = identity(a, a_name);
    a.is_some() && a == identity(b, b_name)
}

#[cfg(test)]
mod tests;
