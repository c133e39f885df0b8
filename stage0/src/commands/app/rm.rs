//! `rkt app rm`.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use super::change::ChangeArgs;
use crate::context::Context;
use crate::entrypoint::{Entrypoint, Operation};

pub(crate) fn run(context: &Context, args: &ChangeArgs) -> Result<ExitCode> {
    let (uuid, app) = args.names()?;
    let (pods, pod) = super::changeable(context, uuid)?;
    let _lock = pod.dir.lock_manifest(true)?;
    let mut manifest = pod.dir.manifest()?;
    ensure!(manifest.app(app).is_some(), "pod \"{}\" has no app {app:?}", pod.uuid);
    let entrypoint =
        Entrypoint::find(context, &pod.dir, pods.path(pod.place, pod.uuid), Operation::AppRemove)?;
    entrypoint.run(&[format!("--debug={}", context.debug).into(), format!("--app={app}").into()])?;
    manifest.apps.retain(|known| known.name != *app);
    pod.dir.write_manifest(&serde_json::to_vec(&manifest)?)?;
    super::remove_directories(&pod.dir, app)?;
    Ok(ExitCode::SUCCESS)
}
