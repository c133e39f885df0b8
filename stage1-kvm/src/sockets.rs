//! Sockets of the unit (`socketActivated`): the monitor accepts, and the app in the guest accepts the same connection from a
//! socket of the guest.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt::{socket_acceptconn, socket_peercred, socket_type};
use rustix::net::{AddressFamily, SocketAddrAny, SocketFlags, SocketType};
use stage1::{Context, Error, Result};
use supervisor::link::{Link, Listener, Peer};

/// A listening socket of the host.
#[derive(Debug)]
pub(crate) struct HostSocket {
    name: String,
    socket: OwnedFd,
    port: Option<SocketAddr>,
}

impl HostSocket {
    /// Takes what [`supervised::descriptors::share_out`] has found out.
    ///
    /// # Errors
    /// For one whose connections cannot be passed on.
    pub(crate) fn take(sockets: Vec<(String, OwnedFd)>) -> Result<Vec<Self>> {
        sockets.into_iter().map(|(name, socket)| Self::new(name, socket)).collect()
    }

    fn new(name: String, socket: OwnedFd) -> Result<Self> {
        let step = || format!("use the socket {name:?} of the unit");
        let kind = socket_type(&socket).step(step)?;
        let is_listening = kind == SocketType::STREAM && socket_acceptconn(&socket).step(step)?;
        let address = rustix::net::getsockname(&socket).step(step)?;
        let port = SocketAddr::try_from(address.clone()).ok();
        if !is_listening || (port.is_none() && family(&address) != AddressFamily::UNIX) {
            return Err(Error::Refused(format!(
                "The socket {name:?} of the unit cannot go into a machine: only connections to a listening stream socket can be \
                 passed on (ListenStream=, with Accept=no). Forward a port (--port), or use stage1-nspawn"
            )));
        }
        // Who connects may be gone before it is accepted.
        rustix::io::ioctl_fionbio(&socket, true).step(step)?;
        Ok(HostSocket { name, socket, port })
    }

    /// What the guest must know of it.
    pub(crate) fn listener(&self) -> Listener {
        Listener { name: self.name.clone(), port: self.port }
    }

    /// To wait for.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Accepts a connection and passes it on as one to socket `number`.
    pub(crate) fn accept(&self, number: usize, link: &mut Link) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (Ok(socket), Ok(number)) = (rustix::net::accept_with(&self.socket, flags), u32::try_from(number))
        else {
            return;
        };
        let peer = if self.port.is_some() { Ok(Peer::UNKNOWN) } else { peer(&socket) };
        // One of whom nobody knows who it is gets nowhere.
        if let Ok(peer) = peer {
            link.connect(number, socket, peer);
        }
    }
}

fn peer(socket: &OwnedFd) -> Result<Peer, Errno> {
    let credentials = socket_peercred(socket)?;
    Ok(Peer { user: credentials.uid.as_raw(), group: credentials.gid.as_raw() })
}

fn family(address: &SocketAddrAny) -> AddressFamily {
    address.address_family()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    #[test]
    fn only_listening_stream_sockets() {
        let directory = tempfile::tempdir().unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap();
        let unix = UnixListener::bind(directory.path().join("s")).unwrap();
        let taken =
            HostSocket::take(vec![("web".to_owned(), tcp.into()), ("u".to_owned(), unix.into())]).unwrap();
        let listeners: Vec<_> = taken.iter().map(HostSocket::listener).collect();
        assert_eq!(listeners[0], Listener { name: "web".to_owned(), port: Some(port) });
        assert_eq!(listeners[1], Listener { name: "u".to_owned(), port: None });
        let wrong: [OwnedFd; 3] = [
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            UnixDatagram::unbound().unwrap().into(),
            UnixStream::pair().unwrap().0.into(),
        ];
        for socket in wrong {
            let error = HostSocket::take(vec![("odd".to_owned(), socket)]).unwrap_err().to_string();
            assert!(error.contains("\"odd\"") && error.contains("ListenStream="), "{error}");
        }
    }
}
