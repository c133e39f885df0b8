//! Reading indexes and manifests: OCI's, and Docker's of schema 2.

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::Deserialize;
use serde::de::IgnoredAny;
use transport::message::{Descriptor, Resolve};
use transport::{Failure, Platform};

/// An OCI manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// A Docker manifest of schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// What Docker calls an index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// All that we read, as for an `Accept` header.
pub const READABLE: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// Configurations of images that can be run.
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// Layers that can be unpacked.
const LAYERS: [&str; 10] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/// What a name in a registry stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Document {
    /// Images for several platforms.
    Index(Vec<Entry>),
    /// One image.
    Manifest(Manifest),
}

/// An image of an index.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its manifest.
    pub manifest: Descriptor,
    /// What it runs on, when told.
    pub platform: Option<Platform>,
}

/// What an image consists of.
#[derive(Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// What tells the kinds of documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// Reads what `what` names; `header` is the `Content-Type` that it came with. Also tells its media type.
///
/// What could be read as an index *and* as a manifest is refused: two programs would run two images under one digest.
pub fn parse(text: &[u8], header: Option<&str>, what: &str) -> Result<(Document, String), Failure> {
    let bad = |reason: String| Failure::BadDocument { what: what.to_owned(), reason };
    let wrong = |media_type: &str| Failure::WrongMediaType {
        what: what.to_owned(),
        media_type: media_type.to_owned(),
    };
    let header = header.map(|header| header.split(';').next().unwrap_or_default().trim());
    let shape: Shape = match serde_json::from_slice(text) {
        Ok(shape) => shape,
        // A page instead of a manifest is better called by its kind.
        Err(_) if header.is_some_and(|header| header.starts_with("text/html")) => {
            return Err(wrong("text/html"));
        }
        Err(error) => return Err(bad(error.to_string())),
    };
    let is_manifest = shape.config.is_some() || shape.layers.is_some();
    if shape.schema_version == 1 || shape.fs_layers.is_some() {
        return Err(wrong(
            "application/vnd.docker.distribution.manifest.v1+json (schema 1, long out of use)",
        ));
    }
    if shape.schema_version != 2 {
        return Err(bad(format!("its schemaVersion is {}, not 2", shape.schema_version)));
    }
    if shape.manifests.is_some() && is_manifest {
        return Err(bad("it claims to be an index and a manifest at once".to_owned()));
    }
    let known = |kind: &&str| READABLE.contains(kind);
    let kind = match (shape.media_type.as_deref(), header.filter(known)) {
        (Some(own), Some(header)) if own != header => {
            return Err(bad(format!("it says that it is {own} and the registry that it is {header}")));
        }
        (Some(own), _) => own,
        (None, Some(header)) => header,
        (None, None) if shape.manifests.is_some() => OCI_INDEX,
        (None, None) if is_manifest => OCI_MANIFEST,
        (None, None) => return Err(wrong(header.unwrap_or("unknown"))),
    };
    let document = match kind {
        OCI_INDEX | DOCKER_LIST => Document::Index(index(text).map_err(bad)?),
        OCI_MANIFEST | DOCKER_MANIFEST => Document::Manifest(manifest(text, what)?),
        other => return Err(wrong(other)),
    };
    Ok((document, kind.to_owned()))
}

fn index(text: &[u8]) -> Result<Vec<Entry>, String> {
    let index: ImageIndex = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    index
        .manifests()
        .iter()
        .map(|entry| {
            let platform = entry.platform().as_ref().map(|platform| Platform {
                os: platform.os().to_string(),
                architecture: platform.architecture().to_string(),
                variant: platform.variant().clone(),
            });
            Ok(Entry { manifest: descriptor(entry)?, platform })
        })
        .collect()
}

fn manifest(text: &[u8], what: &str) -> Result<Manifest, Failure> {
    let bad = |reason: String| Failure::BadDocument { what: what.to_owned(), reason };
    let manifest: ImageManifest = serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
    let config = descriptor(manifest.config()).map_err(bad)?;
    let layers = manifest.layers();
    if layers.len() > Resolve::LAYER_LIMIT {
        return Err(bad(format!("it has {} layers, and {} is the most", layers.len(), Resolve::LAYER_LIMIT)));
    }
    let layers: Vec<_> = layers.iter().map(descriptor).collect::<Result<_, _>>().map_err(bad)?;
    let check = |kinds: &[&str], part: String, descriptor: &Descriptor| {
        if kinds.contains(&descriptor.media_type.as_str()) {
            return Ok(());
        }
        let media_type = descriptor.media_type.clone();
        Err(Failure::WrongMediaType { what: format!("{part} of {what}"), media_type })
    };
    check(&CONFIGS, "The configuration".to_owned(), &config)?;
    for (number, layer) in layers.iter().enumerate() {
        check(&LAYERS, format!("Layer {}", number + 1), layer)?;
    }
    Ok(Manifest { config, layers })
}

fn descriptor(descriptor: &oci_spec::image::Descriptor) -> Result<Descriptor, String> {
    Ok(Descriptor {
        media_type: descriptor.media_type().to_string(),
        digest: descriptor
            .digest()
            .to_string()
            .parse()
            .map_err(|error: transport::digest::InvalidDigest| error.to_string())?,
        size: descriptor.size(),
    })
}

#[cfg(test)]
mod tests;
