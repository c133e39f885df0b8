//! Makes ONE app a running process: its view of the file system, user, capabilities, seccomp, limits,
//! environment and exec.
//!
//! [`AppSpec`] is everything there is to know; no path of the host stands in it. The supervisor of a pod
//! starts an app from it, stage1-fly becomes the app.

pub mod spec;

pub use spec::AppSpec;
