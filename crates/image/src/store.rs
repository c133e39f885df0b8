//! The image store: what it keeps on disk, and how it stays whole.
//!
//! ```text
//! $dir/cas/
//! ├── image/KEY.json          record: ID, name, labels, sizes, layers, manifest; mtime = time of last use
//! ├── name/NAME/KEY           empty: finds the images of a name ('/' is written %2f)
//! ├── blob/KEY                the archive as it was received, compressed or not
//! ├── blob/KEY.asc            its signature, when it came with one
//! ├── blob/sha256-DIGEST      a layer of an OCI image as it was received; shared by the images that have it
//! ├── layer/ID/rootfs/        the files of one layer          root only
//! ├── layer/ID/complete       marker: they are all there      root only
//! ├── layer/ID/facts.json     of a layer of an OCI image: sizes, blob, what it says about layers below (`facts.rs`)
//! ├── tree/TREE               layer IDs of a rendered image, a line each, top first
//! ├── known/…                 archives that need not be read again (`known.rs`)     root only
//! ├── lock/…                  files to lock
//! └── tmp/                    work areas of others than root; root's are in layer/
//! ```
//! KEY is `sha512-` and the first 64 digits of the SHA-512 of the uncompressed archive; for an OCI image, of its translated manifest,
//! which names its layers (`oci.rs`). The ID of a layer is the KEY of the archive, or `sha256-` and the digest of the uncompressed
//! layer; `part-…` and `attr-…` were made here of others. TREE is `deps-sha512-` and 64
//! digits of the digest of its layer IDs.
//!
//! **Nothing half-stored is ever taken for whole.** Images and layers are made in a work area and moved to their place
//! by one rename; records and lists are replaced by one rename. A process killed at any moment leaves a
//! work area whose lock is free, which the next one removes (`work.rs`).
//!
//! **Many at once.** The file `lock/store` is held for moves, never while an archive is read.
//!
//! **Root trusts nobody.** Members of the group `rkt` may write records and archives. Root takes a record that another
//! user wrote for a hint only: before anything of it is used, the archive is read again ([`Store::admit`]).

mod attributes;
mod derived;
mod error;
mod facts;
mod files;
mod import;
mod known;
mod layer;
mod local;
mod lookup;
mod oci;
mod output;
mod record;
mod removal;
mod render;
mod verification;
mod verify;
mod work;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use appc::ImageManifest;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use transport::digest::{Algorithm, Hasher};

pub use error::StoreError;
pub use import::{ImportRequest, Staged};
pub use local::LocalImage;
pub use record::Image;
pub use render::Tree;
pub use verification::Verification;
pub use verify::{Refusal, Verifier};

use crate::limits::Limits;
use crate::remove;

/// The directories of a store and their permissions; the last one tells that all are there.
const DIRECTORIES: [(&str, u32); 8] = [
    ("image", 0o2770),
    ("name", 0o2770),
    ("blob", 0o2770),
    ("lock", 0o2770),
    ("tmp", 0o2770),
    ("layer", 0o700),
    ("tree", 0o700),
    ("known", 0o700),
];

/// An open image store.
#[derive(Debug)]
pub struct Store {
    cas: OwnedFd,
    path: PathBuf,
    boot: Option<String>,
    helper: Option<PathBuf>,
    verifier: Option<Box<dyn Verifier>>,
    /// What an archive may cost that is read again.
    limits: Limits,
    /// The user this process acts as.
    we: u32,
}

/// Proof that the store's lock is held.
#[derive(Debug)]
pub(crate) struct Locked {
    _file: OwnedFd,
}

impl Store {
    /// Opens the store of the data directory `data`; root makes it where there is none.
    ///
    /// # Errors
    /// [`StoreError::OldStore`] for the store of a Go rkt, [`StoreError::Open`] when it cannot be opened or made.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        let path = data.join("cas");
        let failed = |source: io::Error| StoreError::Open { path: path.clone(), source };
        let we = rustix::process::geteuid().as_raw();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let cas = match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(Errno::NOENT) if we == 0 => {
                std::fs::create_dir_all(&path).map_err(failed)?;
                rustix::fs::open(&path, flags, Mode::empty())
            }
            opened => opened,
        }
        .map_err(|error| failed(error.into()))?;
        if is_old(&cas) {
            return Err(StoreError::OldStore(path));
        }
        if rustix::fs::accessat(&cas, "known", rustix::fs::Access::EXISTS, AtFlags::empty()).is_err() {
            create_directories(&cas).map_err(|error| failed(error.into()))?;
        }
        Ok(Self {
            cas,
            path,
            boot: layer::boot(),
            helper: None,
            verifier: None,
            limits: Limits::default(),
            we,
        })
    }

    /// Unpacks with `program`, which calls [`crate::helper::helper_main`], instead of with the program that runs.
    #[must_use]
    pub fn with_helper(mut self, program: impl Into<PathBuf>) -> Self {
        self.helper = Some(program.into());
        self
    }

    /// Sets what an archive of the store may cost when it is read again; the default is that of [`Limits`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The manifest of `image`.
    pub fn manifest(&self, image: &Image) -> Result<ImageManifest, StoreError> {
        ImageManifest::parse(image.record.manifest.as_bytes())
            .map_err(|source| StoreError::Manifest { name: image.name().to_string(), source })
    }

    fn is_root(&self) -> bool {
        self.we == 0
    }

    /// Takes the lock of the store, waiting for it.
    fn lock(&self) -> Result<Locked, StoreError> {
        let name = "lock/store";
        let file =
            files::lock(self.cas.as_fd(), name).map_err(|error| StoreError::file("lock", name, error))?;
        Ok(Locked { _file: file })
    }

    /// The names in a directory of the store.
    fn list(&self, directory: &str) -> Result<Vec<String>, StoreError> {
        let failed = |error| StoreError::file("list", directory, error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.cas, directory, flags, Mode::empty()).map_err(failed)?;
        let names = remove::names(handle.as_fd()).map_err(failed)?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }
}

/// Whether a Go rkt made the store. An empty database that a package made beforehand says nothing.
fn is_old(cas: &OwnedFd) -> bool {
    let stat = |name: &str| rustix::fs::statat(cas, name, AtFlags::SYMLINK_NOFOLLOW);
    stat("db/ql.db").is_ok_and(|stat| stat.st_size > 0) || stat("blob/sha512").is_ok()
}

fn create_directories(cas: &OwnedFd) -> rustix::io::Result<()> {
    for (name, mode) in DIRECTORIES {
        let mode = Mode::from_raw_mode(mode);
        match rustix::fs::mkdirat(cas, name, mode) {
            // The umask may have taken something away.
            Ok(()) => rustix::fs::chmodat(cas, name, mode, AtFlags::empty())?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// 64 hexadecimal digits of the SHA-512 of `parts`, each with its length before it.
fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha512);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finish().hex()[..64].to_owned()
}
