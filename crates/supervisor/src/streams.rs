//! The standard streams of an app and the sockets that it talks to its supervisor on.

use std::fs::Permissions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use executor::spec::{AppSpec, InputMode, OutputMode};
use executor::{Failed, Identity, SetupError};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;

use crate::client::set_window_size;
use crate::control::{Endpoint, WindowSize};
use crate::inherited::Inherited;
use crate::lines::LineBuffer;
use crate::log::Log;

/// Where the supervisor makes sockets that are bound into apps: its own `/run`, which no app sees.
const SOCKETS: &str = "/run/rkt";

/// A terminal of ours that becomes nobody's controlling one by being opened.
const PTY_FLAGS: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// Bytes for an app's standard input from which on clients must wait.
const CONGESTED: usize = 64 * 1024;

/// A pipe from an app.
#[derive(Debug)]
pub(crate) struct Output {
    reader: OwnedFd,
    lines: LineBuffer,
    /// Clients get what it carries, as it comes: chunks that nobody has taken yet.
    fresh: Option<Vec<u8>>,
}

impl Output {
    /// The end to read from.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Reads once and hands out whole lines. Tells whether there may be more.
    pub(crate) fn read(&mut self, line: impl FnMut(&[u8])) -> bool {
        let mut chunk = [0; CHUNK];
        match rustix::io::read(&self.reader, &mut chunk) {
            Ok(0) => false,
            Ok(length) => {
                self.lines.feed(&chunk[..length], line);
                if let Some(fresh) = &mut self.fresh {
                    fresh.extend(&chunk[..length]);
                }
                true
            }
            Err(errno) => errno == Errno::INTR,
        }
    }

    /// What clients are to get.
    pub(crate) fn take_fresh(&mut self) -> Vec<u8> {
        self.fresh.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Reads all there is; the app has ended.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        while self.read(&mut line) {}
        self.lines.finish(line);
    }
}

/// What clients write to: a pipe to an app, or its terminal.
#[derive(Debug)]
pub(crate) struct Input {
    writer: OwnedFd,
    queue: Vec<u8>,
}

impl Input {
    /// Takes bytes. They wait while the app does not read.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.queue.extend(bytes);
        self.flush();
    }

    /// Hands on what the app takes.
    pub(crate) fn flush(&mut self) {
        while !self.queue.is_empty() {
            match rustix::io::write(&self.writer, &self.queue) {
                Ok(length) => _ = self.queue.drain(..length),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Nobody will read it.
                Err(_) => self.queue.clear(),
            }
        }
    }

    /// To be watched for writing, while something waits.
    pub(crate) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        (!self.queue.is_empty()).then(|| self.writer.as_fd())
    }

    /// Whether nobody should send more for now.
    pub(crate) fn is_congested(&self) -> bool {
        self.queue.len() >= CONGESTED
    }
}

/// A terminal that clients share.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: OwnedFd,
    /// For clients.
    fresh: Vec<u8>,
    /// No process has it open: there is nothing to read until the next one is started.
    is_idle: bool,
}

impl Terminal {
    fn open(identity: &Identity) -> Result<Self, Errno> {
        let master = rustix::pty::openpt(PTY_FLAGS)?;
        rustix::pty::unlockpt(&master)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let terminal = Terminal { master, fresh: Vec::new(), is_idle: true };
        // So that a program may open it again, whoever it runs as.
        let side = terminal.app_side()?;
        rustix::fs::fchown(&side, Some(Uid::from_raw(identity.uid)), Some(Gid::from_raw(identity.gid)))?;
        Ok(terminal)
    }

    /// A new handle of the app's side: those from before are dead once a process that led a session with it has ended.
    fn app_side(&self) -> Result<OwnedFd, Errno> {
        rustix::pty::ioctl_tiocgptpeer(&self.master, PTY_FLAGS)
    }

    /// To be watched for reading.
    pub(crate) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_idle).then(|| self.master.as_fd())
    }

    /// Reads what it shows. Tells whether there may be more.
    pub(crate) fn read(&mut self) -> bool {
        let mut chunk = [0; CHUNK];
        match rustix::io::read(&self.master, &mut chunk) {
            Ok(length @ 1..) => {
                self.fresh.extend(&chunk[..length]);
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Ok(0) | Err(_) => {
                self.is_idle = true;
                false
            }
        }
    }

    /// Sets its size.
    pub(crate) fn resize(&self, size: WindowSize) {
        // What it was before will do as well.
        let _ = set_window_size(self.master.as_fd(), size);
    }

    /// What clients are to get.
    pub(crate) fn take_fresh(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.fresh)
    }
}

/// One standard stream of an app's processes.
#[derive(Debug)]
enum Stdio {
    Handle(OwnedFd),
    Terminal,
}

/// What an app's processes have as standard input, output and error, and the pipes among them.
#[derive(Debug)]
pub(crate) struct Streams {
    stdio: [Stdio; 3],
    /// Of standard output and error: to read from, when nobody else does.
    pub(crate) outputs: [Option<Output>; 2],
    /// Where clients write to.
    pub(crate) input: Option<Input>,
    /// The terminal that clients see.
    pub(crate) terminal: Option<Terminal>,
    /// Standard input is a terminal.
    pub(crate) has_terminal: bool,
    /// What clients can connect to.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Journal streams, to which the supervisor copies lines of standard output and error.
    pub(crate) journals: [Option<usize>; 2],
}

impl Streams {
    /// Makes them as `spec` asks.
    pub(crate) fn open(
        spec: &AppSpec,
        identity: &Identity,
        inherited: &mut Inherited,
        log: &mut Log,
    ) -> Result<Self, SetupError> {
        let failed = |errno| SetupError::from(Failed { step: "make the standard streams".to_owned(), errno });
        let uses_tty = spec.stdin == InputMode::Tty || [spec.stdout, spec.stderr].contains(&OutputMode::Tty);
        let terminal = uses_tty.then(|| Terminal::open(identity)).transpose().map_err(failed)?;
        let mut endpoints = Vec::new();
        let mut input = None;
        let stdin = match spec.stdin {
            InputMode::Null => Stdio::Handle(null().map_err(failed)?),
            InputMode::Interactive => Stdio::Handle(copy(rustix::stdio::stdin()).map_err(failed)?),
            InputMode::Stream => {
                let (reader, writer) = pipe(identity, Side::Reader).map_err(failed)?;
                input = Some(Input { writer, queue: Vec::new() });
                endpoints.push(Endpoint::Stdin);
                Stdio::Handle(reader)
            }
            InputMode::Tty => {
                let master = terminal.as_ref().map(|terminal| copy(terminal.master.as_fd()));
                input = master.transpose().map_err(failed)?.map(|writer| Input { writer, queue: Vec::new() });
                endpoints.push(Endpoint::TtyIn);
                Stdio::Terminal
            }
        };
        let mut output = |name: &str, mode, own: BorrowedFd<'_>| -> Result<_, Errno> {
            let journal = inherited.remove(&format!("{name}-{}", spec.name));
            let handle = |fd| (Stdio::Handle(fd), None, None);
            let piped = |fresh| {
                let (reader, writer) = pipe(identity, Side::Writer)?;
                Ok::<_, Errno>((writer, Output { reader, lines: LineBuffer::default(), fresh }))
            };
            Ok(match mode {
                OutputMode::Null => handle(null()?),
                OutputMode::Interactive => handle(copy(own)?),
                OutputMode::Tty => (Stdio::Terminal, None, None),
                OutputMode::Log => match journal {
                    Some(stream) => handle(stream),
                    None => {
                        let (writer, output) = piped(None)?;
                        (Stdio::Handle(writer), Some(output), None)
                    }
                },
                OutputMode::Stream => {
                    let (writer, output) = piped(Some(Vec::new()))?;
                    let journal = journal.map(|stream| log.add_stream(&stream)).transpose()?;
                    (Stdio::Handle(writer), Some(output), journal)
                }
            })
        };
        let (stdout, from_stdout, stdout_journal) =
            output("stdout", spec.stdout, rustix::stdio::stdout()).map_err(failed)?;
        let (stderr, from_stderr, stderr_journal) =
            output("stderr", spec.stderr, rustix::stdio::stderr()).map_err(failed)?;
        for (mode, endpoint) in [(spec.stdout, Endpoint::Stdout), (spec.stderr, Endpoint::Stderr)] {
            if mode == OutputMode::Stream {
                endpoints.push(endpoint);
            }
        }
        if [spec.stdout, spec.stderr].contains(&OutputMode::Tty) {
            endpoints.push(Endpoint::TtyOut);
        }
        let has_terminal = match &stdin {
            Stdio::Terminal => true,
            Stdio::Handle(stdin) => spec.stdin == InputMode::Interactive && rustix::termios::isatty(stdin),
        };
        Ok(Streams {
            stdio: [stdin, stdout, stderr],
            outputs: [from_stdout, from_stderr],
            input,
            terminal,
            has_terminal,
            endpoints,
            journals: [stdout_journal, stderr_journal],
        })
    }

    /// Standard input, output and error for a new process.
    pub(crate) fn stdio(&self) -> Result<[OwnedFd; 3], Errno> {
        let open = |stdio: &Stdio| match (stdio, &self.terminal) {
            (Stdio::Handle(fd), _) => copy(fd.as_fd()),
            (Stdio::Terminal, Some(terminal)) => terminal.app_side(),
            (Stdio::Terminal, None) => null(),
        };
        let [stdin, stdout, stderr] = &self.stdio;
        Ok([open(stdin)?, open(stdout)?, open(stderr)?])
    }

    /// A process has been started with [`Streams::stdio`].
    pub(crate) fn started(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            terminal.is_idle = false;
        }
    }

    /// What clients are to get since the last call: the number of a stream, and bytes.
    pub(crate) fn take_fresh(&mut self) -> Vec<(u8, Vec<u8>)> {
        let [stdout, stderr] = &mut self.outputs;
        [
            (1, stdout.as_mut().map(Output::take_fresh)),
            (2, stderr.as_mut().map(Output::take_fresh)),
            (1, self.terminal.as_mut().map(Terminal::take_fresh)),
        ]
        .into_iter()
        .filter_map(|(stream, bytes)| Some((stream, bytes.filter(|bytes| !bytes.is_empty())?)))
        .collect()
    }
}

/// The pod's own null device.
pub(crate) fn null() -> Result<OwnedFd, Errno> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

fn copy(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

/// Which end of a pipe an app gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Reader,
    Writer,
}

/// A pipe, reader first. The end that is not the app's does not block.
fn pipe(identity: &Identity, of_app: Side) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (ours, theirs) = match of_app {
        Side::Reader => (&writer, &reader),
        Side::Writer => (&reader, &writer),
    };
    rustix::io::ioctl_fionbio(ours, true)?;
    // So that a program may open /dev/stdout again, whoever it runs as.
    rustix::fs::fchown(theirs, Some(Uid::from_raw(identity.uid)), Some(Gid::from_raw(identity.gid)))?;
    Ok((reader, writer))
}

/// A datagram socket with a name that is bound into an app.
#[derive(Debug)]
pub(crate) struct AppSocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl AppSocket {
    /// Makes the socket `kind` (`notify`) of `app`.
    pub(crate) fn open(kind: &str, app: &str) -> std::io::Result<Self> {
        std::fs::create_dir_all(SOCKETS)?;
        let path = Path::new(SOCKETS).join(format!("{kind}-{app}"));
        // An app that is started again had one before.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path)?;
        socket.set_nonblocking(true)?;
        // Only processes that have it bound in their root can reach it, and those may, whoever they run as.
        std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        Ok(AppSocket { socket, path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// To poll.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next message. What is longer than the buffer is cut, descriptors that come with it are dropped.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let length = self.socket.recv(buffer).ok()?;
        Some(&buffer[..length])
    }
}
