//! The fence around files, and around what else Landlock knows.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::landlock::Access;

use super::{Error, step};

/// All that may be read: how names become addresses. The bodies go to handles, which this does not concern.
///
/// The directory is where `/etc/resolv.conf` often points.
pub(super) const READABLE: [&str; 6] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/run/systemd/resolve",
];

/// Fences this thread in and tells the version that does it. None when the kernel has no Landlock.
pub(super) fn restrict() -> Result<Option<u32>, Error> {
    let mut places: Vec<(OwnedFd, Access)> = Vec::new();
    for path in READABLE {
        // Through symbolic links: what they lead to now is what may be read.
        match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(place) => {
                let kind = step("file access", sys::path::file_type(place.as_fd()))?;
                let access = if kind == FileType::Directory { Access::READ } else { Access::READ_FILE };
                places.push((place, access));
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
            Err(error) => return step("file access", Err(error)),
        }
    }
    let rules: Vec<_> = places.iter().map(|(place, access)| (place.as_fd(), *access)).collect();
    let version = step("file access", sys::landlock::restrict_client(&rules))?;
    Ok((version > 0).then_some(version))
}
