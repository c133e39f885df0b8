//! `rkt pod`: pods that have a file, as systemd runs them.

pub(crate) mod health;
pub(crate) mod import;
pub(crate) mod proxy;
pub(crate) mod reload;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod stopped;
pub(crate) mod verify;
pub(crate) mod wait_ready;

mod probe;

pub(crate) use super::Context;
