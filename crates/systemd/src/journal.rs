//! The journal: stream sockets for the output of programs, and entries with fields.
//!
//! A *stream* is what systemd gives a service as standard output: each line becomes an entry, attributed to the
//! unit that the writer stands in. It starts with a header of seven lines:
//!
//! ```text
//! identifier NL unit NL priority NL level-prefix NL to-syslog NL to-kmsg NL to-console NL
//! ```
//!
//! An *entry* is one datagram of fields in the native protocol:
//!
//! ```text
//! NAME=value NL                                    when the value has no newline
//! NAME NL length (8 bytes, little endian) value NL  otherwise
//! ```

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// Where streams are opened.
const STREAM: &str = "/run/systemd/journal/stdout";

/// Where entries are sent.
const SOCKET: &str = "/run/systemd/journal/socket";

/// How much a writer may be ahead of the journal; what systemd itself sets.
const SEND_BUFFER: usize = 8 * 1024 * 1024;

/// How urgent an entry is; see syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Something failed.
    Error = 3,
    /// Something may be wrong.
    Warning = 4,
    /// Normal, and of interest.
    Notice = 5,
    /// Normal.
    Info = 6,
    /// For those who look for faults.
    Debug = 7,
}

/// Whether the standard output of this process is a stream of the journal, as `JOURNAL_STREAM` says.
pub fn stdout_is_journal() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| {
        rustix::fs::fstat(io::stdout()).is_ok_and(|stat| names(&stream, stat.st_dev, stat.st_ino))
    })
}

/// Whether the text of `JOURNAL_STREAM` names the file with these numbers.
fn names(stream: &str, device: u64, inode: u64) -> bool {
    stream.split_once(':').is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

/// A stream to be opened.
#[derive(Debug, Clone, Copy)]
pub struct Stream<'a> {
    /// `SYSLOG_IDENTIFIER` of its entries.
    pub identifier: &'a str,
    /// The unit that entries belong to when the writer stands in none. Empty for none.
    pub unit: &'a str,
    /// Of lines that do not say it themselves.
    pub priority: Priority,
    /// Lines may begin with `<N>`, their priority.
    pub level_prefix: bool,
}

impl<'a> Stream<'a> {
    /// That of an app, whose lines may say their priority.
    pub fn of_app(name: &'a str, unit: &'a str) -> Self {
        Stream { identifier: name, unit, priority: Priority::Info, level_prefix: true }
    }

    fn header(&self) -> String {
        let line = |text: &str| text.replace('\n', " ");
        let Stream { identifier, unit, priority, level_prefix } = self;
        let prefix = u8::from(*level_prefix);
        format!("{}\n{}\n{}\n{prefix}\n0\n0\n0\n", line(identifier), line(unit), *priority as u8)
    }

    /// Opens it: a socket to be some program's standard output.
    pub fn open(&self) -> io::Result<OwnedFd> {
        let mut socket = UnixStream::connect(STREAM)?;
        socket.shutdown(std::net::Shutdown::Read)?;
        // Not being allowed a large buffer is no reason to lose the output.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, SEND_BUFFER)
            .or_else(|_| rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER));
        socket.write_all(self.header().as_bytes())?;
        Ok(socket.into())
    }
}

/// A socket for entries, connected.
pub fn socket() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(SOCKET)?;
    Ok(socket)
}

/// One entry, being put together.
#[derive(Debug, Clone)]
pub struct Entry {
    bytes: Vec<u8>,
}

impl Entry {
    /// Begins one.
    pub fn new(priority: Priority, message: &[u8]) -> Self {
        let mut entry = Entry { bytes: Vec::with_capacity(message.len() + 128) };
        entry.push("PRIORITY", (priority as u8).to_string().as_bytes());
        entry.push("MESSAGE", message);
        entry
    }

    /// Adds a field. Names are capital letters, digits and `_`, and begin with a letter; others are ignored by the
    /// journal.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.push(name, value.as_ref());
        self
    }

    fn push(&mut self, name: &str, value: &[u8]) {
        self.bytes.extend_from_slice(name.as_bytes());
        if value.contains(&b'\n') {
            self.bytes.push(b'\n');
            self.bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.bytes.push(b'=');
        }
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
    }

    /// The datagram.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sends it; one that is too large for a datagram goes as a sealed file.
    pub fn send(&self, socket: &UnixDatagram) -> io::Result<()> {
        match socket.send(&self.bytes) {
            Ok(_) => Ok(()),
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::MSGSIZE | Errno::NOBUFS)) => {
                self.send_as_file(socket)
            }
            Err(error) => Err(error),
        }
    }

    fn send_as_file(&self, socket: &UnixDatagram) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = std::fs::File::from(rustix::fs::memfd_create("journal-entry", flags)?);
        file.write_all(&self.bytes)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        let fds = [file.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        rustix::net::sendmsg(socket, &[], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_device_and_inode() {
        for (text, same) in [
            ("9:17289", true),
            ("9:17290", false),
            ("8:17289", false),
            ("9", false),
            ("", false),
            ("9:17289:1", false),
            ("a:b", false),
        ] {
            assert_eq!(names(text, 9, 17289), same, "{text}");
        }
    }

    #[test]
    fn a_stream_says_who_it_is() {
        let stream = Stream { identifier: "we\nb", unit: "", priority: Priority::Info, level_prefix: true };
        assert_eq!(stream.header(), "we b\n\n6\n1\n0\n0\n0\n");
    }

    #[test]
    fn fields_with_newlines_carry_their_length() {
        let entry = Entry::new(Priority::Warning, b"one line").field("RKT_APP", "web").field("TEXT", "a\nb");
        let mut wanted = b"PRIORITY=4\nMESSAGE=one line\nRKT_APP=web\nTEXT\n".to_vec();
        wanted.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0]);
        wanted.extend_from_slice(b"a\nb\n");
        assert_eq!(entry.as_bytes(), wanted);
    }

    #[test]
    fn an_entry_too_large_for_a_datagram_goes_as_a_file() {
        use std::io::{Read, Seek};
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let text = vec![b'x'; 4 * 1024 * 1024];
        Entry::new(Priority::Info, &text).send(&ours).unwrap();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
        let received =
            rustix::net::recvmsg(&theirs, &mut [], &mut control, rustix::net::RecvFlags::empty()).unwrap();
        assert_eq!(received.bytes, 0);
        let mut files = control.drain().filter_map(|message| match message {
            rustix::net::RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let mut file = std::fs::File::from(files.next().unwrap().next().unwrap());
        let mut content = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut content).unwrap();
        assert_eq!(content.len(), text.len() + "PRIORITY=6\nMESSAGE=\n".len());
    }
}
