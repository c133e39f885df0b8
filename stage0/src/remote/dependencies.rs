//! What an image builds on, and what that builds on: fetched too, each with its own signature.

use std::collections::{BTreeSet, VecDeque};

use anyhow::{Context as _, Result, bail};
use appc::{Dependency, ImageReference};
use image::Image;

use super::name;
use crate::context::Context;
use crate::options::pull::PullPolicy;

/// Images that one image may build on, all in all.
const MOST: usize = 500;

/// Brings what `image` depends on into the store, unless it is there.
pub(crate) fn fetch(context: &Context, image: &Image, pull: PullPolicy) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut waiting = VecDeque::from([image.clone()]);
    while let Some(image) = waiting.pop_front() {
        if !seen.insert(image.key().to_owned()) {
            continue;
        }
        if seen.len() > MOST {
            bail!("{} depends on more than {MOST} images", image.name());
        }
        for dependency in context.store()?.manifest(&image)?.dependencies {
            let found = one(context, &dependency, pull).with_context(|| {
                format!("cannot get {}, which {} depends on", shown(&dependency), image.name())
            })?;
            waiting.push_back(found);
        }
    }
    Ok(())
}

fn one(context: &Context, dependency: &Dependency, pull: PullPolicy) -> Result<Image> {
    let store = context.store()?;
    let name = &dependency.image_name;
    let stored = match &dependency.image_id {
        Some(id) => store.find_by_id(id.as_str()).ok(),
        None => {
            store.find(&ImageReference::Appc { name: name.clone(), labels: dependency.labels.clone() })?
        }
    };
    match (stored, pull) {
        (Some(image), _) => Ok(image),
        (None, PullPolicy::Never) => bail!("it is not in the store, and --pull-policy=never"),
        (None, _) => name::fetch(context, name, &dependency.labels, dependency.image_id.as_ref(), None),
    }
}

fn shown(dependency: &Dependency) -> String {
    let mut text = dependency.image_name.to_string();
    for label in &dependency.labels {
        text.push_str(&format!(",{}={}", label.name, label.value));
    }
    text
}
