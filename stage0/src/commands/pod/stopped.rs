//! `rkt pod stopped`: what the unit runs behind the end of its pod. Says why it ended, and marks it for gc.

use std::process::ExitCode;

use anyhow::Result;
use podfile::PodName;

use super::Context;
use super::run::{remove_if_there, tell};
use crate::commands::gc;
use crate::pod_file;

/// Arguments of `rkt pod stopped`.
#[derive(Debug, clap::Args)]
pub(crate) struct StoppedArgs {
    name: String,
}

pub(crate) fn run(context: &Context, args: &StoppedArgs) -> Result<ExitCode> {
    context.require_root()?;
    let name: PodName = args.name.parse()?;
    // A start that failed early has left the UUID of the pod before it, or none.
    let uuid = pod_file::running(&name).ok();
    if let Some(status) = uuid.as_deref().and_then(|uuid| status(&name, uuid)) {
        tell(&format!("STATUS={status}"));
    }
    let waiting = pod_file::waiting_file(&name);
    let removed = remove_if_there(&waiting);
    let marked = uuid.map_or(Ok(()), |uuid| gc::mark_one(context, uuid.parse()?));
    removed?;
    marked?;
    Ok(ExitCode::SUCCESS)
}

/// Why the pod has ended; see "Environment Variables Set or Propagated by the Service Manager" in systemd.exec(5).
/// `None` when the status of the unit says it already: what stage0 and the stage1 fail with.
fn status(name: &PodName, uuid: &str) -> Option<String> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let (result, code, status) = (variable("SERVICE_RESULT"), variable("EXIT_CODE"), variable("EXIT_STATUS"));
    let waiting = std::fs::read_to_string(pod_file::waiting_file(name)).ok();
    match (result.as_str(), waiting) {
        ("success", _) => Some(format!("Pod {uuid} has ended")),
        ("timeout", Some(waiting)) => {
            Some(format!("Pod {uuid} was not ready in time, waiting for {waiting}"))
        }
        ("timeout", None) => Some(format!("Pod {uuid} did not end in time")),
        ("exit-code", _) if status == "254" => None,
        (_, Some(waiting)) => Some(format!("Pod {uuid} ended ({code} {status}), waiting for {waiting}")),
        (result, None) => Some(format!("Pod {uuid} ended ({result}: {code} {status})")),
    }
}
