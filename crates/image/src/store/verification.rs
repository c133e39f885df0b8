//! Comparing the files of an image with its archive.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use transport::Digest;

use super::work::Work;
use super::{Image, ImportRequest, Store, StoreError, oci};
use crate::compare;
use crate::helper::{self, HelperError};
use crate::oci::{LayerSource, OciImport, OciName};
use crate::pipeline::Content;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// Everything is as it should be.
    Whole,
    /// There is nothing to compare: the image is not unpacked.
    NotUnpacked,
    /// This file was not as it should be, and what the image's layer was is replaced by what it should be.
    Repaired(PathBuf),
    /// This file is not as it should be, and a pod stands on it.
    InUse(PathBuf),
}

impl Verification {
    /// What there is to say of two comparisons: a pod that stands on something wrong counts most.
    pub(super) fn and(self, other: Self) -> Self {
        match (&self, &other) {
            (Verification::InUse(_), _) | (_, Verification::Whole | Verification::NotUnpacked) => self,
            _ => other,
        }
    }
}

impl Store {
    /// Compares all that `image` shows, dependencies included, with what it should be, and replaces what is not the same.
    /// `in_use` are the rendered trees that pods stand on: these are not touched. For root.
    pub fn verify_image(&self, image: &Image, in_use: &BTreeSet<String>) -> Result<Verification, StoreError> {
        let found = self.verify_with_dependencies(image, in_use, &mut BTreeSet::new())?;
        match found {
            Verification::NotUnpacked | Verification::InUse(_) => Ok(found),
            _ => Ok(found.and(self.verify_derived(image, in_use)?)),
        }
    }

    /// Each image once: they may depend on one another in any way.
    fn verify_with_dependencies(
        &self,
        image: &Image,
        in_use: &BTreeSet<String>,
        done: &mut BTreeSet<String>,
    ) -> Result<Verification, StoreError> {
        if !done.insert(image.key().to_owned()) {
            return Ok(Verification::Whole);
        }
        let mut found = self.verify_layers(image, in_use)?;
        if found != Verification::NotUnpacked {
            let name = image.name().to_string();
            for dependency in &self.manifest(image)?.dependencies {
                let below = self.dependency(&name, dependency)?;
                found = found.and(self.verify_with_dependencies(&below, in_use, done)?);
            }
        }
        Ok(found)
    }

    /// Unpacks the stored archive, or blobs, of `image` once more, compares, and replaces what is not the same.
    fn verify_layers(&self, image: &Image, in_use: &BTreeSet<String>) -> Result<Verification, StoreError> {
        if !self.is_root() {
            return Err(StoreError::NeedsRoot(image.id().clone()));
        }
        if !self.is_complete(image)? {
            return Ok(Verification::NotUnpacked);
        }
        let damaged = || StoreError::Damaged(image.id().clone(), None);
        let mut found = Verification::Whole;
        if !image.is_oci() {
            let work = Work::new(self)?;
            let target = work.rootfs()?;
            let request = ImportRequest::new(format!("the stored archive of {}", image.name()))
                .limits(self.limits.clone());
            let mut blob = self.open_blob(image.key()).ok_or_else(damaged)?;
            let outcome = helper::run(
                self.helper.as_ref(),
                Content::Image,
                &mut blob,
                &mut |_| Ok(()),
                Some(target.as_fd()),
                request.bounds(),
            )
            .map_err(|source: HelperError| StoreError::Import { name: request.name().to_owned(), source })?;
            if image.id().as_str() != format!("sha512-{}", outcome.digest) {
                return Err(damaged());
            }
            return self.settle_difference(image.key(), &work, &target, in_use);
        }
        let diff_ids = oci::diff_ids(&self.manifest(image)?).ok_or_else(damaged)?;
        for (diff_id, blob) in diff_ids.iter().zip(&image.record.blobs) {
            found = found.and(self.verify_layer(image, diff_id, blob, in_use)?);
        }
        Ok(found)
    }

    fn verify_layer(
        &self,
        image: &Image,
        diff_id: &Digest,
        blob: &str,
        in_use: &BTreeSet<String>,
    ) -> Result<Verification, StoreError> {
        let file = self.open_blob(blob).ok_or_else(|| StoreError::Damaged(image.id().clone(), None))?;
        let layer = LayerSource {
            digest: blob.replacen('-', ":", 1).parse().ok(),
            media_type: None,
            size: None,
            blob: Some(file.try_clone().map_err(|error| StoreError::file("open", blob, error))?),
        };
        let import = OciImport {
            source: format!("the stored image {}", image.name()),
            name: OciName::unknown(image.name()),
            latest: false,
            manifest_digest: None,
            config_digest: None,
            config: Vec::new(),
            layers: Vec::new(),
            limits: self.limits.clone(),
        };
        let work = Work::new(self)?;
        let target = self.unpack_layer(&work, &import, &layer, &file, diff_id)?.rootfs;
        let target = target.ok_or_else(|| StoreError::NeedsRoot(image.id().clone()))?;
        self.settle_difference(&oci::layer_id(diff_id), &work, &target, in_use)
    }

    /// Compares the layer `id` with what was made in `work`.
    pub(super) fn settle_difference(
        &self,
        id: &str,
        work: &Work<'_>,
        should: &OwnedFd,
        in_use: &BTreeSet<String>,
    ) -> Result<Verification, StoreError> {
        let failed = |error| StoreError::file("compare", format!("layer/{id}"), error);
        let path = self.path.join("layer").join(id).join("rootfs");
        let is = sys::path::open_directory(&path).map_err(|error| failed(error.into()))?;
        let Some(different) = compare::difference(is.as_fd(), should.as_fd()).map_err(failed)? else {
            return Ok(Verification::Whole);
        };
        for tree in in_use {
            if self.tree_layers(tree)?.is_some_and(|layers| layers.iter().any(|layer| layer == id)) {
                return Ok(Verification::InUse(different));
            }
        }
        let locked = self.lock()?;
        let path = format!("layer/{id}");
        self.discard(&locked, &path).map_err(|error| StoreError::file("remove", path, error))?;
        self.commit_layer(&locked, work, id)?;
        drop(locked);
        self.dispose();
        Ok(Verification::Repaired(different))
    }
}
