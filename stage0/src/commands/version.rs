//! `rkt version`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;
use crate::report;

/// Arguments of `rkt version`.
#[derive(Debug, clap::Args)]
pub(crate) struct VersionArgs {}

pub(crate) fn run(_context: &Context, _args: &VersionArgs) -> Result<ExitCode> {
    report::print_raw(text())?;
    Ok(ExitCode::SUCCESS)
}

/// The version of the App Container specification that manifests follow.
pub(crate) const APPC_VERSION: &str = "0.8.11";

fn text() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        "rkt Version: {}\nappc Version: {APPC_VERSION}\nRust Version: {}\nOS/Arch: {}/{arch}\nFeatures: -TPM +SDJOURNAL\n",
        env!("CARGO_PKG_VERSION"),
        env!("RUSTC_VERSION"),
        std::env::consts::OS,
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn five_lines_in_the_order_scripts_know() {
        let text = super::text();
        let keys: Vec<&str> =
            text.lines().filter_map(|line| line.split_once(": ")).map(|pair| pair.0).collect();
        assert_eq!(keys, ["rkt Version", "appc Version", "Rust Version", "OS/Arch", "Features"]);
    }
}
