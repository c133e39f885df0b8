//! Packets: one message each, with the handles that belong to it.
//!
//! A packet is the message's JSON, at most [`LIMIT`] bytes. Handles travel as `SCM_RIGHTS`, at most [`HANDLES`] of
//! them, and arrive close-on-exec. The end of the stream is the end of the peer.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest message, in bytes. Its JSON is far below it in all honest use.
pub const LIMIT: usize = 128 * 1024;
/// The most handles that come with one message.
pub const HANDLES: usize = 4;

/// What is wrong with a connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says no; `WouldBlock` from a socket that does not wait.
    #[error("Cannot exchange messages")]
    Socket(#[source] std::io::Error),
    /// A packet that is no message, or not for us.
    #[error("A message cannot be read: {0}")]
    Malformed(String),
    /// A message does not fit in a packet.
    #[error("A message is too long ({0} bytes)")]
    TooLong(usize),
}

impl Error {
    /// Whether the socket only was not ready.
    pub fn would_block(&self) -> bool {
        matches!(self, Self::Socket(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

impl From<Errno> for Error {
    fn from(error: Errno) -> Self {
        Self::Socket(error.into())
    }
}

/// Makes the two ends of a connection.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Error> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    for socket in [&ours, &theirs] {
        // Room for the largest packet whatever the system's default is; the system may cut it.
        sockopt::set_socket_send_buffer_size(socket, 4 * LIMIT)?;
    }
    Ok((ours, theirs))
}

/// A message as it goes into a packet.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, Error> {
    let bytes = serde_json::to_vec(message).map_err(|error| Error::Malformed(error.to_string()))?;
    if bytes.len() > LIMIT { Err(Error::TooLong(bytes.len())) } else { Ok(bytes) }
}

/// Sends an encoded message with `handles`.
pub fn send(socket: impl AsFd, message: &[u8], handles: &[BorrowedFd<'_>]) -> Result<(), Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDLES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if handles.len() > HANDLES {
        return Err(Error::TooLong(handles.len()));
    }
    if !handles.is_empty() && !control.push(SendAncillaryMessage::ScmRights(handles)) {
        return Err(Error::TooLong(handles.len()));
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one message and its handles. None when the peer is gone.
pub fn receive<M: DeserializeOwned>(socket: impl AsFd) -> Result<Option<(M, Vec<OwnedFd>)>, Error> {
    // One byte more, so that a packet that is too long shows.
    let mut buffer = vec![0; LIMIT + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDLES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => break received,
            Err(Errno::INTR) => {}
            // The peer died with something of ours unread.
            Err(Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    };
    let mut handles = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            handles.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.bytes > LIMIT || received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Error::TooLong(received.bytes));
    }
    let message = serde_json::from_slice(&buffer[..received.bytes])
        .map_err(|error| Error::Malformed(error.to_string()))?;
    Ok(Some((message, handles)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsRawFd;

    #[test]
    fn messages_arrive_whole_with_their_handles() {
        let (ours, theirs) = pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let long = "x".repeat(LIMIT - 2);
        send(&ours, &encode(&"one").unwrap(), &[file.as_fd(), file.as_fd()]).unwrap();
        send(&ours, &encode(&long).unwrap(), &[]).unwrap();
        let (text, handles) = receive::<String>(&theirs).unwrap().unwrap();
        assert_eq!((text.as_str(), handles.len()), ("one", 2));
        let mut copy = std::fs::File::from(handles.into_iter().next().unwrap());
        assert_ne!(copy.as_raw_fd(), file.as_raw_fd());
        copy.write_all(b"through the other").unwrap();
        let mut content = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "through the other");
        assert_eq!(receive::<String>(&theirs).unwrap().unwrap().0, long);
        drop(ours);
        assert!(receive::<String>(&theirs).unwrap().is_none());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let (ours, theirs) = pair().unwrap();
        assert!(matches!(encode(&"x".repeat(LIMIT - 1)), Err(Error::TooLong(_))));
        send(&ours, b"{\"", &[]).unwrap();
        assert!(matches!(receive::<String>(&theirs), Err(Error::Malformed(_))));
        send(&ours, &vec![b' '; LIMIT + 5], &[]).unwrap();
        assert!(matches!(receive::<String>(&theirs), Err(Error::TooLong(_))));
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(send(&ours, b"1", &[file.as_fd(); HANDLES + 1]), Err(Error::TooLong(_))));
    }
}
