//! Locks by flock(2): they belong to an open file, so they outlive `exec` and die with the last descriptor.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, Result};

/// How long a lock is tried for. Observers hold a shared one for a moment only; whoever means to keep one keeps
/// it much longer than this.
const ATTEMPTS: u32 = 50;
const NAP: Duration = Duration::from_millis(2);

/// Takes the exclusive lock; `false` when somebody else keeps it.
pub(crate) fn take(fd: impl AsFd) -> Result<bool> {
    for attempt in 0..ATTEMPTS {
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if attempt + 1 < ATTEMPTS => std::thread::sleep(NAP),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether somebody holds the exclusive lock of the file behind `fd`. If nobody does, `fd` has a shared lock
/// afterwards, which keeps others from the exclusive one until `fd` is closed.
pub(crate) fn is_taken_until_closed(fd: BorrowedFd<'_>) -> Result<bool> {
    loop {
        match flock(fd, FlockOperation::NonBlockingLockShared) {
            Ok(()) => return Ok(false),
            Err(Errno::WOULDBLOCK) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether somebody holds the exclusive lock of the file behind `fd`.
pub(crate) fn is_taken(fd: BorrowedFd<'_>) -> Result<bool> {
    let taken = is_taken_until_closed(fd)?;
    if !taken {
        flock(fd, FlockOperation::Unlock)?;
    }
    Ok(taken)
}
