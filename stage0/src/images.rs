//! Images that the command line names, found in the store or brought there.

use anyhow::{Result, bail};
use appc::{ImageId, ImageManifest};

use crate::apps::AppRequest;
use crate::apps::manifest::ImageFacts;
use crate::context::Context;
use crate::options::pull::PullPolicy;

/// An image of the store.
#[derive(Debug)]
pub(crate) struct StoredImage {
    id: ImageId,
    manifest: ImageManifest,
}

impl StoredImage {
    pub(crate) fn manifest(&self) -> &ImageManifest {
        &self.manifest
    }

    pub(crate) fn manifest_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest).unwrap_or_default()
    }
}

impl<'a> From<&'a StoredImage> for ImageFacts<'a> {
    fn from(image: &'a StoredImage) -> Self {
        Self { id: &image.id, manifest: &image.manifest }
    }
}

pub(crate) fn find(_context: &Context, app: &AppRequest, _pull: PullPolicy) -> Result<StoredImage> {
    bail!("{}", app.image)
}

pub(crate) fn by_id(_context: &Context, id: &ImageId) -> Result<StoredImage> {
    bail!("{id}")
}

pub(crate) fn stored(_context: &Context, name: &str) -> Result<StoredImage> {
    bail!("{name}")
}

pub(crate) fn remove(_context: &Context, _image: &StoredImage) -> Result<()> {
    bail!("x")
}

pub(crate) fn rows(_context: &Context) -> Result<Vec<crate::commands::image::list::Row>> {
    bail!("x")
}
impl StoredImage {
    pub(crate) fn key(&self) -> &str {
        self.id.key()
    }
}

pub(crate) fn stored_if_any(_context: &Context, name: &str) -> Result<Option<StoredImage>> {
    bail!("{name}")
}
pub(crate) fn import_installed(_context: &Context, path: &std::path::Path) -> Result<StoredImage> {
    bail!("{path:?}")
}
pub(crate) fn import(
    _context: &Context,
    path: &std::path::Path,
    _signature: Option<&std::path::Path>,
) -> Result<StoredImage> {
    bail!("{path:?}")
}
