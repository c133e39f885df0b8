//! Builds the programs of the product: static, all in one call of cargo.

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;

use crate::shell::{cargo, run, target};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The programs of the product, and the one that writes its manual pages.
const PROGRAMS: &[&str] = &["rkt", "stage1-nspawn", "stage1-fly", "stage1-kvm", "supervisor", "manual"];

/// How to build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// As released
    #[default]
    Release,
    /// Quick to build, slow to run
    Dev,
}

/// Builds, and returns the directory that holds the programs.
pub(crate) fn programs(profile: Profile) -> Result<PathBuf> {
    let name = match profile {
        Profile::Release => "release",
        Profile::Dev => "dev",
    };
    // Added to the flags of .cargo/config.toml, for this build only: proc macros and build scripts cannot be static.
    let flags = format!(r#"target.{TARGET}.rustflags=["-C", "target-feature=+crt-static"]"#);
    let mut build = cargo();
    build.args(["build", "--quiet", "--config", &flags, "--target", TARGET, "--profile", name]);
    run(build.args(PROGRAMS.iter().flat_map(|program| ["--package", program])))?;
    let dir = match profile {
        Profile::Release => "release",
        Profile::Dev => "debug",
    };
    Ok(target().join(TARGET).join(dir))
}
