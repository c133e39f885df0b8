//! `rkt app list` and `rkt app status`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use super::Context;
use crate::commands::list::Format;
use crate::pod_view::PodView;
use crate::{report, show};

/// Arguments of `rkt app list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// suppress a legend with the list
    #[arg(long)]
    no_legend: bool,

    uuid: Vec<String>,
}

/// Arguments of `rkt app status`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// name of the app
    #[arg(long)]
    app: Option<String>,

    /// choose the output format, allowed format includes 'json', 'json-pretty'. If empty, then the result is
    /// printed as key value pairs
    #[arg(long, default_value = "")]
    format: Format,

    uuid: Vec<String>,
}

fn view(context: &Context, uuid: &[String]) -> Result<PodView> {
    super::experiment()?;
    let [uuid] = uuid else { bail!("must provide exactly one pod UUID") };
    let pods = context.pods()?;
    let pod = pods.find(uuid)?;
    let _lock = if pod.dir.exists("pod.lck")? { pod.dir.lock_manifest(false).ok() } else { None };
    PodView::read(pods, &pod)
}

/// Lists the apps of a pod.
pub(crate) fn list(context: &Context, args: &ListArgs) -> Result<ExitCode> {
    let view = view(context, &args.uuid)?;
    let mut text = String::new();
    if !args.no_legend {
        text.push_str("NAME\tSTATE\n");
    }
    for app in view.apps() {
        let _ = writeln!(text, "{}\t{}", app.name(), app.state());
    }
    report::print_raw(show::align(&text))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows one app of a pod.
pub(crate) fn status(context: &Context, args: &StatusArgs) -> Result<ExitCode> {
    let view = view(context, &args.uuid)?;
    let name = args.app.as_deref().context("must provide the name of the app: --app=NAME")?;
    let app = view.apps().iter().find(|app| app.name() == name);
    let app = app.with_context(|| format!("the pod has no app {name:?}"))?;
    match args.format {
        Format::Text => report::print_raw(app.lines())?,
        format => report::print(show::json(app, format == Format::JsonPretty)?)?,
    }
    Ok(ExitCode::SUCCESS)
}
