//! The file server: virtiofsd, that written in Rust or that of QEMU up to 7.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use stage1::{Context, Error, Result};

use crate::process::{Command, find_program};

/// Where distributions put it.
const PLACES: [&str; 3] = ["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"];

/// What of the pod directory the guest gets to see: the apps.
pub(crate) const SHARED: &str = "stage1/rootfs/opt/stage2";

/// The socket, for as long as it takes to connect.
const SOCKET: &str = "virtiofsd.sock";

/// The listening socket in its process.
const LISTENER: i32 = 3;

/// The host's virtiofsd.
#[derive(Debug)]
pub(crate) struct Virtiofsd {
    program: PathBuf,
    dialect: Dialect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Rust,
    Qemu,
}

impl Virtiofsd {
    /// Finds it.
    pub(crate) fn find() -> Option<Self> {
        let places: Vec<&Path> = PLACES.iter().map(Path::new).collect();
        let program = find_program("virtiofsd", &places)?;
        let dialect = if program.starts_with("/usr/lib/qemu") { Dialect::Qemu } else { Dialect::Rust };
        Some(Virtiofsd { program, dialect })
    }

    /// The command that serves the pod in the working directory to whoever connects to its descriptor 3.
    ///
    /// # Errors
    /// When the working directory has no path.
    pub(crate) fn command(&self) -> Result<Command> {
        // It leaves the working directory before it looks.
        let pod = std::env::current_dir().step(|| "find the path of the pod directory".to_owned())?;
        let shared = pod.join(SHARED);
        let shared = shared.to_str().filter(|path| !path.contains(',')).ok_or_else(|| {
            Error::Refused(format!(
                "virtiofsd cannot share {}: its path has a comma or is no text",
                shared.display()
            ))
        })?;
        Ok(Command {
            program: self.program.clone(),
            arguments: arguments(self.dialect, shared, open_files()),
            // It keeps what it takes to act for all users of the pod, goes into namespaces of its own with nothing in them
            // but the shared directory, and filters its system calls.
            user: None,
            bounds: None,
            alone_on_the_network: false,
        })
    }
}

/// A socket for its process and a connection to it.
pub(crate) fn connection() -> Result<(OwnedFd, OwnedFd)> {
    let step = || "connect to virtiofsd".to_owned();
    // The working directory is the pod directory.
    let _ = std::fs::remove_file(SOCKET);
    let listener = UnixListener::bind(SOCKET).step(step)?;
    let connection = UnixStream::connect(SOCKET).step(step)?;
    std::fs::remove_file(SOCKET).step(step)?;
    Ok((listener.into(), connection.into()))
}

/// How many files it may open: it has a handle of each that the guest knows.
fn open_files() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.unwrap_or(1 << 20).min(1 << 20)
}

fn arguments(dialect: Dialect, shared: &str, open_files: u64) -> Vec<String> {
    let words: Vec<String> = match dialect {
        Dialect::Rust => vec![
            format!("--fd={LISTENER}"),
            format!("--shared-dir={shared}"),
            "--sandbox=namespace".to_owned(),
            "--seccomp=kill".to_owned(),
            "--xattr".to_owned(),
            "--announce-submounts".to_owned(),
            "--cache=auto".to_owned(),
            "--log-level=error".to_owned(),
            format!("--rlimit-nofile={open_files}"),
        ],
        Dialect::Qemu => vec![
            format!("--fd={LISTENER}"),
            "-f".to_owned(),
            "-o".to_owned(),
            format!("source={shared},sandbox=namespace,xattr,announce_submounts,cache=auto,log_level=err"),
            format!("--rlimit-nofile={open_files}"),
        ],
    };
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_dialects_share_the_same() {
        for dialect in [Dialect::Rust, Dialect::Qemu] {
            let words = arguments(dialect, "/pod/stage1/rootfs", 4096).join(" ");
            for part in ["--fd=3", "/pod/stage1/rootfs", "sandbox=namespace", "xattr", "--rlimit-nofile=4096"]
            {
                assert!(words.contains(part), "{words}");
            }
            assert!(words.contains("announce"), "{words}");
        }
    }
}
