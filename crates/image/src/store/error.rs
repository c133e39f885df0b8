//! What can go wrong with the store.

use std::io;
use std::path::PathBuf;

use appc::{ImageId, ManifestError};

use crate::helper::HelperError;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The Go rkt made the store.
    #[error(
        "The image store {path} was made by rkt 1.x (it has {path}/db/ql.db), which this rkt cannot read; move it away (for example to {old}) \
         and fetch the images again, or choose another --dir",
        path = .0.display(), old = .0.with_extension("old").display()
    )]
    OldStore(PathBuf),
    /// The store cannot be opened.
    #[error("Cannot open the image store {}", path.display())]
    Open {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of the store cannot be used.
    #[error("Cannot {doing} {name} of the image store")]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// An image ID has fewer than two digits.
    #[error("image ID too short")]
    IdTooShort,
    /// An image ID is none.
    #[error("wrong image ID {0:?}: it must begin with \"sha512-\" and go on in hexadecimal")]
    BadId(String),
    /// Several images have IDs that begin so.
    #[error("ambiguous image ID: {0:?}")]
    Ambiguous(String),
    /// No image has this ID.
    #[error("no image IDs found")]
    NotFound,
    /// An archive cannot be imported.
    #[error("Cannot import {name}")]
    Import {
        /// The archive, as the user knows it.
        name: String,
        /// Why not.
        source: HelperError,
    },
    /// The verifier does not accept an archive.
    #[error("Cannot verify the image {name}")]
    Refused {
        /// The archive, as the user knows it.
        name: String,
        /// Why not.
        source: super::Refusal,
    },
    /// A part of an OCI or Docker image is not acceptable.
    #[error("Cannot import {name}")]
    Oci {
        /// The image, as the user knows it.
        name: String,
        /// Why not.
        source: crate::oci::OciError,
    },
    /// OCI and Docker images have no signatures that could be verified.
    #[error(
        "Cannot verify the image {0}: OCI and Docker images carry no signature; --insecure-options=image takes them as they are, their digests checked"
    )]
    Unsigned(String),
    /// An archive is not the expected image.
    #[error("{name} is the image {found}, not the expected {expected}")]
    WrongId {
        /// The archive, as the user knows it.
        name: String,
        /// What it should be.
        expected: ImageId,
        /// What it is.
        found: ImageId,
    },
    /// The manifest of an image breaks a rule.
    #[error("The manifest of {name} is not valid")]
    Manifest {
        /// The archive, as the user knows it, or the image.
        name: String,
        /// Which rule.
        source: ManifestError,
    },
    /// The archive of a stored image does not give the image any more.
    #[error("The stored archive of the image {0} is damaged or gone; remove the image and fetch it again")]
    Damaged(ImageId, #[source] Option<Box<StoreError>>),
    /// Only root unpacks.
    #[error("The image {0} is not unpacked yet, which only root can do")]
    NeedsRoot(ImageId),
    /// An image builds on one that is not in the store.
    #[error("The image {image} depends on {dependency}, which is not in the store; fetch it first")]
    MissingDependency {
        /// The image.
        image: String,
        /// The name of the other, with its labels or ID.
        dependency: String,
    },
    /// An image builds on itself.
    #[error("The image {0} depends on itself")]
    DependencyCycle(String),
    /// An image builds on too many others.
    #[error("The image {0} has more than {limit} layers", limit = super::render::LAYERS)]
    TooManyLayers(String),
    /// There is no such rendered tree.
    #[error("There is no rendered tree {0:?} in the image store")]
    NoTree(String),
}

impl StoreError {
    pub(crate) fn file(doing: &'static str, name: impl Into<String>, source: impl Into<io::Error>) -> Self {
        StoreError::File { doing, name: name.into(), source: source.into() }
    }
}
