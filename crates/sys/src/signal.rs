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

/// The signals that have names, by their numbers here; see signal(7).
pub const NAMES: &[(&str, i32)] = &[
    ("SIGHUP", libc::SIGHUP),
    ("SIGINT", libc::SIGINT),
    ("SIGQUIT", libc::SIGQUIT),
    ("SIGILL", libc::SIGILL),
    ("SIGTRAP", libc::SIGTRAP),
    ("SIGABRT", libc::SIGABRT),
    ("SIGBUS", libc::SIGBUS),
    ("SIGFPE", libc::SIGFPE),
    ("SIGKILL", libc::SIGKILL),
    ("SIGUSR1", libc::SIGUSR1),
    ("SIGSEGV", libc::SIGSEGV),
    ("SIGUSR2", libc::SIGUSR2),
    ("SIGPIPE", libc::SIGPIPE),
    ("SIGALRM", libc::SIGALRM),
    ("SIGTERM", libc::SIGTERM),
    ("SIGSTKFLT", libc::SIGSTKFLT),
    ("SIGCHLD", libc::SIGCHLD),
    ("SIGCONT", libc::SIGCONT),
    ("SIGSTOP", libc::SIGSTOP),
    ("SIGTSTP", libc::SIGTSTP),
    ("SIGTTIN", libc::SIGTTIN),
    ("SIGTTOU", libc::SIGTTOU),
    ("SIGURG", libc::SIGURG),
    ("SIGXCPU", libc::SIGXCPU),
    ("SIGXFSZ", libc::SIGXFSZ),
    ("SIGVTALRM", libc::SIGVTALRM),
    ("SIGPROF", libc::SIGPROF),
    ("SIGWINCH", libc::SIGWINCH),
    ("SIGIO", libc::SIGIO),
    ("SIGPWR", libc::SIGPWR),
    ("SIGSYS", libc::SIGSYS),
];

/// The number of the signal that is written as `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` or `SIGRTMAX-1`.
pub fn number(text: &str) -> Option<i32> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let real_time = |offset: &str, sign: char| match offset.strip_prefix(sign) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        None if offset.is_empty() => Some(0),
        _ => None,
    };
    let number = if let Some(offset) = name.strip_prefix("RTMIN") {
        libc::SIGRTMIN().checked_add(real_time(offset, '+')?)?
    } else if let Some(offset) = name.strip_prefix("RTMAX") {
        let number = libc::SIGRTMAX().checked_sub(real_time(offset, '-')?)?;
        Some(number).filter(|&number| number >= libc::SIGRTMIN())?
    } else if let Some((_, number)) = NAMES.iter().find(|(known, _)| known.strip_prefix("SIG") == Some(name))
    {
        *number
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()?
    } else {
        return None;
    };
    (1..=libc::SIGRTMAX()).contains(&number).then_some(number)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_signals() {
        for (text, wanted) in [
            ("SIGTERM", Some(15)),
            ("USR1", Some(10)),
            ("3", Some(3)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMIN", Some(34)),
            ("SIGRTMAX-1", Some(63)),
            ("64", Some(64)),
            ("65", None),
            ("0", None),
            ("", None),
            ("SIG", None),
            ("sigterm", None),
            ("RTMIN+", None),
            ("RTMIN++1", None),
            ("RTMIN+31", None),
            ("RTMAX-31", None),
            ("RTMIN+99999999999", None),
        ] {
            assert_eq!(number(text), wanted, "{text:?}");
        }
    }
}
