//! Which ports of the host lead to which ports of a pod, and who has them.
//!
//! ```text
//! /run/rkt/ports/UUID    { "data", "forwards", "localnet" }: what the pod has; written under a lock on the directory
//! ```
//! A record of a pod that is not running any more stands in nobody's way: it goes, with its rules.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use appc::{ExposedPort, Port};
use pod::{Pods, State};
use serde::{Deserialize, Serialize};

use crate::error::Context;
use crate::{Error, Result, forwarding};

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
pub struct Claims {
    directory: PathBuf,
    _lock: File,
}

impl Claims {
    /// Those of the host.
    pub fn lock() -> Result<Self> {
        Self::lock_in(Path::new("/run/rkt/ports"))
    }

    fn lock_in(directory: &Path) -> Result<Self> {
        let step = || format!("lock {}", directory.display());
        fs::create_dir_all(directory).step(step)?;
        let lock = File::open(directory).step(step)?;
        lock.lock().step(step)?;
        Ok(Self { directory: directory.to_owned(), _lock: lock })
    }

    /// All claims, by pod.
    pub fn all(&self) -> Result<Vec<(String, Claim)>> {
        let step = || format!("read {}", self.directory.display());
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.directory).step(step)? {
            let name = entry.step(step)?.file_name().to_string_lossy().into_owned();
            if name.parse::<pod::PodUuid>().is_err() {
                continue;
            }
            let json = fs::read(self.directory.join(&name)).step(step)?;
            let read = serde_json::from_slice(&json);
            let claim = read
                .map_err(|error| Error::Record { file: format!("ports/{name}"), why: error.to_string() })?;
            all.push((name, claim));
        }
        Ok(all)
    }

    /// Gives `pod` what it asks for, unless a pod that runs has a part of it.
    pub fn take(&self, pod: &str, claim: &Claim) -> Result<()> {
        self.take_unless(pod, claim, is_running)
    }

    fn take_unless(&self, pod: &str, claim: &Claim, lives: impl Fn(&str, &Claim) -> bool) -> Result<()> {
        for (holder, other) in self.all()?.into_iter().filter(|(holder, _)| holder != pod) {
            let overlap = claim.forwards.iter().find_map(|mine| {
                other.forwards.iter().find_map(|theirs| mine.overlap(theirs)).map(|port| mine.describe(port))
            });
            let Some(port) = overlap else { continue };
            if lives(&holder, &other) {
                return Err(Error::PortTaken { port, holder });
            }
            forwarding::end(self, &holder)?;
        }
        self.write(pod, claim)
    }

    /// Replaces the claim of `pod`.
    pub fn write(&self, pod: &str, claim: &Claim) -> Result<()> {
        let path = self.directory.join(pod);
        let json = serde_json::to_vec(claim)
            .map_err(|error| Error::Record { file: format!("ports/{pod}"), why: error.to_string() })?;
        let new = self.directory.join(".new");
        fs::write(&new, json)
            .and_then(|()| fs::rename(&new, &path))
            .step(|| format!("write {}", path.display()))
    }

    /// Takes everything from `pod` and says what it had.
    pub fn drop_of(&self, pod: &str) -> Result<Option<Claim>> {
        let claim = self.all()?.into_iter().find(|(holder, _)| holder == pod).map(|(_, claim)| claim);
        match fs::remove_file(self.directory.join(pod)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).step(|| format!("remove the ports of {pod}"))
            }
            _ => Ok(claim),
        }
    }
}

fn is_running(pod: &str, claim: &Claim) -> bool {
    let Ok(uuid) = pod.parse() else { return false };
    if !claim.data.join("pods").is_dir() {
        return false;
    }
    match Pods::open(&claim.data).and_then(|pods| pods.get(uuid)) {
        Ok(pod) => pod.is_some_and(|pod| pod.state == State::Running),
        // Who cannot be asked may well live.
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests;
