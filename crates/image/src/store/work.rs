//! Work areas: directories where images and layers are made before they move to their place.
//!
//! A work area belongs to the process that holds the lock of the file `lock` in it; one whose lock is free is
//! left over from a process that died, and whoever comes next removes it. Root works in `layer`, which nobody
//! else may enter, others in `tmp`. What is deleted is renamed to `.gone-…` first and belongs to anybody.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::files::{self, NEW};
use super::{Locked, Store, StoreError};
use crate::remove::remove_tree;

const GONE: &str = ".gone-";
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A work area. Whatever is still in it when it is dropped goes.
#[derive(Debug)]
pub(super) struct Work<'s> {
    store: &'s Store,
    /// Its path from the top of the store.
    path: String,
    dir: OwnedFd,
    _lock: OwnedFd,
}

impl<'s> Work<'s> {
    /// Makes a work area, and removes those that dead processes left.
    pub(super) fn new(store: &'s Store) -> Result<Self, StoreError> {
        let path = format!("{}/{NEW}{}", store.workshop(), files::unique());
        let failed = |error| StoreError::file("create", &*path, error);
        let locked = store.lock()?;
        store.bury_the_dead(&locked);
        rustix::fs::mkdirat(&store.cas, &path, Mode::from_raw_mode(0o700)).map_err(failed)?;
        let dir = rustix::fs::openat(&store.cas, &path, DIRECTORY, Mode::empty()).map_err(failed)?;
        let lock = files::lock(dir.as_fd(), "lock").map_err(failed)?;
        drop(locked);
        store.dispose();
        Ok(Work { store, path, dir, _lock: lock })
    }

    /// Whether something called `name` in a workshop is a work area, or what is left of one.
    pub(super) fn is_work(name: &str) -> bool {
        name.starts_with(NEW) || name.starts_with(GONE)
    }

    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Makes the file that becomes the archive in the store.
    pub(super) fn blob(&self) -> Result<File, StoreError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, "blob", flags, files::FILE)
            .and_then(|file| rustix::fs::fchmod(&file, files::FILE).map(|()| File::from(file)))
            .map_err(|error| StoreError::file("create", format!("{}/blob", self.path), error))
    }

    /// Whether there is a file that becomes the archive.
    pub(super) fn has_blob(&self) -> bool {
        rustix::fs::statat(&self.dir, "blob", AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Writes what becomes the signature in the store.
    pub(super) fn signature(&self, content: &[u8]) -> Result<(), StoreError> {
        files::replace(self.dir.as_fd(), "signature", content)
            .map_err(|error| StoreError::file("write", format!("{}/signature", self.path), error))
    }

    /// Moves the signature, if there is one, to its place in the store.
    pub(super) fn keep_signature(&self, target: &str) -> Result<(), StoreError> {
        match rustix::fs::renameat(&self.dir, "signature", &self.store.cas, target) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(StoreError::file("store", target, error)),
        }
    }

    /// Makes the directory that becomes the root of a layer. It does not hand the group of the store down.
    pub(super) fn rootfs(&self) -> Result<OwnedFd, StoreError> {
        let mode = Mode::from_raw_mode(0o755);
        let make = |path: &str| {
            rustix::fs::mkdirat(&self.dir, path, mode)?;
            let dir = rustix::fs::openat(&self.dir, path, DIRECTORY, Mode::empty())?;
            let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
            rustix::fs::fchown(&dir, Some(user), Some(group))?;
            rustix::fs::fchmod(&dir, mode)?;
            Ok(dir)
        };
        make("layer")
            .and_then(|_| make("layer/rootfs"))
            .map_err(|error: Errno| StoreError::file("create", format!("{}/layer/rootfs", self.path), error))
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        // While the lock is held nobody else takes it for left over; should this fail, the next one will.
        let _ = remove_tree(self.store.cas.as_fd(), &*self.path);
    }
}

impl Store {
    /// Where this user works.
    fn workshop(&self) -> &'static str {
        if self.is_root() { "layer" } else { "tmp" }
    }

    /// Renames a directory of the store away, to be deleted after the lock is gone.
    pub(super) fn discard(&self, _: &Locked, path: &str) -> rustix::io::Result<()> {
        let target = format!("{}/{GONE}{}", self.workshop(), files::unique());
        match rustix::fs::renameat(&self.cas, path, &self.cas, target) {
            Err(Errno::NOENT) => Ok(()),
            done => done,
        }
    }

    /// Removes what processes have left that died while they stored something.
    ///
    /// # Errors
    /// What keeps a file from being removed.
    pub fn remove_leftovers(&self) -> Result<(), StoreError> {
        let locked = self.lock()?;
        self.bury_the_dead(&locked);
        drop(locked);
        self.dispose();
        for path in ["image", "known", "tree"] {
            let failed = |error| StoreError::file("clean up", path, error);
            let names = self.list(path)?;
            let dir = rustix::fs::openat(&self.cas, path, DIRECTORY, Mode::empty()).map_err(failed)?;
            files::remove_abandoned(dir.as_fd(), &names, SystemTime::now()).map_err(failed)?;
        }
        Ok(())
    }

    /// Renames the work areas of dead processes away.
    pub(super) fn bury_the_dead(&self, locked: &Locked) {
        for shop in self.workshops() {
            for name in self.list(shop).unwrap_or_default() {
                let path = format!("{shop}/{name}");
                if name.starts_with(NEW) && self.is_dead(&path) {
                    let _ = self.discard(locked, &path);
                }
            }
        }
    }

    /// Deletes what was renamed away. Others may be at it too.
    pub(super) fn dispose(&self) {
        for shop in self.workshops() {
            for name in self.list(shop).unwrap_or_default() {
                if name.starts_with(GONE) {
                    let _ = remove_tree(self.cas.as_fd(), &*format!("{shop}/{name}"));
                }
            }
        }
    }

    /// Root looks after the others too.
    fn workshops(&self) -> &'static [&'static str] {
        if self.is_root() { &["layer", "tmp"] } else { &["tmp"] }
    }

    fn is_dead(&self, path: &str) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.cas, format!("{path}/lock"), flags, Mode::empty()) {
            Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
            // A file of this name, or an area whose owner died before it had a lock.
            Err(Errno::NOTDIR | Errno::NOENT) => {
                rustix::fs::statat(&self.cas, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
            }
            Err(_) => false,
        }
    }
}
