//! One app and where it stands.
//!
//! ```text
//! Created → PreStart → Starting → Running → Draining → PostStop → Exited
//!             ▲                                            │
//!             └─────────────── Waiting ◄───────────────────┘  when it starts again (`crate::restart`)
//! ```
//! Handlers that the app does not have are passed over. An app's status is that of its main process, or of the handler
//! that failed before it. Draining means: the main process has ended, others of its cgroup have been asked to. From
//! every place an app can be told to stop, and be killed when its time is up.

mod clients;
mod hearing;
mod processes;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use executor::spec::AppSpec;
use executor::{Identity, Report, Spawned, Step};
use rustix::process::{Pid, Signal};
use sys::process::Child;

use crate::cgroup::{AppGroup, PodGroup};
use crate::control::{AppState, AppStatus};
use crate::inherited::Inherited;
use crate::log::{Line, Log};
use crate::restart::{Next, Restarts};
use crate::status::{Record, Status};
use crate::streams::{AppSocket, Streams};

pub(crate) use hearing::Source;

/// Where the root of the app `name` stands.
pub(crate) fn root(name: &str) -> PathBuf {
    Path::new("/opt/stage2").join(name).join("rootfs")
}

/// What all apps of a pod share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Where their lines go.
    pub(crate) log: Log,
    /// Where their ends are recorded.
    pub(crate) status: Status,
    /// What came from outside.
    pub(crate) inherited: Inherited,
    /// The time from SIGTERM to SIGKILL.
    pub(crate) grace: Duration,
}

/// SIGSYS.
const SYS: u8 = 31;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself.
    Exited(u8),
    /// By a signal.
    Killed(u8),
}

impl Ending {
    /// As a shell says it.
    pub(crate) fn status(self) -> u8 {
        match self {
            Ending::Exited(status) => status,
            Ending::Killed(signal) => signal.saturating_add(128),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Created,
    PreStart,
    Starting,
    Running,
    Draining,
    PostStop,
    Waiting,
    Exited,
}

#[derive(Debug)]
struct Running {
    child: Child,
    report: Option<Report>,
}

/// One app.
#[derive(Debug)]
pub(crate) struct App {
    spec: AppSpec,
    identity: Identity,
    root: PathBuf,
    rootfs: OwnedFd,
    group: AppGroup,
    streams: Streams,
    notify: Option<AppSocket>,
    syslog: Option<AppSocket>,
    /// The mount namespace that its first process has built.
    mounts: Option<OwnedFd>,
    /// Of the filters of its processes.
    listeners: Vec<Option<OwnedFd>>,
    /// The process that a violation of its filter has cost its life.
    violator: Option<Pid>,
    phase: Phase,
    running: Option<Running>,
    main_pid: Option<Pid>,
    /// Of the process that was started last, which its lines are told by where there is no main one.
    last_pid: Option<Pid>,
    status: Option<u8>,
    failure: Option<u8>,
    is_ready: bool,
    /// What the app said of itself (`STATUS=`) and nobody has passed on yet.
    status_text: Option<String>,
    stop_asked: bool,
    restarts: Restarts,
    /// When it starts again, once it has come to its end.
    again: Option<Instant>,
    deadline: Option<Instant>,
    watchdog: Option<Instant>,
}

impl App {
    /// Prepares everything for its start.
    pub(crate) fn open(
        spec: AppSpec,
        pod: &PodGroup,
        shared: &mut Shared,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let root = root(&spec.name);
        let rootfs = sys::path::hold_directory(&root).step(|| format!("open {}", root.display()))?;
        let identity =
            executor::users::resolve(rootfs.as_fd(), &spec.user, &spec.group, &spec.supplementary_gids)?;
        let group = pod.app(&spec.name, &spec.cgroup)?;
        let streams = Streams::open(&spec, &identity, &mut shared.inherited, &mut shared.log)?;
        let notify = spec.notify.then(|| AppSocket::open("notify", &spec.name)).transpose()?;
        let syslog = spec.api_filesystems.then(|| AppSocket::open("log", &spec.name)).transpose()?;
        shared
            .status
            .record(&Record::Created { app: spec.name.clone() })
            .step(|| "record the app".to_owned())?;
        Ok(App {
            restarts: Restarts::new(spec.restart),
            again: None,
            spec,
            identity,
            root,
            rootfs,
            group,
            streams,
            notify,
            syslog,
            mounts: None,
            listeners: Vec::new(),
            violator: None,
            phase: Phase::Created,
            running: None,
            main_pid: None,
            last_pid: None,
            status: None,
            failure: None,
            is_ready: false,
            status_text: None,
            stop_asked: false,
            deadline: None,
            watchdog: None,
        })
    }

    /// What it is.
    pub(crate) fn spec(&self) -> &AppSpec {
        &self.spec
    }

    /// Whether it has not been started.
    pub(crate) fn is_new(&self) -> bool {
        self.phase == Phase::Created
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Starts its first process.
    pub(crate) fn start(&mut self, shared: &mut Shared) {
        if self.spec.event_handlers.pre_start.is_some() {
            self.phase = Phase::PreStart;
        } else {
            self.phase = Phase::Starting;
        }
        self.run_phase(shared);
    }

    /// Starts the process of the phase that has begun.
    fn run_phase(&mut self, shared: &mut Shared) {
        match self.spawn(shared) {
            Ok(Spawned { child, report }) => {
                if self.phase == Phase::Starting {
                    self.main_pid = Some(child.pid);
                }
                self.last_pid = Some(child.pid);
                self.running = Some(Running { child, report: Some(report) });
                self.streams.started();
            }
            Err(error) => {
                self.explain(shared, &error);
                let status = u8::try_from(executor::SETUP_FAILED).unwrap_or(u8::MAX);
                self.ended(shared, Ending::Exited(status));
            }
        }
    }

    fn say(&self, shared: &mut Shared, priority: u8, text: &[u8]) {
        let pid = self.pid();
        shared.log.say(Line { app: &self.spec.name, pid, priority, facility: None, text });
    }

    fn pid(&self) -> Option<i32> {
        self.main_pid.or(self.last_pid).map(|pid| pid.as_raw_nonzero().get())
    }

    /// Sends a signal to its program, while that runs.
    pub(crate) fn signal(&self, number: i32) -> Result<(), rustix::io::Errno> {
        match &self.running {
            Some(running) if self.phase == Phase::Running => {
                sys::signal::send(running.child.pidfd.as_fd(), number)
            }
            _ => Err(rustix::io::Errno::SRCH),
        }
    }

    fn complain(&self, shared: &mut Shared, what: &str, errno: rustix::io::Errno) {
        let text = format!("Cannot {what}: {}", executor::program::describe(errno));
        self.say(shared, 4, text.as_bytes());
    }

    /// Whether `pid` is its own process of this phase, which has ended.
    pub(crate) fn owns(&self, pid: Pid) -> bool {
        self.running.as_ref().is_some_and(|running| running.child.pid == pid)
    }

    /// Its own process has ended.
    pub(crate) fn reaped(&mut self, ending: Ending, shared: &mut Shared) {
        // It may have reported just before.
        self.hear_report(Report::finish, shared);
        let child = self.running.take().map(|running| running.child.pid);
        let violated = child.is_some() && child == self.violator;
        self.ended(shared, if violated { Ending::Killed(SYS) } else { ending });
    }

    fn ended(&mut self, shared: &mut Shared, ending: Ending) {
        match self.phase {
            Phase::PreStart if ending == Ending::Exited(0) && !self.stop_asked => {
                self.phase = Phase::Starting;
                self.run_phase(shared);
            }
            Phase::PreStart | Phase::Starting | Phase::Running => {
                self.record(shared, ending);
                self.phase = Phase::Draining;
                self.watchdog = None;
                self.terminate(shared.grace);
                self.advance(shared);
            }
            Phase::PostStop => {
                if ending != Ending::Exited(0) && !self.stop_asked {
                    let text = format!("The post-stop handler failed with status {}", ending.status());
                    self.say(shared, 4, text.as_bytes());
                }
                self.finish(shared);
            }
            Phase::Created | Phase::Draining | Phase::Waiting | Phase::Exited => {}
        }
    }

    /// Keeps how the app has ended. Who was asked to stop and ends of that has not failed.
    fn record(&mut self, shared: &mut Shared, ending: Ending) {
        const TERM: u8 = 15;
        if ending == Ending::Killed(SYS) && self.violator.take().is_none() {
            let text = "Error: killed by SIGSYS: the app made a system call that its seccomp filter does not allow. Which \
                        one is known to the kernel's audit record on the host only: journalctl _AUDIT_TYPE=1326";
            self.say(shared, 3, text.as_bytes());
        }
        self.hear_of_memory(shared);
        let status = ending.status();
        let asked = self.spec.stop_signal.and_then(|number| u8::try_from(number).ok()).unwrap_or(TERM);
        let obeyed = self.stop_asked
            && (ending == Ending::Killed(asked)
                || matches!(ending, Ending::Killed(TERM) | Ending::Exited(0x8f)));
        self.status = Some(status);
        let next = if self.stop_asked { Next::Rest } else { self.restarts.after(status, Instant::now()) };
        match next {
            Next::Rest => {}
            Next::Again(time) => {
                self.again = Some(time);
                self.say(shared, 5, format!("Ended with status {status}; it starts again").as_bytes());
            }
            Next::TooOften => {
                let text =
                    format!("Error: ended with status {status}, and has been started too often already");
                self.say(shared, 3, text.as_bytes());
            }
        }
        self.failure = (status != 0 && !obeyed && self.again.is_none()).then_some(status);
        if let Err(errno) = shared.status.record(&Record::Exited { app: self.spec.name.clone(), status }) {
            self.complain(shared, "record the exit status", errno);
        }
    }

    /// Goes on when nothing of the app runs any more. Call it after processes have ended.
    pub(crate) fn advance(&mut self, shared: &mut Shared) {
        if self.phase != Phase::Draining || self.group.is_populated() {
            return;
        }
        self.drain_output(shared);
        if self.spec.event_handlers.post_stop.is_some() && self.mounts.is_some() {
            self.phase = Phase::PostStop;
            // Like the start, it has as much time as it wants, until the pod ends.
            self.deadline = self.stop_asked.then(|| Instant::now() + shared.grace);
            self.run_phase(shared);
        } else {
            self.finish(shared);
        }
    }

    fn finish(&mut self, shared: &mut Shared) {
        self.drain_output(shared);
        let again = self.again.take().filter(|_| !self.stop_asked);
        self.phase = if again.is_some() { Phase::Waiting } else { Phase::Exited };
        self.deadline = again;
        // What a handler has left behind.
        if self.group.is_populated() {
            self.group.kill();
        }
        self.listeners.clear();
    }

    /// Gives back what it needs only while it runs: its mounts.
    pub(crate) fn rest(&mut self) {
        if let Phase::Waiting | Phase::Exited = self.phase {
            self.mounts = None;
        }
    }

    /// Asks it to end.
    pub(crate) fn stop(&mut self, shared: &mut Shared) {
        if self.stop_asked {
            return;
        }
        self.stop_asked = true;
        match self.phase {
            Phase::Created | Phase::Waiting => self.phase = Phase::Exited,
            Phase::Exited => {}
            Phase::PostStop | Phase::Draining => {
                self.deadline.get_or_insert(Instant::now() + shared.grace);
            }
            Phase::Running => match (self.spec.stop_signal, &self.running) {
                // Its program knows what that means to its other processes.
                (Some(number), Some(running)) => {
                    let _ = sys::signal::send(running.child.pidfd.as_fd(), number);
                    self.group.signal(Signal::CONT);
                    self.deadline = Some(Instant::now() + shared.grace);
                }
                _ => self.terminate(shared.grace),
            },
            Phase::PreStart | Phase::Starting => self.terminate(shared.grace),
        }
    }

    fn terminate(&mut self, grace: Duration) {
        self.group.signal(Signal::TERM);
        // Who is stopped could not end.
        self.group.signal(Signal::CONT);
        self.deadline = Some(Instant::now() + grace);
    }

    /// Kills everything in it.
    pub(crate) fn kill(&mut self) {
        self.stop_asked = true;
        self.deadline = None;
        if matches!(self.phase, Phase::Created | Phase::Waiting) {
            self.phase = Phase::Exited;
        }
        self.group.kill();
    }

    /// When [`App::tick`] must be called at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadline.into_iter().chain(self.watchdog).min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant, shared: &mut Shared) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            if self.phase == Phase::Waiting {
                self.main_pid = None;
                self.last_pid = None;
                self.status = None;
                self.is_ready = false;
                if let Err(errno) = shared.status.record(&Record::StartsAgain { app: self.spec.name.clone() })
                {
                    self.complain(shared, "take back the exit status", errno);
                }
                self.start(shared);
            } else {
                self.group.kill();
            }
        }
        if self.watchdog.is_some_and(|deadline| deadline <= now) {
            self.watchdog = None;
            self.say(shared, 3, b"Error: the app has not sent WATCHDOG=1 in time");
            if let Some(running) = &self.running {
                let _ = rustix::process::pidfd_send_signal(&running.child.pidfd, Signal::ABORT);
            }
            self.deadline = Some(now + shared.grace);
        }
    }

    /// Whether the pod need not wait for it to become ready.
    pub(crate) fn is_settled(&self) -> bool {
        match self.phase {
            Phase::Running => self.is_ready || !self.spec.notify,
            Phase::Draining | Phase::PostStop | Phase::Exited => true,
            Phase::Created | Phase::PreStart | Phase::Starting | Phase::Waiting => false,
        }
    }

    /// Whether its main process has ended, or has been asked to.
    pub(crate) fn is_ending(&self) -> bool {
        self.stop_asked || matches!(self.phase, Phase::Draining | Phase::PostStop | Phase::Exited)
    }

    /// Whether it is over.
    pub(crate) fn is_exited(&self) -> bool {
        self.phase == Phase::Exited
    }

    /// What it has said of itself, once.
    pub(crate) fn take_status(&mut self) -> Option<String> {
        self.status_text.take()
    }

    /// The status with which it failed, once.
    pub(crate) fn take_failure(&mut self) -> Option<u8> {
        self.failure.take()
    }

    /// Where it stands, for others.
    pub(crate) fn status(&self) -> AppStatus {
        let state = match self.phase {
            Phase::Exited => AppState::Exited,
            Phase::Draining | Phase::PostStop => AppState::Stopping,
            _ if self.stop_asked => AppState::Stopping,
            Phase::Created => AppState::Created,
            Phase::Running if self.is_settled() => AppState::Running,
            Phase::PreStart | Phase::Starting | Phase::Running | Phase::Waiting => AppState::Starting,
        };
        let endpoints = self.streams.endpoints.clone();
        AppStatus {
            name: self.spec.name.clone(),
            state,
            pid: self.pid(),
            exit_status: self.status,
            endpoints,
        }
    }
}
