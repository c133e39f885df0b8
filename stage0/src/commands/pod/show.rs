//! `rkt pod show`.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Result;
use podfile::{App, Found, Isolation, PodFile, PodName};

use super::Context;
use crate::pod_file::{self, request};
use crate::{images, report, stage1};

/// Arguments of `rkt pod show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    name: String,
}

/// What is told of the unit, when systemd can be asked.
const PROPERTIES: &[&str] = &[
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NeedDaemonReload",
    "FragmentPath",
    "DropInPaths",
    "StatusText",
    "MainPID",
    "NRestarts",
    "Restart",
    "MemoryMax",
    "MemoryHigh",
    "MemorySwapMax",
    "MemoryCurrent",
    "CPUQuotaPerSecUSec",
    "CPUWeight",
    "IOWeight",
    "TasksMax",
    "TasksCurrent",
    "TimeoutStartUSec",
    "TimeoutStopUSec",
    "WatchdogUSec",
];

pub(crate) fn run(context: &Context, args: &ShowArgs) -> Result<ExitCode> {
    let name: PodName = args.name.parse()?;
    let directories = pod_file::directories(context)?;
    let drop_ins = match directories.find(&name)? {
        Found::File(_, drop_ins) => drop_ins,
        Found::Masked(_) => Vec::new(),
    };
    let outcome = pod_file::read(&directories, &name)?;
    let file = &outcome.file;
    let mut text = String::new();
    line(&mut text, "Pod", &name);
    line(&mut text, "File", &file.path);
    for drop_in in &drop_ins {
        line(&mut text, "Drop-in", &drop_in.path);
    }
    line(&mut text, "Unit", file.unit());
    line(&mut text, "Wall", wall(context, file));
    pod(&mut text, file);
    for app in &file.apps {
        text.push('\n');
        self::app(context, &mut text, app);
    }
    report::print_raw(&text)?;
    properties(&file.unit())?;
    for one in &outcome.diagnostics {
        report::text(&format!("{one}\n"));
    }
    Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "{name:<14}{value}");
}

/// The wall in words, and the stage1 that makes it.
fn wall(context: &Context, file: &PodFile) -> String {
    let words = match file.pod.isolation {
        Some(Isolation::Fly) => "fly: a chroot with its own mounts; the namespaces of the host",
        Some(Isolation::Nspawn) => "nspawn: a Linux container by systemd-nspawn, seccomp, few capabilities",
        Some(Isolation::Kvm) => "kvm: a small virtual machine for the whole pod",
        None => "",
    };
    let choice = request::stage1(&file.pod);
    match (words, choice) {
        ("", Some(choice)) => format!("{choice:?}"),
        ("", None) => match &context.config() {
            Ok(config) => format!(
                "that of the configuration: {}",
                config.stage1_location.as_deref().unwrap_or(stage1::LOCATION)
            ),
            Err(error) => format!("unknown: {error:#}"),
        },
        (words, _) => words.to_owned(),
    }
}

fn pod(text: &mut String, file: &PodFile) {
    let pod = &file.pod;
    line(text, "Network", pod.network());
    for port in &pod.ports {
        let address = port.host_ip.map_or_else(String::new, |ip| format!("{ip}:"));
        line(text, "Port", format!("{address}{} to {}", port.host_port, port.name));
    }
    for volume in &pod.volumes {
        let source = match &volume.kind {
            appc::VolumeKind::Host { source, .. } => source.as_str(),
            appc::VolumeKind::Empty { .. } => "empty",
        };
        line(text, "Volume", format!("{}: {source}", volume.name));
    }
    if pod.private_users == Some(true) {
        let machine = pod.isolation == Some(Isolation::Kvm);
        line(text, "Users", if machine { "those of the machine" } else { "none of the host's" });
    }
    for (name, value) in &pod.sysctls {
        line(text, "Sysctl", format!("{name}={value}"));
    }
    for (name, value) in &pod.limits {
        line(text, "Limit", format!("{name}={value}"));
    }
    if let Some(manifest) = request::manifest(file) {
        line(text, "Manifest", manifest.display());
    }
    if let Ok(uuid) = pod_file::running(&file.name) {
        line(text, "Last UUID", uuid);
    }
}

fn app(context: &Context, text: &mut String, App { name, image, settings }: &App) {
    line(text, "App", name);
    let pinned = settings.image_id.as_ref().map(ToString::to_string);
    let stored = match images::stored(context, pinned.as_deref().unwrap_or(image)) {
        Ok(stored) => Some(stored.key().to_owned()),
        Err(_) => pod_file::pins::fetched(context, image).unwrap_or_default(),
    };
    let where_ = match (&stored, &pinned) {
        (Some(key), _) => format!("in the store: {key}"),
        (None, Some(id)) => format!("pinned to {id}, not in the store"),
        (None, None) => "looked for at the start".to_owned(),
    };
    line(text, "  Image", format!("{image} ({where_})"));
    let words =
        |words: &[String]| words.iter().map(|word| podfile::words::quote(word)).collect::<Vec<_>>().join(" ");
    if !settings.exec.is_empty() {
        line(text, "  Exec", words(&settings.exec));
    }
    if let Some(command) = &settings.command {
        line(text, "  Command", words(command));
    }
    if !settings.args.is_empty() {
        line(text, "  Args", words(&settings.args));
    }
    if let Some(user) = &settings.user {
        line(text, "  User", user);
    }
    for mount in &settings.mounts {
        line(text, "  Mount", format!("{} at {}", mount.volume, mount.path));
    }
    for bind in &settings.binds {
        line(text, "  Bind", format!("{} at {}", bind.source, bind.target));
    }
}

/// What systemd has made of it, where there is one.
fn properties(unit: &str) -> Result<()> {
    match systemd::control::properties(unit, PROPERTIES) {
        Ok(properties) => {
            let mut text = "\n".to_owned();
            for (name, value) in properties {
                let _ = writeln!(text, "{name}={value}");
            }
            report::print_raw(text)
        }
        Err(error) => {
            report::notice("show", format_args!("systemd cannot be asked about {unit}: {error}"));
            Ok(())
        }
    }
}
