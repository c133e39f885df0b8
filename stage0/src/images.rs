//! Images that the command line names, found in the store or brought there.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use appc::{ImageId, ImageManifest, ImageReference};
use image::{Image, ImportRequest, LocalImage, Verification};
use pod::Place;

use crate::apps::AppRequest;
use crate::apps::manifest::ImageFacts;
use crate::commands::image::list::Row;
use crate::context::Context;
use crate::options::pull::PullPolicy;
use crate::remote::archive::Archive;
use crate::store_lock;
use crate::{remote, signatures};

/// An image of the store with its manifest.
#[derive(Debug)]
pub(crate) struct StoredImage {
    image: Image,
    /// Its ID as far as the store keeps it.
    id: ImageId,
    manifest: ImageManifest,
}

impl StoredImage {
    fn new(context: &Context, image: Image) -> Result<Self> {
        let id = image.key().parse()?;
        let manifest = context.store()?.manifest(&image)?;
        Ok(Self { image, id, manifest })
    }

    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// Its name in the store: `sha512-` and 64 digits.
    pub(crate) fn key(&self) -> &str {
        self.image.key()
    }

    pub(crate) fn manifest(&self) -> &ImageManifest {
        &self.manifest
    }

    /// The manifest in its canonical form.
    pub(crate) fn manifest_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest).unwrap_or_default()
    }
}

impl<'a> From<&'a StoredImage> for ImageFacts<'a> {
    fn from(image: &'a StoredImage) -> Self {
        Self { id: &image.id, manifest: &image.manifest }
    }
}

/// Finds the image that `request` names; brings it, and what it depends on, into the store where that lacks it.
pub(crate) fn find(context: &Context, request: &AppRequest, pull: PullPolicy) -> Result<StoredImage> {
    if let Some(id) = &request.image_id
        && let Ok(pinned) = by_id(context, id)
    {
        return Ok(pinned);
    }
    let text = &request.image;
    let reference = ImageReference::parse(text, |path| Path::new(path).is_file())?;
    let found = by_reference(context, &reference, request.signature.as_deref(), pull)?;
    if let Some(id) = &request.image_id {
        ensure!(
            found.key().starts_with(id.key()),
            "image {text:?} is {}, but the pod is pinned to {id}",
            found.key()
        );
    }
    remote::dependencies::fetch(context, &found.image, pull)?;
    Ok(found)
}

/// As [`find`], without what the image depends on.
pub(crate) fn by_reference(
    context: &Context,
    reference: &ImageReference,
    signature: Option<&Path>,
    pull: PullPolicy,
) -> Result<StoredImage> {
    match reference {
        ImageReference::File(path) => import(context, path, signature),
        ImageReference::Hash(id) => {
            context.progress("image", format_args!("using image from the store with hash {id}"));
            by_id(context, id).with_context(|| format!("cannot use image {:?}", id.as_str()))
        }
        ImageReference::Url(url) => {
            StoredImage::new(context, Archive::at(url, signature).fetch(context, pull)?)
        }
        ImageReference::Appc { name, labels } => {
            let store = context.store()?;
            let stored = if pull == PullPolicy::Update { None } else { store.find(reference)? };
            if let Some(image) = stored {
                context.progress(
                    "image",
                    format_args!("using image from local store for image name {reference}"),
                );
                store.touch(&image);
                return StoredImage::new(context, image);
            }
            ensure!(
                pull != PullPolicy::Never,
                "image \"{reference}\" is not in the store, and --pull-policy=never"
            );
            StoredImage::new(context, remote::name::fetch(context, name, labels, None, signature)?)
        }
        ImageReference::OciLayout { path, reference } => {
            import_local(context, &LocalImage::OciLayout(path), reference.as_deref())
        }
        ImageReference::OciArchive { path, reference } => {
            import_local(context, &LocalImage::OciArchive(path), reference.as_deref())
        }
        ImageReference::DockerArchive { path, reference } => {
            import_local(context, &LocalImage::DockerArchive(path), reference.as_deref())
        }
        ImageReference::Docker(reference) | ImageReference::OciRegistry(reference) => {
            StoredImage::new(context, remote::registry::fetch(context, reference, pull)?)
        }
    }
}

/// Brings an OCI or Docker image in a directory or archive of this host into the store.
fn import_local(context: &Context, local: &LocalImage<'_>, reference: Option<&str>) -> Result<StoredImage> {
    context.progress("image", format_args!("using image from {local}"));
    let image = context.store()?.import_local(local, reference, &context.limits()?)?;
    StoredImage::new(context, image)
}

/// The image of the store with this ID, or the only one whose ID begins so.
pub(crate) fn by_id(context: &Context, id: &ImageId) -> Result<StoredImage> {
    let store = context.store()?;
    let image = store.find_by_id(id.as_str())?;
    store.touch(&image);
    StoredImage::new(context, image)
}

/// The image of the store that `text` names: the beginning of an ID, or `NAME[:VERSION][,LABEL=VALUE…]`.
pub(crate) fn stored(context: &Context, text: &str) -> Result<StoredImage> {
    if text.starts_with("sha512-") {
        return StoredImage::new(context, context.store()?.find_by_id(text)?);
    }
    stored_if_any(context, text)?.with_context(|| format!("no image called {text:?} is in the store"))
}

/// As [`stored`]; `None` when there is none of this name. One that an ID names must be there.
pub(crate) fn stored_if_any(context: &Context, text: &str) -> Result<Option<StoredImage>> {
    if text.starts_with("sha512-") {
        return stored(context, text).map(Some);
    }
    let found = context.store()?.find(&ImageReference::parse_appc(text)?)?;
    found.map(|image| StoredImage::new(context, image)).transpose()
}

/// Brings the image in the file `path` into the store.
pub(crate) fn import(context: &Context, path: &Path, signature: Option<&Path>) -> Result<StoredImage> {
    let file = open(path)?;
    let mut request = ImportRequest::new(path.display().to_string()).limits(context.limits()?);
    if !context.insecure.skips_image_check() {
        request = request.signed(Some(signatures::of_file(path, signature)?));
    }
    import_with(context, path, &file, &request)
}

/// Brings an image in a file that was installed with rkt into the store. It is read once only, as long as the
/// file stays the same.
pub(crate) fn import_installed(context: &Context, path: &Path) -> Result<StoredImage> {
    let request = ImportRequest::new(path.display().to_string()).remember(path);
    import_with(context, path, &open(path)?, &request)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open the image {}", path.display()))
}

fn import_with(context: &Context, path: &Path, file: &File, request: &ImportRequest) -> Result<StoredImage> {
    context.progress("image", format_args!("using image from file {}", path.display()));
    let image = context.store()?.import_file(file, request)?;
    StoredImage::new(context, image)
}

/// Removes an image from the store, and the layers of it that no other image and no pod needs.
pub(crate) fn remove(context: &Context, image: &StoredImage) -> Result<()> {
    let _lock = store_lock::exclude(context.data_dir()?)?;
    Ok(context.store()?.remove(image.key(), &trees_in_use(context)?)?)
}

/// Removes the images that no pod uses and nobody used for `age`, and what is left of others.
pub(crate) fn collect_garbage(context: &Context, age: Duration) -> Result<Vec<Image>> {
    let _lock = store_lock::exclude(context.data_dir()?)?;
    let mut keys = keys_in_use(context)?;
    keys.extend(crate::pod_file::pins::keys(context)?);
    Ok(context.store()?.collect_garbage(age, &keys, &trees_in_use(context)?)?)
}

/// Compares the files of `image` with its archive, and makes them anew where they differ.
pub(crate) fn verify(context: &Context, image: &StoredImage) -> Result<Verification> {
    let _lock = store_lock::exclude(context.data_dir()?)?;
    Ok(context.store()?.verify_image(&image.image, &trees_in_use(context)?)?)
}

/// The images that pods name which are not garbage.
fn keys_in_use(context: &Context) -> Result<BTreeSet<String>> {
    let pods = context.pods()?;
    let mut keys = BTreeSet::new();
    for (uuid, place) in pods.walk(&[Place::Embryo, Place::Prepare, Place::Prepared, Place::Run])? {
        let Some(pod) = pods.get_from(uuid, place)? else { continue };
        let Ok(manifest) = pod.dir.manifest() else { continue };
        keys.extend(manifest.apps.iter().map(|app| app.image.id.key().to_owned()));
    }
    Ok(keys)
}

/// The rendered images that pods stand on, those included that only wait to be deleted.
fn trees_in_use(context: &Context) -> Result<BTreeSet<String>> {
    let pods = context.pods()?;
    let mut trees = BTreeSet::new();
    for (uuid, place) in pods.walk(&Place::ALL)? {
        let Some(pod) = pods.get_from(uuid, place)? else { continue };
        trees.extend(pod.dir.stage1_tree_id()?);
        // A pod without a manifest never got as far as an image.
        let Ok(manifest) = pod.dir.manifest() else { continue };
        for app in &manifest.apps {
            trees.extend(pod.dir.tree_id(app.name.as_str())?);
        }
    }
    Ok(trees)
}

/// All images, for a list.
pub(crate) fn rows(context: &Context) -> Result<Vec<Row>> {
    let row = |image: &Image| Row {
        id: image.key().to_owned(),
        name: match image.labels().get("version") {
            Some(version) => format!("{}:{version}", image.name()),
            None => image.name().to_string(),
        },
        size: image.archive_size() + image.unpacked_size(),
        imported: image.imported(),
        used: image.last_used(),
    };
    Ok(context.store()?.images()?.iter().map(row).collect())
}
