//! `rkt image gc`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cli::values;
use crate::commands::Context;
use crate::{images, report};

/// Arguments of `rkt image gc`.
#[derive(Debug, clap::Args)]
pub(crate) struct GcArgs {
    /// duration to wait since an image was last used before removing it
    #[arg(long, default_value = "24h0m0s", value_parser = values::duration)]
    grace_period: Duration,
}

pub(crate) fn run(context: &Context, args: &GcArgs) -> Result<ExitCode> {
    context.require_root()?;
    let removed = images::collect_garbage(context, args.grace_period).context("cannot remove old images")?;
    for image in &removed {
        report::print(format_args!("successfully removed aci for image: {:?}", image.key()))?;
    }
    if !removed.is_empty() {
        report::notice("gc", format_args!("{} image(s) successfully removed", removed.len()));
    }
    Ok(ExitCode::SUCCESS)
}
