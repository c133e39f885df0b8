//! vsock for the link, where the host has it: the guest connects to a port of the host.
//!
//! A machine is told from others by its context id, which no two of one host may have. It is claimed here, on the descriptor
//! that the hypervisor gets, and free again when that is closed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pod::PodUuid;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::vsock;

use crate::machine::Device;

/// How many numbers are tried.
const ATTEMPTS: u32 = 64;

/// The host's side of it.
#[derive(Debug)]
pub(crate) struct Vsock {
    listener: OwnedFd,
    /// Where the guest connects to.
    port: u32,
    /// The guest's context id.
    cid: u32,
}

impl Vsock {
    /// Makes it, together with the device for the hypervisor; `None` where the host has none, or nothing of it is free.
    pub(crate) fn open(uuid: PodUuid) -> Option<(Self, OwnedFd)> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let device = rustix::fs::open("/dev/vhost-vsock", flags, Mode::empty()).ok()?;
        let cid = free(candidates(uuid), |cid| vsock::claim(device.as_fd(), cid))?;
        let (listener, port) = vsock::listen().ok()?;
        Some((Vsock { listener, port, cid }, device))
    }

    /// As the machine has it.
    pub(crate) fn device(&self) -> Device {
        Device::Vsock { cid: self.cid, port: self.port }
    }

    /// Readable when somebody connects.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Accepts the guest's connection; that of anybody else is closed.
    pub(crate) fn accept(&self) -> Option<OwnedFd> {
        let (connection, peer) = vsock::accept(self.listener.as_fd()).ok()?;
        (peer == self.cid).then_some(connection)
    }
}

/// Context ids for the machine of a pod: where they begin is the pod's own, so that two seldom want the same.
fn candidates(uuid: PodUuid) -> impl Iterator<Item = u32> {
    // The last ones are reserved.
    const COUNT: u32 = u32::MAX - 0xff - vsock::FIRST;
    let digits: String = uuid.to_string().chars().filter(char::is_ascii_hexdigit).take(8).collect();
    let start = u32::from_str_radix(&digits, 16).unwrap_or_default() % COUNT;
    (0..ATTEMPTS).map(move |step| vsock::FIRST + start.wrapping_add(step) % COUNT)
}

/// The first one that can be claimed. Only when one is taken it makes sense to try another.
fn free(
    candidates: impl Iterator<Item = u32>,
    mut claim: impl FnMut(u32) -> Result<(), Errno>,
) -> Option<u32> {
    for cid in candidates {
        match claim(cid) {
            Ok(()) => return Some(cid),
            Err(Errno::ADDRINUSE) => {}
            Err(_) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_begin_with_the_pods_and_are_no_hosts() {
        let of = |uuid: &str| candidates(uuid.parse().unwrap()).collect::<Vec<u32>>();
        let ids = of("6ba7b810-9dad-41d1-80b4-00c04fd430c8");
        assert_eq!((ids[0], ids[1]), (0x6ba7_b813, 0x6ba7_b814));
        for uuid in [
            "00000000-0000-4000-8000-000000000000",
            "fffffefb-0000-4000-8000-000000000000",
            "ffffffff-ffff-4fff-8fff-ffffffffffff",
        ] {
            let ids = of(uuid);
            assert_eq!(ids.len(), 64);
            assert!(ids.iter().all(|id| (3..0xffff_ff00).contains(id)), "{ids:?}");
        }
    }

    #[test]
    fn the_decision_table() {
        // What the device says to one number after the other, and which one the machine gets.
        let taken = Err(Errno::ADDRINUSE);
        for (answers, wanted) in [
            (vec![Ok(())], Some(3)),
            (vec![taken, taken, Ok(())], Some(5)),
            (vec![taken, Err(Errno::NODEV), Ok(())], None),
            (vec![taken; 4], None),
            (vec![Err(Errno::NOTTY)], None),
        ] {
            let mut left = answers.clone().into_iter();
            assert_eq!(free(3..7, |_| left.next().unwrap()), wanted, "{answers:?}");
        }
    }
}
