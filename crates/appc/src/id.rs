//! Image IDs ("Image ID Type").

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What every image ID begins with.
const PREFIX: &str = "sha512-";
/// Digits of a full ID.
const FULL: usize = 128;
/// Digits of a store key.
const KEY: usize = 64;
/// Digits of a short ID, as lists show them.
const SHORT: usize = 12;

/// Why a text is not an image ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageIdError {
    /// It does not begin with `sha512-`.
    #[error("{0:?} is not an image ID (it must begin with \"sha512-\")")]
    Type(String),
    /// A character after `sha512-` is not a hexadecimal digit.
    #[error("{0:?} is not an image ID (only hexadecimal digits may follow \"sha512-\")")]
    Digits(String),
    /// There are fewer than 2 or more than 128 digits.
    #[error("{0:?} is not an image ID (2 to 128 hexadecimal digits must follow \"sha512-\")")]
    Length(String),
}

/// Image ID: `sha512-` and the hexadecimal digest of the uncompressed archive, in full (128 digits) or its beginning.
///
/// rkt's store keys, which pod manifests hold too, are the first 64 digits; users may give any unambiguous beginning.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(String);

impl ImageId {
    /// Checks `text` and takes it; digits become lowercase.
    pub fn new(text: &str) -> Result<Self, ImageIdError> {
        let Some(digits) = text.strip_prefix(PREFIX) else {
            return Err(ImageIdError::Type(text.to_owned()));
        };
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ImageIdError::Digits(text.to_owned()));
        }
        if !(2..=FULL).contains(&digits.len()) {
            return Err(ImageIdError::Length(text.to_owned()));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The ID of an archive whose SHA-512 is `digest`.
    pub fn from_digest(digest: &[u8; 64]) -> Self {
        let mut text = String::with_capacity(PREFIX.len() + FULL);
        text.push_str(PREFIX);
        for byte in digest {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The whole text, `sha512-…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits after `sha512-`.
    pub fn digits(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// The form the store uses: `sha512-` and the first 64 digits (fewer when the ID itself is shorter).
    pub fn key(&self) -> &str {
        self.cut(KEY)
    }

    /// The form lists show: `sha512-` and the first 12 digits.
    pub fn short(&self) -> &str {
        self.cut(SHORT)
    }

    /// Whether all 128 digits are there.
    pub fn is_full(&self) -> bool {
        self.digits().len() == FULL
    }

    /// Whether there are enough digits for a store key.
    pub fn is_key(&self) -> bool {
        self.digits().len() >= KEY
    }

    /// Whether `other` begins with this ID, compared in the store's form.
    pub fn matches(&self, other: &ImageId) -> bool {
        other.key().starts_with(self.key())
    }

    /// The first `digits` digits with the prefix.
    fn cut(&self, digits: usize) -> &str {
        &self.0[..self.0.len().min(PREFIX.len() + digits)]
    }
}

impl FromStr for ImageId {
    type Err = ImageIdError;

    fn from_str(text: &str) -> Result<Self, ImageIdError> {
        Self::new(text)
    }
}

impl AsRef<str> for ImageId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ImageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ImageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked() {
        let full = format!("sha512-{}", "0123456789abcdef".repeat(8));
        for (text, error) in [
            (full.as_str(), None),
            ("sha512-ab", None),
            ("sha512-A9", None),
            ("sha256-ab", Some("must begin with")),
            ("", Some("must begin with")),
            ("sha512-xy", Some("only hexadecimal")),
            ("sha512-a-b", Some("only hexadecimal")),
            ("sha512-", Some("2 to 128")),
            ("sha512-a", Some("2 to 128")),
            (&format!("{full}0"), Some("2 to 128")),
        ] {
            match (ImageId::new(text), error) {
                (Ok(id), None) => assert_eq!(id.as_str(), text.to_lowercase()),
                (Err(found), Some(error)) => assert!(found.to_string().contains(error), "{found}"),
                (found, _) => panic!("{text:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn forms() {
        let id = ImageId::from_digest(&[0xabu8; 64]);
        assert!(id.is_full() && id.is_key());
        assert_eq!(id.as_str().len(), 7 + 128);
        assert_eq!(id.key(), format!("sha512-{}", "ab".repeat(32)));
        assert_eq!(id.short(), "sha512-abababababab");
        let prefix = ImageId::new("sha512-abab").unwrap();
        assert_eq!(prefix.key(), "sha512-abab");
        assert!(prefix.matches(&id) && !id.matches(&prefix) && !prefix.is_key());
        assert!(id.matches(&ImageId::new(id.key()).unwrap()));
    }
}
