//! Operating systems and architectures that images may name (specification, "Image Manifest Schema").

use crate::Labels;

/// Operating systems with their architectures, in the order in which messages list them.
pub type Table = &'static [(&'static str, &'static [&'static str])];

/// What the specification's schema knows.
pub const SCHEMA: Table = &[
    ("darwin", &["x86_64", "i386"]),
    ("freebsd", &["amd64", "i386", "arm"]),
    (
        "linux",
        &[
            "amd64",
            "i386",
            "aarch64",
            "aarch64_be",
            "armv6l",
            "armv7l",
            "armv7b",
            "ppc64",
            "ppc64le",
            "s390x",
        ],
    ),
];

/// Why an image's labels `os` and `arch` are refused. The messages are those of rkt 1.x.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OsArchError {
    /// No label `os`.
    #[error("missing os label in the image manifest")]
    MissingOs,
    /// No label `arch`.
    #[error("missing arch label in the image manifest")]
    MissingArch,
    /// The operating system is unknown.
    #[error("bad os {os:?} (must be one of: [{allowed}])")]
    Os {
        /// The value of the label.
        os: String,
        /// The known ones, separated by spaces.
        allowed: String,
    },
    /// The architecture is unknown for its operating system.
    #[error("bad arch {arch:?} for {os} (must be one of: [{allowed}])")]
    Arch {
        /// The value of the label.
        arch: String,
        /// The operating system.
        os: String,
        /// The known ones, separated by spaces.
        allowed: String,
    },
}

/// Checks the labels `os` and `arch`, if there, against `table`. `arch` counts only beside `os`.
pub fn check(labels: &Labels, table: Table) -> Result<(), OsArchError> {
    let Some(os) = labels.get("os") else { return Ok(()) };
    let Some((_, archs)) = table.iter().find(|(known, _)| *known == os) else {
        let allowed = table.iter().map(|(os, _)| *os).collect::<Vec<_>>().join(" ");
        return Err(OsArchError::Os { os: os.to_owned(), allowed });
    };
    match labels.get("arch") {
        Some(arch) if !archs.contains(&arch) => {
            Err(OsArchError::Arch { arch: arch.to_owned(), os: os.to_owned(), allowed: archs.join(" ") })
        }
        _ => Ok(()),
    }
}
