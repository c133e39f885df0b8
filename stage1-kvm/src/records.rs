//! What becomes of the apps: the guest tells, and the files are written here.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use stage1::{Context, Error, Pod, Result};
use supervisor::pod::check_name;
use supervisor::status::{Record, Status};

use crate::virtiofsd::SHARED;

/// The files, which the guest cannot see.
#[derive(Debug)]
pub(crate) struct Records {
    status: Status,
    apps: OwnedFd,
}

impl Records {
    /// Those of `pod`, which is in the working directory.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(crate) fn open(pod: &Pod) -> Result<Self> {
        let step = || "record what becomes of the apps".to_owned();
        // They may all come later.
        let apps = pod.current.dir.create_directory(SHARED)?;
        Ok(Records { status: Status::open(Path::new("stage1/rootfs/rkt")).step(step)?, apps })
    }

    /// Writes down what the guest has told.
    ///
    /// # Errors
    /// When it makes no sense.
    pub(crate) fn write_down(&self, json: &[u8]) -> Result<()> {
        let record = serde_json::from_slice::<Record>(json).ok();
        let record =
            record.filter(|record| record.app().is_none_or(|app| self.has(app))).ok_or_else(|| {
                Error::Refused("The guest tells of its apps what makes no sense, and was killed".to_owned())
            })?;
        self.status.record(&record).step(|| "record what became of an app".to_owned())
    }

    /// Whether the pod has such an app: one that has come later has a root, too.
    fn has(&self, app: &str) -> bool {
        check_name(app).is_ok()
            && sys::path::open_beneath(self.apps.as_fd(), Path::new(app), OFlags::PATH, Mode::empty()).is_ok()
    }
}
