//! Images that pod files pin: they stay in the store.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use appc::ImageReference;
use podfile::{App, Found};

use crate::context::Context;
use crate::remote::registry;

/// The keys of the images that pod files name by ID, or by the digest in a registry. Masked pods pin nothing.
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
        for app in super::read(&directories, &name).with_context(failed)?.file.apps {
            keys.extend(key(context, &app).with_context(failed)?);
        }
    }
    Ok(keys)
}

/// The key of the image of an app, if that is pinned and in the store.
fn key(context: &Context, app: &App) -> Result<Option<String>> {
    let pin = app.settings.image_id.as_ref().map_or(app.image.as_str(), |id| id.as_str());
    if pin.starts_with("sha512-") {
        return Ok(context.store()?.find_by_id(pin).ok().map(|image| image.key().to_owned()));
    }
    let Ok(reference) = ImageReference::parse(&app.image, |path| Path::new(path).is_file()) else {
        return Ok(None);
    };
    match reference {
        ImageReference::Docker(named) | ImageReference::OciRegistry(named) if named.digest.is_some() => {
            registry::known(context, &named)
        }
        _ => Ok(None),
    }
}
