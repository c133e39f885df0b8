//! Versions of the specification and of images ("AC Version Type": Semantic Versioning 2.0.0).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of the specification that this crate implements.
pub const SPEC_VERSION: &str = "0.8.11";

/// A text is not a semantic version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version of the form MAJOR.MINOR.PATCH[-PRERELEASE][+METADATA]")]
pub struct SemVerError(String);

/// A semantic version, kept as written. The default is [`SPEC_VERSION`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SemVer(String);

impl SemVer {
    /// Checks `text` and takes it.
    pub fn new(text: impl Into<String>) -> Result<Self, SemVerError> {
        let text = text.into();
        if is_semver(&text) { Ok(Self(text)) } else { Err(SemVerError(text)) }
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` is a semantic version. Leading zeros pass, as they did in rkt 1.x.
fn is_semver(text: &str) -> bool {
    let (rest, metadata) =
        text.split_once('+').map_or((text, None), |(rest, metadata)| (rest, Some(metadata)));
    let (core, prerelease) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let identifiers = |list: Option<&str>| {
        list.is_none_or(|list| {
            list.split('.').all(|identifier| {
                !identifier.is_empty()
                    && identifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            })
        })
    };
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse::<i64>().is_ok();
    core.split('.').count() == 3
        && core.split('.').all(number)
        && identifiers(prerelease)
        && identifiers(metadata)
}

impl Default for SemVer {
    fn default() -> Self {
        Self(SPEC_VERSION.to_owned())
    }
}

impl FromStr for SemVer {
    type Err = SemVerError;

    fn from_str(text: &str) -> Result<Self, SemVerError> {
        Self::new(text)
    }
}

impl fmt::Display for SemVer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SemVer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for SemVer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SemVer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_checked() {
        for (text, valid) in [
            ("0.8.11", true),
            ("1.30.0+git", true),
            ("0.1.1-rc.1+exp.sha-5114f85", true),
            ("1.2.3----R-S.12.9.1--.12+meta", true),
            ("1.2", false),
            ("1.2.3.4", false),
            ("1.2.x", false),
            ("1.2.3-", false),
            ("1.2.3+", false),
            ("1.2.3-a..b", false),
            ("v1.2.3", false),
            ("+1.2.3", false),
            ("99999999999999999999.0.0", false),
            ("", false),
        ] {
            assert_eq!(SemVer::new(text).is_ok(), valid, "{text:?}");
        }
        assert_eq!(SemVer::default(), SemVer::new(SPEC_VERSION).unwrap());
    }
}
