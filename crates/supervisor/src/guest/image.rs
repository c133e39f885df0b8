//! The apps from an image, where the host has no file server.
//!
//! ```text
//! /image               erofs: the apps' roots with their volumes in them, as they were when the pod started
//! /changes             tmpfs: what the apps write, for as long as the machine runs
//! /root/opt/stage2     both, one over the other
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use executor::{Failed, Step};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use sys::mount::Attributes;

use super::Error;
use super::system::directory;
use crate::link::Volume;

/// The only disk.
const DISK: &str = "/dev/vda";

/// Mounts the apps at `at`.
pub(super) fn mount_apps(at: &str) -> Result<(), Error> {
    for place in ["/image", "/changes"] {
        directory(place)?;
    }
    mount(DISK, "/image", "erofs", MountFlags::RDONLY, None)
        .step(|| "mount the image of the apps".to_owned())?;
    mount("tmpfs", "/changes", "tmpfs", MountFlags::empty(), Some(c"mode=0755"))
        .step(|| "mount a file system for what is written".to_owned())?;
    for place in ["/changes/upper", "/changes/work"] {
        directory(place)?;
    }
    let options = Some(c"lowerdir=/image,upperdir=/changes/upper,workdir=/changes/work");
    mount("overlay", at, "overlay", MountFlags::empty(), options)
        .step(|| "mount the apps over their image".to_owned())?;
    Ok(())
}

/// Makes mounts of the volumes, so that they have attributes of their own, and one of those that are in several places.
pub(super) fn mount_volumes(apps: &Path, volumes: &[Volume]) -> Result<(), Failed> {
    for volume in volumes {
        let source = volume.same_as.and_then(|number| volumes.get(number)).unwrap_or(volume);
        let mount = || -> Result<(), Errno> {
            let attributes = Attributes { read_only: Some(volume.read_only), ..Attributes::default() };
            sys::mount::bind(place(apps, source)?.as_fd(), place(apps, volume)?.as_fd(), true)?;
            sys::mount::set_attributes(place(apps, volume)?.as_fd(), &attributes, false)
        };
        mount().step(|| format!("mount the volume at {} of app {}", volume.path, volume.app))?;
    }
    Ok(())
}

/// A handle of the place of a volume, and of what is mounted there.
fn place(apps: &Path, volume: &Volume) -> Result<OwnedFd, Errno> {
    let top = sys::path::hold_directory(&apps.join(&volume.app).join("rootfs"))?;
    sys::path::open_in_root(top.as_fd(), Path::new(&volume.path), OFlags::PATH, Mode::empty())
}
