//! `rkt cat-manifest`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;

/// Arguments of `rkt cat-manifest`.
#[derive(Debug, clap::Args)]
pub(crate) struct CatManifestArgs {}

pub(crate) fn run(_ctx: &Context, _args: &CatManifestArgs) -> Result<ExitCode> {
    anyhow::bail!("not built yet")
}
