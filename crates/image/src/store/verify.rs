//! The check of an archive's signature before anything of it is unpacked.
//!
//! Which keys count is not the store's business: the caller brings a [`Verifier`]. What is verified are the bytes in the
//! work area, which nobody else can change; the same bytes are unpacked then. The signature stays beside the archive
//! (`blob/KEY.asc`), so that root can check again what another user stored.

use std::fs::File;
use std::io::{Read, Seek};

use appc::{AcIdentifier, ImageManifest};

use super::{ImportRequest, Store, StoreError, files};
use crate::helper;

/// The most bytes of a signature that are stored.
const SIGNATURE: usize = 64 << 10;

/// Why an archive is not acceptable.
pub type Refusal = Box<dyn std::error::Error + Send + Sync>;

/// Judges archives by their detached signatures.
pub trait Verifier: std::fmt::Debug + Send + Sync {
    /// Whether every archive passes, so that none need be read for it.
    fn is_off(&self) -> bool;

    /// Judges the archive of an image that calls itself `name`. `archive` has to be read to its end.
    fn verify(
        &self,
        name: &AcIdentifier,
        signature: Option<&[u8]>,
        archive: &mut dyn Read,
    ) -> Result<(), Refusal>;
}

impl Store {
    /// Judges by `verifier` what is imported with [`ImportRequest::signed`], and what other users stored.
    #[must_use]
    pub fn with_verifier(mut self, verifier: impl Verifier + 'static) -> Self {
        self.verifier = Some(Box::new(verifier));
        self
    }

    /// The verifier, unless it lets everything pass.
    pub(super) fn judge(&self) -> Option<&dyn Verifier> {
        self.verifier.as_deref().filter(|verifier| !verifier.is_off())
    }

    /// Has the verifier judge `blob`, which nobody else may be able to change, as the archive of the image that its
    /// manifest names. Nothing is unpacked.
    pub(super) fn verify(
        &self,
        verifier: &dyn Verifier,
        blob: &File,
        signature: Option<&[u8]>,
        request: &ImportRequest,
    ) -> Result<(), StoreError> {
        let mut blob = blob;
        let mut rewind = || blob.rewind().map_err(|error| self.unreadable(request, error)).map(|()| blob);
        let found = helper::manifest(self.helper.as_ref(), &mut rewind()?, request.bounds())
            .map_err(|source| StoreError::Import { name: request.name().to_owned(), source })?;
        let manifest = ImageManifest::parse(found.as_bytes())
            .map_err(|source| StoreError::Manifest { name: request.name().to_owned(), source })?;
        let refused = |source| StoreError::Refused { name: request.name().to_owned(), source };
        verifier.verify(&manifest.name, signature, &mut rewind()?).map_err(refused)?;
        rewind().map(drop)
    }

    /// The stored signature of the image `key`.
    pub(super) fn signature(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        use std::os::fd::AsFd;
        let name = signature_path(key);
        let read = files::read(self.cas.as_fd(), &name, SIGNATURE)
            .map_err(|error| StoreError::file("read", name, error))?;
        Ok(read.map(|(bytes, _)| bytes))
    }
}

/// Where the signature of the image `key` is.
pub(super) fn signature_path(key: &str) -> String {
    format!("blob/{key}.asc")
}
