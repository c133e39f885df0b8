//! From the name of an image to its manifest and configuration.

use std::os::fd::OwnedFd;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use transport::digest::{Algorithm, Digest, Hasher};
use transport::message::{Descriptor, Resolve, Resolved};
use transport::{Failure, Platform};

use super::Repository;
use super::manifest::{self, Document, Entry};
use crate::body::Sink;
use crate::headers;
use crate::http::Answer;
use crate::retry::Retries;
use crate::session::{Reporter, Shared};

/// How many indexes may stand between a name and its manifest.
const DEEPEST: usize = 2;

/// Resolves, and writes index, manifest and configuration to their files.
pub(crate) async fn run(
    shared: &Shared,
    request: Resolve,
    files: [OwnedFd; 3],
    reporter: &Reporter,
) -> Result<Resolved, Failure> {
    let Resolve { reference, platform, access } = &request;
    let repository = Repository::new(shared, reference, access, reporter);
    let what = reference.to_string();
    let [index_file, manifest_file, config_file] = files;

    let mut wanted = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => Wanted::Digest(digest.clone(), None),
        (None, tag) => Wanted::Tag(tag.unwrap_or("latest").to_owned()),
    };
    let mut index = None;
    let mut depth = 0;
    let (image, found) = loop {
        let (text, header) = repository.manifest(&wanted).await?;
        let digest = wanted.check(&what, &text, header.registry_digest.as_deref())?;
        let (document, media_type) = manifest::parse(&text, header.media_type.as_deref(), &what)?;
        let descriptor = Descriptor { media_type, digest, size: text.len() as u64 };
        match document {
            Document::Manifest(image) => {
                store(&text, manifest_file)?;
                break (image, descriptor);
            }
            Document::Index(_) if depth == DEEPEST => {
                return Err(Failure::BadDocument { what, reason: "its indexes lead to indexes".to_owned() });
            }
            Document::Index(entries) => {
                let chosen = choose(entries, platform, &what)?;
                if index.is_none() {
                    index = Some((text, descriptor));
                }
                depth += 1;
                wanted = Wanted::Digest(chosen.digest, Some(chosen.size));
            }
        }
    };
    let config = repository.document(&image.config).await?;
    store(&config, config_file)?;
    let index = match index {
        Some((text, descriptor)) => {
            store(&text, index_file)?;
            Some(descriptor)
        }
        None => None,
    };
    Ok(Resolved { index, manifest: found, config: image.config, layers: image.layers })
}

/// The manifest for `platform`.
fn choose(entries: Vec<Entry>, platform: &Platform, what: &str) -> Result<Descriptor, Failure> {
    let platforms: Vec<_> = entries.iter().map(|entry| entry.platform.clone()).collect();
    match platform.choose(&platforms).and_then(|index| entries.into_iter().nth(index)) {
        Some(entry) => Ok(entry.manifest),
        None => {
            let available = platforms.iter().flatten();
            // Attestations pose as images for a platform that there is not.
            let available = available.filter(|platform| platform.os != "unknown").take(64);
            Err(Failure::NoPlatform {
                what: what.to_owned(),
                wanted: platform.to_string(),
                available: available.map(ToString::to_string).collect(),
            })
        }
    }
}

/// A manifest or index to be asked for.
enum Wanted {
    Tag(String),
    /// With its size, where an index told it.
    Digest(Digest, Option<u64>),
}

impl Wanted {
    /// Checks what came for it, and tells its digest. `claimed` is what the registry says the digest is.
    fn check(&self, what: &str, text: &[u8], claimed: Option<&str>) -> Result<Digest, Failure> {
        let wrong = |expected: &Digest, actual: Digest| Failure::WrongDigest {
            what: what.to_owned(),
            expected: expected.to_string(),
            actual: actual.to_string(),
        };
        if let Self::Digest(expected, size) = self {
            let actual = Hasher::hash(expected.algorithm(), text);
            if actual != *expected {
                return Err(wrong(expected, actual));
            }
            if let Some(size) = *size
                && size != text.len() as u64
            {
                return Err(Failure::WrongSize {
                    what: what.to_owned(),
                    expected: size,
                    actual: text.len() as u64,
                });
            }
            return Ok(expected.clone());
        }
        // Something between the registry and us may have changed it.
        if let Some(claimed) = claimed.and_then(|claimed| claimed.parse::<Digest>().ok()) {
            let actual = Hasher::hash(claimed.algorithm(), text);
            if actual != claimed {
                return Err(wrong(&claimed, actual));
            }
        }
        Ok(Hasher::hash(Algorithm::Sha256, text))
    }
}

/// What a manifest's headers say of it.
struct Header {
    media_type: Option<String>,
    registry_digest: Option<String>,
}

impl Repository<'_> {
    async fn manifest(&self, wanted: &Wanted) -> Result<(Vec<u8>, Header), Failure> {
        let path = match wanted {
            Wanted::Tag(tag) => format!("manifests/{tag}"),
            Wanted::Digest(digest, _) => format!("manifests/{digest}"),
        };
        let accept = HeaderValue::from_str(&manifest::READABLE.join(", "));
        let accept = accept.map_err(|error| Failure::BadRequest { reason: error.to_string() })?;
        let request_headers = HeaderMap::from_iter([(ACCEPT, accept)]);
        let (text, response_headers) = self.small(&path, &request_headers).await?;
        let owned = |name: &HeaderName| headers::text(&response_headers, name).map(str::to_owned);
        let header = Header {
            media_type: owned(&CONTENT_TYPE),
            registry_digest: owned(&HeaderName::from_static("docker-content-digest")),
        };
        Ok((text, header))
    }

    /// A blob that is small enough for memory, checked.
    async fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Failure> {
        let Descriptor { digest, size, .. } = descriptor;
        let what = || format!("The configuration of {}", self.reference);
        if *size > Resolve::DOCUMENT_LIMIT {
            return Err(Failure::TooLarge { url: what(), limit: Resolve::DOCUMENT_LIMIT });
        }
        let (text, _) = self.small(&format!("blobs/{digest}"), &HeaderMap::new()).await?;
        let actual = Hasher::hash(digest.algorithm(), &text);
        if text.len() as u64 != *size {
            return Err(Failure::WrongSize { what: what(), expected: *size, actual: text.len() as u64 });
        }
        if actual != *digest {
            let (expected, actual) = (digest.to_string(), actual.to_string());
            return Err(Failure::WrongDigest { what: what(), expected, actual });
        }
        Ok(text)
    }

    /// Something small, tried again when that may help.
    async fn small(&self, path: &str, headers: &HeaderMap) -> Result<(Vec<u8>, HeaderMap), Failure> {
        let mut retries = Retries::new(&self.access.limits);
        loop {
            let result = match self.get(path, headers).await {
                Ok(answer) => read(answer).await,
                Err(failure) => Err(failure),
            };
            match result {
                Ok(content) => return Ok(content),
                Err(failure) => retries.again(failure, false, self.reporter).await?,
            }
        }
    }
}

async fn read(answer: Answer) -> Result<(Vec<u8>, HeaderMap), Failure> {
    if answer.status() != StatusCode::OK {
        return Err(answer.into_failure().await);
    }
    let headers = answer.headers().clone();
    Ok((answer.bytes(Resolve::DOCUMENT_LIMIT).await?, headers))
}

/// Writes a document to its file.
fn store(text: &[u8], file: OwnedFd) -> Result<(), Failure> {
    let mut sink = Sink::new(file, None)?;
    sink.write(text)?;
    sink.cut()
}
