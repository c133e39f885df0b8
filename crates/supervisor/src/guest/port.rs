//! The device of the link: vsock, when the kernel's command line has the number of the host's port, else a port of virtio-serial,
//! found by its name.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use executor::Step;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::Error;

/// The name that the hypervisor gives it.
pub const NAME: &str = "rkt.control";

const PORTS: &str = "/sys/class/virtio-ports";

/// The host's port, on the kernel's command line.
const VSOCK: &str = "rkt.vsock=";

/// Opens the link's device. `options` is the kernel's command line.
pub(super) fn open(options: &str) -> Result<OwnedFd, Error> {
    match options.split_whitespace().find_map(|word| word.strip_prefix(VSOCK)) {
        Some(port) => Ok(sys::vsock::connect(port.parse()?).step(|| "connect to the host".to_owned())?),
        None => open_serial(),
    }
}

/// Waits for the port and opens it. There is no end to the waiting: the host has a limit.
fn open_serial() -> Result<OwnedFd, Error> {
    let events = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(KOBJECT_UEVENT),
    )?;
    // Group 1: what the kernel says.
    rustix::net::bind(&events, &SocketAddrNetlink::new(0, 1)).step(|| "hear of devices".to_owned())?;
    loop {
        if let Some(path) = find() {
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
            let port =
                rustix::fs::open(&path, flags, Mode::empty()).step(|| format!("open {}", path.display()))?;
            wait_for_host(&port)?;
            return Ok(port);
        }
        poll(&mut [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN)], None)?;
        while rustix::net::recv(&events, &mut [0_u8; 4096][..], RecvFlags::empty()).is_ok() {}
    }
}

/// The hypervisor says that the host has the port open a moment after it has said its name. Until then the port is like one that
/// the host has closed.
fn wait_for_host(port: &OwnedFd) -> Result<(), Error> {
    loop {
        let mut fds = [PollFd::new(port, PollFlags::OUT)];
        poll(&mut fds, None)?;
        if !fds[0].revents().contains(PollFlags::HUP) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn find() -> Option<PathBuf> {
    let ports = std::fs::read_dir(PORTS).ok()?;
    ports.flatten().find_map(|port| {
        let name = std::fs::read_to_string(port.path().join("name")).ok()?;
        let device = PathBuf::from("/dev").join(port.file_name());
        (name.trim_end() == NAME && device.exists()).then_some(device)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicBool, Ordering};

    /// A terminal stands in for the port: its master end, too, hangs up while nobody has the other end open.
    #[test]
    fn a_port_is_used_when_the_host_has_it_open() {
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let port =
            rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
        rustix::pty::unlockpt(&port).unwrap();
        let name = rustix::pty::ptsname(&port, Vec::new()).unwrap();
        let open = || rustix::fs::open(&*name, flags, Mode::empty()).unwrap();
        drop(open());
        let is_open = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let host = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                is_open.store(true, Ordering::SeqCst);
                open()
            });
            wait_for_host(&port).unwrap();
            assert!(is_open.load(Ordering::SeqCst), "nobody has the other end");
            host.join().unwrap();
        });
    }
}
