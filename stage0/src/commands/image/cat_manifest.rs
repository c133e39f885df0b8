//! `rkt image cat-manifest`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::commands::Context;
use crate::{images, report, show};

/// Arguments of `rkt image cat-manifest`.
#[derive(Debug, clap::Args)]
pub(crate) struct CatManifestArgs {
    /// apply indent to format the output
    #[arg(long, action = clap::ArgAction::SetFalse)]
    pretty_print: bool,

    images: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &CatManifestArgs) -> Result<ExitCode> {
    let [name] = args.images.as_slice() else { bail!("must provide exactly one image") };
    let image = images::stored(context, name).with_context(|| format!("cannot find image {name:?}"))?;
    report::print(show::json(image.manifest(), args.pretty_print)?)?;
    Ok(ExitCode::SUCCESS)
}
