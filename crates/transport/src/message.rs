//! The messages.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::failure::Failure;
use crate::platform::Platform;
use crate::reference::Reference;

/// Version of the protocol: both sides are installed together and must agree.
pub const PROTOCOL: u32 = 1;

/// From `rkt` to the worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToWorker {
    /// Do this. The handles of the request come with the packet.
    Start {
        /// The caller's name for it, never used before.
        id: u64,
        /// What.
        request: Box<Request>,
    },
    /// Stop doing it. It still ends with [`FromWorker::Done`].
    Cancel {
        /// Which.
        id: u64,
    },
}

/// From the worker to `rkt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromWorker {
    /// The first message: the worker is locked in.
    Ready(Confinement),
    /// News of a request.
    Event {
        /// Of which.
        id: u64,
        /// What.
        event: Event,
    },
    /// The end of a request.
    Done {
        /// Which.
        id: u64,
        /// What came of it.
        outcome: Outcome,
    },
}

/// What a worker says of itself when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The user that it runs as.
    pub user: u32,
    /// Version of Landlock that fences its file access. None on a kernel without.
    pub landlock: Option<u32>,
}

/// What to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Find out where an image is.
    Discover(Discover),
    /// Fetch a URL.
    Get(Get),
    /// Read the manifest and the configuration of an image in a registry.
    Resolve(Resolve),
    /// Fetch a blob (a layer) from a registry.
    Blob(Blob),
}

/// How a server may be asked.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Access {
    /// Plain http is good enough (`--insecure-options=http`).
    #[serde(default)]
    pub plain_http: bool,
    /// Any certificate is good enough (`--insecure-options=tls`).
    #[serde(default)]
    pub any_certificate: bool,
    /// What the host is given, and no other host it may redirect to. Never sent in the clear.
    #[serde(default)]
    pub credentials: Option<Credentials>,
    /// When to give up.
    #[serde(default)]
    pub limits: Limits,
}

/// When to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The largest body, in bytes.
    pub max_bytes: u64,
    /// How long a server may be silent, in milliseconds.
    pub stall_ms: u64,
    /// How long all of it may take, in milliseconds.
    pub total_ms: Option<u64>,
    /// How often a request that failed for the moment is made again without a byte of progress between.
    pub retries: u32,
}

impl Default for Limits {
    /// 64 GiB, 60 s of silence, no limit in all, 3 retries.
    fn default() -> Self {
        Self { max_bytes: 64 << 30, stall_ms: 60_000, total_ms: None, retries: 3 }
    }
}

/// What a host is given to let us in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credentials {
    /// User and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token, sent as it is (`Authorization: Bearer …`).
    Bearer(String),
    /// A refresh token that a registry's token server takes for an access token.
    Identity(String),
    /// Headers signed beforehand for this very URL.
    Headers(Vec<(String, String)>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(…)",
            Self::Bearer(_) => "Bearer(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Headers(_) => "Headers(…)",
        })
    }
}

/// Finds where an image, and the keys that sign it, can be fetched. No handles.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Discover {
    /// Name of the image: `example.com/app`.
    pub name: String,
    /// Its labels, for the templates. Without a `version` the templates see `latest`.
    pub labels: Vec<(String, String)>,
    /// How the pages may be asked.
    pub access: Access,
}

/// Fetches a URL. Handles: one, for the body.
///
/// A file that is not empty is a part to go on with when [`part`](Self::part) is set, and is overwritten otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Get {
    /// The URL: http or https.
    pub url: String,
    /// What the copy that we already have was known by: unchanged ends in [`Status::NotModified`].
    pub cached: Option<Validators>,
    /// What the file's content, the first part of the body, was known by.
    pub part: Option<Validators>,
    /// How the server may be asked.
    pub access: Access,
}

/// What tells one version of a resource from the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`, with its quotes.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// Reads an image's manifest and configuration. Handles: three, for index, manifest and configuration; each takes at most
/// [`Resolve::DOCUMENT_LIMIT`] bytes. The first stays empty when the name stands for a manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resolve {
    /// The image.
    pub reference: Reference,
    /// Which of an index's images is wanted.
    pub platform: Platform,
    /// How the registry may be asked.
    pub access: Access,
}

impl Resolve {
    /// The largest index, manifest or configuration that is read, in bytes: what registries accept at most.
    pub const DOCUMENT_LIMIT: u64 = 4 << 20;
    /// The most layers that an image may have: what an overlay takes at most.
    pub const LAYER_LIMIT: usize = 500;
}

/// Fetches a blob. Handles: one, readable too. What it holds already is the part to go on with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Blob {
    /// An image of the repository that has it.
    pub reference: Reference,
    /// The blob.
    pub descriptor: Descriptor,
    /// How the registry may be asked. The descriptor's size is a limit too.
    pub access: Access,
}

/// Names content in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// What it must hash to.
    pub digest: Digest,
    /// How many bytes it must have.
    pub size: u64,
}

/// News of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The body comes. Sent before its first byte is written: time to note what a part would be known by.
    /// Comes again when the server starts anew.
    Started {
        /// How many bytes of an earlier attempt stay.
        resumed_from: u64,
        /// Length of the whole, when the server tells.
        total: Option<u64>,
        /// About the resource.
        facts: Facts,
    },
    /// The first `received` bytes of the file are written and may be read.
    Progress {
        /// Bytes from the start of the file, the resumed part included.
        received: u64,
        /// Length of the whole, when the server tells.
        total: Option<u64>,
    },
    /// The server sends us elsewhere.
    Redirected {
        /// Where to.
        to: String,
    },
    /// It failed for the moment and is tried again.
    Retrying {
        /// What failed.
        failure: Failure,
        /// In how many milliseconds.
        wait_ms: u64,
    },
    /// The credentials for this host are held back, because the connection is not encrypted.
    CredentialsWithheld {
        /// The host.
        host: String,
    },
}

/// What the server says of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What this version of it is known by.
    pub validators: Validators,
    /// For how many seconds it stays fresh (`Cache-Control`); zero when it must not be kept.
    pub max_age: Option<u64>,
    /// `Content-Type`.
    pub media_type: Option<String>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is done.
    Finished(Reply),
    /// It is not.
    Failed(Failure),
}

/// What there is when a request is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Of [`Discover`].
    Discovered(Discovered),
    /// Of [`Get`].
    Got(Got),
    /// Of [`Resolve`].
    Resolved(Resolved),
    /// Of [`Blob`]: the file holds the whole blob, and it has the digest and size that were asked for.
    Blob {
        /// How many of its bytes were in the file already.
        resumed_from: u64,
    },
}

/// Where an image and its keys are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovered {
    /// Where the image is, in the order in which to try.
    pub endpoints: Vec<Endpoint>,
    /// Where the keys are.
    pub public_keys: Vec<String>,
}

impl Discovered {
    /// Whether nothing more need be looked for.
    pub fn is_complete(&self) -> bool {
        !self.endpoints.is_empty() && !self.public_keys.is_empty()
    }
}

/// A place from which an image can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// URL of the image.
    pub image: String,
    /// URL of its signature.
    pub signature: String,
}

/// What came of [`Get`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Got {
    /// Whether there is a body.
    pub status: Status,
    /// Its length: the file's first so many bytes are it.
    pub length: u64,
    /// How many of them were in the file already.
    pub resumed_from: u64,
    /// About the resource.
    pub facts: Facts,
}

/// How a server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// With the body.
    Body,
    /// 304: our copy is still good. The file was not touched.
    NotModified,
    /// 202: it will be there later. The file was not touched.
    Deferred,
}

/// An image of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The index that the name stands for, if it does.
    pub index: Option<Descriptor>,
    /// The manifest.
    pub manifest: Descriptor,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}
