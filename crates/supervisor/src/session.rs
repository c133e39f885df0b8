//! Connections to the control socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use executor::{Failed, Outcome, Report, SetupError, Spawned, Step};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::pty::OpenptFlags;
use sys::process::Child;

use crate::app::{App, Ending};
use crate::client::set_window_size;
use crate::control::{Exec, Incoming, Request, Response, WindowSize, send};
use crate::streams::null;

/// A connection, and the program that it has asked for.
#[derive(Debug)]
pub(crate) struct Session {
    socket: OwnedFd,
    incoming: Incoming,
    program: Option<Program>,
    is_over: bool,
}

#[derive(Debug)]
struct Program {
    app: String,
    child: Child,
    report: Option<Report>,
    /// Goes to the client when the program runs.
    master: Option<OwnedFd>,
    has_terminal: bool,
    is_hung_up: bool,
}

/// What a session wants of the pod as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To end.
    Stop {
        /// At once.
        force: bool,
    },
}

impl Session {
    /// `socket` does not block.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Session { socket, incoming: Incoming::default(), program: None, is_over: false }
    }

    /// What is to be watched: the connection, and the program's report.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let report = self.program.as_ref().and_then(|program| program.report.as_ref());
        std::iter::once(self.socket.as_fd()).chain(report.map(AsFd::as_fd))
    }

    /// Whether it can be dropped.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Something of it is ready.
    pub(crate) fn handle(&mut self, apps: &[App]) -> Option<Wish> {
        self.hear_report(apps);
        let mut wish = None;
        loop {
            let received = self.incoming.receive(&self.socket);
            match received.and_then(|()| self.incoming.next_message::<Request>()) {
                Ok(Some((request, descriptors))) => {
                    if let Some(wanted) = self.serve(request, descriptors, apps) {
                        wish = Some(wanted);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.answer(&Response::Error { message: error.to_string() }, &[]);
                    self.is_over = true;
                    break;
                }
            }
        }
        if self.incoming.is_closed() {
            self.is_over = true;
        }
        if self.is_over {
            self.hang_up();
        }
        wish
    }

    fn serve(&mut self, request: Request, descriptors: Vec<OwnedFd>, apps: &[App]) -> Option<Wish> {
        match request {
            Request::Exec(exec) if self.program.is_none() => {
                if let Err(error) = self.start(exec, descriptors, apps) {
                    self.refuse(error.to_string());
                }
            }
            Request::Exec(_) => {
                self.refuse("This connection runs a program already".to_owned());
            }
            Request::Signal { number } => {
                if let Some(program) = &self.program {
                    // It may have ended; and a number that is no signal does nothing.
                    let _ = sys::signal::send(program.child.pidfd.as_fd(), number);
                }
            }
            Request::Resize(size) => {
                if let Some(master) = self.program.as_ref().and_then(|program| program.master.as_ref()) {
                    let _ = set_window_size(master.as_fd(), size);
                }
            }
            Request::Stop { force } => {
                self.answer(&Response::Done, &[]);
                return Some(Wish::Stop { force });
            }
            Request::Status => {
                let apps = apps.iter().map(App::status).collect();
                self.answer(&Response::Status { apps }, &[]);
            }
        }
        None
    }

    fn start(&mut self, exec: Exec, descriptors: Vec<OwnedFd>, apps: &[App]) -> Result<(), SetupError> {
        let app = apps
            .iter()
            .find(|app| app.name() == exec.app)
            .ok_or_else(|| SetupError::Reported(format!("There is no app {:?} in this pod", exec.app)))?;
        let terminal = exec.tty.map(open_terminal).transpose()?;
        let stdio = arrange(&exec, descriptors, terminal.as_ref().map(|terminal| &terminal.1))?;
        let environment: Vec<_> = exec.term.map(|term| ("TERM".to_owned(), term)).into_iter().collect();
        let Spawned { child, report } =
            app.enter(&exec.argv, &environment, stdio.each_ref().map(AsFd::as_fd), terminal.is_some())?;
        let has_terminal = terminal.is_some();
        let master = terminal.map(|(master, _)| master);
        self.program = Some(Program {
            app: exec.app,
            child,
            report: Some(report),
            master,
            has_terminal,
            is_hung_up: false,
        });
        Ok(())
    }

    fn hear_report(&mut self, apps: &[App]) {
        let Some(program) = &mut self.program else { return };
        let Some(outcome) = program.report.as_mut().and_then(Report::receive) else { return };
        program.report = None;
        match outcome {
            Outcome::Started { .. } => {
                let pid = program.child.pid.as_raw_nonzero().get();
                // Ours must go, or the terminal would never hang up.
                let master = program.master.take();
                let started = Response::Started { pid, tty: program.has_terminal };
                let descriptors: Vec<_> = master.iter().map(AsFd::as_fd).collect();
                self.answer(&started, &descriptors);
            }
            Outcome::Failed(error) => {
                let app = apps.iter().find(|app| app.name() == program.app);
                let message = app.map_or_else(|| error.to_string(), |app| app.explanation(&error));
                self.refuse(message);
            }
        }
    }

    /// The app that its program runs in.
    pub(crate) fn app(&self) -> Option<&str> {
        self.program.as_ref().map(|program| program.app.as_str())
    }

    /// Whether `pid` is the program that it has asked for.
    pub(crate) fn owns(&self, pid: Pid) -> bool {
        self.program.as_ref().is_some_and(|program| program.child.pid == pid)
    }

    /// Its program has ended.
    pub(crate) fn reaped(&mut self, ending: Ending, apps: &[App]) {
        self.hear_report(apps);
        self.program = None;
        if !self.is_over {
            self.answer(&Response::Exited { status: ending.status() }, &[]);
        }
        self.is_over = true;
    }

    fn refuse(&mut self, message: String) {
        self.answer(&Response::Error { message }, &[]);
        self.is_over = true;
    }

    /// A client that does not take its answer has lost it.
    fn answer(&mut self, response: &Response, descriptors: &[BorrowedFd<'_>]) {
        if send(&self.socket, response, descriptors).is_err() {
            self.is_over = true;
        }
    }

    /// Tells the program that nobody is there any more, as the end of a terminal does.
    pub(crate) fn hang_up(&mut self) {
        if let Some(program) = self.program.as_mut().filter(|program| !program.is_hung_up) {
            program.is_hung_up = true;
            for signal in [Signal::HUP, Signal::CONT] {
                // It leads a session of its own, so this is it and its children.
                let _ = rustix::process::kill_process_group(program.child.pid, signal);
                let _ = rustix::process::pidfd_send_signal(&program.child.pidfd, signal);
            }
        }
    }
}

/// Makes a terminal in the pod's own devpts, which is that of its apps. Its other side is opened through the master,
/// not by a path.
fn open_terminal(size: WindowSize) -> Result<(OwnedFd, OwnedFd), Failed> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let open = || -> Result<(OwnedFd, OwnedFd), Errno> {
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::unlockpt(&master)?;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        set_window_size(master.as_fd(), size)?;
        Ok((master, slave))
    };
    open().step(|| "make a terminal".to_owned())
}

/// The standard streams: those that came, the terminal, or nothing.
fn arrange(
    exec: &Exec,
    descriptors: Vec<OwnedFd>,
    terminal: Option<&OwnedFd>,
) -> Result<[OwnedFd; 3], SetupError> {
    let failed = |errno| SetupError::from(Failed { step: "arrange the standard streams".to_owned(), errno });
    let mut descriptors = descriptors.into_iter();
    let mut stream = |sent: bool| {
        if sent {
            let descriptor = descriptors.next().ok_or(Errno::BADF)?;
            // A handle of a directory outside would be a way out.
            return match sys::path::file_type(descriptor.as_fd())? {
                FileType::Directory => Err(Errno::ISDIR),
                _ => Ok(descriptor),
            };
        }
        terminal.map_or_else(null, |terminal| rustix::io::fcntl_dupfd_cloexec(terminal, 3))
    };
    let [stdin, stdout, stderr] = exec.streams;
    Ok([stream(stdin).map_err(failed)?, stream(stdout).map_err(failed)?, stream(stderr).map_err(failed)?])
}
