//! `--pull-policy`: when an image is looked for outside the store.

use anyhow::{Result, bail};

use crate::report;

/// When an image is looked for outside the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    /// Never.
    Never,
    /// When the store lacks it.
    New,
    /// Always.
    Update,
}

/// The flag and its old spellings.
#[derive(Debug, clap::Args)]
pub(crate) struct PullArgs {
    /// when to pull an image: never, new (only if it is not in the store) or update (always)
    #[arg(long, value_name = "POLICY")]
    pull_policy: Option<String>,

    /// use only available images in the store (do not discover or download from remote URLs)
    #[arg(long, hide = true)]
    store_only: bool,

    /// fetch images ignoring the local store
    #[arg(long, hide = true)]
    no_store: bool,
}

impl PullArgs {
    /// The policy asked for; `None` when the flags say nothing.
    pub(crate) fn parse(&self, command: &str) -> Result<Option<PullPolicy>> {
        let old = |name: &str, instead: &str| {
            report::notice(
                command,
                format_args!("--{name} has been deprecated, use --pull-policy={instead}"),
            );
        };
        if self.store_only {
            old("store-only", "never");
        }
        if self.no_store {
            old("no-store", "update");
        }
        match (self.store_only, self.no_store, self.pull_policy.as_deref()) {
            (true, true, _) => bail!("both --store-only and --no-store specified"),
            (true, _, Some(_)) | (_, true, Some(_)) => {
                bail!("--pull-policy cannot stand with --store-only or --no-store")
            }
            (true, _, None) | (_, _, Some("never")) => Ok(Some(PullPolicy::Never)),
            (_, true, None) | (_, _, Some("update")) => Ok(Some(PullPolicy::Update)),
            (_, _, Some("new")) => Ok(Some(PullPolicy::New)),
            (_, _, Some(other)) => bail!("--pull-policy: must be never, new or update, not {other:?}"),
            (_, _, None) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_spellings() {
        let parse = |policy: Option<&str>, store_only, no_store| {
            PullArgs { pull_policy: policy.map(str::to_owned), store_only, no_store }.parse("run")
        };
        assert_eq!(parse(None, false, false).unwrap(), None);
        assert_eq!(parse(Some("new"), false, false).unwrap(), Some(PullPolicy::New));
        assert_eq!(parse(None, true, false).unwrap(), Some(PullPolicy::Never));
        assert_eq!(parse(None, false, true).unwrap(), Some(PullPolicy::Update));
        assert!(parse(None, true, true).is_err());
        assert!(parse(Some("new"), true, false).is_err());
        assert!(parse(Some("always"), false, false).is_err());
    }
}
