//! What is mounted on the host, and shared with the machine whose apps these are.
//!
//! virtiofs shows a mount of the host where it is as one that comes when somebody looks. An app's volume has to be a mount that is
//! there, so that it can have attributes of its own.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::path::open_in_root;

/// Makes a mount of what is one on the host, at `path` in an app's `root`.
pub(crate) fn claim(root: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
    let open = |flags| open_in_root(root, path, flags, Mode::empty());
    // With this flag the mount of a directory is followed.
    let at = match open(OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOTDIR) => open(OFlags::PATH)?,
        at => at?,
    };
    sys::mount::bind(at.as_fd(), at.as_fd(), true)
}

/// Gives up what has been claimed in the root of an app, which is at `root`, and the root itself; then the kernel forgets what it
/// knew of both. The host can unmount them, and the next app may have the name.
pub(crate) fn give_up<'a>(root: &Path, volumes: impl Iterator<Item = &'a str>) -> Result<(), Errno> {
    let given_up = unmount(root, volumes);
    // The first time names are only marked as not used lately.
    for _ in 0..2 {
        let _ = std::fs::write("/proc/sys/vm/drop_caches", "2");
    }
    given_up
}

fn unmount<'a>(root: &Path, volumes: impl Iterator<Item = &'a str>) -> Result<(), Errno> {
    let top = sys::path::open_directory(root)?;
    for path in volumes {
        while let Ok(at) = open_in_root(top.as_fd(), Path::new(path), OFlags::PATH, Mode::empty()) {
            if sys::mount::unmount(at.as_fd(), true).is_err() {
                break;
            }
        }
    }
    drop(top);
    let flags = rustix::mount::UnmountFlags::DETACH | rustix::mount::UnmountFlags::NOFOLLOW;
    while rustix::mount::unmount(root, flags).is_ok() {}
    Ok(())
}
