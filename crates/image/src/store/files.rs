//! Small files of the store: read with suspicion, replaced in one step.
//!
//! Nothing is synced here. A file that a power cut left empty or full of zeros cannot be parsed and counts as
//! absent; see the module documentation of [`super`] for how everything else is proven whole.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

/// How names begin of what is being made and not in its place yet.
pub(super) const NEW: &str = ".new-";
/// Writing a small file takes no longer.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// Mode of files in the store: the group `rkt` may read.
pub(super) const FILE: Mode = Mode::from_raw_mode(0o640);

/// Reads a regular file of at most `limit` bytes; `None` when there is none. Other users of the group may have put
/// anything there: a pipe, a link, a device.
pub(super) fn read(
    dir: BorrowedFd<'_>,
    name: &str,
    limit: usize,
) -> rustix::io::Result<Option<(Vec<u8>, Stat)>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
        opened => opened?,
    };
    let stat = rustix::fs::fstat(&file)?;
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || size > limit {
        return Ok(None);
    }
    let mut content = Vec::with_capacity(size + 1);
    File::from(file)
        .take(limit as u64)
        .read_to_end(&mut content)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(Some((content, stat)))
}

/// Puts `content` in the place of what stands at `name`, whole or not at all. `name` may have one slash.
pub(super) fn replace(dir: BorrowedFd<'_>, name: &str, content: &[u8]) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (parent, last) = name.rsplit_once('/').unwrap_or((".", name));
    let temporary = format!("{parent}/{NEW}{last}-{}", unique());
    let file = rustix::fs::openat(dir, &temporary, flags, FILE)?;
    let written = rustix::fs::fchmod(&file, FILE)
        .and_then(|()| {
            File::from(file)
                .write_all(content)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })
        .and_then(|()| rustix::fs::renameat(dir, &temporary, dir, name));
    if written.is_err() {
        let _ = rustix::fs::unlinkat(dir, &temporary, AtFlags::empty());
    }
    written
}

/// Removes a file; that it is not there is no error.
pub(super) fn remove(dir: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Removes those of the files called `names` in `dir` that dead processes have left in [`replace`].
pub(super) fn remove_abandoned(
    dir: BorrowedFd<'_>,
    names: &[String],
    now: SystemTime,
) -> rustix::io::Result<()> {
    for name in names.iter().filter(|name| name.starts_with(NEW)) {
        let written = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => UNIX_EPOCH + Duration::from_secs(u64::try_from(stat?.st_mtime).unwrap_or_default()),
        };
        if now.duration_since(written).is_ok_and(|age| age >= ABANDONED_AFTER) {
            remove(dir, name)?;
        }
    }
    Ok(())
}

/// Text that nobody else uses at this moment.
pub(super) fn unique() -> String {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(count) if count == bytes.len() => crate::pipeline::hex(&bytes),
        _ => format!("{}", rustix::process::getpid().as_raw_nonzero()),
    }
}

/// Takes the lock of the regular file `name`, waiting for it; it falls with the handle.
pub(super) fn lock(dir: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    // A reader can lock too, so members of the group need no right to write.
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, FILE)?;
    loop {
        match rustix::fs::flock(file.as_fd(), FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            taken => return taken.map(|()| file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = sys::path::open_directory(dir.path()).unwrap();
        let at = at.as_fd();
        std::fs::write(dir.path().join("file"), "content").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
        rustix::fs::mknodat(at, "pipe", FileType::Fifo, FILE, 0).unwrap();
        std::fs::create_dir(dir.path().join("dir")).unwrap();
        let content = |name| read(at, name, 100).unwrap().map(|(content, _)| content);
        assert_eq!(content("file").as_deref(), Some(&b"content"[..]));
        for name in ["link", "pipe", "dir", "nothing"] {
            assert_eq!(content(name), None, "{name}");
        }
        assert!(read(at, "file", 6).unwrap().is_none());
    }

    #[test]
    fn files_are_replaced_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let at = sys::path::open_directory(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        for content in ["one", "two"] {
            replace(at.as_fd(), "sub/file", content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(dir.path().join("sub/file")).unwrap(), content);
        }
        assert!(replace(at.as_fd(), "missing/file", b"x").is_err());
        std::fs::create_dir(dir.path().join("sub/dir")).unwrap();
        assert!(replace(at.as_fd(), "sub/dir", b"x").is_err());
        assert_eq!(std::fs::read_dir(dir.path().join("sub")).unwrap().count(), 2);
    }

    #[test]
    fn what_was_never_finished_goes_when_nobody_can_be_at_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = sys::path::open_directory(dir.path()).unwrap();
        let names = ["record", ".new-record-1"].map(str::to_owned);
        for name in &names {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let left = || std::fs::read_dir(dir.path()).unwrap().count();
        let now = SystemTime::now();
        remove_abandoned(at.as_fd(), &names, now).unwrap();
        assert_eq!(left(), 2);
        remove_abandoned(at.as_fd(), &names, now + ABANDONED_AFTER + Duration::from_secs(1)).unwrap();
        assert_eq!(left(), 1);
        assert!(dir.path().join("record").exists());
    }
}
