//! The record of one image.

use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use appc::{AcIdentifier, ImageId, ImageManifest, Labels};
use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use super::{StoreError, files};

/// The present form of records. Another one is not understood.
const FORMAT: u32 = 1;

/// Bytes that a record may have.
const LIMIT: usize = 32 << 20;

/// A record as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    format: u32,
    pub(super) id: ImageId,
    pub(super) kind: Kind,
    pub(super) name: AcIdentifier,
    pub(super) labels: Labels,
    /// Fetched without saying which version.
    pub(super) latest: bool,
    /// Nanoseconds since 1970.
    imported: u64,
    /// Bytes of the archive as received.
    pub(super) archive_size: u64,
    /// Bytes of its files; nothing when it was not unpacked.
    pub(super) unpacked_size: Option<u64>,
    /// Its blobs, lowest layer first; nothing for an App Container image, whose archive has its key as name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) blobs: Vec<String>,
    /// Its own layers, top first.
    pub(super) layers: Vec<String>,
    /// Whether rendering takes more than its own layers: dependencies, a path whitelist.
    pub(super) composed: bool,
    /// The manifest, byte for byte.
    pub(super) manifest: String,
}

/// Where an image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// An App Container image.
    Aci,
    /// An OCI or Docker image.
    Oci,
}

impl Record {
    pub(super) fn of_aci(id: ImageId, manifest: &ImageManifest, text: String, archive_size: u64) -> Self {
        Record {
            format: FORMAT,
            kind: Kind::Aci,
            name: manifest.name.clone(),
            labels: manifest.labels.clone(),
            latest: false,
            imported: nanoseconds(SystemTime::now()),
            archive_size,
            unpacked_size: None,
            blobs: Vec::new(),
            layers: vec![id.key().to_owned()],
            composed: !manifest.dependencies.is_empty() || !manifest.path_whitelist.is_empty(),
            manifest: text,
            id,
        }
    }

    /// The record of an OCI image; sizes, blobs and layers are to be added.
    pub(super) fn of_oci(id: ImageId, manifest: &ImageManifest, text: String, latest: bool) -> Self {
        Record {
            kind: Kind::Oci,
            latest,
            layers: Vec::new(),
            composed: false,
            ..Record::of_aci(id, manifest, text, 0)
        }
    }

    /// Notes that the image came again, now.
    pub(super) fn renew(&mut self, latest: bool) {
        self.imported = nanoseconds(SystemTime::now());
        self.latest |= latest;
    }

    pub(super) fn write(&self, cas: BorrowedFd<'_>) -> Result<(), StoreError> {
        let name = path(self.id.key());
        let mut text = serde_json::to_vec(self).map_err(|error| StoreError::file("write", &*name, error))?;
        text.push(b'\n');
        files::replace(cas, &name, &text).map_err(|error| StoreError::file("write", name, error))
    }

    /// The record of the image `key`. One that makes no sense counts as absent: a power cut can leave such.
    pub(super) fn read(cas: BorrowedFd<'_>, key: &str) -> Result<Option<(Record, Stat)>, StoreError> {
        let name = path(key);
        let read = files::read(cas, &name, LIMIT).map_err(|error| StoreError::file("read", name, error))?;
        Ok(read.and_then(|(text, stat)| {
            let record: Record = serde_json::from_slice(&text).ok()?;
            (record.format == FORMAT && record.id.is_full() && record.id.key() == key)
                .then_some((record, stat))
        }))
    }
}

pub(super) fn path(key: &str) -> String {
    format!("image/{key}.json")
}

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub(super) record: Record,
    /// When a pod or a user last asked for it; to the minute.
    pub(super) last_used: SystemTime,
    /// Whether this user, or root, wrote the record.
    pub(super) trusted: bool,
}

impl Image {
    pub(super) fn new(record: Record, stat: &Stat, we: u32) -> Self {
        let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let last_used = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        Image { record, last_used, trusted: stat.st_uid == 0 || stat.st_uid == we }
    }

    /// The ID in full.
    pub fn id(&self) -> &ImageId {
        &self.record.id
    }

    /// The name in the store: `sha512-` and 64 digits.
    pub fn key(&self) -> &str {
        self.record.id.key()
    }

    /// The name of the image.
    pub fn name(&self) -> &AcIdentifier {
        &self.record.name
    }

    /// The labels of the image.
    pub fn labels(&self) -> &Labels {
        &self.record.labels
    }

    /// Whether it was fetched without saying which version.
    pub fn is_latest(&self) -> bool {
        self.record.latest
    }

    /// When it came into the store.
    pub fn imported(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.record.imported)
    }

    /// When it was last used.
    pub fn last_used(&self) -> SystemTime {
        self.last_used
    }

    /// Whether it is an OCI or Docker image.
    pub fn is_oci(&self) -> bool {
        self.record.kind == Kind::Oci
    }

    /// Bytes of the archive, or of the blobs, as received.
    pub fn archive_size(&self) -> u64 {
        self.record.archive_size
    }

    /// Bytes of its unpacked files, without those of images that it depends on; 0 when it is not unpacked.
    pub fn unpacked_size(&self) -> u64 {
        self.record.unpacked_size.unwrap_or(0)
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}
