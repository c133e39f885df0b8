//! What becomes of each key.

use super::{Fate, Reader, Result};
use crate::import::output::line;
use crate::syntax::Assignment;

impl Reader<'_> {
    pub(super) fn container_key(&mut self, one: &Assignment) -> Result<Fate> {
        let text = self.text(one);
        if text.is_empty() {
            return Err(Fate::Lost("an empty value resets what other files say"));
        }
        match one.key.as_str() {
            "Image" => self.image(&text),
            "ContainerName" => {
                self.name = appc::AcName::sanitize(&text).ok().map(|name| name.to_string());
                Ok(Fate::Done)
            }
            "Exec" => {
                self.arguments = Some(self.words(one)?);
                Ok(Fate::Done)
            }
            "Entrypoint" => {
                self.entrypoint = Some(match text.strip_prefix('[') {
                    Some(_) => {
                        json_strings(&text).ok_or_else(|| Fate::Bad("it is no list of strings".to_owned()))?
                    }
                    None => self.words(one)?,
                });
                Ok(Fate::Done)
            }
            "Environment" | "Label" => {
                let words = self.words(one)?;
                self.app.push(line(&one.key, words));
                Ok(Fate::Done)
            }
            "Annotation" => {
                let words = self.words(one)?;
                self.app.push(line("UserAnnotation", words));
                Ok(Fate::Done)
            }
            "EnvironmentHost" if self.is_yes(one)? => {
                self.output.pod.push("PassEnvironment=yes".to_owned());
                Ok(Fate::Done)
            }
            "EnvironmentFile" => {
                let (minus, path) = text.strip_prefix('-').map_or(("", text.as_str()), |path| ("-", path));
                let path = self.path(path);
                self.push("EnvironmentFile", format_args!("{minus}{path}"))
            }
            "Volume" => self.volume(&text),
            "Mount" => self.mount(&text),
            "Tmpfs" => self.tmpfs(&text),
            "User" => match text.split_once(':') {
                Some((user, group)) => {
                    self.app.push(format!("User={user}"));
                    self.push("Group", group)
                }
                None => self.push("User", text),
            },
            "SeccompProfile" => self.seccomp(&text),
            "Group" => self.push("Group", text),
            "GroupAdd" => match text.parse::<u32>() {
                Ok(id) => self.push("SupplementaryGroups", id),
                Err(_) => Err(Fate::Lost("groups of an image are given by number")),
            },
            "AddCapability" | "DropCapability" => {
                let words = self.words(one)?;
                self.app.push(line(&one.key, words));
                Ok(Fate::Done)
            }
            "ReadOnly" => {
                let yes = self.is_yes(one)?;
                self.app.push(format!("ReadOnly={}", if yes { "yes" } else { "no" }));
                if yes {
                    // Podman mounts these by itself (ReadOnlyTmpfs=yes); /tmp is there in any case.
                    self.app.extend(["/run", "/var/tmp"].map(|path| format!("Tmpfs={path}:mode=1777")));
                }
                Ok(Fate::Done)
            }
            "ReadOnlyTmpfs" => {
                if !self.is_yes(one)? {
                    self.app
                        .retain(|line| line != "Tmpfs=/run:mode=1777" && line != "Tmpfs=/var/tmp:mode=1777");
                }
                Ok(Fate::Done)
            }
            "NoNewPrivileges" => self.push("NoNewPrivileges", text),
            "WorkingDir" => self.push("WorkingDirectory", text),
            "AddDevice" => self.device(&text),
            "Memory" if self.is_alone => {
                self.output.pod.push(format!("MemoryMax={}", bytes(&text)?));
                Ok(Fate::Done)
            }
            "Memory" => {
                let bytes = bytes(&text)?;
                let binary = if bytes.ends_with(|c: char| c.is_ascii_digit()) { "" } else { "i" };
                self.push("Memory", format_args!("{}{binary}", bytes.replace('K', "k").replace("ki", "Ki")))
            }
            "PidsLimit" => match text.parse::<i64>() {
                Ok(..=0) => Ok(Fate::Done),
                Ok(number) => self.push("PidsLimit", number),
                Err(_) => Err(Fate::Bad("it is no number".to_owned())),
            },
            "Ulimit" if text == "host" => Err(Fate::Lost("the limits of the host are not handed on")),
            "Ulimit" => self.push("Ulimit", text.replace("-1", "unlimited")),
            "Sysctl" => self.sysctl(one),
            "Secret" => self.secret(&text),
            "HealthCmd" if text == "none" => Ok(Fate::Done),
            "HealthCmd" => {
                let command = match text.strip_prefix('[') {
                    Some(_) => json_strings(&text).map(|words| health_words(&words)),
                    None => Some(line("HealthCommand", ["/bin/sh", "-c", &text])),
                };
                let command = command.ok_or_else(|| Fate::Bad("it is no list of strings".to_owned()))?;
                self.health = Some(command.trim_start_matches("HealthCommand=").to_owned());
                self.app.push(command);
                Ok(Fate::Done)
            }
            "HealthInterval" if text == "disable" => Err(Fate::Lost("leave HealthCommand= out instead")),
            "HealthInterval" | "HealthTimeout" | "HealthRetries" | "HealthStartPeriod" => {
                let spaced = text.replace('m', "m ").replace("m s", "ms");
                self.push(&one.key, spaced.trim())
            }
            "HealthOnFailure" => self.push("OnUnhealthy", text),
            "Notify" if text == "healthy" => {
                self.ready = Some("healthy".to_owned());
                Ok(Fate::Done)
            }
            "Notify" => {
                if self.is_yes(one)? {
                    self.app.push("Ready=notify".to_owned());
                }
                Ok(Fate::Done)
            }
            "StopSignal" => self.push("StopSignal", text),
            "ReloadSignal" => self.push("ReloadSignal", text),
            "ReloadCmd" => {
                let words = self.words(one)?;
                self.app.push(line("ReloadCommand", words));
                Ok(Fate::Done)
            }
            "Pull" => {
                let pull = pull(&text)?;
                self.output.pod.retain(|line| !line.starts_with("Pull="));
                self.output.pod.push(format!("Pull={pull}"));
                Ok(Fate::Done)
            }
            "AutoUpdate" => {
                self.output.pod.retain(|line| !line.starts_with("Pull="));
                self.output.pod.push("Pull=update".to_owned());
                Err(Fate::Changed(
                    "the image is looked for at each start, as no timer restarts the pod: systemctl restart updates it",
                ))
            }
            "Timezone" if text == "local" => self.push("Bind", "/etc/localtime:/etc/localtime:ro"),
            "Timezone" => self.push("Bind", format_args!("/usr/share/zoneinfo/{text}:/etc/localtime:ro")),
            "Pod" if self.is_alone => {
                Err(Fate::Changed("rkt pod import of the .pod file makes one pod of all its containers"))
            }
            "Pod" => Ok(Fate::Done),
            "RunInit" => Err(Fate::Lost("process 1 of the pod reaps orphans in any case")),
            "LogDriver" | "LogOpt" => Err(Fate::Lost("output goes to the journal")),
            "PodmanArgs" | "GlobalArgs" | "ContainersConfModule" => {
                Err(Fate::Lost("it is for podman itself"))
            }
            "Rootfs" => Err(Fate::Lost("an app runs an image")),
            "EnvironmentHost" => Ok(Fate::Done),
            _ => self.pod_key(one),
        }
    }

    /// Keys that `.container` and `.pod` have in common, about the pod.
    pub(super) fn pod_key(&mut self, one: &Assignment) -> Result<Fate> {
        let text = self.text(one);
        match one.key.as_str() {
            "PublishPort" => self.publish(&text),
            "Network" => self.network(&text),
            "HostName" => self.pod_line("HostName", &text),
            "DNS" | "DNSSearch" | "DNSOption" | "AddHost" => self.pod_line(&one.key.clone(), &text),
            "UserNS" => self.user_namespace(&text),
            "StopTimeout" => self.pod_line("StopTimeout", &text),
            "Volume" => Err(Fate::Changed("give it to the containers of the pod")),
            "PodName" | "ServiceName" => {
                Err(Fate::Changed("the name of the file is the pod's; Service= names its service"))
            }
            "ShmSize" => Err(Fate::Lost("/dev/shm has no size of its own")),
            "IP" => {
                self.address = Some(one.clone());
                Ok(Fate::Done)
            }
            "IP6" => Err(Fate::Lost("a network gives addresses of IPv6 as it is configured")),
            "NetworkAlias" => Err(Fate::Lost("pods are not found by name: AddHost= names others")),
            "SecurityLabelDisable"
            | "SecurityLabelFileType"
            | "SecurityLabelLevel"
            | "SecurityLabelNested"
            | "SecurityLabelType" => Err(Fate::Lost("labels of SELinux are not set by keys")),
            "Mask" | "Unmask" => {
                Err(Fate::Lost("the usual paths are protected; InsecureOptions=paths opens all"))
            }
            "UIDMap" | "GIDMap" | "SubUIDMap" | "SubGIDMap" => {
                Err(Fate::Lost("rkt chooses the range of users, for PrivateUsers=yes"))
            }
            "CgroupsMode" | "StartWithPod" | "ExitPolicy" => Err(Fate::Lost("pods work without it")),
            key if key.starts_with("HealthStartup")
                || key.starts_with("HealthLog")
                || key.starts_with("HealthMax") =>
            {
                Err(Fate::Lost("ReadyCommand= waits for the start"))
            }
            _ => Err(Fate::Lost("there is no such key here")),
        }
    }

    pub(super) fn pod_line(&mut self, key: &str, text: &str) -> Result<Fate> {
        self.output.pod.push(format!("{key}={text}"));
        Ok(Fate::Done)
    }

    fn image(&mut self, text: &str) -> Result<Fate> {
        for (suffix, why) in [
            (".image", "name the image itself in place of the .image file"),
            (".build", "build the image by other means and name it"),
        ] {
            if text.ends_with(suffix) {
                self.app.push(format!("Image=docker://{}", text.trim_end_matches(suffix)));
                return Err(Fate::Changed(why));
            }
        }
        let known = ["docker://", "oci-archive:", "docker-archive:", "oci:"];
        let prefix = if known.iter().any(|prefix| text.starts_with(prefix)) { "" } else { "docker://" };
        self.app.insert(0, format!("Image={prefix}{text}"));
        Ok(Fate::Done)
    }
}

/// `["CMD", "a"]`, `["CMD-SHELL", "a"]`, or a plain list.
fn health_words(words: &[String]) -> String {
    match words.split_first() {
        Some((first, rest)) if first == "CMD" => line("HealthCommand", rest),
        Some((first, rest)) if first == "CMD-SHELL" => {
            line("HealthCommand", ["/bin/sh", "-c", &rest.join(" ")])
        }
        _ => line("HealthCommand", words),
    }
}

fn pull(text: &str) -> Result<&'static str> {
    match text {
        "always" | "newer" => Ok("update"),
        "missing" => Ok("new"),
        "never" => Ok("never"),
        _ => Err(Fate::Bad(format!("{text:?} is none of always, missing, never, newer"))),
    }
}

/// Podman's sizes have the suffixes b, k, m, g.
fn bytes(text: &str) -> Result<String> {
    let upper = text.to_ascii_uppercase();
    let number = upper.trim_end_matches(['B', 'K', 'M', 'G', 'T']);
    match number.parse::<u64>() {
        Ok(_) => Ok(upper.trim_end_matches('B').to_owned()),
        Err(_) => Err(Fate::Bad(format!("{text:?} is no size"))),
    }
}

/// The strings of a list in JSON.
fn json_strings(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}
