//! An image by its App Container name: where it is, and which keys sign it.

use anyhow::{Context as _, Result, bail, ensure};
use appc::os_arch::host_arch;
use appc::{AcIdentifier, ImageId, Labels};
use image::Image;

use super::archive::Archive;
use super::session::Session;
use crate::context::Context;
use crate::options::pull::PullPolicy;
use crate::trusting::{self, KeyLocation};
use crate::{report, signatures};
use trust::Scope;

/// Brings the image `name` into the store. Every place that its host names is tried in turn.
pub(crate) fn fetch(
    context: &Context,
    name: &AcIdentifier,
    labels: &Labels,
    id: Option<&ImageId>,
    signature: Option<&std::path::Path>,
) -> Result<Image> {
    context.progress("image", format_args!("searching for app image {name}"));
    let mut session = Session::open(context)?;
    let found = session
        .discover(name, &with_defaults(labels))
        .with_context(|| format!("discovery failed for {:?}", name.as_str()))?;
    session.finish()?;
    ensure!(!found.endpoints.is_empty(), "no page says where to find {name}, only where its keys are");
    let mut failures = Vec::new();
    for endpoint in found.endpoints {
        context.progress("image", format_args!("fetching image from {}", endpoint.image));
        let archive = Archive {
            url: endpoint.image,
            signature_url: endpoint.signature,
            signature,
            name: Some(name),
            labels: labels.clone(),
            id,
            is_named: false,
        };
        match archive.fetch(context, PullPolicy::Update) {
            Ok(image) => return Ok(image),
            Err(error) => failures.push((archive.url, error)),
        }
    }
    // With one place its failure says all; with several each is told.
    match failures.len() {
        1 => Err(failures.remove(0).1),
        count => {
            for (url, error) in &failures {
                report::notice("image", format_args!("{url}: {error:#}"));
            }
            bail!("none of the {count} places of {name} has it")
        }
    }
}

/// The labels that templates see: those asked for, else this machine's.
fn with_defaults(labels: &Labels) -> Labels {
    let mut labels = labels.clone();
    let mut default = |name: &str, value: &str| {
        if labels.get(name).is_none()
            && let Ok(name) = name.parse()
        {
            labels.set(name, value);
        }
    };
    default("os", "linux");
    if let Some(arch) = host_arch() {
        default("arch", arch);
    }
    labels
}

/// Makes sure that there are keys that may sign images of this name: when there are none, those that its owner announces are
/// shown, and the user is asked.
pub(crate) fn require_keys(context: &Context, session: &mut Session<'_>, name: &AcIdentifier) -> Result<()> {
    if !signatures::keystore(&context.roots).keys_for(name)?.is_empty() {
        return Ok(());
    }
    let without = || format!("no key is trusted for images called {name}");
    // A key that came over a connection which anybody may have intercepted is worse than none.
    if context.insecure.skips_tls_check() && !context.insecure.allows_insecure_keys() {
        bail!("{}: `rkt trust --prefix={name} KEYFILE` trusts one", without());
    }
    let allow_http = context.insecure.allows_insecure_keys();
    let urls = session.keys(name, allow_http).with_context(without)?;
    let locations = urls.iter().map(|url| KeyLocation::parse(url, allow_http));
    let locations: Vec<KeyLocation> = locations.collect::<Result<_>>().with_context(without)?;
    trusting::trust(context, &locations, &Scope::Prefix(name.clone()), false).with_context(without)?;
    Ok(())
}
