//! The protocol of the control socket, a unix stream socket.
//!
//! ```text
//! message  = length (4 bytes, big endian, at most 1 MiB) JSON
//! client → supervisor   one Request; the standard streams of Exec travel with it (SCM_RIGHTS: stdin, stdout,
//!                       stderr, those that `streams` names), then Signal and Resize as long as the process runs
//! supervisor → client   one Response; with Started{tty: true} travels the master side of the terminal;
//!                       Exited follows Started
//! ```
//! One request a connection. A client that goes away hangs up on the process it started.

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
    /// Tell what runs.
    Status,
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
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(|_| ProtocolError::TooLong)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(json);
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
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let length = match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
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
        let Some((length, rest)) = self.bytes.split_first_chunk::<4>() else {
            return if self.closed && !self.bytes.is_empty() { Err(ProtocolError::Closed) } else { Ok(None) };
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > LENGTH_MAX {
            return Err(ProtocolError::TooLong);
        }
        let Some(json) = rest.get(..length) else {
            return if self.closed { Err(ProtocolError::Closed) } else { Ok(None) };
        };
        let message = serde_json::from_slice(json)?;
        self.bytes.drain(..4 + length);
        Ok(Some((message, std::mem::take(&mut self.descriptors))))
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
    fn what_is_no_message() {
        for (bytes, wanted) in [
            (&b"\xff\xff\xff\xff"[..], "too long"),
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
