//! Where the lines of apps go: the pod's console and the journal.
//!
//! Neither may hold up process 1, and nothing is lost while they are slow: what they do not take at once is queued, and
//! as long as a queue is long nothing more is read from the apps ([`Log::is_congested`]). An app that writes more than
//! its readers take waits, as it would on any pipe.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;

/// Bytes in a queue from which on apps must wait.
const CONGESTED: usize = 64 * 1024;

/// One line of an app.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// The app.
    pub(crate) app: &'a str,
    /// Its main process, when there is one.
    pub(crate) pid: Option<i32>,
    /// 0 to 7, as syslog counts.
    pub(crate) priority: u8,
    /// As syslog counts.
    pub(crate) facility: Option<u8>,
    /// The text, without its end.
    pub(crate) text: &'a [u8],
}

/// The console and the journal.
#[derive(Debug)]
pub(crate) struct Log {
    pod: String,
    started: Instant,
    /// What apps write, on standard output and error alike, as systemd shows it.
    console: Console,
    /// What the supervisor itself has to say of them.
    errors: Console,
    journal: Option<Journal>,
    /// The console is the journal: lines go there once, as entries.
    console_is_journal: bool,
    /// Journal streams of apps whose output clients see as well.
    streams: Vec<Console>,
}

impl Log {
    /// `journal` is connected to journald's socket for native messages.
    pub(crate) fn new(
        pod: &str,
        started: Instant,
        [console, errors]: [Console; 2],
        journal: Option<OwnedFd>,
    ) -> Self {
        let journal = journal.map(|socket| Journal { socket, queue: VecDeque::new(), queued: 0 });
        let streams = Vec::new();
        Log { pod: pod.to_owned(), started, console, errors, journal, console_is_journal: false, streams }
    }

    /// Says that what is written to the console gets into the journal.
    pub(crate) fn set_console_is_journal(&mut self) {
        self.console_is_journal = self.journal.is_some();
    }

    /// Adds a journal stream, for [`Log::write_to`].
    pub(crate) fn add_stream(&mut self, stream: &OwnedFd) -> Result<usize, Errno> {
        self.streams.push(Console::new(stream.as_fd())?);
        Ok(self.streams.len() - 1)
    }

    /// Writes a line of an app to its journal stream, which knows who it is of.
    pub(crate) fn write_to(&mut self, stream: usize, text: &[u8]) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.write(&[text, b"\n"].concat());
        }
    }

    /// Writes a line of an app to console and journal. Empty ones are dropped, as journald does.
    pub(crate) fn write(&mut self, line: Line<'_>) {
        self.show(line, false);
    }

    /// Writes what the supervisor says to standard error and journal.
    pub(crate) fn say(&mut self, line: Line<'_>) {
        self.show(line, true);
    }

    fn show(&mut self, line: Line<'_>, ours: bool) {
        let text = line.text.trim_ascii_end();
        if text.is_empty() {
            return;
        }
        let line = Line { text, ..line };
        let time = self.started.elapsed();
        let mut shown = prefix(time.as_secs(), time.subsec_micros(), line.app, line.pid);
        shown.extend(text);
        shown.push(b'\n');
        if !self.console_is_journal {
            if ours { &mut self.errors } else { &mut self.console }.write(&shown);
        }
        if let Some(journal) = &mut self.journal {
            journal.write(entry(&self.pod, line));
        }
    }

    /// Whether nothing more should be read for now.
    pub(crate) fn is_congested(&self) -> bool {
        self.consoles().map(|console| console.queue.len()).sum::<usize>() > CONGESTED
            || self.journal.as_ref().is_some_and(|journal| journal.queued > CONGESTED)
    }

    /// The descriptors that can be written to again when poll(2) says so.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let consoles =
            self.consoles().filter(|console| !console.queue.is_empty()).map(|console| console.fd.as_fd());
        let journal = self.journal.as_ref().filter(|journal| !journal.queue.is_empty());
        consoles.chain(journal.map(|journal| journal.socket.as_fd()))
    }

    fn consoles(&self) -> impl Iterator<Item = &Console> {
        [&self.console, &self.errors].into_iter().chain(&self.streams)
    }

    /// Writes what is queued, as far as it goes.
    pub(crate) fn flush(&mut self) {
        self.console.flush();
        self.errors.flush();
        self.streams.iter_mut().for_each(Console::flush);
        if let Some(journal) = &mut self.journal {
            journal.flush();
        }
    }
}

/// The beginning of a line on the console, as systemd shows it.
fn prefix(seconds: u64, micros: u32, app: &str, pid: Option<i32>) -> Vec<u8> {
    let pid = pid.map(|pid| format!("[{pid}]")).unwrap_or_default();
    format!("[{seconds:5}.{micros:06}] {app}{pid}: ").into_bytes()
}

/// A message of journald's native protocol. Lines hold no newline, so every field is in the short form.
fn entry(pod: &str, line: Line<'_>) -> Vec<u8> {
    let mut entry = Vec::with_capacity(line.text.len() + 128);
    // Writing to a vector cannot fail.
    let _ = write!(entry, "PRIORITY={}\nSYSLOG_IDENTIFIER={}\n", line.priority, line.app);
    let _ = write!(entry, "RKT_POD={pod}\nRKT_APP={}\n", line.app);
    if let Some(pid) = line.pid {
        let _ = writeln!(entry, "SYSLOG_PID={pid}");
    }
    if let Some(facility) = line.facility {
        let _ = writeln!(entry, "SYSLOG_FACILITY={facility}");
    }
    if line.text.contains(&b'\n') {
        entry.extend(b"MESSAGE\n");
        entry.extend((line.text.len() as u64).to_le_bytes());
    } else {
        entry.extend(b"MESSAGE=");
    }
    entry.extend(line.text);
    entry.push(b'\n');
    entry
}

/// A standard stream of the supervisor: the pod's console.
#[derive(Debug)]
pub(crate) struct Console {
    fd: OwnedFd,
    kind: Kind,
    queue: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A regular file or the like, which takes everything at once.
    Plain,
    /// Ours to open again so that it never blocks: others have the inherited one too.
    NonBlocking,
    Socket,
    /// Nobody reads it any more.
    Gone,
}

impl Console {
    /// Writes to `output` from here on.
    pub(crate) fn new(output: BorrowedFd<'_>) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(output)?;
        let (fd, kind) = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Fifo | FileType::CharacterDevice => {
                match sys::fd::open_again(output, OFlags::WRONLY | OFlags::NONBLOCK) {
                    Ok(fd) => (fd, Kind::NonBlocking),
                    Err(_) => (rustix::io::fcntl_dupfd_cloexec(output, 3)?, Kind::Plain),
                }
            }
            FileType::Socket => (rustix::io::fcntl_dupfd_cloexec(output, 3)?, Kind::Socket),
            _ => (rustix::io::fcntl_dupfd_cloexec(output, 3)?, Kind::Plain),
        };
        Ok(Console { fd, kind, queue: Vec::new() })
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.kind != Kind::Gone {
            self.queue.extend(bytes);
            self.flush();
        }
    }

    fn flush(&mut self) {
        let mut done = 0;
        while done < self.queue.len() {
            let rest = &self.queue[done..];
            let written = match self.kind {
                Kind::Socket => rustix::net::send(&self.fd, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
                Kind::Plain | Kind::NonBlocking => rustix::io::write(&self.fd, rest),
                Kind::Gone => Ok(rest.len()),
            };
            match written {
                Ok(length) => done += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.kind = Kind::Gone,
            }
        }
        self.queue.drain(..done);
        if self.queue.is_empty() {
            self.queue = Vec::new();
        }
    }
}

#[derive(Debug)]
struct Journal {
    socket: OwnedFd,
    queue: VecDeque<Vec<u8>>,
    queued: usize,
}

impl Journal {
    fn write(&mut self, entry: Vec<u8>) {
        self.queued += entry.len();
        self.queue.push_back(entry);
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(entry) = self.queue.front() {
            match rustix::net::send(&self.socket, entry, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN | Errno::NOBUFS) => return,
                // journald is gone or being restarted: the socket would need a new connection, which only the
                // host can make. The console has the line.
                Ok(_) | Err(_) => {}
            }
            self.queued -= entry.len();
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

    fn line(text: &'static str) -> Line<'static> {
        Line { app: "web", pid: Some(7), priority: 6, facility: None, text: text.as_bytes() }
    }

    #[test]
    fn console_lines_look_like_systemds() {
        assert_eq!(prefix(0, 123_456, "web", Some(7)), b"[    0.123456] web[7]: ");
        assert_eq!(prefix(123_456, 7, "db", None), b"[123456.000007] db: ");
    }

    #[test]
    fn journal_entries() {
        assert_eq!(
            entry("uuid", line("hello")),
            b"PRIORITY=6\nSYSLOG_IDENTIFIER=web\nRKT_POD=uuid\nRKT_APP=web\nSYSLOG_PID=7\nMESSAGE=hello\n"
        );
        let odd = entry("uuid", Line { facility: Some(10), pid: None, ..line("a\nb") });
        let wanted: &[u8] =
            b"PRIORITY=6\nSYSLOG_IDENTIFIER=web\nRKT_POD=uuid\nRKT_APP=web\nSYSLOG_FACILITY=10\n\
              MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n";
        assert_eq!(odd, wanted);
    }

    #[test]
    fn a_slow_console_congests_and_loses_nothing() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::empty(), None)
                .unwrap();
        let console = [writer.as_fd(), writer.as_fd()].map(|output| Console::new(output).unwrap());
        drop(writer);
        let mut log = Log::new("uuid", Instant::now(), console, Some(theirs));
        let mut written = 0;
        while !log.is_congested() {
            log.write(line("0123456789"));
            written += 1;
            let mut buffer = [0; 512];
            rustix::net::recv(&ours, &mut buffer[..], RecvFlags::DONTWAIT).unwrap();
        }
        assert!(log.waiting().count() == 1);
        let mut all: Vec<u8> = Vec::new();
        let mut buffer = [0; 4096];
        while log.waiting().count() > 0 {
            let length = rustix::io::read(&reader, &mut buffer).unwrap();
            all.extend(&buffer[..length]);
            log.flush();
        }
        drop(log);
        while let Ok(length @ 1..) = rustix::io::read(&reader, &mut buffer) {
            all.extend(&buffer[..length]);
        }
        assert_eq!(all.split(|&byte| byte == b'\n').count() - 1, written);
    }
}
