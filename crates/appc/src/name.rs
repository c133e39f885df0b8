//! The two kinds of names of the specification ("AC Name Type" and "AC Identifier Type").

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("{kind} must not be empty")]
    Empty {
        /// `AC name` or `AC identifier`.
        kind: &'static str,
    },
    /// The text has a character or an order of characters which the rule forbids.
    #[error("{text:?} is not a valid {kind} (it must match {rule})")]
    Invalid {
        /// `AC name` or `AC identifier`.
        kind: &'static str,
        /// The refused text.
        text: String,
        /// The rule as a regular expression.
        rule: &'static str,
    },
    /// Nothing was left of the text when it was sanitised.
    #[error("{text:?} cannot become a name: it must contain at least one letter or digit")]
    NothingLeft {
        /// The refused text.
        text: String,
    },
}

/// Whether `text` is runs of lowercase letters and digits with single separators between them.
fn is_name(text: &str, is_separator: impl Fn(u8) -> bool) -> bool {
    let mut after_separator = true;
    for byte in text.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() {
            after_separator = false;
        } else if is_separator(byte) && !after_separator {
            after_separator = true;
        } else {
            return false;
        }
    }
    !after_separator
}

/// Lowercases `text`, turns each run of what is not allowed (and of separators) into one separator, and trims.
fn sanitise(text: &str, is_separator: impl Fn(char) -> bool) -> String {
    let mut name = String::with_capacity(text.len());
    let mut pending = None;
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            if let Some(separator) = pending.take()
                && !name.is_empty()
            {
                name.push(separator);
            }
            name.push(c);
        } else if pending.is_none() {
            pending = Some(if is_separator(c) { c } else { '-' });
        }
    }
    name
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:literal, $separators:pat) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The rule as a regular expression.
            pub const RULE: &'static str = $rule;

            /// Checks `text` and takes it.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                if text.is_empty() {
                    return Err(NameError::Empty { kind: $kind });
                }
                if !is_name(&text, |byte| matches!(byte as char, $separators)) {
                    return Err(NameError::Invalid { kind: $kind, text, rule: $rule });
                }
                Ok(Self(text))
            }

            /// The nearest valid name: lowercase, illegal runs replaced by `-`, trimmed.
            pub fn sanitize(text: &str) -> Result<Self, NameError> {
                let name = sanitise(text, |c| matches!(c, $separators));
                if name.is_empty() {
                    return Err(NameError::NothingLeft { text: text.to_owned() });
                }
                Ok(Self(name))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = NameError;

            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $type {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type! {
    /// Name of an app, a port, a volume or a mount point ("AC Name Type"): `^[a-z0-9]+(-[a-z0-9]+)*$`.
    AcName, "AC name", "^[a-z0-9]+(-[a-z0-9]+)*$", '-'
}

name_type! {
    /// Name of an image, a label, an annotation or an isolator ("AC Identifier Type"):
    /// `^[a-z0-9]+([-._~/][a-z0-9]+)*$`.
    AcIdentifier, "AC identifier", "^[a-z0-9]+([-._~/][a-z0-9]+)*$", '-' | '.' | '_' | '~' | '/'
}

impl AcIdentifier {
    /// Sanitises a text of which something is left for certain.
    pub(crate) fn sanitize_known(text: &str) -> Self {
        Self(sanitise(text, |c| matches!(c, '-' | '.' | '_' | '~' | '/')))
    }
}

impl From<AcName> for AcIdentifier {
    /// Each AC name is an AC identifier too.
    fn from(name: AcName) -> Self {
        Self(name.0)
    }
}

/// The name an app gets when the user gives none: the last path element of the image's name, sanitised.
pub fn default_app_name(image: &AcIdentifier) -> AcName {
    let last = image.as_str().rsplit('/').next().unwrap_or_default();
    // The last element of an identifier begins with a letter or a digit, so something is always left.
    AcName(sanitise(last, |c| c == '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for (text, name, identifier) in [
            ("etcd", true, true),
            ("0", true, true),
            ("http-port-2", true, true),
            ("example.com/reduce-worker", false, true),
            ("quay.io/coreos/etcd_v3~x", false, true),
            ("", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("a--b", false, false),
            ("a./b", false, false),
            ("/a", false, false),
            ("a/", false, false),
            ("Etcd", false, false),
            ("a b", false, false),
            ("a\n", false, false),
            ("é", false, false),
            ("a:b", false, false),
        ] {
            assert_eq!(AcName::new(text).is_ok(), name, "name {text:?}");
            assert_eq!(AcIdentifier::new(text).is_ok(), identifier, "identifier {text:?}");
        }
    }

    #[test]
    fn errors_name_the_text_and_the_rule() {
        assert_eq!(AcName::new("").unwrap_err().to_string(), "AC name must not be empty");
        assert_eq!(
            AcName::new("A b").unwrap_err().to_string(),
            "\"A b\" is not a valid AC name (it must match ^[a-z0-9]+(-[a-z0-9]+)*$)"
        );
    }

    #[test]
    fn sanitising() {
        for (text, name, identifier) in [
            ("Redis", Some("redis"), Some("redis")),
            ("foo#bar", Some("foo-bar"), Some("foo-bar")),
            ("EtCD.Test", Some("etcd-test"), Some("etcd.test")),
            ("--a__B--", Some("a-b"), Some("a_b")),
            ("registry-1.docker.io/library/nginx", Some("registry-1-docker-io-library-nginx"), None),
            ("///", None, None),
            ("", None, None),
            ("àb", Some("b"), Some("b")),
        ] {
            assert_eq!(AcName::sanitize(text).ok().as_ref().map(AcName::as_str), name, "{text:?}");
            if let Some(identifier) = identifier {
                assert_eq!(AcIdentifier::sanitize(text).unwrap().as_str(), identifier, "{text:?}");
            }
        }
    }

    #[test]
    fn default_names_of_apps() {
        for (image, app) in [
            ("coreos.com/etcd", "etcd"),
            ("example.com/my.app_2", "my-app-2"),
            ("registry-1.docker.io/library/busybox", "busybox"),
            ("single", "single"),
        ] {
            assert_eq!(default_app_name(&image.parse().unwrap()).as_str(), app);
        }
    }

    #[test]
    fn json_is_checked() {
        assert_eq!(serde_json::from_str::<AcName>("\"a-b\"").unwrap(), "a-b");
        assert!(serde_json::from_str::<AcName>("\"a b\"").is_err());
        assert_eq!(serde_json::to_string(&AcIdentifier::new("a/b").unwrap()).unwrap(), "\"a/b\"");
    }
}
