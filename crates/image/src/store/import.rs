//! Bringing archives into the store.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use appc::{ImageId, ImageManifest};
use rustix::fs::{FileType, Stat};

use super::record::{Image, Record};
use super::verify::{Verifier, signature_path};
use super::work::Work;
use super::{Store, StoreError, files};
use crate::helper::{self, HelperError};
use crate::limits::Limits;
use crate::pipeline::{Content, Outcome};

/// What the user wants of an import.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    name: String,
    expected: Option<ImageId>,
    latest: bool,
    remember: Option<PathBuf>,
    limits: Limits,
    /// Whether the verifier has to accept the archive.
    verified: bool,
    signature: Option<Vec<u8>>,
}

impl ImportRequest {
    /// An import of the archive that the user knows as `name`.
    pub fn new(name: impl Into<String>) -> Self {
        ImportRequest {
            name: name.into(),
            expected: None,
            latest: false,
            remember: None,
            limits: Limits::default(),
            verified: false,
            signature: None,
        }
    }

    /// Has the store's verifier judge the archive by `signature` before it is unpacked. Without this it is taken as
    /// it is.
    #[must_use]
    pub fn signed(mut self, signature: Option<Vec<u8>>) -> Self {
        self.verified = true;
        self.signature = signature;
        self
    }

    /// Refuses the archive unless its ID begins with `id`.
    #[must_use]
    pub fn expect(mut self, id: ImageId) -> Self {
        self.expected = Some(id);
        self
    }

    /// Marks the image as fetched without saying which version.
    #[must_use]
    pub fn latest(mut self, latest: bool) -> Self {
        self.latest = latest;
        self
    }

    /// Remembers that the archive is the file at `path`, so that it need not be read as long as it stays as it is. For
    /// files that only root can write.
    #[must_use]
    pub fn remember(mut self, path: impl AsRef<Path>) -> Self {
        self.remember = Some(path.as_ref().to_owned());
        self
    }

    /// Sets what the archive may cost.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn bounds(&self) -> &Limits {
        &self.limits
    }

    fn check(&self, id: &ImageId) -> Result<(), StoreError> {
        match &self.expected {
            Some(expected) if !id.as_str().starts_with(expected.as_str()) => Err(StoreError::WrongId {
                name: self.name.clone(),
                expected: expected.clone(),
                found: id.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// An image that was read, checked and (by root) unpacked, but is not in the store yet. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Staged<'s> {
    store: &'s Store,
    work: Work<'s>,
    record: Record,
    manifest: ImageManifest,
    new_blob: bool,
}

impl Staged<'_> {
    /// The ID, in full.
    pub fn id(&self) -> &ImageId {
        &self.record.id
    }

    /// The manifest.
    pub fn manifest(&self) -> &ImageManifest {
        &self.manifest
    }

    /// Puts the image into the store. When it is there already, that one stays.
    pub fn commit(self) -> Result<Image, StoreError> {
        let store = self.store;
        let key = self.record.id.key().to_owned();
        let locked = store.lock()?;
        let present = store.image(&key)?;
        let complete = match &present {
            Some(image) => store.is_complete(image)?,
            None => false,
        };
        if !complete || self.new_blob && store.open_blob(&key).is_none() {
            if self.record.unpacked_size.is_some() {
                store.commit_layer(&locked, &self.work, &key)?;
            }
            if self.new_blob {
                let target = format!("blob/{key}");
                rustix::fs::renameat(self.work.dir(), "blob", &store.cas, &target)
                    .map_err(|error| StoreError::file("store", target, error))?;
            }
            self.work.keep_signature(&signature_path(&key))?;
            store.index_name(&self.record.name, &self.record.id)?;
            self.record.write(store.cas.as_fd())?;
        }
        let image = store.image(&key)?.ok_or(StoreError::NotFound)?;
        if store.is_root() && !complete {
            store.know_archive(&locked, &image)?;
        }
        drop(locked);
        if complete { store.refresh(image, self.record.latest) } else { Ok(image) }
    }
}

impl Store {
    /// Imports an archive in a file. One that is in the store already is not unpacked again.
    pub fn import_file(&self, file: &File, request: &ImportRequest) -> Result<Image, StoreError> {
        let stat = rustix::fs::fstat(file).map_err(|error| self.unreadable(request, error))?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let judge = self.judge().filter(|_| request.verified);
        if !self.is_root() || !regular {
            let mut file = file;
            return self.import_reader(&mut file, request);
        }
        if let Some(path) = &request.remember
            && let Some(image) = self.remembered(path, &stat)?
        {
            request.check(image.id())?;
            return Ok(image);
        }
        // Two imports of one archive have the same length: the second one waits and finds the first one's.
        let _turn = self.lock_turn(stat.st_size)?;
        let image = match self.same_archive(file, &stat)? {
            Some(image) => {
                request.check(image.id())?;
                // What was taken without a signature once is not good for ever.
                if let Some(verifier) = judge {
                    let blob = self.open_blob(image.key()).ok_or(StoreError::NotFound)?;
                    self.verify(verifier, &blob, request.signature.as_deref(), request)?;
                }
                self.refresh(image, request.latest)?
            }
            None => self.stage_file(file, &stat, request)?.commit()?,
        };
        if let Some(path) = &request.remember {
            self.remember(path, file, &stat, &image);
        }
        Ok(image)
    }

    /// Imports an archive from a stream, to its end.
    pub fn import_reader(&self, source: &mut dyn Read, request: &ImportRequest) -> Result<Image, StoreError> {
        self.stage(source, request)?.commit()
    }

    /// Reads, checks and (as root) unpacks an archive without putting it into the store yet, so that the caller can
    /// look at it first.
    pub fn stage(&self, source: &mut dyn Read, request: &ImportRequest) -> Result<Staged<'_>, StoreError> {
        let work = Work::new(self)?;
        let blob = work.blob()?;
        match self.judge().filter(|_| request.verified) {
            None => self.fill(work, source, Some(&blob), request),
            Some(verifier) => {
                copy(source, &blob, request)?;
                self.fill_verified(work, verifier, blob, request)
            }
        }
    }

    /// Judges `blob`, the archive in `work`, and only then unpacks it.
    fn fill_verified<'s>(
        &'s self,
        work: Work<'s>,
        verifier: &dyn Verifier,
        mut blob: File,
        request: &ImportRequest,
    ) -> Result<Staged<'s>, StoreError> {
        self.verify(verifier, &blob, request.signature.as_deref(), request)?;
        if let Some(signature) = &request.signature {
            work.signature(signature)?;
        }
        self.fill(work, &mut blob, None, request)
    }

    fn stage_file(
        &self,
        mut file: &File,
        stat: &Stat,
        request: &ImportRequest,
    ) -> Result<Staged<'_>, StoreError> {
        let work = Work::new(self)?;
        let mut blob = work.blob()?;
        let judge = self.judge().filter(|_| request.verified);
        // Where the file system can share blocks, the copy costs nothing and the original may change.
        if rustix::fs::ioctl_ficlone(&blob, file).is_ok() {
            return match judge {
                Some(verifier) => self.fill_verified(work, verifier, blob, request),
                None => self.fill(work, &mut blob, None, request),
            };
        }
        let _ = rustix::fs::fadvise(
            file,
            0,
            std::num::NonZeroU64::new(stat.st_size.unsigned_abs()),
            rustix::fs::Advice::Sequential,
        );
        file.rewind().map_err(|error| self.unreadable(request, error))?;
        if let Some(verifier) = judge {
            copy(&mut file, &blob, request)?;
            return self.fill_verified(work, verifier, blob, request);
        }
        self.fill(work, &mut file, Some(&blob), request)
    }

    /// Reads `source` through the helper into `work`, and to `copy` on the way.
    fn fill<'s>(
        &'s self,
        work: Work<'s>,
        source: &mut dyn Read,
        copy: Option<&File>,
        request: &ImportRequest,
    ) -> Result<Staged<'s>, StoreError> {
        let rootfs = if self.is_root() { Some(work.rootfs()?) } else { None };
        let root = rootfs.as_ref().map(AsFd::as_fd);
        let mut keep = |bytes: &[u8]| copy.map_or(Ok(()), |mut copy| copy.write_all(bytes));
        let found =
            helper::run(self.helper.as_ref(), Content::Image, source, &mut keep, root, &request.limits)
                .map_err(|source| StoreError::Import { name: request.name.clone(), source })?;
        let manifest = ImageManifest::parse(found.manifest.as_bytes())
            .map_err(|source| StoreError::Manifest { name: request.name.clone(), source })?;
        let id = image_id(&found, request)?;
        request.check(&id)?;
        let archive_size = rustix::fs::statat(work.dir(), "blob", rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .map_or(0, |stat| stat.st_size.unsigned_abs());
        let mut record = Record::of_aci(id, &manifest, found.manifest, archive_size);
        record.latest = request.latest;
        record.unpacked_size = rootfs.map(|_| found.unpacked);
        Ok(Staged { store: self, work, record, manifest, new_blob: true })
    }

    /// Makes sure that `image` can be trusted and is unpacked in full; for root, before anything of it is used. An
    /// image that another user stored, or whose layer is gone, is read again from its archive.
    pub fn admit(&self, image: &Image) -> Result<Image, StoreError> {
        if !self.is_root() || self.is_complete(image)? {
            return Ok(image.clone());
        }
        if image.is_oci() {
            return self.admit_oci(image);
        }
        let _turn = self.lock_turn(i64::try_from(image.archive_size()).unwrap_or(0))?;
        let damaged =
            |cause: Option<StoreError>| StoreError::Damaged(image.id().clone(), cause.map(Box::new));
        // Another process may have been faster.
        if let Some(image) = self.image(image.key())?
            && self.is_complete(&image)?
        {
            return Ok(image);
        }
        let mut blob = self.open_blob(image.key()).ok_or_else(|| damaged(None))?;
        let foreign = rustix::fs::fstat(&blob).map_or(true, |stat| stat.st_uid != self.we);
        let request = ImportRequest::new(format!("the stored archive of {}", image.name()))
            .expect(image.id().clone())
            .latest(image.is_latest())
            .limits(self.limits.clone());
        let work = Work::new(self)?;
        let filled = match self.judge().filter(|_| !image.trusted) {
            Some(verifier) => {
                let request = request.signed(self.signature(image.key())?);
                let mine = work.blob()?;
                copy(&mut blob, &mine, &request)?;
                self.fill_verified(work, verifier, mine, &request)
            }
            None => {
                let copy = if foreign { Some(work.blob()?) } else { None };
                self.fill(work, &mut blob, copy.as_ref(), &request)
            }
        };
        let mut staged = filled.map_err(|error| match error {
            error @ (StoreError::WrongId { .. } | StoreError::Manifest { .. }) => damaged(Some(error)),
            StoreError::Import { source: HelperError::Archive(cause), name } if cause.is_about_content() => {
                damaged(Some(StoreError::Import { source: HelperError::Archive(cause), name }))
            }
            other => other,
        })?;
        staged.new_blob = staged.work.has_blob();
        if !staged.new_blob {
            staged.record.archive_size = image.archive_size();
        }
        staged.commit()
    }

    /// Whether root need not look at the archive of `image` again.
    pub(super) fn is_complete(&self, image: &Image) -> Result<bool, StoreError> {
        if !image.trusted {
            return Ok(false);
        }
        if !self.is_root() {
            return Ok(true);
        }
        for layer in &image.record.layers {
            if !self.has_layer(layer)? {
                return Ok(false);
            }
        }
        Ok(image.record.unpacked_size.is_some())
    }

    /// Notes that an image which was there came again: among those of its name it is the newest now.
    pub(super) fn refresh(&self, image: Image, latest: bool) -> Result<Image, StoreError> {
        let newest = self.find_by_name(image.name(), &appc::Labels::new())?;
        if newest.is_some_and(|newest| newest.key() == image.key()) && image.is_latest() >= latest {
            self.touch(&image);
            return Ok(image);
        }
        let locked = self.lock()?;
        let Some(current) = self.image(image.key())? else { return Ok(image) };
        let mut record = current.record;
        record.renew(latest);
        record.write(self.cas.as_fd())?;
        drop(locked);
        Ok(self.image(image.key())?.unwrap_or(image))
    }

    fn lock_turn(&self, size: i64) -> Result<std::os::fd::OwnedFd, StoreError> {
        let name = format!("lock/import-{}", size.rem_euclid(64));
        files::lock(self.cas.as_fd(), &name).map_err(|error| StoreError::file("lock", name, error))
    }

    pub(super) fn unreadable(&self, request: &ImportRequest, error: impl Into<std::io::Error>) -> StoreError {
        StoreError::Import { name: request.name.clone(), source: HelperError::Source(error.into()) }
    }
}

/// Copies an archive into the work area.
fn copy(source: &mut dyn Read, blob: &File, request: &ImportRequest) -> Result<(), StoreError> {
    let failed = |source| StoreError::Import { name: request.name.clone(), source };
    let mut blob = blob;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                blob.write_all(&buffer[..count]).map_err(|error| failed(HelperError::Copy(error)))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(HelperError::Source(error))),
        }
    }
}

fn image_id(found: &Outcome, request: &ImportRequest) -> Result<ImageId, StoreError> {
    ImageId::new(&format!("sha512-{}", found.digest)).map_err(|_| StoreError::Import {
        name: request.name.clone(),
        source: HelperError::Died("no digest".to_owned()),
    })
}
