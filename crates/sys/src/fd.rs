//! File descriptors that a process inherits and hands down.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};

use crate::{Result, check};

/// Decides whether `fd` stays open in the program that this process executes next.
pub fn set_inherited(fd: impl AsFd, inherited: bool) -> Result<()> {
    let mut flags = fcntl_getfd(&fd)?;
    flags.set(FdFlags::CLOEXEC, !inherited);
    fcntl_setfd(&fd, flags)
}

/// Takes a descriptor that this process inherited under `number`, and marks it close-on-exec.
///
/// Call it once for each number, at the start of a program: nobody else may own the number.
///
/// # Errors
/// `EBADF` when nothing is open there, or for one of the standard streams.
pub fn take_inherited(number: RawFd) -> Result<OwnedFd> {
    if number <= 2 {
        return Err(Errno::BADF);
    }
    // SAFETY: fcntl with F_GETFD only looks; a number that is not open gives EBADF.
    check(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    // SAFETY: the number is open, and by this function's contract nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    set_inherited(&fd, false)?;
    Ok(fd)
}

/// Opens the file behind `fd` once more, so that `access` (`WRONLY`, `NONBLOCK`, …) is for the new descriptor alone and nobody else's
/// changes. A terminal does not become the controlling one.
///
/// # Errors
/// Those of open(2): `ENXIO` for a socket.
pub fn open_again(fd: BorrowedFd<'_>, access: OFlags) -> Result<OwnedFd> {
    let flags = access | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open(crate::mount::fd_path(&fd), flags, Mode::empty())
}

/// Marks every descriptor from `first` on close-on-exec: nothing reaches the next program by accident.
///
/// # Errors
/// `ENOSYS` before Linux 5.11.
pub fn close_on_exec_from(first: RawFd) -> Result<()> {
    let first = u32::try_from(first).map_err(|_| Errno::BADF)?;
    // SAFETY: rustix has no close_range. With CLOSE_RANGE_CLOEXEC no descriptor is closed, so no owner of one
    // is left with a number that is somebody else's.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// Gives `descriptors` the numbers from 0 on, in their order, for the program that this process executes next, or becomes.
///
/// Call it in a child that is done with what its parent has open: whatever else was open under these numbers is gone, also for those
/// who own it. What must outlive the call has a higher number.
///
/// # Errors
/// `EMFILE` when there are too many.
pub fn arrange(descriptors: &[impl AsFd]) -> Result<()> {
    let count = RawFd::try_from(descriptors.len()).map_err(|_| Errno::MFILE)?;
    // First out of each other's way.
    let copies = descriptors
        .iter()
        .map(|descriptor| rustix::io::fcntl_dupfd_cloexec(descriptor, count))
        .collect::<Result<Vec<OwnedFd>>>()?;
    for (number, copy) in (0..count).zip(&copies) {
        // SAFETY: rustix's dup2 wants to own the target. The numbers below `count` are given away here by this
        // function's contract, and nobody gets a handle that would close them.
        check(unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(copy), number) }.into())?;
    }
    Ok(())
}

/// Closes every descriptor from `first` on.
///
/// Call it where nobody uses one of the numbers any more: at the start of a program, before anything is opened, or in a forked
/// child that never comes back to what its parent has open.
///
/// # Errors
/// `EBADF` for one of the standard streams; `ENOSYS` before Linux 5.9.
pub fn close_from(first: RawFd) -> Result<()> {
    if first <= 2 {
        return Err(Errno::BADF);
    }
    // SAFETY: rustix has no close_range. By this function's contract no number is anybody's, or nobody's who will use it.
    check(unsafe { libc::syscall(libc::SYS_close_range, first.cast_unsigned(), u32::MAX, 0) })?;
    Ok(())
}
