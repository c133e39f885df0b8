//! Mounts that were left in a pod directory.
//!
//! The mounts of a pod live in a mount namespace of its own and end with it. What is found here was left by a
//! foreign stage1, or by hand: a volume, say, whose files must survive the pod.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use crate::Teardown;

/// Mounts can stand on top of each other: each round takes one layer away.
const ROUNDS: usize = 64;

/// Unmounts everything in the directory behind `fd`, and the directory itself, deepest first. Succeeds only
/// when nothing is mounted there any more.
pub(crate) fn clear(fd: BorrowedFd<'_>) -> Result<(), Teardown> {
    let mut failed = Teardown::default();
    for _ in 0..ROUNDS {
        // Asked for in each round: the name of the directory is the kernel's, without links.
        let listed = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
            .and_then(|path| Ok((std::fs::read("/proc/self/mountinfo")?, path)));
        let mut points = match listed {
            Ok((mountinfo, path)) => points_below(&mountinfo, &path),
            Err(error) => {
                failed.note("find out what is mounted in the pod directory", error);
                return Err(failed);
            }
        };
        if points.is_empty() {
            return Ok(());
        }
        failed = Teardown::default();
        points.sort_by_key(|point| point.components().count());
        // Before anything else: below a mount shared with the host, an unmount would travel to the host.
        for point in &points {
            failed.check(
                || format!("make the mount at {} private", point.display()),
                rustix::mount::mount_change(point, MountPropagationFlags::PRIVATE),
            );
        }
        if !failed.is_empty() {
            return Err(failed);
        }
        let mut progress = false;
        for point in points.iter().rev() {
            progress |= failed.check(|| format!("unmount {}", point.display()), unmount(point));
        }
        if !progress {
            return Err(failed);
        }
    }
    failed.note("unmount all that is mounted in the pod directory", Errno::BUSY);
    Err(failed)
}

fn unmount(point: &Path) -> rustix::io::Result<()> {
    match rustix::mount::unmount(point, UnmountFlags::NOFOLLOW) {
        Err(Errno::BUSY) => rustix::mount::unmount(point, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH),
        // It went with the one that it stood on.
        Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// The mount points at or below `directory`, from a `/proc/PID/mountinfo` (see proc_pid_mountinfo(5)).
fn points_below(mountinfo: &[u8], directory: &Path) -> Vec<PathBuf> {
    mountinfo
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4))
        .map(unescape)
        .filter(|point| point.starts_with(directory))
        .collect()
}

/// Undoes the kernel's `\ooo` for blanks, line ends and backslashes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        match after.get(..3).filter(|_| byte == b'\\').and_then(octal) {
            Some(value) => {
                path.push(value);
                rest = &after[3..];
            }
            None => {
                path.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] = b"\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 21 0:40 / /var/lib/rkt/pods/run/aa rw - overlay overlay rw
41 21 0:40 / /var/lib/rkt/pods/run/aa/stage1/rootfs rw master:3 - overlay overlay rw
42 41 8:1 /srv /var/lib/rkt/pods/run/aa/stage1/rootfs/my\\040data\\134x rw - ext4 /dev/sda1 rw
43 21 8:1 /srv /var/lib/rkt/pods/run/aab rw - ext4 /dev/sda1 rw

";

    #[test]
    fn finds_what_is_mounted_below() {
        let directory = Path::new("/var/lib/rkt/pods/run/aa");
        let points = points_below(MOUNTINFO, directory);
        assert_eq!(
            points,
            [
                directory.to_owned(),
                directory.join("stage1/rootfs"),
                directory.join("stage1/rootfs/my data\\x")
            ]
        );
        assert_eq!(points_below(MOUNTINFO, Path::new("/var/lib/rkt/pods/run/a")), Vec::<PathBuf>::new());
        assert_eq!(points_below(b"garbage\n1 2", directory), Vec::<PathBuf>::new());
    }

    #[test]
    fn unescapes_octal_only() {
        for (field, path) in [
            ("a\\040b", "a b"),
            ("a\\134040", "a\\040"),
            ("a\\", "a\\"),
            ("a\\9zz", "a\\9zz"),
            ("\\777", "\\777"),
        ] {
            assert_eq!(unescape(field.as_bytes()), Path::new(path), "{field}");
        }
    }
}
