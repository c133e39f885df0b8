//! Sockets that stand for those of the host: an app accepts from them what was accepted there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use executor::Step;
use rustix::fs::Mode;

use super::Error;
use crate::link::{Link, Listener, Target};

/// Where unix sockets stand: in our own root, which neither the supervisor nor any app sees.
const DIRECTORY: &str = "/run";

/// Opens them, and lets `link` lead connections there.
pub(super) fn open(link: &mut Link, wanted: &[Listener]) -> Result<Vec<(String, OwnedFd)>, Error> {
    let mut targets = Vec::new();
    let mut descriptors = Vec::new();
    for (number, Listener { name, port }) in wanted.iter().enumerate() {
        let (socket, target) = match port {
            Some(port) => {
                let address = SocketAddr::new(loopback(port.ip()), port.port());
                let socket = TcpListener::bind(address)
                    .map_err(|error| format!("Cannot listen on {address} for socket {name:?}: {error}"))?;
                (socket.into(), Target::Port(address))
            }
            None => {
                let path = PathBuf::from(format!("{DIRECTORY}/socket-{number}"));
                let socket = UnixListener::bind(&path)
                    .map_err(|error| format!("Cannot listen for socket {name:?}: {error}"))?;
                // Whoever was let in on the host is let in here.
                rustix::fs::chmod(&path, Mode::from_raw_mode(0o666))
                    .step(|| format!("open socket {name:?} to all"))?;
                (OwnedFd::from(socket), Target::Unix(path))
            }
        };
        descriptors.push((name.clone(), socket));
        targets.push(target);
    }
    link.listen(targets);
    Ok(descriptors)
}

/// The guest's own address of the same kind.
fn loopback(address: IpAddr) -> IpAddr {
    if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}
