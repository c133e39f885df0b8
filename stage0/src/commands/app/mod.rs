//! `rkt app`: pods whose apps come and go while they run.

pub(crate) mod add;
pub(crate) mod change;
pub(crate) mod rm;
pub(crate) mod sandbox;
pub(crate) mod show;

use anyhow::{Result, ensure};
use pod::{Pod, PodDir, Pods, State};

use super::Context;
use crate::cli::values;
use crate::pod_view::MUTABLE;

/// Refuses to go on unless the user has asked for it: output and behaviour may still change.
pub(crate) fn experiment() -> Result<()> {
    const VARIABLE: &str = "RKT_EXPERIMENT_APP";
    let asked = std::env::var(VARIABLE).is_ok_and(|value| values::boolean(&value).unwrap_or_default());
    ensure!(asked, "this is an experiment: set {VARIABLE}=true to take part in it");
    Ok(())
}

/// The pod that `prefix` names, whose apps can be changed now.
fn changeable<'a>(context: &'a Context, prefix: &str) -> Result<(&'a Pods, Pod)> {
    experiment()?;
    context.require_root()?;
    let pods = context.pods()?;
    let pod = pods.find(prefix)?;
    let uuid = pod.uuid;
    ensure!(pod.state == State::Running, "pod \"{uuid}\" is not running: it is {}", pod.state);
    let mutable = pod.dir.manifest()?.annotations.get(MUTABLE) == Some("true");
    ensure!(mutable, "pod \"{uuid}\" is not mutable: rkt app sandbox starts one that is");
    ensure!(pod.dir.is_ready()?, "supervisor for pod \"{uuid}\" is not yet ready");
    Ok((pods, pod))
}

/// Removes what stage0 has made for an app of the pod.
fn remove_directories(dir: &PodDir, app: &str) -> Result<()> {
    use anyhow::Context as _;
    use std::os::fd::AsFd;
    let mut places = vec![("appsinfo".to_owned(), "its manifest")];
    match dir.tree_id(app)? {
        Some(tree) => {
            places.insert(0, (format!("overlay/{tree}/upper"), "what it wrote"));
            places.insert(1, (format!("overlay/{tree}/work"), "what it wrote"));
        }
        None => places.insert(0, ("stage1/rootfs/opt/stage2".to_owned(), "its root")),
    }
    for (place, what) in places {
        match dir.open_directory(&place) {
            Ok(parent) => image::remove_tree(parent.as_fd(), app)
                .with_context(|| format!("Cannot remove {what} of app {app:?}"))?,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
