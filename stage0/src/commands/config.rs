//! `rkt config`.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use super::Context;
use crate::config::{Config, Document};
use crate::{report, show, stage1};

/// Arguments of `rkt config`.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// apply indent to format the output
    #[arg(long, action = clap::ArgAction::SetFalse)]
    pretty_print: bool,
}

/// The configuration, with what holds where nothing is configured.
fn in_force(context: &Context) -> Result<Config> {
    let mut config = context.config()?.clone();
    if config.data.is_none() && config.stage1_images.is_none() {
        config.data = Some(context.data_dir()?.to_owned());
        config.stage1_images = Some(stage1::IMAGES.into());
    }
    if config.stage1_name.is_none() && config.stage1_location.is_none() {
        config.stage1_name = Some((stage1::NAME.to_owned(), stage1::VERSION.to_owned()));
        config.stage1_location = Some(stage1::LOCATION.to_owned());
    }
    Ok(config)
}

#[derive(Serialize)]
struct Output<'a> {
    stage0: Vec<Document<'a>>,
}

pub(crate) fn run(context: &Context, args: &ConfigArgs) -> Result<ExitCode> {
    let config = in_force(context)?;
    report::print(show::json(&Output { stage0: config.documents() }, args.pretty_print)?)?;
    Ok(ExitCode::SUCCESS)
}
