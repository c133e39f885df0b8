//! Why an entrypoint failed.

use std::io;

/// The result of most functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an entrypoint failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line makes no sense.
    #[error(transparent)]
    Arguments(#[from] crate::args::ArgumentError),
    /// The pod directory is not as it should be.
    #[error(transparent)]
    Pod(#[from] pod::Error),
    /// A manifest breaks a rule.
    #[error("Cannot use the manifest of {what}")]
    Manifest {
        /// "the pod", "the image of app …".
        what: String,
        /// Which rule.
        source: Box<appc::ManifestError>,
    },
    /// systemd does not do as we want.
    #[error(transparent)]
    Systemd(#[from] systemd::Error),
    /// The app cannot be started.
    #[error("Cannot start app {app:?}")]
    App {
        /// Which.
        app: String,
        /// Why.
        source: executor::SetupError,
    },
    /// The app's user or group cannot be found.
    #[error("Cannot start app {app:?}")]
    User {
        /// Which.
        app: String,
        /// Why.
        source: executor::users::UserError,
    },
    /// The pod's networks cannot be joined. Scripts look for the first words.
    #[error("stage1: failed to setup network: {0}")]
    Network(String),
    /// Something that this stage1 cannot do. The text says what, and the way out.
    #[error("{0}")]
    Refused(String),
    /// A step that the system refused.
    #[error("Cannot {step}")]
    Step {
        /// The rest of the sentence.
        step: String,
        /// Why.
        source: io::Error,
    },
}

/// Names the step that failed.
pub trait Context<T> {
    /// `step` is the rest of the sentence "Cannot …".
    fn step(self, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Step { step: step(), source: error.into() })
    }
}
