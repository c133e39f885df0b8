//! Units whose `ExecStart=` calls `rkt run`.

use std::rc::Rc;

use super::output::{Output, line};
use crate::diagnostic::{Diagnostic, Source};
use crate::keys::RESERVED;
use crate::syntax::{Assignment, Section};
use crate::words;

/// Flags of the pod, and the keys that they become.
const POD: &[(&str, &str)] = &[
    ("insecure-options", "InsecureOptions"),
    ("net", "Network"),
    ("port", "PublishPort"),
    ("volume", "Volume"),
    ("mount", "Mount"),
    ("dns", "DNS"),
    ("dns-search", "DNSSearch"),
    ("dns-opt", "DNSOption"),
    ("dns-domain", "DNSDomain"),
    ("hosts-entry", "AddHost"),
    ("hostname", "HostName"),
    ("ipc", "IPC"),
    ("pull-policy", "Pull"),
    ("set-env", "Environment"),
    ("set-env-file", "EnvironmentFile"),
    ("stage1-path", "Stage1"),
    ("stage1-url", "Stage1"),
    ("stage1-name", "Stage1"),
    ("stage1-hash", "Stage1"),
    ("pod-manifest", "Manifest"),
];
/// Flags of the pod without a value.
const SWITCHES: &[(&str, &str)] = &[
    ("inherit-env", "PassEnvironment=yes"),
    ("no-overlay", "Overlay=no"),
    ("store-only", "Pull=never"),
    ("no-store", "Pull=update"),
    ("private-users", "PrivateUsers=yes"),
];
/// Flags that follow an image.
const APP: &[(&str, &str)] = &[
    ("name", "Name"),
    ("signature", "Signature"),
    ("mount", "Mount"),
    ("user", "User"),
    ("group", "Group"),
    ("supplementary-gids", "SupplementaryGroups"),
    ("working-dir", "WorkingDirectory"),
    ("environment", "Environment"),
    ("annotation", "Annotation"),
    ("user-annotation", "UserAnnotation"),
    ("user-label", "Label"),
    ("memory", "Memory"),
    ("cpu", "CPU"),
    ("cpu-shares", "CPUShares"),
    ("oom-score-adj", "OOMScoreAdjust"),
    ("caps-retain", "Capabilities"),
    ("cap-retain", "Capabilities"),
    ("caps-remove", "DropCapability"),
    ("cap-remove", "DropCapability"),
    ("seccomp", "Seccomp"),
    ("stdin", "StandardInput"),
    ("stdout", "StandardOutput"),
    ("stderr", "StandardError"),
    ("pids-limit", "PidsLimit"),
    ("rlimit", "Ulimit"),
    ("restart", "Restart"),
];
/// Flags that mean nothing to a pod with a file, with the reason.
const DROPPED: &[(&str, &str)] = &[
    ("uuid-file-save", "the UUID stands in /run/rkt/units"),
    ("interactive", "a unit has no terminal"),
    ("dir", "pods with a file use the configured data directory"),
    ("local-config", "pods with a file use the configuration of the host"),
    ("system-config", "pods with a file use the configuration of the host"),
    ("user-config", "pods with a file use the configuration of the host"),
    ("mds-register", "there is no key for it"),
    ("trust-keys-from-https", "there is no key for it"),
    ("debug", "there is no key for it"),
];
/// Those of them without a value.
const BARE: &[&str] = &["interactive", "mds-register", "trust-keys-from-https", "debug"];

pub(super) fn unit(
    sections: &[Section],
    source: &Rc<Source>,
    output: &mut Output,
    notes: &mut Vec<Diagnostic>,
) {
    let mut found = false;
    for section in sections {
        for one in &section.assignments {
            let target = match section.name.as_str() {
                "Unit" => &mut output.unit,
                "Install" => &mut output.install,
                "Service" if one.key == "ExecStart" => {
                    found |= start(one, output, notes);
                    continue;
                }
                "Service" if one.value.text.contains("rkt gc") || one.value.text.contains("rkt rm") => {
                    continue;
                }
                "Service" => {
                    if let Some((key, instead)) = RESERVED.iter().find(|(key, _)| *key == one.key) {
                        // What the unit of a pod has anyway is no loss.
                        if !["Type", "KillMode", "Delegate", "NotifyAccess"].contains(key) {
                            let text = format!("{key}= of [Service] is rkt's own in the unit of a pod");
                            notes.push(
                                Diagnostic::warning(one.place.clone(), text).hint((*instead).to_owned()),
                            );
                        }
                        continue;
                    }
                    &mut output.service
                }
                _ => continue,
            };
            target.push(format!("{}={}", one.key, one.value.text));
        }
    }
    if !found {
        let place = crate::diagnostic::Place::start(source);
        let hint = "it has neither [Container] nor an ExecStart= that calls rkt run".to_owned();
        notes.push(Diagnostic::error(place, "There is no pod in this file").hint(hint));
    }
}

/// Reads `ExecStart=/usr/bin/rkt … run …`.
fn start(one: &Assignment, output: &mut Output, notes: &mut Vec<Diagnostic>) -> bool {
    let text = one.value.text.trim_start_matches(['-', '+', '!', '@', ':']);
    let Ok(words) = words::split(text) else {
        notes.push(Diagnostic::error(one.value.whole(), "The quotes of this line do not end"));
        return false;
    };
    let mut words = words.into_iter().map(|word| word.text.replace("$$", "$"));
    if words.next().is_none_or(|program| program.rsplit('/').next() != Some("rkt")) {
        return false;
    }
    let mut is_run = false;
    let mut app: Option<Vec<String>> = None;
    let mut exec: Option<String> = None;
    let mut arguments: Vec<String> = Vec::new();
    let mut note = |text: String| notes.push(Diagnostic::warning(one.place.clone(), text));
    let mut finish =
        |app: &mut Option<Vec<String>>, exec: &mut Option<String>, arguments: &mut Vec<String>| {
            let Some(mut lines) = app.take() else { return };
            let arguments = std::mem::take(arguments);
            match exec.take() {
                Some(program) => lines.push(line("Exec", std::iter::once(program).chain(arguments))),
                None if !arguments.is_empty() => lines.push(line("Args", arguments)),
                None => {}
            }
            output.apps.push((None, lines));
        };
    let pod = &mut output.pod;
    while let Some(word) = words.next() {
        if word == "--" && app.is_some() {
            arguments.extend(words.by_ref().take_while(|word| word != "---"));
            continue;
        }
        let Some(flag) = word.strip_prefix("--") else {
            match word.as_str() {
                "---" => {}
                "run" if !is_run => is_run = true,
                _ if !is_run => return false,
                image => {
                    finish(&mut app, &mut exec, &mut arguments);
                    app = Some(vec![format!("Image={image}")]);
                }
            }
            continue;
        };
        let (name, joined) = match flag.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (flag.to_owned(), None),
        };
        if let Some((_, text)) = SWITCHES.iter().find(|(known, _)| *known == name) {
            if joined.as_deref() != Some("false") {
                pod.push((*text).to_owned());
            }
            continue;
        }
        if name == "readonly-rootfs" {
            let value = joined.as_deref().unwrap_or("true");
            app.iter_mut().for_each(|lines| lines.push(format!("ReadOnly={value}")));
            continue;
        }
        if BARE.contains(&name.as_str()) || (name == "net" && joined.is_none()) {
            if name != "net" {
                note(format!("--{name} is not carried over: {}", reason(&name)));
            }
            continue;
        }
        let Some(value) = joined.or_else(|| words.next()) else {
            note(format!("--{name} has no value"));
            continue;
        };
        let of_app = APP.iter().find(|(known, _)| *known == name);
        match (&mut app, of_app, POD.iter().find(|(known, _)| *known == name)) {
            (Some(_), _, _) if name == "exec" => exec = Some(value),
            (Some(lines), Some((_, key)), _) => lines.push(assignment(key, &value)),
            (_, _, Some((_, key))) => pod.push(assignment(key, &value)),
            _ if name == "stage1-from-dir" => {
                let flavor = value.strip_prefix("stage1-").and_then(|rest| rest.strip_suffix(".aci"));
                match flavor.filter(|flavor| ["fly", "nspawn", "kvm"].contains(flavor)) {
                    Some(flavor) => pod.push(format!("Isolation={flavor}")),
                    None => pod.push(format!("Stage1=/usr/lib/rkt/stage1-images/{value}")),
                }
            }
            _ => note(format!("--{name}={value} is not carried over: {}", reason(&name))),
        }
    }
    finish(&mut app, &mut exec, &mut arguments);
    name_apps(output);
    is_run
}

/// Several apps need names: those that `rkt run` gives them, of the last part of the image's.
fn name_apps(output: &mut Output) {
    if output.apps.len() < 2 {
        return;
    }
    for (name, lines) in &mut output.apps {
        if lines.iter().any(|line| line.starts_with("Name=")) {
            continue;
        }
        let image = lines.iter().find_map(|line| line.strip_prefix("Image=")).unwrap_or_default();
        let last = image.rsplit('/').next().unwrap_or_default();
        let bare = last.split([':', ',', '@']).next().unwrap_or_default();
        *name = appc::AcName::sanitize(bare).ok().map(|name| name.to_string());
    }
}

fn reason(name: &str) -> &'static str {
    DROPPED.iter().find(|(known, _)| *known == name).map_or("there is no such key", |(_, why)| why)
}

/// Values that are read as words are quoted where they must be.
fn assignment(key: &str, value: &str) -> String {
    match key {
        "Environment" | "Label" | "UserAnnotation" => line(key, [value]),
        "SupplementaryGroups" | "DNS" | "DNSSearch" | "DNSOption" | "Capabilities" | "DropCapability" => {
            format!("{key}={}", value.replace(',', " "))
        }
        _ => format!("{key}={value}"),
    }
}
