//! What a pod has joined, written down before it is done, in the file `net/attachments` of the pod directory.
//!
//! ```text
//! net/attachments   { "pod", "netns", "pluginPath", "attachments": [ { "interface", "args", "network", "result" } … ], "forwards" }
//! net/FILE          each network's configuration, for people
//! netns             the path of the network namespace
//! net-info.json     what `rkt list` and `rkt status` show
//! ```
//! An attachment stands there before its first plugin runs and goes when its last one has undone what it did. So
//! whatever kills rkt, `gc` finds in the record all that may have to be undone, and nothing once it is.

use std::path::PathBuf;

use pod::PodDir;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Network;
use crate::{Error, Result};

const FILE: &str = "net/attachments";

/// All of a pod's networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The pod, by the name that plugins know it by.
    pub pod: String,
    /// Where its network namespace is bound, in the host's mount namespace.
    pub netns: PathBuf,
    /// Where plugins are looked for.
    pub plugin_path: Vec<PathBuf>,
    /// Networks that may be joined.
    pub attachments: Vec<Attachment>,
    /// Ports may be forwarded.
    pub forwards: bool,
}

/// A network that a pod joins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// The interface in the pod.
    pub interface: String,
    /// `CNI_ARGS`.
    pub args: String,
    /// The network.
    pub network: Network,
    /// What its last plugin said; `null` before that.
    #[serde(default)]
    pub result: Value,
}

impl Record {
    /// Reads it; `None` when the pod has joined nothing.
    pub fn read(pod: &PodDir) -> Result<Option<Self>> {
        let Some(json) = pod.read(FILE)? else { return Ok(None) };
        let read = serde_json::from_slice(&json);
        read.map(Some).map_err(|error| Error::Record { file: FILE.to_owned(), why: error.to_string() })
    }

    /// Whether the pod has joined something.
    pub fn is_there(pod: &PodDir) -> Result<bool> {
        Ok(pod.exists(FILE)?)
    }

    /// Writes it in place of what is there. A reader sees the old one or the new one.
    pub fn write(&self, pod: &PodDir) -> Result<()> {
        let json = serde_json::to_vec(self)
            .map_err(|error| Error::Record { file: FILE.to_owned(), why: error.to_string() })?;
        pod.create_directory("net")?;
        Ok(pod.replace(FILE, &json)?)
    }

    /// Removes it: there is nothing to undo.
    pub fn remove(pod: &PodDir) -> Result<()> {
        use crate::error::Context;
        let net = match pod.open_directory("net") {
            Ok(net) => net,
            Err(_) if !pod.exists("net")? => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match rustix::fs::unlinkat(&net, "attachments", rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error).step(|| format!("remove {FILE}")),
        }
    }
}
