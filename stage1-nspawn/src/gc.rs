//! `gc`: what a killed systemd-nspawn left in `/run`, and an empty control group.

use std::path::Path;

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use stage1::args::{Gc, machine_name};
use stage1::{Context, Result, processes};

/// Directories that systemd-nspawn makes for a machine and removes at its end, unless it is killed.
const LEFT: [&str; 2] = ["/run/systemd/nspawn/propagate", "/run/systemd/nspawn/unix-export"];

/// Cleans up.
pub(crate) fn gc(gc: &Gc) -> Result<()> {
    let dir = pod::Current::open()?.dir;
    let done = processes::clean_up(&dir, gc.uuid);
    // One failure must not keep us from the rest.
    LEFT.iter()
        .map(|directory| remove(&Path::new(directory).join(machine_name(gc.uuid))))
        .fold(done, Result::and)
}

fn remove(directory: &Path) -> Result<()> {
    match rustix::fs::unlinkat(CWD, directory, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error).step(|| format!("remove {}", directory.display())),
    }
}
