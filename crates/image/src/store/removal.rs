//! Removing images, and the layers that nobody needs any more.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use super::verify::signature_path;
use super::work::Work;
use super::{Locked, Store, StoreError, files, record};

impl Store {
    /// Removes the image `key`, and every layer that neither an image nor one of the rendered trees `in_use`
    /// needs. The caller sees to it that no pod comes to use a tree meanwhile.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; what keeps a file from being removed.
    pub fn remove(&self, key: &str, in_use: &BTreeSet<String>) -> Result<(), StoreError> {
        let locked = self.lock()?;
        let image = self.image(key)?.ok_or(StoreError::NotFound)?;
        let failed = |error| StoreError::file("remove", format!("the image {key}"), error);
        // The record first: without it the rest is not an image.
        files::remove(self.cas.as_fd(), &record::path(key)).map_err(failed)?;
        self.unindex_name(image.name(), key).map_err(failed)?;
        if self.is_root() {
            self.forget_archive(&locked, &image).map_err(failed)?;
        }
        files::remove(self.cas.as_fd(), &format!("blob/{key}")).map_err(failed)?;
        files::remove(self.cas.as_fd(), &signature_path(key)).map_err(failed)?;
        if self.is_root() {
            self.sweep(&locked, in_use)?;
        }
        drop(locked);
        self.dispose();
        Ok(())
    }

    /// Renames away the layers and lists that nobody needs.
    fn sweep(&self, locked: &Locked, in_use: &BTreeSet<String>) -> Result<(), StoreError> {
        let images = self.images()?;
        let mut needed: BTreeSet<String> =
            images.iter().flat_map(|image| image.record.layers.iter().cloned()).collect();
        for id in self.list("tree")? {
            let layers = self.tree_layers(&id)?.unwrap_or_default();
            // Its own layers being there, a tree costs nothing; one that filtered layers is made anew.
            let whole = layers.iter().all(|layer| needed.contains(layer));
            if in_use.contains(&id) {
                needed.extend(layers);
            } else if !whole {
                let name = format!("tree/{id}");
                files::remove(self.cas.as_fd(), &name)
                    .map_err(|error| StoreError::file("remove", name, error))?;
            }
        }
        for layer in self.list("layer")? {
            if !Work::is_work(&layer) && !needed.contains(&layer) {
                let path = format!("layer/{layer}");
                self.discard(locked, &path).map_err(|error| StoreError::file("remove", path, error))?;
            }
        }
        Ok(())
    }
}
