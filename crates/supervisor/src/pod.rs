//! What a pod is, as a stage1 tells it to the supervisor: `/rkt/apps.json` in the stage1's root.

use executor::AppSpec;
use serde::{Deserialize, Serialize};

/// Where the supervisor finds its [`PodSpec`], in its own root.
pub const POD_SPEC_PATH: &str = "/rkt/apps.json";

/// Everything the supervisor must know about its pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PodSpec {
    /// The pod's UUID, for journal entries.
    pub uuid: String,
    /// Set as host name when there is one.
    #[serde(default)]
    pub hostname: Option<String>,
    /// The apps in the order of their start. The root of each is `/opt/stage2/NAME/rootfs`.
    pub apps: Vec<AppSpec>,
    /// How long apps may take to end after SIGTERM, in milliseconds, before they are killed.
    #[serde(default = "grace")]
    pub stop_grace_ms: u64,
    /// A mutable pod lives on without apps, and when one fails.
    #[serde(default)]
    pub mutable: bool,
    /// Messages about every step on the console.
    #[serde(default)]
    pub debug: bool,
}

fn grace() -> u64 {
    10_000
}
