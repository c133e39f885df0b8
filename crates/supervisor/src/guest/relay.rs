//! The guest's end of the link, from the first word to the last.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::{Duration, Instant};

use executor::Step;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{WaitIdOptions, WaitIdStatus};
use rustix::pty::OpenptFlags;
use rustix::time::{ClockId, clock_settime};
use sys::process::Child;

use super::{Error, listeners, network, root};
use crate::client::set_window_size;
use crate::link::{Event, Flow, Kind, Link, Order, PROTOCOL, Report, Start, Token};

/// Where the supervisor listens: in our own root, which neither it nor any app sees.
const CONTROL: &str = "/run/control.sock";

/// Where the supervisor's sd_notify(3) messages go, in its root and in ours.
const NOTIFY: &str = "/run/host-notify";

/// How long the host may take to hear the last word.
const FAREWELL: Duration = Duration::from_secs(10);

/// Runs the pod, and returns the exit status of the supervisor.
pub(super) fn run(link: &mut Link) -> Result<u8, Error> {
    link.notice(&Report::Hello { protocol: PROTOCOL });
    link.advance()?;
    // While the host answers.
    network::loopback_up()?;
    let start = loop {
        if let Some(event) = link.next_event()? {
            match order(event)? {
                Order::Start(start) => break start,
                Order::Ping => link.notice(&Report::Pong),
            }
            continue;
        }
        wait(link, None, None)?;
    };
    set_up(&start)?;
    let (supervisor, _kept) = start_supervisor(link, *start)?;
    link.notice(&Report::Started);
    let mut ended = None;
    loop {
        while let Some(event) = link.next_event()? {
            match order(event)? {
                Order::Ping => link.notice(&Report::Pong),
                Order::Start(_) => return Err("The host orders the start twice".into()),
            }
        }
        // All that it has written goes first.
        if let Some(status) = ended.filter(|_| link.is_drained()) {
            return Ok(status);
        }
        if wait(link, ended.is_none().then_some(supervisor.status.as_fd()), None)? {
            ended = Some(supervisor.status()?);
        }
    }
}

/// Gets the last word out.
pub(super) fn last_word(link: &mut Link, report: &Report) {
    // What apps have mapped and written is on the host then.
    rustix::fs::sync();
    link.notice(report);
    let end = Instant::now() + FAREWELL;
    // It ends the machine when it has heard; after the last byte there is nothing left to do but wait for that.
    while Instant::now() < end {
        if wait(link, None, Some(Duration::from_millis(500))).is_err() {
            return;
        }
        while let Ok(Some(event)) = link.next_event() {
            if event == Event::Closed {
                return;
            }
        }
    }
}

fn order(event: Event) -> Result<Order, Error> {
    match event {
        Event::Notice(json) => Ok(serde_json::from_slice(&json)?),
        Event::Told(_) => Err("The host tells something".into()),
        Event::Closed => Err("The host has closed the link".into()),
    }
}

/// Waits for the link, and for the `status` of the supervisor; whether that has come.
fn wait(link: &mut Link, status: Option<BorrowedFd<'_>>, limit: Option<Duration>) -> Result<bool, Error> {
    link.advance()?;
    let mut tokens: Vec<Option<Token>> = Vec::new();
    let mut fds: Vec<PollFd<'_>> = Vec::new();
    for (token, fd, flags) in link.watched() {
        tokens.push(Some(token));
        fds.push(PollFd::from_borrowed_fd(fd, flags));
    }
    if let Some(status) = status {
        tokens.push(None);
        fds.push(PollFd::from_borrowed_fd(status, PollFlags::IN));
    }
    let limit = limit.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    });
    match poll(&mut fds, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let ready: Vec<(Option<Token>, PollFlags)> = tokens
        .into_iter()
        .zip(fds.iter().map(PollFd::revents))
        .filter(|(_, flags)| !flags.is_empty())
        .collect();
    let mut has_ended = false;
    for (token, flags) in ready {
        match token {
            Some(token) => link.handle(token, flags)?,
            None => has_ended = true,
        }
    }
    Ok(has_ended)
}

/// The supervisor, and where its exit status arrives.
struct Supervisor {
    child: Child,
    status: OwnedFd,
}

impl Supervisor {
    /// What it says, or how it was killed before it could.
    fn status(&self) -> Result<u8, Error> {
        let mut status = [0];
        match rustix::io::read(&self.status, &mut status)? {
            0 => reap(&self.child),
            _ => Ok(status[0]),
        }
    }
}

fn reap(child: &Child) -> Result<u8, Error> {
    let id = rustix::process::WaitId::PidFd(child.pidfd.as_fd());
    let status: Option<WaitIdStatus> = rustix::process::waitid(id, WaitIdOptions::EXITED)?;
    let Some(status) = status else { return Err("The supervisor has vanished".into()) };
    let byte = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => Ok(byte(status)),
        (None, signal) => Err(format!("The supervisor was killed by signal {}", signal.unwrap_or(0)).into()),
    }
}

/// Time, randomness and networks of the machine.
fn set_up(start: &Start) -> Result<(), Error> {
    let (tv_sec, nanoseconds) = start.time;
    let time = rustix::time::Timespec { tv_sec, tv_nsec: i64::from(nanoseconds) };
    clock_settime(ClockId::Realtime, time).step(|| "set the time".to_owned())?;
    // The kernel mixes it with what it has.
    std::fs::write("/dev/urandom", &start.seed)?;
    network::set_up(&start.interfaces)?;
    root::mount_root(start)
}

/// Starts it; the descriptors that come back are to be kept for as long as it runs.
fn start_supervisor(link: &mut Link, start: Start) -> Result<(Supervisor, Vec<OwnedFd>), Error> {
    let control = UnixListener::bind(CONTROL)?;
    link.serve(CONTROL.into());
    let mut kept = Vec::new();
    let mut descriptors: Vec<(String, OwnedFd)> = Vec::new();
    match &start.terminal {
        Some(terminal) => {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            // The supervisor's own instance, so that its apps know the name.
            let master = rustix::fs::open(
                "/root/dev/pts/ptmx",
                rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )?;
            rustix::pty::unlockpt(&master)?;
            let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
            set_window_size(master.as_fd(), terminal.size)?;
            for name in ["stdin", "stdout", "stderr"] {
                descriptors.push((name.to_owned(), rustix::io::fcntl_dupfd_cloexec(&slave, 3)?));
            }
            // While nobody has it open a master gives EIO.
            kept.push(slave);
            rustix::io::ioctl_fionbio(&master, true)?;
            link.adopt(terminal.stream, master, Flow::Both, Kind::Bytes);
        }
        None => {
            for (name, stream) in ["stdin", "stdout", "stderr"].into_iter().zip(start.stdio) {
                let theirs = match stream {
                    Some(stream) => pipe(link, stream, name == "stdin")?,
                    None => crate::streams::null()?,
                };
                descriptors.push((name.to_owned(), theirs));
            }
        }
    }
    descriptors.push(("control".to_owned(), control.into()));
    // What is written at once is read at once.
    let (records, told) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::DIRECT)?;
    rustix::io::ioctl_fionbio(&records, true)?;
    link.tell(start.records, records);
    descriptors.push(("records".to_owned(), told));
    if let Some(stream) = start.journal {
        let (ours, theirs) = UnixDatagram::pair()?;
        ours.set_nonblocking(true)?;
        link.adopt(stream, ours.into(), Flow::Read, Kind::Datagrams);
        descriptors.push(("journal".to_owned(), theirs.into()));
    }
    descriptors.extend(listeners::open(link, &start.listeners)?);
    let mut notify_socket = None;
    if let Some(stream) = start.notify {
        let socket = UnixDatagram::bind(format!("/root{NOTIFY}"))?;
        socket.set_nonblocking(true)?;
        link.adopt(stream, socket.into(), Flow::Read, Kind::Datagrams);
        notify_socket = Some(NOTIFY);
    }
    let (child, status) = root::start(start.pod, &descriptors, notify_socket, start.writable_sys)?;
    Ok((Supervisor { child, status }, kept))
}

/// The supervisor's end of a pipe whose other end is joined to `stream`.
fn pipe(link: &mut Link, stream: u32, inwards: bool) -> Result<OwnedFd, Error> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (ours, theirs, flow) =
        if inwards { (writer, reader, Flow::Write) } else { (reader, writer, Flow::Read) };
    rustix::io::ioctl_fionbio(&ours, true)?;
    link.adopt(stream, ours, flow, Kind::Bytes);
    Ok(theirs)
}
