//! `rkt image verify`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use image::Verification;

use crate::commands::Context;
use crate::{images, report};

/// Arguments of `rkt image verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    images: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &VerifyArgs) -> Result<ExitCode> {
    ensure!(!args.images.is_empty(), "must provide at least one image ID or name");
    context.require_root()?;
    let mut failed = 0_usize;
    for name in &args.images {
        if let Err(error) = verify(context, name) {
            failed += 1;
            report::error("verify", &error, context.debug);
        }
    }
    ensure!(failed == 0, "{failed} image(s) cannot be verified");
    Ok(ExitCode::SUCCESS)
}

fn verify(context: &Context, name: &str) -> Result<()> {
    let image = images::stored(context, name).with_context(|| format!("cannot find image {name:?}"))?;
    let key = image.key();
    match images::verify(context, &image).with_context(|| format!("cannot verify image {name:?}"))? {
        Verification::Whole => {
            report::print(format_args!("successfully verified checksum for image: {name:?} ({key:?})"))
        }
        Verification::NotUnpacked => {
            report::print(format_args!("image {name:?} not rendered; no verification needed"))
        }
        Verification::Repaired(path) => {
            report::notice(
                "verify",
                format_args!(
                    "tree cache verification failed for image {name:?}: {} was changed; rebuilding it",
                    path.display()
                ),
            );
            report::print(format_args!("successfully verified checksum for image: {name:?} ({key:?})"))
        }
        Verification::InUse(path) => anyhow::bail!(
            "tree cache verification failed for image {name:?}: {} was changed, and a pod uses it; remove the pod and verify again",
            path.display()
        ),
    }
}
