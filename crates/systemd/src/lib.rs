//! What rkt wants from systemd: the unit that started it, a scope when none did, the journal, readiness.
//!
//! | module | what it talks to |
//! |---|---|
//! | [`mod@unit`] | `/proc/self/cgroup`: which service started us |
//! | [`cgroup`] | `/sys/fs/cgroup`: groups by handle |
//! | [`pod_group`] | the two above and [`scope`]: a group for a pod, wherever we were started |
//! | [`scope`] | the manager over D-Bus: `StartTransientUnit` |
//! | [`control`] | the manager over D-Bus: properties of units, and what is done to them |
//! | [`machined`] | whether machines can be registered |
//! | [`journal`] | `/run/systemd/journal/stdout` (streams) and `/run/systemd/journal/socket` (entries) |
//! | [`notify`] | `NOTIFY_SOCKET`: sd_notify(3) |
//! | [`listen`] | `LISTEN_FDS`: sd_listen_fds(3) |
//!
//! Nothing here starts a thread: a process with threads cannot change its mount namespace. A program that a service started
//! speaks no D-Bus at all.

#![forbid(unsafe_code)]

mod bus;
pub mod cgroup;
pub mod control;
mod error;
pub mod journal;
pub mod listen;
pub mod machined;
mod manager;
pub mod notify;
pub mod pod_group;
pub mod scope;
pub mod unit;

pub use error::{Error, Result};
pub use pod_group::PodGroup;

/// Whether systemd is process 1 of this host; see sd_booted(3).
pub fn booted() -> bool {
    rustix::fs::lstat("/run/systemd/system")
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}
