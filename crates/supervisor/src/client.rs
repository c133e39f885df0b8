//! The other side of the control socket: what a stage1's `enter` and `stop` do.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use executor::{Failed, Step};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{
    OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::control::{AppStatus, Exec, Incoming, ProtocolError, Request, Response, WindowSize, send};

/// Why a request was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("Cannot reach the pod's supervisor at {path}; does the pod run?")]
    Connect {
        /// The socket.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection failed.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The supervisor says no.
    #[error("{0}")]
    Refused(String),
    /// The connection ended early.
    #[error("The pod ended before it answered")]
    Ended,
    /// Something of our own failed.
    #[error(transparent)]
    Step(#[from] Failed),
}

/// Asks the supervisor that listens at `socket` to end its pod.
pub fn stop(socket: &Path, force: bool) -> Result<(), ClientError> {
    match Connection::open(socket)?.ask(&Request::Stop { force }, &[])? {
        Response::Done => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// Sends a signal to the program of `app`.
pub fn signal(socket: &Path, app: &str, number: i32) -> Result<(), ClientError> {
    match Connection::open(socket)?.ask(&Request::SignalApp { app: app.to_owned(), number }, &[])? {
        Response::Done => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// A connection over which the apps of a mutable pod are changed. It can be opened before this process goes where the socket
/// is not.
#[derive(Debug)]
pub struct Changes(Connection);

impl Changes {
    /// Connects to the supervisor that listens at `socket`.
    pub fn open(socket: &Path) -> Result<Self, ClientError> {
        Connection::open(socket).map(Self)
    }

    /// Asks for one change, and waits until it is done.
    pub fn ask(&mut self, request: &Request) -> Result<(), ClientError> {
        match self.0.ask(request, &[])? {
            Response::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }
}

/// Asks the supervisor that listens at `socket` what runs.
pub fn status(socket: &Path) -> Result<Vec<AppStatus>, ClientError> {
    match Connection::open(socket)?.ask(&Request::Status, &[])? {
        Response::Status { apps } => Ok(apps),
        other => Err(unexpected(other)),
    }
}

/// Runs `argv` in `app` with this process's standard streams, and returns its exit status.
///
/// When standard input and output are a terminal, the program gets one of its own, made inside the pod, and bytes are
/// copied: no handle of a terminal outside goes in, and neither does one of a directory. Signals are
/// handed on. This process must have no threads and end soon after: its signals stay blocked.
pub fn exec(socket: &Path, app: &str, argv: &[String]) -> Result<u8, ClientError> {
    let connection = Connection::open(socket)?;
    let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let terminals = own.map(isatty);
    let mut session = Session { connection, pumps: Vec::new(), master: None, _raw: None };
    let wants_tty = terminals[0] && terminals[1];
    let mut handed: [Option<OwnedFd>; 3] = [None, None, None];
    for (index, slot) in handed.iter_mut().enumerate() {
        *slot = match (wants_tty, terminals[index]) {
            (true, _) if index < 2 => None,
            // The terminal's.
            (true, true) => None,
            // A terminal that is only one of the streams stays outside too.
            (false, true) => Some(session.pump_through_pipe(own[index], index == 0)?),
            (_, false) => Some(
                rustix::io::fcntl_dupfd_cloexec(own[index], 3)
                    .step(|| "copy a standard stream".to_owned())?,
            ),
        };
    }
    let tty = if wants_tty { Some(window_size(own[0])) } else { None };
    let request = Request::Exec(Exec {
        app: app.to_owned(),
        argv: argv.to_vec(),
        term: std::env::var("TERM").ok(),
        tty,
        streams: [handed[0].is_some(), handed[1].is_some(), handed[2].is_some()],
    });
    let descriptors: Vec<BorrowedFd<'_>> = handed.iter().flatten().map(AsFd::as_fd).collect();
    let signals = sys::signal::receive_all().step(|| "receive signals".to_owned())?;
    match session.connection.ask(&request, &descriptors)? {
        Response::Started { .. } => {}
        other => return Err(unexpected(other)),
    }
    drop(handed);
    if wants_tty {
        let master = session.connection.descriptors.pop().ok_or(ClientError::Ended)?;
        session.use_terminal(master, own[0], own[1])?;
    }
    session.run(signals.as_fd(), own[0])
}

pub(crate) fn unexpected(response: Response) -> ClientError {
    match response {
        Response::Error { message } => ClientError::Refused(message),
        other => ClientError::Refused(format!("The supervisor answers with something else: {other:?}")),
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    pub(crate) incoming: Incoming,
    descriptors: Vec<OwnedFd>,
}

impl Connection {
    pub(crate) fn open(socket: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket)
            .map_err(|source| ClientError::Connect { path: socket.display().to_string(), source })?;
        Ok(Connection { stream, incoming: Incoming::default(), descriptors: Vec::new() })
    }

    pub(crate) fn ask(
        &mut self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Response, ClientError> {
        send(&self.stream, request, descriptors)?;
        loop {
            if let Some(response) = self.next()? {
                return Ok(response);
            }
            self.incoming.receive(&self.stream)?;
        }
    }

    fn next(&mut self) -> Result<Option<Response>, ClientError> {
        match self.incoming.next_message()? {
            Some((response, descriptors)) => {
                self.descriptors.extend(descriptors);
                Ok(Some(response))
            }
            None if self.incoming.is_closed() => Err(ClientError::Ended),
            None => Ok(None),
        }
    }
}

/// A running program and what is copied for it.
struct Session {
    connection: Connection,
    pumps: Vec<Pump>,
    master: Option<OwnedFd>,
    _raw: Option<RawMode>,
}

impl Session {
    /// Makes a pipe and copies between it and `own`; returns the end that goes into the pod.
    fn pump_through_pipe(&mut self, own: BorrowedFd<'_>, inwards: bool) -> Result<OwnedFd, ClientError> {
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let (reader, writer) = rustix::pipe::pipe_with(flags).step(|| "make a pipe".to_owned())?;
        let own = rustix::io::fcntl_dupfd_cloexec(own, 3).step(|| "copy a standard stream".to_owned())?;
        if inwards {
            self.pumps.push(Pump::inwards(own, writer));
            Ok(reader)
        } else {
            self.pumps.push(Pump::outwards(reader, own));
            Ok(writer)
        }
    }

    fn use_terminal(
        &mut self,
        master: OwnedFd,
        input: BorrowedFd<'_>,
        output: BorrowedFd<'_>,
    ) -> Result<(), ClientError> {
        let copy = |fd: BorrowedFd<'_>| {
            rustix::io::fcntl_dupfd_cloexec(fd, 3).step(|| "copy a standard stream".to_owned())
        };
        rustix::io::ioctl_fionbio(&master, true).step(|| "use the terminal".to_owned())?;
        self.pumps.push(Pump::inwards(copy(input)?, copy(master.as_fd())?));
        self.pumps.push(Pump::outwards(copy(master.as_fd())?, copy(output)?));
        self.master = Some(master);
        self._raw = Some(RawMode::enter(copy(input)?).step(|| "switch the terminal to raw mode".to_owned())?);
        Ok(())
    }

    /// Copies and hands on until the program has ended.
    fn run(&mut self, signals: BorrowedFd<'_>, terminal: BorrowedFd<'_>) -> Result<u8, ClientError> {
        loop {
            match self.connection.next()? {
                Some(Response::Exited { status }) => {
                    self.pumps.iter_mut().filter(|pump| pump.outwards).for_each(Pump::drain);
                    return Ok(status);
                }
                Some(other) => return Err(unexpected(other)),
                None => {}
            }
            let mut waiting = vec![
                PollFd::new(&self.connection.stream, PollFlags::IN),
                PollFd::from_borrowed_fd(signals, PollFlags::IN),
            ];
            waiting.extend(self.pumps.iter().map(Pump::waits_for));
            match poll(&mut waiting, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Failed { step: "wait".to_owned(), errno }.into()),
            }
            let ready: Vec<bool> = waiting.iter().map(|waiting| !waiting.revents().is_empty()).collect();
            if ready[0] {
                self.connection.incoming.receive(&self.connection.stream)?;
            }
            if ready[1] {
                while let Some(number) = sys::signal::next(signals).step(|| "receive signals".to_owned())? {
                    self.hand_on(number, terminal)?;
                }
            }
            for (pump, _) in self.pumps.iter_mut().zip(&ready[2..]).filter(|(_, ready)| **ready) {
                pump.step();
            }
            self.pumps.retain(|pump| !pump.ended);
        }
    }

    fn hand_on(&mut self, number: u32, terminal: BorrowedFd<'_>) -> Result<(), ClientError> {
        use rustix::process::Signal;
        let Ok(number) = i32::try_from(number) else { return Ok(()) };
        if number == Signal::WINCH.as_raw() {
            if let Some(master) = &self.master {
                let size = window_size(terminal);
                match set_window_size(master.as_fd(), size) {
                    // The terminal is in another machine.
                    Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => {
                        send(&self.connection.stream, &Request::Resize(size), &[])?;
                    }
                    resized => resized.step(|| "resize the terminal".to_owned())?,
                }
            }
            return Ok(());
        }
        let handed_on = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2];
        if handed_on.iter().any(|signal| signal.as_raw() == number) {
            send(&self.connection.stream, &Request::Signal { number }, &[])?;
        }
        Ok(())
    }
}

/// The size of `terminal`, or the usual one.
pub fn window_size(terminal: BorrowedFd<'_>) -> WindowSize {
    match tcgetwinsize(terminal) {
        Ok(Winsize { ws_row, ws_col, .. }) => WindowSize { rows: ws_row, columns: ws_col },
        Err(_) => WindowSize { rows: 24, columns: 80 },
    }
}

/// Sets the size of `terminal`.
pub(crate) fn set_window_size(terminal: BorrowedFd<'_>, size: WindowSize) -> Result<(), Errno> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size)
}

/// Copies from one descriptor to another, a chunk at a time.
struct Pump {
    from: OwnedFd,
    to: OwnedFd,
    /// It brings the program's output, not its input.
    outwards: bool,
    chunk: Vec<u8>,
    ended: bool,
}

impl Pump {
    fn inwards(from: OwnedFd, to: OwnedFd) -> Self {
        Pump { from, to, outwards: false, chunk: Vec::new(), ended: false }
    }

    fn outwards(from: OwnedFd, to: OwnedFd) -> Self {
        Pump { from, to, outwards: true, chunk: Vec::new(), ended: false }
    }

    fn waits_for(&self) -> PollFd<'_> {
        if self.chunk.is_empty() {
            PollFd::new(&self.from, PollFlags::IN)
        } else {
            PollFd::new(&self.to, PollFlags::OUT)
        }
    }

    fn step(&mut self) {
        if self.chunk.is_empty() {
            let mut buffer = [0; 4096];
            match rustix::io::read(&self.from, &mut buffer) {
                Ok(0) => self.ended = true,
                Ok(length) => self.chunk.extend(&buffer[..length]),
                Err(Errno::INTR | Errno::AGAIN) => return,
                // A terminal whose other side is closed gives EIO.
                Err(_) => self.ended = true,
            }
        }
        if !self.chunk.is_empty() {
            match rustix::io::write(&self.to, &self.chunk) {
                Ok(length) => _ = self.chunk.drain(..length),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => self.ended = true,
            }
        }
    }

    /// Copies what is there already.
    fn drain(&mut self) {
        let _ = rustix::io::ioctl_fionbio(&self.from, true);
        while !self.ended {
            self.step();
            if self.chunk.is_empty() {
                let mut more = [PollFd::new(&self.from, PollFlags::IN)];
                let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
                if !matches!(poll(&mut more, Some(&now)), Ok(1..)) {
                    return;
                }
            }
        }
    }
}

/// A terminal in raw mode, for as long as this lives.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Switches `terminal` to it.
    ///
    /// # Errors
    /// `ENOTTY` for what is none.
    pub fn enter(terminal: OwnedFd) -> Result<Self, Errno> {
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(RawMode { terminal, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // There is nobody to tell, and nothing better to do.
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}
