//! Comparing a directory with what it should be.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::copy::xattrs;
use crate::remove::names;

/// Directories inside one another that are compared at most: each holds two descriptors open.
const DEPTH: usize = 400;

/// Where `a` and `b` first differ, in names, contents, owners, modes, times, extended attributes, links or devices; nothing when they
/// are the same. Both are read through handles, no symbolic link is followed.
pub(crate) fn difference(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> io::Result<Option<PathBuf>> {
    Ok(directories(a, b, Path::new("/"), 0)?)
}

fn directories(
    a: BorrowedFd<'_>,
    b: BorrowedFd<'_>,
    path: &Path,
    depth: usize,
) -> Result<Option<PathBuf>, Errno> {
    if depth > DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    if !same_attributes(&rustix::fs::fstat(a)?, &rustix::fs::fstat(b)?) || xattrs(a)? != xattrs(b)? {
        return Ok(Some(path.to_owned()));
    }
    let (mut left, mut right) = (names(a)?, names(b)?);
    left.sort();
    right.sort();
    let join = |name: &CStr| path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
    if left != right {
        let only = left
            .iter()
            .find(|name| right.binary_search(name).is_err())
            .or_else(|| right.iter().find(|name| left.binary_search(name).is_err()));
        return Ok(only.map(|name| join(name)));
    }
    for name in &left {
        let found = entries(a, b, name, &join(name), depth)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn entries(
    a: BorrowedFd<'_>,
    b: BorrowedFd<'_>,
    name: &CStr,
    path: &Path,
    depth: usize,
) -> Result<Option<PathBuf>, Errno> {
    let look = |at| rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW);
    let (left, right) = (look(a)?, look(b)?);
    let kind = FileType::from_raw_mode(left.st_mode);
    let differ = || Ok(Some(path.to_owned()));
    if !same_attributes(&left, &right) {
        return differ();
    }
    match kind {
        FileType::Directory => {
            let open = |at| open(at, name, OFlags::DIRECTORY);
            return directories(open(a)?.as_fd(), open(b)?.as_fd(), path, depth + 1);
        }
        FileType::RegularFile => {
            let (left_file, right_file) =
                (open(a, name, OFlags::NONBLOCK)?, open(b, name, OFlags::NONBLOCK)?);
            let same = left.st_size == right.st_size
                && left.st_nlink == right.st_nlink
                && xattrs(left_file.as_fd())? == xattrs(right_file.as_fd())?
                && same_content(left_file, right_file)?;
            if !same {
                return differ();
            }
        }
        FileType::Symlink => {
            let read = |at| rustix::fs::readlinkat(at, name, Vec::new());
            if read(a)? != read(b)? {
                return differ();
            }
        }
        _ if left.st_rdev != right.st_rdev => return differ(),
        _ => {}
    }
    Ok(None)
}

fn open(at: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn same_attributes(a: &Stat, b: &Stat) -> bool {
    (a.st_mode, a.st_uid, a.st_gid, a.st_mtime, a.st_mtime_nsec)
        == (b.st_mode, b.st_uid, b.st_gid, b.st_mtime, b.st_mtime_nsec)
}

fn same_content(a: OwnedFd, b: OwnedFd) -> Result<bool, Errno> {
    let (a, b) = (File::from(a), File::from(b));
    let mut buffers = [vec![0; 128 << 10], vec![0; 128 << 10]];
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut offset = 0;
    loop {
        let [left, right] = &mut buffers;
        let count = a.read_at(left, offset).map_err(errno)?;
        if count == 0 {
            return Ok(b.read_at(&mut right[..1], offset).map_err(errno)? == 0);
        }
        if b.read_exact_at(&mut right[..count], offset).is_err() || left[..count] != right[..count] {
            return Ok(false);
        }
        offset += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("dir/file"), "content").unwrap();
        symlink("file", at("dir/link")).unwrap();
        settle(dir.path());
        dir
    }

    /// Gives everything the same time.
    fn settle(dir: &Path) {
        for name in ["dir/link", "dir/file", "dir", "."] {
            let time = rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(rustix::fs::CWD, dir.join(name), &times, AtFlags::SYMLINK_NOFOLLOW).ok();
        }
    }

    #[test]
    fn every_difference_is_found() {
        let change = |change: &dyn Fn(&Path)| {
            let (a, b) = (tree(), tree());
            change(b.path());
            settle(b.path());
            let open = |dir: &Path| sys::path::open_directory(dir).unwrap();
            let found = difference(open(a.path()).as_fd(), open(b.path()).as_fd()).unwrap();
            found.map(|path| path.display().to_string())
        };
        assert_eq!(change(&|_| {}), None);
        assert_eq!(
            change(&|dir| fs::write(dir.join("dir/file"), "CONTENT").unwrap()),
            Some("/dir/file".into())
        );
        assert_eq!(change(&|dir| fs::write(dir.join("new"), "").unwrap()), Some("/new".into()));
        assert_eq!(change(&|dir| fs::remove_file(dir.join("dir/link")).unwrap()), Some("/dir/link".into()));
        let relink = |dir: &Path| {
            fs::remove_file(dir.join("dir/link")).unwrap();
            symlink("elsewhere", dir.join("dir/link")).unwrap();
        };
        assert_eq!(change(&relink), Some("/dir/link".into()));
        let chmod =
            |dir: &Path| fs::set_permissions(dir.join("dir"), PermissionsExt::from_mode(0o700)).unwrap();
        assert_eq!(change(&chmod), Some("/dir".into()));
        let link =
            |dir: &Path| fs::hard_link(dir.join("dir/file"), dir.join("../outside-of-the-test")).unwrap();
        let found = change(&link);
        let _ = fs::remove_file(std::env::temp_dir().join("outside-of-the-test"));
        assert_eq!(found, Some("/dir/file".into()));
    }
}
