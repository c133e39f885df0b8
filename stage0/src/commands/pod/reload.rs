//! `rkt pod reload`: what `systemctl reload` does to the apps of a pod.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use podfile::PodName;

use super::run::load;
use super::{Context, probe};
use crate::entrypoint::{Entrypoint, Operation};
use crate::pod_file;

/// Arguments of `rkt pod reload`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReloadArgs {
    name: String,
}

pub(crate) fn run(context: &Context, args: &ReloadArgs) -> Result<ExitCode> {
    context.require_root()?;
    let name: PodName = args.name.parse()?;
    let file = load(context, &name)?;
    let uuid = pod_file::running(&name)?;
    let mut count = 0;
    for app in &file.apps {
        let (app_name, settings) = (app.name.as_str(), &app.settings);
        if let Some(signal) = &settings.reload_signal {
            send(context, &uuid, app_name, signal.number)
                .with_context(|| format!("Cannot send {} to app {app_name}", signal.name))?;
            count += 1;
        }
        if !settings.reload_command.is_empty() {
            let good = probe::run(context, &uuid, app_name, &settings.reload_command, Duration::MAX)?;
            ensure!(good, "ReloadCommand= of app {app_name} failed");
            count += 1;
        }
    }
    ensure!(count > 0, "no app of pod {name} has ReloadSignal= or ReloadCommand=");
    Ok(ExitCode::SUCCESS)
}

fn send(context: &Context, uuid: &str, app: &str, number: i32) -> Result<()> {
    let pods = context.pods()?;
    let pod = pods.find(uuid)?;
    let signal = Entrypoint::find(context, &pod.dir, pods.path(pod.place, pod.uuid), Operation::Signal)?;
    let arguments = [format!("--app={app}"), format!("--signal={number}"), uuid.to_owned()];
    signal.run(&arguments.map(Into::into))
}
