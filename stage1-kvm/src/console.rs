//! What the guest's kernel says: to the journal, and the reason when it panics. And what the helpers say.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use stage1::{Context, Result};
use systemd::journal::{Entry, Priority};

/// Longer lines are cut.
const LINE_MAX: usize = 4096;

/// Each machine without PCI has it, as an error, and it is none.
const NO_PCI: &str = "PCI: Fatal: No config space access function found";

/// Bytes that become lines without control characters: a terminal's must not reach one.
#[derive(Debug, Default)]
struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Reads what there is from `from`, which does not block. `false` when there will be no more.
    fn read(&mut self, from: BorrowedFd<'_>, mut line: impl FnMut(&str)) -> bool {
        let mut chunk = [0; 4096];
        loop {
            match rustix::io::read(from, &mut chunk) {
                Ok(0) => return false,
                Ok(length) => self.take(&chunk[..length], &mut line),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
    }

    fn take(&mut self, bytes: &[u8], line: &mut impl FnMut(&str)) {
        for &byte in bytes {
            if byte == b'\n' || self.pending.len() == LINE_MAX {
                let text: String = String::from_utf8_lossy(&std::mem::take(&mut self.pending))
                    .chars()
                    .filter(|c| !c.is_control() || *c == '\t')
                    .collect();
                if !text.trim().is_empty() {
                    line(text.trim());
                }
            }
            if byte != b'\n' {
                self.pending.push(byte);
            }
        }
    }
}

/// What the hypervisor and the file server say. The last line is most of the time the reason why one has ended.
#[derive(Debug)]
pub(crate) struct Complaints {
    pipe: OwnedFd,
    lines: Lines,
    debug: bool,
    last: Option<String>,
}

impl Complaints {
    /// With `debug` they are shown at once. Returns the end to write to, too.
    pub(crate) fn new(debug: bool) -> Result<(Self, OwnedFd)> {
        let step = || "make a pipe".to_owned();
        let (pipe, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step(step)?;
        rustix::io::ioctl_fionbio(&pipe, true).step(step)?;
        Ok((Complaints { pipe, lines: Lines::default(), debug, last: None }, writer))
    }

    /// To wait for.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Reads what there is.
    pub(crate) fn read(&mut self) {
        let Complaints { pipe, lines, debug, last } = self;
        lines.read(pipe.as_fd(), |text| {
            if *debug {
                eprintln!("{text}");
            }
            *last = Some(text.to_owned());
        });
    }

    /// What was said last, in parentheses.
    pub(crate) fn last(&mut self) -> String {
        self.read();
        self.last.as_ref().map(|text| format!(" ({text})")).unwrap_or_default()
    }
}

/// The console.
#[derive(Debug)]
pub(crate) struct Console {
    socket: OwnedFd,
    lines: Lines,
    pod: String,
    journal: Option<UnixDatagram>,
    /// Say it on standard error, too.
    debug: bool,
    panic: Option<String>,
}

impl Console {
    /// Reads from `socket`, which does not block.
    pub(crate) fn new(socket: OwnedFd, pod: String, debug: bool) -> Self {
        let journal = systemd::journal::socket().ok();
        Console { socket, lines: Lines::default(), pod, journal, debug, panic: None }
    }

    /// To wait for.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads what there is. `false` when there will be no more.
    pub(crate) fn read(&mut self) -> bool {
        let Console { socket, lines, pod, journal, debug, panic } = self;
        lines.read(socket.as_fd(), |text| {
            if *debug {
                eprintln!("guest: {text}");
            } else if text.ends_with(NO_PCI) {
                return;
            }
            let reason = reason(text);
            if let Some(journal) = journal {
                let priority = if reason.is_some() { Priority::Error } else { Priority::Info };
                let entry = Entry::new(priority, text.as_bytes())
                    .field("SYSLOG_IDENTIFIER", "kernel")
                    .field("RKT_POD", &*pod);
                // A journal that takes nothing must not hold up the pod.
                let _ = entry.send(journal);
            }
            if panic.is_none() {
                *panic = reason;
            }
        })
    }

    /// Why the guest could not go on, if it said so.
    pub(crate) fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }
}

/// What a line says about the end of the guest.
fn reason(line: &str) -> Option<String> {
    let after = |mark: &str| line.find(mark).map(|at| line[at + mark.len()..].to_owned());
    after("Kernel panic - not syncing: ")
        .map(|text| format!("kernel panic: {text}"))
        .or_else(|| after("rkt: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        for (line, found) in [
            ("[    0.9] Kernel panic - not syncing: VFS: no root", Some("kernel panic: VFS: no root")),
            ("[    0.9] rkt: Cannot load x", Some("Cannot load x")),
            ("[    0.9] Linux version 6.1", None),
        ] {
            assert_eq!(reason(line).as_deref(), found, "{line}");
        }
    }

    #[test]
    fn lines_are_put_together_and_made_harmless() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut console = Console { journal: None, ..Console::new(ours.into(), "uuid".to_owned(), false) };
        for part in
            [&b"[ 1.0] Kernel panic - not "[..], b"syncing: \x1b[31mOut of memory\r\n", b"rkt: later\n"]
        {
            std::io::Write::write_all(&mut &theirs, part).unwrap();
            assert!(console.read());
        }
        assert_eq!(console.panic(), Some("kernel panic: [31mOut of memory"));
        drop(theirs);
        assert!(!console.read());
    }
}
