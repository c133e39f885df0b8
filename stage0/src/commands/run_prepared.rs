//! `rkt run-prepared`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use appc::{ImageManifest, PodManifest};
use image::Tree;
use pod::{Error, PodDir, State};

use super::Context;
use crate::launch::overlay;
use crate::launch::roots::{AppRoot, Roots};
use crate::launch::{self, Abi};
use crate::options::runtime::RuntimeArgs;

/// Arguments of `rkt run-prepared`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunPreparedArgs {
    #[command(flatten)]
    runtime: RuntimeArgs,

    uuid: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &RunPreparedArgs) -> Result<ExitCode> {
    let [uuid] = args.uuid.as_slice() else { bail!("must provide exactly one pod UUID") };
    context.require_root()?;
    let pods = context.pods()?;
    let pod = pods.find(uuid).context("problem retrieving pod")?;
    let uuid = pod.uuid;
    ensure!(pod.state == State::Prepared, "pod {:?} is not prepared", uuid.as_str());
    let mut held = pods.hold(pod).map_err(|error| match error {
        // Another one was faster.
        Error::Busy(_) | Error::Gone(_) => anyhow::anyhow!("pod {:?} is not prepared", uuid.as_str()),
        error => error.into(),
    })?;

    let manifest = held.dir.manifest_json()?.context("the pod has no manifest")?;
    let manifest = PodManifest::parse(&manifest).context("Cannot read the pod manifest")?;
    let request = args.runtime.parse(!manifest.ports.is_empty())?;
    ensure!(
        !(request.interactive && manifest.apps.len() > 1),
        "interactive option only supports pods with one app"
    );
    let stage1 = held.dir.stage1_manifest_json()?.context("the pod has no stage1")?;
    let abi = Abi::of(&ImageManifest::parse(&stage1).context("Cannot read the manifest of the stage1")?)?;
    let roots = roots(context, &held.dir, &manifest)?;
    pods.start(&mut held)?;
    match launch::launch(context, pods, &held, &abi, &roots, &request)? {}
}

/// The roots that the pod was prepared with.
fn roots(context: &Context, dir: &PodDir, manifest: &PodManifest) -> Result<Roots> {
    if !dir.is_overlay()? {
        return Ok(Roots::Copies);
    }
    if let Err(reason) = overlay::check(context.data_dir()?) {
        bail!("the pod was prepared with overlay, which is not supported now: {reason}");
    }
    let tree = |id: Option<String>, what: &str| -> Result<Tree> {
        let id = id.with_context(|| format!("the pod does not say what the root of {what} is made of"))?;
        context.store()?.tree(&id).with_context(|| format!("Cannot find the root of {what}"))
    };
    let app = |app: &appc::RuntimeApp| -> Result<AppRoot> {
        let name = app.name.as_str();
        let manifest = dir.image_manifest_json(name)?;
        Ok(AppRoot {
            name: name.to_owned(),
            manifest: manifest.with_context(|| format!("the pod has no image manifest of app {name:?}"))?,
            tree: tree(dir.tree_id(name)?, &format!("app {name:?}"))?,
        })
    };
    Ok(Roots::Overlays {
        stage1: tree(dir.stage1_tree_id()?, "the stage1")?,
        apps: manifest.apps.iter().map(app).collect::<Result<_>>()?,
    })
}
