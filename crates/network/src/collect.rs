//! `GC` of CNI 1.1: plugins learn which attachments there are, and let go of everything else that they have in a network.
//!
//! It is no substitute for `DEL`, which every pod gets whose record is there: what is left over is of pods whose directories are lost.
//! Networks whose configuration is older do not know it, and `"disableGC": true` keeps it from a network that another runtime uses, too.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::attached::{Attached, Known};
use crate::chain::{Caller, full_config};
use crate::config::{self, Network};
use crate::plugin;
use crate::{Error, Result, SYSTEM_CONFIG};

/// What plugins find the list of attachments by.
const VALID: &str = "cni.dev/valid-attachments";

/// Has the plugins of all networks collect what belongs to no pod, and returns what failed. `data` is the data directory of
/// the caller, and `local_config` the administrator's configuration.
///
/// No pod joins a network meanwhile: one that is about to waits.
pub fn collect(data: &Path, local_config: &Path, debug: bool) -> Vec<Error> {
    let directories = [local_config.to_owned(), PathBuf::from(SYSTEM_CONFIG)];
    let mut networks = match config::load(&directories) {
        Ok(configured) => configured.networks,
        Err(error) => return vec![error],
    };
    networks.retain(|network| network.version.collects() && !network.disable_gc);
    if networks.is_empty() {
        return Vec::new();
    }
    let path = plugin::directories(local_config);
    let all = || -> Result<Vec<Error>> {
        let attached = Attached::lock()?;
        let valid = attached.valid(data)?;
        Ok(networks.iter().flat_map(|network| collect_one(network, &path, &valid, debug)).collect())
    };
    all().unwrap_or_else(|error| vec![error])
}

/// Every plugin of the network is called, whatever becomes of the others.
fn collect_one<'a>(
    network: &Network,
    path: &[PathBuf],
    valid: impl IntoIterator<Item = &'a Known>,
    debug: bool,
) -> Vec<Error> {
    let of_network = valid.into_iter().filter(|known| known.network == network.name);
    let valid: Value =
        of_network.map(|known| json!({"containerID": known.pod, "ifname": known.interface})).collect();
    let caller = Caller {
        container: String::new(),
        netns: PathBuf::new(),
        path: path.to_owned(),
        limit: plugin::limit(),
        runtime: Map::new(),
        debug,
    };
    let mut failures = Vec::new();
    for config in &network.plugins {
        let collected = caller.speaks(network, config).and_then(|versions| {
            if !versions.iter().any(|version| version.collects()) {
                return Ok(Value::Null);
            }
            let mut full = full_config(network, config, &caller.runtime, &Value::Null);
            full[VALID] = valid.clone();
            caller.ask(network, config, "GC", &full)
        });
        failures.extend(collected.err());
    }
    failures
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn plugins_that_know_it_hear_what_is_valid_in_their_network() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log").display().to_string();
        for (name, versions, end) in
            [("old", r#""1.0.0""#, "0"), ("new", r#""1.0.0","1.1.0""#, "0"), ("bad", r#""1.1.0""#, "1")]
        {
            let text = format!(
                r#"#!/bin/sh
case $CNI_COMMAND in
VERSION) echo '{{"supportedVersions":[{versions}]}}';;
*) echo "{name} $CNI_COMMAND $(cat)" >>{log}; exit {end};;
esac
"#
            );
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let json = br#"{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"bad"},{"type":"old"},{"type":"new","x":1}]}"#;
        let network = Network::parse("x.conflist", json).unwrap();
        let known = |network: &str, pod: &str| Known {
            network: network.to_owned(),
            pod: pod.to_owned(),
            interface: "eth0".to_owned(),
        };
        let valid = [known("n", "a"), known("other", "b")];
        let failures = collect_one(&network, &[dir.path().to_owned()], &valid, false);
        let failures: Vec<String> = failures.iter().map(Error::chain).collect();
        assert_eq!(failures, [r#"Network "n", plugin "bad", GC: it failed (exit status 1)"#]);
        let log = fs::read_to_string(log).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("bad GC {"), "{log}");
        let heard: Value = serde_json::from_str(lines[1].strip_prefix("new GC ").unwrap()).unwrap();
        let wanted = json!({"cniVersion": "1.1.0", "name": "n", "type": "new", "x": 1,
            "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}]});
        assert_eq!(heard, wanted);
    }
}
