//! What the supervisor leaves behind for others to read, below `/rkt` in its root.
//!
//! ```text
//! /rkt/status/APP              how the app ended, in decimal (128+N for signal N)
//! /rkt/status/APP-created      its time: when the app was made
//! /rkt/status/APP-started      its time: when the app's program began
//! /rkt/supervisor-status       a link to "ready", for as long as the pod is
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// The directory `/rkt`.
#[derive(Debug)]
pub(crate) struct Status {
    directory: OwnedFd,
}

impl Status {
    /// Opens `directory` and makes `status` in it.
    pub(crate) fn open(directory: &Path) -> Result<Self, Errno> {
        let directory = sys::path::open_directory(directory)?;
        match rustix::fs::mkdirat(&directory, "status", Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(Status { directory }),
            Err(error) => Err(error),
        }
    }

    /// Records that `app` has been made.
    pub(crate) fn created(&self, app: &str) -> Result<(), Errno> {
        self.forget(app)?;
        write(self.directory.as_fd(), &format!("status/{app}-created"), b"")
    }

    /// Records nothing of `app` any more.
    pub(crate) fn forget(&self, app: &str) -> Result<(), Errno> {
        for place in ["", "-created", "-started"] {
            match rustix::fs::unlinkat(&self.directory, format!("status/{app}{place}"), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Records that the program of `app` runs.
    pub(crate) fn started(&self, app: &str) -> Result<(), Errno> {
        write(self.directory.as_fd(), &format!("status/{app}-started"), b"")
    }

    /// Records how `app` ended. Whoever sees the file sees all of it.
    pub(crate) fn exited(&self, app: &str, status: u8) -> Result<(), Errno> {
        let temporary = format!("status/.{app}");
        write(self.directory.as_fd(), &temporary, status.to_string().as_bytes())?;
        let place = format!("status/{app}");
        rustix::fs::renameat(&self.directory, &temporary, &self.directory, place)
    }

    /// Takes the record of an end back: `app` starts again.
    pub(crate) fn starts_again(&self, app: &str) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.directory, format!("status/{app}"), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tells that the pod is ready, or is no longer.
    pub(crate) fn set_ready(&self, ready: bool) -> Result<(), Errno> {
        let name = "supervisor-status";
        let result = if ready {
            rustix::fs::symlinkat("ready", &self.directory, name)
        } else {
            rustix::fs::unlinkat(&self.directory, name, AtFlags::empty())
        };
        match result {
            Err(Errno::EXIST | Errno::NOENT) => Ok(()),
            result => result,
        }
    }
}

fn write(directory: BorrowedFd<'_>, name: &str, text: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644))?;
    let mut rest = text;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = &rest[written..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let status = Status::open(dir.path()).unwrap();
        status.created("web").unwrap();
        status.started("web").unwrap();
        status.exited("web", 143).unwrap();
        status.exited("web", 3).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("status/web")).unwrap(), "3");
        let mut names: Vec<_> = std::fs::read_dir(dir.path().join("status"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["web", "web-created", "web-started"]);
        status.created("web").unwrap();
        assert!(!dir.path().join("status/web").exists());
        status.forget("web").unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("status")).unwrap().count(), 0);
        for _ in 0..2 {
            status.set_ready(true).unwrap();
            assert_eq!(std::fs::read_link(dir.path().join("supervisor-status")).unwrap(), Path::new("ready"));
        }
        for _ in 0..2 {
            status.set_ready(false).unwrap();
            assert!(!dir.path().join("supervisor-status").exists());
        }
        Status::open(dir.path()).unwrap();
    }
}
