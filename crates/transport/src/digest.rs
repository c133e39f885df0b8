//! Digests as registries write them: `sha256:…`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A digest algorithm that the OCI image specification registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256: nearly all there are.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Its name, as before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of its value in hexadecimal digits.
    const fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The digest of a blob or manifest: algorithm and lower-case hexadecimal value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// The digest with these bytes as its value.
    ///
    /// # Errors
    /// When there are too few or too many for the algorithm.
    pub fn new(algorithm: Algorithm, value: &[u8]) -> Result<Self, InvalidDigest> {
        let hex = hex(value);
        if hex.len() != algorithm.digits() {
            return Err(InvalidDigest(format!("{}:{hex}", algorithm.name())));
        }
        Ok(Self { algorithm, hex })
    }

    /// The SHA-256 digest with this value.
    pub fn of_sha256(value: [u8; 32]) -> Self {
        Self { algorithm: Algorithm::Sha256, hex: hex(&value) }
    }

    /// The SHA-512 digest with this value.
    pub fn of_sha512(value: [u8; 64]) -> Self {
        Self { algorithm: Algorithm::Sha512, hex: hex(&value) }
    }

    /// The algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The value in lower-case hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.hex
    }
}

fn hex(value: &[u8]) -> String {
    use fmt::Write;
    value.iter().fold(String::with_capacity(value.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let invalid = || InvalidDigest(text.to_owned());
        let (name, hex) = text.split_once(':').ok_or_else(invalid)?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(invalid()),
        };
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != algorithm.digits() || !hex.bytes().all(is_digit) {
            return Err(invalid());
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// A text is no digest that we can check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Not a digest of the form sha256:… or sha512:…: {}", crate::text::printable(.0))]
pub struct InvalidDigest(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_known_lower_case_digests_are_read() {
        let hex = "0123456789abcdef".repeat(4);
        let good = format!("sha256:{hex}");
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        assert_eq!(format!("sha512:{hex}{hex}").parse::<Digest>().unwrap().algorithm(), Algorithm::Sha512);
        for bad in [
            hex.clone(),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{hex}0"),
            format!("sha512:{hex}"),
            format!("md5:{}", &hex[..32]),
            format!("sha256:../{}", &hex[3..]),
            "sha256:".to_owned(),
            String::new(),
        ] {
            assert_eq!(bad.parse::<Digest>(), Err(InvalidDigest(bad.clone())));
        }
        for digest in [Digest::of_sha256([0xab; 32]), Digest::of_sha512([0x0c; 64])] {
            assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        }
    }
}
