//! Which pods of this host have joined which networks, whatever data directory they are in.
//!
//! ```text
//! /run/rkt/networks/UUID    { "data", "attachments": [ [ network, interface ] … ] }: from before the first plugin runs until the last has
//!                           undone what it did; written under a lock on the directory
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use pod::{Place, PodUuid, Pods};
use serde::{Deserialize, Serialize};

use crate::host_files::{self, HostFiles, is_in};
use crate::record::Record;
use crate::{Result, netns};

const DIRECTORY: &str = "/run/rkt/networks";

/// What a pod has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// The data directory that the pod is in.
    data: PathBuf,
    /// Names of networks and of interfaces in the pod.
    attachments: Vec<(String, String)>,
}

/// An attachment as plugins know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Known {
    pub(crate) network: String,
    pub(crate) pod: String,
    pub(crate) interface: String,
}

/// Held by whoever acts on what all pods have: none joins or leaves meanwhile.
#[derive(Debug)]
pub(crate) struct Attached(HostFiles);

impl Attached {
    /// That of the host.
    pub(crate) fn lock() -> Result<Self> {
        Self::lock_in(Path::new(DIRECTORY))
    }

    fn lock_in(directory: &Path) -> Result<Self> {
        HostFiles::lock(directory).map(Self)
    }

    /// Notes that the pod of `record` joins its networks, before it does.
    pub(crate) fn enter(&self, data: &Path, record: &Record) -> Result<()> {
        let pairs = record.attachments.iter();
        let entry = Entry {
            data: data.to_owned(),
            attachments: pairs.map(|a| (a.network.name.clone(), a.interface.clone())).collect(),
        };
        self.0.write(&record.pod, &entry)
    }

    /// Whatever pods have, or may have: what this host knows, and what stands in the records of `data` since before its last boot. An
    /// entry whose pod is nowhere any more, neither a directory nor a process, goes, and so does its network namespace.
    pub(crate) fn valid(&self, data: &Path) -> Result<BTreeSet<Known>> {
        let mut valid = BTreeSet::new();
        let mut inhabited = None;
        for (uuid, entry) in self.0.all::<Entry>()? {
            let name = uuid.to_string();
            let namespace = netns::path(&name);
            if !is_recorded(&entry.data, uuid) && !lives(&namespace, &mut inhabited) {
                netns::unbind(&namespace)?;
                self.0.remove(&name)?;
                continue;
            }
            let pairs = entry.attachments.into_iter();
            valid.extend(pairs.map(|(network, interface)| Known { network, pod: name.clone(), interface }));
        }
        let pods = Pods::open(data)?;
        for (uuid, place) in pods.walk(&[Place::Run, Place::ExitedGarbage])? {
            let Some(pod) = pods.get_from(uuid, place)? else { continue };
            let record = Record::read(&pod.dir)?;
            valid.extend(record.into_iter().flat_map(|record| record.attachments).map(|attachment| Known {
                network: attachment.network.name,
                pod: uuid.to_string(),
                interface: attachment.interface,
            }));
        }
        Ok(valid)
    }
}

/// Forgets a pod that has left all its networks.
pub(crate) fn leave(pod: &str) -> Result<()> {
    host_files::remove(Path::new(DIRECTORY), pod)
}

/// Whether the pod may still have to leave networks. Who cannot be asked may well have to.
fn is_recorded(data: &Path, uuid: PodUuid) -> bool {
    is_in(data, uuid, |pod| Record::is_there(&pod.dir).unwrap_or(true))
}

/// Whether a process stands in the network namespace bound at `path`. `inhabited` has those of all processes, once somebody asked.
fn lives(path: &Path, inhabited: &mut Option<BTreeSet<(u64, u64)>>) -> bool {
    let Some(namespace) = identity(path).filter(|_| netns::is_bound(path)) else { return false };
    let all = inhabited.get_or_insert_with(|| {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes.filter_map(|process| identity(&process.path().join("ns/net"))).collect()
    });
    all.contains(&namespace)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Network;
    use crate::record::Attachment;

    #[test]
    fn what_is_nowhere_any_more_is_not_valid() {
        let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let attached = Attached::lock_in(dir.path()).unwrap();
        let network = Network::parse("x.conf", br#"{"name":"n","type":"t","cniVersion":"1.1.0"}"#).unwrap();
        let record = Record {
            pod: "6ba7b810-9dad-41d1-80b4-00c04fd430c8".to_owned(),
            netns: "/nonexistent".into(),
            plugin_path: Vec::new(),
            attachments: vec![Attachment {
                interface: "eth0".to_owned(),
                args: String::new(),
                network,
                result: serde_json::Value::Null,
            }],
            forwards: false,
        };
        attached.enter(&data.path().join("gone"), &record).unwrap();
        assert!(dir.path().join(&record.pod).exists());
        assert_eq!(attached.valid(data.path()).unwrap(), BTreeSet::new());
        assert!(!dir.path().join(&record.pod).exists());
    }

    #[test]
    fn finds_who_stands_in_a_namespace() {
        let mut inhabited = None;
        assert!(lives(Path::new("/proc/self/ns/net"), &mut inhabited));
        assert!(!lives(Path::new("/proc/self/ns/mnt"), &mut inhabited));
        assert!(!lives(Path::new("/proc/self/exe"), &mut inhabited));
    }
}
