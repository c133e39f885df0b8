//! Podman's quadlets; see podman-systemd.unit(5).

use std::path::Path;
use std::rc::Rc;

use super::output::{Output, line};
use crate::diagnostic::{Diagnostic, Source};
use crate::keys::RESERVED;
use crate::syntax::{self, Assignment, Section};
use crate::value;
use crate::words;

/// Where named volumes of Podman are put; systemd makes the directories (`StateDirectory=`).
const VOLUMES: &str = "rkt-volumes";

/// One file that is being read.
struct Reader<'a> {
    source: &'a Rc<Source>,
    read: &'a dyn Fn(&str) -> Option<String>,
    output: &'a mut Output,
    notes: &'a mut Vec<Diagnostic>,
    /// Lines of `[App]`.
    app: Vec<String>,
    name: Option<String>,
    entrypoint: Option<Vec<String>>,
    arguments: Option<Vec<String>>,
    health: Option<String>,
    ready: Option<String>,
    /// The only app of its pod: limits of it are the pod's.
    is_alone: bool,
}

/// What became of one key.
enum Fate {
    Done,
    /// Left out, for a reason.
    Lost(&'static str),
    /// Carried over, but not quite.
    Changed(&'static str),
    /// The value makes no sense.
    Bad(String),
}

type Result<T, E = Fate> = std::result::Result<T, E>;

/// A quadlet `.container` of its own.
pub(super) fn container(
    sections: &[Section],
    source: &Rc<Source>,
    read: &dyn Fn(&str) -> Option<String>,
    output: &mut Output,
    notes: &mut Vec<Diagnostic>,
) {
    output.pod.push("InsecureOptions=image".to_owned());
    handed(sections, output, notes);
    one(sections, source, read, output, notes, true);
}

/// A quadlet `.pod` with its containers.
pub(super) fn pod(
    sections: &[Section],
    source: &Rc<Source>,
    members: &[Rc<Source>],
    read: &dyn Fn(&str) -> Option<String>,
    output: &mut Output,
    notes: &mut Vec<Diagnostic>,
) {
    output.pod.push("InsecureOptions=image".to_owned());
    handed(sections, output, notes);
    let mut reader = Reader::new(source, read, output, notes, false);
    for assignment in assignments(sections, "Pod") {
        let fate = reader.pod_key(assignment).unwrap_or_else(|fate| fate);
        reader.note(assignment, fate);
    }
    for member in members {
        let sections = syntax::parse(member, notes);
        for section in
            sections.iter().filter(|section| ["Unit", "Service", "Install"].contains(&&*section.name))
        {
            for assignment in &section.assignments {
                let text = format!(
                    "{}= of [{}]: the pod has one unit for all its apps",
                    assignment.key, section.name
                );
                if section.name != "Install" {
                    notes.push(Diagnostic::warning(assignment.place.clone(), text));
                }
            }
        }
        one(&sections, member, read, output, notes, false);
    }
}

fn one(
    sections: &[Section],
    source: &Rc<Source>,
    read: &dyn Fn(&str) -> Option<String>,
    output: &mut Output,
    notes: &mut Vec<Diagnostic>,
    is_alone: bool,
) {
    let mut reader = Reader::new(source, read, output, notes, is_alone);
    for assignment in assignments(sections, "Container") {
        let fate = reader.container_key(assignment).unwrap_or_else(|fate| fate);
        reader.note(assignment, fate);
    }
    for section in sections.iter().filter(|section| section.name.starts_with("Quadlet")) {
        reader.notes.push(Diagnostic::warning(section.place.clone(), "[Quadlet] has no counterpart"));
    }
    reader.finish();
}

fn assignments<'a>(sections: &'a [Section], name: &'a str) -> impl Iterator<Item = &'a Assignment> {
    sections.iter().filter(move |section| section.name == name).flat_map(|section| &section.assignments)
}

/// What systemd reads is handed on.
fn handed(sections: &[Section], output: &mut Output, notes: &mut Vec<Diagnostic>) {
    for section in sections {
        let lines = match section.name.as_str() {
            "Unit" => &mut output.unit,
            "Service" => &mut output.service,
            "Install" => &mut output.install,
            _ => continue,
        };
        for one in &section.assignments {
            if section.name == "Service"
                && let Some((key, instead)) = RESERVED.iter().find(|(key, _)| *key == one.key)
            {
                let text = format!("{key}= of [Service] is rkt's own in the unit of a pod");
                notes.push(Diagnostic::warning(one.place.clone(), text).hint((*instead).to_owned()));
                continue;
            }
            lines.push(format!("{}={}", one.key, one.value.text));
        }
    }
}

impl<'a> Reader<'a> {
    fn new(
        source: &'a Rc<Source>,
        read: &'a dyn Fn(&str) -> Option<String>,
        output: &'a mut Output,
        notes: &'a mut Vec<Diagnostic>,
        is_alone: bool,
    ) -> Self {
        let stem = Path::new(&source.path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Reader {
            source,
            read,
            output,
            notes,
            app: Vec::new(),
            name: if is_alone { None } else { stem },
            entrypoint: None,
            arguments: None,
            health: None,
            ready: None,
            is_alone,
        }
    }

    fn note(&mut self, assignment: &Assignment, fate: Fate) {
        let key = &assignment.key;
        let diagnostic = match fate {
            Fate::Done => return,
            Fate::Lost(why) => {
                Diagnostic::warning(assignment.place.clone(), format!("{key}= is not carried over: {why}"))
            }
            Fate::Changed(how) => Diagnostic::warning(assignment.place.clone(), format!("{key}=: {how}")),
            Fate::Bad(message) => Diagnostic::error(assignment.value.whole(), format!("{key}=: {message}")),
        };
        self.notes.push(diagnostic);
    }

    /// A value as it stands in a pod file: specifiers that only Podman's units have are spelt out.
    fn text(&self, assignment: &Assignment) -> String {
        let name =
            Path::new(&self.source.path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = &assignment.value.text;
        text.replace("%h", "/root")
            .replace("%u", "root")
            .replace("%U", "0")
            .replace("%n", &format!("{name}.service"))
    }

    fn words(&self, assignment: &Assignment) -> Result<Vec<String>> {
        let words = words::split(&self.text(assignment)).map_err(|error| Fate::Bad(error.message))?;
        Ok(words.into_iter().map(|word| word.text).collect())
    }

    /// A path of the host: relative ones begin where the quadlet is.
    fn path(&self, text: &str) -> String {
        if text.starts_with('/') || text.starts_with('%') {
            return text.to_owned();
        }
        let directory = Path::new(&self.source.path).parent().unwrap_or(Path::new("/"));
        directory.join(text.trim_start_matches("./")).display().to_string()
    }

    fn is_yes(&self, assignment: &Assignment) -> Result<bool> {
        value::boolean(&assignment.value.text).map_err(|problem| Fate::Bad(problem.message))
    }

    fn push(&mut self, key: &str, text: impl std::fmt::Display) -> Result<Fate> {
        self.app.push(format!("{key}={text}"));
        Ok(Fate::Done)
    }

    fn container_key(&mut self, one: &Assignment) -> Result<Fate> {
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
            "Sysctl" => Err(Fate::Lost(
                "set it by the plugin \"tuning\" of the pod's network, or on the host for Network=host",
            )),
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
    fn pod_key(&mut self, one: &Assignment) -> Result<Fate> {
        let text = self.text(one);
        match one.key.as_str() {
            "PublishPort" => self.publish(&text),
            "Network" => self.network(&text),
            "HostName" => self.pod_line("HostName", &text),
            "DNS" | "DNSSearch" | "DNSOption" | "AddHost" => self.pod_line(&one.key.clone(), &text),
            "UserNS" if text == "host" => Ok(Fate::Done),
            "UserNS" => Err(Fate::Lost("pods have no user namespace of their own")),
            "StopTimeout" => self.pod_line("StopTimeout", &text),
            "Volume" => Err(Fate::Changed("give it to the containers of the pod")),
            "PodName" | "ServiceName" => {
                Err(Fate::Changed("the name of the file is the pod's; Service= names its service"))
            }
            "ShmSize" => Err(Fate::Lost("/dev/shm has no size of its own")),
            "IP" | "IP6" | "NetworkAlias" => {
                Err(Fate::Lost("addresses are given with the network: Network=NAME:IP=ADDRESS"))
            }
            "SecurityLabelDisable"
            | "SecurityLabelFileType"
            | "SecurityLabelLevel"
            | "SecurityLabelNested"
            | "SecurityLabelType" => Err(Fate::Lost("labels of SELinux are not set by keys")),
            "Mask" | "Unmask" => {
                Err(Fate::Lost("the usual paths are protected; InsecureOptions=paths opens all"))
            }
            "UIDMap" | "GIDMap" | "SubUIDMap" | "SubGIDMap" => {
                Err(Fate::Lost("rkt chooses the range of users"))
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

    fn pod_line(&mut self, key: &str, text: &str) -> Result<Fate> {
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

    fn publish(&mut self, text: &str) -> Result<Fate> {
        let (mapping, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let Some((outside, inside)) = mapping.rsplit_once(':') else {
            return Err(Fate::Lost("there are no ports of the host by chance: write HOSTPORT:PODPORT"));
        };
        let (ip, host) = outside.rsplit_once(':').map_or(("", outside), |(ip, host)| (ip, host));
        if host.is_empty() {
            return Err(Fate::Lost("there are no ports of the host by chance: write HOSTPORT:PODPORT"));
        }
        let range = |text: &str| -> Option<(u16, u16)> {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        let (Some(from), Some(to)) = (range(host), range(inside)) else {
            return Err(Fate::Bad(format!("{text:?} is no mapping of ports")));
        };
        if from.1 < from.0 || from.1 - from.0 != to.1.wrapping_sub(to.0) || from.1 - from.0 > 1000 {
            return Err(Fate::Bad(format!("{text:?} is no mapping of ports")));
        }
        let ip = if ip.is_empty() || ip == "0.0.0.0" { String::new() } else { format!("{ip}:") };
        for offset in 0..=from.1 - from.0 {
            let (host, pod) = (from.0 + offset, to.0 + offset);
            self.output.pod.push(format!("PublishPort={ip}{host}:{pod}/{protocol}"));
        }
        Ok(Fate::Done)
    }

    fn network(&mut self, text: &str) -> Result<Fate> {
        let name = text.split(':').next().unwrap_or_default();
        match name {
            "host" | "none" => self.pod_line("Network", name),
            "" | "bridge" | "pasta" | "slirp4netns" | "private" => self.pod_line("Network", "default"),
            "container" | "ns" => Err(Fate::Lost("a pod has networks of its own: put the apps into one pod")),
            _ => {
                let bare = name.strip_suffix(".network").unwrap_or(name).to_owned();
                self.pod_line("Network", &bare)?;
                Err(Fate::Changed("a network of this name must be configured in /etc/rkt/net.d"))
            }
        }
    }

    fn volume(&mut self, text: &str) -> Result<Fate> {
        let mut parts = text.splitn(3, ':');
        let (first, target) = (parts.next().unwrap_or_default(), parts.next());
        let options = parts.next().unwrap_or_default();
        let Some(target) = target else {
            self.app.push(format!("Tmpfs={first}"));
            return Err(Fate::Changed("a volume without a name lives as long as the pod"));
        };
        let read_only = options.split(',').any(|option| option == "ro");
        let is_path = first.starts_with(['/', '.', '%']);
        let mut fate = Fate::Done;
        if options.split(',').any(|option| !["", "ro", "rw", "z", "Z", "rbind", "bind"].contains(&option)) {
            fate = Fate::Changed("options other than ro and rw are left out");
        }
        if is_path {
            let source = self.path(first);
            self.app.push(format!("Bind={source}:{target}{}", if read_only { ":ro" } else { "" }));
            return Ok(fate);
        }
        let bare = first.strip_suffix(".volume").unwrap_or(first);
        let name = appc::AcName::sanitize(bare).map_err(|error| Fate::Bad(error.to_string()))?;
        let state = format!("StateDirectory={VOLUMES}/{name}");
        if !self.output.service.contains(&state) {
            self.output.service.push(state);
            let read_only = if read_only { ":ro" } else { "" };
            self.output.pod.push(format!("Volume={name}:/var/lib/{VOLUMES}/{name}{read_only}"));
        }
        self.app.push(format!("Mount={name}:{target}"));
        Err(Fate::Changed(
            "the volume is a directory below /var/lib/rkt-volumes: copy what Podman's volume has",
        ))
    }

    fn mount(&mut self, text: &str) -> Result<Fate> {
        let find = |names: &[&str]| {
            text.split(',').find_map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                names.contains(&name).then_some(value)
            })
        };
        let target = find(&["destination", "dst", "target"]);
        let source = find(&["source", "src"]);
        let read_only = find(&["ro", "readonly"]).is_some_and(|value| value != "false");
        let options = if read_only { ":ro" } else { "" };
        match (find(&["type"]), source, target) {
            (Some("tmpfs"), _, Some(target)) => self.push("Tmpfs", target),
            (Some("bind") | None, Some(source), Some(target))
            | (Some("volume"), Some(source), Some(target)) => {
                self.volume(&format!("{source}:{target}{options}"))
            }
            (Some("volume"), None, Some(target)) => self.volume(target),
            _ => Err(Fate::Lost("only bind, volume and tmpfs can be mounted")),
        }
    }

    fn tmpfs(&mut self, text: &str) -> Result<Fate> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let kept: Vec<&str> = options
            .split(',')
            .filter(|option| ["mode=", "uid=", "gid="].iter().any(|name| option.starts_with(name)))
            .collect();
        let gap = if kept.is_empty() { "" } else { ":" };
        self.app.push(format!("Tmpfs={target}{gap}{}", kept.join(",")));
        let others = options.split(',').filter(|option| !option.is_empty()).count() > kept.len();
        if others {
            Err(Fate::Changed("options other than mode, uid and gid are left out"))
        } else {
            Ok(Fate::Done)
        }
    }

    fn device(&mut self, text: &str) -> Result<Fate> {
        let text = text.strip_prefix('-').unwrap_or(text);
        let mut parts = text.split(':');
        let source = parts.next().unwrap_or_default();
        let target = parts.next().filter(|part| part.starts_with('/')).unwrap_or(source);
        if !source.starts_with("/dev/") {
            return Err(Fate::Lost("devices are named by their path below /dev"));
        }
        self.push("Bind", format_args!("{source}:{target}"))
    }

    fn seccomp(&mut self, text: &str) -> Result<Fate> {
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

    fn secret(&mut self, text: &str) -> Result<Fate> {
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

    fn finish(mut self) {
        match (self.entrypoint.take(), self.arguments.take()) {
            (Some(entrypoint), arguments) => {
                self.app.push(line("Exec", entrypoint.into_iter().chain(arguments.unwrap_or_default())));
            }
            (None, Some(arguments)) => self.app.push(line("Command", arguments)),
            (None, None) => {}
        }
        if self.ready.is_some()
            && let Some(command) = &self.health
        {
            self.app.push(format!("ReadyCommand={command}"));
        }
        let name = self.name.take().and_then(|name| appc::AcName::sanitize(&name).ok());
        self.output.apps.push((name.map(|name| name.to_string()), std::mem::take(&mut self.app)));
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
