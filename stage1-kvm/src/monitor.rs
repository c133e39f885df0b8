//! The monitor: what stays of `run` beside the hypervisor and the file server.
//!
//! One thread waits for everything: the link, the console, the control socket, signals, the helpers, the clock. Only the
//! guest's own word ends a pod well: a hypervisor leaves with 0 also when the guest has panicked.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::Signal;
use stage1::{Context, Error, Result};
use supervisor::client::window_size;
use supervisor::control::{Request, send};
use supervisor::link::{Event, Link, Order, PROTOCOL, Report, Start, Token};
use systemd::notify::Notifier;

use crate::console::{Complaints, Console};
use crate::files::FileServer;
use crate::guest;
use crate::process::Running;
use crate::records::Records;
use crate::sockets::HostSocket;
use crate::vsock::Vsock;

/// How long the last output may take to get out when its reader is slow.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long the kernel's last words may take to arrive when the hypervisor has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Everything that the monitor watches.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) link: Link,
    /// Where the guest connects to, until it has.
    pub(crate) vsock: Option<Vsock>,
    pub(crate) console: Console,
    pub(crate) control: OwnedFd,
    pub(crate) signals: OwnedFd,
    /// Sockets of the unit, whose connections go to the guest.
    pub(crate) sockets: Vec<HostSocket>,
    pub(crate) complaints: Complaints,
    pub(crate) hypervisor: Running,
    /// None where the guest has its files from an image.
    pub(crate) file_server: Option<FileServer>,
    pub(crate) records: Records,
    /// Told when the guest asks.
    pub(crate) start: Option<Start>,
    /// The stream of the terminal.
    pub(crate) terminal: Option<u32>,
    pub(crate) notifications: Option<UnixDatagram>,
    pub(crate) notifier: Option<Notifier>,
    /// How often the unit must hear from us.
    pub(crate) watchdog: Option<Duration>,
    /// When the guest must have started.
    pub(crate) deadline: Instant,
    pub(crate) limit: Duration,
    pub(crate) state: State,
    /// The pod has been asked to end: who connects now is for the next one.
    pub(crate) is_stopping: bool,
}

/// How far the guest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Its kernel boots.
    Booting,
    /// The supervisor runs.
    Running,
    /// It has said how it ended.
    Ended(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Link(Token),
    Vsock,
    Console,
    Complaints,
    Control,
    Signals,
    Hypervisor,
    FileServer,
    Notifications,
    Socket(usize),
}

impl Monitor {
    /// Runs the pod and returns its exit status. Helpers are gone then, whatever has happened; `meanwhile` is done while they go.
    pub(crate) fn run(mut self, meanwhile: impl FnOnce()) -> Result<u8> {
        let result = self.watch();
        if result.is_ok() {
            self.deliver();
        }
        // The file server ends with its connection, while the hypervisor gives the memory back.
        self.file_server.iter().for_each(FileServer::disconnect);
        self.hypervisor.kill();
        meanwhile();
        self.hypervisor.end(Duration::ZERO);
        self.file_server.iter_mut().for_each(FileServer::end);
        result
    }

    fn watch(&mut self) -> Result<u8> {
        let mut next_ping = self.watchdog.map(|_| Instant::now());
        loop {
            while let Some(event) = self.link.next_event().map_err(|error| broken(&error))? {
                self.hear(event)?;
            }
            if let State::Ended(status) = self.state {
                return Ok(status);
            }
            let now = Instant::now();
            if self.state == State::Booting && now >= self.deadline {
                return Err(Error::Refused(format!(
                    "The guest has not started within {} s, and was killed. RKT_KVM_READY_SEC gives it more time; --debug \
                     shows what its kernel says",
                    self.limit.as_secs()
                )));
            }
            if let (Some(period), State::Running) = (self.watchdog, &self.state)
                && next_ping.is_none_or(|next| now >= next)
            {
                self.link.notice(&Order::Ping);
                next_ping = Some(now + period / 2);
            }
            let booting = (self.state == State::Booting).then_some(self.deadline);
            let wake = booting.or(next_ping);
            for (watched, flags) in self.wait(wake)? {
                self.handle(watched, flags)?;
            }
        }
    }

    fn wait(&mut self, wake: Option<Instant>) -> Result<Vec<(Watched, PollFlags)>> {
        self.link.advance().map_err(|error| broken(&error))?;
        let mut watched: Vec<(Watched, BorrowedFd<'_>, PollFlags)> = vec![
            (Watched::Signals, self.signals.as_fd(), PollFlags::IN),
            (Watched::Console, self.console.as_fd(), PollFlags::IN),
            (Watched::Complaints, self.complaints.as_fd(), PollFlags::IN),
            (Watched::Hypervisor, self.hypervisor.as_fd(), PollFlags::IN),
        ];
        let server = self.file_server.iter().map(|server| server.running.as_fd());
        watched.extend(server.map(|fd| (Watched::FileServer, fd, PollFlags::IN)));
        if self.state == State::Running {
            watched.push((Watched::Control, self.control.as_fd(), PollFlags::IN));
        }
        if self.state == State::Running && !self.is_stopping && self.link.has_room() {
            let sockets = self.sockets.iter().enumerate();
            watched.extend(
                sockets.map(|(number, socket)| (Watched::Socket(number), socket.as_fd(), PollFlags::IN)),
            );
        }
        watched.extend(self.vsock.iter().map(|vsock| (Watched::Vsock, vsock.as_fd(), PollFlags::IN)));
        watched.extend(
            self.notifications.iter().map(|socket| (Watched::Notifications, socket.as_fd(), PollFlags::IN)),
        );
        watched.extend(
            self.link.watched().into_iter().map(|(token, fd, flags)| (Watched::Link(token), fd, flags)),
        );
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|&(_, fd, flags)| PollFd::from_borrowed_fd(fd, flags)).collect();
        match poll(&mut fds, wake.map(until).as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error).step(|| "wait".to_owned()),
        }
        let ready = watched.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((watched, ..), fd)| (*watched, fd.revents())).collect())
    }

    fn handle(&mut self, watched: Watched, flags: PollFlags) -> Result<()> {
        match watched {
            Watched::Link(token) => self.link.handle(token, flags).map_err(|error| broken(&error))?,
            Watched::Vsock => {
                if let Some(port) = self.vsock.as_ref().and_then(Vsock::accept) {
                    self.link.plug(port);
                    self.vsock = None;
                }
            }
            Watched::Console => _ = self.console.read(),
            Watched::Complaints => self.complaints.read(),
            Watched::Control => self.accept(),
            Watched::Socket(number) => self.sockets[number].accept(number, &mut self.link),
            Watched::Signals => self.hear_signals()?,
            Watched::Notifications => self.pass_notifications(),
            Watched::Hypervisor => return self.machine_is_gone(),
            Watched::FileServer => return self.file_server_is_gone(),
        }
        Ok(())
    }

    fn file_server_is_gone(&mut self) -> Result<()> {
        let Some(server) = &mut self.file_server else { return Ok(()) };
        let how = server.running.has_ended().unwrap_or("has ended").to_owned();
        let name = server.running.name().to_owned();
        // When the hypervisor has ended, that is the reason.
        if self.hypervisor.has_ended().is_some() {
            return self.machine_is_gone();
        }
        Err(Error::Refused(format!(
            "The file server {name} {how} while the pod was running, so the pod was killed{}",
            self.complaints.last()
        )))
    }

    fn hear(&mut self, event: Event) -> Result<()> {
        let json = match event {
            Event::Notice(json) => json,
            Event::Told(json) => return self.records.write_down(&json),
            // The hypervisor's end tells more, and it is about to come.
            Event::Closed => return self.machine_is_gone(),
        };
        let report: Report = serde_json::from_slice(&json).map_err(|_| {
            Error::Refused("The guest reports what makes no sense, and was killed".to_owned())
        })?;
        match (report, &self.state) {
            (Report::Hello { protocol: PROTOCOL }, State::Booting) => match self.start.take() {
                Some(start) => self.link.notice(&Order::Start(Box::new(guest::now(start)?))),
                None => return Err(Error::Refused("The guest has started twice, and was killed".to_owned())),
            },
            (Report::Hello { protocol }, _) => {
                return Err(Error::Refused(format!(
                    "The guest speaks version {protocol} of the protocol and this stage1 version {PROTOCOL}: its initramfs \
                     (RKT_KVM_INITRD) belongs to another"
                )));
            }
            (Report::Started, State::Booting) => {
                self.state = State::Running;
                self.link.resume();
            }
            (Report::Pong, _) => {
                if let Some(notifier) = &self.notifier {
                    let _ = notifier.send("WATCHDOG=1");
                }
            }
            (Report::Exited { status }, State::Running) => self.state = State::Ended(status),
            (Report::Failed { message }, _) => {
                return Err(Error::Refused(format!("The guest cannot run the pod: {}", plain(&message))));
            }
            _ => return Err(Error::Refused("The guest reports out of order, and was killed".to_owned())),
        }
        Ok(())
    }

    /// The machine has ended without a word of the guest.
    fn machine_is_gone(&mut self) -> Result<()> {
        self.hypervisor.end(LAST_WORDS);
        let end = Instant::now() + LAST_WORDS;
        while Instant::now() < end && self.console.read() {
            let mut fds = [PollFd::from_borrowed_fd(self.console.as_fd(), PollFlags::IN)];
            let _ = poll(&mut fds, Some(&until(end)));
        }
        let how = self.hypervisor.has_ended().unwrap_or("has ended").to_owned();
        Err(Error::Refused(match self.console.panic() {
            Some(reason) => format!("The guest has failed: {reason}"),
            None => format!(
                "The machine of the pod is gone: {} {how}, and the guest said nothing before{}",
                self.hypervisor.name(),
                self.complaints.last()
            ),
        }))
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        if let Ok(socket) = rustix::net::accept_with(&self.control, flags) {
            self.link.call(socket);
        }
    }

    fn hear_signals(&mut self) -> Result<()> {
        // What systemd as process 1 takes for halt, poweroff, reboot and kexec; machined sends them.
        let machine = [3, 4, 5, 6].map(sys::signal::real_time);
        let named = [Signal::TERM, Signal::INT, Signal::HUP, Signal::POWER]
            .map(|signal| signal.as_raw().cast_unsigned());
        while let Some(number) =
            sys::signal::next(self.signals.as_fd()).step(|| "receive signals".to_owned())?
        {
            if number == Signal::WINCH.as_raw().cast_unsigned() {
                if let Some(terminal) = self.terminal {
                    self.link.resize(terminal, window_size(io::stdin().as_fd()));
                }
            } else if named.contains(&number) || machine.contains(&number) {
                self.stop()?;
            }
        }
        Ok(())
    }

    /// Asks the supervisor to end the pod; a machine without one is ended.
    fn stop(&mut self) -> Result<()> {
        if self.state == State::Booting {
            return Err(Error::Refused("The pod was stopped before it had started".to_owned()));
        }
        self.is_stopping = true;
        let step = || "ask the supervisor to stop".to_owned();
        let (ours, theirs) = UnixStream::pair().step(step)?;
        theirs.set_nonblocking(true).step(step)?;
        let asked = send(&ours, &Request::Stop { force: false }, &[]);
        asked.map_err(|error| Error::Refused(stage1::chain(&error)))?;
        // The answer is of no interest, and with it the call is over.
        self.link.call(theirs.into());
        Ok(())
    }

    /// Tells the unit what the guest says of itself, as far as it is the guest's to say.
    fn pass_notifications(&mut self) {
        let Some(socket) = &self.notifications else { return };
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            let allowed =
                |line: &&str| ["READY=1", "STOPPING=1"].contains(line) || line.starts_with("STATUS=");
            let lines: Vec<&str> = text.lines().filter(allowed).collect();
            if let Some(notifier) = self.notifier.as_ref().filter(|_| !lines.is_empty()) {
                // A unit that does not listen loses it.
                let _ = notifier.send(&lines.join("\n"));
            }
        }
    }

    /// Gets what the guest wrote out.
    fn deliver(&mut self) {
        let end = Instant::now() + FAREWELL;
        while !self.link.is_delivered() && Instant::now() < end {
            let Ok(ready) = self.wait(Some(end)) else { return };
            for (watched, flags) in ready {
                let handled = match watched {
                    Watched::Link(token @ Token::Stream(_)) => self.link.handle(token, flags).is_ok(),
                    Watched::Notifications => {
                        self.pass_notifications();
                        true
                    }
                    Watched::Link(_)
                    | Watched::Vsock
                    | Watched::Control
                    | Watched::Socket(_)
                    | Watched::Console
                    | Watched::Complaints => true,
                    Watched::Signals | Watched::Hypervisor | Watched::FileServer => false,
                };
                if !handled {
                    return;
                }
            }
        }
        self.pass_notifications();
    }
}

fn broken(error: &supervisor::link::LinkError) -> Error {
    Error::Refused(format!("{}; the pod was killed", stage1::chain(error)))
}

/// A guest's text as people may see it.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(1000).collect()
}

/// The time from now to `deadline`, rounded up so that it has passed then.
fn until(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    }
}
