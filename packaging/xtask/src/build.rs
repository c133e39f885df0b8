//! Builds the programs of the product: static, all in one call of cargo, but for the download worker.

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;

use crate::shell::{cargo, run, target};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The programs of the product, and the one that writes its manual pages.
const PROGRAMS: &[&str] =
    &["rkt", "stage1-nspawn", "stage1-fly", "stage1-kvm", "supervisor", "generator", "manual"];

/// How to build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// As released
    #[default]
    Release,
    /// Quick to build, slow to run
    Dev,
}

/// Builds the static programs, and returns the directory that holds them.
pub(crate) fn programs(profile: Profile) -> Result<PathBuf> {
    // Added to the flags of .cargo/config.toml, for this build only: proc macros and build scripts cannot be static.
    let flags = format!(r#"target.{TARGET}.rustflags=["-C", "target-feature=+crt-static"]"#);
    let mut build = cargo();
    build.args(["build", "--quiet", "--config", &flags, "--target", TARGET, "--profile", profile.name()]);
    run(build.args(PROGRAMS.iter().flat_map(|program| ["--package", program])))?;
    Ok(target().join(TARGET).join(profile.directory()))
}

/// Builds the programs that talk to others: the download worker and the metadata service. They are linked against the system's C library, whose resolver reads the host's configuration;
/// a static one would load parts of that at run time which need not fit.
pub(crate) fn talkers(profile: Profile) -> Result<[PathBuf; 2]> {
    let packages = ["--package", "fetcher", "--package", "metadata"];
    run(cargo().args(["build", "--quiet", "--profile", profile.name()]).args(packages))?;
    let directory = target().join(profile.directory());
    Ok(["rkt-fetcher", "rkt-metadata"].map(|name| directory.join(name)))
}

impl Profile {
    /// As cargo calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }

    /// Where cargo puts what it built so.
    fn directory(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }
}
