//! An image in a directory of this host: an OCI image layout, or what came out of a file that `docker save` wrote.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use appc::{AcIdentifier, RegistryReference};
use oci_spec::image::ImageIndex;
use rustix::fs::{FileType, Mode, OFlags};
use serde::Deserialize;
use sys::path::open_in_root;
use transport::{Digest, Platform};

use super::document::{self, Descriptor, Manifest, parse};
use super::{LayerSource, OciError, OciImport, OciName};
use crate::limits::Limits;

/// Bytes of a document.
const DOCUMENT: u64 = (8 << 20) + 1;
/// Indexes that may stand inside one another.
const NESTED: usize = 4;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// A directory with an image in it. Links in it lead nowhere outside.
#[derive(Debug)]
pub struct Directory {
    root: OwnedFd,
    /// What the user calls it.
    source: String,
    /// What an image is called that has no name of its own.
    fallback: String,
}

impl Directory {
    /// The directory `root`, which the user knows as `source`, from the path `path`.
    pub fn new(root: OwnedFd, source: impl Into<String>, path: &Path) -> Self {
        let fallback = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self { root, source: source.into(), fallback }
    }

    /// The image of an OCI image layout that `reference` names; without, the only one.
    pub fn oci(&self, reference: Option<&str>, platform: &Platform) -> Result<OciImport, OciError> {
        self.read("oci-layout")?;
        let index = document::index(&self.read("index.json")?)?;
        let entry = self.entry(&index, reference, platform)?;
        let name = self.oci_name(entry, reference);
        let mut chosen = document::descriptor("image index", entry)?;
        for _ in 0..NESTED {
            if !document::is_index(&chosen) {
                break;
            }
            chosen = document::choose(&self.blob("image index", &chosen)?, platform)?;
        }
        document::check_entry(&chosen)?;
        if document::is_index(&chosen) {
            let detail = format!("more than {NESTED} indexes stand inside one another");
            return Err(OciError::Malformed { what: "image index", detail });
        }
        let Manifest { config, layers } = document::manifest(&self.blob("image manifest", &chosen)?)?;
        let latest = matches!(name.version.as_deref(), None | Some("latest"));
        Ok(OciImport {
            source: self.source.clone(),
            name,
            latest,
            manifest_digest: Some(chosen.digest),
            config: self.blob("image configuration", &config)?,
            config_digest: Some(config.digest),
            layers: layers.into_iter().map(|layer| self.layer(layer)).collect::<Result<_, _>>()?,
            limits: Limits::default(),
        })
    }

    /// The image of a file that `docker save` wrote which `reference` names; without, the only one.
    pub fn docker(&self, reference: Option<&str>) -> Result<OciImport, OciError> {
        const WHAT: &str = "manifest.json";
        let images: Vec<Saved> = parse(WHAT, &self.read(WHAT)?)?;
        let saved = self.saved(&images, reference)?;
        let tag = reference.map(str::to_owned).or_else(|| saved.tags().first().cloned());
        let name = tag
            .as_deref()
            .and_then(|tag| tag.parse::<RegistryReference>().ok())
            .map_or_else(|| self.unnamed(None), |reference| OciName::from(&reference));
        let latest = matches!(name.version.as_deref(), None | Some("latest"));
        let layer = |path: &String| {
            self.open(path).map(|blob| LayerSource {
                digest: None,
                media_type: None,
                size: None,
                blob: Some(blob),
            })
        };
        Ok(OciImport {
            source: self.source.clone(),
            name,
            latest,
            manifest_digest: None,
            config: self.read(&saved.config)?,
            config_digest: None,
            layers: saved.layers.iter().map(layer).collect::<Result<_, _>>()?,
            limits: Limits::default(),
        })
    }

    /// The entry of `index` that `reference` names.
    fn entry<'a>(
        &self,
        index: &'a ImageIndex,
        reference: Option<&str>,
        platform: &Platform,
    ) -> Result<&'a oci_spec::image::Descriptor, OciError> {
        let entries: Vec<_> = index.manifests().iter().collect();
        let fits = |entry: &oci_spec::image::Descriptor| match reference {
            None => true,
            Some(reference) => {
                entry.digest().to_string() == reference
                    || [REF_NAME, CONTAINERD_NAME].iter().any(|key| annotation(entry, key) == Some(reference))
            }
        };
        let fitting: Vec<_> = entries.iter().copied().filter(|entry| fits(entry)).collect();
        if let [only] = fitting[..] {
            return Ok(only);
        }
        let names: Vec<String> = entries
            .iter()
            .map(|entry| {
                let name = annotation(entry, REF_NAME).or_else(|| annotation(entry, CONTAINERD_NAME));
                name.map_or_else(|| entry.digest().to_string(), printable)
            })
            .collect();
        let first = fitting.first().and_then(|entry| annotation(entry, REF_NAME));
        // Several of one name, or several without any, are for several platforms.
        if fitting.iter().all(|entry| annotation(entry, REF_NAME) == first)
            && let Some(best) = platform.choose(&document::platforms(&fitting))
        {
            return Ok(fitting[best]);
        }
        let wanted = match reference {
            Some(reference) => format!("{} has no image {reference:?}", self.source),
            None if entries.is_empty() => format!("{} has no image at all", self.source),
            None => format!("{} has several images, name one: {}:NAME", self.source, self.source),
        };
        Err(OciError::NoImage { wanted, available: list(&names) })
    }

    fn saved<'a>(&self, images: &'a [Saved], reference: Option<&str>) -> Result<&'a Saved, OciError> {
        let complete = |text: &str| text.parse::<RegistryReference>().ok();
        let fits = |saved: &&Saved| {
            reference.is_none_or(|reference| {
                saved.tags().iter().any(|tag| {
                    tag == reference || complete(tag).is_some_and(|tag| complete(reference) == Some(tag))
                })
            })
        };
        let fitting: Vec<&Saved> = images.iter().filter(fits).collect();
        if let [only] = fitting[..] {
            return Ok(only);
        }
        let names: Vec<String> = images.iter().flat_map(Saved::tags).map(|tag| printable(tag)).collect();
        let wanted = match reference {
            Some(reference) => format!("{} has no image {reference:?}", self.source),
            None if images.is_empty() => format!("{} has no image at all", self.source),
            None => format!("{} has several images, name one: {}:NAME", self.source, self.source),
        };
        Err(OciError::NoImage { wanted, available: list(&names) })
    }

    fn oci_name(&self, entry: &oci_spec::image::Descriptor, reference: Option<&str>) -> OciName {
        let is_full = |text: &&str| text.contains('/') && !text.starts_with('/');
        let full = annotation(entry, CONTAINERD_NAME).or_else(|| annotation(entry, REF_NAME)).filter(is_full);
        match full.and_then(|text| text.parse::<RegistryReference>().ok()) {
            Some(reference) => OciName::from(&reference),
            None => self.unnamed(annotation(entry, REF_NAME).or(reference)),
        }
    }

    fn unnamed(&self, tag: Option<&str>) -> OciName {
        let known = |text: &str| AcIdentifier::sanitize(text).ok();
        let name = known(&self.fallback).or_else(|| known("image")).unwrap_or_else(|| unreachable!());
        // A digest is no version.
        let version = tag.filter(|tag| !tag.contains(':') && !tag.is_empty()).map(str::to_owned);
        OciName {
            repository: name.as_str().to_owned(),
            name,
            version,
            registry: None,
            original: self.source.clone(),
        }
    }

    fn layer(&self, layer: Descriptor) -> Result<LayerSource, OciError> {
        let blob = self.open(&path(&layer.digest))?;
        Ok(LayerSource {
            digest: Some(layer.digest),
            media_type: Some(layer.media_type),
            size: Some(layer.size),
            blob: Some(blob),
        })
    }

    /// The document that `part` names, checked.
    fn blob(&self, what: &'static str, part: &Descriptor) -> Result<Vec<u8>, OciError> {
        let bytes = self.read(&path(&part.digest))?;
        if bytes.len() as u64 != part.size {
            return Err(OciError::Size {
                what: what.to_owned(),
                expected: part.size,
                found: bytes.len() as u64,
            });
        }
        document::has_digest(what, &bytes, &part.digest)?;
        Ok(bytes)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, OciError> {
        let mut bytes = Vec::new();
        self.open(path)?
            .take(DOCUMENT)
            .read_to_end(&mut bytes)
            .map_err(|source| self.unreadable(path, source))?;
        Ok(bytes)
    }

    fn open(&self, path: &str) -> Result<File, OciError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let failed = |error: rustix::io::Errno| self.unreadable(path, error.into());
        let file = open_in_root(self.root.as_fd(), Path::new(path), flags, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.unreadable(path, std::io::Error::other("not a regular file")));
        }
        Ok(File::from(file))
    }

    fn unreadable(&self, path: &str, cause: std::io::Error) -> OciError {
        OciError::Read { part: format!("{} of {}", printable(path), self.source), cause }
    }
}

/// An image in `manifest.json` of `docker save`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Saved {
    fn tags(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn annotation<'a>(entry: &'a oci_spec::image::Descriptor, key: &str) -> Option<&'a str> {
    entry.annotations().as_ref()?.get(key).map(String::as_str)
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
