//! `rkt image rm`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};

use crate::commands::Context;
use crate::{images, report};

/// Arguments of `rkt image rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    images: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &RmArgs) -> Result<ExitCode> {
    ensure!(!args.images.is_empty(), "must provide at least one image ID or name");
    let (mut removed, mut failed) = (0_usize, 0_usize);
    for name in &args.images {
        match remove(context, name) {
            Ok(key) => {
                removed += 1;
                report::print(format_args!("successfully removed aci for image: {key:?}"))?;
            }
            Err(error) => {
                failed += 1;
                report::error("rm", &error, context.debug);
            }
        }
    }
    if removed > 0 {
        report::notice("rm", format_args!("{removed} image(s) successfully removed"));
    }
    ensure!(failed == 0, "{failed} image(s) cannot be removed");
    Ok(ExitCode::SUCCESS)
}

/// Removes the image and returns its key.
fn remove(context: &Context, name: &str) -> Result<String> {
    let image = images::stored(context, name).with_context(|| format!("cannot find image {name:?}"))?;
    let key = image.key().to_owned();
    images::remove(context, &image).with_context(|| format!("cannot remove image {key:?}"))?;
    Ok(key)
}
