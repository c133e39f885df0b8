//! Networks of a pod: the runtime that calls CNI plugins, network namespaces, port forwarding.
//!
//! The plugins are those of the host; this crate decides which to call, tells them what they need, keeps what
//! they said, and undoes it.
//!
//! ```text
//! stage1 run                                        (the pod's own mount namespace)
//!   ├─ child in a new network namespace: lo up, ends; the namespace lives by our handle
//!   └─ child in the host's mount namespace
//!        record what may have to be undone          net/attachments
//!        bind the namespace                         /run/netns/rkt-UUID
//!        tell the host                              /run/rkt/networks/UUID
//!        claim ports                                /run/rkt/ports/UUID
//!        plugins: ADD, network after network        eth0, eth1, …
//!        nf_tables: table inet rkt-UUID             if ports are forwarded
//!        net-info.json
//! stage1 gc
//!   └─ child in the host's mount namespace: all of it in reverse, as the record says
//! ```
//!
//! | module | |
//! |---|---|
//! | [`config`] | which networks there are |
//! | [`plugin`], [`chain`] | one call, one network |
//! | [`result`] | what plugins say |
//! | [`record`] | what may have to be undone |
//! | [`netns`] | network namespaces and their names |
//! | [`ports`] | forwarded ports and who has them |
//! | `reclaim` | pods that have ended make room |
//! | `attached`, [`collect`] | what all pods of the host have joined; plugins let go of the rest |
//! | [`set_up`], [`tear_down`] | all of it |

#![forbid(unsafe_code)]

mod attached;
pub mod chain;
mod collect;
pub mod config;
mod error;
mod forwarding;
mod host_files;
mod info;
pub mod netns;
mod nft;
pub mod plugin;
pub mod ports;
mod reclaim;
pub mod record;
pub mod result;
mod rules;
mod setup;
mod version;

pub use collect::collect;
pub use error::{Error, PluginFailure, Result};
pub use setup::{Joined, Request, SYSTEM_CONFIG, data_directory, set_up, tear_down};
pub use version::Version;
