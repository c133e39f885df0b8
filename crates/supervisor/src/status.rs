//! What the supervisor leaves behind for others to read, below `/rkt` in its root.
//!
//! ```text
//! /rkt/status/APP              how the app ended, in decimal (128+N for signal N)
//! /rkt/status/APP-created      its time: when the app was made
//! /rkt/status/APP-started      its time: when the app's program began
//! /rkt/supervisor-status       a link to "ready", for as long as the pod is
//! ```
//!
//! Where that root is a machine's own, changes are told to the host ([`Record`]), which has the files.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// One change, as a packet of JSON.
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

/// Where changes go.
#[derive(Debug)]
pub enum Status {
    /// To files.
    Files {
        /// The directory `/rkt`.
        directory: OwnedFd,
        /// `status` in it.
        of_apps: OwnedFd,
    },
    /// Over this pipe, one write each, to whoever has the files.
    Told(OwnedFd),
}

impl Status {
    /// Opens `directory` and makes `status` in it.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn open(directory: &Path) -> Result<Self, Errno> {
        let directory = sys::path::open_directory(directory)?;
        match rustix::fs::mkdirat(&directory, "status", Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let of_apps = rustix::fs::openat(&directory, "status", flags, Mode::empty())?;
        Ok(Status::Files { directory, of_apps })
    }

    /// Records a change. The name of the app must be known to be one.
    ///
    /// # Errors
    /// When a file cannot be written, or nobody listens.
    pub fn record(&self, record: &Record) -> Result<(), Errno> {
        let (directory, of_apps) = match self {
            Status::Files { directory, of_apps } => (directory.as_fd(), of_apps.as_fd()),
            Status::Told(pipe) => {
                let json = serde_json::to_vec(record).map_err(|_| Errno::INVAL)?;
                rustix::io::write(pipe, &json)?;
                return Ok(());
            }
        };
        match record {
            Record::Created { app } => {
                forget(of_apps, app)?;
                write(of_apps, &format!("{app}-created"), b"")
            }
            Record::Started { app } => write(of_apps, &format!("{app}-started"), b""),
            Record::Exited { app, status } => exited(of_apps, app, *status),
            Record::StartsAgain { app } => remove(of_apps, app),
            Record::Forgotten { app } => forget(of_apps, app),
            Record::Ready { ready: true } => {
                match rustix::fs::symlinkat("ready", directory, "supervisor-status") {
                    Ok(()) | Err(Errno::EXIST) => Ok(()),
                    Err(errno) => Err(errno),
                }
            }
            Record::Ready { ready: false } => remove(directory, "supervisor-status"),
        }
    }
}

fn forget(of_apps: BorrowedFd<'_>, app: &str) -> Result<(), Errno> {
    ["", "-created", "-started"].into_iter().try_for_each(|end| remove(of_apps, &format!("{app}{end}")))
}

fn remove(directory: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Whoever sees the file sees all of it.
fn exited(of_apps: BorrowedFd<'_>, app: &str, status: u8) -> Result<(), Errno> {
    let temporary = format!(".{app}");
    write(of_apps, &temporary, status.to_string().as_bytes())?;
    rustix::fs::renameat(of_apps, &temporary, of_apps, app)
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
    use rustix::pipe::{PipeFlags, pipe_with};

    fn web(record: fn(String) -> Record) -> Record {
        record("web".to_owned())
    }

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let status = Status::open(dir.path()).unwrap();
        let names = || {
            let entries = std::fs::read_dir(dir.path().join("status")).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        status.record(&web(|app| Record::Created { app })).unwrap();
        status.record(&web(|app| Record::Started { app })).unwrap();
        status.record(&web(|app| Record::Exited { app, status: 143 })).unwrap();
        status.record(&web(|app| Record::Exited { app, status: 3 })).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("status/web")).unwrap(), "3");
        assert_eq!(names(), ["web", "web-created", "web-started"]);
        for _ in 0..2 {
            status.record(&web(|app| Record::StartsAgain { app })).unwrap();
            assert_eq!(names(), ["web-created", "web-started"]);
        }
        status.record(&web(|app| Record::Exited { app, status: 0 })).unwrap();
        status.record(&web(|app| Record::Created { app })).unwrap();
        assert_eq!(names(), ["web-created"]);
        for _ in 0..2 {
            status.record(&web(|app| Record::Forgotten { app })).unwrap();
            assert_eq!(names(), [""; 0]);
        }
        for _ in 0..2 {
            status.record(&Record::Ready { ready: true }).unwrap();
            assert_eq!(std::fs::read_link(dir.path().join("supervisor-status")).unwrap(), Path::new("ready"));
        }
        for _ in 0..2 {
            status.record(&Record::Ready { ready: false }).unwrap();
            assert!(!dir.path().join("supervisor-status").exists());
        }
        Status::open(dir.path()).unwrap();
    }

    #[test]
    fn what_is_told_is_heard() {
        let (hears, told) = pipe_with(PipeFlags::DIRECT | PipeFlags::NONBLOCK).unwrap();
        let status = Status::Told(told);
        for record in [
            web(|app| Record::Created { app }),
            web(|app| Record::Started { app }),
            Record::Ready { ready: true },
            web(|app| Record::Exited { app, status: 7 }),
            web(|app| Record::StartsAgain { app }),
            Record::Ready { ready: false },
            web(|app| Record::Forgotten { app }),
        ] {
            status.record(&record).unwrap();
            let mut buffer = [0; 256];
            let length = rustix::io::read(&hears, &mut buffer).unwrap();
            assert_eq!(serde_json::from_slice::<Record>(&buffer[..length]).unwrap(), record);
            assert!(rustix::io::read(&hears, &mut buffer).is_err(), "one packet a change");
        }
        drop(hears);
        assert!(status.record(&Record::Ready { ready: true }).is_err());
    }
}
