//! The device of the link: vsock, when the kernel's command line has the number of the host's port, else a port of virtio-serial,
//! found by its name.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

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

/// Opens the link's device.
pub(super) fn open() -> Result<OwnedFd, Error> {
    let options = std::fs::read_to_string("/proc/cmdline")?;
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
            let port = rustix::fs::open(&path, flags, Mode::empty());
            return Ok(port.step(|| format!("open {}", path.display()))?);
        }
        poll(&mut [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN)], None)?;
        while rustix::net::recv(&events, &mut [0_u8; 4096][..], RecvFlags::empty()).is_ok() {}
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
