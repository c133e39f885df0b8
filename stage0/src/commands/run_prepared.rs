//! `rkt run-prepared`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;

/// Arguments of `rkt run-prepared`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunPreparedArgs {}

pub(crate) fn run(_context: &Context, _args: &RunPreparedArgs) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
