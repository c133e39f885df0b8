//! The pod's networks: joined before systemd-nspawn starts, left by `gc` or after a failed start.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use appc::{ExposedPort, Port};
use network::ports::{self, Forward};
use network::{Joined, Request};
use pod::PodDir;
use rustix::fs::{Mode, OFlags};
use stage1::args::{Gc, Network, Run};
use stage1::{Error, Pod, Result};

/// Where the administrator's configuration is, if rkt does not say.
const LOCAL_CONFIG: &str = "/etc/rkt";

/// Joins them; `None` for a pod that has none of its own. `sockets` are those that the pod's apps got from systemd.
pub(crate) fn join(
    pod: &Pod,
    run: &Run,
    host: BorrowedFd<'_>,
    sockets: &[(String, OwnedFd)],
) -> Result<Option<Joined>> {
    let networks = match &run.network {
        // Ports of the pod are those of the host.
        Network::Host => return Ok(None),
        Network::None if forwards(pod, sockets)?.is_empty() => return Ok(None),
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
        data: network::data_directory().map_err(failed)?,
        networks,
        forwards: forwards(pod, sockets)?,
        local_config: run.local_config.as_deref().map_or_else(|| LOCAL_CONFIG.into(), PathBuf::from),
        host_mounts: Some(host),
        debug: run.debug,
    };
    let joined = network::set_up(&request).map_err(failed)?;
    for message in &joined.messages {
        eprintln!("networking: {message}");
    }
    Ok(Some(joined))
}

/// The ports to forward. A port whose socket systemd has opened is not among them: its packets belong to the socket.
fn forwards(pod: &Pod, sockets: &[(String, OwnedFd)]) -> Result<Vec<Forward>> {
    let ports = || pod.apps.iter().flat_map(|app| &app.app.ports);
    let is_activated =
        |port: &Port, exposed: &ExposedPort| port.socket_activated && port.name == exposed.name;
    let exposed: Vec<ExposedPort> = pod
        .manifest
        .ports
        .iter()
        .filter(|exposed| sockets.is_empty() || !ports().any(|port| is_activated(port, exposed)))
        .cloned()
        .collect();
    ports::forwards(&exposed, ports()).map_err(failed)
}

/// Leaves them after the start failed with `error`, and says what failed of that, too.
pub(crate) fn leave_after(error: Error, run: &Run, host: BorrowedFd<'_>) -> Error {
    // The handle from before may have been given up for what the pod was to inherit.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let left = rustix::fs::open(".", flags, Mode::empty())
        .map_err(|cause| format!("open the pod directory: {cause}"))
        .and_then(|dir| {
            network::tear_down(&PodDir::from(dir), run.uuid, Some(host), run.debug)
                .map_err(|cause| cause.chain())
        });
    match left {
        Ok(()) => error,
        Err(more) => Error::Refused(format!("{}; rkt gc will try again: {more}", stage1::chain(&error))),
    }
}

/// Leaves them after the pod's end.
pub(crate) fn leave(dir: &PodDir, gc: &Gc, host: Option<&OwnedFd>) -> Result<()> {
    network::tear_down(dir, gc.uuid, host.map(AsFd::as_fd), gc.debug).map_err(|error| {
        Error::Refused(format!("Cannot leave the networks of pod {}: {}", gc.uuid, error.chain()))
    })
}

fn failed(error: network::Error) -> Error {
    Error::Network(error.chain())
}
