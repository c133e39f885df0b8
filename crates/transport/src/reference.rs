//! Names of images in registries: `registry.example.com:5000/team/app:1.2@sha256:…`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The registry that is meant when none is named.
pub const DEFAULT_REGISTRY: &str = "registry-1.docker.io";
/// Other names by which people know it.
const DEFAULT_REGISTRY_NAMES: [&str; 3] = ["docker.io", "index.docker.io", DEFAULT_REGISTRY];
/// Longest repository name that the distribution specification allows.
const LONGEST_REPOSITORY: usize = 255;
/// Longest tag that it allows.
const LONGEST_TAG: usize = 128;

/// The name of an image in a registry, complete: `nginx` was read as `registry-1.docker.io/library/nginx:latest`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Host of the registry, with its port where one is named.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path of the repository in it.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. None when only a digest is named.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index that must be found.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Names the image by `digest`, in the same repository.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// Whether it is the registry that is meant when none is named.
    pub fn is_default_registry(&self) -> bool {
        self.registry == DEFAULT_REGISTRY
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let error = |problem| InvalidReference { text: text.to_owned(), problem };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse().map_err(|_| error(Problem::Digest))?)),
            None => (text, None),
        };
        // A colon after the last slash starts a tag; one before it starts a port.
        let (path, tag) = match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (name, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(error(Problem::Tag));
        }
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => (DEFAULT_REGISTRY, path),
        };
        let registry = registry.to_ascii_lowercase();
        if !is_host(&registry) {
            return Err(error(Problem::Registry));
        }
        let is_default = DEFAULT_REGISTRY_NAMES.contains(&registry.as_str());
        let registry = if is_default { DEFAULT_REGISTRY.to_owned() } else { registry };
        let repository = match repository {
            single if is_default && !single.contains('/') => format!("library/{single}"),
            full => full.to_owned(),
        };
        if repository.len() > LONGEST_REPOSITORY || !repository.split('/').all(is_component) {
            return Err(error(Problem::Repository));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self { registry, repository, tag, digest })
    }
}

impl TryFrom<String> for Reference {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, InvalidReference> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

/// Whether the first component of a name is a registry and not a part of a repository's name.
fn is_registry(component: &str) -> bool {
    component == "localhost" || component.contains(['.', ':', '['])
}

/// `name`, `name:port`, `192.0.2.1:port` or `[2001:db8::1]:port`.
fn is_host(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if rest.is_empty() => (None, None),
                None => return false,
            }
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(registry), None),
        },
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    host.is_none_or(|host| host.len() <= 253 && host.split('.').all(is_label))
        && port.is_none_or(|port| !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = component;
    loop {
        let word = rest.bytes().take_while(|&byte| is_word(byte)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let dashes = rest.bytes().take_while(|&byte| byte == b'-').count();
        let separator = match dashes {
            0 if rest.starts_with("__") => 2,
            0 if rest.starts_with(['.', '_']) => 1,
            0 => return false,
            dashes => dashes,
        };
        rest = &rest[separator..];
    }
}

/// `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// A text is not the name of an image in a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Not the name of an image in a registry: {}: {problem}", crate::text::printable(text))]
pub struct InvalidReference {
    text: String,
    problem: Problem,
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("the part before the first slash is not a host with an optional port")]
    Registry,
    #[error(
        "a repository is lower-case letters and digits with single '.', '_' or dashes between, in parts joined by '/', 255 characters at most"
    )]
    Repository,
    #[error("a tag is letters, digits, '_', '.' and '-', 128 at most")]
    Tag,
    #[error("a digest is sha256: or sha512: and lower-case hexadecimal digits")]
    Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        let hex = "a1".repeat(32);
        for (text, full) in [
            ("nginx", "registry-1.docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.27", "registry-1.docker.io/library/nginx:1.27".to_owned()),
            ("docker.io/nginx", "registry-1.docker.io/library/nginx:latest".to_owned()),
            ("index.docker.io/bitnami/redis", "registry-1.docker.io/bitnami/redis:latest".to_owned()),
            ("bitnami/redis", "registry-1.docker.io/bitnami/redis:latest".to_owned()),
            ("quay.io/coreos/etcd:v3.5", "quay.io/coreos/etcd:v3.5".to_owned()),
            ("localhost/a", "localhost/a:latest".to_owned()),
            ("localhost:5000/a/b_c/d__e/f--g.h", "localhost:5000/a/b_c/d__e/f--g.h:latest".to_owned()),
            ("Registry.Example.COM/a:V1", "registry.example.com/a:V1".to_owned()),
            ("[::1]:5000/a", "[::1]:5000/a:latest".to_owned()),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), full);
        }
        let pinned: Reference = format!("quay.io/a/b@sha256:{hex}").parse().unwrap();
        assert_eq!(pinned.tag(), None);
        assert_eq!(pinned.digest().unwrap().hex(), hex);
        let both: Reference = format!("quay.io/a/b:1@sha256:{hex}").parse().unwrap();
        assert_eq!((both.tag(), both.to_string()), (Some("1"), format!("quay.io/a/b:1@sha256:{hex}")));
        assert_eq!(both.to_string().parse::<Reference>().unwrap(), both);
    }

    #[test]
    fn wrong_names_say_what_is_wrong() {
        for (text, problem) in [
            ("", Problem::Repository),
            ("Nginx", Problem::Repository),
            ("quay.io/", Problem::Repository),
            ("quay.io/a//b", Problem::Repository),
            ("quay.io/../b", Problem::Repository),
            ("quay.io/a/..", Problem::Repository),
            ("quay.io/a._b", Problem::Repository),
            ("quay.io/a-", Problem::Repository),
            ("quay.io/a?x=y", Problem::Repository),
            ("quay.io/a%2fb", Problem::Repository),
            ("a:", Problem::Tag),
            ("a:-x", Problem::Tag),
            ("a:b/c", Problem::Registry),
            ("a:99999/c", Problem::Registry),
            ("user@quay.io/a", Problem::Digest),
            ("-x.io/a", Problem::Registry),
            ("x..io/a", Problem::Registry),
            ("[::g]:1/a", Problem::Registry),
            ("a@sha256:00", Problem::Digest),
            ("a@sha256:00@b", Problem::Digest),
        ] {
            let found = text.parse::<Reference>().map_err(|error| error.problem);
            assert_eq!(found, Err(problem), "{text}");
        }
    }
}
