//! What goes wrong with pods.

use std::fmt;
use std::io;

use crate::{PodUuid, State};

/// The result of most functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong with pods.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No pod has a name that begins so.
    #[error("no matches found for {0:?}")]
    NoMatch(String),
    /// More than one pod has a name that begins so.
    #[error("ambiguous uuid, {0} matches")]
    Ambiguous(usize),
    /// The empty prefix would fit every pod.
    #[error("UUID cannot be empty")]
    EmptyUuid,
    /// Not the whole name of a pod.
    #[error("{0:?} is not the UUID of a pod")]
    BadUuid(String),
    /// Somebody else holds the lock.
    #[error("Pod {0} is in use by another process")]
    Busy(PodUuid),
    /// Somebody else moved or removed the pod first.
    #[error("Pod {0} is gone: another process started or removed it")]
    Gone(PodUuid),
    /// The state of the pod does not allow this.
    #[error("Pod {uuid} is {state}")]
    WrongState {
        /// The pod.
        uuid: PodUuid,
        /// Its state.
        state: State,
    },
    /// A name that cannot be a file name in a pod directory.
    #[error("{0:?} cannot be the name of an app or tree")]
    BadName(String),
    /// The pod has no such file.
    #[error("The pod has no file {0:?}")]
    Missing(String),
    /// A manifest breaks a rule.
    #[error("Manifest {file:?} of the pod is invalid")]
    Manifest {
        /// Its path in the pod directory.
        file: String,
        /// The rule.
        source: appc::ManifestError,
    },
    /// A file of the pod directory has a content that makes no sense.
    #[error("File {file:?} of the pod is damaged: {why}")]
    Damaged {
        /// Its path in the pod directory.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The process that stands for the pod has several children, so none of them is its process 1.
    #[error("Process {parent} has {count} children: cannot tell which one is the pod's process 1")]
    ManyChildren {
        /// The process recorded in `ppid`.
        parent: i32,
        /// How many children it has.
        count: usize,
    },
    /// stage0 handed no usable lock to this program.
    #[error("RKT_LOCK_FD: {0}")]
    NoLock(String),
    /// The system refused something.
    #[error("Cannot {action} {what}")]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// With which file.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// Removing a pod left something behind.
    #[error(transparent)]
    Teardown(#[from] Teardown),
}

impl Error {
    pub(crate) fn io(action: &'static str, what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { action, what: what.into(), source: source.into() }
    }

    /// Whether the file or pod that was asked for is simply not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::NoMatch(_) | Self::Gone(_) => true,
            _ => false,
        }
    }
}

/// Everything that went wrong while a pod was taken down: no step is left out because another one failed.
#[derive(Debug, Default)]
pub struct Teardown {
    failures: Vec<(String, io::Error)>,
}

impl Teardown {
    pub(crate) fn note(&mut self, what: impl Into<String>, error: impl Into<io::Error>) {
        self.failures.push((what.into(), error.into()));
    }

    /// Keeps the error of a step, if it has one; tells whether it went well.
    pub(crate) fn check(&mut self, what: impl FnOnce() -> String, step: rustix::io::Result<()>) -> bool {
        match step {
            Ok(()) => true,
            Err(error) => {
                self.note(what(), error);
                false
            }
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.failures.extend(other.failures);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }

    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// What failed, in order: the step and its cause.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &io::Error)> {
        self.failures.iter().map(|(what, error)| (what.as_str(), error))
    }
}

impl fmt::Display for Teardown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (what, error)) in self.failures.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{what}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Teardown {}
