//! `rkt run`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;

/// Arguments of `rkt run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {}

pub(crate) fn run(_context: &Context, _args: &RunArgs) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
