//! Saying which step failed.

use rustix::io::Errno;

use crate::program::describe;

/// A step that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Cannot {step}: {}", describe(*.errno))]
pub struct Failed {
    /// What was attempted, as the rest of the sentence "Cannot …".
    pub step: String,
    /// What the kernel said.
    pub errno: Errno,
}

/// Names the step that failed.
pub trait Step<T> {
    /// `step` is the rest of the sentence "Cannot …".
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Failed>;
}

impl<T> Step<T> for Result<T, Errno> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Failed> {
        self.map_err(|errno| Failed { step: step(), errno })
    }
}
