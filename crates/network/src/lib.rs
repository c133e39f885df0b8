//! Networks of a pod.
#![forbid(unsafe_code)]
pub mod config;
mod error;
pub mod plugin;
pub mod result;
mod version;
pub use error::{Error, PluginFailure, Result};
pub use version::Version;
