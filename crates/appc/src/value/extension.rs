//! What an app can ask for beyond the App Container specification, by annotations in the pod's manifest.
//!
//! | annotation of the app | value |
//! |---|---|
//! | [`RLIMITS`] | `RESOURCE=SOFT[:HARD],…`, each a number or `unlimited`; see getrlimit(2) |
//! | [`PIDS_LIMIT`] | how many processes and threads there can be at one time |
//! | [`RESTART`] | `no`, `on-failure` or `always` |

use std::str::FromStr;

use super::{Problem, Syntax, ValueError};

/// The annotation that limits the resources of each process of an app: [`ResourceLimits`].
pub const RLIMITS: &str = "coreos.com/rkt/stage2/rlimits";
/// The annotation that limits how many processes and threads an app has: a number.
pub const PIDS_LIMIT: &str = "coreos.com/rkt/stage2/pids-limit";
/// The annotation that says when an app that has ended starts again: [`RestartPolicy`].
pub const RESTART: &str = "coreos.com/rkt/stage2/restart";

/// The names of the resources of getrlimit(2).
pub const RESOURCES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceLimit {
    /// One of [`RESOURCES`].
    pub resource: &'static str,
    /// What holds; `None` is unlimited.
    pub soft: Option<u64>,
    /// How far the process itself may raise it; `None` is unlimited.
    pub hard: Option<u64>,
}

/// The value of [`RLIMITS`] and of `--rlimit`: each resource once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceLimits(pub Vec<ResourceLimit>);

impl FromStr for ResourceLimits {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const SYNTAX: Syntax = Syntax { kind: "Resource limits", syntax: "RESOURCE=SOFT[:HARD][,…]" };
        SYNTAX.parse(text, |text| {
            let mut limits: Vec<ResourceLimit> = Vec::new();
            for word in text.split(',') {
                let (name, value) =
                    word.split_once('=').ok_or(Problem::Missing("the value of a resource"))?;
                let resource = RESOURCES
                    .into_iter()
                    .find(|known| *known == name)
                    .ok_or_else(|| Problem::UnknownKey(name.to_owned()))?;
                if limits.iter().any(|limit| limit.resource == resource) {
                    return Err(Problem::Repeated(name.to_owned()));
                }
                let (soft, hard) = value.split_once(':').unwrap_or((value, value));
                let (soft, hard) = (amount(soft)?, amount(hard)?);
                if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
                    return Err(Problem::form(value, "has a soft limit above the hard one"));
                }
                limits.push(ResourceLimit { resource, soft, hard });
            }
            Ok(Self(limits))
        })
    }
}

fn amount(text: &str) -> Result<Option<u64>, Problem> {
    match text {
        "unlimited" | "infinity" => Ok(None),
        // The highest number is how the kernel says unlimited.
        number => match number.parse() {
            Ok(number) if number < u64::MAX => Ok(Some(number)),
            _ => Err(Problem::form(number, "must be a number or \"unlimited\"")),
        },
    }
}

/// The value of [`PIDS_LIMIT`] and of `--pids-limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PidsLimit(pub u64);

impl FromStr for PidsLimit {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const SYNTAX: Syntax = Syntax { kind: "Limit of processes", syntax: "NUMBER" };
        SYNTAX.parse(text, |text| match text.parse() {
            // The highest pid that Linux can give.
            Ok(number @ 1..=4_194_304) => Ok(Self(number)),
            _ => Err(Problem::form(text, "must be a number from 1 to 4194304")),
        })
    }
}

/// The value of [`RESTART`] and of `--restart`: when an app that has ended starts again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When it has ended with a status other than 0, or by a signal.
    OnFailure,
    /// Whatever its status.
    Always,
}

impl FromStr for RestartPolicy {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const SYNTAX: Syntax = Syntax { kind: "Restart policy", syntax: "no|on-failure|always" };
        SYNTAX.parse(text, |text| match text {
            "no" => Ok(Self::No),
            "on-failure" => Ok(Self::OnFailure),
            "always" => Ok(Self::Always),
            other => Err(Problem::form(other, "must be no, on-failure or always")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_resources() {
        let limits: ResourceLimits = "nofile=64:128,core=0,nproc=unlimited".parse().unwrap();
        assert_eq!(
            limits.0,
            [
                ResourceLimit { resource: "nofile", soft: Some(64), hard: Some(128) },
                ResourceLimit { resource: "core", soft: Some(0), hard: Some(0) },
                ResourceLimit { resource: "nproc", soft: None, hard: None },
            ]
        );
        for (text, problem) in [
            ("", "the value of a resource is missing"),
            ("nofile", "the value of a resource is missing"),
            ("files=1", "\"files\" cannot be set here"),
            ("nofile=1,nofile=2", "\"nofile\" is there more than once"),
            ("nofile=2:1", "has a soft limit above the hard one"),
            ("nofile=unlimited:1", "has a soft limit above the hard one"),
            ("nofile=-1", "must be a number or \"unlimited\""),
            ("nofile=18446744073709551615", "must be a number or \"unlimited\""),
        ] {
            let error = text.parse::<ResourceLimits>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn other_values() {
        assert_eq!("12".parse(), Ok(PidsLimit(12)));
        assert!("0".parse::<PidsLimit>().is_err() && "4194305".parse::<PidsLimit>().is_err());
        assert_eq!("on-failure".parse(), Ok(RestartPolicy::OnFailure));
        assert!("sometimes".parse::<RestartPolicy>().is_err());
    }
}
