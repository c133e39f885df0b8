//! The pod's networks: joined before systemd-nspawn starts, left by `gc` or after a failed start.

use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;

use appc::{ExposedPort, Port};
use network::ports::{self, Forward};
use network::{Joined, Request};
use pod::{PodDir, PodUuid};
use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use stage1::args::{Gc, Network, Run};
use stage1::{Context, Error, Pod, Result};
use sys::namespace::{self, Kind};

/// Where the administrator's configuration is, if rkt does not say.
const LOCAL_CONFIG: &str = "/etc/rkt";

/// Where plugins run: the host's namespaces, by handle.
#[derive(Debug)]
pub struct Home {
    mounts: OwnedFd,
    network: OwnedFd,
}

impl Home {
    /// `mounts` is the host's mount namespace, which this process has left. It is still in the host's network namespace.
    pub fn open(mounts: OwnedFd) -> Result<Self> {
        let network =
            namespace::open(None, Kind::Network).step(|| "open our network namespace".to_owned())?;
        Ok(Home { mounts, network })
    }

    /// Gives the handles numbers from `lowest` on.
    pub fn move_above(&mut self, lowest: RawFd) -> rustix::io::Result<()> {
        self.mounts = fcntl_dupfd_cloexec(&self.mounts, lowest)?;
        self.network = fcntl_dupfd_cloexec(&self.network, lowest)?;
        Ok(())
    }
}

/// Joins them; `None` for a pod that has none of its own. `has_sockets`: its apps got sockets from systemd.
pub fn join(pod: &Pod, run: &Run, home: &Home, has_sockets: bool) -> Result<Option<Joined>> {
    let networks = match &run.network {
        // Ports of the pod are those of the host.
        Network::Host => return Ok(None),
        Network::None if forwards(pod, has_sockets)?.is_empty() => return Ok(None),
        Network::None => {
            return Err(Error::Refused(
                "Ports cannot be forwarded to a pod with --net=none: give it a network, such as --net=default"
                    .to_owned(),
            ));
        }
        Network::Named(networks) => networks,
    };
    let request = Request {
        pod: &pod.current.dir,
        uuid: run.uuid,
        data: network::data_directory().map_err(|error| failed(&error))?,
        networks,
        forwards: forwards(pod, has_sockets)?,
        local_config: run.local_config.as_deref().map_or_else(|| LOCAL_CONFIG.into(), PathBuf::from),
        host_mounts: Some(home.mounts.as_fd()),
        debug: run.debug,
    };
    let joined = network::set_up(&request).map_err(|error| failed(&error))?;
    for message in &joined.messages {
        eprintln!("networking: {message}");
    }
    Ok(Some(joined))
}

/// The ports to forward. A port whose socket systemd has opened is not among them: its packets belong to the socket.
fn forwards(pod: &Pod, has_sockets: bool) -> Result<Vec<Forward>> {
    let ports = || pod.apps.iter().flat_map(|app| &app.app.ports);
    let is_activated =
        |port: &Port, exposed: &ExposedPort| port.socket_activated && port.name == exposed.name;
    let exposed: Vec<ExposedPort> = pod
        .manifest
        .ports
        .iter()
        .filter(|exposed| !has_sockets || !ports().any(|port| is_activated(port, exposed)))
        .cloned()
        .collect();
    ports::forwards(&exposed, ports()).map_err(|error| failed(&error))
}

/// Ends the forwarding of ports to a pod that has ended.
pub fn release_ports(uuid: PodUuid) -> Result<()> {
    ports::release(uuid).map_err(|error| failed(&error))
}

/// Leaves them after the start failed with `error`, and says what failed of that, too.
pub fn leave_after(error: Error, run: &Run, home: &Home) -> Error {
    // The handle from before may have been given up for what the pod was to inherit.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let left = namespace::join(home.network.as_fd(), Kind::Network)
        .and_then(|()| rustix::fs::open(".", flags, Mode::empty()))
        .map_err(|cause| format!("Cannot go back to the host's network and the pod directory: {cause}"))
        .and_then(|dir| {
            network::tear_down(&PodDir::from(dir), run.uuid, Some(home.mounts.as_fd()), run.debug)
                .map_err(|cause| cause.chain())
        });
    match left {
        Ok(()) => error,
        Err(more) => Error::Refused(format!("{}; rkt gc will try again: {more}", stage1::chain(&error))),
    }
}

/// Leaves them after the pod's end.
pub fn leave(dir: &PodDir, gc: &Gc, host: Option<&OwnedFd>) -> Result<()> {
    network::tear_down(dir, gc.uuid, host.map(AsFd::as_fd), gc.debug).map_err(|error| {
        Error::Refused(format!("Cannot leave the networks of pod {}: {}", gc.uuid, error.chain()))
    })
}

fn failed(error: &network::Error) -> Error {
    Error::Network(error.chain())
}
