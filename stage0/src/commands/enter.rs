//! `rkt enter`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;

/// Arguments of `rkt enter`.
#[derive(Debug, clap::Args)]
pub(crate) struct EnterArgs {}

pub(crate) fn run(_ctx: &Context, _args: &EnterArgs) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
