//! `rkt pod wait-ready`: asks `ReadyCommand=` of each app until it succeeds. The unit runs it behind its start.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use podfile::PodName;

use super::run::{load, remove_if_there, tell, waiting_for_command};
use super::{Context, probe};
use crate::pod_file;

/// Arguments of `rkt pod wait-ready`.
#[derive(Debug, clap::Args)]
pub(crate) struct WaitReadyArgs {
    name: String,
}

/// The time between two tries, when the file does not say.
const INTERVAL: Duration = Duration::from_millis(500);

/// Ends when all apps are ready. How long that may take is the unit's business.
pub(crate) fn run(context: &Context, args: &WaitReadyArgs) -> Result<ExitCode> {
    context.require_root()?;
    let name: PodName = args.name.parse()?;
    let file = load(context, &name)?;
    let uuid = pod_file::running(&name)?;
    let begin = Instant::now();
    let waiting = pod_file::waiting_file(&name);
    remove_if_there(&waiting).with_context(|| format!("Cannot remove {}", waiting.display()))?;
    for app in &file.apps {
        let command = &app.settings.ready_command;
        if command.is_empty() {
            continue;
        }
        let app_name = app.name.as_str();
        std::fs::write(&waiting, waiting_for_command(app_name, command))
            .with_context(|| format!("Cannot write {}", waiting.display()))?;
        tell(&format!("STATUS=Pod {uuid}: waiting for app {app_name} to be ready"));
        let interval = app.settings.ready_interval.unwrap_or(INTERVAL);
        while !probe::run(context, &uuid, app_name, command, Duration::from_secs(30))? {
            let pods = context.pods()?;
            let state = pods.find(&uuid)?.state;
            ensure!(state == pod::State::Running, "pod {uuid} ended before app {app_name} was ready");
            std::thread::sleep(interval);
        }
    }
    remove_if_there(&waiting).with_context(|| format!("Cannot remove {}", waiting.display()))?;
    tell(&format!("STATUS=Pod {uuid}: ready after {:.1} s", begin.elapsed().as_secs_f64()));
    Ok(ExitCode::SUCCESS)
}
