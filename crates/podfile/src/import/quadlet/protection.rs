//! Users, kernel parameters, system calls and secrets.

use appc::sysctl::Sysctl;

use super::{Fate, Reader, Result};
use crate::import::output::line;
use crate::syntax::Assignment;

impl Reader<'_> {
    /// The modes of `podman run --userns`.
    pub(super) fn user_namespace(&mut self, text: &str) -> Result<Fate> {
        let (mode, options) = text.split_once(':').unwrap_or((text, ""));
        match (mode, options) {
            ("host", _) => Ok(Fate::Done),
            ("auto" | "private", "") => self.pod_line("PrivateUsers", "yes"),
            ("auto", _) => {
                self.pod_line("PrivateUsers", "yes")?;
                Err(Fate::Changed("rkt chooses the range of users, which are 65536 for each pod"))
            }
            ("keep-id" | "nomap", _) => Err(Fate::Lost(
                "it is about the user who calls podman: PrivateUsers=yes gives the pod users of its own",
            )),
            ("container" | "ns", _) => Err(Fate::Lost(
                "only the apps of one pod have users in common: PrivateUsers=yes gives it users of its own",
            )),
            _ => Err(Fate::Bad(format!("{text:?} is no user namespace"))),
        }
    }

    /// Kernel parameters that are the pod's own.
    pub(super) fn sysctl(&mut self, one: &Assignment) -> Result<Fate> {
        let mut lost = None;
        for word in self.words(one)? {
            let (name, _) =
                word.split_once('=').ok_or_else(|| Fate::Bad(format!("{word:?} is not NAME=VALUE")))?;
            match Sysctl::owner(name).map_err(|error| Fate::Bad(error.to_string()))? {
                Sysctl::Network if self.has_host_network => {
                    lost = Some("it belongs to the network of the host: set it there (sysctl.d)");
                }
                Sysctl::Host => lost = Some("it belongs to the whole host: set it there (sysctl.d)"),
                Sysctl::Network | Sysctl::Ipc => self.output.pod.push(line("Sysctl", [&word])),
            }
        }
        lost.map_or(Ok(Fate::Done), |why| Err(Fate::Lost(why)))
    }

    pub(super) fn seccomp(&mut self, text: &str) -> Result<Fate> {
        if text == "unconfined" {
            return self.push("Seccomp", "mode=remove,@appc.io/empty");
        }
        let path = self.path(text);
        let profile = (self.read)(&path).ok_or(Fate::Lost("the profile cannot be read"))?;
        let (names, has_conditions) = allowed_calls(&profile).ok_or(Fate::Lost(
            "only profiles that allow calls, and refuse all others, can be carried over",
        ))?;
        self.app.push(format!("Seccomp=mode=retain,errno=EPERM,{}", names.join(",")));
        if has_conditions {
            return Err(Fate::Changed(
                "conditions on arguments are left out: calls that have some are not allowed",
            ));
        }
        Ok(Fate::Done)
    }

    pub(super) fn secret(&mut self, text: &str) -> Result<Fate> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        self.output.service.push(format!("LoadCredential={name}"));
        self.push("Credentials", name)?;
        let as_variable = parts.clone().any(|part| part == "type=env");
        if as_variable {
            return Err(Fate::Changed(
                "it is a file in $CREDENTIALS_DIRECTORY, as a variable would show it to all; put it into /etc/credstore",
            ));
        }
        Err(Fate::Changed(
            "it is a file in $CREDENTIALS_DIRECTORY; put the secret into /etc/credstore under this name",
        ))
    }
}

/// The calls that a profile of the OCI allows without a condition, and whether it has others.
fn allowed_calls(profile: &str) -> Option<(Vec<String>, bool)> {
    let profile: serde_json::Value = serde_json::from_str(profile).ok()?;
    if profile["defaultAction"].as_str()? == "SCMP_ACT_ALLOW" {
        return None;
    }
    let mut names = std::collections::BTreeSet::new();
    let mut has_conditions = false;
    for rule in profile["syscalls"].as_array()? {
        if rule["action"] != "SCMP_ACT_ALLOW" {
            continue;
        }
        let empty = |key: &str| match &rule[key] {
            serde_json::Value::Array(list) => list.is_empty(),
            serde_json::Value::Object(map) => map.is_empty(),
            other => other.is_null(),
        };
        if !empty("args") || !empty("includes") {
            has_conditions = true;
            continue;
        }
        names.extend(rule["names"].as_array()?.iter().filter_map(|name| Some(name.as_str()?.to_owned())));
    }
    (!names.is_empty()).then(|| (names.into_iter().collect(), has_conditions))
}
