//! `rkt cat-manifest`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;
use crate::pod_args::PodArgs;
use crate::{report, show};

/// Arguments of `rkt cat-manifest`.
#[derive(Debug, clap::Args)]
pub(crate) struct CatManifestArgs {
    /// apply indent to format the output
    #[arg(long, action = clap::ArgAction::SetFalse)]
    pretty_print: bool,

    #[command(flatten)]
    pods: PodArgs,
}

pub(crate) fn run(context: &Context, args: &CatManifestArgs) -> Result<ExitCode> {
    let uuids = args.pods.uuids()?;
    let pods = context.pods()?;
    let mut code = ExitCode::SUCCESS;
    for uuid in uuids {
        let text = pods
            .find(&uuid)
            .and_then(|pod| pod.dir.manifest())
            .map_err(anyhow::Error::from)
            .and_then(|manifest| show::json(&manifest, args.pretty_print));
        match text {
            Ok(text) => report::print(text)?,
            Err(error) => {
                report::error("cat-manifest", &error, context.debug);
                code = ExitCode::from(254);
            }
        }
    }
    Ok(code)
}
