//! The supervisor's life: one thread that waits, and does what has come.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use executor::spec::MountPoint;
use executor::{AppSpec, Step};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::app::{App, Ending, Shared, Source};
use crate::cgroup::PodGroup;
use crate::inherited::Inherited;
use crate::log::{Console, Line, Log};
use crate::pod::PodSpec;
use crate::session::{Session, Wish};
use crate::status::{Record, Status};

/// Connections to the control socket at one time.
const SESSIONS_MAX: usize = 128;

/// How long the last lines may take to get out when their reader is slow.
const FAREWELL: Duration = Duration::from_secs(5);

type Error = Box<dyn std::error::Error>;

/// Runs the pod of this process, as `spec` says, to its end and returns its exit status.
///
/// # Errors
/// What kept it from starting.
pub(crate) fn run(spec: PodSpec, mut inherited: Inherited) -> Result<u8, Error> {
    let started = Instant::now();
    // Before anything of an image can run, and for all that will.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    // When whoever built the container is killed, the pod goes with it: it holds the lock, and passes on the exit status.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let signals = sys::signal::receive_all()?;
    install_baseline(&spec)?;
    if let Some(hostname) = &spec.hostname {
        rustix::system::sethostname(hostname.as_bytes())
            .map_err(|errno| format!("Cannot set the host name: {errno}"))?;
    }
    crate::sysctls::set(&spec.sysctls)?;
    let group = PodGroup::take(spec.apps.iter().map(|app| &app.cgroup))?;
    let control = inherited.remove("control");
    let journal = inherited.remove("journal");
    let records = inherited.remove("records");
    let console = [Console::new(rustix::stdio::stdout())?, Console::new(rustix::stdio::stderr())?];
    let mut shared = Shared {
        log: Log::new(&spec.uuid, started, console, journal),
        status: records.map_or_else(|| Status::open(Path::new("/rkt")), |pipe| Ok(Status::Told(pipe)))?,
        inherited,
        grace: Duration::from_millis(spec.stop_grace_ms),
    };
    if spec.console_is_journal {
        shared.log.set_console_is_journal();
    }
    let mut apps = Vec::new();
    for app in spec.apps {
        let name = app.name.clone();
        apps.push(App::open(app, &group, &mut shared).map_err(|error| format!("App {name}: {error}"))?);
    }
    let mut engine = Engine {
        uuid: spec.uuid,
        signals,
        control,
        shared,
        apps,
        sessions: Vec::new(),
        group,
        mutable: spec.mutable,
        mounts_on_host: spec.mounts_on_host,
        debug: spec.debug,
        failure: None,
        is_stopping: false,
        is_ready: false,
        apps_speak: false,
    };
    engine.start();
    while !engine.is_over() {
        engine.wait()?;
    }
    let status = engine.farewell();
    // The process ends: nothing has to be given back.
    std::mem::forget(engine);
    Ok(status)
}

/// Every process of the pod, this one first, gets the baseline filter.
fn install_baseline(spec: &PodSpec) -> Result<(), Error> {
    let retains = |capability: &str| {
        let has = |names: &Vec<String>| names.iter().any(|name| name == capability);
        spec.apps.iter().any(|app| app.capabilities.as_ref().is_none_or(has))
    };
    for filter in executor::seccomp::baseline(retains) {
        sys::seccomp::install(filter)
            .map_err(|errno| format!("Cannot install the system call filter: {errno}"))?;
    }
    Ok(())
}

#[derive(Debug)]
struct Engine {
    uuid: String,
    signals: OwnedFd,
    control: Option<OwnedFd>,
    shared: Shared,
    apps: Vec<App>,
    sessions: Vec<Session>,
    group: PodGroup,
    mutable: bool,
    mounts_on_host: bool,
    debug: bool,
    /// The status of the first app that failed.
    failure: Option<u8>,
    is_stopping: bool,
    is_ready: bool,
    /// An app has said how it is.
    apps_speak: bool,
}

#[derive(Debug, Clone, Copy)]
enum Token {
    Signals,
    Control,
    Log,
    App(usize, Source),
    Session(usize),
}

impl Engine {
    fn start(&mut self) {
        self.debug("starting apps");
        for app in &mut self.apps {
            app.start(&mut self.shared);
        }
        self.review();
        if !self.is_ready {
            self.shared.inherited.notify(&format!("STATUS={}", self.summary()));
        }
    }

    fn is_over(&self) -> bool {
        let idle = self.apps.iter().all(App::is_exited);
        idle && (self.is_stopping || !self.mutable)
    }

    /// Waits for the next events and handles them.
    fn wait(&mut self) -> Result<(), Error> {
        // Not when the pod ends with the app: to take its mounts apart takes long.
        self.apps.iter_mut().for_each(App::rest);
        let ready = self.poll()?;
        for token in ready {
            match token {
                Token::Signals => self.hear_signals()?,
                Token::Control => self.accept(),
                Token::Log => self.shared.log.flush(),
                Token::App(index, source) => self.apps[index].handle(source, &mut self.shared),
                Token::Session(index) => {
                    if let Some(wish) = self.sessions[index].handle(&mut self.apps) {
                        self.fulfil(wish, index);
                    }
                }
            }
        }
        for (app, listener) in self.sessions.iter_mut().filter_map(Session::take_listener) {
            if let Some(app) = self.apps.iter_mut().find(|known| known.name() == app) {
                app.watch(listener);
            }
        }
        let now = Instant::now();
        for app in &mut self.apps {
            app.tick(now, &mut self.shared);
        }
        self.review();
        self.tell_clients();
        self.sessions.iter_mut().for_each(|session| session.tick(now));
        self.sessions.retain(|session| !session.is_over());
        Ok(())
    }

    /// Gives attached clients what apps have written, and word of their end.
    fn tell_clients(&mut self) {
        for app in &mut self.apps {
            let fresh = app.take_fresh();
            let over = app.final_status();
            if fresh.is_empty() && over.is_none() {
                continue;
            }
            for session in &mut self.sessions {
                session.tell(app.name(), &fresh);
                if let Some(status) = over {
                    session.part(app.name(), status);
                }
            }
        }
    }

    fn poll(&self) -> Result<Vec<Token>, Error> {
        let congested = self.shared.log.is_congested();
        let mut watched: Vec<(Token, BorrowedFd<'_>, PollFlags)> =
            vec![(Token::Signals, self.signals.as_fd(), PollFlags::IN)];
        if let Some(control) = self.control.as_ref().filter(|_| self.sessions.len() < SESSIONS_MAX) {
            watched.push((Token::Control, control.as_fd(), PollFlags::IN));
        }
        watched.extend(self.shared.log.waiting().map(|fd| (Token::Log, fd, PollFlags::OUT)));
        for (index, app) in self.apps.iter().enumerate() {
            let congested = congested || self.sessions.iter().any(|session| session.holds_up(app.name()));
            let sources = app.descriptors(congested);
            watched.extend(sources.map(|(source, fd)| (Token::App(index, source), fd, PollFlags::IN)));
            watched
                .extend(app.waiting_input().map(|fd| (Token::App(index, Source::Input), fd, PollFlags::OUT)));
        }
        for (index, session) in self.sessions.iter().enumerate() {
            let descriptors = session.descriptors(&self.apps);
            watched.extend(descriptors.map(|(fd, flags)| (Token::Session(index), fd, flags)));
        }
        let mut descriptors: Vec<PollFd<'_>> =
            watched.iter().map(|&(_, fd, flags)| PollFd::from_borrowed_fd(fd, flags)).collect();
        let deadlines = self.apps.iter().filter_map(App::next_deadline);
        let deadlines = deadlines.chain(self.sessions.iter().filter_map(Session::next_deadline));
        let timeout = deadlines.min().map(until);
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(format!("Cannot wait: {errno}").into()),
        }
        let ready = watched.iter().zip(&descriptors).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((token, ..), _)| *token).collect())
    }

    fn hear_signals(&mut self) -> Result<(), Error> {
        const CHLD: u32 = Signal::CHILD.as_raw().cast_unsigned();
        const STOP: [u32; 3] = [
            Signal::TERM.as_raw().cast_unsigned(),
            Signal::INT.as_raw().cast_unsigned(),
            Signal::POWER.as_raw().cast_unsigned(),
        ];
        // What systemd as process 1 takes for halt, poweroff, reboot and kexec; machined sends them.
        let machine = [3, 4, 5, 6].map(sys::signal::real_time);
        while let Some(number) = sys::signal::next(self.signals.as_fd())? {
            if number == CHLD {
                self.reap();
            } else if STOP.contains(&number) || machine.contains(&number) {
                self.debug(&format!("signal {number}: stopping"));
                self.stop(false);
            }
        }
        Ok(())
    }

    /// Takes note of every process that has ended, orphans of apps too.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let Some(ending) = ending(status) else { continue };
            self.bury(pid, ending);
        }
        for app in &mut self.apps {
            app.advance(&mut self.shared);
        }
    }

    fn bury(&mut self, pid: Pid, ending: Ending) {
        if let Some(app) = self.apps.iter_mut().find(|app| app.owns(pid)) {
            app.reaped(ending, &mut self.shared);
        } else if let Some(session) = self.sessions.iter_mut().find(|session| session.owns(pid)) {
            session.reaped(ending, &self.apps);
        }
    }

    fn fulfil(&mut self, wish: Wish, session: usize) {
        let outcome = match wish {
            Wish::Stop { force } => return self.stop(force),
            Wish::Add(spec) => self.add(*spec),
            Wish::Start(app) => self.start_app(&app),
            Wish::StopApp(name) => match self.mutable_app(&name) {
                Ok(index) if self.apps[index].is_new() => Ok(()),
                Ok(index) => {
                    self.apps[index].stop(&mut self.shared);
                    return self.sessions[session].wait_for(name);
                }
                Err(error) => Err(error),
            },
            Wish::Remove(app) => self.remove_app(&app),
        };
        self.sessions[session].fulfil(outcome.map_err(|error| error.to_string()));
    }

    fn check_mutable(&self) -> Result<(), Error> {
        if self.is_stopping {
            return Err("The pod is about to end".into());
        }
        if self.mutable { Ok(()) } else { Err("The apps of this pod cannot be changed".into()) }
    }

    fn mutable_app(&self, name: &str) -> Result<usize, Error> {
        self.check_mutable()?;
        let found = self.apps.iter().position(|app| app.name() == name);
        found.ok_or_else(|| format!("There is no app {name:?} in this pod").into())
    }

    fn add(&mut self, spec: AppSpec) -> Result<(), Error> {
        self.check_mutable()?;
        crate::pod::check_name(&spec.name)?;
        if self.apps.iter().any(|app| app.name() == spec.name) {
            return Err(format!("There is an app {:?} in this pod already", spec.name).into());
        }
        check_bounds(&spec)?;
        self.group.enable(std::iter::once(&spec.cgroup))?;
        let (root, mounts) = (crate::app::root(&spec.name), spec.mounts.clone());
        let claimed = if self.mounts_on_host { claim(&spec) } else { Ok(()) };
        match claimed.and_then(|()| App::open(spec, &self.group, &mut self.shared)) {
            Ok(app) => self.apps.push(app),
            Err(error) => {
                // What was the matter is told; that this failed as well is not.
                let _ = self.give_up(&root, &mounts);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Lets go of the root of an app and what is mounted in it, where the host has done that.
    fn give_up(&self, root: &Path, mounts: &[MountPoint]) -> Result<(), Error> {
        if self.mounts_on_host {
            crate::host_mounts::give_up(root, mounts.iter().map(|mount| mount.path.as_str()))
                .step(|| format!("give up what the host has mounted at {}", root.display()))?;
        }
        Ok(())
    }

    fn start_app(&mut self, name: &str) -> Result<(), Error> {
        let index = self.mutable_app(name)?;
        let app = &self.apps[index];
        if app.is_exited() {
            let again = App::open(app.spec().clone(), &self.group, &mut self.shared)?;
            self.apps[index] = again;
        } else if !app.is_new() {
            return Err(format!("App {name:?} runs already").into());
        }
        self.apps[index].start(&mut self.shared);
        Ok(())
    }

    fn remove_app(&mut self, name: &str) -> Result<(), Error> {
        let index = self.mutable_app(name)?;
        if !self.apps[index].is_new() && !self.apps[index].is_exited() {
            return Err(format!("App {name:?} is running: stop it first").into());
        }
        let app = self.apps.remove(index);
        let mounts = app.spec().mounts.clone();
        // It has its root open.
        drop(app);
        self.give_up(&crate::app::root(name), &mounts)?;
        self.group.remove(name)?;
        self.shared.status.record(&Record::Forgotten { app: name.to_owned() })?;
        Ok(())
    }

    fn accept(&mut self) {
        let Some(control) = &self.control else { return };
        if let Ok(socket) = rustix::net::accept_with(control, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            self.sessions.push(Session::new(socket));
        }
    }

    /// Ends the pod.
    fn stop(&mut self, force: bool) {
        if !self.is_stopping {
            self.is_stopping = true;
            self.set_ready(false);
            self.shared.inherited.notify("STOPPING=1");
        }
        for app in &mut self.apps {
            if force {
                app.kill();
            } else {
                app.stop(&mut self.shared);
            }
        }
    }

    /// Draws the consequences of what has happened to the apps.
    fn review(&mut self) {
        let failures: Vec<u8> = self.apps.iter_mut().filter_map(App::take_failure).collect();
        if let Some(&first) = failures.first() {
            self.failure.get_or_insert(first);
            if !self.mutable {
                self.stop(false);
            }
        }
        // A shell that somebody has entered with does not heed SIGTERM, and the app would have to wait for it.
        for app in self.apps.iter().filter(|app| app.is_ending()) {
            for session in self.sessions.iter_mut().filter(|session| session.app() == Some(app.name())) {
                session.hang_up();
            }
        }
        let several = self.apps.len() > 1;
        for app in &mut self.apps {
            if let Some(text) = app.take_status() {
                let whose = if several { format!("{}: ", app.name()) } else { String::new() };
                self.shared.inherited.notify(&format!("STATUS={whose}{text}"));
                self.apps_speak = true;
            }
        }
        // A mutable pod is ready for apps.
        let settled = self.mutable || self.apps.iter().all(App::is_settled);
        if !self.is_ready && !self.is_stopping && settled {
            self.set_ready(true);
            self.shared.inherited.notify("READY=1");
            // Behind it, because nspawn has words of its own for that. What apps say of themselves counts more.
            if !self.apps_speak {
                self.shared.inherited.notify(&format!("STATUS={}", self.summary()));
            }
        }
    }

    /// One line for the status of the unit.
    fn summary(&self) -> String {
        let names = |apps: &mut dyn Iterator<Item = &App>| apps.map(App::name).collect::<Vec<_>>().join(", ");
        let uuid = &self.uuid;
        let waiting = names(&mut self.apps.iter().filter(|app| !app.is_settled()));
        match (waiting.as_str(), self.apps.len()) {
            ("", 1) => format!("Pod {uuid}: app {} runs", self.apps[0].name()),
            ("", count) => format!("Pod {uuid}: {count} apps run: {}", names(&mut self.apps.iter())),
            (waiting, _) => format!("Pod {uuid}: waiting for {waiting} to be ready"),
        }
    }

    fn set_ready(&mut self, ready: bool) {
        self.is_ready = ready;
        if let Err(errno) = self.shared.status.record(&Record::Ready { ready }) {
            self.say(4, &format!("Cannot set the pod's readiness: {}", executor::program::describe(errno)));
        }
    }

    fn debug(&mut self, text: &str) {
        if self.debug {
            self.say(7, text);
        }
    }

    fn say(&mut self, priority: u8, text: &str) {
        let text = text.as_bytes();
        self.shared.log.say(Line { app: "supervisor", pid: Some(1), priority, facility: None, text });
    }

    /// Gets the last lines out and says how the pod ended.
    fn farewell(&mut self) -> u8 {
        self.set_ready(false);
        self.tell_clients();
        let end = Instant::now() + FAREWELL;
        loop {
            self.shared.log.flush();
            self.sessions.iter_mut().for_each(Session::flush);
            let waiting = self.shared.log.waiting().chain(self.sessions.iter().filter_map(Session::waiting));
            let mut waiting: Vec<PollFd<'_>> =
                waiting.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)).collect();
            if waiting.is_empty() || Instant::now() >= end {
                break;
            }
            if poll(&mut waiting, Some(&until(end))).is_err() {
                break;
            }
        }
        // The apps of a mutable pod have statuses of their own.
        self.failure.filter(|_| !self.mutable).unwrap_or(0)
    }
}

/// Makes mounts of the volumes of an app that the host has mounted.
fn claim(spec: &AppSpec) -> Result<(), Error> {
    let root = crate::app::root(&spec.name);
    let top = sys::path::open_directory(&root).step(|| format!("open {}", root.display()))?;
    for mount in &spec.mounts {
        crate::host_mounts::claim(top.as_fd(), Path::new(&mount.path))
            .step(|| format!("use what the host has mounted at {}", mount.path))?;
    }
    Ok(())
}

/// Refuses an app that is to have more than its pod was started with.
fn check_bounds(spec: &AppSpec) -> Result<(), Error> {
    let has = executor::capabilities::names(executor::capabilities::bounding());
    let wanted = match &spec.capabilities {
        Some(names) => executor::capabilities::names(executor::capabilities::parse(names)?),
        // Not restricted: whoever has these has all.
        None => vec!["CAP_SYS_MODULE", "CAP_SYS_RAWIO"],
    };
    let missing: Vec<_> = wanted.into_iter().filter(|name| !has.contains(name)).collect();
    match missing.as_slice() {
        [] => Ok(()),
        names => Err(format!("The pod was started without {}", names.join(", ")).into()),
    }
}

/// The time from now to `deadline`, rounded up so that it has passed then.
fn until(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    }
}

fn ending(status: WaitStatus) -> Option<Ending> {
    let byte = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
    let killed = status.terminating_signal().map(|signal| Ending::Killed(byte(signal)));
    killed.or(status.exit_status().map(|status| Ending::Exited(byte(status))))
}
