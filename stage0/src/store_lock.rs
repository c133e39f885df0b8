//! The lock between those who put images to use and those who remove them: `locks/prepareLock`.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, Mode, OFlags};

/// Held while a pod is made: the images that it needs stay.
pub(crate) fn share(data_dir: &Path) -> Result<OwnedFd> {
    lock(data_dir, FlockOperation::LockShared)
}

/// Held while images are removed: no pod comes to need one.
pub(crate) fn exclude(data_dir: &Path) -> Result<OwnedFd> {
    lock(data_dir, FlockOperation::LockExclusive)
}

fn lock(data_dir: &Path, operation: FlockOperation) -> Result<OwnedFd> {
    let directory = data_dir.join("locks");
    let path = directory.join("prepareLock");
    let failed = || format!("Cannot take the lock {}", path.display());
    let open = || {
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Mode::from_raw_mode(0o640))
    };
    let file = match open() {
        Err(rustix::io::Errno::NOENT) => {
            std::fs::create_dir_all(&directory).with_context(failed)?;
            open()
        }
        opened => opened,
    }
    .with_context(failed)?;
    rustix::fs::flock(&file, operation).with_context(failed)?;
    Ok(file)
}
