//! The side of `rkt`: starts a worker and talks to it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::document::Document;
use crate::failure::Failure;
use crate::message::{Confinement, Event, FromWorker, Outcome, PROTOCOL, Reply, Request, ToWorker};
use crate::packet;
use crate::text::printable;

/// Where the package puts the worker.
pub const PROGRAM: &str = "/usr/lib/rkt/rkt-fetcher";
/// How much of what a worker prints is kept.
const STDERR_LIMIT: u64 = 16 * 1024;
/// How long a worker may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(5);

/// What of the environment reaches the worker: proxies, trust store, options of the resolver. Nothing else does.
const ENVIRONMENT: [&str; 12] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RES_OPTIONS",
    "LOCALDOMAIN",
];

/// How to start a worker.
#[derive(Debug, Clone)]
pub struct Launch {
    program: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl Launch {
    /// The worker `program`, with what it may see of this process's environment.
    pub fn new(program: &Path) -> Self {
        let present = |name: &&str| std::env::var_os(name).map(|value| (OsString::from(name), value));
        Self { program: program.to_owned(), environment: ENVIRONMENT.iter().filter_map(present).collect() }
    }

    /// Sets one variable of its environment, in place of the inherited one.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl Into<OsString>) -> Self {
        self.environment.retain(|(known, _)| known != name.as_ref());
        self.environment.push((name.as_ref().to_owned(), value.into()));
        self
    }
}

impl Default for Launch {
    fn default() -> Self {
        Self::new(Path::new(PROGRAM))
    }
}

/// Why there is no worker, or no more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not start.
    #[error("Cannot start the download worker {}", program.display())]
    Start {
        /// Its file.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended by itself.
    #[error("The download worker ended ({status}){}", said(output))]
    Ended {
        /// How.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// It is of another version of rkt.
    #[error("The download worker speaks protocol {theirs} and rkt {ours}: install both from one version")]
    Version {
        /// Ours.
        ours: u32,
        /// The worker's.
        theirs: u32,
    },
    /// It says something out of turn.
    #[error("The download worker says something out of turn: {}", printable(.0))]
    Confused(String),
    /// It cannot be talked to.
    #[error("Cannot talk to the download worker")]
    Packet(#[from] packet::Error),
    /// The system does not give what a worker needs.
    #[error("Cannot prepare the download worker")]
    Prepare(#[source] io::Error),
    /// The request came to nothing; the worker goes on.
    #[error(transparent)]
    Failed(#[from] Failure),
}

fn said(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!(": {}", printable(output)) }
}

/// News of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Something happened.
    Event(Event),
    /// It is over.
    Done(Result<Reply, Failure>),
}

/// A request under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A running worker.
///
/// Dropping it ends the process, at once and whatever it does; [`finish`](Self::finish) does so in good order.
#[derive(Debug)]
pub struct Worker {
    socket: Option<OwnedFd>,
    child: Child,
    stderr: Document,
    confinement: Confinement,
    next: u64,
    /// News that came while another request was waited for.
    pending: VecDeque<(Ticket, News)>,
}

impl Worker {
    /// Starts a worker and waits until it is locked in.
    pub fn start(launch: &Launch) -> Result<Self, Error> {
        let (ours, theirs) = packet::pair()?;
        let stderr = Document::new(STDERR_LIMIT).map_err(Error::Prepare)?;
        let stderr_handle = stderr.as_fd().try_clone_to_owned().map_err(Error::Prepare)?;
        let child = Command::new(&launch.program)
            .env_clear()
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::from(File::from(stderr_handle)))
            .spawn()
            .map_err(|source| Error::Start { program: launch.program.clone(), source })?;
        let nothing = Confinement { protocol: PROTOCOL, user: 0, landlock: None };
        let mut worker = Self {
            socket: Some(ours),
            child,
            stderr,
            confinement: nothing,
            next: 1,
            pending: VecDeque::new(),
        };
        match worker.receive()? {
            FromWorker::Ready(confinement) if confinement.protocol == PROTOCOL => {
                worker.confinement = confinement;
                Ok(worker)
            }
            FromWorker::Ready(confinement) => {
                Err(Error::Version { ours: PROTOCOL, theirs: confinement.protocol })
            }
            other => Err(Error::Confused(format!("{other:?}"))),
        }
    }

    /// How it is locked in, as it says itself.
    pub fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes a request, which goes on beside those under way. `handles` are the files that it names, in its order.
    pub fn submit(&mut self, request: Request, handles: &[BorrowedFd<'_>]) -> Result<Ticket, Error> {
        let ticket = Ticket(self.next);
        self.next += 1;
        let message = packet::encode(&ToWorker::Start { id: ticket.0, request: Box::new(request) })?;
        self.send(&message, handles)?;
        Ok(ticket)
    }

    /// Stops a request. Its end is still reported.
    pub fn cancel(&mut self, ticket: Ticket) -> Result<(), Error> {
        let message = packet::encode(&ToWorker::Cancel { id: ticket.0 })?;
        self.send(&message, &[])
    }

    /// Waits for news of any request.
    pub fn wait(&mut self) -> Result<(Ticket, News), Error> {
        if let Some(news) = self.pending.pop_front() {
            return Ok(news);
        }
        match self.receive()? {
            FromWorker::Event { id, event } => Ok((Ticket(id), News::Event(event))),
            FromWorker::Done { id, outcome } => {
                let result = match outcome {
                    Outcome::Finished(reply) => Ok(reply),
                    Outcome::Failed(failure) => Err(failure),
                };
                Ok((Ticket(id), News::Done(result)))
            }
            FromWorker::Ready(_) => Err(Error::Confused("it is ready a second time".to_owned())),
        }
    }

    /// Makes a request and waits for its end. News of others is kept for [`wait`](Self::wait).
    pub fn run(
        &mut self,
        request: Request,
        handles: &[BorrowedFd<'_>],
        mut on_event: impl FnMut(Event),
    ) -> Result<Reply, Error> {
        let ticket = self.submit(request, handles)?;
        let mut others = VecDeque::new();
        let result = loop {
            match self.wait() {
                Ok((of, News::Event(event))) if of == ticket => on_event(event),
                Ok((of, News::Done(result))) if of == ticket => break result.map_err(Error::from),
                Ok(other) => others.push_back(other),
                Err(error) => break Err(error),
            }
        };
        self.pending = others;
        result
    }

    /// Ends the worker and waits until it is gone: from then on nobody holds the files that were handed over.
    pub fn finish(mut self) -> Result<(), Error> {
        self.socket = None;
        let status = self.reap()?;
        if status.success() { Ok(()) } else { Err(Error::Ended { status, output: self.output() }) }
    }

    fn send(&self, message: &[u8], handles: &[BorrowedFd<'_>]) -> Result<(), Error> {
        // A worker that died shows when its end is read.
        match packet::send(self.socket()?, message, handles) {
            Err(packet::Error::Socket(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// The next message. Whatever handles come with it are closed: the worker has none to give.
    fn receive(&mut self) -> Result<FromWorker, Error> {
        if let Some((message, _)) = packet::receive(self.socket()?)? {
            return Ok(message);
        }
        let status = self.reap()?;
        Err(Error::Ended { status, output: self.output() })
    }

    fn socket(&self) -> Result<BorrowedFd<'_>, Error> {
        let gone = || packet::Error::Socket(io::ErrorKind::NotConnected.into());
        Ok(self.socket.as_ref().ok_or_else(gone)?.as_fd())
    }

    /// Waits for the end of the process, and makes one if it takes too long.
    fn reap(&mut self) -> Result<ExitStatus, Error> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().map_err(Error::Prepare)? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.child.kill();
        self.child.wait().map_err(Error::Prepare)
    }

    /// What it printed.
    fn output(&self) -> String {
        let all = self.stderr.read(STDERR_LIMIT).unwrap_or_default();
        let end = all.iter().position(|&byte| byte == 0).unwrap_or(all.len());
        String::from_utf8_lossy(&all[..end]).trim().to_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.socket = None;
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl AsFd for Worker {
    /// The socket, readable when there is news: for a caller that waits for other things too.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // Only `finish` and `drop` close it, and both consume the worker.
        self.socket.as_ref().map_or_else(|| self.stderr.as_fd(), AsFd::as_fd)
    }
}
