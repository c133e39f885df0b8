//! `rkt stop`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use pod::{Pods, State};

use super::Context;
use crate::entrypoint::{Entrypoint, Operation};
use crate::pod_args::{PodArgs, one_if_unreadable};
use crate::report;

/// Arguments of `rkt stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct StopArgs {
    /// forced stopping
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    pods: PodArgs,
}

pub(crate) fn run(context: &Context, args: &StopArgs) -> Result<ExitCode> {
    let uuids = match args.pods.uuids() {
        Ok(uuids) => uuids,
        Err(error) => return one_if_unreadable("stop", error, context.debug),
    };
    let pods = context.pods()?;
    let mut failed = 0;
    for uuid in uuids {
        if let Err(error) = stop(context, pods, &uuid, args.force) {
            if report::is_reader_gone(&error) {
                return Err(error);
            }
            report::error("stop", &error, context.debug);
            failed += 1;
        }
    }
    if failed > 0 {
        bail!("failed to stop {failed} pod(s)");
    }
    Ok(ExitCode::SUCCESS)
}

fn stop(context: &Context, pods: &Pods, prefix: &str, force: bool) -> Result<()> {
    let pod = pods.find(prefix)?;
    let uuid = pod.uuid;
    match pod.state {
        State::Running => {}
        state if state.has_exited() => {
            return report::print(format_args!("pod \"{uuid}\" is already stopped"));
        }
        state => bail!("pod \"{uuid}\" is not running: it is {state}"),
    }
    let stop = Entrypoint::find(context, &pod.dir, pods.path(pod.place, uuid), Operation::Stop)?;
    let mut args = Vec::new();
    if force {
        args.push("--force".into());
    }
    args.push(uuid.as_str().into());
    stop.run(&args)?;
    report::print(format_args!("\"{uuid}\""))
}
