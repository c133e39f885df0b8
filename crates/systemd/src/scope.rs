//! Transient scopes: a unit for processes that systemd did not start.
//!
//! The conversation is held by a forked child, because the D-Bus library starts threads and we change namespaces
//! later. It says how it went in one message over a pipe:
//!
//! ```text
//! (nothing)                     the job is done and our process stands in the scope
//! KIND NL text                  B no bus, R refused, J the job's result
//! ```

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitIdStatus, getpid, pidfd_send_signal};
use sys::process::{Fork, exit_now, fork};
use zbus::Variant;
use zbus::export::futures_core::Stream;

use crate::manager::{ManagerProxy, connect};
use crate::{Error, Result};

/// How long systemd may take. A job waits for others of the same unit, and for a busy host.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A limit of a scope; see systemd.resource-control(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// `MemoryMax=`, bytes.
    MemoryMax(u64),
    /// `CPUQuota=`, microseconds of processor time a second.
    CpuQuotaPerSec(u64),
    /// `CPUWeight=`, 1 to 10000.
    CpuWeight(u64),
    /// `TasksMax=`.
    TasksMax(u64),
}

impl Property {
    fn name(self) -> &'static str {
        match self {
            Property::MemoryMax(_) => "MemoryMax",
            Property::CpuQuotaPerSec(_) => "CPUQuotaPerSecUSec",
            Property::CpuWeight(_) => "CPUWeight",
            Property::TasksMax(_) => "TasksMax",
        }
    }

    fn value(self) -> u64 {
        match self {
            Property::MemoryMax(value)
            | Property::CpuQuotaPerSec(value)
            | Property::CpuWeight(value)
            | Property::TasksMax(value) => value,
        }
    }
}

/// A scope to be made.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Its name, ending in `.scope`.
    pub name: &'a str,
    /// What people see.
    pub description: &'a str,
    /// The slice it is put into.
    pub slice: &'a str,
    /// Its limits.
    pub properties: &'a [Property],
}

/// Makes `scope` with `Delegate=yes` and this process in it, and waits until that is done.
///
/// # Errors
/// [`Error::NoSystemd`], [`Error::NoBus`], [`Error::Refused`], [`Error::JobFailed`], [`Error::TimedOut`].
pub fn start(scope: &Scope<'_>) -> Result<()> {
    let unit = || scope.name.to_owned();
    if !crate::booted() {
        return Err(Error::NoSystemd { unit: unit() });
    }
    let failed =
        |what: &'static str| move |error| Error::io("ask systemd with", what, io::Error::from(error));
    let ourselves = getpid().as_raw_nonzero().get().cast_unsigned();
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(failed("a pipe"))?;
    let child = match fork().map_err(failed("a child process"))? {
        Fork::Child => {
            drop(reader);
            let status = match zbus::block_on(ask(scope, ourselves)) {
                Ok(()) => 0,
                Err(answer) => {
                    // A parent that is gone wants no answer.
                    let _ = std::fs::File::from(writer).write_all(answer.encode().as_bytes());
                    1
                }
            };
            exit_now(status)
        }
        Fork::Parent(child) => child,
    };
    drop(writer);
    let answer = read_until(reader.into(), Instant::now() + TIMEOUT);
    if answer.is_err() {
        let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
    }
    let ended = child.wait().map_err(failed("a child process"))?;
    match answer {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(Error::TimedOut { unit: unit(), seconds: TIMEOUT.as_secs() })
        }
        Err(error) => Err(Error::io("read", "the answer of systemd", error)),
        Ok(text) => match Answer::decode(&text) {
            None if succeeded(&ended) && text.is_empty() => Ok(()),
            None => Err(Error::Lost { unit: unit() }),
            Some(Answer::NoBus(reason)) => Err(Error::NoBus { reason }),
            Some(Answer::Refused(reason)) => Err(Error::Refused { unit: unit(), reason }),
            Some(Answer::Job(result)) => Err(Error::JobFailed { unit: unit(), result }),
        },
    }
}

fn succeeded(status: &WaitIdStatus) -> bool {
    status.exit_status() == Some(0)
}

/// Reads to the end, or to the deadline.
fn read_until(mut pipe: std::fs::File, deadline: Instant) -> io::Result<String> {
    let mut text = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut fds = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0; 512];
        match pipe.read(&mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Why it did not work.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    NoBus(String),
    Refused(String),
    Job(String),
}

impl Answer {
    fn encode(&self) -> String {
        match self {
            Answer::NoBus(text) => format!("B\n{text}"),
            Answer::Refused(text) => format!("R\n{text}"),
            Answer::Job(text) => format!("J\n{text}"),
        }
    }

    fn decode(text: &str) -> Option<Self> {
        let (kind, text) = text.split_once('\n')?;
        let text = text.to_owned();
        match kind {
            "B" => Some(Answer::NoBus(text)),
            "R" => Some(Answer::Refused(text)),
            "J" => Some(Answer::Job(text)),
            _ => None,
        }
    }
}

/// The conversation itself.
async fn ask(scope: &Scope<'_>, pid: u32) -> Result<(), Answer> {
    let no_bus = |error: zbus::Error| Answer::NoBus(error.to_string());
    let connection = connect(TIMEOUT).await.map_err(no_bus)?;
    let manager = ManagerProxy::new(&connection).await.map_err(no_bus)?;
    // Before the call: a job can be over before its reply is read.
    let mut removed = manager.receive_job_removed().await.map_err(no_bus)?;

    let mut properties = vec![
        ("Description", Variant::from(scope.description)),
        ("Slice", Variant::from(scope.slice)),
        ("Delegate", Variant::from(true)),
        ("PIDs", Variant::from(vec![pid])),
        // A pod that was killed leaves no failed unit behind.
        ("CollectMode", Variant::from("inactive-or-failed")),
    ];
    properties
        .extend(scope.properties.iter().map(|property| (property.name(), Variant::from(property.value()))));
    let job = manager
        .start_transient_unit(scope.name, "fail", &properties, &[])
        .await
        .map_err(|error| Answer::Refused(error.to_string()))?;
    loop {
        let Some(signal) = poll_fn(|context| Pin::new(&mut removed).poll_next(context)).await else {
            return Err(Answer::NoBus("the connection was closed".to_owned()));
        };
        let ended = signal.args().map_err(no_bus)?;
        if ended.job == job {
            return if ended.result == "done" { Ok(()) } else { Err(Answer::Job(ended.result)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_travel_over_the_pipe() {
        for answer in [
            Answer::NoBus("no\nbus".to_owned()),
            Answer::Refused("org.x: y".to_owned()),
            Answer::Job("timeout".to_owned()),
        ] {
            assert_eq!(Answer::decode(&answer.encode()).as_ref(), Some(&answer));
        }
        assert_eq!(Answer::decode(""), None);
        assert_eq!(Answer::decode("X\ny"), None);
    }

    #[test]
    fn a_silent_child_is_not_waited_for() {
        let (reader, _writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let error = read_until(reader.into(), Instant::now()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
