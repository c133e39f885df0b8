//! `rkt fetch` and `rkt image fetch`.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use super::Context;
use crate::apps::grammar::ImageWords;
use crate::options::pull::{PullArgs, PullPolicy};
use crate::{images, report};

/// Arguments of `rkt fetch`.
#[derive(Debug, clap::Args)]
pub(crate) struct FetchArgs {
    /// print the full image hash after fetching
    #[arg(long)]
    full: bool,

    #[command(flatten)]
    pull: PullArgs,

    #[command(flatten)]
    images: ImageWords,
}

pub(crate) fn run(context: &Context, args: &FetchArgs) -> Result<ExitCode> {
    let requests = args.images.parse("fetch")?;
    ensure!(!requests.is_empty(), "must provide at least one image");
    let pull = args.pull.parse("fetch")?.unwrap_or(PullPolicy::Update);
    for request in &requests {
        let image = images::find(context, request, pull)?;
        report::print(id(image.key(), args.full))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How many characters of a key are printed unless all are asked for: `sha512-` and 32 digits.
const SHORT_KEY: usize = 39;

fn id(key: &str, full: bool) -> &str {
    if full { key } else { &key[..key.len().min(SHORT_KEY)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_cut() {
        let key = format!("sha512-{}", "0123456789abcdef".repeat(4));
        assert_eq!(id(&key, true), key);
        assert_eq!(id(&key, false), "sha512-0123456789abcdef0123456789abcdef");
    }
}
