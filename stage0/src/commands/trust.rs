//! `rkt trust`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use appc::AcIdentifier;
use trust::Scope;

use crate::commands::Context;
use crate::trusting::{self, KeyLocation};

/// Arguments of `rkt trust`.
#[derive(Debug, clap::Args)]
pub(crate) struct TrustArgs {
    /// prefix to limit trust to
    #[arg(long, default_value = "")]
    prefix: String,

    /// add root key without a prefix
    #[arg(long)]
    root: bool,

    /// allow HTTP use for key discovery and/or retrieval
    #[arg(long)]
    insecure_allow_http: bool,

    /// accept key without fingerprint confirmation
    #[arg(long)]
    skip_fingerprint_review: bool,

    keys: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &TrustArgs) -> Result<ExitCode> {
    let scope = scope(args)?;
    let locations = match (&scope, args.keys.as_slice()) {
        (Scope::Root, []) => bail!("which key to trust for all images? Name its file or URL"),
        (Scope::Prefix(prefix), []) => trusting::discover(context, prefix, args.insecure_allow_http)
            .with_context(|| format!("cannot find keys for prefix {:?}", prefix.as_str()))?,
        (_, keys) => keys
            .iter()
            .map(|key| KeyLocation::parse(key, args.insecure_allow_http))
            .collect::<Result<Vec<_>>>()?,
    };
    trusting::trust(context, &locations, &scope, args.skip_fingerprint_review)?;
    Ok(ExitCode::SUCCESS)
}

fn scope(args: &TrustArgs) -> Result<Scope> {
    if args.prefix.is_empty() {
        ensure!(
            args.root,
            if args.keys.is_empty() {
                "usage: rkt trust [--prefix=PREFIX | --root] [PUBKEY ...]"
            } else {
                "a key without a prefix is trusted for all images, and that has to be said: --root required for \
                 non-prefixed (root) keys; --prefix limits the trust to images whose name begins so"
            }
        );
        return Ok(Scope::Root);
    }
    ensure!(!args.root, "--root and --prefix usage is mutually exclusive");
    ensure!(!args.prefix.contains("://"), "--prefix is the beginning of image names, without a scheme");
    let prefix: AcIdentifier = args
        .prefix
        .trim_end_matches('/')
        .parse()
        .with_context(|| format!("{:?} cannot be the beginning of image names", args.prefix))?;
    Ok(Scope::Prefix(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_trusted_for_something() {
        let args = |prefix: &str, root, keys: &[&str]| TrustArgs {
            prefix: prefix.to_owned(),
            root,
            insecure_allow_http: false,
            skip_fingerprint_review: false,
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        assert_eq!(scope(&args("", true, &["k"])).unwrap(), Scope::Root);
        assert_eq!(
            scope(&args("example.com/a", false, &[])).unwrap(),
            Scope::Prefix("example.com/a".parse().unwrap())
        );
        for (prefix, root, keys, says) in [
            ("", false, &["k"][..], "--root required"),
            ("", false, &[], "usage"),
            ("example.com", true, &["k"], "mutually exclusive"),
            ("https://example.com", false, &["k"], "scheme"),
            ("Example.com", false, &["k"], "beginning of image names"),
            ("../etc", false, &["k"], "beginning of image names"),
        ] {
            let error = format!("{:#}", scope(&args(prefix, root, keys)).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
    }
}
