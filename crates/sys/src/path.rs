//! Paths that somebody else chose, resolved inside a directory that we hold; see openat2(2).

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::Result;

/// How often `openat2` is tried again when a rename elsewhere disturbed it (`EAGAIN`).
const ATTEMPTS: usize = 128;

/// Opens `path` as if `root` were `/`: absolute paths, `..` and symbolic links stay inside.
///
/// Magic links of procfs are never followed.
pub fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    resolve(root, path, flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens `path` below `directory` and follows no symbolic link at all, nor a `..` that leaves it.
pub fn open_beneath(directory: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    resolve(directory, path, flags, mode, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

fn resolve(
    at: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    rules: ResolveFlags,
) -> Result<OwnedFd> {
    for _ in 0..ATTEMPTS {
        match rustix::fs::openat2(at, path, flags | OFlags::CLOEXEC, mode, rules) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens a directory for the `*at` calls.
pub fn open_directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Holds a directory to resolve paths in (`O_PATH`). It is not opened: a file server hears nothing of it.
pub fn hold_directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes the directory `path` inside `root`, and its parents, where they are missing; symbolic links on the
/// way are followed inside `root`. Returns a handle (`O_PATH`) of the last one.
///
/// # Errors
/// `ENOTDIR` when something else stands there; `ELOOP` for a link that points at nothing.
pub fn create_dir_all_in_root(root: BorrowedFd<'_>, path: &Path, mode: Mode) -> Result<OwnedFd> {
    let directory = OFlags::PATH | OFlags::DIRECTORY;
    let mut made = std::path::PathBuf::from("/");
    let mut current = open_in_root(root, &made, directory, Mode::empty())?;
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                made.push(name);
                current = match open_in_root(root, &made, directory, Mode::empty()) {
                    Err(Errno::NOENT) => {
                        match rustix::fs::mkdirat(&current, name, mode) {
                            // Another made it in the meantime, or a dangling link stands there.
                            Ok(()) | Err(Errno::EXIST) => {}
                            Err(error) => return Err(error),
                        }
                        open_in_root(root, &made, directory, Mode::empty()).map_err(|error| match error {
                            Errno::NOENT => Errno::LOOP,
                            other => other,
                        })?
                    }
                    opened => opened?,
                };
            }
            Component::ParentDir => return Err(Errno::INVAL),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(current)
}

/// Makes an empty regular file at `path` inside `root` where nothing stands, its parents too, as a mount
/// point for a file. Returns a handle (`O_PATH`) of what stands there then.
pub fn create_file_in_root(root: BorrowedFd<'_>, path: &Path, mode: Mode) -> Result<OwnedFd> {
    match open_in_root(root, path, OFlags::PATH, Mode::empty()) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL);
    };
    let parent = create_dir_all_in_root(root, parent, Mode::from_raw_mode(0o755))?;
    match rustix::fs::mknodat(&parent, name, FileType::RegularFile, mode, 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    open_in_root(root, path, OFlags::PATH, Mode::empty())
}

/// The kind of file that a handle stands for.
pub fn file_type(fd: BorrowedFd<'_>) -> Result<FileType> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn links_stay_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = open_directory(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../etc", dir.path().join("relative")).unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("dangling")).unwrap();
        let mode = Mode::from_raw_mode(0o755);
        for (path, lands) in [
            ("absolute/a", Ok("etc/a")),
            ("/relative/b", Ok("etc/b")),
            ("c/d/e", Ok("c/d/e")),
            ("dangling/f", Err(Errno::LOOP)),
            ("c/../../g", Err(Errno::INVAL)),
        ] {
            let made = create_dir_all_in_root(root.as_fd(), Path::new(path), mode).map(|_| ());
            assert_eq!(made, lands.map(|_| ()), "{path}");
            if let Ok(place) = lands {
                assert!(dir.path().join(place).is_dir(), "{path}");
            }
        }
        create_file_in_root(root.as_fd(), Path::new("/absolute/resolv.conf"), mode).unwrap();
        assert!(dir.path().join("etc/resolv.conf").is_file());
        let opened = open_beneath(root.as_fd(), Path::new("absolute/a"), OFlags::PATH, Mode::empty());
        assert_eq!(opened.map(|_| ()), Err(Errno::LOOP));
    }
}
