//! An image of a registry: its documents and the layers that the store lacks.
//!
//! The worker checks digests so that errors are early and clear. None of that is believed: when it has ended, every
//! document and every layer is checked again, from the digest that the user or the index names down to the last blob.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use appc::RegistryReference;
use image::oci::{self, LayerSource, OciImport, OciName};
use image::{Image, Store};
use transport::message::Descriptor;
use transport::{Digest, Platform, Reference, Validators};

use super::downloads::{self, Downloads, Part, Record};
use super::session::{Documents, Session};
use crate::context::Context;
use crate::options::pull::PullPolicy;

/// The key of the image of this name, as far as it has been fetched.
pub(crate) fn known(context: &Context, named: &RegistryReference) -> Result<Option<String>> {
    let record = Downloads::open(context)?.record(&format!("docker://{named}"));
    Ok(record.map(|record| record.key))
}

/// Brings an image of a registry into the store, unless the store has it and `pull` is content with that.
pub(crate) fn fetch(context: &Context, named: &RegistryReference, pull: PullPolicy) -> Result<Image> {
    ensure!(
        context.insecure.skips_image_check(),
        "signature verification for docker images is not supported (try --insecure-options=image)"
    );
    let source = format!("docker://{named}");
    let store = context.store()?;
    let downloads = Downloads::open(context)?;
    let known = downloads.record(&source).and_then(|record| store.find_by_id(&record.key).ok());
    match (known, pull) {
        (Some(image), PullPolicy::Never | PullPolicy::New) => return take(context, image, &source),
        (None, PullPolicy::Never) => {
            bail!("unable to find image for url {source} in the store and --pull-policy=never")
        }
        // A digest stands for the same image for ever.
        (Some(image), PullPolicy::Update) if named.digest.is_some() => {
            return take(context, image, &source);
        }
        _ => {}
    }
    context.progress("image", format_args!("remote fetching from URL {source:?}"));
    let reference: Reference = named.to_string().parse()?;
    let mut session = Session::open(context)?;
    let failed = || format!("cannot fetch {source}");
    let documents = session.resolve(&reference).with_context(failed)?;
    check(&reference, &documents).with_context(failed)?;
    let layers = &documents.resolved.layers;
    let parts = parts(&store.wants_layers(&documents.config, &digests(layers))?, layers, &downloads)?;
    session.blobs(&reference, &parts).with_context(failed)?;
    session.finish()?;
    let image = import(context, store, named, &source, documents, &parts)?;
    for (_, part) in parts {
        part.discard();
    }
    downloads.remember(&Record {
        source,
        key: image.key().to_owned(),
        validators: Validators::default(),
        max_age: None,
        fetched: downloads::now(),
        verified: false,
    })?;
    Ok(image)
}

fn take(context: &Context, image: Image, source: &str) -> Result<Image> {
    context.progress("image", format_args!("using image from local store for url {source}"));
    context.store()?.touch(&image);
    Ok(image)
}

fn digests(layers: &[Descriptor]) -> Vec<Digest> {
    layers.iter().map(|layer| layer.digest.clone()).collect()
}

/// The unfinished downloads of the layers that are wanted, each once.
fn parts(wanted: &[bool], layers: &[Descriptor], downloads: &Downloads) -> Result<Vec<(Descriptor, Part)>> {
    let mut wanted: Vec<&Descriptor> =
        wanted.iter().zip(layers).filter(|(wanted, _)| **wanted).map(|(_, layer)| layer).collect();
    // All who work on the same layers take them in the same order, so that nobody waits for each other.
    wanted.sort_by(|one, other| one.digest.cmp(&other.digest));
    wanted.dedup_by(|one, other| one.digest == other.digest);
    wanted.into_iter().map(|layer| Ok((layer.clone(), downloads.blob(&layer.digest)?))).collect()
}

/// Whether the documents are those that the reference and the digests in them name.
fn check(reference: &Reference, documents: &Documents) -> Result<()> {
    let top = documents.index.as_ref().unwrap_or(&documents.manifest);
    if let Some(digest) = reference.digest() {
        oci::has_digest("image manifest", top, digest)?;
    }
    let resolved = &documents.resolved;
    if let Some(index) = &documents.index {
        let chosen = oci::choose(index, &Platform::host())?;
        // An index may lead to another one; then only the digests of the worker are left to go by.
        ensure!(
            chosen.digest == resolved.manifest.digest || !is_manifest(&chosen.media_type),
            "the manifest is not the one that the index names for this machine"
        );
    }
    oci::has_digest("image manifest", &documents.manifest, &resolved.manifest.digest)?;
    let manifest = oci::manifest(&documents.manifest)?;
    let same = |ours: &oci::Descriptor, theirs: &Descriptor| {
        ours.digest == theirs.digest && ours.size == theirs.size && ours.media_type == theirs.media_type
    };
    let is_same = same(&manifest.config, &resolved.config)
        && manifest.layers.len() == resolved.layers.len()
        && manifest.layers.iter().zip(&resolved.layers).all(|(ours, theirs)| same(ours, theirs));
    ensure!(is_same, "the download worker reads another image in the manifest than rkt");
    Ok(())
}

fn is_manifest(media_type: &str) -> bool {
    media_type.ends_with(".manifest.v1+json") || media_type.ends_with(".manifest.v2+json")
}

fn import(
    context: &Context,
    store: &Store,
    named: &RegistryReference,
    source: &str,
    documents: Documents,
    parts: &[(Descriptor, Part)],
) -> Result<Image> {
    let by_digest: BTreeMap<&Digest, &Part> =
        parts.iter().map(|(layer, part)| (&layer.digest, part)).collect();
    let layers = documents.resolved.layers.iter().map(|layer| {
        Ok(LayerSource {
            digest: Some(layer.digest.clone()),
            media_type: Some(layer.media_type.clone()),
            size: Some(layer.size),
            blob: by_digest.get(&layer.digest).map(|part| part.reopen()).transpose()?,
        })
    });
    let import = OciImport {
        source: source.to_owned(),
        name: OciName::from(named),
        latest: named.tag.as_deref() == Some("latest"),
        manifest_digest: Some(documents.resolved.manifest.digest.clone()),
        config_digest: Some(documents.resolved.config.digest.clone()),
        layers: layers.collect::<Result<_>>()?,
        config: documents.config,
        limits: context.limits()?,
    };
    Ok(store.import_oci(&import)?)
}
