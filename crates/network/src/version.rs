//! Versions of the CNI specification.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of the CNI specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// What a configuration without a version is written for.
    pub const FIRST: Version = Version(0, 1, 0);
    /// The newest that we speak.
    pub const NEWEST: Version = Version(1, 1, 0);

    /// Whether each plugin of a list hears what the one before it did.
    pub fn chains(self) -> bool {
        self >= Version(0, 3, 0)
    }

    /// Whether plugins know `CHECK`, and hear what they did when they undo it.
    pub fn checks(self) -> bool {
        self >= Version(0, 4, 0)
    }

    /// Whether plugins know `GC` and `STATUS`.
    pub fn collects(self) -> bool {
        self >= Version(1, 1, 0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<u16>> = text.split('.').map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            Some([major, minor, patch]) => Ok(Version(*major, *minor, *patch)),
            _ => Err(format!("{text:?} is no version of CNI")),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order() {
        for (text, version) in [
            ("0.1.0", Some(Version(0, 1, 0))),
            ("1.1.0", Some(Version::NEWEST)),
            ("1.1", None),
            ("v1.0.0", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), version, "{text}");
        }
        assert!(
            Version(0, 10, 0) > Version(0, 4, 0) && !Version(0, 2, 0).chains() && Version(0, 3, 1).chains()
        );
    }
}
