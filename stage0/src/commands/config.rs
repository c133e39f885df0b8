//! `rkt config`.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use super::Context;
use crate::config::Document;
use crate::{report, show};

/// Arguments of `rkt config`.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// apply indent to format the output
    #[arg(long, action = clap::ArgAction::SetFalse)]
    pretty_print: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    stage0: Vec<Document<'a>>,
}

pub(crate) fn run(context: &Context, args: &ConfigArgs) -> Result<ExitCode> {
    let config = context.config()?;
    report::print(show::json(&Output { stage0: config.documents() }, args.pretty_print)?)?;
    Ok(ExitCode::SUCCESS)
}
