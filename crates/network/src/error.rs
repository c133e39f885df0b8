//! Why a pod has no network.

use std::io;
use std::path::PathBuf;

/// The result of most functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a pod has no network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `--net` names networks that nobody has configured.
    #[error("networks not found: {}", .0.join(", "))]
    NotFound(Vec<String>),
    /// A configuration file makes no sense.
    #[error("Cannot use the network configuration {file}: {why}")]
    Configuration {
        /// Which file.
        file: String,
        /// Why.
        why: String,
    },
    /// A network could not be joined or left.
    #[error("Network {name:?}, plugin {plugin:?}, {command}: {why}")]
    Plugin {
        /// The network.
        name: String,
        /// The type of the plugin.
        plugin: String,
        /// `ADD`, `DEL`, `CHECK`, `VERSION`, `GC`, `STATUS`.
        command: &'static str,
        /// What it said, or how it failed.
        why: PluginFailure,
    },
    /// A port of the host belongs to another pod.
    #[error(
        "Port {port} of the host is forwarded to pod {holder} already: stop that pod, or choose another port"
    )]
    PortTaken {
        /// `tcp/8080`, with the address if there is one.
        port: String,
        /// The other pod.
        holder: String,
    },
    /// Ports cannot be forwarded as asked for. The text says why, and the way out.
    #[error("{0}")]
    Refused(String),
    /// The pod directory is not as it should be.
    #[error(transparent)]
    Pod(#[from] pod::Error),
    /// What this crate recorded cannot be read.
    #[error("Cannot read the record {file}: {why}")]
    Record {
        /// Which file.
        file: String,
        /// Why.
        why: String,
    },
    /// A step that the system refused.
    #[error("Cannot {step}")]
    Step {
        /// The rest of the sentence.
        step: String,
        /// Why.
        source: io::Error,
    },
    /// The process that sets the network up could not do it; it said this.
    #[error("{0}")]
    Told(String),
    /// Several steps of a teardown failed.
    #[error("{}", .0.iter().map(Error::chain).collect::<Vec<_>>().join("; "))]
    Several(Vec<Error>),
}

/// How a plugin failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginFailure {
    /// It stands in none of the directories for plugins.
    #[error("it is in none of {}", .0.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", "))]
    Missing(Vec<PathBuf>),
    /// It could not be started.
    #[error("it cannot be started: {0}")]
    Start(String),
    /// It did not end in time, and was killed with all its children.
    #[error("it did not end within {0} seconds and was killed")]
    TimedOut(u64),
    /// It reported an error.
    #[error("{msg}{}", if .details.is_empty() { String::new() } else { format!("; {}", .details) })]
    Reported {
        /// The number, see the CNI specification.
        code: u64,
        /// In short.
        msg: String,
        /// At length.
        details: String,
    },
    /// It failed without saying why in the form that the specification asks for.
    #[error("it failed ({how}){}", if .output.is_empty() { String::new() } else { format!(": {}", .output) })]
    Died {
        /// Exit status or signal.
        how: String,
        /// What it wrote.
        output: String,
    },
    /// It succeeded, and printed something else than a result.
    #[error("its result cannot be read: {0}")]
    Nonsense(String),
}

impl Error {
    /// Whether a plugin has said no, or one of several has.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Error::Plugin { why: PluginFailure::Reported { .. }, .. } => true,
            Error::Several(all) => all.iter().any(Error::is_refusal),
            _ => false,
        }
    }

    /// The error with its causes, on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            text.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        text
    }
}

/// Names the step that failed.
pub(crate) trait Context<T> {
    /// `step` is the rest of the sentence "Cannot …".
    fn step(self, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Step { step: step(), source: error.into() })
    }
}
