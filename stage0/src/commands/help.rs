//! `rkt help`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;
use crate::{cli, report};

/// Arguments of `rkt help`.
#[derive(Debug, clap::Args)]
pub(crate) struct HelpArgs {
    command: Vec<String>,
}

pub(crate) fn run(_context: &Context, args: &HelpArgs) -> Result<ExitCode> {
    report::print_raw(cli::help_for(&args.command)?)?;
    Ok(ExitCode::SUCCESS)
}
