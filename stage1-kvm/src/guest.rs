//! What the monitor tells the guest, and the streams between them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use rustix::fs::OFlags;
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, clock_gettime};
use stage1::{Context, Result};
use supervisor::PodSpec;
use supervisor::client::window_size;
use supervisor::link::{Flow, Interface, Kind, Link, Listener, OwnFile, Start, Terminal, Volume, unblocked};

/// Bytes of randomness for the guest.
const SEED: usize = 64;

/// What is connected to the guest.
#[derive(Debug)]
pub(crate) struct Outside {
    /// The pod.
    pub(crate) pod: PodSpec,
    /// Files of its root.
    pub(crate) files: Vec<OwnFile>,
    /// The journal's socket for entries.
    pub(crate) journal: Option<OwnedFd>,
    /// An app reads our standard input.
    pub(crate) interactive: bool,
    /// Standard input is a terminal that becomes the guest's.
    pub(crate) terminal: bool,
    /// Somebody wants to be told how far the pod is.
    pub(crate) notify: bool,
    /// `/sys` can be written to.
    pub(crate) writable_sys: bool,
    /// Apps, and paths in their roots of what is mounted there on the host.
    pub(crate) mounts: Vec<(String, String)>,
    /// The volumes in the image that the root comes from.
    pub(crate) image: Option<Vec<Volume>>,
    /// Network interfaces.
    pub(crate) interfaces: Vec<Interface>,
    /// Sockets of the unit.
    pub(crate) listeners: Vec<Listener>,
}

/// What the monitor keeps of it.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The stream of the terminal.
    pub(crate) terminal: Option<u32>,
    /// sd_notify(3) messages of the guest, to be judged.
    pub(crate) notifications: Option<UnixDatagram>,
}

/// Lets `link` carry the streams, and says what the guest must know.
pub(crate) fn connect(link: &mut Link, outside: Outside) -> Result<(Start, Kept)> {
    let step = || "connect the guest's streams".to_owned();
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let mut start = Start {
        pod: outside.pod,
        files: outside.files,
        records: link.hear(),
        writable_sys: outside.writable_sys,
        mounts: outside.mounts,
        image: outside.image,
        interfaces: outside.interfaces,
        listeners: outside.listeners,
        ..Start::default()
    };
    if outside.terminal {
        // In both directions, and without blocking for us alone.
        let terminal = sys::fd::open_again(stdin.as_fd(), OFlags::RDWR | OFlags::NONBLOCK).step(step)?;
        let stream = link.carry(terminal, Flow::Both, Kind::Bytes);
        start.terminal = Some(Terminal { stream, size: window_size(stdin.as_fd()) });
    } else {
        if outside.interactive {
            let input = rustix::io::fcntl_dupfd_cloexec(&stdin, 3).step(step)?;
            start.stdio[0] = Some(link.carry(input, Flow::Read, Kind::Bytes));
        }
        for (slot, output) in [(1, stdout.as_fd()), (2, stderr.as_fd())] {
            let output = unblocked(output).step(step)?;
            start.stdio[slot] = Some(link.carry(output, Flow::Write, Kind::Bytes));
        }
    }
    start.journal = outside.journal.map(|socket| link.carry(socket, Flow::Write, Kind::Datagrams));
    let mut notifications = None;
    if outside.notify {
        let (ours, theirs) = UnixDatagram::pair().step(step)?;
        ours.set_nonblocking(true).step(step)?;
        start.notify = Some(link.carry(theirs.into(), Flow::Write, Kind::Datagrams));
        notifications = Some(ours);
    }
    let kept = Kept { terminal: start.terminal.as_ref().map(|terminal| terminal.stream), notifications };
    Ok((start, kept))
}

/// Adds what the guest must know and that is only true now.
pub(crate) fn now(mut start: Start) -> Result<Start> {
    let time = clock_gettime(ClockId::Realtime);
    start.time = (time.tv_sec, u32::try_from(time.tv_nsec).unwrap_or(0));
    let mut seed = vec![0; SEED];
    getrandom(seed.as_mut_slice(), GetRandomFlags::empty()).step(|| "get randomness".to_owned())?;
    start.seed = seed;
    Ok(start)
}
