//! The pod's files in an image, where the host has no file server.
//!
//! It is made when the pod starts, from what would be shared, and has no name: with the machine it is gone. The guest mounts it
//! read-only and keeps in memory what the apps write.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use executor::AppSpec;
use rustix::fs::{Mode, OFlags};
use rustix::thread::CapabilitySet;
use stage1::args::Run;
use stage1::volumes::{Planned, Source};
use stage1::{Context, Error, Pod, Result};
use supervised::apps;
use supervisor::link::Volume;

use crate::console::Complaints;
use crate::process::{Command, find_program};
use crate::virtiofsd::SHARED;

/// What is said once for each pod.
pub(crate) const WARNING: &str = "virtiofsd is not installed on this host (Debian 12: qemu-system-common; Debian 13, Fedora: \
                                  virtiofsd): the pod's machine runs from an image, and what its apps write is lost when it ends";

/// Its name, until it has none.
const NAME: &str = "root.erofs";

/// The file in the process that makes it.
const FILE: i32 = 3;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The host's `mkfs.erofs`.
#[derive(Debug)]
pub(crate) struct Maker {
    program: PathBuf,
}

impl Maker {
    /// Finds it.
    pub(crate) fn find() -> Option<Self> {
        let places = ["/usr/bin/mkfs.erofs", "/usr/sbin/mkfs.erofs"].map(Path::new);
        Some(Maker { program: find_program("mkfs.erofs", &places)? })
    }

    /// Makes an image of the apps of the pod in the working directory, with all that is mounted there.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn make(&self, streams: [BorrowedFd<'_>; 3], complaints: &mut Complaints) -> Result<OwnedFd> {
        let step = || format!("make the image {NAME} of the pod's files");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::open(NAME, flags, Mode::RUSR | Mode::WUSR).step(step)?;
        rustix::fs::unlink(NAME).step(step)?;
        let [stdin, stdout, stderr] = streams;
        let mut running = self.command().spawn(&[stdin, stdout, stderr, file.as_fd()])?;
        let status = running.wait(PATIENCE);
        if status != Some(0) {
            return Err(Error::Refused(format!(
                "The image of the pod's files cannot be made: {} failed{}. It needs as much room in {} as the pod's images \
                 and volumes",
                running.name(),
                complaints.last(),
                std::env::current_dir().unwrap_or_default().display()
            )));
        }
        // The hypervisor may only read.
        sys::fd::open_again(file.as_fd(), OFlags::RDONLY).step(step)
    }

    fn command(&self) -> Command {
        // All files can be read, whoever owns them; and nothing else that root can.
        let reads = CapabilitySet::DAC_READ_SEARCH;
        Command {
            program: self.program.clone(),
            arguments: [
                "--quiet".to_owned(),
                "-d0".to_owned(),
                format!("/proc/self/fd/{FILE}"),
                SHARED.to_owned(),
            ]
            .to_vec(),
            user: None,
            bounds: Some(reads),
            alone_on_the_network: true,
        }
    }
}

/// The volumes that are in the image.
///
/// # Errors
/// For what cannot be in one.
pub(crate) fn volumes(pod: &Pod, run: &Run, specs: &[AppSpec]) -> Result<Vec<Volume>> {
    let refused = |what: String| {
        Error::Refused(format!(
            "Without virtiofsd a pod of stage1-kvm runs from an image, which cannot have {what}. Install virtiofsd (Debian 12: \
             apt install qemu-system-common; Debian 13, Fedora: virtiofsd), or run the pod with another stage1"
        ))
    };
    if run.mutable {
        return Err(refused("apps that come later (rkt app)".to_owned()));
    }
    let mut directories: Vec<String> = Vec::new();
    let mut volumes = Vec::new();
    for (app, spec) in pod.apps.iter().zip(specs) {
        let planned = stage1::volumes::plan(&pod.manifest, app, apps::VOLUMES, &mut Vec::new())?;
        for mount in &spec.mounts {
            let plan = planned.iter().find(|plan| plan.path == Path::new(&mount.path));
            let directory = match plan {
                Some(Planned { source: Source::Empty { directory, .. }, .. }) => directory.clone(),
                Some(Planned { volume, .. }) => {
                    return Err(refused(format!(
                        "the host's files: the volume {volume:?} of app {:?}",
                        spec.name
                    )));
                }
                None => {
                    return Err(refused(format!(
                        "credentials: those of app {:?} would be on a disk",
                        spec.name
                    )));
                }
            };
            volumes.push(Volume {
                app: spec.name.clone(),
                path: mount.path.clone(),
                read_only: mount.read_only,
                same_as: directories.iter().position(|known| *known == directory),
            });
            directories.push(directory);
        }
    }
    Ok(volumes)
}
