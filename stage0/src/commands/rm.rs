//! `rkt rm`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use pod::{Pods, State};

use super::Context;
use crate::collect::{self, Outcome};
use crate::pod_args::PodArgs;
use crate::report;

/// Arguments of `rkt rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    pods: PodArgs,
}

pub(crate) fn run(context: &Context, args: &RmArgs) -> Result<ExitCode> {
    context.require_root()?;
    let uuids = args.pods.uuids()?;
    let pods = context.pods()?;
    let mut failed = false;
    for uuid in uuids {
        if let Err(error) = remove(context, pods, &uuid) {
            if report::is_reader_gone(&error) {
                return Err(error);
            }
            report::error("rm", &error, context.debug);
            failed = true;
        }
    }
    if failed {
        bail!("failed to remove one or more pods");
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(context: &Context, pods: &Pods, prefix: &str) -> Result<()> {
    let mut pod = pods.find(prefix)?;
    let uuid = pod.uuid;
    match pod.state {
        State::Running => bail!("pod \"{uuid}\" is currently running"),
        State::Embryo | State::Preparing => bail!("pod \"{uuid}\" is currently being prepared"),
        State::ExitedDeleting | State::Deleting => bail!("pod \"{uuid}\" is currently being deleted"),
        State::AbortedPrepare => moving("failed prepare", &uuid),
        State::Prepared => moving("expired prepared pod", &uuid),
        State::Exited | State::ExitedGarbage | State::Garbage => {}
    }
    pods.mark(&mut pod)?;
    match collect::delete(context, pods, pod, "rm")? {
        Outcome::Deleted => report::print(format_args!("\"{uuid}\"")),
        Outcome::InUse => bail!("pod \"{uuid}\" is currently being deleted"),
    }
}

fn moving(what: &str, uuid: &pod::PodUuid) {
    report::notice("rm", format_args!("moving {what} \"{uuid}\" to garbage"));
}
