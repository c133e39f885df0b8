//! The product under test: an installed tree as `cargo xtask install` lays it out.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The environment variable that names the tree under test.
pub const VARIABLE: &str = "RKT_UNDER_TEST";

/// The tree that [`VARIABLE`] names; without it the sources are built and installed below `target/`.
pub fn tree() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os(VARIABLE) {
        let dir = PathBuf::from(dir);
        let rkt = dir.join("usr/bin/rkt");
        ensure!(rkt.exists(), "{VARIABLE}={} has no usr/bin/rkt", dir.display());
        return Ok(dir);
    }
    let dir = crate::host::root::cache_dir()?.join("product");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["xtask", "install", "--destdir"])
        .arg(&dir)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status()
        .context("Cannot run cargo xtask install")?;
    ensure!(status.success(), "cargo xtask install failed ({status})");
    Ok(dir)
}
