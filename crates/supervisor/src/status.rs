//! What the supervisor leaves behind for others to read, below `/rkt` in its root.
//!
//! ```text
//! /rkt/status/APP              how the app ended, in decimal (128+N for signal N)
//! /rkt/status/APP-created      its time: when the app was made
//! /rkt/status/APP-started      its time: when the app's program began
//! /rkt/supervisor-status       a link to "ready", for as long as the pod is
//! ```
//!
//! Where that root is a machine's own, each change is also told ([`Record`]), and made once more on the host.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;
use serde::{Deserialize, Serialize};

/// One change, as a datagram of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Record {
    /// An app has been made.
    Created {
        /// Its name.
        app: String,
    },
    /// Its program runs.
    Started {
        /// The app.
        app: String,
    },
    /// It has ended.
    Exited {
        /// The app.
        app: String,
        /// As a shell says it.
        status: u8,
    },
    /// It starts again.
    StartsAgain {
        /// The app.
        app: String,
    },
    /// There is no such app any more.
    Forgotten {
        /// The app.
        app: String,
    },
    /// Whether the pod is ready.
    Ready {
        /// It is.
        ready: bool,
    },
}

impl Record {
    /// The app that it is about.
    pub fn app(&self) -> Option<&str> {
        match self {
            Record::Created { app }
            | Record::Started { app }
            | Record::Exited { app, .. }
            | Record::StartsAgain { app }
            | Record::Forgotten { app } => Some(app),
            Record::Ready { .. } => None,
        }
    }
}

/// The directory `/rkt`.
#[derive(Debug)]
pub struct Status {
    directory: OwnedFd,
    told: Option<OwnedFd>,
}

impl Status {
    /// Opens `directory` and makes `status` in it. Changes are told to the datagram socket `told`.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn open(directory: &Path, told: Option<OwnedFd>) -> Result<Self, Errno> {
        let directory = sys::path::open_directory(directory)?;
        match rustix::fs::mkdirat(&directory, "status", Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(Status { directory, told }),
            Err(error) => Err(error),
        }
    }

    /// Makes a change that has been told.
    ///
    /// # Errors
    /// When a file cannot be written. The name of the app must be known to be one.
    pub fn apply(&self, record: &Record) -> Result<(), Errno> {
        match record {
            Record::Created { app } => self.created(app),
            Record::Started { app } => self.started(app),
            Record::Exited { app, status } => self.exited(app, *status),
            Record::StartsAgain { app } => self.starts_again(app),
            Record::Forgotten { app } => self.forget(app),
            Record::Ready { ready } => self.set_ready(*ready),
        }
    }

    fn tell(&self, record: &Record) -> Result<(), Errno> {
        let Some(told) = &self.told else { return Ok(()) };
        let json = serde_json::to_vec(record).map_err(|_| Errno::INVAL)?;
        rustix::net::send(told, &json, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Records that `app` has been made.
    pub(crate) fn created(&self, app: &str) -> Result<(), Errno> {
        self.remove(app)?;
        write(self.directory.as_fd(), &format!("status/{app}-created"), b"")?;
        self.tell(&Record::Created { app: app.to_owned() })
    }

    /// Records nothing of `app` any more.
    pub(crate) fn forget(&self, app: &str) -> Result<(), Errno> {
        self.remove(app)?;
        self.tell(&Record::Forgotten { app: app.to_owned() })
    }

    fn remove(&self, app: &str) -> Result<(), Errno> {
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
        write(self.directory.as_fd(), &format!("status/{app}-started"), b"")?;
        self.tell(&Record::Started { app: app.to_owned() })
    }

    /// Records how `app` ended. Whoever sees the file sees all of it.
    pub(crate) fn exited(&self, app: &str, status: u8) -> Result<(), Errno> {
        let temporary = format!("status/.{app}");
        write(self.directory.as_fd(), &temporary, status.to_string().as_bytes())?;
        let place = format!("status/{app}");
        rustix::fs::renameat(&self.directory, &temporary, &self.directory, place)?;
        self.tell(&Record::Exited { app: app.to_owned(), status })
    }

    /// Takes the record of an end back: `app` starts again.
    pub(crate) fn starts_again(&self, app: &str) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.directory, format!("status/{app}"), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => self.tell(&Record::StartsAgain { app: app.to_owned() }),
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
            Ok(()) | Err(Errno::EXIST | Errno::NOENT) => self.tell(&Record::Ready { ready }),
            Err(error) => Err(error),
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
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let status = Status::open(dir.path(), None).unwrap();
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
        Status::open(dir.path(), None).unwrap();
    }

    #[test]
    fn what_is_told_makes_the_same_files() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (hears, told) = UnixDatagram::pair().unwrap();
        hears.set_nonblocking(true).unwrap();
        let status = Status::open(there.path(), Some(told.into())).unwrap();
        let copy = Status::open(here.path(), None).unwrap();
        let files = |dir: &Path| -> Vec<(String, String)> {
            let walk = [dir.to_owned(), dir.join("status")].into_iter();
            let entries = walk.flat_map(|dir| std::fs::read_dir(dir).unwrap()).map(Result::unwrap);
            let mut files: Vec<_> = entries
                .map(|entry| {
                    let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                    (entry.file_name().into_string().unwrap(), text)
                })
                .collect();
            files.sort();
            files
        };
        let steps: [&dyn Fn() -> Result<(), Errno>; 8] = [
            &|| status.created("web"),
            &|| status.started("web"),
            &|| status.set_ready(true),
            &|| status.exited("web", 7),
            &|| status.starts_again("web"),
            &|| status.exited("web", 9),
            &|| status.set_ready(false),
            &|| status.forget("web"),
        ];
        for step in steps {
            step().unwrap();
            let mut buffer = [0; 256];
            let length = hears.recv(&mut buffer).unwrap();
            copy.apply(&serde_json::from_slice(&buffer[..length]).unwrap()).unwrap();
            assert!(hears.recv(&mut buffer).is_err(), "one record a change");
            assert_eq!(files(there.path()), files(here.path()));
        }
    }
}
