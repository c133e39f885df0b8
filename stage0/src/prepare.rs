//! Makes a pod directory that a stage1 can run.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result};
use appc::PodManifest;
use image::Tree;
use pod::{Held, PodDir, Pods};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};

use crate::apps::manifest::{self, ImageFacts};
use crate::context::Context;
use crate::images::{self, StoredImage};
use crate::launch::roots::{self, AppRoot, Roots};
use crate::launch::{Abi, overlay};
use crate::options::pod::PodSource;
use crate::options::stage1::Stage1Choice;
use crate::private_users;
use crate::report;
use crate::stage1;

/// A pod that stands in `prepare`, whole and locked.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    pub(crate) pods: &'a Pods,
    pub(crate) held: Held,
    pub(crate) abi: Abi,
    pub(crate) roots: Roots,
    /// Keeps `image gc` from removing what the pod uses before it can be seen.
    pub(crate) lock: OwnedFd,
}

/// What the pod directory is filled with.
struct Content {
    stage1: StoredImage,
    /// The pod manifest as it is stored.
    json: Vec<u8>,
    /// Names of the apps, in order, and their images.
    apps: Vec<(String, StoredImage)>,
}

/// How a pod is prepared.
#[derive(Debug)]
pub(crate) struct Options<'a> {
    /// The stage1; `None` leaves it to the configuration.
    pub(crate) stage1: Option<Stage1Choice>,
    /// Roots are overlays where that can be.
    pub(crate) overlay: bool,
    /// The pod's users are none of the host's.
    pub(crate) private_users: bool,
    /// Gets the name of the pod as soon as it has one.
    pub(crate) uuid_file: Option<&'a Path>,
}

/// Makes a pod of `source`.
pub(crate) fn prepare<'a>(
    context: &'a Context,
    command: &str,
    source: PodSource,
    options: Options<'_>,
) -> Result<Prepared<'a>> {
    let pods = context.pods()?;
    let lock = crate::store_lock::share(context.data_dir()?)?;
    let stage1 = stage1::select(context, options.stage1)?;
    let abi = Abi::of(stage1.manifest())?;
    let content = content(context, stage1, source)?;
    let with_overlay = options.overlay
        && match overlay::check(context.data_dir()?) {
            Ok(()) => true,
            Err(reason) => {
                report::notice(command, format_args!("disabling overlay support: {reason:?}"));
                false
            }
        };
    let mut held = pods.create()?;
    let filled = save_uuid(options.uuid_file, &held).and_then(|()| {
        if options.private_users {
            private_users::assign(pods, &held)?;
        }
        if with_overlay {
            fill_overlays(context, &held.dir, content)
        } else {
            fill_copies(context, &held.dir, &content)
        }
    });
    match filled {
        Ok(roots) => Ok(Prepared { pods, held, abi, roots, lock }),
        Err(error) => {
            // What fails here is left to `gc`, which knows an aborted prepare.
            if pods.discard(&mut held).is_ok() {
                let _ = pods.remove(held);
            }
            Err(error)
        }
    }
}

fn save_uuid(file: Option<&Path>, held: &Held) -> Result<()> {
    let Some(path) = file else { return Ok(()) };
    std::fs::write(path, held.uuid.as_str())
        .with_context(|| format!("Cannot write the UUID to {}", path.display()))
}

/// Finds the images and makes, or reads, the manifest.
fn content(context: &Context, stage1: StoredImage, source: PodSource) -> Result<Content> {
    match source {
        PodSource::Images { pod, apps, pull } => {
            let images = apps
                .iter()
                .map(|app| images::find(context, app, pull))
                .collect::<Result<Vec<StoredImage>>>()?;
            let facts = apps.into_iter().zip(images.iter().map(ImageFacts::from)).collect::<Vec<_>>();
            let manifest = manifest::generate(pod, &facts)?;
            let json = serde_json::to_vec(&manifest)?;
            Ok(Content { stage1, json, apps: named(&manifest, images) })
        }
        PodSource::Made(manifest) => {
            Ok(Content { stage1, json: serde_json::to_vec(&manifest)?, apps: Vec::new() })
        }
        PodSource::Manifest(path) => {
            let cannot = || format!("Cannot use the pod manifest {}", path.display());
            let json = std::fs::read(&path).with_context(cannot)?;
            let manifest = PodManifest::parse(&json).with_context(cannot)?;
            let images = manifest
                .apps
                .iter()
                .map(|app| images::by_id(context, &app.image.id))
                .collect::<Result<Vec<StoredImage>>>()
                .with_context(cannot)?;
            let mut facts = images.iter().map(ImageFacts::from);
            manifest::check_given(&manifest, |_| facts.next().context("an app without an image"))
                .with_context(cannot)?;
            Ok(Content { stage1, json, apps: named(&manifest, images) })
        }
    }
}

fn named(manifest: &PodManifest, images: Vec<StoredImage>) -> Vec<(String, StoredImage)> {
    manifest.apps.iter().map(|app| app.name.as_str().to_owned()).zip(images).collect()
}

/// Makes the tree of an image, or finds it.
pub(crate) fn render(context: &Context, image: &StoredImage) -> Result<Tree> {
    let failed = || format!("cannot render the image {:?}", image.manifest().name.as_str());
    context.store()?.render(image.image()).with_context(failed)
}

/// Writes everything that the directory has in any case; the app's manifests are given back.
fn write_manifests(dir: &PodDir, content: &Content) -> Result<()> {
    dir.write_stage1_manifest(&content.stage1.manifest_json())?;
    for (name, image) in &content.apps {
        dir.write_image_manifest(name, &image.manifest_json())?;
    }
    dir.write_manifest(&content.json)?;
    Ok(())
}

fn fill_overlays(context: &Context, dir: &PodDir, content: Content) -> Result<Roots> {
    write_manifests(dir, &content)?;
    let stage1 = render(context, &content.stage1)?;
    dir.write_stage1_tree_id(&stage1.id)?;
    create_overlay(dir, &stage1, None)?;
    dir.create_directory("stage1/rootfs")?;
    let mut apps = Vec::with_capacity(content.apps.len());
    for (name, image) in content.apps {
        let tree = render(context, &image)?;
        dir.write_tree_id(&name, &tree.id)?;
        create_overlay(dir, &tree, Some(&name))?;
        apps.push(AppRoot { name, manifest: image.manifest_json(), tree });
    }
    dir.mark_overlay()?;
    Ok(Roots::Overlays { stage1, apps })
}

pub(crate) fn create_overlay(dir: &PodDir, tree: &Tree, app: Option<&str>) -> Result<()> {
    let top = tree.layers.first().context("an image without layers")?;
    let top =
        sys::path::open_directory(top).with_context(|| format!("Cannot open the layer {}", top.display()))?;
    let first = dir.private_users()?.map_or(0, |(first, _)| first);
    dir.create_overlay(&tree.id, app, top.as_fd(), first)?;
    Ok(())
}

fn fill_copies(context: &Context, dir: &PodDir, content: &Content) -> Result<Roots> {
    write_manifests(dir, content)?;
    let root = dir.create_directory("stage1/rootfs")?;
    let stage1 = render(context, &content.stage1)?;
    dir.write_stage1_tree_id(&stage1.id)?;
    image::copy_tree(&stage1, for_users(dir, &root)?.as_fd())
        .context("Cannot copy the root of the stage1")?;
    for (name, image) in &content.apps {
        copy_app(dir, name, &image.manifest_json(), &render(context, image)?)?;
    }
    Ok(Roots::Copies)
}

/// Copies the root of app `name` to its place in the root of the stage1.
pub(crate) fn copy_app(dir: &PodDir, name: &str, manifest: &[u8], tree: &Tree) -> Result<()> {
    let root = dir.open_directory("stage1/rootfs")?;
    let target = roots::create_place(&root, name, manifest)?;
    image::copy_tree(tree, for_users(dir, &target)?.as_fd())
        .with_context(|| format!("Cannot copy the root of app {name:?}"))
}

/// The directory `target` to be written to: owners that are written through it are meant as the pod's.
fn for_users(dir: &PodDir, target: &OwnedFd) -> Result<OwnedFd> {
    let open = |at: &OwnedFd| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(at, ".", flags, Mode::empty()).context("Cannot open the root to be written")
    };
    let Some((first, count)) = dir.private_users()? else { return open(target) };
    let mapped = sys::namespace::users(first, 0, count).and_then(|users| {
        // Who is not one of the pod's users owns nothing in this view.
        rustix::fs::chownat(
            target,
            "",
            Some(Uid::from_raw(first)),
            Some(Gid::from_raw(first)),
            AtFlags::EMPTY_PATH,
        )?;
        let tree = sys::mount::clone_tree(target.as_fd(), false)?;
        sys::mount::map_owners(tree.as_fd(), users.as_fd(), false).map(|()| tree)
    });
    open(&mapped.context(
        "Cannot map the owners of the root: the file system of the data directory does not support it",
    )?)
}
