//! One descriptor of this side and the credit of its stream.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;
use serde::{Deserialize, Serialize};

/// Bytes that may be on their way in one direction of a stream.
pub(super) const WINDOW: usize = 128 * 1024;

/// The largest datagram: a line of the journal with its fields.
const DATAGRAM_MAX: usize = 64 * 1024;

/// How much is read at once.
const CHUNK: usize = 32 * 1024;

/// What a pipe takes at once when it takes anything: more could block.
const PIPE_CHUNK: usize = 4096;

/// Which way bytes go, as one side sees its own descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It is read.
    Read,
    /// It is written to.
    Write,
    /// Both.
    Both,
}

impl Flow {
    /// What the other side does with its descriptor.
    pub fn reversed(self) -> Self {
        match self {
            Flow::Read => Flow::Write,
            Flow::Write => Flow::Read,
            Flow::Both => Flow::Both,
        }
    }

    pub(super) fn to_byte(self) -> u8 {
        match self {
            Flow::Read => 0,
            Flow::Write => 1,
            Flow::Both => 2,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Flow::Read, Flow::Write, Flow::Both].into_iter().find(|flow| flow.to_byte() == byte)
    }
}

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Bytes.
    Bytes,
    /// Datagrams of a socket, or packets of a pipe (`O_DIRECT`).
    Datagrams,
}

/// A descriptor to write to that does not block, where others use it too: what can be opened again is, so that nobody
/// else's copy changes. (To read from, a copy does: what poll(2) says is readable does not block. And a pipe that is
/// opened again does not tell that its writers are gone.)
pub fn unblocked(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    if let FileType::Fifo | FileType::CharacterDevice = sys::path::file_type(fd)?
        && let Ok(own) = sys::fd::open_again(fd, OFlags::WRONLY | OFlags::NONBLOCK)
    {
        return Ok(own);
    }
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

/// The descriptor and what is on its way to it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) fd: OwnedFd,
    kind: Kind,
    is_socket: bool,
    /// Bytes that the other side still takes.
    credit: usize,
    reads: bool,
    writes: bool,
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    /// The other side sends no more: what is queued is the rest.
    ends: bool,
    /// Written and not yet told to the other side.
    written: usize,
    /// The call that it belongs to.
    pub(super) call: Option<u32>,
}

/// What reading gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Nothing,
    Bytes(Vec<u8>),
    End,
}

impl Stream {
    pub(super) fn new(fd: OwnedFd, flow: Flow, kind: Kind, call: Option<u32>) -> Self {
        let is_socket = sys::path::file_type(fd.as_fd()) == Ok(FileType::Socket);
        Stream {
            fd,
            kind,
            is_socket,
            credit: WINDOW,
            reads: flow != Flow::Write,
            writes: flow != Flow::Read,
            queue: VecDeque::new(),
            queued: 0,
            ends: false,
            written: 0,
            call,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        !self.reads && !self.writes
    }

    /// Whether everything that came has been written.
    pub(super) fn is_flushed(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn waits_for(&self) -> PollFlags {
        let enough = match self.kind {
            Kind::Bytes => 1,
            Kind::Datagrams => DATAGRAM_MAX,
        };
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.reads && self.credit >= enough);
        flags.set(PollFlags::OUT, self.writes && !self.queue.is_empty());
        flags
    }

    /// Whether there is something to read now.
    pub(super) fn is_readable(&self) -> bool {
        let mut fds = [rustix::event::PollFd::new(&self.fd, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        self.reads && matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(1..)) && {
            // A pipe whose writers are gone is at its end, and that can be read, too.
            !fds[0].revents().is_empty()
        }
    }

    /// Reads once.
    pub(super) fn take(&mut self) -> Taken {
        if !self.waits_for().contains(PollFlags::IN) {
            return Taken::Nothing;
        }
        let size = match self.kind {
            Kind::Bytes => CHUNK.min(self.credit),
            Kind::Datagrams => DATAGRAM_MAX,
        };
        let mut bytes = vec![0; size];
        match rustix::io::read(&self.fd, &mut bytes) {
            // A datagram may be empty; a packet of a pipe is not.
            Ok(0) if self.kind == Kind::Bytes || !self.is_socket => {
                self.reads = false;
                Taken::End
            }
            Ok(length) => {
                bytes.truncate(length);
                self.credit -= length;
                Taken::Bytes(bytes)
            }
            Err(Errno::INTR | Errno::AGAIN) => Taken::Nothing,
            // A terminal whose other side is closed gives EIO.
            Err(_) => {
                self.reads = false;
                Taken::End
            }
        }
    }

    /// Bytes that have been read before and are sent now: few.
    pub(super) fn charge(&mut self, bytes: &[u8]) {
        self.credit = self.credit.saturating_sub(bytes.len());
    }

    /// The other side takes no more.
    pub(super) fn is_refused(&mut self) {
        self.reads = false;
    }

    pub(super) fn add_credit(&mut self, count: u32) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.credit = self.credit.saturating_add(count).min(WINDOW);
    }

    /// Puts bytes behind what waits. `false` when they are more than the other side had credit for.
    pub(super) fn put(&mut self, bytes: Vec<u8>) -> bool {
        if !self.writes {
            return true;
        }
        self.queued += bytes.len();
        if self.queued + self.written > WINDOW || self.ends {
            return false;
        }
        self.queue.push_back(bytes);
        true
    }

    /// The other side has sent all it had.
    pub(super) fn finish(&mut self) {
        self.ends = true;
        self.close_if_done();
    }

    fn close_if_done(&mut self) {
        if !self.ends || !self.queue.is_empty() || !self.writes {
            return;
        }
        self.writes = false;
        if self.reads && self.is_socket {
            let _ = rustix::net::shutdown(&self.fd, rustix::net::Shutdown::Write);
        }
    }

    /// Writes as much as goes. `false` when nothing will ever be taken again.
    pub(super) fn flush(&mut self) -> bool {
        while let Some(bytes) = self.queue.front_mut() {
            let result = if self.is_socket {
                rustix::net::send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            } else {
                let length = bytes.len().min(PIPE_CHUNK);
                rustix::io::write(&self.fd, &bytes[..length])
            };
            let length = match (result, self.kind) {
                (Ok(_), Kind::Datagrams) => bytes.len(),
                // What its reader refuses is lost; the next may do.
                (Err(error), Kind::Datagrams) if !matches!(error, Errno::AGAIN | Errno::INTR) => bytes.len(),
                (Ok(length), Kind::Bytes) => length,
                (Err(Errno::INTR), _) => continue,
                (Err(Errno::AGAIN), _) => break,
                (Err(_), _) => {
                    self.written += self.queued;
                    self.queue.clear();
                    self.queued = 0;
                    self.writes = false;
                    return false;
                }
            };
            bytes.drain(..length);
            if bytes.is_empty() {
                self.queue.pop_front();
            }
            self.queued -= length;
            self.written += length;
            if !self.is_socket && length == PIPE_CHUNK {
                // There may be no room for more, and the descriptor may block.
                break;
            }
        }
        self.close_if_done();
        true
    }

    /// What the other side may send in addition, when it is worth telling.
    pub(super) fn renewal(&mut self) -> Option<u32> {
        (self.written >= WINDOW / 4)
            .then(|| u32::try_from(std::mem::take(&mut self.written)).unwrap_or(u32::MAX))
    }
}
