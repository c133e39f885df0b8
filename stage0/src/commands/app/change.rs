//! `rkt app start` and `rkt app stop`.

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};

use crate::context::Context;
use crate::entrypoint::{Entrypoint, Operation};

/// Arguments of `rkt app start`, `rkt app stop` and `rkt app rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct ChangeArgs {
    /// name of the app
    #[arg(long)]
    pub(super) app: Option<String>,

    pub(super) uuid: Vec<String>,
}

impl ChangeArgs {
    /// The pod and the app.
    pub(super) fn names(&self) -> Result<(&str, &str)> {
        let [uuid] = self.uuid.as_slice() else { bail!("must provide exactly one pod UUID") };
        let Some(app) = self.app.as_deref().filter(|app| !app.is_empty()) else {
            bail!("must provide the name of the app: --app=NAME")
        };
        Ok((uuid, app))
    }
}

fn change(context: &Context, args: &ChangeArgs, operation: Operation) -> Result<ExitCode> {
    let (uuid, app) = args.names()?;
    let (pods, pod) = super::changeable(context, uuid)?;
    let _lock = pod.dir.lock_manifest(false)?;
    ensure!(pod.dir.manifest()?.app(app).is_some(), "pod \"{}\" has no app {app:?}", pod.uuid);
    let entrypoint = Entrypoint::find(context, &pod.dir, pods.path(pod.place, pod.uuid), operation)?;
    entrypoint.run(&[format!("--debug={}", context.debug).into(), format!("--app={app}").into()])?;
    Ok(ExitCode::SUCCESS)
}

/// Starts an app.
pub(crate) fn start(context: &Context, args: &ChangeArgs) -> Result<ExitCode> {
    change(context, args, Operation::AppStart)
}

/// Ends an app.
pub(crate) fn stop(context: &Context, args: &ChangeArgs) -> Result<ExitCode> {
    change(context, args, Operation::AppStop)
}
