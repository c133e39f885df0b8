//! `gc`: the networks, what a killed systemd-nspawn left in `/run`, and an empty control group.

use std::path::Path;

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use stage1::args::{Gc, machine_name};
use stage1::{Context, Error, Result, attach, processes};
use supervised::networks;

/// Directories that systemd-nspawn makes for a machine and removes at its end, unless it is killed.
const LEFT: [&str; 2] = ["/run/systemd/nspawn/propagate", "/run/systemd/nspawn/unix-export"];

/// Cleans up.
pub(crate) fn gc(gc: &Gc) -> Result<()> {
    let host = attach::host_mounts()?;
    let dir = pod::Current::open()?.dir;
    // One failure must not keep us from the rest.
    let mut steps = vec![networks::leave(&dir, gc, host.as_ref()), processes::clean_up(&dir, gc.uuid)];
    steps.extend(LEFT.iter().map(|directory| remove(&Path::new(directory).join(machine_name(gc.uuid)))));
    let failed: Vec<String> =
        steps.into_iter().filter_map(|done| done.err().map(|error| stage1::chain(&error))).collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::Refused(failed.join("; "))) }
}

fn remove(directory: &Path) -> Result<()> {
    match rustix::fs::unlinkat(CWD, directory, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error).step(|| format!("remove {}", directory.display())),
    }
}
