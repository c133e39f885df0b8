//! Names: appc specification, "AC Identifier Type" and "AC Name Type".

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// An empty text.
    #[error("A name cannot be empty")]
    Empty,
    /// Not an AC Identifier.
    #[error("{0:?} is no AC identifier: lower-case letters and digits, joined by one of - . _ ~ /")]
    Identifier(String),
    /// Not an AC Name.
    #[error("{0:?} is no AC name: lower-case letters and digits, joined by -")]
    Name(String),
}

/// Whether `text` is made of runs of `[a-z0-9]` joined by single characters of `joints`.
fn is_joined(text: &str, joints: &[u8]) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    ends.is_some_and(|(first, last)| alphanumeric(*first) && alphanumeric(*last))
        && bytes.iter().all(|byte| alphanumeric(*byte) || joints.contains(byte))
        && bytes.windows(2).all(|pair| alphanumeric(pair[0]) || alphanumeric(pair[1]))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $joints:expr, $error:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                if text.is_empty() {
                    Err(NameError::Empty)
                } else if is_joined(&text, $joints) {
                    Ok(Self(text))
                } else {
                    Err($error(text))
                }
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
    };
}

name_type!(
    /// The name of an image, a label, an annotation or an isolator: `^[a-z0-9]+([-._~/][a-z0-9]+)*$`.
    AcIdentifier,
    b"-._~/",
    NameError::Identifier
);
name_type!(
    /// The name of an app, a port, a volume or a mount point: `^[a-z0-9]+(-[a-z0-9]+)*$`.
    AcName,
    b"-",
    NameError::Name
);

impl AcName {
    /// The nearest name to `text`: lower case, with a `-` for each run of what a name cannot have.
    ///
    /// # Errors
    /// [`NameError::Empty`] when no letter or digit is left.
    pub fn sanitize(text: &str) -> Result<Self, NameError> {
        let lower = text.to_lowercase();
        let parts = lower.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit()));
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        Self::try_from(parts.join("-"))
    }

    /// The name that an app gets when nobody names it: the last path element of its image's name.
    pub fn for_image(image: &AcIdentifier) -> Result<Self, NameError> {
        Self::sanitize(image.as_str().rsplit('/').next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_and_names() {
        for (text, identifier, name) in [
            ("a", true, true),
            ("redis-6", true, true),
            ("example.com/a_b/c~d", true, false),
            ("", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("a--b", false, false),
            ("a/-b", false, false),
            ("A", false, false),
            ("a b", false, false),
            ("a\n", false, false),
            ("é", false, false),
        ] {
            assert_eq!(text.parse::<AcIdentifier>().is_ok(), identifier, "{text:?}");
            assert_eq!(text.parse::<AcName>().is_ok(), name, "{text:?}");
        }
    }

    #[test]
    fn sanitizes() {
        for (text, name) in [
            ("Hello__World", Some("hello-world")),
            ("--x--", Some("x")),
            ("1.2.3", Some("1-2-3")),
            ("日本", None),
            ("", None),
        ] {
            assert_eq!(AcName::sanitize(text).ok().as_ref().map(AcName::as_str), name, "{text:?}");
        }
        let image = "coreos.com/rkt/stage1_fly".parse().unwrap();
        assert_eq!(AcName::for_image(&image).unwrap(), "stage1-fly");
    }
}
