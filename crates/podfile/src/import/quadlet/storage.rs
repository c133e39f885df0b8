//! Volumes, mounts and devices.

use super::{Fate, Reader, Result};

/// Where named volumes of Podman are put; systemd makes the directories (`StateDirectory=`).
const VOLUMES: &str = "rkt-volumes";

impl Reader<'_> {
    pub(super) fn volume(&mut self, text: &str) -> Result<Fate> {
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

    pub(super) fn mount(&mut self, text: &str) -> Result<Fate> {
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

    pub(super) fn tmpfs(&mut self, text: &str) -> Result<Fate> {
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

    pub(super) fn device(&mut self, text: &str) -> Result<Fate> {
        let text = text.strip_prefix('-').unwrap_or(text);
        let mut parts = text.split(':');
        let source = parts.next().unwrap_or_default();
        let target = parts.next().filter(|part| part.starts_with('/')).unwrap_or(source);
        if !source.starts_with("/dev/") {
            return Err(Fate::Lost("devices are named by their path below /dev"));
        }
        self.push("Bind", format_args!("{source}:{target}"))
    }
}
