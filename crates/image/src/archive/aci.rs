//! The layout of an App Container image: a file `manifest` and a directory `rootfs`, in any order, nothing else.

use super::entry::{Entry, Kind};
use super::error::{ArchiveError, Problem, quoted};
use crate::limits::{Limit, Limits};

/// Where an entry belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// The top directory of the archive itself (`./`), which means nothing.
    Top,
    /// The image manifest.
    Manifest,
    /// The root file system, or what is at this path in it: components joined by `/`, empty for the root itself.
    Root(&'a [u8]),
}

/// What was seen of the layout so far.
#[derive(Debug, Default)]
pub struct Layout {
    manifest: bool,
    rootfs: bool,
}

impl Layout {
    /// Checks that the whole layout was there.
    pub fn finish(&self) -> Result<(), ArchiveError> {
        if !self.manifest {
            return Err(ArchiveError::NoManifest);
        }
        if !self.rootfs {
            return Err(ArchiveError::NoRootfs);
        }
        Ok(())
    }

    /// Decides where `entry` belongs. `path` is its normalised path, from [`normalise`].
    pub fn place<'a>(&mut self, entry: &Entry, path: &'a [u8]) -> Result<Place<'a>, ArchiveError> {
        let refuse = |problem| Err(ArchiveError::entry(&entry.path, problem));
        match path {
            b"" if entry.kind == Kind::Directory => Ok(Place::Top),
            b"" => refuse(Problem::NotADirectory),
            b"manifest" => {
                if entry.kind != Kind::File {
                    return refuse(Problem::NotAFile);
                }
                if std::mem::replace(&mut self.manifest, true) {
                    return refuse(Problem::Twice);
                }
                Ok(Place::Manifest)
            }
            _ => match below_rootfs(path) {
                Some(b"") if entry.kind != Kind::Directory => refuse(Problem::NotADirectory),
                Some(inside) => {
                    if matches!(entry.kind, Kind::CharDevice { major: 0, minor: 0 }) {
                        return refuse(Problem::Whiteout);
                    }
                    self.rootfs = true;
                    Ok(Place::Root(inside))
                }
                None => refuse(Problem::NotInLayout),
            },
        }
    }

    /// Where a hard link of `entry` points inside the root file system.
    pub fn link_target(entry: &Entry, target: &[u8], limits: &Limits) -> Result<Vec<u8>, ArchiveError> {
        let outside = || ArchiveError::entry(&entry.path, Problem::LinkOutside(quoted(target)));
        let path = normalise(target, limits).map_err(|error| match error {
            ArchiveError::Entry { .. } => outside(),
            other => other,
        })?;
        match below_rootfs(&path) {
            None | Some(b"") => Err(outside()),
            Some(inside) => Ok(inside.to_vec()),
        }
    }
}

fn below_rootfs(path: &[u8]) -> Option<&[u8]> {
    match path.strip_prefix(b"rootfs")? {
        b"" => Some(b""),
        rest => rest.strip_prefix(b"/"),
    }
}

/// Drops `.` and empty components of a path and refuses what could leave the archive.
pub fn normalise(path: &[u8], limits: &Limits) -> Result<Vec<u8>, ArchiveError> {
    if path.starts_with(b"/") {
        return Err(ArchiveError::entry(path, Problem::AbsolutePath));
    }
    let mut out = Vec::with_capacity(path.len());
    let mut depth = 0;
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(ArchiveError::entry(path, Problem::ParentInPath)),
            name => {
                if name.len() > 255 {
                    return Err(ArchiveError::limit(Limit::Name, 255u64, Some(path)));
                }
                depth += 1;
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(name);
            }
        }
    }
    if depth > limits.depth {
        return Err(ArchiveError::limit(Limit::Depth, limits.depth, Some(path)));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Time;

    fn entry(path: &str, kind: Kind) -> Entry {
        let path = path.as_bytes().to_vec();
        Entry { path, kind, mode: 0, uid: 0, gid: 0, mtime: Time::default(), xattrs: vec![], size: 0 }
    }

    #[test]
    fn paths() {
        let limits = Limits { depth: 3, ..Limits::default() };
        for (path, expected) in [
            ("a", Some("a")),
            ("./a//b/./c/", Some("a/b/c")),
            ("./", Some("")),
            (".", Some("")),
            ("a/..b", Some("a/..b")),
            ("a/...", Some("a/...")),
            ("a\nb", Some("a\nb")),
            ("/a", None),
            ("//a", None),
            ("..", None),
            ("a/..", None),
            ("a/../b", None),
            ("./../a", None),
            ("a/b/c/d", None),
        ] {
            let normal = normalise(path.as_bytes(), &limits).ok();
            assert_eq!(normal.as_deref(), expected.map(str::as_bytes), "{path:?}");
        }
        assert!(normalise(&[b'a'; 255], &limits).is_ok());
        assert!(normalise(&[b'a'; 256], &limits).is_err());
    }

    #[test]
    fn layout() {
        use Kind::{CharDevice, Directory, File, Symlink};
        for (path, kind, place) in [
            ("", Directory, Some(Place::Top)),
            ("manifest", File, Some(Place::Manifest)),
            ("manifest", Directory, None),
            ("manifest", Symlink(b"rootfs/x".to_vec()), None),
            ("manifest/x", File, None),
            ("rootfs", Directory, Some(Place::Root(b""))),
            ("rootfs", File, None),
            ("rootfs", Symlink(b"/".to_vec()), None),
            ("rootfs/a/b", File, Some(Place::Root(b"a/b"))),
            ("rootfs/manifest", File, Some(Place::Root(b"manifest"))),
            ("rootfs/null", CharDevice { major: 1, minor: 3 }, Some(Place::Root(b"null"))),
            ("rootfs/gone", CharDevice { major: 0, minor: 0 }, None),
            ("rootfs2", Directory, None),
            ("etc/passwd", File, None),
        ] {
            let entry = entry(path, kind);
            assert_eq!(Layout::default().place(&entry, path.as_bytes()).ok(), place, "{entry:?}");
        }
        let mut layout = Layout::default();
        assert_eq!(layout.finish(), Err(ArchiveError::NoManifest));
        assert!(layout.place(&entry("manifest", File), b"manifest").is_ok());
        assert_eq!(layout.finish(), Err(ArchiveError::NoRootfs));
        assert!(layout.place(&entry("rootfs/a", File), b"rootfs/a").is_ok());
        assert_eq!(layout.finish(), Ok(()));
        assert!(layout.place(&entry("manifest", File), b"manifest").is_err());
    }

    #[test]
    fn hard_links_stay_in_the_image() {
        let link = entry("rootfs/l", Kind::File);
        for (target, expected) in [
            ("rootfs/a/b", Some("a/b")),
            ("./rootfs/a", Some("a")),
            ("rootfs", None),
            ("a", None),
            ("manifest", None),
            ("/rootfs/a", None),
            ("rootfs/../../etc/passwd", None),
        ] {
            let found = Layout::link_target(&link, target.as_bytes(), &Limits::default()).ok();
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{target:?}");
        }
    }
}
