//! What an image argument of the command line means.
//!
//! ```text
//! sha512-HEX                          an image of the store, by its ID or the beginning of it
//! NAME[:VERSION][,LABEL=VALUE…]       an image to discover by its App Container name
//! /PATH, ./PATH, FILE.aci             an image archive in a file
//! file:///PATH.aci, https://…/X.aci   an image archive at a URL
//! docker://REF, docker:REF            an image of a docker registry
//! oci://REF                           an image of an OCI registry
//! oci:PATH[:REF]                      an image of an OCI layout directory
//! oci-archive:PATH[:REF]              an image of an OCI layout in a tar file
//! docker-archive:PATH[:REF]           an image of a file that `docker save` wrote
//! cimd:TYPE:v=0:DATA                  any of appc, aci-archive and docker in rkt's own notation
//! ```

mod registry;
mod uri;

use std::fmt;
use std::path::PathBuf;

pub use registry::RegistryReference;

use crate::{AcIdentifier, ImageId, ImageIdError, Labels, NameError};

/// An image as the user names it.
///
/// Two references are equal when they mean the same: labels are sorted, references to registries are completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageReference {
    /// An image of the store.
    Hash(ImageId),
    /// An image to discover.
    Appc {
        /// The name.
        name: AcIdentifier,
        /// The labels it must have, sorted by name; `version` is what stood after the colon.
        labels: Labels,
    },
    /// An image archive in a file.
    File(PathBuf),
    /// An image archive at an `http` or `https` URL.
    Url(String),
    /// An image of a registry, asked for as a docker image.
    Docker(RegistryReference),
    /// An image of a registry, asked for as an OCI image.
    OciRegistry(RegistryReference),
    /// An image of an OCI layout directory.
    OciLayout {
        /// The directory.
        path: PathBuf,
        /// Which image of it; its only one when absent.
        reference: Option<String>,
    },
    /// An image of an OCI layout in a tar file.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// Which image of it; its only one when absent.
        reference: Option<String>,
    },
    /// An image of a file that `docker save` wrote.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// Which image of it; its only one when absent.
        reference: Option<String>,
    },
}

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid image string {text:?}: {problem}")]
pub struct ImageReferenceError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: ReferenceProblem,
}

/// What can be wrong with an image string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceProblem {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It begins like an image ID.
    #[error(transparent)]
    ImageId(#[from] ImageIdError),
    /// A name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A colon stands after a comma.
    #[error("a colon may stand only right after the name")]
    Colon,
    /// A label is not `LABEL=VALUE`.
    #[error("label {0:?} is not LABEL=VALUE")]
    Label(String),
    /// A label is there twice.
    #[error("label {0:?} has more than one value")]
    RepeatedLabel(String),
    /// The version is empty.
    #[error("the version after the colon is empty")]
    NoVersion,
    /// A URL's path does not end in `.aci`.
    #[error("the path of a URL must end in \".aci\"")]
    NoAci,
    /// A URL has no host, or a `file` URL has one.
    #[error("a file URL must be file:///PATH and any other must name a host")]
    Host,
    /// A `%` is not followed by two hexadecimal digits, or the bytes are no text.
    #[error("{0:?} is not escaped as in URLs")]
    Escape(String),
    /// No path where one must be.
    #[error("a path must follow the scheme")]
    NoPath,
    /// A reference to an image of a registry is malformed.
    #[error("{found:?} {rule}")]
    Registry {
        /// The part that is wrong.
        found: String,
        /// What it must be.
        rule: &'static str,
    },
    /// A `cimd:` URI is not `cimd:TYPE:v=0:DATA`.
    #[error("it is not cimd:TYPE:v=0:DATA with the type appc, aci-archive or docker")]
    Cimd,
}

impl ImageReference {
    /// Reads an image string. `is_regular_file` tells whether a path is a regular file; it is asked only when the
    /// text could be a relative path.
    pub fn parse(text: &str, is_regular_file: impl Fn(&str) -> bool) -> Result<Self, ImageReferenceError> {
        parse(text, is_regular_file).map_err(|problem| ImageReferenceError { text: text.to_owned(), problem })
    }

    /// Reads `NAME[:VERSION][,LABEL=VALUE…]`.
    pub fn parse_appc(text: &str) -> Result<Self, ImageReferenceError> {
        appc(text).map_err(|problem| ImageReferenceError { text: text.to_owned(), problem })
    }
}

/// Reads an image string.
fn parse(text: &str, is_regular_file: impl Fn(&str) -> bool) -> Result<ImageReference, ReferenceProblem> {
    if text.is_empty() {
        return Err(ReferenceProblem::Empty);
    }
    if let Ok(id) = ImageId::new(text) {
        return Ok(ImageReference::Hash(id));
    }
    let Some((scheme, rest)) = uri::scheme(text) else {
        let looks_like_path = !text.contains(':') && (text.contains("./") || text.ends_with(".aci"));
        let is_file = text.starts_with('/') || is_regular_file(text) || looks_like_path;
        return if is_file { Ok(ImageReference::File(text.into())) } else { appc(text) };
    };
    let bare = rest.strip_prefix("//").unwrap_or(rest);
    match scheme.as_str() {
        "file" | "http" | "https" => {
            if !uri::path(rest).ends_with(".aci") {
                return Err(ReferenceProblem::NoAci);
            }
            archive(text, &scheme, rest)
        }
        "docker" => Ok(ImageReference::Docker(RegistryReference::read(bare)?)),
        "oci" if rest.starts_with("//") => Ok(ImageReference::OciRegistry(RegistryReference::read(bare)?)),
        "oci" => local(rest).map(|(path, reference)| ImageReference::OciLayout { path, reference }),
        "oci-archive" => local(rest).map(|(path, reference)| ImageReference::OciArchive { path, reference }),
        "docker-archive" => {
            local(rest).map(|(path, reference)| ImageReference::DockerArchive { path, reference })
        }
        "cimd" => cimd(rest),
        // Any other "scheme" is the name of an image with a version: `etcd:v3`.
        _ => appc(text),
    }
}

/// Reads `NAME[:VERSION][,LABEL=VALUE…]`.
fn appc(text: &str) -> Result<ImageReference, ReferenceProblem> {
    let mut parts = text.split(',');
    let head = parts.next().unwrap_or_default();
    if !head.contains(':') && text.contains(':') {
        return Err(ReferenceProblem::Colon);
    }
    let (name, version) = head.split_once(':').map_or((head, None), |(name, version)| (name, Some(version)));
    if name.starts_with("sha512-") && !name.contains('/') {
        // Better to say what is wrong with the ID than to look for an image of this name on the network.
        ImageId::new(name)?;
    }
    if version == Some("") {
        return Err(ReferenceProblem::NoVersion);
    }
    let labels =
        parts.map(|part| part.split_once('=').ok_or_else(|| ReferenceProblem::Label(part.to_owned())));
    let version = version.map(|version| Ok(("version", version)));
    named(name, version.into_iter().chain(labels))
}

/// An appc reference from its parts.
fn named<'a>(
    name: &str,
    pairs: impl Iterator<Item = Result<(&'a str, &'a str), ReferenceProblem>>,
) -> Result<ImageReference, ReferenceProblem> {
    let name = name.parse()?;
    let mut labels = Labels::new();
    for pair in pairs {
        let (label, value) = pair?;
        if label == "name" || labels.get(label).is_some() {
            return Err(ReferenceProblem::RepeatedLabel(label.to_owned()));
        }
        labels.set(label.parse()?, value);
    }
    labels.0.sort();
    Ok(ImageReference::Appc { name, labels })
}

/// Reads the URL of an archive, `text`, which is `scheme` and `rest`.
fn archive(text: &str, scheme: &str, rest: &str) -> Result<ImageReference, ReferenceProblem> {
    let host_and_path = rest.strip_prefix("//").ok_or(ReferenceProblem::Host)?;
    if scheme == "file" {
        let path = host_and_path.strip_prefix("localhost").unwrap_or(host_and_path);
        if !path.starts_with('/') {
            return Err(ReferenceProblem::Host);
        }
        return Ok(ImageReference::File(uri::unescape_path(uri::path(path))?.into()));
    }
    if host_and_path.starts_with(['/', '?', '#', ':']) || host_and_path.is_empty() {
        return Err(ReferenceProblem::Host);
    }
    Ok(ImageReference::Url(text.to_owned()))
}

/// Reads `PATH[:REF]`.
fn local(text: &str) -> Result<(PathBuf, Option<String>), ReferenceProblem> {
    let (path, reference) =
        text.split_once(':').map_or((text, None), |(path, reference)| (path, Some(reference)));
    if path.is_empty() {
        return Err(ReferenceProblem::NoPath);
    }
    Ok((path.into(), reference.filter(|reference| !reference.is_empty()).map(str::to_owned)))
}

/// Reads `TYPE:v=0:DATA`.
fn cimd(text: &str) -> Result<ImageReference, ReferenceProblem> {
    let mut parts = text.splitn(3, ':');
    let (Some(kind), Some("v=0"), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(ReferenceProblem::Cimd);
    };
    match kind {
        "appc" => {
            let (name, query) = data.split_once('?').unwrap_or((data, ""));
            let mut labels = Vec::new();
            for part in query.split('&').filter(|part| !part.is_empty()) {
                let (label, value) =
                    part.split_once('=').ok_or_else(|| ReferenceProblem::Label(part.to_owned()))?;
                labels.push((uri::unescape_query(label)?, uri::unescape_query(value)?));
            }
            let pairs = labels.iter().map(|(label, value)| Ok((label.as_str(), value.as_str())));
            named(&uri::unescape_query(name)?, pairs)
        }
        "aci-archive" => {
            let url = uri::unescape_query(data)?;
            match uri::scheme(&url) {
                Some((scheme, rest)) if matches!(scheme.as_str(), "file" | "http" | "https") => {
                    archive(&url, &scheme, rest)
                }
                _ => Err(ReferenceProblem::Cimd),
            }
        }
        "docker" => Ok(ImageReference::Docker(RegistryReference::read(data)?)),
        _ => Err(ReferenceProblem::Cimd),
    }
}

impl fmt::Display for ImageReference {
    /// Writes the reference as [`ImageReference::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut local = |scheme: &str, path: &PathBuf, reference: &Option<String>| {
            write!(f, "{scheme}:{}", path.display())?;
            reference.as_ref().map_or(Ok(()), |reference| write!(f, ":{reference}"))
        };
        match self {
            Self::OciLayout { path, reference } => local("oci", path, reference),
            Self::OciArchive { path, reference } => local("oci-archive", path, reference),
            Self::DockerArchive { path, reference } => local("docker-archive", path, reference),
            Self::Hash(id) => id.fmt(f),
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
            Self::Docker(reference) => write!(f, "docker://{reference}"),
            Self::OciRegistry(reference) => write!(f, "oci://{reference}"),
            Self::Appc { name, labels } => {
                let mut text = name.as_str().to_owned();
                if let Some(version) = labels.get("version") {
                    text.push(':');
                    text.push_str(version);
                }
                for label in labels.iter().filter(|label| label.name != "version") {
                    text.push_str(&format!(",{}={}", label.name, label.value));
                }
                if parse(&text, |_| false).as_ref() == Ok(self) {
                    return f.write_str(&text);
                }
                // A value with a comma, say, or a name that looks like one of a file can be written in the other notation only.
                write!(f, "cimd:appc:v=0:{}", uri::escape(name.as_str()))?;
                for (index, label) in labels.iter().enumerate() {
                    let separator = if index == 0 { '?' } else { '&' };
                    write!(
                        f,
                        "{separator}{}={}",
                        uri::escape(label.name.as_str()),
                        uri::escape(&label.value)
                    )?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
