//! `rkt prepare`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;
use crate::options::pod::PodFlags;
use crate::prepare::{self, Prepared};
use crate::report;

/// Arguments of `rkt prepare`.
#[derive(Debug, clap::Args)]
pub(crate) struct PrepareArgs {
    /// suppress superfluous output on stdout, print only the UUID on success
    #[arg(long)]
    quiet: bool,

    #[command(flatten)]
    pod: PodFlags,
}

pub(crate) fn run(context: &Context, args: &PrepareArgs) -> Result<ExitCode> {
    context.require_root()?;
    let source = args.pod.parse("prepare")?;
    let Prepared { pods, held, .. } = prepare::prepare(context, "prepare", source, args.pod.options(None)?)?;
    let pod = pods.finish_preparing(held)?;
    report::print(pod.uuid)?;
    Ok(ExitCode::SUCCESS)
}
