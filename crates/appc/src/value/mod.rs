//! The syntaxes of the command line's values.
//!
//! | flag | type | syntax |
//! |---|---|---|
//! | `--volume` | [`Volume`](crate::Volume) | `NAME,kind=host,source=/abs[,readOnly=BOOL][,recursive=BOOL]` or `NAME,kind=empty[,readOnly=BOOL][,mode=0755][,uid=0][,gid=0]` |
//! | `--mount` | [`Mount`](crate::Mount) | `volume=NAME,target=/path` |
//! | `--port` | [`PortMapping`] | `NAME:HOSTPORT` or `NAME:HOSTIP:HOSTPORT` |
//! | `--net` | [`NetList`] | `none`, `host`, `all` or `NET[:ARG=V[;ARG=V]…]`, with commas between |
//! | `--dns` | [`DnsList`] | `IP[,IP]…`, `host` or `none` |
//! | `--hosts-entry` | [`HostsEntry`] | `IP=NAME[,IP=NAME]…` or `host` |
//! | `--set-env` | [`EnvironmentVariable`](crate::EnvironmentVariable) | `KEY=VALUE` |
//! | `--set-env-file` | [`parse_environment_file`] | lines of `KEY=VALUE`; blank ones and those that begin with `#` or `;` do not count |
//! | `--seccomp` | [`SeccompSpec`] | `mode=retain\|remove[,errno=ENAME],CALL[,@set/NAME]…` |
//! | `--caps-retain` | [`CapabilitySet`](crate::CapabilitySet) | `CAP_X[,CAP_Y]…` |
//! | `--rlimit` | [`extension::ResourceLimits`] | `RESOURCE=SOFT[:HARD][,…]` |
//! | `--memory`, `--cpu` | [`Quantity`](crate::Quantity) | `16Mi`, `50M`, `500m`, `2` |

mod environment;
pub mod extension;
mod names;
mod net;
mod port;
mod seccomp;
mod volume;

pub use environment::parse_environment_file;
pub use names::{DnsList, HostsEntry};
pub use net::{NetList, NetMode, NetRequest};
pub use port::PortMapping;
pub use seccomp::SeccompSpec;

use crate::NameError;

/// A value of a flag does not have its syntax.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?}: {problem} (the syntax is {syntax})")]
pub struct ValueError {
    /// What the value is, as the beginning of a sentence: `Volume`.
    pub kind: &'static str,
    /// The value.
    pub text: String,
    /// What is wrong.
    pub problem: Problem,
    /// What it should look like.
    pub syntax: &'static str,
}

/// What can be wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A part has no `=`.
    #[error("{0:?} is not KEY=VALUE")]
    NoValue(String),
    /// A mandatory part is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A key has no meaning here.
    #[error("{0:?} cannot be set here")]
    UnknownKey(String),
    /// Something is there twice.
    #[error("{0:?} is there more than once")]
    Repeated(String),
    /// A part is not what it must be.
    #[error("{found:?} {rule}")]
    Form {
        /// The part.
        found: String,
        /// What it must be.
        rule: &'static str,
    },
    /// A word excludes the rest of the list.
    #[error("{0:?} must stand alone")]
    NotAlone(&'static str),
    /// A name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Problem {
    /// `found` breaks `rule`.
    fn form(found: &str, rule: &'static str) -> Self {
        Self::Form { found: found.to_owned(), rule }
    }
}

/// What a kind of value is called and looks like.
struct Syntax {
    /// The name of the kind.
    kind: &'static str,
    /// What it looks like.
    syntax: &'static str,
}

impl Syntax {
    /// Runs `parse` on `text` and says in its error which value is meant.
    fn parse<T>(&self, text: &str, parse: impl FnOnce(&str) -> Result<T, Problem>) -> Result<T, ValueError> {
        parse(text).map_err(|problem| ValueError {
            kind: self.kind,
            text: text.to_owned(),
            problem,
            syntax: self.syntax,
        })
    }
}

/// The parts `KEY=VALUE` of a list with commas between.
struct Pairs<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Pairs<'a> {
    /// Splits `text`; no key may be there twice.
    fn split(text: &'a str) -> Result<Self, Problem> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for part in text.split(',') {
            let (key, value) = part.split_once('=').ok_or_else(|| Problem::NoValue(part.to_owned()))?;
            if pairs.iter().any(|(known, _)| *known == key) {
                return Err(Problem::Repeated(key.to_owned()));
            }
            pairs.push((key, value));
        }
        Ok(Self(pairs))
    }

    /// Takes the value of `key` out.
    fn take(&mut self, key: &str) -> Option<&'a str> {
        let index = self.0.iter().position(|(known, _)| *known == key)?;
        Some(self.0.swap_remove(index).1)
    }

    /// Takes the value of `key` out, which must be there and not be empty.
    fn require(&mut self, key: &'static str) -> Result<&'a str, Problem> {
        self.take(key).filter(|value| !value.is_empty()).ok_or(Problem::Missing(key))
    }

    /// Takes the value of `key` out as a truth value.
    fn boolean(&mut self, key: &str) -> Result<Option<bool>, Problem> {
        let Some(text) = self.take(key) else { return Ok(None) };
        match text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Some(false)),
            _ => Err(Problem::form(text, "must be true or false")),
        }
    }

    /// Takes the value of `key` out as the number of a user or a group.
    fn id(&mut self, key: &str) -> Result<Option<u32>, Problem> {
        let Some(text) = self.take(key) else { return Ok(None) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(id) if digits && id != u32::MAX => Ok(Some(id)),
            _ => Err(Problem::form(text, "must be a number from 0 to 4294967294")),
        }
    }

    /// Insists that nothing is left.
    fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            Some((key, _)) => Err(Problem::UnknownKey((*key).to_owned())),
            None => Ok(()),
        }
    }
}
