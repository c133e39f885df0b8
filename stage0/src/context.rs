//! What every command works with: global flags, configuration, data directory.

use std::cell::OnceCell;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use image::{Limits, Store};
use pod::Pods;

use crate::cli::global::DATA_DIR;
use crate::config::Config;
pub(crate) use crate::config::Roots;
use crate::insecure::Insecure;
use crate::report;
use crate::signatures::Judge;

/// Handed to every command. Opens things on first use, so that a command pays only for what it touches.
#[derive(Debug)]
pub(crate) struct Context {
    /// `--debug`: full error chains, progress messages; also handed to stage1.
    pub(crate) debug: bool,
    /// `--insecure-options`.
    pub(crate) insecure: Insecure,
    /// `--trust-keys-from-https`.
    pub(crate) trust_keys_from_https: bool,
    /// The roots of the configuration.
    pub(crate) roots: Roots,
    dir_flag: Option<PathBuf>,
    config: OnceCell<Config>,
    data_dir: OnceCell<PathBuf>,
    pods: OnceCell<Pods>,
    store: OnceCell<Store>,
}

impl Context {
    pub(crate) fn new(debug: bool, dir_flag: Option<PathBuf>, roots: Roots, insecure: Insecure) -> Self {
        Self {
            debug,
            insecure,
            trust_keys_from_https: false,
            roots,
            dir_flag,
            config: OnceCell::new(),
            data_dir: OnceCell::new(),
            pods: OnceCell::new(),
            store: OnceCell::new(),
        }
    }

    /// The same with these safeguards off as well.
    pub(crate) fn without(&self, insecure: Insecure) -> Self {
        let insecure = self.insecure.union(insecure);
        let trust_keys_from_https = self.trust_keys_from_https;
        Self {
            trust_keys_from_https,
            ..Self::new(self.debug, self.dir_flag.clone(), self.roots.clone(), insecure)
        }
    }

    /// The data directory, as the flag has it.
    pub(crate) fn dir_flag(&self) -> Option<&Path> {
        self.dir_flag.as_deref()
    }

    /// The configuration of all roots.
    pub(crate) fn config(&self) -> Result<&Config> {
        get_or_try(&self.config, || Config::load(&self.roots).context("Cannot load the configuration"))
    }

    /// The data directory, absolute and without links: flag, else configuration, else `/var/lib/rkt`.
    pub(crate) fn data_dir(&self) -> Result<&Path> {
        get_or_try(&self.data_dir, || {
            let chosen = match &self.dir_flag {
                Some(dir) => dir.clone(),
                None => self.config()?.data.clone().unwrap_or_else(|| PathBuf::from(DATA_DIR)),
            };
            let absolute = std::path::absolute(&chosen).with_context(|| {
                format!("Cannot use {:?} as data directory", chosen.display().to_string())
            })?;
            // One that does not exist yet is made by the first who writes there.
            Ok(absolute.canonicalize().unwrap_or(absolute))
        })
        .map(PathBuf::as_path)
    }

    /// The pods of the data directory.
    pub(crate) fn pods(&self) -> Result<&Pods> {
        get_or_try(&self.pods, || Ok(Pods::open(self.data_dir()?)?))
    }

    /// The image store of the data directory.
    pub(crate) fn store(&self) -> Result<&Store> {
        get_or_try(&self.store, || {
            let judge = Judge::new(&self.roots, self.insecure);
            Ok(Store::open(self.data_dir()?)?.with_verifier(judge).with_limits(self.limits()?))
        })
    }

    /// What an image may cost.
    pub(crate) fn limits(&self) -> Result<Limits> {
        let configured = &self.config()?.image_limits;
        let mut limits = Limits::default();
        limits.unpacked = configured.unpacked_bytes.unwrap_or(limits.unpacked);
        limits.ratio = configured.compression_ratio.unwrap_or(limits.ratio);
        limits.entries = configured.entries.unwrap_or(limits.entries);
        Ok(limits)
    }

    /// Refuses to go on without root.
    pub(crate) fn require_root(&self) -> Result<()> {
        ensure!(rustix::process::geteuid().is_root(), "cannot run as unprivileged user");
        Ok(())
    }

    /// Tells what is being done, with `--debug` only.
    pub(crate) fn progress(&self, prefix: &str, text: impl Display) {
        if self.debug {
            report::notice(prefix, text);
        }
    }
}

/// What `cell` holds, made by `make` when it holds nothing yet.
fn get_or_try<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}
