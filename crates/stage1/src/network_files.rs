//! `resolv.conf`, `hosts` and `hostname` of the apps.
//!
//! In a container they are prepared in the stage1's own root, from where the executor binds them into each app:
//!
//! ```text
//! /etc/rkt-resolv.conf   over /etc/resolv.conf
//! /etc/rkt-hosts         over /etc/hosts
//! /etc/hosts-fallback    at /etc/hosts, where the app has none
//! /etc/hostname          over /etc/hostname
//! ```
//! fly binds or writes them into its only app's root itself.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::path::{create_dir_all_in_root, open_in_root};

use crate::args::FileMode;
use crate::attach::bind_file;
use crate::error::Context;
use crate::{Error, Result};

/// In the stage1's root.
pub const RESOLV_CONF: &str = "/etc/rkt-resolv.conf";
/// In the stage1's root.
pub const HOSTS: &str = "/etc/rkt-hosts";
const HOSTS_FALLBACK: &str = "/etc/hosts-fallback";
const HOSTNAME: &str = "/etc/hostname";

/// What [`NameFiles::prepare`] may leave in the stage1's root: the name, `resolv.conf`, and `hosts` in two forms.
pub const PREPARED: [&str; 4] = [HOSTNAME, RESOLV_CONF, HOSTS, HOSTS_FALLBACK];

/// What the files of a pod's apps say.
#[derive(Debug, Clone, Copy)]
pub struct NameFiles<'a> {
    /// Where `resolv.conf` comes from.
    pub resolv_conf: FileMode,
    /// The `resolv.conf` that a network of the pod has given, for those who ask for nothing else.
    pub of_network: Option<&'a str>,
    /// Where `hosts` comes from.
    pub hosts: FileMode,
    /// The pod's name.
    pub hostname: &'a str,
}

impl NameFiles<'_> {
    /// Prepares the files in `root`, the root of the stage1.
    pub fn prepare(&self, root: BorrowedFd<'_>) -> Result<()> {
        let hostname = self.hostname;
        write(root, HOSTNAME, &format!("{hostname}\n"), How::Replace)?;
        match (self.resolv_conf, self.of_network) {
            (FileMode::Host, _) => bind_host(root, "/etc/resolv.conf", RESOLV_CONF)?,
            (FileMode::Stage0, _) => _ = stage0_file(root, RESOLV_CONF)?,
            (FileMode::Default, Some(text)) => write(root, RESOLV_CONF, text, How::Replace)?,
            (FileMode::Default, None) | (FileMode::None, _) => {}
        }
        match self.hosts {
            FileMode::Host => bind_host(root, "/etc/hosts", HOSTS),
            FileMode::Stage0 => {
                stage0_file(root, HOSTS)?;
                write(root, HOSTS, &format!("127.0.0.1 {hostname}\n"), How::Append)
            }
            FileMode::Default | FileMode::None => {
                write(root, HOSTS_FALLBACK, &fallback_hosts(Some(hostname)), How::Replace)
            }
        }
    }
}

/// Puts the files into `app`, the root of the only app, for a stage1 whose app sees no other; `stage1` is that of the
/// stage1. The `hosts` that an app gets when it has none goes nowhere where the user has `mounted` something.
pub fn install(
    stage1: BorrowedFd<'_>,
    app: BorrowedFd<'_>,
    resolv_conf: FileMode,
    hosts: FileMode,
    mounted: &[executor::spec::MountPoint],
) -> Result<()> {
    let is_free = |path: &str| !mounted.iter().any(|mount| mount.path == path);
    let source = |mode, host: &str, prepared: &str| match mode {
        FileMode::Host => host_file(host).map(Some),
        FileMode::Stage0 => stage0_file(stage1, prepared).map(Some),
        FileMode::Default | FileMode::None => Ok(None),
    };
    for (mode, path, prepared) in
        [(resolv_conf, "/etc/resolv.conf", RESOLV_CONF), (hosts, "/etc/hosts", HOSTS)]
    {
        // What was asked for goes over a volume too.
        if let Some(file) = source(mode, path, prepared)? {
            bind_file(file.as_fd(), app, Path::new(path), mode == FileMode::Host)?;
        }
    }
    if hosts == FileMode::Default && is_free("/etc/hosts") {
        write(app, "/etc/hosts", &fallback_hosts(None), How::IfMissing)?;
    }
    Ok(())
}

fn fallback_hosts(hostname: Option<&str>) -> String {
    let mut text = String::from(
        "127.0.0.1 localhost localdomain\n::1 localhost localdomain ip6-localhost ip6-loopback\n",
    );
    if let Some(hostname) = hostname {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "127.0.0.1 {hostname}");
    }
    text
}

fn host_file(path: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .step(|| format!("open {path} of the host, which the apps shall see"))
}

fn bind_host(root: BorrowedFd<'_>, host: &str, path: &str) -> Result<()> {
    bind_file(host_file(host)?.as_fd(), root, Path::new(path), true)
}

/// What stage0 has written into the root of the stage1.
fn stage0_file(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd> {
    match open_in_root(root, Path::new(path), OFlags::PATH, Mode::empty()) {
        Err(Errno::NOENT) => Err(Error::Refused(format!(
            "{path} is not in the stage1's root, although --dns-conf-mode says that stage0 has written it"
        ))),
        opened => opened.step(|| format!("open {path} in the stage1's root")),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Replace,
    Append,
    IfMissing,
}

fn write(root: BorrowedFd<'_>, path: &str, text: &str, how: How) -> Result<()> {
    let step = || format!("write {path}");
    let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
    create_dir_all_in_root(root, parent, Mode::from_raw_mode(0o755)).step(step)?;
    let more = match how {
        How::Replace => OFlags::CREATE | OFlags::TRUNC,
        How::Append => OFlags::APPEND,
        How::IfMissing => OFlags::CREATE | OFlags::EXCL,
    };
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | more;
    // openat2 refuses a mode where nothing is made.
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
    let mut file = match open_in_root(root, Path::new(path), flags, mode) {
        Err(Errno::EXIST) if how == How::IfMissing => return Ok(()),
        opened => File::from(opened.step(step)?),
    };
    // Everybody in the app reads it, whatever the umask of whoever started us.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).step(step)?;
    file.write_all(text.as_bytes()).step(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn prepares_what_needs_no_mount() {
        let dir = tempfile::tempdir().unwrap();
        let root = sys::path::open_directory(dir.path()).unwrap();
        let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
        let names =
            |resolv_conf, of_network, hosts| NameFiles { resolv_conf, of_network, hosts, hostname: "box" };
        names(FileMode::Default, None, FileMode::Default).prepare(root.as_fd()).unwrap();
        assert_eq!(read("etc/hostname"), "box\n");
        let hosts = read("etc/hosts-fallback");
        assert!(hosts.starts_with("127.0.0.1 localhost") && hosts.ends_with("\n127.0.0.1 box\n"));
        let has = |path: &str| dir.path().join(path).exists();
        assert!(!has("etc/rkt-hosts") && !has("etc/rkt-resolv.conf"));
        names(FileMode::None, Some("of a network\n"), FileMode::Default).prepare(root.as_fd()).unwrap();
        assert!(!has("etc/rkt-resolv.conf"));
        names(FileMode::Default, Some("of a network\n"), FileMode::Default).prepare(root.as_fd()).unwrap();
        assert_eq!(read("etc/rkt-resolv.conf"), "of a network\n");

        fs::write(dir.path().join("etc/rkt-hosts"), "1.2.3.4 x\n").unwrap();
        fs::write(dir.path().join("etc/rkt-resolv.conf"), "nameserver 1.2.3.4\n").unwrap();
        names(FileMode::Stage0, Some("of a network\n"), FileMode::Stage0).prepare(root.as_fd()).unwrap();
        assert_eq!(read("etc/rkt-resolv.conf"), "nameserver 1.2.3.4\n");
        assert_eq!(read("etc/rkt-hosts"), "1.2.3.4 x\n127.0.0.1 box\n");
    }

    #[test]
    fn says_what_stage0_forgot() {
        let dir = tempfile::tempdir().unwrap();
        let root = sys::path::open_directory(dir.path()).unwrap();
        for (resolv, hosts, name) in
            [(FileMode::Stage0, FileMode::Default, RESOLV_CONF), (FileMode::Default, FileMode::Stage0, HOSTS)]
        {
            let names = NameFiles { resolv_conf: resolv, of_network: None, hosts, hostname: "box" };
            let error = names.prepare(root.as_fd()).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }

    #[test]
    fn an_app_without_hosts_gets_some() {
        let dir = tempfile::tempdir().unwrap();
        let root = sys::path::open_directory(dir.path()).unwrap();
        let install =
            || install(root.as_fd(), root.as_fd(), FileMode::Default, FileMode::Default, &[]).unwrap();
        install();
        let path = dir.path().join("etc/hosts");
        assert_eq!(fs::read_to_string(&path).unwrap(), fallback_hosts(None));
        fs::write(&path, "mine\n").unwrap();
        install();
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine\n");
        assert!(!dir.path().join("etc/resolv.conf").exists());
    }
}
