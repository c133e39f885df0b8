//! Starting processes in an app, and becoming one.
//!
//! [`spawn`] is for the supervisor. The child and the supervisor are connected by a packet socket, on which the child
//! reports, and which its exec closes:
//!
//! ```text
//! N             + descriptor    the mount namespace that the child has built, for those that come after
//! L             + descriptor    the listener of the child's filter ([`crate::listener`])
//! E text                        it gave up: why
//! X errno path                  the exec failed: errno (4 bytes, little endian) and what was to be executed
//! end of file                   the app's program runs
//! ```
//! [`become_app`] is for fly: the same steps as far as the spec asks for them, in this process.

use std::ffi::{CString, OsString};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use sys::mount::Attributes;
use sys::namespace::Kind;
use sys::process::{Child, CloneOptions, Fork};

use crate::confine::{adjust_oom_score, confine, limit_resources};
use crate::error::SetupError;
use crate::filesystem::{self, Sockets};
use crate::spec::AppSpec;
use crate::step::{Failed, Step};
use crate::users::Identity;
use crate::{listener, program};

/// The longest report, and the lowest number of the descriptors that survive [`sys::fd::arrange`] in the child.
const REPORT_MAX: usize = 8192;

/// Where the mount namespace of a process comes from.
#[derive(Debug, Clone, Copy)]
pub enum Mounts<'a> {
    /// It is the app's first: it builds the app's view from the image's root.
    Build {
        /// The directory of the image's root. A path, since a handle would belong to the mounts of the parent.
        root: &'a Path,
        /// Sockets to bind into it.
        sockets: Sockets<'a>,
    },
    /// The view stands: a mount namespace that another has reported.
    Join(BorrowedFd<'a>),
}

/// A process to be started in an app.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    /// The app: its confinement, environment and working directory.
    pub spec: &'a AppSpec,
    /// Who runs.
    pub identity: &'a Identity,
    /// The program and its arguments.
    pub argv: &'a [String],
    /// Where a bare program is looked up; see [`AppSpec::search_path`].
    pub search_path: Option<&'a str>,
    /// More environment; it replaces what the spec has under the same name.
    pub environment: &'a [(String, String)],
    /// Its view of the file system.
    pub mounts: Mounts<'a>,
    /// The app's cgroup, into which the process is born.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Standard input, output and error.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Standard input is a terminal, and the process shall be in control of it.
    pub controls_terminal: bool,
    /// Sockets for socket activation and their names.
    pub sockets: &'a [(String, BorrowedFd<'a>)],
}

/// A process on its way to become an app's.
#[derive(Debug)]
pub struct Spawned {
    /// The process.
    pub child: Child,
    /// What it has to say until then.
    pub report: Report,
}

/// The receiving end of a child's reports.
#[derive(Debug)]
pub struct Report {
    socket: OwnedFd,
    mounts: Option<OwnedFd>,
    listener: Option<OwnedFd>,
}

/// The end of a [`Report`].
#[derive(Debug)]
pub enum Outcome {
    /// The program runs (or the child was killed: its exit status tells).
    Started {
        /// The mount namespace, when the child has built it.
        mounts: Option<OwnedFd>,
    },
    /// There is no program, and the child ends.
    Failed(SetupError),
}

/// Starts a process. It is not known yet whether it will get to its program: see [`Report`].
///
/// # Errors
/// What keeps it from being born.
pub fn spawn(process: &Process<'_>) -> Result<Spawned, SetupError> {
    let program = Program::new(process)?;
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .step(|| "make a socket".to_owned())?;
    let options = CloneOptions {
        new_mounts: matches!(process.mounts, Mounts::Build { .. }),
        cgroup: process.cgroup,
        ..CloneOptions::default()
    };
    match sys::process::clone3(options).step(|| "start a process".to_owned())? {
        Fork::Parent(child) => {
            Ok(Spawned { child, report: Report { socket: ours, mounts: None, listener: None } })
        }
        Fork::Child => {
            drop(ours);
            // Out of the way of the sockets that get the numbers from 3 on.
            let lowest = 3 + i32::try_from(process.sockets.len()).unwrap_or(i32::MAX - 3);
            let error = match fcntl_dupfd_cloexec(&theirs, lowest) {
                Ok(report) => {
                    let error = program.run(process, report.as_fd());
                    send_error(report.as_fd(), &error);
                    error
                }
                Err(errno) => SetupError::from(Failed { step: "keep the report".to_owned(), errno }),
            };
            drop(error);
            sys::process::exit_now(SETUP_FAILED)
        }
    }
}

/// The exit status of a process that did not get to its program.
pub const SETUP_FAILED: i32 = 254;

/// Becomes the app in this process, which has prepared `root` and everything mounted in it: changes root, and takes
/// on what the spec asks for. Returns only when that fails.
///
/// Descriptors below `first_closed` stay open in the app as far as they are not close-on-exec; all others are closed.
pub fn become_app(
    spec: &AppSpec,
    identity: &Identity,
    root: &OwnedFd,
    first_closed: std::os::fd::RawFd,
) -> SetupError {
    let attempt = || -> Result<SetupError, SetupError> {
        let environment: Vec<(String, String)> = Vec::new();
        let program = Program::from_parts(spec, &spec.exec, &environment)?;
        adjust_oom_score(spec)?;
        if spec.read_only_root {
            let read_only = Attributes { read_only: Some(true), ..Attributes::default() };
            sys::mount::set_attributes(root.as_fd(), &read_only, false)
                .step(|| "make the root file system read-only".to_owned())?;
        }
        rustix::process::fchdir(root)
            .and_then(|()| rustix::process::chroot("."))
            .step(|| "change the root directory".to_owned())?;
        let path = program.prepare(spec, spec.search_path.as_deref())?;
        sys::fd::close_on_exec_from(first_closed).step(|| "close descriptors".to_owned())?;
        confine(spec, identity, None)?;
        Ok(program.execute(path))
    };
    attempt().unwrap_or_else(|error| error)
}

/// Everything of a program that can be prepared before the fork.
struct Program<'a> {
    exec: &'a str,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl<'a> Program<'a> {
    fn new(process: &Process<'a>) -> Result<Self, SetupError> {
        Program::from_parts(process.spec, process.argv, process.environment)
    }

    fn from_parts(
        spec: &'a AppSpec,
        argv: &'a [String],
        more: &[(String, String)],
    ) -> Result<Self, SetupError> {
        let exec = argv.first().filter(|exec| !exec.is_empty()).ok_or(SetupError::EmptyExec)?;
        let arguments = argv.iter().map(|argument| terminated(argument.clone())).collect::<Result<_, _>>()?;
        let replaced = |name: &String| more.iter().any(|(other, _)| other == name);
        let environment = spec
            .environment
            .iter()
            .filter(|(name, _)| !replaced(name))
            .chain(more)
            .map(|(name, value)| terminated(format!("{name}={value}")))
            .collect::<Result<_, _>>()?;
        Ok(Program { exec, arguments, environment })
    }

    /// The child's way to its program; it ends here only when it fails.
    fn run(mut self, process: &Process<'_>, report: BorrowedFd<'_>) -> SetupError {
        match self.try_run(process, report) {
            Ok(never) => never,
            Err(error) => error,
        }
    }

    fn try_run(&mut self, process: &Process<'_>, report: BorrowedFd<'_>) -> Result<SetupError, SetupError> {
        // Before the file systems change: from now on the numbers 0, 1 and 2 are the app's.
        let spec = process.spec;
        adjust_oom_score(spec)?;
        match process.mounts {
            Mounts::Build { root, sockets } => {
                let mounts =
                    sys::namespace::open(None, Kind::Mount).step(|| "open the mount namespace".to_owned())?;
                rustix::process::umask(Mode::empty());
                filesystem::build(root, spec, sockets)?;
                send_mounts(report, mounts.as_fd())?;
            }
            Mounts::Join(mounts) => {
                sys::namespace::join(mounts, Kind::Mount)
                    .step(|| "join the app's mount namespace".to_owned())?;
            }
        }
        rustix::process::setsid().step(|| "start a session".to_owned())?;
        if process.controls_terminal {
            sys::terminal::control(process.stdio[0]).step(|| "take the terminal".to_owned())?;
        }
        self.activate(process)?;
        let path = self.prepare(spec, process.search_path)?;
        let kept = 3 + i32::try_from(process.sockets.len()).unwrap_or(0);
        sys::fd::close_on_exec_from(kept).step(|| "close descriptors".to_owned())?;
        let referring = listener::referring(&spec.seccomp);
        if referring.is_some() {
            listener::expect(report)?;
        }
        confine(spec, process.identity, referring.as_deref())?;
        Ok(self.execute(path))
    }

    /// Puts descriptors in their places.
    fn activate(&mut self, process: &Process<'_>) -> Result<(), SetupError> {
        let mut descriptors = process.stdio.to_vec();
        descriptors.extend(process.sockets.iter().map(|(_, socket)| *socket));
        sys::fd::arrange(&descriptors).step(|| "arrange descriptors".to_owned())?;
        if process.sockets.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = process.sockets.iter().map(|(name, _)| name.as_str()).collect();
        for (name, value) in [
            ("LISTEN_PID", rustix::process::getpid().as_raw_nonzero().to_string()),
            ("LISTEN_FDS", names.len().to_string()),
            ("LISTEN_FDNAMES", names.join(":")),
        ] {
            self.environment.push(terminated(format!("{name}={value}"))?);
        }
        Ok(())
    }

    /// In the app's root: limits, working directory, and where the program is.
    fn prepare(&self, spec: &AppSpec, search: Option<&str>) -> Result<PathBuf, SetupError> {
        rustix::process::umask(Mode::from_raw_mode(0o022));
        limit_resources(spec)?;
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", directory, Mode::empty()).step(|| "open the root".to_owned())?;
        sys::path::open_in_root(root.as_fd(), Path::new(&spec.working_directory), directory, Mode::empty())
            .and_then(rustix::process::fchdir)
            .step(|| format!("change to the working directory {:?}", spec.working_directory))?;
        let path = program::find(root.as_fd(), self.exec, search, &spec.working_directory)?;
        // A link of procfs (/proc/self/exe) would lead to our own program: CVE-2019-5736 and its kin.
        match sys::path::open_in_root(root.as_fd(), &path, OFlags::PATH, Mode::empty()) {
            Err(Errno::LOOP) => Err(SetupError::Exec { path, errno: Errno::LOOP }),
            _ => Ok(path),
        }
    }

    fn execute(&self, path: PathBuf) -> SetupError {
        let Ok(name) = CString::new(path.as_os_str().as_bytes()) else { return SetupError::EmptyExec };
        let errno = sys::process::execute_path(&name, &self.arguments, &self.environment);
        SetupError::Exec { path, errno }
    }
}

fn terminated(text: String) -> Result<CString, SetupError> {
    CString::new(text)
        .map_err(|error| SetupError::Nul(String::from_utf8_lossy(&error.into_vec()).into_owned()))
}

fn send_mounts(report: BorrowedFd<'_>, mounts: BorrowedFd<'_>) -> Result<(), SetupError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [mounts];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(report, &[IoSlice::new(b"N")], &mut ancillary, SendFlags::NOSIGNAL)
        .step(|| "report the mount namespace".to_owned())?;
    Ok(())
}

fn send_error(report: BorrowedFd<'_>, error: &SetupError) {
    let mut message = Vec::new();
    if let SetupError::Exec { path, errno } = error {
        message.push(b'X');
        message.extend(errno.raw_os_error().to_le_bytes());
        message.extend(path.as_os_str().as_bytes());
    } else {
        message.push(b'E');
        message.extend(error.to_string().into_bytes());
    }
    message.truncate(REPORT_MAX);
    // When the supervisor is gone there is nobody to tell.
    let _ = rustix::net::send(report, &message, SendFlags::NOSIGNAL);
}

impl AsFd for Report {
    /// Becomes readable when there is something to [`Report::receive`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Report {
    /// The listener of the child's filter, once it has come: what the filter would kill for waits there, and the child may do that
    /// before it gets to its program. See [`sys::seccomp_notify`].
    pub fn take_listener(&mut self) -> Option<OwnedFd> {
        self.listener.take()
    }

    /// Takes all that the child has said, now that it has ended: its helper may have a word left.
    pub fn finish(&mut self) -> Option<Outcome> {
        // The helper says one thing at most, and goes at once.
        for _ in 0..3 {
            if let Some(outcome) = self.receive() {
                return Some(outcome);
            }
            let limit = Timespec { tv_sec: 1, tv_nsec: 0 };
            // When that fails there is nothing to take either.
            let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&limit));
        }
        None
    }

    /// Takes what the child has said so far; `None` while it is still at work.
    pub fn receive(&mut self) -> Option<Outcome> {
        loop {
            let mut bytes = [0; REPORT_MAX];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let received = rustix::net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            );
            let length = match received {
                Ok(message) => message.bytes,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return None,
                Err(errno) => {
                    let step = "hear from the app's process".to_owned();
                    return Some(Outcome::Failed(Failed { step, errno }.into()));
                }
            };
            match bytes[..length] {
                [] => return Some(Outcome::Started { mounts: self.mounts.take() }),
                [mark @ (b'N' | listener::MARK)] => {
                    let place = if mark == listener::MARK { &mut self.listener } else { &mut self.mounts };
                    for message in ancillary.drain() {
                        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                            *place = descriptors.next();
                        }
                    }
                }
                [b'X', a, b, c, d, ref path @ ..] => {
                    return Some(Outcome::Failed(SetupError::Exec {
                        path: OsString::from_vec(path.to_vec()).into(),
                        errno: Errno::from_raw_os_error(i32::from_le_bytes([a, b, c, d])),
                    }));
                }
                [b'E', ref text @ ..] => {
                    let text = String::from_utf8_lossy(text).into_owned();
                    return Some(Outcome::Failed(SetupError::Reported(text)));
                }
                _ => {
                    let text = "The app's process reports nonsense".to_owned();
                    return Some(Outcome::Failed(SetupError::Reported(text)));
                }
            }
        }
    }
}
