//! `rkt app add`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use appc::{Mount, PodManifest, Volume};
use image::Tree;
use pod::{Pod, PodDir};
use rustix::fs::{Mode, OFlags};

use super::Context;
use crate::apps::AppRequest;
use crate::apps::grammar::AppWords;
use crate::apps::manifest::{self, PodRequest};
use crate::entrypoint::{Entrypoint, Operation};
use crate::images::{self, StoredImage};
use crate::launch::roots;
use crate::options::pull::PullPolicy;

/// Arguments of `rkt app add`.
#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// volume of the app alone, and where it is mounted
    #[arg(long, value_name = "NAME,kind=KIND,...,target=PATH")]
    mnt_volume: Vec<String>,

    #[command(flatten)]
    words: AppWords,
}

pub(crate) fn run(context: &Context, args: &AddArgs) -> Result<ExitCode> {
    super::experiment()?;
    let words: [AppRequest; 2] = match args.words.parse("add")?.try_into() {
        Ok(words) => words,
        Err(words) => bail!("must provide a pod UUID and one image, not {} of both", words.len()),
    };
    let [uuid, mut request] = words;
    for text in &args.mnt_volume {
        request
            .mounts
            .push(mount(text).with_context(|| format!("invalid argument {text:?} for --mnt-volume"))?);
    }
    let (pods, pod) = super::changeable(context, &uuid.image)?;
    let _store = crate::store_lock::share(context.data_dir()?)?;
    let _lock = pod.dir.lock_manifest(true)?;
    let before = pod.dir.manifest()?;
    let image = images::find(context, &request, PullPolicy::Never)?;
    let app = manifest::runtime_app(&PodRequest::default(), &request, (&image).into())
        .with_context(|| format!("error setting up image {:?}", request.image))?;
    let name = app.name.as_str().to_owned();
    ensure!(
        before.app(&name).is_none(),
        "pod \"{}\" has an app {name:?} already: give this one its own --name",
        pod.uuid
    );
    manifest::check_mounts(&app.mounts, &before.volumes)?;
    let mut after = before.clone();
    after.apps.push(app);
    let path = pods.path(pod.place, pod.uuid);
    match add(context, &pod, &path, &name, &image, &after) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(match undo(&pod, &before, &name) {
            Ok(()) => error,
            Err(more) => error.context(format!("and what was made for the app is still there: {more:#}")),
        }),
    }
}

/// `NAME,kind=…,target=PATH`: a volume, and where it goes.
fn mount(text: &str) -> Result<Mount> {
    let (mut target, mut rest) = (None, Vec::new());
    for part in text.split(',') {
        match part.strip_prefix("target=") {
            Some(path) => target = Some(path.to_owned()),
            None => rest.push(part),
        }
    }
    let path =
        target.filter(|path| path.starts_with('/')).context("target=PATH is missing, or not absolute")?;
    let volume: Volume = rest.join(",").parse().map_err(|error| anyhow!("{error}"))?;
    Ok(Mount { volume: volume.name.clone(), path, app_volume: Some(volume) })
}

fn add(
    context: &Context,
    pod: &Pod,
    path: &Path,
    name: &str,
    image: &StoredImage,
    manifest: &PodManifest,
) -> Result<()> {
    let dir = &pod.dir;
    dir.write_image_manifest(name, &image.manifest_json())?;
    let tree = crate::prepare::render(context, image)?;
    let root = if dir.is_overlay()? {
        dir.write_tree_id(name, &tree.id)?;
        crate::prepare::create_overlay(dir, &tree, Some(name))?;
        Some(overlay(path, name, &tree)?)
    } else {
        crate::prepare::copy_app(dir, name, &image.manifest_json(), &tree)?;
        None
    };
    dir.write_manifest(&serde_json::to_vec(manifest)?)?;
    let mut entrypoint = Entrypoint::find(context, dir, path.to_owned(), Operation::AppAdd)?;
    entrypoint.app_root = root;
    entrypoint.run(&[
        format!("--debug={}", context.debug).into(),
        format!("--uuid={}", pod.uuid).into(),
        format!("--app={name}").into(),
    ])
}

/// The root of the app as a mount that stands nowhere.
fn overlay(path: &Path, name: &str, tree: &Tree) -> Result<OwnedFd> {
    // Nobody else sees it while it stands somewhere; handles from before belong to the old namespace.
    sys::namespace::private_mounts().context("Cannot make a mount namespace")?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir =
        PodDir::from(rustix::fs::open(path, flags, Mode::empty()).context("Cannot open the pod directory")?);
    let target = dir.open_directory("stage1/rootfs")?;
    let users = roots::users(&dir)?;
    let users = users.as_ref().map(AsFd::as_fd);
    roots::mount_tree(tree, &dir.open_overlay(&tree.id, Some(name))?, target.as_fd(), users)
        .with_context(|| format!("Cannot mount the root of app {name:?}"))?;
    let top = dir.open_directory("stage1/rootfs")?;
    let root = sys::mount::clone_tree(top.as_fd(), false).context("Cannot take the root of the app")?;
    sys::mount::unmount(top.as_fd(), true).context("Cannot unmount the root of the app")?;
    Ok(root)
}

fn undo(pod: &Pod, before: &PodManifest, name: &str) -> Result<()> {
    pod.dir.write_manifest(&serde_json::to_vec(before)?)?;
    super::remove_directories(&pod.dir, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_of_one_app() {
        let mount = mount("data,kind=host,source=/srv,readOnly=true,target=/data").unwrap();
        assert_eq!((mount.volume.as_str(), mount.path.as_str()), ("data", "/data"));
        assert_eq!(mount.app_volume.map(|volume| volume.name.as_str().to_owned()), Some("data".to_owned()));
        for wrong in ["data,kind=empty", "data,kind=empty,target=x", "kind=host,target=/x"] {
            assert!(super::mount(wrong).is_err(), "{wrong}");
        }
    }
}
