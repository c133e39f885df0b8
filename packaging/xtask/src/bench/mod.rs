//! `cargo xtask bench`: timings side by side with the peers, as ratios of medians of one interleaved run.

mod host;
mod image;
mod kvm;
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
    /// How often each row is timed: 41 times, a machine 7 times, an image 5 times
    #[arg(long)]
    rounds: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum What {
    /// `rkt run` of a stored image, from start to the end of `/bin/true`
    #[default]
    Run,
    /// What pods cost while they run, and when there are many
    Pods,
    /// `rkt run` of a stored image in a machine, against the bare boot
    Kvm,
    /// `rkt fetch` of a large OCI image, from an image layout to files
    Image,
}

pub(crate) fn bench(options: &Options) -> Result<()> {
    packages::need(PACKAGES)?;
    match options.what {
        What::Pods => pods::run(),
        What::Run => run::run(options.rounds.unwrap_or(41)),
        What::Kvm => kvm::run(options.rounds.unwrap_or(7)),
        What::Image => image::run(options.rounds.unwrap_or(5)),
    }
}
