//! `rkt fetch`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;

/// Arguments of `rkt fetch`.
#[derive(Debug, clap::Args)]
pub(crate) struct FetchArgs {}

pub(crate) fn run(_context: &Context, _args: &FetchArgs) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
