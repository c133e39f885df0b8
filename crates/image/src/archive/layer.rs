//! The rules of a layer of an OCI or Docker image: an archive of changes to the layers below.
//!
//! A file `.wh.NAME` takes NAME away, a file `.wh..wh..opq` everything that the layers below have in its directory; OCI image
//! specification, "Image Layer Filesystem Changeset". Other names that begin with `.wh..wh.` are leftovers of AUFS and mean nothing.

use super::aci::normalise;
use super::entry::{Entry, Kind};
use super::error::{ArchiveError, Problem, quoted};
use crate::limits::Limits;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";

/// What an entry changes. Paths are relative to the root, empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Puts the entry there.
    Put(Vec<u8>),
    /// Takes away what layers below have there.
    Remove(Vec<u8>),
    /// Takes away what layers below have in this directory.
    Empty(Vec<u8>),
    /// Nothing.
    Nothing,
}

/// Says what `entry` changes; the target of a hard link becomes a path relative to the root.
pub fn change(entry: &mut Entry, limits: &Limits) -> Result<Change, ArchiveError> {
    let path = normalise(relative(&entry.path), limits)?;
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&path[..0], &path[..]),
    };
    if name == OPAQUE {
        return Ok(Change::Empty(parent.to_vec()));
    }
    if path.split(|byte| *byte == b'/').any(|component| component.starts_with(AUFS)) {
        return Ok(Change::Nothing);
    }
    if let Some(gone) = name.strip_prefix(WHITEOUT) {
        if gone.is_empty() || gone == b"." || gone == b".." {
            return Err(ArchiveError::entry(&entry.path, Problem::BadWhiteout));
        }
        let separator: &[u8] = if parent.is_empty() { b"" } else { b"/" };
        return Ok(Change::Remove([parent, separator, gone].concat()));
    }
    if path.is_empty() && entry.kind != Kind::Directory {
        return Err(ArchiveError::entry(&entry.path, Problem::NotADirectory));
    }
    match &entry.kind {
        Kind::CharDevice { major: 0, minor: 0 } => {
            return Err(ArchiveError::entry(&entry.path, Problem::Whiteout));
        }
        Kind::HardLink(target) => {
            let outside = || ArchiveError::entry(&entry.path, Problem::LinkOutside(quoted(target)));
            let inside = normalise(relative(target), limits).map_err(|error| match error {
                ArchiveError::Entry { .. } => outside(),
                other => other,
            })?;
            if inside.is_empty() {
                return Err(outside());
            }
            entry.kind = Kind::HardLink(inside);
        }
        _ => {}
    }
    Ok(Change::Put(path))
}

/// Some builders write paths from the root of the image.
fn relative(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    &path[slashes..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Time;

    fn changed(path: &str, kind: Kind) -> Option<(Change, Kind)> {
        let path = path.as_bytes().to_vec();
        let mut entry =
            Entry { path, kind, mode: 0, uid: 0, gid: 0, mtime: Time::default(), xattrs: vec![], size: 0 };
        change(&mut entry, &Limits::default()).ok().map(|change| (change, entry.kind))
    }

    #[test]
    fn whiteouts_and_others() {
        let path = |text: &str| text.as_bytes().to_vec();
        for (name, expected) in [
            ("etc/passwd", Some(Change::Put(path("etc/passwd")))),
            ("/etc//passwd", Some(Change::Put(path("etc/passwd")))),
            ("./a/.wh.b", Some(Change::Remove(path("a/b")))),
            (".wh.b", Some(Change::Remove(path("b")))),
            ("a/.wh..b", Some(Change::Remove(path("a/.b")))),
            ("a/.wh..wh..opq", Some(Change::Empty(path("a")))),
            (".wh..wh..opq", Some(Change::Empty(path("")))),
            (".wh..wh.plnk/17.4", Some(Change::Nothing)),
            ("a/.wh..wh.aufs", Some(Change::Nothing)),
            ("a/.whatever", Some(Change::Put(path("a/.whatever")))),
            ("a/.wh.", None),
            ("a/.wh..", None),
            ("a/.wh...", None),
            ("a/../b", None),
            ("/../b", None),
            ("", None),
        ] {
            assert_eq!(changed(name, Kind::File).map(|(change, _)| change), expected, "{name:?}");
        }
        assert!(changed("/", Kind::Directory).is_some());
        assert!(changed("null", Kind::CharDevice { major: 0, minor: 0 }).is_none());
    }

    #[test]
    fn hard_links_stay_in_the_layer() {
        for (target, expected) in [
            ("bin/a", Some("bin/a")),
            ("/bin/a", Some("bin/a")),
            ("..", None),
            ("/", None),
            ("a/../../b", None),
        ] {
            let found = changed("link", Kind::HardLink(target.as_bytes().to_vec())).map(|(_, kind)| kind);
            assert_eq!(found, expected.map(|path| Kind::HardLink(path.as_bytes().to_vec())), "{target:?}");
        }
    }
}
