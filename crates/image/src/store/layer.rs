//! Layers: directories that are there in full or not at all.
//!
//! A layer is made in a work area, gets its marker `complete`, and is moved to its place in one step. The marker
//! says `boot ID`: nothing was synced, so the layer is whole as long as the machine runs that made it. Only after
//! the file system was synced ([`Store::settle`]) does it say `durable`. After a power cut the layers that still
//! name the old boot count as absent and are unpacked again.

use std::os::fd::AsFd;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::work::Work;
use super::{Locked, Store, StoreError, files};

const DURABLE: &[u8] = b"durable\n";

impl Store {
    /// Whether all of the layer `id` is there.
    pub(super) fn has_layer(&self, id: &str) -> Result<bool, StoreError> {
        let marker = marker(id);
        let text = files::read(self.cas.as_fd(), &marker, 100)
            .map_err(|error| StoreError::file("read", &*marker, error))?;
        Ok(text.is_some_and(|(text, _)| {
            text == DURABLE || self.boot.as_ref().is_some_and(|boot| text == boot.as_bytes())
        }))
    }

    /// Moves the layer that was made in `work` to its place. When it is there already, the one there stays.
    pub(super) fn commit_layer(&self, _: &Locked, work: &Work<'_>, id: &str) -> Result<(), StoreError> {
        let target = format!("layer/{id}");
        let failed = |error| StoreError::file("store", &*target, error);
        if self.has_layer(id)? {
            return Ok(());
        }
        let text = match &self.boot {
            Some(boot) => boot.as_bytes(),
            // Without a way to tell a power cut, there must be nothing to tell.
            None => {
                rustix::fs::syncfs(&self.cas).map_err(failed)?;
                DURABLE
            }
        };
        files::replace(work.dir(), "layer/complete", text).map_err(failed)?;
        let rename =
            || rustix::fs::renameat_with(work.dir(), "layer", &self.cas, &target, RenameFlags::NOREPLACE);
        match rename() {
            Err(Errno::EXIST) => {
                // What a power cut left goes with the work area.
                rustix::fs::renameat(&self.cas, &target, work.dir(), "stale").map_err(failed)?;
                rename().map_err(failed)
            }
            renamed => renamed.map_err(failed),
        }
    }

    /// Writes everything through to the disk, so that no layer has to be unpacked again after a power cut. Not on
    /// the way of `rkt run`: a power cut before costs time, never correctness. Does nothing for others than root.
    pub fn settle(&self) -> Result<(), StoreError> {
        if !self.is_root() {
            return Ok(());
        }
        let mut unsettled = self.list("layer")?;
        unsettled.retain(|id| {
            !id.starts_with('.')
                && files::read(self.cas.as_fd(), &marker(id), 100).is_ok_and(|read| {
                    read.is_some_and(|(text, _)| {
                        self.boot.as_ref().is_some_and(|boot| text == boot.as_bytes())
                    })
                })
        });
        if unsettled.is_empty() {
            return Ok(());
        }
        rustix::fs::syncfs(&self.cas).map_err(|error| StoreError::file("sync", "the file system", error))?;
        for id in unsettled {
            let marker = marker(&id);
            match files::replace(self.cas.as_fd(), &marker, DURABLE) {
                // Removed in the meantime.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(StoreError::file("write", marker, error)),
            }
        }
        Ok(())
    }
}

fn marker(id: &str) -> String {
    format!("layer/{id}/complete")
}

/// What markers of this boot say; nothing where the system does not tell.
pub(super) fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("boot {}\n", id.trim()))
}
