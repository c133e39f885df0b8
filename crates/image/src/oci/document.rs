//! Manifests and indexes: bounded, without repeated keys, numbers in range.

use std::fmt;

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use transport::digest::Hasher;
use transport::{Digest, Platform};

use super::OciError;

/// Bytes of one document.
const LIMIT: usize = 8 << 20;

const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const KNOWN: &str = "OCI image manifests and indexes, Docker schema 2 manifests and lists";

/// One part of an image as a manifest or index names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// Reads an OCI image manifest or a Docker manifest of schema 2.
pub fn manifest(bytes: &[u8]) -> Result<Manifest, OciError> {
    const WHAT: &str = "image manifest";
    let document: ImageManifest = parse(WHAT, bytes)?;
    if let Some(media_type) = document.media_type() {
        check_type(WHAT, media_type.as_ref(), &MANIFESTS)?;
    }
    check_version(WHAT, document.schema_version())?;
    Ok(Manifest {
        config: descriptor(WHAT, document.config())?,
        layers: document.layers().iter().map(|layer| descriptor(WHAT, layer)).collect::<Result<_, _>>()?,
    })
}

/// What each of these images of an index is for, where it says so.
pub(super) fn platforms(entries: &[&oci_spec::image::Descriptor]) -> Vec<Option<Platform>> {
    let platform = |entry: &&oci_spec::image::Descriptor| {
        entry.platform().as_ref().map(|platform| Platform {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
            variant: platform.variant().clone(),
        })
    };
    entries.iter().map(platform).collect()
}

/// Reads an OCI index or a Docker manifest list, and chooses the image that `platform` runs best.
pub fn choose(bytes: &[u8], platform: &Platform) -> Result<Descriptor, OciError> {
    let index = index(bytes)?;
    let offered: Vec<_> = index.manifests().iter().filter(|entry| is_manifest(entry)).collect();
    let platforms = platforms(&offered);
    match platform.choose(&platforms) {
        Some(best) => descriptor("image index", offered[best]),
        None => {
            let names: Vec<String> = platforms
                .iter()
                .map(|platform| {
                    platform.as_ref().map_or_else(|| "an unnamed platform".to_owned(), ToString::to_string)
                })
                .collect();
            let offered = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            Err(OciError::Platform { wanted: platform.to_string(), offered })
        }
    }
}

pub(super) fn index(bytes: &[u8]) -> Result<ImageIndex, OciError> {
    const WHAT: &str = "image index";
    let index: ImageIndex = parse(WHAT, bytes)?;
    if let Some(media_type) = index.media_type() {
        check_type(WHAT, media_type.as_ref(), &INDEXES)?;
    }
    check_version(WHAT, index.schema_version())?;
    Ok(index)
}

/// Whether an entry of an index is an image, and not something else that is kept beside.
pub(super) fn is_manifest(entry: &oci_spec::image::Descriptor) -> bool {
    MANIFESTS.contains(&entry.media_type().as_ref())
}

/// Whether an entry of an index is another index.
pub(super) fn is_index(entry: &Descriptor) -> bool {
    INDEXES.contains(&entry.media_type.as_str())
}

/// Refuses an entry that is neither image nor index.
pub(super) fn check_entry(entry: &Descriptor) -> Result<(), OciError> {
    if is_index(entry) { Ok(()) } else { check_type("image", &entry.media_type, &MANIFESTS) }
}

pub(super) fn descriptor(
    what: &'static str,
    from: &oci_spec::image::Descriptor,
) -> Result<Descriptor, OciError> {
    let digest = from.digest().to_string().parse();
    Ok(Descriptor {
        media_type: from.media_type().to_string(),
        digest: digest.map_err(|error: transport::digest::InvalidDigest| OciError::Malformed {
            what,
            detail: error.to_string(),
        })?,
        size: from.size(),
    })
}

fn check_type(what: &'static str, found: &str, known: &[&str]) -> Result<(), OciError> {
    if known.contains(&found) {
        return Ok(());
    }
    let found = found.chars().take(100).collect();
    Err(OciError::MediaType { what, found, known: KNOWN })
}

fn check_version(what: &'static str, version: u32) -> Result<(), OciError> {
    if version == 2 {
        return Ok(());
    }
    let detail = format!(
        "schemaVersion is {version}, and only 2 is understood; push the image again with a current tool"
    );
    Err(OciError::Malformed { what, detail })
}

/// Checks that `bytes`, which are `what`, have the digest `expected`.
pub fn has_digest(what: &str, bytes: &[u8], expected: &Digest) -> Result<(), OciError> {
    let found = Hasher::hash(expected.algorithm(), bytes);
    if found == *expected {
        return Ok(());
    }
    Err(OciError::Digest { what: what.to_owned(), expected: expected.to_string(), found: found.to_string() })
}

/// Reads a JSON document.
pub(super) fn parse<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, OciError> {
    if bytes.len() > LIMIT {
        return Err(OciError::TooLong { what, limit: LIMIT });
    }
    let malformed = |error: serde_json::Error| OciError::Malformed { what, detail: error.to_string() };
    serde_json::from_slice::<UniqueKeys>(bytes).map_err(malformed)?;
    serde_json::from_slice(bytes).map_err(malformed)
}

/// Any JSON value in which no object has a key twice. Readers disagree about which of two counts.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(UniqueKeys)
    }
}

impl<'de> DeserializeSeed<'de> for UniqueKeys {
    type Value = Self;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element_seed(UniqueKeys)?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            entries.next_value_seed(UniqueKeys)?;
            if let Some(key) = seen.replace(key) {
                return Err(A::Error::custom(format!(
                    "the key {:?} is there twice",
                    key.chars().take(80).collect::<String>()
                )));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn part(media_type: &str, more: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{HEX}","size":7{more}}}"#)
    }

    fn manifest_of(config: &str, more: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]{more}}}"#)
    }

    #[test]
    fn manifests() {
        let config = part("application/vnd.oci.image.config.v1+json", "");
        assert_eq!(manifest(manifest_of(&config, "").as_bytes()).unwrap().config.size, 7);
        for (text, says) in [
            (manifest_of(&config, r#","layers":[]"#), "twice"),
            (manifest_of(&config, r#","mediaType":"text/html""#), "text/html"),
            (manifest_of(&config, "").replace(":2,", ":1,"), "schemaVersion"),
            (manifest_of(&config, "").replace(":7", ":18446744073709551616"), "not valid"),
            (manifest_of(&config, "").replace(":7", ":-1"), "not valid"),
            (manifest_of(&config, "").replace(":7", ":1e400"), "not valid"),
            (manifest_of(&config, "").replace(HEX, "00"), "igest"),
            (manifest_of(&config, "").replace("sha256:e3", "sha256:../"), "not valid"),
            (manifest_of(&config, "").replace("sha256", "md5"), "igest"),
            (format!("{}1", "[".repeat(100_000)), "not valid"),
            ("{}".to_owned(), "not valid"),
            (String::new(), "not valid"),
        ] {
            let error = manifest(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(matches!(manifest(&vec![b' '; LIMIT + 1]), Err(OciError::TooLong { .. })));
    }

    #[test]
    fn an_index_offers_images_for_platforms() {
        let image = |os: &str, arch: &str| {
            part(MANIFESTS[0], &format!(r#","platform":{{"os":"{os}","architecture":"{arch}"}}"#))
        };
        let index =
            |entries: &[String]| format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        let linux = Platform::new("linux", "amd64");
        let attestation = part(MANIFESTS[0], r#","platform":{"os":"unknown","architecture":"unknown"}"#);
        let both = index(&[image("linux", "arm64"), image("linux", "amd64"), attestation]);
        assert!(choose(both.as_bytes(), &linux).is_ok());
        let other = index(&[image("linux", "s390x"), image("windows", "amd64")]);
        let error = choose(other.as_bytes(), &linux).unwrap_err().to_string();
        assert_eq!(error, "there is no image for linux/amd64, only for linux/s390x, windows/amd64");
        assert!(choose(index(&[]).as_bytes(), &linux).unwrap_err().to_string().contains("nothing"));
    }

    #[test]
    fn digests_are_compared() {
        let empty: Digest = format!("sha256:{HEX}").parse().unwrap();
        assert!(has_digest("x", b"", &empty).is_ok());
        assert!(has_digest("x", b"1", &empty).unwrap_err().to_string().contains(HEX));
    }
}
