//! OCI and Docker images: their documents, read with suspicion, and what becomes of them here.
//!
//! Nothing is converted by copying. A layer is unpacked into its own directory like any other; the configuration becomes an App Container
//! image manifest (`translate`), whose digest is the ID of the image. It names the layers, so it stands for all of the image.
//!
//! [`layout`] finds an image in a directory or archive of this host. Where else images come from is not known here: whoever
//! has the parts hands them to [`crate::Store::import_oci`].

mod document;
pub mod layout;
mod translate;

use std::fs::File;

use appc::{AcIdentifier, RegistryReference};
use transport::Digest;

pub use document::{Descriptor, Manifest, choose, has_digest, manifest};
pub(crate) use translate::{Config, LAYERS, translate};

use crate::limits::Limits;

/// Why a document of an OCI or Docker image is not acceptable.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// It is larger than any real one.
    #[error("the {what} has more than {limit} bytes")]
    TooLong {
        /// Which document.
        what: &'static str,
        /// The most bytes.
        limit: usize,
    },
    /// It is not JSON, has a key twice, a number out of range, or lacks something.
    #[error("the {what} is not valid: {detail}")]
    Malformed {
        /// Which document.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// It is a kind of document that this is not about.
    #[error("the media type {found:?} of the {what} is none that is understood here ({known})")]
    MediaType {
        /// Which document.
        what: &'static str,
        /// What it says it is.
        found: String,
        /// What it could be.
        known: &'static str,
    },
    /// None of the images of an index runs here.
    #[error("there is no image for {wanted}, only for {offered}")]
    Platform {
        /// This host's platform.
        wanted: String,
        /// Those that there are.
        offered: String,
    },
    /// A configuration and a manifest do not fit.
    #[error("the configuration names {diff_ids} layers and the manifest {layers}")]
    LayerCount {
        /// Layers of the configuration.
        diff_ids: usize,
        /// Layers of the manifest.
        layers: usize,
    },
    /// No layer at all.
    #[error("the image has no layers, so there is nothing to run")]
    NoLayers,
    /// Something that an App Container image cannot express.
    #[error("the configuration cannot be used: {0}")]
    Config(String),
    /// Bytes that are not what their digest says.
    #[error("the {what} has the digest {found}, not the expected {expected}")]
    Digest {
        /// Which part.
        what: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A part of another length than announced.
    #[error("the {what} has {found} bytes, not the expected {expected}")]
    Size {
        /// Which part.
        what: String,
        /// What it should be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// A layer that is compressed otherwise than its media type says.
    #[error("the layer {digest} is of media type {media_type:?}, but its compression is {found}")]
    Compression {
        /// The layer.
        digest: String,
        /// What the manifest says.
        media_type: String,
        /// What the layer is.
        found: crate::decompress::Compression,
    },
    /// There is no such image in a layout or archive.
    #[error("{wanted}; there are: {available}")]
    NoImage {
        /// What was asked for.
        wanted: String,
        /// Names of those that there are.
        available: String,
    },
    /// A part cannot be read.
    #[error("cannot read {part}: {cause}")]
    Read {
        /// Which part.
        part: String,
        /// Why not.
        cause: std::io::Error,
    },
}

/// What an image is called here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciName {
    /// Its name.
    pub name: AcIdentifier,
    /// Its label `version`: the tag.
    pub version: Option<String>,
    /// Where it comes from, for the annotations: registry, repository, and the whole as the user would write it.
    pub registry: Option<String>,
    /// See above.
    pub repository: String,
    /// See above.
    pub original: String,
}

impl OciName {
    /// Of an image of which nothing else is to be said.
    pub(crate) fn unknown(name: &AcIdentifier) -> Self {
        let (repository, original) = (String::new(), String::new());
        Self { name: name.clone(), version: None, registry: None, repository, original }
    }
}

impl From<&RegistryReference> for OciName {
    fn from(reference: &RegistryReference) -> Self {
        Self {
            name: reference.image_name(),
            version: reference.tag.clone(),
            registry: Some(reference.registry.clone()),
            repository: reference.repository.clone(),
            original: reference.to_string(),
        }
    }
}

/// A layer whose blob is at hand.
#[derive(Debug)]
pub struct LayerSource {
    /// Digest of the blob, to be checked; absent where nothing names it.
    pub digest: Option<Digest>,
    /// What the manifest says that it is: decides which compression is right. Absent where nothing says it.
    pub media_type: Option<String>,
    /// Its length in bytes, when the manifest says.
    pub size: Option<u64>,
    /// The blob, read from its beginning. Absent when [`crate::Store::wants_layers`] said that it is not needed.
    pub blob: Option<File>,
}

/// All parts of an image, for [`crate::Store::import_oci`].
#[derive(Debug)]
pub struct OciImport {
    /// What the user knows it as, for messages.
    pub source: String,
    /// What it is called from now on.
    pub name: OciName,
    /// Whether it was asked for without a version.
    pub latest: bool,
    /// Digest of the manifest, which the caller has checked; for an annotation.
    pub manifest_digest: Option<Digest>,
    /// Digest of the configuration, to be checked.
    pub config_digest: Option<Digest>,
    /// The configuration.
    pub config: Vec<u8>,
    /// The layers, lowest first.
    pub layers: Vec<LayerSource>,
    /// What each layer may cost.
    pub limits: Limits,
}
