//! The host's systemd-nspawn.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use stage1::{Error, Result};
use systemd::pod_group::Owner;

/// The oldest that understands what we ask for; `SYSTEMD_SECCOMP` and `SYSTEMD_NSPAWN_LOCK` are the youngest.
const OLDEST: u32 = 247;

/// A systemd-nspawn.
#[derive(Debug)]
pub(crate) struct Nspawn {
    /// Its path.
    pub(crate) program: PathBuf,
    /// The version of systemd that it is of, where that can be told.
    pub(crate) version: Option<u32>,
}

impl Nspawn {
    /// Whether it can register a pod whose group is `owner`'s: from 253 on machined may know one machine of a unit only, and refuse more,
    /// upon which systemd-nspawn fails.
    pub(crate) fn may_register(&self, owner: &Owner) -> bool {
        match owner {
            Owner::Nobody => false,
            Owner::Scope(_) => true,
            Owner::Service(_) => {
                self.version.is_some_and(|version| version < 253) || systemd::unit::is_started_by_systemd()
            }
        }
    }
}

/// Finds it.
///
/// # Errors
/// When it is not installed, or too old; the text says what to install.
pub(crate) fn nspawn() -> Result<Nspawn> {
    let path = std::env::var_os("PATH");
    let program = find(path.as_deref()).ok_or_else(|| {
        Error::Refused(
            "systemd-nspawn is not installed on this host. Install it (Debian: apt install systemd-container; \
             Fedora: dnf install systemd-container), or run the pod with another stage1, such as fly"
                .to_owned(),
        )
    })?;
    match version() {
        Some(version) if version < OLDEST => Err(Error::Refused(format!(
            "systemd {version} is too old for this stage1, which needs {OLDEST} or newer; run the pod with another \
             stage1, such as fly"
        ))),
        version => Ok(Nspawn { program, version }),
    }
}

fn find(path: Option<&OsStr>) -> Option<PathBuf> {
    let listed = path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    listed
        .into_iter()
        .filter(|directory| directory.is_absolute())
        .chain(["/usr/bin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join("systemd-nspawn"))
        .find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The version of the host's systemd, told by the name of the library that all its programs share: asking a
/// program would cost more than starting the pod's supervisor.
fn version() -> Option<u32> {
    let multiarch = format!("/usr/lib/{}-linux-gnu/systemd", std::env::consts::ARCH);
    [multiarch.as_str(), "/usr/lib/systemd", "/usr/lib64/systemd", "/lib/systemd"]
        .into_iter()
        .filter_map(|directory| std::fs::read_dir(directory).ok())
        .flatten()
        .filter_map(|entry| version_of(entry.ok()?.file_name().to_str()?))
        .max()
}

/// `libsystemd-shared-252.so`, and `libsystemd-shared-254.7-1.fc39.so` where distributions add their own.
fn version_of(library: &str) -> Option<u32> {
    let rest = library.strip_prefix("libsystemd-shared-")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_a_name() {
        for (name, version) in [
            ("libsystemd-shared-252.so", Some(252)),
            ("libsystemd-shared-254.7-1.fc39.so", Some(254)),
            ("libsystemd-shared-257~rc1.so", Some(257)),
            ("libsystemd-core-252.so", None),
            ("libsystemd-shared-.so", None),
            ("systemd-logind", None),
        ] {
            assert_eq!(version_of(name), version, "{name}");
        }
    }

    #[test]
    fn looks_along_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("systemd-nspawn");
        std::fs::write(&program, "").unwrap();
        let path = std::env::join_paths(["relative".as_ref(), "/nonexistent".as_ref(), dir.path()]).unwrap();
        assert_ne!(find(Some(&path)), Some(program.clone()));
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(Some(&path)), Some(program));
    }
}
