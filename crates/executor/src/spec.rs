//! What an app is, as a stage1 tells it to whoever starts the app.
//!
//! The spec is complete: whoever writes it has read the manifests and applied defaults and command line flags.
//! On disk and on the wire it is JSON; fields with a default may be missing.

use serde::{Deserialize, Serialize};

pub use crate::limits::{CgroupLimits, Rlimit, RlimitKind};

/// Everything to run one app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AppSpec {
    /// The app's name in the pod, an ACName: it names files, cgroups and journal entries.
    pub name: String,
    /// The argument vector, not empty. The first is looked up as [`AppSpec::search_path`] says.
    pub exec: Vec<String>,
    /// Name, number, or absolute path of a file in the app's root whose owner it is.
    pub user: String,
    /// Name, number, or absolute path of a file in the app's root whose group it is.
    pub group: String,
    /// Supplementary groups, beside those of which the image's group file says that a user given by name is a member.
    #[serde(default, skip_serializing_if = "is_default")]
    pub supplementary_gids: Vec<u32>,
    /// Absolute, in the app's root.
    #[serde(default = "root_directory")]
    pub working_directory: String,
    /// The whole environment in its final order (names are unique). Only what the one who starts the app alone can
    /// know is added: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `LISTEN_*`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub environment: Vec<(String, String)>,
    /// The `PATH` that the image or the user set for the app, in which a bare `exec` is looked up. Without one
    /// (the default `PATH` of every app does not count) it is the working directory, `/bin`, `/usr/bin`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub search_path: Option<String>,
    /// Everything but volumes, `/dev`, `/proc` and the like is read-only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only_root: bool,
    /// The bounding set, by name (`CAP_CHOWN`); `None` leaves it alone (`--insecure-options=capabilities`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub capabilities: Option<Vec<String>>,
    /// `PR_SET_NO_NEW_PRIVS`, also when nothing else asks for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_new_privileges: bool,
    /// The system call filter.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seccomp: Seccomp,
    /// -1000 to 1000.
    #[serde(default, skip_serializing_if = "is_default")]
    pub oom_score_adj: Option<i16>,
    /// Resource limits of the process.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rlimits: Vec<Rlimit>,
    /// Limits of the app's cgroup.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cgroup: CgroupLimits,
    /// When it starts again after it has ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart: Restart,
    /// Programs before and after the main one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub event_handlers: EventHandlers,
    /// Where standard input comes from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stdin: InputMode,
    /// Where standard output goes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stdout: OutputMode,
    /// Where standard error goes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stderr: OutputMode,
    /// The app tells by sd_notify(3) when it is ready, and the pod is not ready before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub notify: bool,
    /// With [`AppSpec::notify`]: it must also send `WATCHDOG=1` that often (microseconds), or it is killed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub watchdog_usec: Option<u64>,
    /// The number of the signal that asks the app to end; SIGTERM when absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stop_signal: Option<i32>,
    /// Names (`LISTEN_FDNAMES`) of the pod's inherited sockets that the app gets from descriptor 3 on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sockets: Vec<String>,
    /// Hides and protects paths below `/proc` and `/sys` (off with `--insecure-options=paths`).
    #[serde(default = "yes")]
    pub path_protection: bool,
    /// What has been attached in the app's root before: nothing of the executor's own is put over it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mounts: Vec<MountPoint>,
    /// The executor makes `/dev`, `/proc`, `/sys` and the like (nspawn, kvm). Off: they stand there (fly).
    #[serde(default = "yes")]
    pub api_filesystems: bool,
}

impl AppSpec {
    /// A spec that runs `exec` as root with the defaults of this module: default seccomp list, protected paths, no output
    /// redirection but the log, and all capabilities.
    pub fn new(name: &str, exec: &[&str]) -> Self {
        AppSpec {
            name: name.to_owned(),
            exec: exec.iter().map(|&argument| argument.to_owned()).collect(),
            user: "0".to_owned(),
            group: "0".to_owned(),
            supplementary_gids: Vec::new(),
            working_directory: root_directory(),
            environment: Vec::new(),
            search_path: None,
            read_only_root: false,
            capabilities: None,
            no_new_privileges: false,
            seccomp: Seccomp::default(),
            oom_score_adj: None,
            stop_signal: None,
            rlimits: Vec::new(),
            cgroup: CgroupLimits::default(),
            restart: Restart::default(),
            event_handlers: EventHandlers::default(),
            stdin: InputMode::default(),
            stdout: OutputMode::default(),
            stderr: OutputMode::default(),
            notify: false,
            watchdog_usec: None,
            sockets: Vec::new(),
            path_protection: true,
            mounts: Vec::new(),
            api_filesystems: true,
        }
    }
}

fn root_directory() -> String {
    "/".to_owned()
}

/// Whether a field says nothing that its absence would not say.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn yes() -> bool {
    true
}

/// Which system call filter an app gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seccomp {
    /// The default list, compiled in.
    #[default]
    Default,
    /// None but the pod's baseline.
    Off,
    /// One compiled from the app's isolator.
    Custom(Filter),
}

/// A filter, compiled: the instructions of `struct sock_filter`, written as hexadecimal text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter {
    /// As [`sys::seccomp::install`] takes them.
    pub instructions: Vec<sys::seccomp::Instruction>,
}

/// A text that is no filter.
#[derive(Debug, thiserror::Error)]
#[error("A seccomp filter must be groups of 16 hexadecimal digits")]
pub struct BadFilter;

impl TryFrom<String> for Filter {
    type Error = BadFilter;

    fn try_from(text: String) -> Result<Self, BadFilter> {
        let digits = text.as_bytes();
        if digits.is_empty() || !digits.len().is_multiple_of(16) || !digits.iter().all(u8::is_ascii_hexdigit)
        {
            return Err(BadFilter);
        }
        let field = |group: &[u8], range: std::ops::Range<usize>| {
            let text = std::str::from_utf8(&group[range]).map_err(|_| BadFilter)?;
            u32::from_str_radix(text, 16).map_err(|_| BadFilter)
        };
        let instructions = digits.chunks_exact(16).map(|group| {
            Ok(sys::seccomp::Instruction {
                code: field(group, 0..4)?.try_into().map_err(|_| BadFilter)?,
                jt: field(group, 4..6)?.try_into().map_err(|_| BadFilter)?,
                jf: field(group, 6..8)?.try_into().map_err(|_| BadFilter)?,
                k: field(group, 8..16)?,
            })
        });
        Ok(Filter { instructions: instructions.collect::<Result<_, _>>()? })
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> String {
        use std::fmt::Write;
        let mut text = String::with_capacity(filter.instructions.len() * 16);
        for instruction in filter.instructions {
            let sys::seccomp::Instruction { code, jt, jf, k } = instruction;
            // Writing to a String cannot fail.
            let _ = write!(text, "{code:04x}{jt:02x}{jf:02x}{k:08x}");
        }
        text
    }
}

/// When an app that has ended starts again, unless it or its pod was asked to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// After a status other than 0.
    OnFailure,
    /// After any status.
    Always,
}

/// Programs that run as root in the app's root, with the app's confinement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct EventHandlers {
    /// Before the app; when it fails, the app has failed with its status.
    pub pre_start: Option<Vec<String>>,
    /// After the app has ended, whatever its status.
    pub post_stop: Option<Vec<String>>,
}

/// Where an app's standard input comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputMode {
    /// Nowhere.
    #[default]
    Null,
    /// The pod's own terminal or standard input.
    Interactive,
    /// `rkt attach`.
    Stream,
    /// A terminal for `rkt attach`.
    Tty,
}

/// Where an app's output goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputMode {
    /// The journal, and the pod's console.
    #[default]
    Log,
    /// Nowhere.
    Null,
    /// The pod's own terminal or standard stream.
    Interactive,
    /// `rkt attach`.
    Stream,
    /// A terminal for `rkt attach`.
    Tty,
}

/// A place in the app's root where a volume or file has been attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MountPoint {
    /// Absolute, in the app's root.
    pub path: String,
    /// It is attached read-only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// It is a device node that the app may open. Elsewhere device nodes are dead.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device: bool,
}
