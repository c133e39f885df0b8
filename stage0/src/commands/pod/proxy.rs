//! `rkt pod proxy`: hands connections at the sockets of its unit to a port of the pod.
//!
//! ```text
//! client ──► socket of systemd ──► proxy ──► ADDRESS:PORT of the pod, or 127.0.0.1:PORT
//! ```
//! systemd holds the sockets and the proxy holds the connections, so nobody is refused while the pod starts or restarts. It ends
//! when nobody has come for a while: the next connection starts it again, and the pod with it.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use podfile::PodName;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, SocketFlags};

use super::Context;
use super::run::load;
use crate::{pod_file, report};

/// Arguments of `rkt pod proxy`.
#[derive(Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    name: String,
}

/// Connections at one time; further ones wait in the socket.
const MOST: usize = 512;
/// How long a connection waits for the pod.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a pod is tried that cannot be reached yet.
const NAP: Duration = Duration::from_millis(50);
/// How long the proxy stays without a connection, in seconds.
const IDLE: i64 = 60;
/// How long a round waits when all places are taken, in nanoseconds.
const CROWDED: i64 = 20_000_000;

pub(crate) fn run(context: &Context, args: &ProxyArgs) -> Result<ExitCode> {
    let name: PodName = args.name.parse()?;
    let file = load(context, &name)?;
    let port = file.pod.proxy.with_context(|| format!("pod {name} has no Proxy="))?;
    let sockets: Vec<OwnedFd> = systemd::listen::take().into_iter().map(|socket| socket.fd).collect();
    ensure!(!sockets.is_empty(), "there are no sockets of the unit: the socket unit of the pod starts this");
    for socket in &sockets {
        // Somebody may have gone again before we accept.
        rustix::io::ioctl_fionbio(socket, true).context("Cannot prepare a socket")?;
    }
    let unit = file.unit();
    let count = Arc::new(AtomicUsize::new(0));
    loop {
        let mut waiting: Vec<PollFd<'_>> =
            sockets.iter().map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)).collect();
        let crowded = count.load(Ordering::Acquire) >= MOST;
        let time = if crowded {
            waiting.clear();
            Timespec { tv_sec: 0, tv_nsec: CROWDED }
        } else {
            Timespec { tv_sec: IDLE, tv_nsec: 0 }
        };
        if poll(&mut waiting, Some(&time)).context("Cannot wait for connections")? == 0 {
            if !crowded && count.load(Ordering::Acquire) == 0 {
                return Ok(ExitCode::SUCCESS);
            }
            continue;
        }
        for socket in &sockets {
            let Ok(client) = rustix::net::accept_with(socket, SocketFlags::CLOEXEC) else { continue };
            let place = Place::take(&count);
            let address = address(context, &name, port);
            let unit = unit.clone();
            let serve = move || {
                let _place = place;
                if let Err(error) = serve(&client, &unit, address) {
                    report::notice("proxy", format_args!("a connection is lost: {error}"));
                }
            };
            thread::Builder::new().spawn(serve).context("Cannot serve a connection")?;
        }
    }
}

/// One of the places for connections, given back at its end.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Place(Arc::clone(count))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Tells, each time that it is asked, where the pod listens that runs now.
fn address(context: &Context, name: &PodName, port: u16) -> impl Fn() -> SocketAddr + Send + 'static {
    let directory = context.data_dir().map(std::path::Path::to_owned);
    let name = name.clone();
    move || {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let found = || -> Option<IpAddr> {
            let pods = pod::Pods::open(directory.as_ref().ok()?).ok()?;
            let pod = pods.find(&pod_file::running(&name).ok()?).ok()?;
            let networks = pod.dir.networks().ok()?;
            networks.iter().find_map(|network| network.ip.parse().ok())
        };
        SocketAddr::new(found().unwrap_or(local), port)
    }
}

/// Connects to the pod as soon as that can be, and copies both ways.
fn serve(client: &OwnedFd, unit: &str, address: impl Fn() -> SocketAddr) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut asked = false;
    let server = loop {
        match TcpStream::connect_timeout(&address(), Duration::from_secs(2)) {
            Ok(server) => break server,
            Err(error) if Instant::now() >= end => return Err(error),
            Err(_) if !asked => {
                // It may have been stopped. A job that is at it already is as good.
                let _ = systemd::control::start(unit);
                asked = true;
            }
            Err(_) => thread::sleep(NAP),
        }
    };
    let (up, down) = (client.try_clone()?, OwnedFd::from(server.try_clone()?));
    let back = thread::Builder::new().spawn(move || copy(&down, &up))?;
    let there = copy(client, &OwnedFd::from(server));
    let back = back.join().unwrap_or_else(|_| Err(io::Error::other("the copy back failed")));
    there.and(back)
}

/// Copies until the end, and hands that on.
fn copy(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let copied = io::copy(&mut File::from(from.try_clone()?), &mut File::from(to.try_clone()?));
    // The other side may have gone before.
    let _ = rustix::net::shutdown(to, Shutdown::Write);
    copied.map(drop)
}
