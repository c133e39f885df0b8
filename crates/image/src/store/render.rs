//! Rendering: from an image to the layers that its files are made of.
//!
//! Dependencies lie below the image that names them, the first one lowest, each with its own below it; appc
//! specification, "Dependency Matching". A path whitelist holds for an image and all below it: of a layer under one, a copy with the
//! listed paths only stands in its place.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use appc::{Dependency, ImageManifest};

use super::derived::Derived;
use super::{Image, Store, StoreError, digest, files};
use crate::copy::{self, Whitelist};

/// The most layers of an image.
pub(super) const LAYERS: usize = sys::mount::OVERLAY_LAYERS_MAX;

const PREFIX: &str = "deps-sha512-";

/// Bytes that a list of layers may have.
const LIMIT: usize = 64 << 10;

/// A rendered image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its name, for pods to remember: `deps-sha512-` and 64 digits.
    pub id: String,
    /// The directories of its layers, top first.
    pub layers: Vec<PathBuf>,
}

/// A layer and what may be seen of it: of one under whitelists, a copy with what they list.
pub(super) struct Visible {
    pub(super) layer: String,
    whitelists: Vec<BTreeSet<PathBuf>>,
}

impl Visible {
    /// The layers of `image` alone.
    pub(super) fn own(image: &Image) -> Vec<Self> {
        let whole = |layer: &String| Visible { layer: layer.clone(), whitelists: Vec::new() };
        image.record.layers.iter().map(whole).collect()
    }

    /// Whether all of it may be seen.
    pub(super) fn is_whole(&self) -> bool {
        self.whitelists.is_empty()
    }
}

impl Derived for Visible {
    fn id(&self) -> String {
        if self.is_whole() {
            return self.layer.clone();
        }
        let lists: Vec<String> = self
            .whitelists
            .iter()
            .map(|list| list.iter().flat_map(|path| [path.to_string_lossy(), "\n".into()]).collect())
            .collect();
        let parts: Vec<&[u8]> =
            std::iter::once(self.layer.as_bytes()).chain(lists.iter().map(String::as_bytes)).collect();
        format!("part-{}", digest(&parts))
    }

    fn make(&self, store: &Store, target: BorrowedFd<'_>) -> Result<(), StoreError> {
        let source = store.path.join("layer").join(&self.layer).join("rootfs");
        copy::copy_layer(&source, target, &Whitelist::new(&self.whitelists))
            .map_err(|error| StoreError::file("copy", source.display().to_string(), error))
    }
}

impl Store {
    /// Makes sure that all of `image` is unpacked and returns its layers. For root.
    ///
    /// # Errors
    /// [`StoreError::MissingDependency`], [`StoreError::DependencyCycle`], [`StoreError::TooManyLayers`]; those of [`Store::admit`].
    pub fn render(&self, image: &Image) -> Result<Tree, StoreError> {
        let image = self.admit(image)?;
        if !self.is_root() {
            return Err(StoreError::NeedsRoot(image.id().clone()));
        }
        let visible = self.visible(&image)?;
        for one in visible.iter().filter(|one| !one.is_whole()) {
            self.derive(one)?;
        }
        let layers = self.with_attributes(&visible)?;
        if layers.len() > LAYERS {
            return Err(StoreError::TooManyLayers(image.name().to_string()));
        }
        self.write_tree(&layers)
    }

    /// `layers`, top first, and one more on top where directories need it.
    pub(super) fn with_attributes(&self, layers: &[Visible]) -> Result<Vec<String>, StoreError> {
        let attributes = self.attributes(layers)?;
        let mut layers: Vec<String> = layers.iter().map(Visible::id).collect();
        if let Some(attributes) = attributes {
            self.derive(&attributes)?;
            layers.insert(0, attributes.id());
        }
        Ok(layers)
    }

    /// The layers that `image` shows, top first. One that is there twice shows only once: at its highest place.
    pub(super) fn visible(&self, image: &Image) -> Result<Vec<Visible>, StoreError> {
        if !image.record.composed {
            return Ok(Visible::own(image));
        }
        let mut visible = Vec::new();
        self.collect(image, &[], &mut Vec::new(), &mut visible)?;
        let mut seen = BTreeSet::new();
        visible.retain(|one| seen.insert(one.id()));
        Ok(visible)
    }

    /// The rendered image `id`.
    pub fn tree(&self, id: &str) -> Result<Tree, StoreError> {
        let none = || StoreError::NoTree(id.chars().take(120).collect());
        let layers = self.tree_layers(id)?.ok_or_else(none)?;
        Ok(self.as_tree(id.to_owned(), &layers))
    }

    /// The layer IDs of the rendered image `id`.
    pub(super) fn tree_layers(&self, id: &str) -> Result<Option<Vec<String>>, StoreError> {
        let digits = id.strip_prefix(PREFIX).unwrap_or_default();
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let name = format!("tree/{id}");
        let read = files::read(self.cas.as_fd(), &name, LIMIT)
            .map_err(|error| StoreError::file("read", &*name, error))?;
        let text = read.and_then(|(text, _)| String::from_utf8(text).ok());
        let layers: Option<Vec<String>> = text.map(|text| text.lines().map(str::to_owned).collect());
        Ok(layers.filter(|layers| tree_id(layers) == id))
    }

    fn write_tree(&self, layers: &[String]) -> Result<Tree, StoreError> {
        let id = tree_id(layers);
        if self.tree_layers(&id)?.is_none() {
            let name = format!("tree/{id}");
            let text: String = layers.iter().flat_map(|layer| [layer, "\n"]).collect();
            files::replace(self.cas.as_fd(), &name, text.as_bytes())
                .map_err(|error| StoreError::file("write", name, error))?;
        }
        Ok(self.as_tree(id, layers))
    }

    pub(super) fn as_tree(&self, id: String, layers: &[String]) -> Tree {
        let path = |layer: &String| self.path.join("layer").join(layer).join("rootfs");
        Tree { id, layers: layers.iter().map(path).collect() }
    }

    /// Adds the layers of `image` and of what it depends on, top first. `above` are the whitelists that hold for it,
    /// `way` the images that led here.
    fn collect(
        &self,
        image: &Image,
        above: &[BTreeSet<PathBuf>],
        way: &mut Vec<String>,
        found: &mut Vec<Visible>,
    ) -> Result<(), StoreError> {
        let name = image.name().to_string();
        if way.iter().any(|key| key == image.key()) {
            return Err(StoreError::DependencyCycle(name));
        }
        let manifest = self.manifest(image)?;
        let mut whitelists = above.to_vec();
        if !manifest.path_whitelist.is_empty() {
            whitelists.push(whitelist(&manifest));
        }
        for layer in &image.record.layers {
            found.push(Visible { layer: layer.clone(), whitelists: whitelists.clone() });
        }
        if found.len() > LAYERS {
            return Err(StoreError::TooManyLayers(name));
        }
        way.push(image.key().to_owned());
        for dependency in manifest.dependencies.iter().rev() {
            let below = self.dependency(&name, dependency)?;
            self.collect(&self.admit(&below)?, &whitelists, way, found)?;
        }
        way.pop();
        Ok(())
    }

    /// The image that `dependency` of the image named `image` means.
    pub(super) fn dependency(&self, image: &str, dependency: &Dependency) -> Result<Image, StoreError> {
        let missing =
            |what: String| StoreError::MissingDependency { image: image.to_owned(), dependency: what };
        if let Some(id) = &dependency.image_id {
            return match self.find_by_id(id.as_str()) {
                Err(StoreError::NotFound) => Err(missing(format!("{} ({id})", dependency.image_name))),
                found => found,
            };
        }
        let labels = dependency.labels.iter().map(|label| format!(",{}={}", label.name, label.value));
        let what = || format!("{}{}", dependency.image_name, labels.clone().collect::<String>());
        self.find_by_name(&dependency.image_name, &dependency.labels)?.ok_or_else(|| missing(what()))
    }
}

fn whitelist(manifest: &ImageManifest) -> BTreeSet<PathBuf> {
    let relative = |path: &String| Path::new(path.trim_start_matches('/')).components().collect::<PathBuf>();
    manifest.path_whitelist.iter().map(relative).collect()
}

fn tree_id(layers: &[String]) -> String {
    let parts: Vec<&[u8]> = layers.iter().map(String::as_bytes).collect();
    format!("{PREFIX}{}", digest(&parts))
}
