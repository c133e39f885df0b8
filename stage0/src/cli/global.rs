//! Flags that every command takes.

use std::path::PathBuf;

use crate::context::{Context, Roots};
use crate::insecure::InsecureOption;

/// The default of `--dir`.
pub(crate) const DATA_DIR: &str = "/var/lib/rkt";

/// Flags that every command takes, and that may stand anywhere.
#[derive(Debug, clap::Args)]
pub(crate) struct GlobalArgs {
    /// print out more debug information to stderr
    #[arg(long)]
    debug: bool,

    /// rkt data directory
    #[arg(long, default_value = DATA_DIR)]
    dir: PathBuf,

    /// comma-separated list of security features to disable. Allowed values: "none", "image", "tls", "ondisk",
    /// "http", "pubkey", "capabilities", "paths", "seccomp", "all-fetch", "all-run", "all"
    #[arg(long, default_value = "none", value_delimiter = ',')]
    insecure_options: Vec<InsecureOption>,

    /// local configuration directory
    #[arg(long, default_value = "/etc/rkt")]
    local_config: PathBuf,

    /// system configuration directory
    #[arg(long, default_value = "/usr/lib/rkt")]
    system_config: PathBuf,

    /// automatically trust gpg keys fetched from https
    #[arg(long)]
    trust_keys_from_https: bool,

    /// user configuration directory
    #[arg(long, default_value = "")]
    user_config: PathBuf,

    /// write a CPU profile to this file
    #[arg(long, hide = true)]
    cpuprofile: Option<String>,

    /// write a memory profile to this file
    #[arg(long, hide = true)]
    memprofile: Option<String>,
}

impl GlobalArgs {
    /// What the commands get; `dir_given` tells whether `--dir` was on the command line.
    pub(crate) fn into_context(self, dir_given: bool) -> Context {
        let user = Some(self.user_config).filter(|path| !path.as_os_str().is_empty());
        let roots = Roots { system: self.system_config, local: self.local_config, user };
        let dir = Some(self.dir).filter(|_| dir_given);
        let mut context = Context::new(self.debug, dir, roots, self.insecure_options.into_iter().collect());
        context.trust_keys_from_https = self.trust_keys_from_https;
        context
    }
}
