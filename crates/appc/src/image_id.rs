//! The identity of an image: appc specification, "Image ID Type".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How many hex digits of the hash the store keeps.
const KEY_DIGITS: usize = 64;
const PREFIX: &str = "sha512-";

/// Why a text is no image ID.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no image ID: sha512- and up to 128 lower-case hex digits")]
pub struct ImageIdError(String);

/// `sha512-` and 1 to 128 hex digits of the hash of the uncompressed archive; fewer than 128 are a prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(String);

impl ImageId {
    /// The ID of an archive with this SHA-512.
    pub fn from_digest(digest: &[u8; 64]) -> Self {
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{PREFIX}{digits}"))
    }

    /// The whole text, as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key in the store: `sha512-` and the first 64 digits (or what there is of them).
    pub fn key(&self) -> &str {
        &self.0[..self.0.len().min(PREFIX.len() + KEY_DIGITS)]
    }

    /// `sha512-` and the first `digits` hex digits.
    pub fn short(&self, digits: usize) -> &str {
        &self.0[..self.0.len().min(PREFIX.len() + digits)]
    }

    /// Whether the text names one image only: at least the digits of a key are there.
    pub fn is_complete(&self) -> bool {
        self.0.len() >= PREFIX.len() + KEY_DIGITS
    }
}

impl TryFrom<String> for ImageId {
    type Error = ImageIdError;

    fn try_from(text: String) -> Result<Self, ImageIdError> {
        let valid = text.strip_prefix(PREFIX).is_some_and(|digits| {
            (1..=128).contains(&digits.len())
                && digits.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
        });
        if valid { Ok(Self(text)) } else { Err(ImageIdError(text.chars().take(160).collect())) }
    }
}

impl FromStr for ImageId {
    type Err = ImageIdError;

    fn from_str(text: &str) -> Result<Self, ImageIdError> {
        Self::try_from(text.to_owned())
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> String {
        id.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keys_and_prefixes() {
        let id = ImageId::from_digest(&[0xab; 64]);
        assert_eq!(id.as_str().len(), 7 + 128);
        assert_eq!(id.key().len(), 7 + 64);
        assert_eq!(id.short(12), "sha512-abababababab");
        assert!(id.is_complete());
        assert!(!"sha512-ab".parse::<ImageId>().unwrap().is_complete());
        for bad in ["", "sha512-", "sha256-ab", "sha512-AB", "sha512-xy", "ab"] {
            assert!(bad.parse::<ImageId>().is_err(), "{bad}");
        }
    }
}
