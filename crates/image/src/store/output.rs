//! Images that leave the store: as an archive, as a directory.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use super::render::Visible;
use super::work::Work;
use super::{Image, Store, StoreError, Tree};
use crate::limits::Limits;
use crate::{copy, export, helper};

impl Store {
    /// Writes `image` as an uncompressed App Container image to `out`: the stored archive as it is, or for an OCI image all
    /// its files. The latter takes root.
    pub fn export(&self, image: &Image, out: &File) -> Result<(), StoreError> {
        let failed = |error| StoreError::file("export", image.key(), error);
        if image.is_oci() {
            let tree = self.render(image)?;
            let work = Work::new(self)?;
            let rootfs = work.rootfs()?;
            copy::copy_tree(&tree, rootfs.as_fd()).map_err(failed)?;
            return export::write(image.record.manifest.as_bytes(), rootfs.as_fd(), out).map_err(failed);
        }
        let damaged = |cause| StoreError::Damaged(image.id().clone(), cause);
        let mut blob = self.open_blob(image.key()).ok_or_else(|| damaged(None))?;
        // It was within the limits when it came.
        let limits = Limits { unpacked: u64::MAX, ratio: u64::MAX, ..Limits::default() };
        let digest = helper::expand(self.helper.as_ref(), &mut blob, out, &limits).map_err(|source| {
            damaged(Some(Box::new(StoreError::Import { name: image.name().to_string(), source })))
        })?;
        if image.id().as_str() == format!("sha512-{digest}") { Ok(()) } else { Err(damaged(None)) }
    }

    /// Copies the files of `image` alone, without those of images that it depends on, into the empty directory
    /// `target`. For root.
    pub fn extract(&self, image: &Image, target: BorrowedFd<'_>) -> Result<(), StoreError> {
        let image = self.admit(image)?;
        if !self.is_root() {
            return Err(StoreError::NeedsRoot(image.id().clone()));
        }
        let layers = self.with_attributes(&Visible::own(&image))?;
        let tree: Tree = self.as_tree(String::new(), &layers);
        copy::copy_tree(&tree, target).map_err(|error| StoreError::file("extract", image.key(), error))
    }
}
