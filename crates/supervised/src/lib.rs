//! What pods with a supervisor have in common, whatever their wall: stage1-nspawn and stage1-kvm.
//!
//! ```text
//! run    ─► apps: specs, volumes, files ─► descriptors ─► networks ─► [the wall] ─► supervisor
//! enter, stop ─────────────────────────── control.sock ───────────────────────────► supervisor
//! ```
//!
//! | module | |
//! |---|---|
//! | [`apps`] | what the apps are, and where the supervisor reads it |
//! | [`descriptors`] | the control socket, journal streams, sockets of the unit |
//! | [`networks`], [`metadata`] | networks of the pod; the metadata service as it is seen from there |
//! | [`enter`], [`attach`], [`app`], [`stop`], [`signal`](mod@signal) | the entrypoints that talk to the supervisor |

#![forbid(unsafe_code)]

pub mod app;
pub mod apps;
pub mod attach;
pub mod descriptors;
pub mod enter;
pub mod metadata;
pub mod networks;
pub mod signal;
pub mod stop;

/// The name of the supervisor's socket in the pod directory.
pub const CONTROL_SOCKET: &str = "control.sock";
