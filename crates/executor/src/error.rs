//! What can go wrong between a spec and a running program.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::capabilities::UnknownCapability;
use crate::program::{NotFound, describe};
use crate::step::Failed;

/// Why an app's process could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A step that the kernel refused.
    #[error(transparent)]
    Step(#[from] Failed),
    /// The program stands nowhere.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The kernel would not execute the program; [`crate::program::explain`] tells more.
    #[error("Cannot execute {}: {}", path.display(), describe(*.errno))]
    Exec {
        /// The program, in the app's root.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// A spec with a capability that is none.
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    /// A spec with nothing to execute.
    #[error("There is nothing to execute")]
    EmptyExec,
    /// An argument or variable that no program can be given.
    #[error("{0:?} has a NUL byte in it")]
    Nul(String),
    /// What a child process reported before it gave up.
    #[error("{0}")]
    Reported(String),
}
