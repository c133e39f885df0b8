//! Calls that a filter refers to a listener (`SECCOMP_RET_USER_NOTIF`); see seccomp_unotify(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::seccomp::{Instruction, program};
use crate::{Result, check};

/// A call that waits for a decision: the kernel's `struct seccomp_notif`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Notification {
    /// Its number among those of the listener.
    pub id: u64,
    /// The thread that made it, as this process counts threads; 0 when it is in no namespace of ours.
    pub pid: u32,
    /// Reserved.
    pub flags: u32,
    /// The number of the system call.
    pub number: i32,
    /// Its architecture (`AUDIT_ARCH_*`).
    pub architecture: u32,
    /// Where in the program.
    pub instruction_pointer: u64,
    /// What was passed.
    pub arguments: [u64; 6],
}

/// `SECCOMP_IOCTL_NOTIF_RECV`: `_IOWR('!', 0, struct seccomp_notif)`, which has 80 bytes.
const RECEIVE: libc::Ioctl = 0xc050_2100;
/// `SECCOMP_IOCTL_NOTIF_ID_VALID`: `_IOW('!', 2, __u64)`.
const IS_VALID: libc::Ioctl = 0x4008_2102;

/// Installs `filter` as [`crate::seccomp::install`] does, and returns the listener of what it refers (close-on-exec).
///
/// # Errors
/// `EBUSY` when a filter with a listener is installed already; `EINVAL` before Linux 5.0.
pub fn install(filter: &[Instruction]) -> Result<OwnedFd> {
    let fprog = program(filter)?;
    // SAFETY: as for `seccomp::install`.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            std::ptr::from_ref(&fprog),
        )
    })?;
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel opened this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes the next call. It waits when there is none: poll first.
///
/// # Errors
/// `ENOENT` when the caller has been killed meanwhile.
pub fn receive(listener: BorrowedFd<'_>) -> Result<Notification> {
    let mut notification = Notification::default();
    let pointer = std::ptr::from_mut(&mut notification);
    // SAFETY: `Notification` has the layout of `struct seccomp_notif` (repr(C), same fields) and is zeroed, as the kernel
    // insists; it outlives the call.
    let returned = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, pointer) };
    check(returned.into())?;
    Ok(notification)
}

/// Whether the call still waits: until then its thread exists, and nobody else has its pid.
pub fn is_valid(listener: BorrowedFd<'_>, notification: &Notification) -> bool {
    let pointer = std::ptr::from_ref(&notification.id);
    // SAFETY: the kernel reads the number, which outlives the call.
    let returned = unsafe { libc::ioctl(listener.as_raw_fd(), IS_VALID, pointer) };
    check(returned.into()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_the_headers() {
        assert_eq!(size_of::<Notification>(), 80);
    }
}
