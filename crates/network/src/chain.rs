//! Joining and leaving one network: its plugins in their order, and undone in reverse.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::config::Network;
use crate::error::PluginFailure;
use crate::netns;
use crate::plugin::{self, Call};
use crate::record::Attachment;
use crate::version::Version;
use crate::{Error, Result};

/// What all calls for a pod have in common.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The pod.
    pub container: String,
    /// Its network namespace.
    pub netns: PathBuf,
    /// Where plugins are.
    pub path: Vec<PathBuf>,
    /// How long a plugin may take.
    pub limit: Duration,
    /// What plugins may need to know, by the name of the capability.
    pub runtime: Map<String, Value>,
    /// Say what is called.
    pub debug: bool,
}

/// The error code of a plugin that does not speak the version of its configuration.
const INCOMPATIBLE: u64 = 1;

impl Caller {
    /// Joins the network and leaves the result in `attachment`. What a failure leaves behind, [`Caller::delete`] undoes.
    pub fn add(&self, attachment: &mut Attachment) -> Result<()> {
        match self.add_once(attachment) {
            Err(Error::Plugin { why: PluginFailure::Reported { code: INCOMPATIBLE, .. }, .. }) => {
                let version = self.common_version(&attachment.network)?;
                self.delete(attachment)?;
                attachment.network.version = version;
                self.add_once(attachment)
            }
            done => done,
        }
    }

    /// `error`, with which joining failed, and what the plugins say about themselves (`STATUS`), where they know the question.
    pub fn explain(&self, error: Error, network: &Network) -> Error {
        if !network.version.collects() {
            return error;
        }
        let mut all = vec![error];
        for config in &network.plugins {
            // One that cannot even be asked is what the error is about.
            let versions = self.speaks(network, config).unwrap_or_default();
            if versions.iter().any(|version| version.collects()) {
                let full = full_config(network, config, &self.runtime, &Value::Null);
                all.extend(self.ask(network, config, "STATUS", &full).err());
            }
        }
        if all.len() == 1 { all.remove(0) } else { Error::Several(all) }
    }

    fn add_once(&self, attachment: &mut Attachment) -> Result<()> {
        let mut result = Value::Null;
        for config in &attachment.network.plugins {
            result = self.call(attachment, config, "ADD", &result)?;
        }
        attachment.result = result;
        Ok(())
    }

    /// Leaves the network: every plugin is called, whatever becomes of the others.
    pub fn delete(&self, attachment: &Attachment) -> Result<()> {
        let mut failures = Vec::new();
        let result = if attachment.network.version.checks() { &attachment.result } else { &Value::Null };
        for config in attachment.network.plugins.iter().rev() {
            failures.extend(self.call(attachment, config, "DEL", result).err());
        }
        match failures.pop() {
            None => Ok(()),
            Some(only) if failures.is_empty() => Err(only),
            Some(last) => {
                failures.push(last);
                Err(Error::Several(failures))
            }
        }
    }

    /// Asks every plugin whether the network is still as it made it; those of old networks cannot tell.
    pub fn check(&self, attachment: &Attachment) -> Result<()> {
        let network = &attachment.network;
        if !network.version.checks() || network.disable_check {
            return Ok(());
        }
        for config in &network.plugins {
            self.call(attachment, config, "CHECK", &attachment.result)?;
        }
        Ok(())
    }

    fn call(
        &self,
        attachment: &Attachment,
        config: &Map<String, Value>,
        command: &'static str,
        previous: &Value,
    ) -> Result<Value> {
        let full = full_config(&attachment.network, config, &self.runtime, previous);
        self.execute(&attachment.network, config, command, (&attachment.interface, &attachment.args), &full)
    }

    /// Calls a plugin about the whole network, and not about one pod.
    pub(crate) fn ask(
        &self,
        network: &Network,
        config: &Map<String, Value>,
        command: &'static str,
        full: &Value,
    ) -> Result<Value> {
        self.execute(network, config, command, ("", ""), full)
    }

    /// The versions that a plugin speaks.
    pub(crate) fn speaks(&self, network: &Network, config: &Map<String, Value>) -> Result<Vec<Version>> {
        let answer = self.ask(network, config, "VERSION", &json!({"cniVersion": network.version}))?;
        Ok(supported(&answer))
    }

    fn execute(
        &self,
        network: &Network,
        config: &Map<String, Value>,
        command: &'static str,
        (interface, args): (&str, &str),
        full: &Value,
    ) -> Result<Value> {
        let kind = config.get("type").and_then(Value::as_str).unwrap_or_default();
        if self.debug {
            eprintln!("executing net-plugin {kind}");
        }
        // What is asked about no pod is asked about no namespace.
        let of_pod = !interface.is_empty();
        let netns = if of_pod && netns::is_bound(&self.netns) { self.netns.as_path() } else { Path::new("") };
        let call = Call {
            kind,
            path: &self.path,
            command,
            container: if of_pod { &self.container } else { "" },
            netns: netns.to_str().unwrap_or_default(),
            interface,
            args,
            limit: self.limit,
        };
        plugin::call(call, full).map_err(|why| Error::Plugin {
            name: network.name.clone(),
            plugin: kind.to_owned(),
            command,
            why,
        })
    }

    /// The newest version, up to that of the network, that all its plugins speak.
    fn common_version(&self, network: &Network) -> Result<Version> {
        let mut common: Option<Vec<Version>> = None;
        for config in &network.plugins {
            let spoken = self.speaks(network, config)?;
            common = Some(match common {
                None => spoken,
                Some(common) => common.into_iter().filter(|version| spoken.contains(version)).collect(),
            });
        }
        let fitting =
            common.unwrap_or_default().into_iter().filter(|version| *version < network.version).max();
        fitting.ok_or_else(|| Error::Configuration {
            file: network.file.clone(),
            why: format!("its plugins have no version of CNI up to {} in common", network.version),
        })
    }
}

/// What a plugin is told on its standard input.
pub(crate) fn full_config(
    network: &Network,
    config: &Map<String, Value>,
    runtime: &Map<String, Value>,
    previous: &Value,
) -> Value {
    let mut full = config.clone();
    let capabilities = full.remove("capabilities");
    let wants =
        |name: &str| capabilities.as_ref().is_some_and(|all| all.get(name) == Some(&Value::Bool(true)));
    let runtime: Map<_, _> = runtime
        .iter()
        .filter(|(name, _)| wants(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    full.insert("cniVersion".to_owned(), json!(network.version));
    full.insert("name".to_owned(), json!(network.name));
    if !runtime.is_empty() {
        full.insert("runtimeConfig".to_owned(), Value::Object(runtime));
    }
    if network.version.chains() && !previous.is_null() {
        full.insert("prevResult".to_owned(), previous.clone());
    }
    Value::Object(full)
}

fn supported(answer: &Value) -> Vec<Version> {
    let list = answer.get("supportedVersions").and_then(Value::as_array);
    let list = list.into_iter().flatten().filter_map(|version| version.as_str()?.parse().ok());
    list.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    struct Lab(tempfile::TempDir);

    impl Lab {
        /// Plugins that log what they are called with; `script` then says how they end.
        fn new(plugins: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for (name, script) in plugins {
                let path = dir.path().join(name);
                let log = dir.path().join("log").display().to_string();
                let text =
                    format!("#!/bin/sh\ncfg=$(cat)\necho \"{name} $CNI_COMMAND $cfg\" >>{log}\n{script}\n");
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            Lab(dir)
        }

        fn caller(&self) -> Caller {
            let mut runtime = Map::new();
            runtime.insert("portMappings".to_owned(), json!([7]));
            Caller {
                container: "c".to_owned(),
                netns: "/nonexistent".into(),
                path: vec![self.0.path().to_path_buf()],
                limit: Duration::from_secs(20),
                runtime,
                debug: false,
            }
        }

        fn log(&self) -> Vec<(String, Value)> {
            let log = fs::read_to_string(self.0.path().join("log")).unwrap();
            let line = |line: &str| {
                let (call, config) = line.split_at(line.find('{').unwrap());
                (call.trim().to_owned(), serde_json::from_str(config).unwrap())
            };
            log.lines().map(line).collect()
        }
    }

    fn attachment(json: &str) -> Attachment {
        let network = Network::parse("x.conflist", json.as_bytes()).unwrap();
        Attachment { interface: "eth0".to_owned(), args: String::new(), network, result: Value::Null }
    }

    const LIST: &str = r#"{"cniVersion":"1.0.0","name":"n","plugins":[
        {"type":"a"},{"type":"b","capabilities":{"portMappings":true}}]}"#;

    #[test]
    fn each_plugin_hears_what_the_one_before_did() {
        let lab = Lab::new(&[("a", r#"echo '{"made":"a"}'"#), ("b", r#"echo '{"made":"b"}'"#)]);
        let mut attachment = attachment(LIST);
        lab.caller().add(&mut attachment).unwrap();
        lab.caller().check(&attachment).unwrap();
        lab.caller().delete(&attachment).unwrap();
        let log = lab.log();
        let calls: Vec<_> = log.iter().map(|(call, _)| call.as_str()).collect();
        assert_eq!(calls, ["a ADD", "b ADD", "a CHECK", "b CHECK", "b DEL", "a DEL"]);
        assert!(log[0].1.get("prevResult").is_none() && log[0].1.get("runtimeConfig").is_none());
        assert_eq!(log[1].1["prevResult"]["made"], "a");
        assert_eq!(log[1].1["runtimeConfig"]["portMappings"][0], 7);
        assert_eq!((&log[1].1["name"], &log[1].1["cniVersion"]), (&json!("n"), &json!("1.0.0")));
        assert_eq!(log[5].1["prevResult"]["made"], "b");
    }

    #[test]
    fn leaving_goes_on_after_a_failure_and_tells_all() {
        let lab = Lab::new(&[("a", "exit 1"), ("b", "exit 2")]);
        let error = lab.caller().delete(&attachment(LIST)).unwrap_err().to_string();
        assert!(error.contains("status 1") && error.contains("status 2"), "{error}");
    }

    #[test]
    fn plugins_say_why_they_are_not_ready() {
        let versions = r#"VERSION) echo '{"supportedVersions":["1.1.0"]}';;"#;
        let not_ready = r#"STATUS) echo '{"code":50,"msg":"no lease"}'; exit 1;;"#;
        let script = format!(r#"case "$CNI_COMMAND" in {versions} {not_ready} *) exit 3;; esac"#);
        let lab = Lab::new(&[("a", &script), ("b", "exit 3")]);
        let said = |version: &str| {
            let json = format!(
                r#"{{"cniVersion":"{version}","name":"n","plugins":[{{"type":"a"}},{{"type":"b"}}]}}"#
            );
            let mut attachment = attachment(&json);
            let error = lab.caller().add(&mut attachment).unwrap_err();
            lab.caller().explain(error, &attachment.network).chain()
        };
        let failed = r#"Network "n", plugin "a", ADD: it failed (exit status 3)"#;
        assert_eq!(said("1.0.0"), failed);
        assert_eq!(said("1.1.0"), format!(r#"{failed}; Network "n", plugin "a", STATUS: no lease"#));
    }

    #[test]
    fn an_older_plugin_gets_a_version_that_it_speaks() {
        let script = r#"case "$CNI_COMMAND:$cfg" in
            VERSION*) echo '{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}';;
            ADD:*1.1.0*) echo '{"code":1,"msg":"incompatible CNI versions"}'; exit 1;;
            *) echo '{}';; esac"#;
        let lab = Lab::new(&[("a", script)]);
        let mut attachment = attachment(r#"{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"a"}]}"#);
        lab.caller().add(&mut attachment).unwrap();
        assert_eq!(attachment.network.version, Version(1, 0, 0));
        let calls: Vec<_> = lab.log().into_iter().map(|(call, _)| call).collect();
        assert_eq!(calls, ["a ADD", "a VERSION", "a DEL", "a ADD"]);
    }
}
