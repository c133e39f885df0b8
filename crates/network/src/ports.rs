//! Which ports of the host lead to which ports of a pod, and who has them.
//!
//! ```text
//! /run/rkt/ports/UUID    { "data", "forwards", "localnet" }: what the pod has; written under a lock on the directory
//! ```
//! A record of a pod that is not running any more stands in nobody's way: it goes, with its rules.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use appc::{ExposedPort, Port};
use pod::{PodUuid, State};
use serde::{Deserialize, Serialize};

use crate::host_files::{HostFiles, is_in};
use crate::{Error, Result, forwarding};

const DIRECTORY: &str = "/run/rkt/ports";

/// A protocol whose ports can be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// Ports of the host, and the ports of the pod that they lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forward {
    /// Of both ends.
    pub protocol: Protocol,
    /// The address of the host; all when there is none.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// The first port of the host.
    pub host_port: u16,
    /// The first port of the pod.
    pub pod_port: u16,
    /// How many ports.
    pub count: u16,
}

impl Forward {
    fn last(&self) -> u16 {
        self.host_port.saturating_add(self.count.saturating_sub(1))
    }

    /// The address that is asked for, if it is a particular one.
    pub fn particular_ip(&self) -> Option<IpAddr> {
        self.host_ip.filter(|ip| !ip.is_unspecified())
    }

    /// Whether it is for addresses of this family.
    pub fn serves(&self, v6: bool) -> bool {
        self.host_ip.is_none_or(|ip| ip.is_ipv6() == v6)
    }

    /// The first port that both ask for.
    fn overlap(&self, other: &Forward) -> Option<u16> {
        let family = [false, true].into_iter().any(|v6| self.serves(v6) && other.serves(v6));
        let address = match (self.particular_ip(), other.particular_ip()) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        let first = self.host_port.max(other.host_port);
        let common = first <= self.last().min(other.last());
        (self.protocol == other.protocol && family && address && common).then_some(first)
    }

    fn describe(&self, port: u16) -> String {
        match self.particular_ip() {
            Some(ip) => format!("{}/{} of {ip}", self.protocol.as_str(), port),
            None => format!("{}/{}", self.protocol.as_str(), port),
        }
    }
}

/// What the ports of a pod's manifest mean, given the ports of its apps.
pub fn forwards<'a>(
    exposed: &[ExposedPort],
    ports: impl IntoIterator<Item = &'a Port>,
) -> Result<Vec<Forward>> {
    let ports: Vec<&Port> = ports.into_iter().collect();
    let mut forwards: Vec<Forward> = Vec::new();
    for entry in exposed {
        let name = entry.name.as_str();
        let port = match &entry.pod_port {
            Some(port) => port,
            None => {
                let mut named = ports.iter().filter(|port| port.name == entry.name);
                let found = named.next().ok_or_else(|| {
                    Error::Refused(format!("port name {name:?} could not be found in any apps"))
                })?;
                if named.next().is_some() {
                    return Err(Error::Refused(format!(
                        "port name {name:?} is in more than one app: it must be unique to be forwarded"
                    )));
                }
                found
            }
        };
        let protocol = match port.protocol.as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => {
                return Err(Error::Refused(format!(
                    "Port {name:?} has protocol {other:?}: only tcp and udp can be forwarded"
                )));
            }
        };
        if u32::from(entry.host_port) + u32::from(port.count) > 65536 {
            return Err(Error::Refused(format!(
                "Port {name:?} is {} ports, which do not fit behind {} of the host",
                port.count, entry.host_port
            )));
        }
        let forward = Forward {
            protocol,
            host_ip: entry.host_ip,
            host_port: entry.host_port,
            pod_port: port.port,
            count: port.count,
        };
        if let Some(port) = forwards.iter().find_map(|other| other.overlap(&forward)) {
            return Err(Error::Refused(format!(
                "Port {} of the host is asked for twice",
                forward.describe(port)
            )));
        }
        forwards.push(forward);
    }
    Ok(forwards)
}

/// What a pod has of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The data directory that the pod is in.
    pub data: PathBuf,
    /// Its ports.
    pub forwards: Vec<Forward>,
    /// Interfaces of the host that pass what comes from the host's own loopback address on, because of the pod.
    pub localnet: Vec<String>,
}

/// The claims of all pods, locked: nobody else changes them.
#[derive(Debug)]
pub struct Claims(HostFiles);

impl Claims {
    /// Those of the host.
    pub fn lock() -> Result<Self> {
        Self::lock_in(Path::new(DIRECTORY))
    }

    fn lock_in(directory: &Path) -> Result<Self> {
        HostFiles::lock(directory).map(Self)
    }

    /// All claims, by pod.
    pub fn all(&self) -> Result<Vec<(PodUuid, Claim)>> {
        self.0.all()
    }

    /// Gives `pod` what it asks for, unless a pod that runs has a part of it.
    pub fn take(&self, pod: &str, claim: &Claim) -> Result<()> {
        self.take_unless(pod, claim, is_running)
    }

    fn take_unless(&self, pod: &str, claim: &Claim, lives: impl Fn(PodUuid, &Claim) -> bool) -> Result<()> {
        for (holder, other) in self.all()?.into_iter().filter(|(holder, _)| holder.as_str() != pod) {
            let overlap = claim.forwards.iter().find_map(|mine| {
                other.forwards.iter().find_map(|theirs| mine.overlap(theirs)).map(|port| mine.describe(port))
            });
            let Some(port) = overlap else { continue };
            if lives(holder, &other) {
                return Err(Error::PortTaken { port, holder: holder.to_string() });
            }
            forwarding::end(self, holder.as_str())?;
        }
        self.write(pod, claim)
    }

    /// Replaces the claim of `pod`.
    pub fn write(&self, pod: &str, claim: &Claim) -> Result<()> {
        self.0.write(pod, claim)
    }

    /// Takes everything from `pod` and says what it had.
    pub fn drop_of(&self, pod: &str) -> Result<Option<Claim>> {
        let claim =
            self.all()?.into_iter().find(|(holder, _)| holder.as_str() == pod).map(|(_, claim)| claim);
        self.0.remove(pod)?;
        Ok(claim)
    }
}

/// Ends the forwarding to a pod that has ended, so that who asks for its ports reaches the host again, and gives them
/// back. Its networks are left when it is collected.
pub fn release(uuid: PodUuid) -> Result<()> {
    // Without the lock: most pods have none.
    if Path::new(DIRECTORY).join(uuid.as_str()).exists() { forwarding::stop(uuid.as_str()) } else { Ok(()) }
}

fn is_running(uuid: PodUuid, claim: &Claim) -> bool {
    is_in(&claim.data, uuid, |pod| pod.state == State::Running)
}

#[cfg(test)]
mod tests;
