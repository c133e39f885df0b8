//! The protocol of the control socket, a unix stream socket.
//!
//! ```text
//! message  = length (4 bytes, big endian, at most 1 MiB) JSON
//! data     = length with its highest bit set, then of that length: stream (1 byte: 0, 1, 2) bytes
//! client → supervisor   one Request; the standard streams of Exec travel with it (SCM_RIGHTS: stdin, stdout,
//!                       stderr, those that `streams` names), then Signal and Resize as long as the process runs;
//!                       after Attach: data for the app's standard input (0), and Resize
//! supervisor → client   one Response; with Started{tty: true} travels the master side of the terminal;
//!                       Exited follows Started; after Attached: data of the app (1, 2), and Exited at its end
//! ```
//! One request a connection. A client that goes away hangs up on the process it started; an app that it is attached to
//! does not notice. No descriptor travels but with Exec, so everything else works over any stream.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest message.
const LENGTH_MAX: usize = 1 << 20;

/// The bit of a length that says: no JSON but data of a stream.
const DATA: u32 = 1 << 31;

/// The most descriptors that travel with a message.
const DESCRIPTORS_MAX: usize = 3;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Run a program with the confinement of an app.
    Exec(Exec),
    /// Send a signal to the process that this connection's `Exec` started.
    Signal {
        /// Its number.
        number: i32,
    },
    /// The terminal of the process that this connection's `Exec` started has a new size.
    Resize(WindowSize),
    /// End the pod.
    Stop {
        /// Kill at once; otherwise apps get SIGTERM and the pod's grace time.
        #[serde(default)]
        force: bool,
    },
    /// Send a signal to the program of an app.
    SignalApp {
        /// Which app.
        app: String,
        /// Its number.
        number: i32,
    },
    /// Tell what runs.
    Status,
    /// Connect to streams of an app that runs.
    Attach(Attach),
    /// Make an app one of a mutable pod. Its root stands at its place already.
    AddApp {
        /// What it is.
        spec: Box<executor::AppSpec>,
    },
    /// Start an app of a mutable pod, for the first time or again.
    StartApp {
        /// Its name.
        app: String,
    },
    /// End an app of a mutable pod; `Done` follows its end.
    StopApp {
        /// Its name.
        app: String,
    },
    /// Forget an app of a mutable pod, which does not run. Its root is left to the client.
    RemoveApp {
        /// Its name.
        app: String,
    },
}

/// The streams of an app to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attach {
    /// The app.
    pub app: String,
    /// Its streams.
    pub endpoints: Vec<Endpoint>,
    /// The size of the client's terminal, for the app's.
    #[serde(default)]
    pub size: Option<WindowSize>,
}

/// A stream of an app that clients can connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// Standard input of mode `stream`: what all clients send, mixed.
    Stdin,
    /// Standard output of mode `stream`.
    Stdout,
    /// Standard error of mode `stream`.
    Stderr,
    /// What is typed at the app's terminal.
    TtyIn,
    /// What the app's terminal shows.
    TtyOut,
}

impl Endpoint {
    /// All there are.
    pub const ALL: [Endpoint; 5] =
        [Endpoint::Stdin, Endpoint::Stdout, Endpoint::Stderr, Endpoint::TtyIn, Endpoint::TtyOut];

    /// As users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Endpoint::Stdin => "stdin",
            Endpoint::Stdout => "stdout",
            Endpoint::Stderr => "stderr",
            Endpoint::TtyIn => "tty-in",
            Endpoint::TtyOut => "tty-out",
        }
    }

    /// What there is, as the end of a sentence.
    pub fn list(endpoints: &[Endpoint]) -> String {
        match endpoints {
            [] => "its streams are not of mode stream or tty".to_owned(),
            some => format!("it has {}", some.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ")),
        }
    }

    /// The number that its data has on the wire.
    pub fn stream(self) -> u8 {
        match self {
            Endpoint::Stdin | Endpoint::TtyIn => 0,
            Endpoint::Stdout | Endpoint::TtyOut => 1,
            Endpoint::Stderr => 2,
        }
    }
}

/// A program to run in an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exec {
    /// Which app's namespaces, cgroup, capabilities, seccomp filter, user, environment and working directory.
    pub app: String,
    /// The program and its arguments, looked up as the app's own.
    pub argv: Vec<String>,
    /// `TERM` of the client.
    #[serde(default)]
    pub term: Option<String>,
    /// A terminal is wanted, of this size.
    #[serde(default)]
    pub tty: Option<WindowSize>,
    /// Which of stdin, stdout and stderr travel with the request, in this order. The others come from
    /// `/dev/null`, or the terminal when there is one.
    #[serde(default)]
    pub streams: [bool; 3],
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// What the supervisor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub enum Response {
    /// The program of an `Exec` runs.
    Started {
        /// Its pid in the pod.
        pid: i32,
        /// The master side of its terminal travels with this message.
        tty: bool,
    },
    /// The program of an `Exec` has ended.
    Exited {
        /// As a shell says it: 128+N for signal N.
        status: u8,
    },
    /// The streams of an `Attach` are connected.
    Attached,
    /// It was done, or is on its way (`Stop`).
    Done,
    /// To `Status`.
    Status {
        /// All apps, in the pod's order.
        apps: Vec<AppStatus>,
    },
    /// It was not done.
    Error {
        /// Why, as a sentence.
        message: String,
    },
}

/// One app of [`Response::Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: AppState,
    /// Its main process.
    #[serde(default)]
    pub pid: Option<i32>,
    /// How it ended.
    #[serde(default)]
    pub exit_status: Option<u8>,
    /// The streams that clients can connect to.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

/// Where an app stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppState {
    /// Not started yet.
    Created,
    /// Its pre-start handler runs, or it has not said that it is ready.
    Starting,
    /// It runs.
    Running,
    /// It has been asked to end, or its post-stop handler runs.
    Stopping,
    /// It has ended.
    Exited,
}

/// Why a message could not be sent or read.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The socket.
    #[error("The control socket failed")]
    Socket(#[from] Errno),
    /// The other side does not keep to the protocol.
    #[error("The control socket carries a message that is too long")]
    TooLong,
    /// The other side does not keep to the protocol.
    #[error("The control socket carries a message that cannot be read")]
    Malformed(#[from] serde_json::Error),
    /// The other side does not keep to the protocol.
    #[error("The control socket carries data where none belongs")]
    Unexpected,
    /// There will be no more.
    #[error("The control socket was closed in the middle of a message")]
    Closed,
}

/// Sends a message, with `descriptors`. On a socket that does not block, one that takes it only in part is an error.
pub fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), ProtocolError> {
    let bytes = encode(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(ProtocolError::TooLong);
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match rustix::net::sendmsg(&socket, &[IoSlice::new(rest)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(sent) => rest = &rest[sent..],
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        // They have gone with the first part.
        ancillary.clear();
    }
    Ok(())
}

/// A message as it goes over the wire.
pub(crate) fn encode(message: &impl Serialize) -> Result<Vec<u8>, ProtocolError> {
    let json = serde_json::to_vec(message)?;
    let length =
        u32::try_from(json.len()).ok().filter(|&length| length < DATA).ok_or(ProtocolError::TooLong)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(json);
    Ok(bytes)
}

/// Data of a stream as it goes over the wire. `data` is cut into pieces that fit.
pub(crate) fn encode_data(stream: u8, data: &[u8]) -> Vec<u8> {
    const PIECE: usize = 64 * 1024;
    let mut bytes = Vec::with_capacity(data.len() + 8);
    for piece in data.chunks(PIECE) {
        let length = u32::try_from(piece.len() + 1).unwrap_or(1);
        bytes.extend((DATA | length).to_be_bytes());
        bytes.push(stream);
        bytes.extend(piece);
    }
    bytes
}

/// What comes over the wire.
#[derive(Debug)]
pub enum Frame<T> {
    /// A message, and the descriptors that came with it.
    Message(T, Vec<OwnedFd>),
    /// Bytes of a stream.
    Data {
        /// 0, 1 or 2, as of the standard streams.
        stream: u8,
        /// Not empty.
        bytes: Vec<u8>,
    },
}

/// Puts messages together from what a socket delivers.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    closed: bool,
}

impl Incoming {
    /// Receives once. On a socket that does not block, having nothing is no error.
    pub fn receive(&mut self, socket: impl AsFd) -> Result<(), ProtocolError> {
        self.receive_with(socket, RecvFlags::CMSG_CLOEXEC)
    }

    /// Receives what is there already.
    pub fn receive_now(&mut self, socket: impl AsFd) -> Result<(), ProtocolError> {
        self.receive_with(socket, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
    }

    fn receive_with(&mut self, socket: impl AsFd, flags: RecvFlags) -> Result<(), ProtocolError> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let length = match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, flags) {
            Ok(message) => message.bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(Errno::CONNRESET) => 0,
            Err(errno) => return Err(errno.into()),
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        // A connection that sends many and never a message is up to no good.
        self.descriptors.truncate(DESCRIPTORS_MAX);
        self.closed |= length == 0;
        self.bytes.extend(&bytes[..length]);
        Ok(())
    }

    /// The next whole message and the descriptors that came so far; `None` while there is none.
    ///
    /// # Errors
    /// When what came is no message of type `T`.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<OwnedFd>)>, ProtocolError> {
        match self.next_frame()? {
            Some(Frame::Message(message, descriptors)) => Ok(Some((message, descriptors))),
            Some(Frame::Data { .. }) => Err(ProtocolError::Unexpected),
            None => Ok(None),
        }
    }

    /// The next whole message or piece of data; `None` while there is none.
    ///
    /// # Errors
    /// When what came is neither.
    pub fn next_frame<T: DeserializeOwned>(&mut self) -> Result<Option<Frame<T>>, ProtocolError> {
        let Some((length, rest)) = self.bytes.split_first_chunk::<4>() else {
            return if self.closed && !self.bytes.is_empty() { Err(ProtocolError::Closed) } else { Ok(None) };
        };
        let length = u32::from_be_bytes(*length);
        let is_data = length & DATA != 0;
        let length = usize::try_from(length & !DATA).unwrap_or(usize::MAX);
        if length > LENGTH_MAX {
            return Err(ProtocolError::TooLong);
        }
        let Some(content) = rest.get(..length) else {
            return if self.closed { Err(ProtocolError::Closed) } else { Ok(None) };
        };
        let frame = match (is_data, content) {
            (true, [stream @ 0..=2, bytes @ ..]) if !bytes.is_empty() => {
                Frame::Data { stream: *stream, bytes: bytes.to_vec() }
            }
            (true, _) => return Err(ProtocolError::Unexpected),
            (false, json) => {
                Frame::Message(serde_json::from_slice(json)?, std::mem::take(&mut self.descriptors))
            }
        };
        self.bytes.drain(..4 + length);
        Ok(Some(frame))
    }

    /// What has come and is no whole message yet: for whoever passes the rest of the connection on as it is.
    pub(crate) fn into_rest(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether the other side has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
    }

    #[test]
    fn messages_with_descriptors() {
        let (ours, theirs) = pair();
        let exec = Request::Exec(Exec {
            app: "web".to_owned(),
            argv: vec!["sh".to_owned(), "-c".to_owned()],
            term: None,
            tty: Some(WindowSize { rows: 24, columns: 80 }),
            streams: [true, false, true],
        });
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        send(&ours, &exec, &[writer.as_fd()]).unwrap();
        send(&ours, &Request::Status, &[]).unwrap();
        drop(writer);
        let mut incoming = Incoming::default();
        assert!(incoming.next_message::<Request>().unwrap().is_none());
        incoming.receive(&theirs).unwrap();
        let (request, descriptors) = incoming.next_message::<Request>().unwrap().unwrap();
        assert_eq!(request, exec);
        assert_eq!(descriptors.len(), 1);
        rustix::io::write(&descriptors[0], b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut [0; 8]).unwrap(), 1);
        incoming.receive(&theirs).unwrap();
        assert_eq!(incoming.next_message::<Request>().unwrap().unwrap().0, Request::Status);
        incoming.receive(&theirs).unwrap();
        assert!(!incoming.is_closed());
        drop(ours);
        incoming.receive(&theirs).unwrap();
        assert!(incoming.is_closed());
        assert!(incoming.next_message::<Request>().unwrap().is_none());
    }

    #[test]
    fn data_between_messages() {
        let (ours, theirs) = pair();
        send(&ours, &Request::Status, &[]).unwrap();
        let long = vec![7; 100_000];
        let wire =
            [encode_data(1, b"abc"), encode(&Request::Status).unwrap(), encode_data(2, &long)].concat();
        assert_eq!(wire[..8], [0x80, 0, 0, 4, 1, b'a', b'b', b'c']);
        let mut incoming = Incoming::default();
        let (mut data, mut messages, mut sent) = ([Vec::new(), Vec::new(), Vec::new()], 0, 0);
        while sent < wire.len() {
            sent += rustix::io::write(&ours, &wire[sent..(sent + 4096).min(wire.len())]).unwrap();
            incoming.receive(&theirs).unwrap();
            incoming.receive(&theirs).unwrap();
            while let Some(frame) = incoming.next_frame::<Request>().unwrap() {
                match frame {
                    Frame::Message(..) => messages += 1,
                    Frame::Data { stream, bytes } => data[usize::from(stream)].extend(bytes),
                }
            }
        }
        assert_eq!((messages, data), (2, [Vec::new(), b"abc".to_vec(), long]));
    }

    #[test]
    fn what_is_no_message() {
        for (bytes, wanted) in [
            (&b"\x7f\xff\xff\xff"[..], "too long"),
            (b"\xff\xff\xff\xff", "too long"),
            (b"\x80\0\0\x02\0a", "where none belongs"),
            (b"\x80\0\0\x02\x03a", "where none belongs"),
            (b"\x80\0\0\0", "where none belongs"),
            (b"\0\0\0\x02{]", "cannot be read"),
            (b"\0\0\0\x12{\"request\":\"what\"}", "cannot be read"),
            (b"\0\0\0\x05{", "in the middle"),
            (b"\0\0", "in the middle"),
        ] {
            let (ours, theirs) = pair();
            rustix::io::write(&ours, bytes).unwrap();
            drop(ours);
            let mut incoming = Incoming::default();
            incoming.receive(&theirs).unwrap();
            incoming.receive(&theirs).unwrap();
            let error = incoming.next_message::<Request>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn the_wire_format_stands() {
        let json = |message: &dyn erased::Message| message.json();
        assert_eq!(json(&Request::Stop { force: true }), r#"{"request":"stop","force":true}"#);
        assert_eq!(json(&Request::Signal { number: 15 }), r#"{"request":"signal","number":15}"#);
        let size = WindowSize { rows: 1, columns: 2 };
        assert_eq!(json(&Request::Resize(size)), r#"{"request":"resize","rows":1,"columns":2}"#);
        assert_eq!(json(&Response::Exited { status: 3 }), r#"{"response":"exited","status":3}"#);
    }

    mod erased {
        pub(super) trait Message {
            fn json(&self) -> String;
        }
        impl<T: serde::Serialize> Message for T {
            fn json(&self) -> String {
                serde_json::to_string(self).unwrap()
            }
        }
    }
}
