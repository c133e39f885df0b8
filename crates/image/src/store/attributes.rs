//! Directories that a layer needs but does not have.
//!
//! An archive may have `etc/file` without `etc`. Its layer has a directory `etc` of its own then, which would show in place of those
//! below, with the wrong owner and mode. A further layer on top of such images has nothing but these directories, as the
//! layers that really have them say.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::path::open_beneath;

use super::derived::Derived;
use super::facts::Facts;
use super::render::Visible;
use super::{Store, StoreError, digest};
use crate::copy;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// The layer of directories that goes on top of others.
pub(super) struct Attributes {
    /// Those below, top first.
    layers: Vec<String>,
    /// The directories that each of them has and its archive does not.
    implicit: Vec<BTreeSet<Vec<u8>>>,
    missing: BTreeSet<Vec<u8>>,
}

impl Store {
    /// What has to go on top of `layers`, top first; nothing when no directory needs it.
    pub(super) fn attributes(&self, layers: &[Visible]) -> Result<Option<Attributes>, StoreError> {
        if layers.len() < 2 {
            return Ok(None);
        }
        let mut implicit = Vec::with_capacity(layers.len());
        for layer in layers {
            implicit.push(Facts::read(self, &layer.layer)?.unwrap_or_default().marks.implicit);
        }
        // The root of most archives is in none of the layers, and as it should be in all of them.
        let rootless = implicit.iter().all(|paths| paths.contains(&b""[..]));
        let missing: BTreeSet<Vec<u8>> = implicit
            .iter()
            .take(layers.len() - 1)
            .flat_map(|paths| paths.iter().filter(|path| !(rootless && path.is_empty())))
            .flat_map(|path| ancestors(path).map(<[u8]>::to_vec))
            .collect();
        let layers = layers.iter().map(Visible::id).collect();
        Ok((!missing.is_empty()).then_some(Attributes { layers, implicit, missing }))
    }
}

impl Derived for Attributes {
    fn id(&self) -> String {
        let parts: Vec<&[u8]> = self.layers.iter().map(String::as_bytes).collect();
        format!("attr-{}", digest(&parts))
    }

    fn make(&self, store: &Store, target: BorrowedFd<'_>) -> Result<(), StoreError> {
        let failed = |error: Errno| {
            StoreError::file("make", format!("the directories of the layer {}", self.id()), error)
        };
        let roots: Vec<OwnedFd> = self
            .layers
            .iter()
            .map(|layer| sys::path::open_directory(&store.path.join("layer").join(layer).join("rootfs")))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let mut right: BTreeMap<&[u8], OwnedFd> = BTreeMap::new();
        for path in &self.missing {
            if let Some(dir) = explicit(&roots, &self.implicit, path).map_err(failed)? {
                right.insert(path, dir);
            }
        }
        fill(target, &right).map_err(failed)
    }
}

/// A path and those above it, without the empty one twice.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
    ends.chain([0, path.len()]).map(|end| &path[..end])
}

fn open(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(path)) };
    open_beneath(root, path, DIRECTORY, Mode::empty())
}

/// The directory `path` of the uppermost layer that has it in its archive. Nothing when what shows there is none.
fn explicit(
    roots: &[OwnedFd],
    implicit: &[BTreeSet<Vec<u8>>],
    path: &[u8],
) -> rustix::io::Result<Option<OwnedFd>> {
    let mut made = None;
    for (root, implicit) in roots.iter().zip(implicit) {
        match open(root.as_fd(), path) {
            Ok(dir) if implicit.contains(path) => made = made.or(Some(dir)),
            Ok(dir) => return Ok(Some(dir)),
            Err(Errno::NOENT) => {}
            // A file, a link or a whiteout: what is below it does not show.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(made),
            Err(error) => return Err(error),
        }
    }
    Ok(made)
}

fn fill(target: BorrowedFd<'_>, right: &BTreeMap<&[u8], OwnedFd>) -> rustix::io::Result<()> {
    // Parents stand before what is in them.
    for path in right.keys().filter(|path| !path.is_empty()) {
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], *path),
        };
        match open(target, parent) {
            Ok(parent) => rustix::fs::mkdirat(&parent, name, Mode::RWXU)?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    for (path, dir) in right.iter().rev() {
        match open(target, path) {
            Ok(made) => copy::copy_attributes(dir.as_fd(), made.as_fd())?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
