//! `rkt gc`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;

/// Arguments of `rkt gc`.
#[derive(Debug, clap::Args)]
pub(crate) struct GcArgs {}

pub(crate) fn run(_ctx: &Context, _args: &GcArgs) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
