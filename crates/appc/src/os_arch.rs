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

/// What a Linux host can run, by the name of its architecture as `std::env::consts::ARCH` and `uname -m` give it.
///
/// ARM hosts run lower levels of their own byte order too. Other architectures run only themselves: the system call
/// filter of an app knows one architecture.
pub fn runnable_on(machine: &str) -> Table {
    match machine {
        "x86_64" => &[("linux", &["amd64"])],
        "x86" | "i386" | "i486" | "i586" | "i686" => &[("linux", &["i386"])],
        "aarch64" => &[("linux", &["aarch64"])],
        "aarch64_be" => &[("linux", &["aarch64_be"])],
        "arm" | "armv7l" => &[("linux", &["armv7l", "armv6l"])],
        "armv6l" => &[("linux", &["armv6l"])],
        "armv7b" => &[("linux", &["armv7b"])],
        "powerpc64" | "ppc64" => &[("linux", &["ppc64"])],
        "powerpc64le" | "ppc64le" => &[("linux", &["ppc64le"])],
        "s390x" => &[("linux", &["s390x"])],
        _ => &[("linux", &[])],
    }
}

/// The value of the label `arch` for images built on this host.
pub fn host_arch() -> Option<&'static str> {
    runnable_on(std::env::consts::ARCH).first().and_then(|(_, archs)| archs.first().copied())
}

/// Checks that an image can run: it must name `os` and `arch`, and `table` must have them (see [`runnable_on`]).
pub fn check_runnable(labels: &Labels, table: Table) -> Result<(), OsArchError> {
    if labels.get("os").is_none() {
        return Err(OsArchError::MissingOs);
    }
    if labels.get("arch").is_none() {
        return Err(OsArchError::MissingArch);
    }
    check(labels, table)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let mut labels = Labels::new();
        for (name, value) in pairs {
            labels.set(name.parse().unwrap(), *value);
        }
        labels
    }

    #[test]
    fn messages_are_those_of_rkt_1() {
        for (pairs, machine, error) in [
            (&[("os", "linux"), ("arch", "amd64")] as &[_], "x86_64", None),
            (&[("os", "linux"), ("arch", "armv6l")], "armv7l", None),
            (&[("arch", "amd64")], "x86_64", Some("missing os label in the image manifest")),
            (&[("os", "linux")], "x86_64", Some("missing arch label in the image manifest")),
            (
                &[("os", "freebsd"), ("arch", "amd64")],
                "x86_64",
                Some("bad os \"freebsd\" (must be one of: [linux])"),
            ),
            (
                &[("os", "linux"), ("arch", "armv7l")],
                "x86_64",
                Some("bad arch \"armv7l\" for linux (must be one of: [amd64])"),
            ),
            (
                &[("os", "linux"), ("arch", "aarch64")],
                "arm",
                Some("bad arch \"aarch64\" for linux (must be one of: [armv7l armv6l])"),
            ),
        ] {
            let found =
                check_runnable(&labels(pairs), runnable_on(machine)).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), error, "{pairs:?} on {machine}");
        }
    }

    #[test]
    fn hosts_run_what_the_schema_knows() {
        for machine in ["x86_64", "x86", "aarch64", "arm", "powerpc64le", "s390x"] {
            let (os, archs) = runnable_on(machine)[0];
            assert!(!archs.is_empty());
            for arch in archs {
                assert_eq!(check(&labels(&[("os", os), ("arch", arch)]), SCHEMA), Ok(()));
            }
        }
    }
}
