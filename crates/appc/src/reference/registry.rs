//! References to images of registries: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.

use std::fmt;
use std::str::FromStr;

use super::{ImageReferenceError, ReferenceProblem};
use crate::AcIdentifier;

/// The registry when a reference names none.
const DEFAULT_REGISTRY: &str = "registry-1.docker.io";
/// Other names of it.
const DEFAULT_REGISTRY_NAMES: [&str; 2] = ["docker.io", "index.docker.io"];
/// What is put before repositories of one component at the default registry.
const DEFAULT_PREFIX: &str = "library/";
/// The tag when a reference has neither tag nor digest.
const DEFAULT_TAG: &str = "latest";
/// How long a repository may be.
const MAX_REPOSITORY: usize = 255;

/// A reference to an image of a registry, completed: `busybox` is `registry-1.docker.io/library/busybox:latest`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryReference {
    /// Host and, if given, port.
    pub registry: String,
    /// The repository, with `library/` where it is implied.
    pub repository: String,
    /// The tag; absent only beside a digest.
    pub tag: Option<String>,
    /// The digest of the manifest, `sha256:…` or `sha512:…`.
    pub digest: Option<String>,
}

impl RegistryReference {
    /// Reads and completes a reference.
    pub(super) fn read(text: &str) -> Result<Self, ReferenceProblem> {
        let wrong = |found: &str, rule| Err(ReferenceProblem::Registry { found: found.to_owned(), rule });
        let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
        if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
            return wrong(
                digest,
                "is not a digest (sha256: and 64 or sha512: and 128 lowercase hexadecimal digits)",
            );
        }
        // A colon before the last slash belongs to the registry's port.
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => (rest, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return wrong(
                tag,
                "is not a tag (1 to 128 letters, digits, \"_\", \".\" and \"-\", the first a letter, digit or \"_\")",
            );
        }
        let (registry, repository) = match rest.split_once('/') {
            Some((host, path)) if host.contains(['.', ':', '[']) || host == "localhost" => (host, path),
            _ => (DEFAULT_REGISTRY, rest),
        };
        if !is_registry(registry) {
            return wrong(registry, "is not a registry (HOST or HOST:PORT)");
        }
        let registry = if DEFAULT_REGISTRY_NAMES.contains(&registry) { DEFAULT_REGISTRY } else { registry };
        if repository.len() > MAX_REPOSITORY || !repository.split('/').all(is_component) {
            return wrong(
                repository,
                "is not a repository (components of lowercase letters and digits, with single \".\", \"_\", \"__\" or \
                 dashes between them)",
            );
        }
        let implied = registry == DEFAULT_REGISTRY && !repository.contains('/');
        Ok(Self {
            registry: registry.to_owned(),
            repository: format!("{}{repository}", if implied { DEFAULT_PREFIX } else { "" }),
            tag: tag.or(digest.is_none().then_some(DEFAULT_TAG)).map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// The name that the image gets: registry and repository, sanitised.
    pub fn image_name(&self) -> AcIdentifier {
        AcIdentifier::sanitize_known(&format!("{}/{}", self.registry, self.repository))
    }
}

/// Whether `text` is a host with an optional port.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_host = match host.strip_prefix('[') {
        Some(address) => {
            address.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        }
        None => host.split('.').all(|label| {
            label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
    };
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    is_host && port.is_none_or(|port| digits(port) && port.parse::<u16>().is_ok())
}

/// Whether `text` is one component of a repository.
fn is_component(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_plain)
        && text.ends_with(is_plain)
        && text.split(is_plain).all(|between| {
            matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
        })
}

/// Whether `text` is a tag.
fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Whether `text` is a digest of a known algorithm.
fn is_digest(text: &str) -> bool {
    let length = match text.split_once(':') {
        Some(("sha256", _)) => 64,
        Some(("sha512", _)) => 128,
        _ => return false,
    };
    let digits = &text["sha256:".len()..];
    digits.len() == length && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for RegistryReference {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, ImageReferenceError> {
        Self::read(text).map_err(|problem| ImageReferenceError { text: text.to_owned(), problem })
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}
