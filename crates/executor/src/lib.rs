//! Makes ONE app a running process: its view of the file system, user, capabilities, seccomp, limits,
//! environment and exec.
//!
//! [`AppSpec`] is everything there is to know; no path of the host stands in it. The supervisor of a pod
//! starts processes in an app from it ([`spawn`]), stage1-fly becomes the app ([`become_app`]).
//!
//! The order of a process's steps is its safety: file systems, while nothing of the image runs; then descriptors,
//! limits, directory; then what cannot be undone: capability bounds, user, no-new-privileges, and last
//! the system call filter. From the fork to the exec the process cannot be traced.

pub mod capabilities;
mod confine;
mod error;
mod filesystem;
mod launch;
mod limits;
mod listener;
pub mod program;
mod protect;
pub mod seccomp;
pub mod spec;
mod step;
pub mod users;

pub use error::SetupError;
pub use filesystem::{NOTIFY_SOCKET, Sockets, make_places};
pub use launch::{Mounts, Outcome, Process, Report, SETUP_FAILED, Spawned, become_app, spawn};
pub use spec::AppSpec;
pub use step::{Failed, Step};
pub use users::Identity;
