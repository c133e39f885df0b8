//! The device of the link: vsock, when the kernel's command line has the number of the host's port, else the port of virtio-serial.

use std::os::fd::OwnedFd;
use std::time::Duration;

use executor::Step;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Error;

/// The name that the hypervisor gives it.
pub const NAME: &str = "rkt.control";

/// Devices of virtio that the machine may have: the kernel counts them all, and calls the only port of virtio-serial `vportNUMBERp1`.
/// (Port 0 is for a console.)
const DEVICES_MAX: u32 = 64;

/// The host's port, on the kernel's command line.
const VSOCK: &str = "rkt.vsock=";

/// How long to wait before looking again.
const A_MOMENT: Duration = Duration::from_millis(1);

/// Opens the link's device. `options` is the kernel's command line.
pub(super) fn open(options: &str) -> Result<OwnedFd, Error> {
    match options.split_whitespace().find_map(|word| word.strip_prefix(VSOCK)) {
        Some(port) => Ok(sys::vsock::connect(port.parse()?).step(|| "connect to the host".to_owned())?),
        None => open_serial(),
    }
}

/// Waits for the port and opens it. There is no end to the waiting: the host has a limit.
fn open_serial() -> Result<OwnedFd, Error> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let port = loop {
        // The kernel makes it a moment after it has loaded the driver, and knows whose it is (ENXIO) still later.
        let mut opened = (0..DEVICES_MAX)
            .map(|device| rustix::fs::open(format!("/dev/vport{device}p1"), flags, Mode::empty()));
        match opened.find(|opened| !matches!(opened, Err(Errno::NOENT | Errno::NXIO))) {
            Some(opened) => break opened.step(|| "open the port of virtio-serial".to_owned())?,
            None => std::thread::sleep(A_MOMENT),
        }
    };
    wait_for_host(&port)?;
    Ok(port)
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
        std::thread::sleep(A_MOMENT);
    }
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
