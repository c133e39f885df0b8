//! Keys that the user may come to trust: where they come from, and the look at their fingerprints before.

use std::fs::File;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use appc::AcIdentifier;
use trust::{Keystore, PublicKey, Scope};

use crate::context::Context;
use crate::remote::Session;
use crate::{report, signatures};

/// The most bytes of a key.
const KEY: u64 = 1 << 20;

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyLocation {
    File(PathBuf),
    Url(String),
}

impl KeyLocation {
    /// What `text` of the command line names.
    ///
    /// # Errors
    /// A URL that is neither `https` nor, with `allow_http`, `http`.
    pub(crate) fn parse(text: &str, allow_http: bool) -> Result<Self> {
        match text.split_once("://") {
            None => Ok(Self::File(text.into())),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("https", _)) => Ok(Self::Url(text.to_owned())),
            Some(("http", _)) => {
                ensure!(
                    allow_http,
                    "will not fetch the key {text} over plain http: --insecure-allow-http allows it"
                );
                Ok(Self::Url(text.to_owned()))
            }
            Some((scheme, _)) => bail!("cannot fetch a key by {scheme}: a key is a file, or at an https URL"),
        }
    }

    fn is_https(&self) -> bool {
        matches!(self, Self::Url(url) if url.starts_with("https://"))
    }
}

impl std::fmt::Display for KeyLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// The locations of the keys that the owner of `prefix` announces (`ac-discovery-pubkeys`).
pub(crate) fn discover(
    context: &Context,
    prefix: &AcIdentifier,
    allow_http: bool,
) -> Result<Vec<KeyLocation>> {
    let mut session = Session::open(context)?;
    let allowed = allow_http || context.insecure.allows_insecure_keys();
    let urls = session.keys(prefix, allowed)?;
    session.finish()?;
    urls.iter().map(|url| KeyLocation::parse(url, allowed)).collect()
}

/// Downloads a key from an `http` or `https` URL: at most [`KEY`] bytes, in two minutes at most.
fn download(context: &Context, url: &str) -> Result<Vec<u8>> {
    let mut session = Session::open(context)?;
    // Whether a key may come over plain http was decided when its location was read.
    let key = session.key(url, KEY, url.starts_with("http://"))?;
    session.finish()?;
    Ok(key)
}

fn read(context: &Context, location: &KeyLocation) -> Result<PublicKey> {
    let failed = || format!("cannot read the key {location}");
    let bytes = match location {
        KeyLocation::File(path) => read_file(path).with_context(failed)?,
        KeyLocation::Url(url) => download(context, url).with_context(failed)?,
    };
    PublicKey::parse(&bytes).map_err(|error| anyhow::anyhow!("{error}")).with_context(failed)
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(KEY + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Shows each key and, unless `skip_review`, asks; those that the user says yes to are trusted for `scope`. Returns how many.
pub(crate) fn trust(
    context: &Context,
    locations: &[KeyLocation],
    scope: &Scope,
    skip_review: bool,
) -> Result<usize> {
    let keystore = signatures::keystore(&context.roots);
    let mut trusted = 0;
    for location in locations {
        let key = read(context, location)?;
        show(&key, location, scope)?;
        let reviewed = !(skip_review || context.trust_keys_from_https && location.is_https());
        if reviewed && !ask()? {
            report::notice("trust", format_args!("not trusting {:?}", location.to_string()));
            continue;
        }
        add(&keystore, &key, location, scope, reviewed)?;
        trusted += 1;
    }
    Ok(trusted)
}

fn show(key: &PublicKey, location: &KeyLocation, scope: &Scope) -> Result<()> {
    let prefix = match scope {
        Scope::Root => "",
        Scope::Prefix(prefix) => prefix.as_str(),
    };
    report::text(&format!("prefix: {prefix:?}\nkey: {:?}\n", location.to_string()));
    report::print(format_args!("gpg key fingerprint is: {}", key.fingerprint().for_review()))?;
    for subkey in key.subkeys() {
        report::print(format_args!("    Subkey fingerprint: {}", subkey.for_review()))?;
    }
    for identity in key.identities() {
        report::print(format_args!("\t{identity}"))?;
    }
    Ok(())
}

fn ask() -> Result<bool> {
    ensure!(
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
        "to review the fingerprint of a key takes a terminal: run rkt trust on one, or compare the fingerprint above by other means and use \
         --skip-fingerprint-review; --trust-keys-from-https trusts what comes over https unseen"
    );
    let mut stderr = std::io::stderr();
    let mut lines = std::io::stdin().lock().lines();
    loop {
        let _ = stderr.write_all(b"Are you sure you want to trust this key (yes/no)?\n");
        match lines.next().transpose().context("cannot read the answer")?.as_deref() {
            Some("yes") => return Ok(true),
            Some("no") | None => return Ok(false),
            Some(_) => {
                let _ = stderr.write_all(b"Please enter 'yes' or 'no'\n");
            }
        }
    }
}

fn add(
    keystore: &Keystore,
    key: &PublicKey,
    location: &KeyLocation,
    scope: &Scope,
    reviewed: bool,
) -> Result<()> {
    let location = location.to_string();
    let how = if reviewed { "after" } else { "without" };
    let path = keystore.add(key, scope)?;
    let path = path.display().to_string();
    match scope {
        Scope::Root => {
            report::text(&format!("Trusting {location:?} for all images {how} fingerprint review.\n"));
            report::text(&format!("Added root key at {path:?}\n"));
        }
        Scope::Prefix(prefix) => {
            let prefix = prefix.as_str();
            report::text(&format!("Trusting {location:?} for prefix {prefix:?} {how} fingerprint review.\n"));
            report::text(&format!("Added key for prefix {prefix:?} at {path:?}\n"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_files_or_at_urls() {
        for (text, allow_http, expected) in [
            ("key.asc", false, Some(KeyLocation::File("key.asc".into()))),
            ("file:///key.asc", false, Some(KeyLocation::File("/key.asc".into()))),
            ("https://x/key.asc", false, Some(KeyLocation::Url("https://x/key.asc".into()))),
            ("http://x/key.asc", true, Some(KeyLocation::Url("http://x/key.asc".into()))),
            ("http://x/key.asc", false, None),
            ("ftp://x/key.asc", true, None),
        ] {
            assert_eq!(KeyLocation::parse(text, allow_http).ok(), expected, "{text}");
        }
    }
}
