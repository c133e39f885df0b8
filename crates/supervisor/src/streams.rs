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

use crate::inherited::Inherited;
use crate::lines::LineBuffer;

/// Where the supervisor makes sockets that are bound into apps: its own `/run`, which no app sees.
const SOCKETS: &str = "/run/rkt";

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// A pipe from an app.
#[derive(Debug)]
pub(crate) struct Output {
    reader: OwnedFd,
    lines: LineBuffer,
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
                true
            }
            Err(errno) => errno == Errno::INTR,
        }
    }

    /// Reads all there is; the app has ended.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        while self.read(&mut line) {}
        self.lines.finish(line);
    }
}

/// What an app's processes have as standard input, output and error, and the pipes among them.
#[derive(Debug)]
pub(crate) struct Streams {
    /// For the app.
    pub(crate) stdio: [OwnedFd; 3],
    /// Of standard output and error: to read from, when nobody else does.
    pub(crate) outputs: [Option<Output>; 2],
    /// Standard input is the pod's terminal.
    pub(crate) has_terminal: bool,
}

impl Streams {
    /// Makes them as `spec` asks.
    pub(crate) fn open(
        spec: &AppSpec,
        identity: &Identity,
        inherited: &mut Inherited,
    ) -> Result<Self, SetupError> {
        let failed = |errno| SetupError::from(Failed { step: "make the standard streams".to_owned(), errno });
        let stdin = match spec.stdin {
            InputMode::Null => null().map_err(failed)?,
            InputMode::Interactive => copy(rustix::stdio::stdin()).map_err(failed)?,
            InputMode::Stream | InputMode::Tty => return Err(unsupported("stdin")),
        };
        let mut output = |name: &str, mode, own: BorrowedFd<'_>| match mode {
            OutputMode::Null => Ok((null().map_err(failed)?, None)),
            OutputMode::Interactive => Ok((copy(own).map_err(failed)?, None)),
            OutputMode::Log => match inherited.remove(&format!("{name}-{}", spec.name)) {
                Some(stream) => Ok((stream, None)),
                None => pipe(identity).map_err(failed).map(|(writer, output)| (writer, Some(output))),
            },
            OutputMode::Stream | OutputMode::Tty => Err(unsupported(name)),
        };
        let (stdout, from_stdout) = output("stdout", spec.stdout, rustix::stdio::stdout())?;
        let (stderr, from_stderr) = output("stderr", spec.stderr, rustix::stdio::stderr())?;
        let has_terminal = spec.stdin == InputMode::Interactive && rustix::termios::isatty(&stdin);
        Ok(Streams { stdio: [stdin, stdout, stderr], outputs: [from_stdout, from_stderr], has_terminal })
    }
}

fn unsupported(stream: &str) -> SetupError {
    SetupError::Reported(format!(
        "The modes stream and tty of {stream} are not supported yet; use null, log or interactive"
    ))
}

/// The pod's own null device.
pub(crate) fn null() -> Result<OwnedFd, Errno> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

fn copy(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

fn pipe(identity: &Identity) -> Result<(OwnedFd, Output), Errno> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    // So that a program may open /dev/stdout again, whoever it runs as.
    rustix::fs::fchown(&writer, Some(Uid::from_raw(identity.uid)), Some(Gid::from_raw(identity.gid)))?;
    Ok((writer, Output { reader, lines: LineBuffer::default() }))
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
