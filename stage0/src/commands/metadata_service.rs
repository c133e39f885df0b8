//! `rkt metadata-service`: becomes the service, a program of its own without any right.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use super::Context;

/// Arguments of `rkt metadata-service`.
#[derive(Debug, clap::Args)]
pub(crate) struct MetadataServiceArgs {
    /// listen port
    #[arg(long, default_value = "18112")]
    listen_port: u16,
}

/// Where it is installed, and where it is from the directory of `rkt`.
const PROGRAM: &str = "/usr/lib/rkt/rkt-metadata";
const BESIDE: &str = "../lib/rkt/rkt-metadata";

pub(crate) fn run(_: &Context, args: &MetadataServiceArgs) -> Result<ExitCode> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(BESIDE)));
    let program = beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from(PROGRAM));
    let error = Command::new(&program).arg(format!("--listen-port={}", args.listen_port)).exec();
    Err(error).with_context(|| format!("Cannot execute {}", program.display()))
}
