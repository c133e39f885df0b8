//! `rkt stop`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;

/// Arguments of `rkt stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct StopArgs {}

pub(crate) fn run(_ctx: &Context, _args: &StopArgs) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
