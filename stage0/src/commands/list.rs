//! `rkt list`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;

/// Arguments of `rkt list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {}

pub(crate) fn run(_ctx: &Context, _args: &ListArgs) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
