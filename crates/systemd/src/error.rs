//! What goes wrong with systemd.

use std::io;

/// The result of most functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong with systemd.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No cgroup2 file system, or none that we stand in.
    #[error(
        "no unified cgroup hierarchy: rkt needs cgroup2 on /sys/fs/cgroup (boot with systemd.unified_cgroup_hierarchy=1)"
    )]
    NoUnifiedCgroups,
    /// systemd is not process 1.
    #[error("systemd is not process 1 of this host, so there is nobody to ask about the unit {unit:?}")]
    NoSystemd {
        /// The unit that was wanted.
        unit: String,
    },
    /// Neither the system bus nor the private socket answers.
    #[error("cannot reach systemd, neither over the system bus nor by /run/systemd/private: {reason}")]
    NoBus {
        /// What the library said.
        reason: String,
    },
    /// The manager refused the call.
    #[error("systemd refused to start {unit:?}: {reason}")]
    Refused {
        /// The unit that was wanted.
        unit: String,
        /// The D-Bus error: name and message.
        reason: String,
    },
    /// The manager refused the call.
    #[error("systemd refused to stop {unit:?}: {reason}")]
    StopRefused {
        /// The unit.
        unit: String,
        /// The D-Bus error: name and message.
        reason: String,
    },
    /// The manager refused the call.
    #[error("systemd refused to {action} {unit:?}: {reason}")]
    Control {
        /// What was tried: a verb.
        action: &'static str,
        /// The unit.
        unit: String,
        /// The D-Bus error: name and message.
        reason: String,
    },
    /// The job was accepted and did not get done.
    #[error("systemd could not start {unit:?}: the job ended with the result {result:?}")]
    JobFailed {
        /// The unit that was wanted.
        unit: String,
        /// As `JobRemoved` says it: `canceled`, `timeout`, `failed`, `dependency`, `skipped`.
        result: String,
    },
    /// No answer.
    #[error("systemd did not start {unit:?} within {seconds} seconds")]
    TimedOut {
        /// The unit that was wanted.
        unit: String,
        /// How long we waited.
        seconds: u64,
    },
    /// The job is done, and yet this process stands elsewhere.
    #[error("systemd says that it started {unit:?}, but did not move this process there")]
    Elsewhere {
        /// The unit that was wanted.
        unit: String,
    },
    /// The system refused something.
    #[error("cannot {action} {what}")]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// With which file or group.
        what: String,
        /// The cause.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { action, what: what.into(), source: source.into() }
    }
}
