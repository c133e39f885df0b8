//! Where benchmarks run: a namespace host with the released product and a real disk below `/var/lib/rkt`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::host::{Data, Host};

use crate::install;
use crate::shell::target;

/// Builds the product and boots a host with it.
pub(super) fn boot() -> Result<Host> {
    Host::boot(Some(&product()?), Data::Disk)
}

/// The released product.
pub(super) fn product() -> Result<PathBuf> {
    install::product(target().join("bench/product"))
}

/// Runs a script of bash as a delegated unit, and returns what it prints.
pub(super) fn run_in_unit(host: &Host, script: &str, limit: Duration) -> Result<String> {
    host.write("/run/bench.sh", script);
    let unit = ["--quiet", "--wait", "--pipe", "--collect", "--property=Delegate=yes", "--unit=bench"];
    let output = host.exec("systemd-run").args(unit).args(["bash", "/run/bench.sh"]).limit(limit).output();
    ensure!(output.code == 0, "The benchmark failed: {output}");
    Ok(output.stdout)
}
