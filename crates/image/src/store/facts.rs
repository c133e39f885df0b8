//! What is remembered of a layer of an OCI image: `layer/ID/facts.json`, written with the layer.

use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use super::work::Work;
use super::{Store, StoreError, files};
use crate::unpack::Marks;

/// Bytes of one file: paths are written as digits, two for each byte.
const LIMIT: usize = 16 << 20;

/// What unpacking found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Bytes of its files.
    pub(super) unpacked: u64,
    /// The name of its blob in `blob/`.
    pub(super) blob: String,
    /// Bytes of that.
    pub(super) blob_size: u64,
    /// Directories that say something about the layers below.
    pub(super) marks: Marks,
}

impl Facts {
    /// Those of the layer `id`.
    pub(super) fn read(store: &Store, id: &str) -> Result<Option<Self>, StoreError> {
        let name = format!("layer/{id}/facts.json");
        let read = files::read(store.cas.as_fd(), &name, LIMIT)
            .map_err(|error| StoreError::file("read", name, error))?;
        Ok(read.and_then(|(text, _)| serde_json::from_slice(&text).ok()))
    }

    /// Writes those of the layer that is made in `work`.
    pub(super) fn write(&self, work: &Work<'_>) -> Result<(), StoreError> {
        let name = "layer/facts.json";
        let text = serde_json::to_vec(self).map_err(|error| StoreError::file("write", name, error))?;
        files::replace(work.dir(), name, &text).map_err(|error| StoreError::file("write", name, error))
    }
}
