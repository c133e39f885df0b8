//! Where connections to sockets of the host go in the guest.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

/// Who has connected to a socket of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// User.
    pub user: u32,
    /// Group.
    pub group: u32,
}

impl Peer {
    /// Somebody far away: nobody.
    pub const UNKNOWN: Peer = Peer { user: 65534, group: 65534 };

    /// Does something as this user, in this thread.
    fn act<T>(self, what: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        let (root, others) = (Uid::ROOT, Gid::ROOT);
        set_thread_res_gid(others, Gid::from_raw(self.group), others)?;
        let done = set_thread_res_uid(root, Uid::from_raw(self.user), root).and_then(|()| what());
        // Who was root can be it again.
        set_thread_res_uid(root, root, root).and_then(|()| set_thread_res_gid(others, others, others))?;
        done
    }
}

/// A listening socket of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A unix socket. The app that has it asks who connects (`SO_PEERCRED`), and must get the answer that it would get on
    /// the host.
    Unix(PathBuf),
    /// A port.
    Port(SocketAddr),
}

impl Target {
    /// Connects to it as `peer`. The connection does not block.
    pub(super) fn connect(&self, peer: Peer) -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = |family| rustix::net::socket_with(family, SocketType::STREAM, flags, None);
        match self {
            Target::Unix(path) => {
                let socket = socket(AddressFamily::UNIX)?;
                let address = SocketAddrUnix::new(path)?;
                let connect = || rustix::net::connect(&socket, &address);
                // In tests nobody is root.
                let connected =
                    if rustix::process::geteuid().is_root() { peer.act(connect) } else { connect() };
                connected.map(|()| socket)
            }
            Target::Port(address) => {
                let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                let socket = socket(family)?;
                match rustix::net::connect(&socket, address) {
                    Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
                    Err(error) => Err(error),
                }
            }
        }
    }
}
