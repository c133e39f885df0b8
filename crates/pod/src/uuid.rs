//! Names of pods.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Where the dashes stand.
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// The name of a pod: a UUID, written in lower case with dashes.
///
/// New ones are of version 4 (random); any version is understood.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUuid([u8; PodUuid::LENGTH]);

impl PodUuid {
    /// How many characters it has.
    pub(crate) const LENGTH: usize = 36;

    /// A new random one.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0_u8; 16];
        let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Error::io("get random bytes", "the kernel", error))?;
        // Up to 256 bytes always come whole.
        debug_assert_eq!(got, bytes.len());
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Ok(Self::from_bytes(bytes))
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; Self::LENGTH];
        let mut digits =
            bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        for (at, place) in text.iter_mut().enumerate() {
            if !DASHES.contains(&at)
                && let Some(digit) = digits.next()
            {
                *place = digit;
            }
        }
        Self(text)
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        // Only ASCII ever gets in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The first eight characters, as lists show it.
    pub fn short(&self) -> &str {
        &self.as_str()[..8]
    }

    /// Whether the name begins with `prefix`, in upper or lower case.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.0.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    }

    /// The name of a pod directory: as [`PodUuid::from_str`], but lower case only.
    pub(crate) fn from_directory_name(name: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(name).ok()?;
        let uuid: Self = text.parse().ok()?;
        (uuid.as_str() == text).then_some(uuid)
    }
}

impl FromStr for PodUuid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::BadUuid(text.to_owned());
        let mut bytes: [u8; Self::LENGTH] = text.as_bytes().try_into().map_err(|_| bad())?;
        bytes.make_ascii_lowercase();
        let fits = bytes.iter().enumerate().all(|(at, &byte)| match DASHES.contains(&at) {
            true => byte == b'-',
            false => byte.is_ascii_hexdigit(),
        });
        if fits { Ok(Self(bytes)) } else { Err(bad()) }
    }
}

impl fmt::Display for PodUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for PodUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ones_are_version_4_and_differ() {
        let (one, two) = (PodUuid::random().unwrap(), PodUuid::random().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.as_str().parse::<PodUuid>().unwrap(), one);
        assert_eq!(&one.as_str()[14..15], "4");
        assert!("89ab".contains(&one.as_str()[19..20]));
    }

    #[test]
    fn parses_whole_names_only() {
        let good = "5bd4ed2c-7b84-4de3-b4b1-7f0d8a5d4c11";
        assert_eq!(good.parse::<PodUuid>().unwrap().as_str(), good);
        assert_eq!(good.to_uppercase().parse::<PodUuid>().unwrap().as_str(), good);
        for bad in
            ["", "5bd4ed2c", "5bd4ed2c-7b84-4de3-b4b1-7f0d8a5d4c1", "5bd4ed2c-7b84-4de3-b4b1-7f0d8a5d4c1g"]
        {
            assert!(bad.parse::<PodUuid>().is_err(), "{bad}");
        }
        assert!("5bd4ed2c07b84-4de3-b4b1-7f0d8a5d4c11".parse::<PodUuid>().is_err());
        assert_eq!(PodUuid::from_directory_name(good.to_uppercase().as_bytes()), None);
    }

    #[test]
    fn prefixes_ignore_case() {
        let uuid: PodUuid = "5bd4ed2c-7b84-4de3-b4b1-7f0d8a5d4c11".parse().unwrap();
        assert_eq!(uuid.short(), "5bd4ed2c");
        for (prefix, fits) in
            [("5", true), ("5BD4", true), ("5bd4ed2c-7", true), ("5bd5", false), ("5bd4ed2c7", false)]
        {
            assert_eq!(uuid.has_prefix(prefix), fits, "{prefix}");
        }
        assert!(!uuid.has_prefix(&format!("{uuid}0")));
    }
}
