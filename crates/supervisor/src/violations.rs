//! System calls that an app's filter does not allow: named, and punished.
//!
//! The filter of an app that says no `errno` would kill with SIGSYS, and only the kernel's audit record would know for which call. So it
//! asks us instead: the call waits, we say its name, and the process dies of the same signal.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sys::seccomp_notify::{self, Notification};

/// The bit of SIGSYS in the sets of `/proc/PID/status`.
const SYS_BIT: u64 = 1 << 30;

/// What a listener has.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A process that will be no more.
    Violation(Violation),
    /// Nothing now.
    Nothing,
    /// Nothing any more: no process has the filter.
    Over,
}

/// A call that was not allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The process.
    pub(crate) process: Option<Pid>,
    /// What happened, as a sentence.
    pub(crate) text: String,
}

/// Takes the next violation from `listener`, and kills its process.
pub(crate) fn hear(listener: BorrowedFd<'_>) -> Heard {
    let mut ready = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if !matches!(poll(&mut ready, Some(&now)), Ok(1..)) {
        return Heard::Nothing;
    }
    if !ready[0].revents().contains(PollFlags::IN) {
        return Heard::Over;
    }
    // Whoever was killed meanwhile needs no help.
    match seccomp_notify::receive(listener) {
        Ok(notification) => Heard::Violation(punish(listener, &notification)),
        Err(_) => Heard::Nothing,
    }
}

fn punish(listener: BorrowedFd<'_>, notification: &Notification) -> Violation {
    let status = std::fs::read_to_string(format!("/proc/{}/status", notification.pid)).unwrap_or_default();
    let thread = Thread::parse(&status);
    let process = thread.process.filter(|&process| {
        let Ok(handle) = pidfd_open(process, PidfdFlags::empty()) else { return false };
        // As long as the call waits, the number that we opened is still its process's.
        seccomp_notify::is_valid(listener, notification)
            && pidfd_send_signal(handle.as_fd(), if thread.dies_of_sys { Signal::SYS } else { Signal::KILL })
                .is_ok()
    });
    Violation { process, text: sentence(&thread, notification) }
}

fn sentence(thread: &Thread<'_>, notification: &Notification) -> String {
    let number = notification.number.cast_unsigned();
    let call = match executor::seccomp::call_name(notification.architecture, number) {
        Some(name) => format!("{name} (number {number})"),
        None => format!("with the number {number} of architecture {:#x}", notification.architecture),
    };
    let who = thread.process.map_or(0, |process| process.as_raw_nonzero().get());
    format!(
        "Error: process {who} ({}) killed by SIGSYS: its seccomp filter does not allow the system call {call}",
        thread.name
    )
}

/// What `/proc/TID/status` says of a thread.
#[derive(Debug)]
struct Thread<'a> {
    name: &'a str,
    process: Option<Pid>,
    /// SIGSYS is neither blocked nor ignored nor caught.
    dies_of_sys: bool,
}

impl<'a> Thread<'a> {
    fn parse(status: &'a str) -> Self {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim()
        };
        let has_sys = |set: &str| u64::from_str_radix(field(set), 16).is_ok_and(|set| set & SYS_BIT != 0);
        Thread {
            name: field("Name"),
            process: field("Tgid").parse().ok().and_then(Pid::from_raw),
            dies_of_sys: !["SigBlk", "SigIgn", "SigCgt"].into_iter().any(has_sys),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tperl\nUmask:\t0022\nTgid:\t7\nPid:\t8\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000000\n";

    #[test]
    fn a_violation_is_named() {
        let thread = Thread::parse(STATUS);
        assert!(thread.dies_of_sys);
        let mut call = Notification { number: 83, architecture: 0xc000_003e, ..Notification::default() };
        let sentence_of = |call: &Notification| sentence(&Thread::parse(STATUS), call);
        assert_eq!(
            sentence_of(&call),
            "Error: process 7 (perl) killed by SIGSYS: its seccomp filter does not allow the system call mkdir (number 83)"
        );
        call.architecture = 0xc000_00b7;
        assert!(
            sentence_of(&call).ends_with("the system call with the number 83 of architecture 0xc00000b7")
        );
    }

    #[test]
    fn who_would_not_die_of_it() {
        let caught = STATUS.replace("SigCgt:\t0000000000000000", "SigCgt:\t0000000040000000");
        assert!(!Thread::parse(&caught).dies_of_sys);
        assert!(Thread::parse("").process.is_none());
    }
}
