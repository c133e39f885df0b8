//! What becomes of the apps: the guest tells, and the files are written here.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use stage1::{Context, Error, Pod, Result};
use supervisor::pod::check_name;
use supervisor::status::{Record, Status};
use sys::mount::Attributes;

use crate::virtiofsd::SHARED;

/// The files, and the root in which the apps have theirs.
#[derive(Debug)]
pub(crate) struct Records {
    status: Status,
    root: OwnedFd,
}

impl Records {
    /// Those of `pod`. Whoever is started in this mount namespace from now on cannot write to those of the apps: the guest, to which the file
    /// server shows them, could put devices and links there.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(crate) fn open(pod: &Pod) -> Result<Self> {
        let step = || "record what becomes of the apps".to_owned();
        let root = pod.current.dir.open_directory(SHARED)?;
        let status = Status::open(&Path::new(SHARED).join("rkt")).step(step)?;
        let place =
            || sys::path::open_beneath(root.as_fd(), Path::new("rkt/status"), OFlags::PATH, Mode::empty());
        let read_only = Attributes { read_only: Some(true), ..Attributes::default() };
        place()
            .and_then(|place| sys::mount::bind(place.as_fd(), place.as_fd(), false))
            .and_then(|()| sys::mount::set_attributes(place()?.as_fd(), &read_only, false))
            .step(step)?;
        Ok(Records { status, root })
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
        let place = Path::new("opt/stage2").join(app);
        check_name(app).is_ok()
            && sys::path::open_beneath(self.root.as_fd(), &place, OFlags::PATH, Mode::empty()).is_ok()
    }
}
