//! An OpenPGP public key as its reader judges it: fingerprint, subkeys, identities.

use std::fmt;
use std::str::FromStr;

use pgp::composed::SignedPublicKey;
use pgp::types::KeyDetails;
use rpgpie::certificate::Certificate;
use thiserror::Error;

/// The most bytes that a key file or a downloaded key may have.
pub(crate) const KEY_BYTES_MAX: usize = 1 << 20;

/// The fingerprint of a version 4 key: 40 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As people compare it: ten groups of four upper-case digits, two spaces after the fifth.
    pub fn for_review(&self) -> String {
        let upper = self.0.to_uppercase();
        let groups: Vec<&str> = (0..10).map(|group| &upper[group * 4..group * 4 + 4]).collect();
        format!("{}  {}", groups[..5].join(" "), groups[5..].join(" "))
    }

    pub(crate) fn of(key: &impl KeyDetails) -> Result<Self, KeyError> {
        format!("{:x}", key.fingerprint()).parse()
    }
}

impl FromStr for Fingerprint {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let lower = text.to_ascii_lowercase();
        if lower.len() == 40 && lower.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(lower))
        } else {
            Err(KeyError::Fingerprint(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Why bytes are no key that can be trusted.
#[derive(Debug, Error)]
pub enum KeyError {
    /// Not the fingerprint of a version 4 key.
    #[error("{0:?} is no OpenPGP version 4 fingerprint (40 hex digits)")]
    Fingerprint(String),
    /// More than a mebibyte.
    #[error("The key has more than {KEY_BYTES_MAX} bytes")]
    TooLong,
    /// Not an OpenPGP public key, armored or binary.
    #[error("Not an OpenPGP public key")]
    Malformed(#[source] rpgpie::Error),
}

/// A public key: the first of those that its file holds.
#[derive(Debug, Clone)]
pub struct PublicKey {
    pub(crate) certificate: Certificate,
    fingerprint: Fingerprint,
}

impl PublicKey {
    /// Reads a key, ASCII-armored or binary. Of several only the first counts.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > KEY_BYTES_MAX {
            return Err(KeyError::TooLong);
        }
        let mut reader = bytes;
        let first = Certificate::load(&mut reader).map_err(KeyError::Malformed)?.into_iter().next();
        let certificate =
            first.ok_or_else(|| KeyError::Malformed(rpgpie::Error::Message("No key found".to_owned())))?;
        let fingerprint = Fingerprint::of(&SignedPublicKey::from(certificate.clone()).primary_key)?;
        Ok(Self { certificate, fingerprint })
    }

    /// The fingerprint of the primary key.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The fingerprints of the subkeys, in the order of the file.
    pub fn subkeys(&self) -> Vec<Fingerprint> {
        let key = SignedPublicKey::from(self.certificate.clone());
        key.public_subkeys.iter().filter_map(|subkey| Fingerprint::of(&subkey.key).ok()).collect()
    }

    /// The identities that the key claims, in the order of the file, control characters taken out.
    pub fn identities(&self) -> Vec<String> {
        let key = SignedPublicKey::from(self.certificate.clone());
        let clean = |id: &[u8]| String::from_utf8_lossy(id).chars().filter(|c| !c.is_control()).collect();
        key.details.users.iter().map(|user| clean(user.id.id())).collect()
    }

    /// The key, ASCII-armored, as the keystore holds it.
    pub fn to_armored(&self) -> Result<Vec<u8>, KeyError> {
        let mut armored = Vec::new();
        self.certificate.save(true, &mut armored).map_err(KeyError::Malformed)?;
        Ok(armored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_forty_hex_digits() {
        let fingerprint: Fingerprint = "8B86DE38890DDB7291867B025210BD8888182190".parse().unwrap();
        assert_eq!(fingerprint.as_str(), "8b86de38890ddb7291867b025210bd8888182190");
        assert_eq!(fingerprint.for_review(), "8B86 DE38 890D DB72 9186  7B02 5210 BD88 8818 2190");
        for bad in ["", "8b86", "8b86de38890ddb7291867b025210bd888818219g", "../../../../../../etc/passwd"] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn junk_is_no_key() {
        for junk in [&b""[..], b"hello", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END"] {
            assert!(PublicKey::parse(junk).is_err());
        }
        assert!(matches!(PublicKey::parse(&vec![0; KEY_BYTES_MAX + 1]), Err(KeyError::TooLong)));
    }
}
