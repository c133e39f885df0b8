//! Names of pods, and the units that run them.

use std::fmt;
use std::str::FromStr;

/// What the names of the units that run pods begin with.
pub const UNIT_PREFIX: &str = "rkt-pod@";

/// The longest name: with what stands around it it must be the name of a unit.
const LENGTH_MAX: usize = 230;

/// The name of a pod: that of its file without `.pod`. `db@one` is an instance of the template `db@`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName(String);

/// A text that cannot be the name of a pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be the name of a pod: it has letters, digits, and : - _ . only, at most 230 of them, and at most one \
     @ before an instance"
)]
pub struct PodNameError(String);

impl PodName {
    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before `@`, or all.
    pub fn prefix(&self) -> &str {
        self.0.split_once('@').map_or(&self.0, |(prefix, _)| prefix)
    }

    /// What stands behind `@`; empty for a template.
    pub fn instance(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, instance)| instance)
    }

    /// Whether it is a template, which cannot run.
    pub fn is_template(&self) -> bool {
        self.0.ends_with('@')
    }

    /// The template of an instance.
    pub fn template(&self) -> Option<PodName> {
        let instance = self.instance()?;
        (!instance.is_empty()).then(|| PodName(format!("{}@", self.prefix())))
    }

    /// The unit of the shipped template that runs it.
    pub fn unit(&self) -> String {
        format!("{UNIT_PREFIX}{}.service", self.0)
    }

    /// The name of its file.
    pub fn file(&self) -> String {
        format!("{}.pod", self.0)
    }
}

impl FromStr for PodName {
    type Err = PodNameError;

    fn from_str(text: &str) -> Result<Self, PodNameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.@\\".contains(c);
        let good = !text.is_empty()
            && text.len() <= LENGTH_MAX
            && !text.starts_with(['@', '.', '-'])
            && text.chars().all(allowed)
            && text.matches('@').count() <= 1
            && !text.split('@').next().unwrap_or_default().contains('\\');
        if good { Ok(PodName(text.to_owned())) } else { Err(PodNameError(text.to_owned())) }
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, prefix, instance, template) in [
            ("web", "web", None, None),
            ("db@one", "db", Some("one"), Some("db@")),
            ("db@a\\x2fb", "db", Some("a\\x2fb"), Some("db@")),
            ("db@", "db", Some(""), None),
            ("a.b-c_d:1", "a.b-c_d:1", None, None),
        ] {
            let name: PodName = text.parse().unwrap();
            assert_eq!((name.prefix(), name.instance()), (prefix, instance), "{text}");
            assert_eq!(name.template().as_ref().map(PodName::as_str), template, "{text}");
            assert_eq!(name.is_template(), instance == Some(""));
            assert_eq!(name.unit(), format!("rkt-pod@{text}.service"));
        }
        let long = "a".repeat(231);
        for text in ["", "@x", ".x", "-x", "a/b", "a b", "a@b@c", "ä", "a\\x", long.as_str()] {
            assert!(text.parse::<PodName>().is_err(), "{text}");
        }
    }
}
