//! Giving up everything that a download does not need, before a byte of the network is read.
//!
//! | what | how | left |
//! |---|---|---|
//! | handles | all but the standard ones are closed | the socket to rkt, `/dev/null`, a bounded file for messages |
//! | root | real, effective and saved user and group of [`USER`], no further groups | a user who owns nothing |
//! | capabilities | all five sets emptied (the bounding set only when started by root) | none |
//! | new privileges | `no_new_privs` | none, not even by setuid programs |
//! | other processes | not dumpable, Landlock's signal and abstract socket scopes | none |
//! | files | Landlock | reading the resolver's configuration (`landlock::READABLE`); writing through handles from rkt only |
//! | network | seccomp, Landlock | TCP and UDP to elsewhere; no server, no local, raw or netlink sockets |
//! | system calls | two seccomp filters, compiled with the program (`build.rs`) | those of a download |
//!
//! The trust store is read before, while whoever started us may still read it. Everything that can fail here ends the
//! program, with one exception: a kernel without Landlock. The worker says so in its first message, and rkt tells
//! the user.
//!
//! Started by somebody else than root, the worker stays that user: it cannot become another. Then Landlock and seccomp
//! are what keeps it from that user's files and processes.

mod identity;
mod landlock;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;
use transport::Confinement;
use transport::message::PROTOCOL;

pub use identity::USER;

include!(concat!(env!("OUT_DIR"), "/filters.rs"));

/// The first handle after the standard streams.
const FIRST_HANDLE: std::os::fd::RawFd = 3;

/// A step that did not work. The program must end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are threads, which would keep what this one gives up.
    #[error("Cannot be locked in: threads are running already")]
    Threads,
    /// The user cannot be found out or become.
    #[error("Cannot become an unprivileged user: {what}")]
    User {
        /// What does not work.
        what: String,
        /// Why.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The kernel refuses a step.
    #[error("Cannot give up {what}")]
    Step {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Turns a system call's error into that of a step.
fn step<T>(what: &'static str, result: rustix::io::Result<T>) -> Result<T, Error> {
    result.map_err(|error| Error::Step { what, source: error.into() })
}

/// Closes what this process inherited by accident. Call it first of all, before anything is opened.
pub fn close_inherited() -> Result<(), Error> {
    step("inherited handles", sys::fd::close_from(FIRST_HANDLE))
}

/// Locks this process in, for good. Call it once, before there are threads.
pub fn enter() -> Result<Confinement, Error> {
    if !sys::process::is_single_threaded() {
        return Err(Error::Threads);
    }
    let user = identity::give_up_root()?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    step("core dumps", setrlimit(Resource::Core, none))?;
    step("being looked into", set_dumpable_behavior(DumpableBehavior::NotDumpable))?;
    step("new privileges", set_no_new_privs(true))?;
    let landlock = landlock::restrict()?;
    step("deadly system calls", sys::seccomp::install(DEADLY))?;
    step("other system calls", sys::seccomp::install(ALLOWED))?;
    Ok(Confinement { protocol: PROTOCOL, user, landlock })
}
