//! What every command works with: global flags, configuration, data directory.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Handed to every command. Opens things on first use, so that a command pays only for what it touches.
#[derive(Debug)]
pub(crate) struct Context {
    /// `--debug`: full error chains, progress messages; also handed to stage1.
    pub(crate) debug: bool,
    data_dir_flag: Option<PathBuf>,
    data_dir: OnceCell<PathBuf>,
}

impl Context {
    pub(crate) fn new(debug: bool, data_dir_flag: Option<PathBuf>) -> Self {
        Self { debug, data_dir_flag, data_dir: OnceCell::new() }
    }

    /// The data directory, absolute: flag, else configuration, else `/var/lib/rkt`.
    pub(crate) fn data_dir(&self) -> Result<&Path> {
        if let Some(dir) = self.data_dir.get() {
            return Ok(dir);
        }
        let dir = self.data_dir_flag.clone().unwrap_or_else(|| PathBuf::from("/var/lib/rkt"));
        Ok(self.data_dir.get_or_init(|| dir))
    }

    /// Refuses to go on without root.
    pub(crate) fn require_root(&self) -> Result<()> {
        anyhow::ensure!(rustix::process::geteuid().is_root(), "cannot run as unprivileged user");
        Ok(())
    }
}
