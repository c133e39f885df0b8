//! `--insecure-options`: which safeguards the user gives up.

use std::str::FromStr;

/// One word of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InsecureOption(u8);

/// A set of safeguards that are off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Insecure(u8);

const IMAGE: u8 = 1;
const TLS: u8 = 1 << 1;
/// Accepted, without effect: rendered trees are immutable here.
const ONDISK: u8 = 1 << 2;
const HTTP: u8 = 1 << 3;
const PUBKEY: u8 = 1 << 4;
const CAPABILITIES: u8 = 1 << 5;
const PATHS: u8 = 1 << 6;
const SECCOMP: u8 = 1 << 7;

const WORDS: [(&str, u8); 12] = [
    ("none", 0),
    ("image", IMAGE),
    ("tls", TLS),
    ("ondisk", ONDISK),
    ("http", HTTP),
    ("pubkey", PUBKEY),
    ("capabilities", CAPABILITIES),
    ("paths", PATHS),
    ("seccomp", SECCOMP),
    ("all-fetch", IMAGE | TLS | HTTP | PUBKEY),
    ("all-run", CAPABILITIES | PATHS | SECCOMP),
    ("all", u8::MAX),
];

impl FromStr for InsecureOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        WORDS.iter().find(|(word, _)| *word == text).map(|(_, bits)| Self(*bits)).ok_or_else(|| {
            let words: Vec<String> = WORDS.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("unknown option, allowed are {}", words.join(", "))
        })
    }
}

impl FromIterator<InsecureOption> for Insecure {
    fn from_iter<I: IntoIterator<Item = InsecureOption>>(options: I) -> Self {
        Self(options.into_iter().fold(0, |bits, option| bits | option.0))
    }
}

impl Insecure {
    /// Images are taken without a signature.
    pub(crate) fn skips_image_check(self) -> bool {
        self.0 & IMAGE != 0
    }

    /// What is off here or there.
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Any certificate of a server will do.
    pub(crate) fn skips_tls_check(self) -> bool {
        self.0 & TLS != 0
    }

    /// Servers may be asked over plain http.
    pub(crate) fn allows_http(self) -> bool {
        self.0 & HTTP != 0
    }

    /// Keys may come over connections that anybody can intercept.
    pub(crate) fn allows_insecure_keys(self) -> bool {
        self.0 & PUBKEY != 0
    }

    /// Apps keep every capability.
    pub(crate) fn skips_capabilities(self) -> bool {
        self.0 & CAPABILITIES != 0
    }

    /// No path of the kernel's file systems is hidden or read-only.
    pub(crate) fn skips_paths(self) -> bool {
        self.0 & PATHS != 0
    }

    /// No system call is filtered.
    pub(crate) fn skips_seccomp(self) -> bool {
        self.0 & SECCOMP != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(list: &str) -> Insecure {
        list.split(',').map(|word| word.parse::<InsecureOption>().unwrap()).collect()
    }

    #[test]
    fn words_and_their_bits() {
        for (list, bits) in [
            ("none", 0),
            ("image", 1),
            ("image,tls", 3),
            ("ondisk", 4),
            ("all-fetch", 1 + 2 + 8 + 16),
            ("all-run", 32 + 64 + 128),
            ("all", 255),
            ("none,seccomp", 128),
        ] {
            assert_eq!(set(list).0, bits, "{list}");
        }
        assert!(set("image").skips_image_check() && !set("tls").skips_image_check());
    }

    #[test]
    fn an_unknown_word_is_refused() {
        for word in ["", "Image", "images", "every"] {
            assert!(word.parse::<InsecureOption>().is_err(), "{word:?}");
        }
    }
}
