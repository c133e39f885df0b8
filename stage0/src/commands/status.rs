//! `rkt status`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;

/// Arguments of `rkt status`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {}

pub(crate) fn run(_ctx: &Context, _args: &StatusArgs) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
