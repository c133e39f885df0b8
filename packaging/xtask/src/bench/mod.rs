//! `cargo xtask bench`: timings side by side with the peers, as ratios of medians of one interleaved run.

mod pods;
mod report;
mod run;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::packages;

const PACKAGES: &[&str] = &["gcc", "libc6-dev", "mmdebstrap", "util-linux"];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to time
    #[arg(value_enum, default_value_t)]
    what: What,
    /// How often each row is timed (`run`)
    #[arg(long, default_value_t = 41)]
    rounds: u32,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum What {
    /// `rkt run` of a stored image, from start to the end of `/bin/true`
    #[default]
    Run,
    /// What pods cost while they run, and when there are many
    Pods,
}

pub(crate) fn bench(options: &Options) -> Result<()> {
    packages::need(PACKAGES)?;
    match options.what {
        What::Run => run::run(options.rounds),
        What::Pods => pods::run(),
    }
}
