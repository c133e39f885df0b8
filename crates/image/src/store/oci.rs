//! Bringing OCI and Docker images into the store.
//!
//! Layers are made in work areas, several at once, and all of an image moves to its place under one lock: nobody who
//! removes images in between can take a layer for one that nobody needs.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use appc::{ImageId, ImageManifest};
use transport::Digest;
use transport::digest::{Algorithm, Hasher};

use super::facts::Facts;
use super::record::{Image, Record};
use super::work::Work;
use super::{Locked, Store, StoreError, files};
use crate::decompress::Compression;
use crate::helper;
use crate::oci::{self, Config, LAYERS, LayerSource, OciError, OciImport};
use crate::pipeline::Content;

/// Layers that are unpacked at once.
const AT_ONCE: usize = 4;
/// How often an import starts again because others removed what it was built on.
const ATTEMPTS: usize = 3;

/// One layer of an image that is on its way into the store.
#[derive(Debug)]
struct Ready<'s> {
    /// Where it is; absent when it is in the store already.
    work: Option<Work<'s>>,
    /// Its name in the store.
    id: String,
    facts: Facts,
    new_blob: bool,
}

/// A layer that was unpacked into a work area.
#[derive(Debug)]
pub(super) struct Layer {
    facts: Facts,
    /// Whether its blob is there too.
    new_blob: bool,
    /// Its files; nothing when it was only checked.
    pub(super) rootfs: Option<OwnedFd>,
}

impl Store {
    /// Which layers of the image with this configuration have to be brought, lowest first: of the others the files, or the
    /// blob, are here already. `digests` are those of the blobs. What somebody else stored is read and counts only if it
    /// is whole.
    pub fn wants_layers(&self, config: &[u8], digests: &[Digest]) -> Result<Vec<bool>, StoreError> {
        let named = |source| StoreError::Oci { name: "the image".to_owned(), source };
        let config = Config::read(config).map_err(named)?;
        let wants = |(diff_id, digest): (&Digest, &Digest)| {
            if self.is_root() {
                Ok(!self.has_layer(&layer_id(diff_id))? && !self.has_whole_blob(digest))
            } else {
                Ok(self.open_blob(&layer_id(digest)).is_none())
            }
        };
        config.diff_ids.iter().zip(digests).map(wants).collect()
    }

    /// Imports an image from its parts: checks every digest, unpacks (as root) the layers that are not here yet, and
    /// records it under its name.
    ///
    /// # Errors
    /// [`StoreError::Oci`] for parts that are not acceptable, [`StoreError::Unsigned`] when the store verifies images.
    pub fn import_oci(&self, import: &OciImport) -> Result<Image, StoreError> {
        let failed = |source| StoreError::Oci { name: import.source.clone(), source };
        if self.judge().is_some() {
            return Err(StoreError::Unsigned(import.source.clone()));
        }
        if let Some(digest) = &import.config_digest {
            oci::has_digest("image configuration", &import.config, digest).map_err(failed)?;
        }
        let config = Config::read(&import.config).map_err(failed)?;
        let (diff_ids, layers) = (config.diff_ids.len(), import.layers.len());
        if diff_ids != layers {
            return Err(failed(OciError::LayerCount { diff_ids, layers }));
        }
        if layers > super::render::LAYERS {
            return Err(StoreError::TooManyLayers(import.source.clone()));
        }
        for layer in &import.layers {
            expected_compression(layer).map_err(failed)?;
        }
        let manifest =
            oci::translate(&config, &import.name, import.manifest_digest.as_ref()).map_err(failed)?;
        let text = serde_json::to_string(&manifest)
            .map_err(|error| StoreError::file("write", "the manifest", error))?;
        let id = id_of(&text)?;
        let _turn = self.lock_turn_of(id.key())?;
        if let Some(image) = self.image(id.key())?
            && self.is_complete(&image)?
        {
            return self.refresh(image, import.latest);
        }
        for _ in 0..ATTEMPTS {
            let ready = self.ready_layers(import, &config.diff_ids)?;
            let record = Record::of_oci(id.clone(), &manifest, text.clone(), import.latest);
            if let Some(image) = self.commit_oci(record, &ready)? {
                return Ok(image);
            }
        }
        Err(StoreError::Damaged(id, None))
    }

    /// Makes sure that root need not look at the OCI image `image` again: what another user stored, or what a
    /// power cut took, is read again from the stored blobs.
    pub(super) fn admit_oci(&self, image: &Image) -> Result<Image, StoreError> {
        let damaged =
            |cause: Option<StoreError>| StoreError::Damaged(image.id().clone(), cause.map(Box::new));
        if !image.trusted && self.judge().is_some() {
            return Err(StoreError::Unsigned(image.name().to_string()));
        }
        let _turn = self.lock_turn_of(image.key())?;
        if let Some(image) = self.image(image.key())?
            && self.is_complete(&image)?
        {
            return Ok(image);
        }
        // The record may be anybody's. The ID is that of the manifest, and the manifest names the layers.
        let text = &image.record.manifest;
        if id_of(text)? != *image.id() {
            return Err(damaged(None));
        }
        let manifest = self.manifest(image)?;
        let diff_ids = diff_ids(&manifest).ok_or_else(|| damaged(None))?;
        if diff_ids.len() != image.record.blobs.len() || diff_ids.len() > super::render::LAYERS {
            return Err(damaged(None));
        }
        let layer = |blob: &String| LayerSource {
            digest: blob.replacen('-', ":", 1).parse().ok(),
            media_type: None,
            size: None,
            blob: self.open_blob(blob),
        };
        let import = OciImport {
            source: format!("the stored image {}", image.name()),
            name: oci::OciName::unknown(image.name()),
            latest: image.is_latest(),
            manifest_digest: None,
            config_digest: None,
            config: Vec::new(),
            layers: image.record.blobs.iter().map(layer).collect(),
            limits: self.limits.clone(),
        };
        let ready = self.ready_layers(&import, &diff_ids).map_err(|error| match error {
            error @ StoreError::Oci { .. } => damaged(Some(error)),
            other => other,
        })?;
        let record = Record::of_oci(image.id().clone(), &manifest, text.clone(), image.is_latest());
        self.commit_oci(record, &ready)?.ok_or_else(|| damaged(None))
    }

    /// Whether the blob with this digest is here and has it. It is read again when it is unpacked: until then somebody else
    /// may change it.
    fn has_whole_blob(&self, digest: &Digest) -> bool {
        let Some(mut blob) = self.open_blob(&layer_id(digest)) else { return false };
        let mut hasher = Hasher::new(digest.algorithm());
        let mut buffer = vec![0; 256 << 10];
        loop {
            match blob.read(&mut buffer) {
                Ok(0) => return hasher.finish() == *digest,
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// Makes the layers that are missing, several at once.
    fn ready_layers<'s>(
        &'s self,
        import: &OciImport,
        diff_ids: &[Digest],
    ) -> Result<Vec<Ready<'s>>, StoreError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(AT_ONCE);
        let next = AtomicUsize::new(0);
        let results: Mutex<Vec<(usize, Result<Ready<'s>, StoreError>)>> = Mutex::new(Vec::new());
        let worker = || loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(diff_id) = diff_ids.get(index) else { return };
            // One that is there twice is made once.
            if diff_ids[..index].contains(diff_id) {
                continue;
            }
            let result = self.ready_layer(import, index, diff_id);
            if result.is_err() {
                // No further layer is worth its time.
                next.fetch_add(diff_ids.len(), Ordering::Relaxed);
            }
            if let Ok(mut results) = results.lock() {
                results.push((index, result));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(diff_ids.len()) {
                scope.spawn(worker);
            }
            worker();
        });
        let mut results = results.into_inner().unwrap_or_default();
        results.sort_by_key(|(index, _)| *index);
        let made = results.into_iter().map(|(_, result)| result).collect::<Result<Vec<Ready<'s>>, _>>()?;
        let mut ready: Vec<Ready<'s>> = Vec::with_capacity(diff_ids.len());
        let mut made = made.into_iter();
        for diff_id in diff_ids {
            let id = layer_id(diff_id);
            let again = ready.iter().find(|layer| layer.id == id).map(|first| Ready {
                work: None,
                id,
                facts: first.facts.clone(),
                new_blob: false,
            });
            ready.extend(again.or_else(|| made.next()));
        }
        Ok(ready)
    }

    fn ready_layer<'s>(
        &'s self,
        import: &OciImport,
        index: usize,
        diff_id: &Digest,
    ) -> Result<Ready<'s>, StoreError> {
        let layer = &import.layers[index];
        let id = layer_id(diff_id);
        if self.is_root() && self.has_layer(&id)? {
            let facts = Facts::read(self, &id)?.unwrap_or_default();
            return Ok(Ready { work: None, id, facts, new_blob: false });
        }
        let failed = |source| StoreError::Oci { name: import.source.clone(), source };
        let name = || layer.digest.as_ref().unwrap_or(diff_id).to_string();
        let stored = || layer.digest.as_ref().and_then(|digest| self.open_blob(&layer_id(digest)));
        let stored = if layer.blob.is_none() { stored() } else { None };
        let Some(blob) = layer.blob.as_ref().or(stored.as_ref()) else {
            let missing = std::io::Error::from_raw_os_error(rustix::io::Errno::NOENT.raw_os_error());
            return Err(failed(OciError::Read { part: format!("the layer {}", name()), cause: missing }));
        };
        if !self.is_root()
            && stored.is_some()
            && let Some(digest) = &layer.digest
        {
            let blob_size = blob.metadata().map_or(0, |data| data.len());
            let facts = Facts { blob: layer_id(digest), blob_size, ..Facts::default() };
            return Ok(Ready { work: None, id, facts, new_blob: false });
        }
        let work = Work::new(self)?;
        let Layer { facts, new_blob, .. } = self.unpack_layer(&work, import, layer, blob, diff_id)?;
        Ok(Ready { work: Some(work), id, facts, new_blob })
    }

    /// Unpacks a layer in `work` and keeps its blob there, unless that is in the store already.
    pub(super) fn unpack_layer(
        &self,
        work: &Work<'_>,
        import: &OciImport,
        layer: &LayerSource,
        blob: &File,
        diff_id: &Digest,
    ) -> Result<Layer, StoreError> {
        let failed = |source| StoreError::Oci { name: import.source.clone(), source };
        let name = layer.digest.as_ref().unwrap_or(diff_id).to_string();
        let length = blob.metadata().map(|data| data.len());
        let length = length.map_err(|cause| failed(OciError::Read { part: name.clone(), cause }))?;
        if let Some(expected) = layer.size.filter(|expected| *expected != length) {
            return Err(failed(OciError::Size { what: format!("layer {name}"), expected, found: length }));
        }
        let rootfs = if self.is_root() { Some(work.rootfs()?) } else { None };
        let stored = self.is_ours(blob, layer.digest.as_ref());
        let copy = if stored { None } else { Some(work.blob()?) };
        let cloned = copy.as_ref().is_some_and(|copy| rustix::fs::ioctl_ficlone(copy, blob).is_ok());
        let mut source: &File = match &copy {
            // What is read is what is kept, whatever happens to the original meanwhile.
            Some(copy) if cloned => copy,
            _ => blob,
        };
        source.rewind().map_err(|cause| failed(OciError::Read { part: name.clone(), cause }))?;
        let mut hasher = Hasher::new(layer.digest.as_ref().map_or(Algorithm::Sha256, Digest::algorithm));
        let mut size = 0;
        let mut keep = |bytes: &[u8]| {
            size += bytes.len() as u64;
            hasher.update(bytes);
            match &copy {
                Some(copy) if !cloned => (&mut &*copy).write_all(bytes),
                _ => Ok(()),
            }
        };
        // More than announced is not read: the digest could not fit.
        let most = layer.size.map_or(u64::MAX, |size| size.saturating_add(1));
        let found = helper::run(
            self.helper.as_ref(),
            Content::Layer,
            &mut source.take(most),
            &mut keep,
            rootfs.as_ref().map(AsFd::as_fd),
            &import.limits,
        );
        let digest = hasher.finish();
        let found = match found {
            Ok(found) => found,
            // What was cut off or changed on the way is no archive: say that rather than where it stops being one.
            Err(source) => {
                return Err(layer_error(import, layer, &name, size, &digest, source));
            }
        };
        check_part(layer, &name, size, &digest).map_err(failed)?;
        if found.digest != diff_id.hex() {
            return Err(failed(OciError::Digest {
                what: format!("uncompressed layer {name}"),
                expected: diff_id.to_string(),
                found: format!("sha256:{}", found.digest),
            }));
        }
        if expected_compression(layer).map_err(failed)?.is_some_and(|expected| expected != found.compression)
        {
            let media_type = layer.media_type.clone().unwrap_or_default();
            return Err(failed(OciError::Compression { digest: name, media_type, found: found.compression }));
        }
        if let Some(rootfs) = &rootfs {
            found
                .marks
                .apply(rootfs.as_fd())
                .map_err(|error| StoreError::file("mark", "the layer", error))?;
        }
        let facts =
            Facts { unpacked: found.unpacked, blob: layer_id(&digest), blob_size: size, marks: found.marks };
        if rootfs.is_some() {
            facts.write(work)?;
        }
        Ok(Layer { facts, new_blob: !stored, rootfs })
    }

    /// Whether `blob` is a file of this store that only root can change.
    fn is_ours(&self, blob: &File, digest: Option<&Digest>) -> bool {
        let same = |digest: &Digest| {
            let stored = self.open_blob(&layer_id(digest))?;
            let (a, b) = (rustix::fs::fstat(&stored).ok()?, rustix::fs::fstat(blob).ok()?);
            Some(a.st_dev == b.st_dev && a.st_ino == b.st_ino && b.st_uid == self.we)
        };
        digest.and_then(same).unwrap_or(false)
    }

    /// Puts the layers and the record in their places; nothing when a layer that was here has gone meanwhile.
    fn commit_oci(&self, mut record: Record, layers: &[Ready<'_>]) -> Result<Option<Image>, StoreError> {
        let locked = self.lock()?;
        if self.is_root() {
            let comes = |id: &str| layers.iter().any(|layer| layer.id == id && layer.work.is_some());
            for layer in layers.iter().filter(|layer| layer.work.is_none()) {
                if !comes(&layer.id) && !self.has_layer(&layer.id)? {
                    return Ok(None);
                }
            }
        }
        for layer in layers {
            if let Some(work) = &layer.work {
                self.commit_ready(&locked, work, layer)?;
            }
        }
        record.archive_size = layers.iter().map(|layer| layer.facts.blob_size).sum();
        record.unpacked_size = self.is_root().then(|| layers.iter().map(|layer| layer.facts.unpacked).sum());
        record.blobs = layers.iter().map(|layer| layer.facts.blob.clone()).collect();
        record.layers = Vec::new();
        for layer in layers.iter().rev() {
            // A layer that is there twice shows only once: at its highest place.
            if !record.layers.contains(&layer.id) {
                record.layers.push(layer.id.clone());
            }
            if layer.facts.marks.hides_everything() {
                break;
            }
        }
        self.index_name(&record.name, &record.id)?;
        record.write(self.cas.as_fd())?;
        let image = self.image(record.id.key())?.ok_or(StoreError::NotFound)?;
        drop(locked);
        Ok(Some(image))
    }

    fn commit_ready(&self, locked: &Locked, work: &Work<'_>, layer: &Ready<'_>) -> Result<(), StoreError> {
        if self.is_root() {
            self.commit_layer(locked, work, &layer.id)?;
        }
        if layer.new_blob {
            let target = format!("blob/{}", layer.facts.blob);
            rustix::fs::renameat(work.dir(), "blob", &self.cas, &target)
                .map_err(|error| StoreError::file("store", target, error))?;
        }
        Ok(())
    }

    fn lock_turn_of(&self, key: &str) -> Result<OwnedFd, StoreError> {
        let name = format!("lock/oci-{}", &key[key.len() - 2..]);
        files::lock(self.cas.as_fd(), &name).map_err(|error| StoreError::file("lock", name, error))
    }
}

/// The name of a layer or blob in the store.
pub(super) fn layer_id(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// The ID of the image with this manifest.
fn id_of(manifest: &str) -> Result<ImageId, StoreError> {
    let text = format!("sha512-{}", Hasher::hash(Algorithm::Sha512, manifest.as_bytes()).hex());
    ImageId::new(&text).map_err(|_| StoreError::BadId(text))
}

/// The layers that a manifest names, lowest first.
pub(super) fn diff_ids(manifest: &ImageManifest) -> Option<Vec<Digest>> {
    manifest.annotations.get(LAYERS)?.split(' ').map(|text| text.parse().ok()).collect()
}

fn check_part(layer: &LayerSource, name: &str, size: u64, digest: &Digest) -> Result<(), OciError> {
    if let Some(expected) = layer.size.filter(|expected| *expected != size) {
        return Err(OciError::Size { what: format!("layer {name}"), expected, found: size });
    }
    match &layer.digest {
        Some(expected) if expected != digest => Err(OciError::Digest {
            what: "layer".to_owned(),
            expected: expected.to_string(),
            found: digest.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Why a layer could not be unpacked. When its blob was read in full, and is not what it should be, that is the reason.
fn layer_error(
    import: &OciImport,
    layer: &LayerSource,
    name: &str,
    size: u64,
    digest: &Digest,
    error: helper::HelperError,
) -> StoreError {
    let is_short =
        layer.blob.as_ref().and_then(|blob| blob.metadata().ok()).is_some_and(|data| data.len() == size);
    if is_short && let Err(source) = check_part(layer, name, size, digest) {
        return StoreError::Oci { name: import.source.clone(), source };
    }
    StoreError::Import { name: format!("the layer {name} of {}", import.source), source: error }
}

/// How a layer is compressed by its media type; nothing when that is not known.
fn expected_compression(layer: &LayerSource) -> Result<Option<Compression>, OciError> {
    let Some(media_type) = &layer.media_type else { return Ok(None) };
    match media_type.as_str() {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Ok(Some(Compression::Plain)),
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Ok(Some(Compression::Gzip)),
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(Some(Compression::Zstd)),
        _ => Err(OciError::MediaType {
            what: "layer",
            found: media_type.chars().take(100).collect(),
            known: "tar layers, uncompressed or compressed by gzip or zstd",
        }),
    }
}
