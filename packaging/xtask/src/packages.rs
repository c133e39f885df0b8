//! Debian packages that a task needs on this machine.

use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::run;

/// Installs those of `packages` that are missing.
pub(crate) fn need(packages: &[&str]) -> Result<()> {
    let missing: Vec<_> = packages.iter().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("Installing from Debian: {missing:?}");
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet").args(args);
        command
    };
    run(&mut apt(&["update"]))?;
    run(apt(&["install", "--yes", "--no-install-recommends"]).args(missing))
        .context("Installing packages needs root and Debian's package archive")
}

fn installed(package: &str) -> bool {
    let status =
        Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]).output();
    status.is_ok_and(|output| output.stdout == b"installed")
}
