//! Whether the roots of pods can be overlays here.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;
use rustix::mount::FsOpenFlags;

// Magic numbers of statfs(2).
const AUFS: i64 = 0x6175_6673;
const ZFS: i64 = 0x2fc1_2fc1;
const OVERLAY: i64 = 0x794c_7630;
const XFS: i64 = 0x5846_5342;

/// Why overlays do not work in `data_dir`; `Ok` when they do.
pub(crate) fn check(data_dir: &Path) -> Result<(), String> {
    // Loads the module, if that is what is missing.
    match rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => {}
        Err(Errno::NODEV) => return Err("the kernel does not know overlayfs".to_owned()),
        Err(error) => return Err(format!("cannot ask the kernel for overlayfs: {error}")),
    }
    let directory = sys::path::open_directory(data_dir)
        .map_err(|error| format!("cannot open the data directory: {error}"))?;
    let kind = rustix::fs::fstatfs(&directory).map_err(|error| format!("statfs: {error}"))?.f_type;
    match kind {
        AUFS => Err("the data directory is on AUFS".to_owned()),
        ZFS => Err("the data directory is on ZFS".to_owned()),
        OVERLAY => Err("the data directory is on an overlay itself".to_owned()),
        XFS if !tells_types(&directory) => Err("the data directory is on XFS made with ftype=0".to_owned()),
        _ => Ok(()),
    }
}

/// Whether directory entries tell what kind of file they are, as overlayfs needs to see whiteouts.
fn tells_types(directory: impl AsFd) -> bool {
    let Ok(mut entries) = Dir::read_from(directory) else { return false };
    entries.next().is_some_and(|entry| entry.is_ok_and(|entry| entry.file_type() != FileType::Unknown))
}
