//! `rkt pod health`: one round of `HealthCommand=`, started by a timer.
//!
//! `/run/rkt/units/NAME.health` has how often each app failed in a row: `APP COUNT`, a line each, of the pod in
//! the first line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use podfile::pod::Unhealthy;
use podfile::{AppSettings, PodName};

use super::run::load;
use super::{Context, probe};
use crate::{pod_file, report};

/// Arguments of `rkt pod health`.
#[derive(Debug, clap::Args)]
pub(crate) struct HealthArgs {
    name: String,
}

const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;

pub(crate) fn run(context: &Context, args: &HealthArgs) -> Result<ExitCode> {
    context.require_root()?;
    let name: PodName = args.name.parse()?;
    let file = load(context, &name)?;
    let uuid = pod_file::running(&name)?;
    let mut counts = Counts::read(&name, &uuid);
    let age = std::fs::metadata(pod_file::uuid_file(&name))
        .and_then(|meta| meta.modified())
        .ok()
        .and_then(|start| SystemTime::now().duration_since(start).ok())
        .unwrap_or_default();
    let mut worst = None;
    for app in &file.apps {
        let AppSettings { health_command, health_timeout, health_retries, health_start_period, .. } =
            &app.settings;
        if health_command.is_empty() {
            continue;
        }
        let app_name = app.name.as_str();
        let time = health_timeout.unwrap_or(TIMEOUT);
        if probe::run(context, &uuid, app_name, health_command, time)? {
            counts.failures.insert(app_name.to_owned(), 0);
            continue;
        }
        if health_start_period.is_some_and(|period| age < period) {
            report::notice("health", format_args!("app {app_name} is not healthy yet"));
            continue;
        }
        let count = counts.failures.entry(app_name.to_owned()).or_default();
        *count += 1;
        let most = health_retries.unwrap_or(RETRIES);
        report::notice("health", format_args!("app {app_name} is not healthy ({count} of {most} times)"));
        if *count >= most {
            worst.get_or_insert((app_name, app.settings.on_unhealthy.unwrap_or(Unhealthy::None)));
        }
    }
    counts.write()?;
    let Some((app, action)) = worst else { return Ok(ExitCode::SUCCESS) };
    let unit = file.unit();
    match action {
        Unhealthy::None => {}
        Unhealthy::Kill => systemd::control::kill_main(&unit, 9)?,
        Unhealthy::Restart => systemd::control::restart(&unit)?,
        Unhealthy::Stop => systemd::control::stop(&unit)?,
    }
    anyhow::bail!("app {app} of pod {name} is not healthy")
}

/// How often each app of one pod failed in a row.
struct Counts {
    path: PathBuf,
    uuid: String,
    failures: BTreeMap<String, u32>,
}

impl Counts {
    /// What the last round left; nothing of another pod counts.
    fn read(name: &PodName, uuid: &str) -> Self {
        let path = pod_file::uuid_file(name).with_extension("health");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut lines = text.lines();
        let failures = if lines.next() == Some(uuid) {
            lines
                .filter_map(|line| line.split_once(' '))
                .filter_map(|(app, count)| Some((app.to_owned(), count.parse().ok()?)))
                .collect()
        } else {
            BTreeMap::new()
        };
        Counts { path, uuid: uuid.to_owned(), failures }
    }

    fn write(&self) -> Result<()> {
        let lines: String = self.failures.iter().map(|(app, count)| format!("{app} {count}\n")).collect();
        std::fs::write(&self.path, format!("{}\n{lines}", self.uuid))
            .with_context(|| format!("Cannot write {}", self.path.display()))
    }
}
