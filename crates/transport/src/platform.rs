//! Which of an index's images fits a machine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an image runs on, in the words of the OCI image specification (those of Go: `linux`, `arm64`, `v8`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system.
    pub os: String,
    /// Kind of processor.
    pub architecture: String,
    /// Its variant, for those that have any (`v7` of `arm`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// A platform without a variant.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// The platform of an image with these appc labels, whose names of processors differ.
    pub fn from_appc(os: &str, arch: &str) -> Self {
        let (architecture, variant) = match arch {
            "aarch64" => ("arm64", None),
            "aarch64_be" => ("arm64be", None),
            "armv6l" => ("arm", Some("v6")),
            "armv7l" => ("arm", Some("v7")),
            "armv7b" => ("armbe", Some("v7")),
            "i386" => ("386", None),
            same => (same, None),
        };
        Self { variant: variant.map(str::to_owned), ..Self::new(os, architecture) }
    }

    /// What this program was compiled for.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            same => same,
        };
        Self::new(std::env::consts::OS, architecture)
    }

    /// The variant, with the one that is meant when none is named.
    fn level(&self) -> Level<'_> {
        let named = self.variant.as_deref().filter(|variant| !variant.is_empty());
        let default = match self.architecture.as_str() {
            "amd64" => "v1",
            "arm" => "v7",
            "arm64" => "v8",
            _ => "",
        };
        let variant = named.unwrap_or(default);
        match variant.strip_prefix('v').and_then(Level::parse) {
            Some(level) => level,
            None => Level::Named(variant),
        }
    }

    /// How well `offered` suits a machine that is `self`: none when it does not run here, else the higher the better.
    fn rank(&self, offered: &Self) -> Option<(u32, u32)> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        match (self.level(), offered.level()) {
            (Level::Number(ours), Level::Number(theirs)) if theirs <= ours => Some(theirs),
            (Level::Named(ours), Level::Named(theirs)) if ours == theirs => Some((0, 0)),
            _ => None,
        }
    }

    /// Which of `offered` runs on this platform and uses it best; of equals the first.
    ///
    /// An entry that names no platform is taken only when it is the only one at all.
    pub fn choose(&self, offered: &[Option<Self>]) -> Option<usize> {
        if let [None] = offered {
            return Some(0);
        }
        let mut best: Option<((u32, u32), usize)> = None;
        for (index, platform) in offered.iter().enumerate() {
            let Some(rank) = platform.as_ref().and_then(|platform| self.rank(platform)) else {
                continue;
            };
            if best.is_none_or(|(found, _)| rank > found) {
                best = Some((rank, index));
            }
        }
        best.map(|(_, index)| index)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

/// A variant: numbered ones run on machines with the same number or a higher one.
#[derive(Debug, PartialEq, Eq)]
enum Level<'a> {
    Number((u32, u32)),
    Named(&'a str),
}

impl Level<'_> {
    /// Reads `8` or `8.1`.
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        Some(Self::Number((major.parse().ok()?, minor.parse().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Platform> {
        let mut parts = text.split('/');
        let os = parts.next()?;
        let architecture = parts.next()?;
        Some(Platform { variant: parts.next().map(str::to_owned), ..Platform::new(os, architecture) })
    }

    #[test]
    fn the_best_that_runs_here_is_chosen() {
        let cases: &[(&str, &[&str], Option<usize>)] = &[
            ("linux/amd64", &["linux/arm64", "linux/amd64"], Some(1)),
            ("linux/amd64", &["windows/amd64", "linux/386"], None),
            ("linux/amd64", &["linux/amd64/v3", "linux/amd64/v2"], None),
            ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], Some(1)),
            ("linux/amd64", &["linux/amd64", "linux/amd64/v1"], Some(0)),
            ("linux/arm64", &["linux/arm64/v8"], Some(0)),
            ("linux/arm64/v8", &["linux/arm64", "linux/arm/v7"], Some(0)),
            ("linux/arm64", &["linux/arm64/v8.2", "linux/arm64/v8.0"], Some(1)),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm64/v8"], Some(1)),
            ("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"], Some(1)),
            ("linux/arm", &["linux/arm/v6", "linux/arm/v7"], Some(1)),
            ("linux/mips64/hard", &["linux/mips64/soft", "linux/mips64/hard"], Some(1)),
            ("linux/riscv64", &["linux/riscv64/"], Some(0)),
            ("linux/amd64", &["unknown/unknown"], None),
            ("linux/amd64", &[""], Some(0)),
            ("linux/amd64", &["", ""], None),
            ("linux/amd64", &["", "linux/amd64"], Some(1)),
            ("linux/amd64", &[], None),
        ];
        for (wanted, offered, chosen) in cases {
            let offered: Vec<_> = offered.iter().map(|text| parse(text)).collect();
            assert_eq!(parse(wanted).unwrap().choose(&offered), *chosen, "{wanted} of {offered:?}");
        }
    }

    #[test]
    fn appc_names() {
        for (arch, platform) in [
            ("amd64", "linux/amd64"),
            ("i386", "linux/386"),
            ("aarch64", "linux/arm64"),
            ("armv7l", "linux/arm/v7"),
            ("armv6l", "linux/arm/v6"),
            ("ppc64le", "linux/ppc64le"),
            ("s390x", "linux/s390x"),
        ] {
            assert_eq!(Platform::from_appc("linux", arch).to_string(), platform);
        }
        assert_eq!(Platform::host().os, "linux");
    }
}
