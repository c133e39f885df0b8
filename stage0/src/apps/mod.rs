//! The apps of a pod, as the command line asks for them.
//!
//! ```text
//! IMAGE [image flags…] [-- arguments… [---]] IMAGE2 …
//! ```
//!
//! [`flags`] is the table of flags that follow an image, [`grammar`] reads the words, [`manifest`] makes a pod
//! manifest of them and of what the images say.

pub(crate) mod flags;
pub(crate) mod grammar;
pub(crate) mod isolators;
pub(crate) mod manifest;

use std::collections::BTreeMap;
use std::path::PathBuf;

use appc::{AcIdentifier, AcName, CapabilitySet, Environment, ImageId, Isolator, Mount, Quantity};

/// One image with everything that the command line says about its app.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppRequest {
    /// As it was written.
    pub(crate) image: String,
    /// Of a pod file: the only image that may run.
    pub(crate) image_id: Option<ImageId>,
    /// `--signature`
    pub(crate) signature: Option<PathBuf>,
    /// `--name`
    pub(crate) name: Option<AcName>,
    /// `--exec`: in place of the image's program and its arguments.
    pub(crate) exec: Option<String>,
    /// Of a pod file: in place of the image's arguments, behind its entrypoint.
    pub(crate) command: Option<Vec<String>>,
    /// What stood after `--`; `None` when there was no `--`.
    pub(crate) arguments: Option<Vec<String>>,
    /// `--user`
    pub(crate) user: Option<String>,
    /// `--group`
    pub(crate) group: Option<String>,
    /// `--supplementary-gids`
    pub(crate) supplementary_gids: Option<Vec<u32>>,
    /// `--working-dir`
    pub(crate) working_dir: Option<String>,
    /// `--readonly-rootfs`
    pub(crate) readonly_rootfs: bool,
    /// `--mount` after the image
    pub(crate) mounts: Vec<Mount>,
    /// `--environment`
    pub(crate) environment: Environment,
    /// `--annotation`
    pub(crate) annotations: BTreeMap<AcIdentifier, String>,
    /// `--user-annotation`
    pub(crate) user_annotations: BTreeMap<String, String>,
    /// `--user-label`
    pub(crate) user_labels: BTreeMap<String, String>,
    /// `--memory`
    pub(crate) memory: Option<Quantity>,
    /// `--cpu`
    pub(crate) cpu: Option<Quantity>,
    /// `--cpu-shares`
    pub(crate) cpu_shares: Option<u32>,
    /// `--oom-score-adj`
    pub(crate) oom_score_adj: Option<i32>,
    /// `--caps-retain`
    pub(crate) caps_retain: Option<CapabilitySet>,
    /// `--caps-remove`
    pub(crate) caps_remove: Option<CapabilitySet>,
    /// Of a pod file.
    pub(crate) no_new_privileges: Option<bool>,
    /// `--seccomp`
    pub(crate) seccomp: Option<Isolator>,
    /// `--stdin`, `--stdout`, `--stderr`
    pub(crate) streams: [Option<String>; 3],
}
