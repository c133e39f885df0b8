//! A connection to the control socket, passed on.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use serde_json::Value;

use super::stream::Flow;
use crate::control::{Incoming, Request, Response, WindowSize, send};

/// One side's end of a call: a client on the host, the supervisor in the guest.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) socket: OwnedFd,
    pub(super) incoming: Incoming,
    /// Waits until every byte that came before it is where it belongs.
    pub(super) held: Option<Value>,
    /// The stream of the terminal that a program was given.
    pub(super) terminal: Option<u32>,
}

impl Call {
    /// `socket` does not block.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Call { socket, incoming: Incoming::default(), held: None, terminal: None }
    }

    /// Hands a message on. `false` when nobody takes it.
    pub(super) fn hand_on(&self, message: &Value, descriptors: &[OwnedFd]) -> bool {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        send(&self.socket, message, &descriptors).is_ok()
    }
}

/// Whether a message says that a program has ended: it must not overtake the program's output.
pub(super) fn is_farewell(message: &Value) -> bool {
    matches!(serde_json::from_value(message.clone()), Ok(Response::Exited { .. }))
}

/// The new size of the terminal, when a message tells one.
pub(super) fn new_size(message: &Value) -> Option<WindowSize> {
    match serde_json::from_value(message.clone()) {
        Ok(Request::Resize(size)) => Some(size),
        _ => None,
    }
}

/// Whether the connection carries data of an app after a message.
pub(super) fn attaches(message: &Value) -> bool {
    matches!(serde_json::from_value(message.clone()), Ok(Request::Attach(_)))
}

/// Which way the bytes of the descriptors of a message go, as their side sees them.
pub(super) fn flows(message: &Value, descriptors: &[OwnedFd]) -> Vec<Flow> {
    if let Ok(Request::Exec(exec)) = serde_json::from_value(message.clone()) {
        // Each is what its name says, whatever else it could be used for.
        let flows = [Flow::Read, Flow::Write, Flow::Write];
        return flows
            .into_iter()
            .zip(exec.streams)
            .filter(|(_, sent)| *sent)
            .map(|(flow, _)| flow)
            .chain(std::iter::repeat(Flow::Write))
            .take(descriptors.len())
            .collect();
    }
    descriptors
        .iter()
        .map(|descriptor| match rustix::fs::fcntl_getfl(descriptor).map(|flags| flags & OFlags::RWMODE) {
            Ok(OFlags::WRONLY) => Flow::Write,
            Ok(OFlags::RDWR) => Flow::Both,
            _ => Flow::Read,
        })
        .collect()
}

/// Makes the counterpart of a descriptor that the other side uses as `flow`: ours, which does not block, and the one to hand on.
pub(super) fn counterpart(flow: Flow) -> Result<(OwnedFd, OwnedFd), Errno> {
    let pair = match flow {
        Flow::Both => {
            let (ours, handed) = UnixStream::pair().map_err(|_| Errno::MFILE)?;
            (OwnedFd::from(ours), OwnedFd::from(handed))
        }
        Flow::Read => {
            let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            (writer, reader)
        }
        Flow::Write => rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?,
    };
    rustix::io::ioctl_fionbio(&pair.0, true)?;
    Ok(pair)
}

/// Whether a descriptor may go over the link: a handle of a directory could not, and must not.
pub(super) fn is_acceptable(descriptor: &OwnedFd) -> bool {
    !matches!(sys::path::file_type(descriptor.as_fd()), Ok(FileType::Directory) | Err(_))
}
