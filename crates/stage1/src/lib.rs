//! The stage1 ABI and what the three stage1 plugins share.
//!
//! stage0 starts each entrypoint by path, on the host, with the pod directory as working directory:
//!
//! ```text
//! run     --net=… [flags] UUID          becomes the pod: same process, stdio and unit; holds RKT_LOCK_FD
//! enter   --pid=P --appname=A -- CMD…   runs a command in an app, with the app's confinement
//! stop    [--force] UUID
//! attach  --action=list|auto-attach|custom-attach [--stdin --tty-in …] --app=A
//! app_add, app_start, app_stop, app_rm   --app=A [--uuid=U]
//! signal  --app=A --signal=N UUID       sends a signal to the program of an app
//! gc      [--debug] UUID                after the end of the pod
//! ```
//! One program serves all of them and looks at the name that it was called by ([`main`]).
//!
//! | module | what a stage1 does with it |
//! |---|---|
//! | [`args`] | reads its arguments |
//! | [`input`] | reads the pod and its images |
//! | [`spec`] | decides what each app is ([`executor::AppSpec`]) |
//! | [`pod_limits`] | has the pod's group limit all apps together |
//! | [`sysctls`] | kernel parameters of the pod's namespaces |
//! | [`volumes`], [`attach`] | decides what is mounted where, and mounts it |
//! | [`credentials`] | hands on the unit's credentials |
//! | [`network_files`] | `resolv.conf`, `hosts`, `hostname` |
//! | [`sockets`] | sorts the sockets that systemd handed down |
//! | [`runtime_config`] | leaves a note of the options for later entrypoints |
//! | [`processes`] | finds the pod's processes again, safely |

#![forbid(unsafe_code)]

pub mod args;
pub mod attach;
pub mod credentials;
mod disks;
mod entrypoint;
mod environment;
mod error;
mod extensions;
pub mod input;
mod isolators;
pub mod metadata;
pub mod network_files;
pub mod pod_limits;
mod populate;
pub mod processes;
pub mod runtime_config;
pub mod sockets;
pub mod spec;
pub mod sysctls;
pub mod volumes;

pub use entrypoint::{Entrypoint, Flavor, Supervised, chain, main, warn};
pub use error::{Context, Error, Result};
pub use input::Pod;
