//! Kernel parameters of the pod's namespaces.

use std::collections::BTreeMap;
use std::path::Path;

use executor::{Failed, Step};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

/// A `/proc` of our own for a moment: that of the container is read-only where it matters.
const PROC: &str = "/run/rkt-proc";

/// Sets them, before any app runs.
pub(crate) fn set(parameters: &BTreeMap<String, String>) -> Result<(), Failed> {
    if parameters.is_empty() {
        return Ok(());
    }
    match rustix::fs::mkdir(PROC, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).step(|| format!("make {PROC}")),
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let target = sys::path::open_directory(Path::new(PROC)).step(|| format!("open {PROC}"))?;
    sys::mount::filesystem(std::os::fd::AsFd::as_fd(&target), "proc", flags, "")
        .step(|| "mount /proc to set kernel parameters".to_owned())?;
    let done = parameters.iter().try_for_each(|(name, value)| {
        let path = format!("{PROC}/sys/{}", name.replace('.', "/"));
        let opened =
            rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty());
        opened
            .and_then(|file| rustix::io::write(file, value.as_bytes()))
            .step(|| format!("set the kernel parameter {name} to {value:?}"))
            .map(|_| ())
    });
    rustix::mount::unmount(PROC, UnmountFlags::DETACH).step(|| format!("unmount {PROC}"))?;
    done
}
