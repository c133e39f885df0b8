//! `rkt prepare`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;

/// Arguments of `rkt prepare`.
#[derive(Debug, clap::Args)]
pub(crate) struct PrepareArgs {}

pub(crate) fn run(_context: &Context, _args: &PrepareArgs) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
