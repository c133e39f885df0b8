//! `rkt pod run`: what the unit of a pod file executes.

use std::convert::Infallible;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, ensure};
use podfile::{PodFile, PodName};

use super::Context;
use crate::pod_file::request::{self, Request};
use crate::pod_file::{self, uuid_file};
use crate::prepare::{self, Options, Prepared};
use crate::{launch, report};

/// Arguments of `rkt pod run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// name of the unit that this is the main process of
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,

    name: String,
}

/// Becomes the stage1. What keeps it from that stands in the status of the unit, too.
pub(crate) fn run(context: &Context, args: &RunArgs) -> Result<ExitCode> {
    match become_pod(context, args) {
        Ok(never) => match never {},
        Err(error) => {
            tell(&format!("STATUS={}", one_line(&format!("{error:#}"))));
            Err(error)
        }
    }
}

fn become_pod(context: &Context, args: &RunArgs) -> Result<Infallible> {
    context.require_root()?;
    let name: PodName = args.name.parse()?;
    let file = load(context, &name)?;
    if let Some(unit) = &args.unit {
        ensure!(
            *unit == file.unit(),
            "pod {name} is run by {}, not by {unit}: see Service= in {}",
            file.unit(),
            file.path
        );
    }
    let context = &context.without(request::insecure(&file.pod)?);
    let Request { source, stage1, overlay, private_users, run } = request::request(&file)?;
    let uuid_file = uuid_file(&name);
    if let Some(directory) = uuid_file.parent() {
        std::fs::create_dir_all(directory).with_context(|| format!("Cannot make {}", directory.display()))?;
    }
    let options = Options { stage1, overlay, private_users, uuid_file: Some(&uuid_file) };
    note_waiting(&name, &file)?;
    tell("STATUS=Preparing");
    let Prepared { pods, mut held, abi, roots, lock } = prepare::prepare(context, "run", source, options)?;
    pods.start(&mut held)?;
    drop(lock);
    let wall = file.pod.isolation.map_or("", podfile::Isolation::as_str);
    tell(&format!("STATUS=Pod {}{}{wall}", held.uuid, if wall.is_empty() { "" } else { ", " }));
    launch::launch(context, pods, &held, &abi, &roots, &run)
}

/// Notes which apps have to say that they are ready, for the case that they do not.
fn note_waiting(name: &PodName, file: &PodFile) -> Result<()> {
    let notifies = |app: &&podfile::App| app.settings.ready == Some(podfile::pod::Ready::Notify);
    let apps: Vec<&str> = file.apps.iter().filter(notifies).map(|app| app.name.as_str()).collect();
    let path = pod_file::waiting_file(name);
    // It is asked only when the pod has started; that takes a machine some time.
    let probed = file.apps.iter().find(|app| !app.settings.ready_command.is_empty());
    let text = match (apps.as_slice(), probed) {
        ([], None) => None,
        ([], Some(app)) => Some(waiting_for_command(app.name.as_str(), &app.settings.ready_command)),
        (apps, _) => Some(format!("READY=1 of app {}", apps.join(", "))),
    };
    let noted = match text {
        Some(text) => std::fs::write(&path, text),
        None => remove_if_there(&path),
    };
    noted.with_context(|| format!("Cannot write {}", path.display()))
}

/// What is waited for when an app is asked whether it is ready.
pub(crate) fn waiting_for_command(app: &str, command: &[String]) -> String {
    format!("ReadyCommand={} of app {app}", command.join(" "))
}

/// Removes a file that need not be there.
pub(crate) fn remove_if_there(path: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Reads the file of a pod, which must be right. All mistakes are told.
pub(crate) fn load(context: &Context, name: &PodName) -> Result<PodFile> {
    let outcome = pod_file::read(&pod_file::directories(context)?, name)?;
    for one in &outcome.diagnostics {
        report::text(&format!("{one}\n"));
    }
    let briefs: Vec<String> = outcome.errors().map(podfile::Diagnostic::brief).collect();
    match briefs.as_slice() {
        [] => Ok(outcome.file),
        [only] => Err(anyhow!("{only}")),
        [first, others @ ..] => Err(anyhow!("{first} (and {} more)", others.len())),
    }
}

/// Tells the unit about us. It may not want to know.
pub(crate) fn tell(state: &str) {
    if let Ok(Some(notifier)) = systemd::notify::Notifier::from_environment() {
        let _ = notifier.send(state);
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
