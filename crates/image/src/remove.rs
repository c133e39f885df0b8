//! Removes a directory tree by handles: no symbolic link is followed, no other file system entered, and a tree
//! of any depth needs a bounded number of handles.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// Levels below the top that are held open at once; what is deeper is moved up first.
const DEPTH: usize = 32;

/// Removes `name` in `parent`, whatever it is. Something that is not there is no error.
///
/// # Errors
/// `EXDEV` when something is mounted inside; what else unlinkat(2) says. The tree may be half removed then.
pub fn remove_tree(parent: BorrowedFd<'_>, name: impl Arg + Copy) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error),
    }
    let top = open_child(parent, name)?;
    let mut moved = 0;
    loop {
        let before = moved;
        empty(top.as_fd(), top.as_fd(), 0, &mut moved)?;
        if moved == before {
            break;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Removes all that is in `dir`, itself `depth` levels below `top`. Directories that are too deep land in `top`.
fn empty(dir: BorrowedFd<'_>, top: BorrowedFd<'_>, depth: usize, moved: &mut u64) -> rustix::io::Result<()> {
    for name in names(dir)? {
        match rustix::fs::unlinkat(dir, &*name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) if depth < DEPTH => {
                let child = open_child(dir, &*name)?;
                empty(child.as_fd(), top, depth + 1, moved)?;
                rustix::fs::unlinkat(dir, &*name, AtFlags::REMOVEDIR)?;
            }
            Err(Errno::ISDIR) => move_up(dir, &name, top, moved)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn move_up(dir: BorrowedFd<'_>, name: &CStr, top: BorrowedFd<'_>, moved: &mut u64) -> rustix::io::Result<()> {
    loop {
        *moved += 1;
        let target = format!(".moved-{moved}");
        match rustix::fs::renameat_with(dir, name, top, &target, rustix::fs::RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            done => return done,
        }
    }
}

/// The names in a directory, without `.` and `..`.
pub(crate) fn names(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn open_child(dir: BorrowedFd<'_>, name: impl Arg) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat2(
        dir,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::path::open_directory;

    #[test]
    fn removes_trees_of_any_depth() {
        let dir = tempfile::tempdir().unwrap();
        let at = open_directory(dir.path()).unwrap();
        rustix::fs::mkdirat(&at, "deep", Mode::RWXU).unwrap();
        let mut inner = open_child(at.as_fd(), "deep").unwrap();
        for level in 0..1200 {
            rustix::fs::symlinkat("/etc", &inner, "link").unwrap();
            // The name that moving would use first.
            let name = if level % 40 == 0 { ".moved-1" } else { "d" };
            rustix::fs::mkdirat(&inner, name, Mode::RWXU).unwrap();
            inner = open_child(inner.as_fd(), name).unwrap();
        }
        drop(inner);
        remove_tree(at.as_fd(), "deep").unwrap();
        assert_eq!(names(at.as_fd()).unwrap(), Vec::<CString>::new());
        assert!(std::fs::exists("/etc").unwrap());
    }

    #[test]
    fn removes_files_and_links_themselves() {
        let dir = tempfile::tempdir().unwrap();
        let at = open_directory(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("kept")).unwrap();
        std::fs::write(dir.path().join("kept/file"), "x").unwrap();
        std::os::unix::fs::symlink("kept", dir.path().join("link")).unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        for name in ["link", "file", "nothing"] {
            remove_tree(at.as_fd(), name).unwrap();
        }
        assert_eq!(names(at.as_fd()).unwrap(), [c"kept".to_owned()]);
        assert!(dir.path().join("kept/file").exists());
    }
}
