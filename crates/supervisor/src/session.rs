//! Connections to the control socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use executor::{AppSpec, Failed, Outcome, Report, SetupError, Spawned, Step};
use rustix::event::PollFlags;
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::{Pid, Signal};
use rustix::pty::OpenptFlags;
use sys::process::Child;

use crate::app::{App, Ending};
use crate::client::set_window_size;
use crate::control::{
    Attach, Endpoint, Exec, Frame, Incoming, Request, Response, WindowSize, encode, encode_data, send,
};
use crate::streams::null;

/// Bytes on their way to an attached client from which on the app must wait.
const CONGESTED: usize = 256 * 1024;

/// How long an app waits for a client that takes nothing, before that is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, and the program that it has asked for.
#[derive(Debug)]
pub(crate) struct Session {
    socket: OwnedFd,
    incoming: Incoming,
    program: Option<Program>,
    attached: Option<Attached>,
    /// The app whose end is waited for.
    waits_for: Option<String>,
    is_over: bool,
}

/// The app that a connection is attached to.
#[derive(Debug)]
struct Attached {
    app: String,
    endpoints: Vec<Endpoint>,
    /// On its way to the client.
    outgoing: Vec<u8>,
    /// When the client last took something, or had nothing to take.
    progress: Instant,
    /// Nothing follows.
    is_ending: bool,
}

#[derive(Debug)]
struct Program {
    app: String,
    child: Child,
    report: Option<Report>,
    /// Of its filter, until its app watches it.
    listener: Option<OwnedFd>,
    /// Goes to the client when the program runs.
    master: Option<OwnedFd>,
    has_terminal: bool,
    is_hung_up: bool,
}

/// What a session wants of the pod as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To end.
    Stop {
        /// At once.
        force: bool,
    },
    /// Another app.
    Add(Box<AppSpec>),
    /// An app to be started.
    Start(String),
    /// An app to be stopped.
    StopApp(String),
    /// An app to be gone.
    Remove(String),
}

impl Session {
    /// `socket` does not block.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Session {
            socket,
            incoming: Incoming::default(),
            program: None,
            attached: None,
            waits_for: None,
            is_over: false,
        }
    }

    /// What is to be watched: the connection, and the program's report.
    pub(crate) fn descriptors(&self, apps: &[App]) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let report = self.program.as_ref().and_then(|program| program.report.as_ref());
        let mut wanted = PollFlags::IN;
        if let Some(attached) = &self.attached {
            wanted.set(PollFlags::OUT, !attached.outgoing.is_empty());
            wanted.set(PollFlags::IN, !self.must_wait(apps));
        }
        // Not even for its end, while what it has sent cannot be taken.
        let socket = (!wanted.is_empty()).then(|| (self.socket.as_fd(), wanted));
        socket.into_iter().chain(report.map(|report| (report.as_fd(), PollFlags::IN)))
    }

    /// Whether nothing more of the client can be taken for now.
    fn must_wait(&self, apps: &[App]) -> bool {
        let Some(attached) = &self.attached else { return false };
        apps.iter().any(|app| app.name() == attached.app && app.takes_no_input())
    }

    /// Whether the app called `app` must wait until the client has taken more.
    pub(crate) fn holds_up(&self, app: &str) -> bool {
        self.attached
            .as_ref()
            .is_some_and(|attached| attached.app == app && attached.outgoing.len() > CONGESTED)
    }

    /// When [`Session::tick`] must be called at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let attached = self.attached.as_ref().filter(|attached| attached.outgoing.len() > CONGESTED)?;
        Some(attached.progress + PATIENCE)
    }

    /// Gives up a client that takes nothing, for the app has to go on.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.is_over |= self.next_deadline().is_some_and(|deadline| deadline <= now);
    }

    /// Gives the client what the app called `app` has written.
    pub(crate) fn tell(&mut self, app: &str, fresh: &[(u8, Vec<u8>)]) {
        let Some(attached) = self.attached.as_mut().filter(|attached| attached.app == app) else { return };
        if attached.outgoing.is_empty() {
            attached.progress = Instant::now();
        }
        for (stream, bytes) in fresh {
            let reads = |endpoint: &Endpoint| endpoint.stream() == *stream;
            if attached.endpoints.iter().any(reads) {
                attached.outgoing.extend(encode_data(*stream, bytes));
            }
        }
        self.flush();
    }

    /// Answers a [`Wish`].
    pub(crate) fn fulfil(&mut self, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.answer(&Response::Done, &[]),
            Err(message) => self.refuse(message),
        }
    }

    /// The answer is [`Response::Done`] when `app` is over.
    pub(crate) fn wait_for(&mut self, app: String) {
        self.waits_for = Some(app);
    }

    /// The app called `app` is over.
    pub(crate) fn part(&mut self, app: &str, status: u8) {
        if self.waits_for.as_deref() == Some(app) {
            self.waits_for = None;
            self.answer(&Response::Done, &[]);
        }
        let Some(attached) = self.attached.as_mut().filter(|attached| attached.app == app) else { return };
        if !attached.is_ending {
            attached.is_ending = true;
            attached.outgoing.extend(encode(&Response::Exited { status }).unwrap_or_default());
        }
        self.flush();
    }

    /// Sends what waits, as far as the client takes it.
    pub(crate) fn flush(&mut self) {
        let Some(attached) = &mut self.attached else { return };
        while !attached.outgoing.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(&self.socket, &attached.outgoing, flags) {
                Ok(length) => {
                    attached.outgoing.drain(..length);
                    attached.progress = Instant::now();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.is_over = true;
                    return;
                }
            }
        }
        self.is_over |= attached.is_ending;
    }

    /// To be watched at the end of the pod.
    pub(crate) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        let waits = |attached: &&Attached| !attached.outgoing.is_empty();
        self.attached.as_ref().filter(waits).filter(|_| !self.is_over).map(|_| self.socket.as_fd())
    }

    /// Whether it can be dropped.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Something of it is ready.
    pub(crate) fn handle(&mut self, apps: &mut [App]) -> Option<Wish> {
        self.hear_report(Report::receive, apps);
        self.flush();
        let mut wish = None;
        while !self.must_wait(apps) {
            let received = self.incoming.receive(&self.socket);
            match received.and_then(|()| self.incoming.next_frame::<Request>()) {
                Ok(Some(Frame::Message(request, descriptors))) => {
                    if let Some(wanted) = self.serve(request, descriptors, apps) {
                        wish = Some(wanted);
                    }
                }
                Ok(Some(Frame::Data { bytes, .. })) => {
                    if let Err(message) = self.feed(&bytes, apps) {
                        self.refuse(message);
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
                let attached =
                    self.attached.as_ref().filter(|attached| attached.endpoints.contains(&Endpoint::TtyOut));
                if let Some(attached) = attached {
                    apps.iter().filter(|app| app.name() == attached.app).for_each(|app| app.resize(size));
                }
            }
            Request::Attach(_) if self.attached.is_some() || self.program.is_some() => {
                self.refuse("This connection is in use already".to_owned());
            }
            Request::Attach(attach) => match self.attach(attach, apps) {
                Ok(()) => self.flush(),
                Err(message) => self.refuse(message),
            },
            Request::Stop { force } => {
                self.answer(&Response::Done, &[]);
                return Some(Wish::Stop { force });
            }
            Request::SignalApp { app, number } => {
                match apps.iter().find(|one| one.name() == app).map(|one| one.signal(number)) {
                    Some(Ok(())) => self.answer(&Response::Done, &[]),
                    Some(Err(errno)) => {
                        self.refuse(format!(
                            "App {app:?} cannot get signal {number}: {}",
                            executor::program::describe(errno)
                        ));
                    }
                    None => self.refuse(format!("There is no app {app:?} in this pod")),
                }
            }
            Request::AddApp { spec } => return Some(Wish::Add(spec)),
            Request::StartApp { app } => return Some(Wish::Start(app)),
            Request::StopApp { app } => return Some(Wish::StopApp(app)),
            Request::RemoveApp { app } => return Some(Wish::Remove(app)),
            Request::Status => {
                let apps = apps.iter().map(App::status).collect();
                self.answer(&Response::Status { apps }, &[]);
            }
        }
        None
    }

    fn attach(&mut self, attach: Attach, apps: &[App]) -> Result<(), String> {
        let Attach { app, endpoints, size } = attach;
        let found = apps.iter().find(|known| known.name() == app);
        let found = found.ok_or_else(|| format!("There is no app {app:?} in this pod"))?;
        found.check_endpoints(&endpoints)?;
        if let Some(size) = size.filter(|_| endpoints.contains(&Endpoint::TtyOut)) {
            found.resize(size);
        }
        let outgoing = encode(&Response::Attached).unwrap_or_default();
        self.attached =
            Some(Attached { app, endpoints, outgoing, progress: Instant::now(), is_ending: false });
        Ok(())
    }

    /// Hands on what the client sends to the app's standard input.
    fn feed(&self, bytes: &[u8], apps: &mut [App]) -> Result<(), String> {
        let sends = |attached: &&Attached| attached.endpoints.iter().any(|endpoint| endpoint.stream() == 0);
        let Some(attached) = self.attached.as_ref().filter(sends) else {
            return Err("This connection is not attached to a standard input".to_owned());
        };
        if let Some(app) = apps.iter_mut().find(|app| app.name() == attached.app) {
            app.feed(bytes);
        }
        Ok(())
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
            listener: None,
            master,
            has_terminal,
            is_hung_up: false,
        });
        Ok(())
    }

    fn hear_report(&mut self, take: fn(&mut Report) -> Option<Outcome>, apps: &[App]) {
        let Some(program) = &mut self.program else { return };
        let Some(report) = &mut program.report else { return };
        let outcome = take(report);
        program.listener = report.take_listener().or(program.listener.take());
        let Some(outcome) = outcome else { return };
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

    /// The app that its program runs in and the listener of its filter, once.
    pub(crate) fn take_listener(&mut self) -> Option<(String, OwnedFd)> {
        let program = self.program.as_mut()?;
        Some((program.app.clone(), program.listener.take()?))
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
        self.hear_report(Report::finish, apps);
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
