//! Terminals: what rustix lacks; see TIOCSCTTY in ioctl_tty(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Result, check};

/// Makes `terminal` the controlling terminal of this session, whose leader this process must be. With
/// `CAP_SYS_ADMIN` it is taken from another session.
///
/// # Errors
/// `EPERM` when another session has it and may keep it, or this process leads none.
pub fn control(terminal: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: rustix always passes 0 (do not take it from others). TIOCSCTTY takes an integer, no pointer.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 1) }.into())?;
    Ok(())
}
