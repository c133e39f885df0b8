//! `rkt run`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};

use super::Context;
use crate::launch;
use crate::options::pod::{PodFlags, PodSource};
use crate::options::runtime::RuntimeArgs;
use crate::prepare::{self, Prepared};

/// Arguments of `rkt run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    runtime: RuntimeArgs,

    /// write out the pod UUID to a file
    #[arg(long, value_name = "FILE")]
    uuid_file_save: Option<PathBuf>,

    #[command(flatten)]
    pod: PodFlags,
}

pub(crate) fn run(context: &Context, args: &RunArgs) -> Result<ExitCode> {
    context.require_root()?;
    let source = args.pod.parse("run")?;
    let request = args.runtime.parse(args.pod.has_ports())?;
    if let PodSource::Images { apps, .. } = &source {
        ensure!(!(request.interactive && apps.len() > 1), "interactive option only supports one image");
    }
    let options = args.pod.options(args.uuid_file_save.as_deref())?;
    let Prepared { pods, mut held, abi, roots, lock } = prepare::prepare(context, "run", source, options)?;
    pods.start(&mut held)?;
    drop(lock);
    match launch::launch(context, pods, &held, &abi, &roots, &request)? {}
}
