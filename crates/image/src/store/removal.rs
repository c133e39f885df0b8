//! Removing images, and the layers that nobody needs any more.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use super::verify::signature_path;
use super::work::Work;
use super::{Image, Locked, Store, StoreError, files, record};

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
        self.remove_blobs(&image).map_err(failed)?;
        if self.is_root() {
            self.sweep(&locked, in_use)?;
        }
        drop(locked);
        self.dispose();
        Ok(())
    }

    /// Removes the images that nobody used for `age` and that neither `keys` names nor one of the rendered trees `in_use`
    /// stands on; then whatever nobody needs: layers, and blobs that no image has. For root. Returns what was removed.
    pub fn collect_garbage(
        &self,
        age: Duration,
        keys: &BTreeSet<String>,
        in_use: &BTreeSet<String>,
    ) -> Result<Vec<Image>, StoreError> {
        let mut layers = BTreeSet::new();
        for tree in in_use {
            layers.extend(self.tree_layers(tree)?.unwrap_or_default());
        }
        let now = SystemTime::now();
        let mut removed = Vec::new();
        for image in self.images()? {
            let is_old = now.duration_since(image.last_used()).is_ok_and(|since| since >= age);
            let is_used =
                keys.contains(image.key()) || image.record.layers.iter().any(|layer| layers.contains(layer));
            if is_old && !is_used {
                self.remove(image.key(), in_use)?;
                removed.push(image);
            }
        }
        let locked = self.lock()?;
        self.sweep(&locked, in_use)?;
        self.sweep_blobs()?;
        drop(locked);
        self.dispose();
        Ok(removed)
    }

    /// Removes blobs and signatures of images that are not there; only under the lock.
    fn sweep_blobs(&self) -> Result<(), StoreError> {
        let images = self.images()?;
        let needed: BTreeSet<&str> = images
            .iter()
            .flat_map(|image| image.record.blobs.iter().map(String::as_str).chain([image.key()]))
            .collect();
        for name in self.list("blob")? {
            if !needed.contains(name.trim_end_matches(".asc")) {
                let name = format!("blob/{name}");
                files::remove(self.cas.as_fd(), &name)
                    .map_err(|error| StoreError::file("remove", name, error))?;
            }
        }
        Ok(())
    }

    /// Removes the blobs of `image`, whose record is gone, that no other image has.
    fn remove_blobs(&self, image: &Image) -> rustix::io::Result<()> {
        if image.record.blobs.is_empty() {
            return Ok(());
        }
        let others = self.images().unwrap_or_default();
        let needed: BTreeSet<&String> = others.iter().flat_map(|image| &image.record.blobs).collect();
        for blob in image.record.blobs.iter().filter(|blob| is_blob(blob) && !needed.contains(blob)) {
            files::remove(self.cas.as_fd(), &format!("blob/{blob}"))?;
        }
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

/// Whether `name` has the form of a blob's: records may be anybody's, and it goes into a path.
fn is_blob(name: &str) -> bool {
    name.replacen('-', ":", 1).parse::<transport::Digest>().is_ok()
}
