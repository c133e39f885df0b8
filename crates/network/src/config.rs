//! Network configurations: files of `net.d`, and those that are built in.
//!
//! ```text
//! <local-config>/net.d/*.conf      one plugin:   { "cniVersion", "name", "type", … }
//! <local-config>/net.d/*.conflist  several:      { "cniVersion", "name", "plugins": [ { "type", … }, … ] }
//! <system-config>/net.d/…          likewise; of two networks of one name the administrator's counts
//! 99-default                       built in: ptp, 172.16.28.0/24, masqueraded
//! 99-default-restricted            built in: ptp, 172.31.0.0/16, no way out
//! ```
//! The order of the networks is that of the files' names.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use appc::value::NetList;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Context;
use crate::version::Version;
use crate::{Error, Result};

const BUILT_IN: [(&str, &str); 2] = [
    ("99-default.conf", include_str!("builtin/99-default.conf")),
    ("99-default-restricted.conf", include_str!("builtin/99-default-restricted.conf")),
];

/// A network: the plugins that join it, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// The base name of its file.
    pub file: String,
    /// What `--net` calls it.
    pub name: String,
    /// The version of the specification that it is written for.
    pub version: Version,
    /// It is not to be checked.
    pub disable_check: bool,
    /// It is not to be collected: others than rkt may be in it.
    #[serde(default)]
    pub disable_gc: bool,
    /// As in the file, without what belongs to the list as a whole.
    pub plugins: Vec<Map<String, Value>>,
}

impl Network {
    /// Reads a file of one plugin, or of a list of them.
    pub fn parse(file: &str, json: &[u8]) -> Result<Self> {
        let bad = |why: String| Error::Configuration { file: file.to_owned(), why };
        let mut fields: Map<String, Value> =
            serde_json::from_slice(json).map_err(|error| bad(error.to_string()))?;
        let text = |fields: &Map<String, Value>, key: &str| match fields.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(bad(format!("{key} must be a string"))),
        };
        let name = text(&fields, "name")?
            .filter(|name| is_name(name))
            .ok_or_else(|| bad("it needs a name of letters, digits, \"_\", \".\" and \"-\"".to_owned()))?;
        let version = version(&fields).map_err(bad)?;
        let plugins = match fields.remove("plugins") {
            None => {
                fields.remove("cniVersion");
                fields.remove("name");
                vec![fields.clone()]
            }
            Some(Value::Array(list)) if !list.is_empty() => list
                .into_iter()
                .map(|plugin| match plugin {
                    Value::Object(plugin) => Ok(plugin),
                    _ => Err(bad("every one of its plugins must be an object".to_owned())),
                })
                .collect::<Result<_>>()?,
            Some(_) => return Err(bad("plugins must be a list of at least one".to_owned())),
        };
        for plugin in &plugins {
            let kind = text(plugin, "type")?.unwrap_or_default();
            if kind.is_empty() || kind.contains('/') || kind == ".." {
                return Err(bad("every plugin needs a type, the name of a program".to_owned()));
            }
        }
        let (disable_check, disable_gc) = (flag(&fields, "disableCheck"), flag(&fields, "disableGC"));
        Ok(Network {
            file: file.to_owned(),
            name,
            version,
            disable_check: disable_check.map_err(bad)?,
            disable_gc: disable_gc.map_err(bad)?,
            plugins,
        })
    }

    /// Whether the network hides its pods behind an address of the host.
    pub fn masquerades(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin.get("ipMasq") == Some(&Value::Bool(true)))
    }

    /// The file again, as a list.
    pub fn to_json(&self) -> Vec<u8> {
        let list = serde_json::json!({
            "cniVersion": self.version.to_string(),
            "name": self.name,
            "plugins": self.plugins,
        });
        // A value of strings, numbers and maps of strings always serialises.
        serde_json::to_vec_pretty(&list).unwrap_or_default()
    }
}

/// The highest of `cniVersions` and `cniVersion` that we speak; the first of all where neither is there.
fn version(fields: &Map<String, Value>) -> Result<Version, String> {
    let listed = fields.get("cniVersions").and_then(Value::as_array).into_iter().flatten();
    let mut versions = Vec::new();
    for value in fields.get("cniVersion").into_iter().chain(listed) {
        let text = value.as_str().unwrap_or_default();
        versions.push(text.parse::<Version>().map_err(|_| format!("{value} is no version of CNI"))?);
    }
    if versions.is_empty() {
        return Ok(Version::FIRST);
    }
    let known = versions.iter().copied().filter(|version| *version <= Version::NEWEST).max();
    known.ok_or_else(|| format!("it is written for CNI {}, and this is CNI {}", versions[0], Version::NEWEST))
}

/// A boolean, also as a text: versions before 1.0 ask for that, and files of that time stay in use.
fn flag(fields: &Map<String, Value>, key: &str) -> Result<bool, String> {
    match fields.get(key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(format!("{key} must be true or false")),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// All networks there are, and what is to be said about them.
#[derive(Debug, Default)]
pub struct Configured {
    /// In their order, of unique names.
    pub networks: Vec<Network>,
    /// For people to read.
    pub messages: Vec<String>,
}

/// Reads `net.d` below each of `directories`, the most important first.
///
/// # Errors
/// When a file cannot be read. One that makes no sense is an error too: a pod would silently get another network.
pub fn load(directories: &[PathBuf]) -> Result<Configured> {
    let mut configured = Configured::default();
    for directory in directories {
        let directory = directory.join("net.d");
        for file in files(&directory)? {
            let path = directory.join(&file);
            let json = fs::read(&path).step(|| format!("read {}", path.display()))?;
            let mut network = Network::parse(&path.display().to_string(), &json)?;
            network.file = file;
            if let Some(first) = configured.networks.iter().find(|first| first.name == network.name) {
                configured.messages.push(format!(
                    "network {:?} of {} is not used: {} has one of that name",
                    network.name,
                    path.display(),
                    first.file
                ));
            } else {
                configured.networks.push(network);
            }
        }
    }
    for (file, json) in BUILT_IN {
        let network = Network::parse(file, json.as_bytes())?;
        if let Some(own) = configured.networks.iter().find(|own| own.name == network.name) {
            configured.messages.push(format!("overriding {:?} network with {}", network.name, own.file));
        } else {
            configured.networks.push(network);
        }
    }
    configured.networks.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(configured)
}

fn files(directory: &Path) -> Result<BTreeSet<String>> {
    let step = || format!("read {}", directory.display());
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries.step(step)?,
    };
    let mut files = BTreeSet::new();
    for entry in entries {
        let entry = entry.step(step)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let fits = [".conf", ".conflist"].iter().any(|end| name.ends_with(end));
        if fits && entry.path().is_file() {
            files.insert(name);
        }
    }
    Ok(files)
}

/// A network that a pod joins.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Which.
    pub network: Network,
    /// `CNI_ARGS`.
    pub args: String,
}

/// The networks of `--net` among those there are, in the order of the latter.
pub fn choose(configured: Vec<Network>, list: &NetList) -> Result<Vec<Wanted>> {
    let missing: Vec<String> = list
        .0
        .iter()
        .map(|request| &request.name)
        .filter(|name| *name != "all" && !configured.iter().any(|network| network.name == **name))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(Error::NotFound(missing));
    }
    let args = |name: &str| {
        let arguments = list.get(name).map(|request| request.arguments.as_slice()).unwrap_or_default();
        arguments.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(";")
    };
    Ok(configured
        .into_iter()
        .filter(|network| list.all() || list.contains(&network.name))
        .map(|network| Wanted { args: args(&network.name), network })
        .collect())
}

#[cfg(test)]
mod tests;
