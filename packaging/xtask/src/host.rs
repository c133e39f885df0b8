//! `cargo xtask host`: a fresh namespace host with the product and the suite's images in it, and a command or a shell there.

use anyhow::{Result, ensure};
use clap::Args;
use tests::host::{Data, Host};
use tests::{images, product};

use crate::packages;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to run there
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, default_value = "bash")]
    command: Vec<String>,
}

pub(crate) fn host(options: &Options) -> Result<()> {
    packages::need(&["mmdebstrap", "util-linux"])?;
    let host = Host::boot(Some(&product::tree()?), Data::Memory)?;
    images::install(&host);
    let Some((program, args)) = options.command.split_first() else { return Ok(()) };
    let status = host.exec(program).args(args).interactive()?;
    ensure!(status == 0, "Exit status {status}");
    Ok(())
}
