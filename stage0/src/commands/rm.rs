//! `rkt rm`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;

/// Arguments of `rkt rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {}

pub(crate) fn run(_ctx: &Context, _args: &RmArgs) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
