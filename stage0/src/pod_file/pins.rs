//! Images that pod files pin: they stay in the store.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use appc::{ImageReference, RegistryReference};
use podfile::{App, Found};

use super::request;
use crate::context::Context;
use crate::options::stage1::Stage1Choice;
use crate::remote::registry;

/// The keys of the images that pod files, or manifests that they name, have by ID or by the digest in a registry. Masked pods
/// pin nothing.
///
/// # Errors
/// For a file that cannot be read: what it pins would be lost.
pub(crate) fn keys(context: &Context) -> Result<BTreeSet<String>> {
    let directories = super::directories(context)?;
    let (names, errors) = directories.list();
    if let Some(error) = errors.into_iter().next() {
        return Err(error).context("cannot tell which images pod files pin");
    }
    let mut keys = BTreeSet::new();
    for name in names {
        let failed = || format!("cannot tell which images pod {name} pins");
        if let Found::Masked(_) = directories.find(&name).with_context(failed)? {
            continue;
        }
        let file = super::read(&directories, &name).with_context(failed)?.file;
        for app in &file.apps {
            keys.extend(key(context, app).with_context(failed)?);
        }
        if let Some(Stage1Choice::Hash(id)) = request::stage1(&file.pod) {
            keys.extend(by_id(context, &id).with_context(failed)?);
        }
        if let Some(path) = request::manifest(&file) {
            for app in request::read_manifest(&path).with_context(failed)?.apps {
                keys.extend(by_id(context, app.image.id.as_str()).with_context(failed)?);
            }
        }
    }
    Ok(keys)
}

/// The key of the image with this ID, if it is in the store.
fn by_id(context: &Context, id: &str) -> Result<Option<String>> {
    Ok(context.store()?.find_by_id(id).ok().map(|image| image.key().to_owned()))
}

/// The key of the image of an app, if that is pinned and in the store.
fn key(context: &Context, app: &App) -> Result<Option<String>> {
    let pin = app.settings.image_id.as_ref().map_or(app.image.as_str(), |id| id.as_str());
    if pin.starts_with("sha512-") {
        return by_id(context, pin);
    }
    match of_registry(&app.image) {
        Some(named) if named.digest.is_some() => registry::known(context, &named),
        _ => Ok(None),
    }
}

/// The key of an image of a registry, as far as it has been fetched.
pub(crate) fn fetched(context: &Context, image: &str) -> Result<Option<String>> {
    let known = of_registry(image).map(|named| registry::known(context, &named)).transpose()?.flatten();
    known.map_or(Ok(None), |key| by_id(context, &key))
}

fn of_registry(image: &str) -> Option<RegistryReference> {
    match ImageReference::parse(image, |path| Path::new(path).is_file()) {
        Ok(ImageReference::Docker(named) | ImageReference::OciRegistry(named)) => Some(named),
        _ => None,
    }
}
