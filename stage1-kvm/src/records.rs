//! What becomes of the apps, where the guest cannot write it to files of the host: it tells, and the files are written here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use stage1::{Context, Error, Result};
use supervisor::status::{Record, Status};

use crate::virtiofsd::SHARED;

/// The host's end.
#[derive(Debug)]
pub(crate) struct Records {
    socket: UnixDatagram,
    status: Status,
    apps: Vec<String>,
}

impl Records {
    /// For these apps of the pod in the working directory. Returns the other end of the stream, too.
    pub(crate) fn new(apps: Vec<String>) -> Result<(Self, OwnedFd)> {
        let step = || "record what becomes of the apps".to_owned();
        let (socket, theirs) = UnixDatagram::pair().step(step)?;
        socket.set_nonblocking(true).step(step)?;
        let status = Status::open(&Path::new(SHARED).join("rkt"), None).step(step)?;
        Ok((Records { socket, status, apps }, theirs.into()))
    }

    /// Readable when the guest has told something.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Writes down what the guest has told.
    ///
    /// # Errors
    /// When it makes no sense.
    pub(crate) fn write_down(&self) -> Result<()> {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let record = serde_json::from_slice::<Record>(&buffer[..length]).ok();
            let is_known =
                |record: &Record| record.app().is_none_or(|app| self.apps.iter().any(|known| known == app));
            let record = record.filter(is_known).ok_or_else(|| {
                Error::Refused("The guest tells of its apps what makes no sense, and was killed".to_owned())
            })?;
            self.status.apply(&record).step(|| "record what became of an app".to_owned())?;
        }
        Ok(())
    }
}
