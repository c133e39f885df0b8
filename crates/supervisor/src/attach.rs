//! The client side of `attach`: this process's standard streams connected to those of an app.
//!
//! All bytes go through the control socket; no descriptor changes hands. With the app's terminal, ours is in raw mode
//! for as long as it lasts, and its size is the app's.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use executor::Step;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::Signal;
use rustix::termios::isatty;

use crate::client::{ClientError, Connection, RawMode, unexpected, window_size};
use crate::control::{Attach, Endpoint, Frame, Request, Response, encode, encode_data};

/// How an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The app has ended with this status.
    App(u8),
    /// This side has gone away; the app goes on.
    Detached,
}

/// Typed three times within [`ESCAPE_TIME`], it detaches: Control and `]`.
const ESCAPE: u8 = 0x1d;
/// How many bytes may be on their way to the supervisor before no more are read.
const AHEAD: usize = 64 * 1024;
/// See [`ESCAPE`].
const ESCAPE_TIME: Duration = Duration::from_secs(1);

/// The streams of `app` that clients can connect to.
pub fn endpoints(socket: &Path, app: &str) -> Result<Vec<Endpoint>, ClientError> {
    let apps = crate::client::status(socket)?;
    let app = apps.into_iter().find(|known| known.name == app);
    app.map(|app| app.endpoints)
        .ok_or_else(|| ClientError::Refused("There is no such app in this pod".to_owned()))
}

/// Connects this process's standard streams to `endpoints` of `app`, until the app ends or this side goes away. This
/// process must have no threads and end soon after: its signals stay blocked.
pub fn attach(socket: &Path, app: &str, endpoints: Vec<Endpoint>) -> Result<End, ClientError> {
    let terminal = rustix::stdio::stdin();
    let types = endpoints.contains(&Endpoint::TtyIn) && isatty(terminal);
    let shows = endpoints.contains(&Endpoint::TtyOut) && isatty(terminal);
    let sends = endpoints.iter().any(|endpoint| endpoint.stream() == 0);
    let only_sends = endpoints.iter().all(|endpoint| endpoint.stream() == 0);
    let mut connection = Connection::open(socket)?;
    let signals = sys::signal::receive_all().step(|| "receive signals".to_owned())?;
    let size = shows.then(|| window_size(terminal));
    let request = Request::Attach(Attach { app: app.to_owned(), endpoints, size });
    match connection.ask(&request, &[])? {
        Response::Attached => {}
        other => return Err(unexpected(other)),
    }
    let _raw = types
        .then(|| {
            let copy = rustix::io::fcntl_dupfd_cloexec(terminal, 3)?;
            RawMode::enter(copy)
        })
        .transpose()
        .step(|| "use the terminal".to_owned())?;
    let mut client = Client {
        connection,
        input: sends.then_some(terminal),
        types,
        shows,
        only_sends,
        outgoing: Vec::new(),
        escapes: VecDeque::new(),
    };
    client.run(signals.as_fd())
}

struct Client {
    connection: Connection,
    /// To be read from, while there is more.
    input: Option<BorrowedFd<'static>>,
    types: bool,
    shows: bool,
    only_sends: bool,
    /// On its way to the supervisor: waiting for that would keep us from taking what the app writes meanwhile.
    outgoing: Vec<u8>,
    /// When the last escape characters were typed.
    escapes: VecDeque<Instant>,
}

impl Client {
    fn run(&mut self, signals: BorrowedFd<'_>) -> Result<End, ClientError> {
        loop {
            while let Some(frame) = self.connection.incoming.next_frame::<Response>()? {
                match frame {
                    Frame::Data { stream, bytes } => {
                        let output =
                            if stream == 2 { rustix::stdio::stderr() } else { rustix::stdio::stdout() };
                        if write_all(output, &bytes).is_err() {
                            return Ok(End::Detached);
                        }
                    }
                    Frame::Message(Response::Exited { status }, _) => return Ok(End::App(status)),
                    Frame::Message(other, _) => return Err(unexpected(other)),
                }
            }
            if self.connection.incoming.is_closed() {
                return Err(ClientError::Ended);
            }
            self.flush()?;
            if self.outgoing.is_empty() && self.only_sends && self.input.is_none() {
                return Ok(End::Detached);
            }
            let wanted =
                if self.outgoing.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            let mut waiting = vec![
                PollFd::new(&self.connection.stream, wanted),
                PollFd::from_borrowed_fd(signals, PollFlags::IN),
            ];
            let input = self.input.filter(|_| self.outgoing.len() < AHEAD);
            waiting.extend(input.map(|input| PollFd::from_borrowed_fd(input, PollFlags::IN)));
            match poll(&mut waiting, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).step(|| "wait".to_owned()).map_err(Into::into),
            }
            let ready: Vec<bool> = waiting.iter().map(|waiting| !waiting.revents().is_empty()).collect();
            if ready[1] && self.hear(signals)? {
                return Ok(End::Detached);
            }
            if ready[0] {
                self.connection.incoming.receive_now(&self.connection.stream)?;
            }
            if ready.get(2) == Some(&true) && self.hand_on()? {
                return Ok(End::Detached);
            }
        }
    }

    /// Takes signals: a new size of the terminal, or the end. Tells whether it is the end.
    fn hear(&mut self, signals: BorrowedFd<'_>) -> Result<bool, ClientError> {
        let is = |number: u32, signal: Signal| i32::try_from(number) == Ok(signal.as_raw());
        while let Some(number) = sys::signal::next(signals).step(|| "receive signals".to_owned())? {
            if is(number, Signal::WINCH) && self.shows {
                let size = window_size(rustix::stdio::stdin());
                self.outgoing.extend(encode(&Request::Resize(size))?);
            }
            if [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].iter().any(|&signal| is(number, signal))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends what has been typed. Tells whether that is the end.
    fn hand_on(&mut self) -> Result<bool, ClientError> {
        let Some(input) = self.input else { return Ok(false) };
        let mut buffer = [0; 4096];
        let length = match rustix::io::read(input, &mut buffer) {
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            Ok(length) => length,
            Err(_) => 0,
        };
        let typed = &buffer[..length];
        if typed.is_empty() {
            // Its end is ours and not the app's, which others may still send to.
            self.input = None;
            return Ok(false);
        }
        if self.types && self.escapes(typed) {
            return Ok(true);
        }
        self.outgoing.extend(encode_data(0, typed));
        Ok(false)
    }

    fn flush(&mut self) -> Result<(), ClientError> {
        while !self.outgoing.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(&self.connection.stream, &self.outgoing, flags) {
                Ok(length) => _ = self.outgoing.drain(..length),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return Err(ClientError::Ended),
            }
        }
        Ok(())
    }

    fn escapes(&mut self, typed: &[u8]) -> bool {
        let now = Instant::now();
        for &byte in typed {
            if byte == ESCAPE {
                self.escapes.push_back(now);
            } else {
                self.escapes.clear();
            }
            while self.escapes.front().is_some_and(|&then| now.duration_since(then) > ESCAPE_TIME) {
                self.escapes.pop_front();
            }
            if self.escapes.len() >= 3 {
                return true;
            }
        }
        false
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // Another program has made it non-blocking.
                let mut waiting = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                _ = poll(&mut waiting, None);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
