//! `rkt export`: what an app of an ended pod left, as an image.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use pod::PodDir;
use rustix::fs::{Mode, OFlags};
use sys::mount;

use super::Context;
use super::enter::choose_app;
use super::image::export::write;

/// Arguments of `rkt export`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// name of the app to export
    #[arg(long)]
    app: Option<String>,

    /// overwrite output ACI
    #[arg(long)]
    overwrite: bool,

    words: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &ExportArgs) -> Result<ExitCode> {
    let [uuid, out] = args.words.as_slice() else { bail!("must provide a pod UUID and the output file") };
    let out = std::path::absolute(out).context("the output file")?;
    let is_aci = out.extension().is_some_and(|extension| extension == "aci");
    ensure!(is_aci, "the output file must end in .aci: {}", out.display());
    ensure!(args.overwrite || !out.exists(), "output ACI file {} exists (try --overwrite)", out.display());
    context.require_root()?;
    let pods = context.pods()?;
    let pod = pods.find(uuid)?;
    ensure!(
        pod.state.has_exited(),
        "pod \"{}\" is {}: only pods that have exited can be exported",
        pod.uuid,
        pod.state
    );
    let manifest = pod.dir.manifest()?;
    let app = choose_app(&manifest, args.app.as_deref())?;
    let mut image = pod.dir.image_manifest(app)?.context("the pod has no manifest of the app's image")?;
    // What they gave is among the files.
    image.dependencies = Vec::new();
    image.path_whitelist = Vec::new();
    let image = serde_json::to_vec(&image)?;
    let path = pods.path(pod.place, pod.uuid);
    write(&out, args.overwrite, |file| {
        // The root stands somewhere meanwhile, and nobody else sees it.
        sys::namespace::private_mounts().context("Cannot make a mount namespace")?;
        let (root, _mapped) = root(context, &path, app)?;
        image::write_compressed(&image, root.as_fd(), file)
            .with_context(|| format!("cannot export app {app:?}"))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The root of the app as the app had it, without volumes, and with the owners that the app saw; and what must stay open meanwhile.
fn root(context: &Context, path: &Path, app: &str) -> Result<(OwnedFd, Option<OwnedFd>)> {
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = PodDir::from(
        rustix::fs::open(path, directory, Mode::empty()).context("Cannot open the pod directory")?,
    );
    if !dir.is_overlay()? {
        let copy = dir.open_directory(&format!("stage1/rootfs/opt/stage2/{app}/rootfs"))?;
        let Some(mapped) = mapped(&dir, &copy)? else { return Ok((copy, None)) };
        let root = rustix::fs::openat(&mapped, ".", directory, Mode::empty());
        return Ok((root.context("Cannot open the root of the app")?, Some(mapped)));
    }
    let id = dir.tree_id(app)?.context("the pod does not say what the root of the app is made of")?;
    let tree = context.store()?.tree(&id).with_context(|| format!("Cannot find the root of app {app:?}"))?;
    let written = dir.open_overlay(&id, Some(app))?.upper;
    let mut layers = vec![mapped(&dir, &written)?.unwrap_or(written)];
    for layer in &tree.layers {
        let opened = sys::path::open_directory(layer);
        layers.push(opened.with_context(|| format!("Cannot open the layer {}", layer.display()))?);
    }
    let lowers: Vec<BorrowedFd<'_>> = layers.iter().map(AsFd::as_fd).collect();
    let target = dir.open_directory("stage1/rootfs")?;
    mount::overlay(target.as_fd(), &lowers, None)
        .with_context(|| format!("Cannot mount the root of app {app:?}"))?;
    // Opened again: the handle from before is what the overlay now covers.
    Ok((dir.open_directory("stage1/rootfs")?, None))
}

/// What stands in the pod directory has the host's numbers of its owners: a view of it with those of the pod, if they differ.
fn mapped(dir: &PodDir, place: &OwnedFd) -> Result<Option<OwnedFd>> {
    let Some((first, count)) = dir.private_users()? else { return Ok(None) };
    let mapped = sys::namespace::users(first, 0, count).and_then(|users| {
        let tree = mount::clone_tree(place.as_fd(), false)?;
        mount::map_owners(tree.as_fd(), users.as_fd(), false).map(|()| tree)
    });
    mapped.map(Some).context("Cannot map the owners of what the app wrote")
}
