//! The rules of an archive around an OCI or Docker image: files and directories, and links between them.

use super::aci::normalise;
use super::entry::{Entry, Kind};
use super::error::{ArchiveError, Problem, quoted};
use crate::limits::Limits;

/// Where `entry` belongs, made ours to read; nothing when it is the top directory.
pub fn part(entry: &mut Entry, limits: &Limits) -> Result<Option<Vec<u8>>, ArchiveError> {
    let path = normalise(&entry.path, limits)?;
    entry.uid = rustix::process::geteuid().as_raw();
    entry.gid = rustix::process::getegid().as_raw();
    entry.xattrs.clear();
    entry.mode = 0o640;
    match &entry.kind {
        Kind::Directory => entry.mode = 0o750,
        Kind::File | Kind::Symlink(_) => {}
        Kind::HardLink(target) => {
            let inside = normalise(target, limits)
                .map_err(|_| ArchiveError::entry(&entry.path, Problem::LinkOutside(quoted(target))))?;
            entry.kind = Kind::HardLink(inside);
        }
        Kind::Sparse { .. } | Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {
            return Err(ArchiveError::entry(&entry.path, Problem::NotAFile));
        }
    }
    if path.is_empty() {
        return match entry.kind {
            Kind::Directory => Ok(None),
            _ => Err(ArchiveError::entry(&entry.path, Problem::NotADirectory)),
        };
    }
    Ok(Some(path))
}
