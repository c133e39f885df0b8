//! Receiving signals by descriptor; see signalfd(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::{Result, check};

/// Blocks every signal that can be, and opens a descriptor (close-on-exec, non-blocking) that tells which have come.
///
/// Programs that this process starts must begin with [`crate::process::reset_signals`].
pub fn receive_all() -> Result<OwnedFd> {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: rustix has no signal masks. sigfillset fills the set that it is given; the others read it.
    let fd = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        check(libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut()).into())?;
        check(libc::signalfd(-1, all.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?
    };
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel just opened it and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number of the next signal that has come, if any.
pub fn next(signals: BorrowedFd<'_>) -> Result<Option<u32>> {
    let mut information = [0_u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(signals, &mut information) {
        // `ssi_signo` is the first field.
        Ok(length) if length == information.len() => {
            let [a, b, c, d, ..] = information;
            Ok(Some(u32::from_ne_bytes([a, b, c, d])))
        }
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number of the `n`th real-time signal (`SIGRTMIN+n`).
pub fn real_time(n: u32) -> u32 {
    libc::SIGRTMIN().cast_unsigned() + n
}

/// Sends signal `number` to the process behind `pidfd`; unlike rustix's it takes any number.
///
/// # Errors
/// `EINVAL` for a number that is no signal, `ESRCH` when the process is gone.
pub fn send(pidfd: BorrowedFd<'_>, number: i32) -> Result<()> {
    // SAFETY: pidfd_send_signal with a null siginfo reads no memory of ours; the descriptor is borrowed, so open.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })?;
    Ok(())
}
