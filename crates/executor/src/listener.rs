//! Filters whose violations a supervisor names before the process dies of them.
//!
//! The listener of such a filter is born in the process that installs it, which from then on may not even be allowed to send it. So a
//! helper, which shares its descriptors and has no filter, waits for it and sends it:
//!
//! ```text
//! supervisor ◄── report ── "L" + listener ── helper ┐ one table of descriptors, until
//!                                            process ┘ the process executes the app's program
//! ```

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use sys::seccomp::Instruction;

use crate::seccomp::program::{KILL, NOTIFY, RETURN};
use crate::spec::Seccomp;
use crate::step::{Failed, Step};

/// What a report with a listener begins with.
pub(crate) const MARK: u8 = b'L';

/// How long the helper waits, and how long from look to look.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_micros(100);

/// The filter that asks a listener where `seccomp` would kill; `None` when it kills for a foreign architecture at most, which
/// needs no name.
pub(crate) fn referring(seccomp: &Seccomp) -> Option<Vec<Instruction>> {
    let Seccomp::Custom(filter) = seccomp else { return None };
    let kills = |instruction: &&Instruction| instruction.code == RETURN && instruction.k == KILL;
    if filter.instructions.iter().filter(kills).count() < 2 {
        return None;
    }
    let refer = |instruction: &Instruction| match kills(&instruction) {
        true => Instruction { k: NOTIFY, ..*instruction },
        false => *instruction,
    };
    Some(filter.instructions.iter().map(refer).collect())
}

/// Starts the helper. The next descriptor that this process opens is taken for the listener.
pub(crate) fn expect(report: BorrowedFd<'_>) -> Result<(), Failed> {
    let step = || "prepare the listener of the seccomp filter".to_owned();
    let number = fcntl_dupfd_cloexec(report, 3).step(step)?.as_raw_fd();
    let process = rustix::process::getpid();
    if !sys::process::fork_sibling().step(step)? {
        return Ok(());
    }
    let end = Instant::now() + PATIENCE;
    // Once it has been reaped, nothing comes any more.
    while Instant::now() < end && rustix::process::test_kill_process(process).is_ok() {
        if let Ok(listener) = sys::fd::take_inherited(number) {
            send(report, listener.as_fd());
            break;
        }
        std::thread::sleep(PAUSE);
    }
    sys::process::exit_now(0)
}

fn send(report: BorrowedFd<'_>, listener: BorrowedFd<'_>) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [listener];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    // When the supervisor is gone there is nobody to tell.
    let _ = rustix::net::sendmsg(report, &[IoSlice::new(&[MARK])], &mut ancillary, SendFlags::NOSIGNAL);
}
