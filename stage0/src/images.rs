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
