//! Finding images, by ID or name, without looking at the others.

use appc::{AcIdentifier, ImageId, ImageReference, Labels};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::AsFd;

use super::record::{self, Image, Record};
use super::{Store, StoreError, files};
use crate::remove;

/// What every key begins with, and how long the shortest beginning of one and a whole one are.
const PREFIX: &str = "sha512-";
const SHORTEST: usize = PREFIX.len() + 2;
const KEY: usize = PREFIX.len() + 64;

impl Store {
    /// The image that `reference` means, when it can be found here: an ID or a name. Everything else has to be
    /// looked for where it comes from.
    pub fn find(&self, reference: &ImageReference) -> Result<Option<Image>, StoreError> {
        match reference {
            ImageReference::Hash(id) => self.find_by_id(id.as_str()).map(Some),
            ImageReference::Appc { name, labels } => self.find_by_name(name, labels),
            _ => Ok(None),
        }
    }

    /// The one image whose ID begins with `id`: `sha512-` and at least two digits.
    pub fn find_by_id(&self, id: &str) -> Result<Image, StoreError> {
        let lower = id.to_ascii_lowercase();
        let digits = lower.strip_prefix(PREFIX).ok_or_else(|| StoreError::BadId(id.to_owned()))?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(StoreError::BadId(id.to_owned()));
        }
        if lower.len() < SHORTEST {
            return Err(StoreError::IdTooShort);
        }
        if lower.len() >= KEY {
            let image = self.image(&lower[..KEY])?.ok_or(StoreError::NotFound)?;
            return if image.id().as_str().starts_with(&lower) {
                Ok(image)
            } else {
                Err(StoreError::NotFound)
            };
        }
        let mut found = None;
        for key in self.keys()?.into_iter().filter(|key| key.starts_with(&lower)) {
            if let Some(image) = self.image(&key)? {
                if found.is_some() {
                    return Err(StoreError::Ambiguous(id.to_owned()));
                }
                found = Some(image);
            }
        }
        found.ok_or(StoreError::NotFound)
    }

    /// The image of this name that has all of `labels`. Of several, one that was fetched as the latest is
    /// preferred, then the one that was imported last.
    pub fn find_by_name(&self, name: &AcIdentifier, labels: &Labels) -> Result<Option<Image>, StoreError> {
        let index = index(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::openat(&self.cas, &index, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.map_err(|error| StoreError::file("open", &*index, error))?,
        };
        let keys =
            remove::names(directory.as_fd()).map_err(|error| StoreError::file("list", &*index, error))?;
        let mut best: Option<Image> = None;
        for key in keys.iter().filter_map(|key| key.to_str().ok()) {
            let Some(image) = self.image(key)? else { continue };
            let fits = image.name() == name
                && labels.iter().all(|label| image.labels().get(label.name.as_str()) == Some(&label.value));
            let rank = |image: &Image| (image.is_latest(), image.imported());
            if fits && best.as_ref().is_none_or(|best| rank(&image) > rank(best)) {
                best = Some(image);
            }
        }
        Ok(best)
    }

    /// All images, in no order. What cannot be read for an image is left out.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        let keys = self.keys()?;
        Ok(keys.iter().filter_map(|key| self.image(key).ok().flatten()).collect())
    }

    /// The image `key`, in full.
    pub(super) fn image(&self, key: &str) -> Result<Option<Image>, StoreError> {
        if !is_key(key) {
            return Ok(None);
        }
        Ok(Record::read(self.cas.as_fd(), key)?.map(|(record, stat)| Image::new(record, &stat, self.we)))
    }

    /// The keys of all records, good or not.
    pub(super) fn keys(&self) -> Result<Vec<String>, StoreError> {
        let names = self.list("image")?;
        Ok(names
            .iter()
            .filter_map(|name| name.strip_suffix(".json"))
            .filter(|key| is_key(key))
            .map(str::to_owned)
            .collect())
    }

    /// Notes that `image` is used now. Costs nothing within a minute of the last time; a user who may not write is
    /// no error.
    pub fn touch(&self, image: &Image) {
        if image.last_used.elapsed().is_ok_and(|since| since.as_secs() < 60) {
            return;
        }
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
        let _ =
            rustix::fs::utimensat(&self.cas, record::path(image.key()), &times, AtFlags::SYMLINK_NOFOLLOW);
    }

    pub(super) fn index_name(&self, name: &AcIdentifier, id: &ImageId) -> Result<(), StoreError> {
        let index = index(name);
        let failed = |error| StoreError::file("write", &*index, error);
        match rustix::fs::mkdirat(&self.cas, &index, Mode::from_raw_mode(0o2770)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        let entry = format!("{index}/{}", id.key());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.cas, entry, flags, files::FILE).map(drop).map_err(failed)
    }

    pub(super) fn unindex_name(&self, name: &AcIdentifier, key: &str) -> rustix::io::Result<()> {
        let index = index(name);
        files::remove(self.cas.as_fd(), &format!("{index}/{key}"))?;
        match rustix::fs::unlinkat(&self.cas, &index, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether `key` has the form of a key: it goes into paths.
pub(super) fn is_key(key: &str) -> bool {
    key.len() == KEY
        && key
            .strip_prefix(PREFIX)
            .is_some_and(|digits| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// The directory of the name index for `name`. A name has no `%`, and one that is too long for a file name is
/// replaced by its digest.
fn index(name: &AcIdentifier) -> String {
    let escaped = name.as_str().replace('/', "%2f");
    if escaped.len() > 200 {
        return format!("name/%{}", super::digest(&[name.as_str().as_bytes()]));
    }
    format!("name/{escaped}")
}
