//! What a layer says about the layers below beside its files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sys::path::open_in_root;

use crate::archive::ArchiveError;
use crate::limits::Limit;
use crate::pipeline::hex;

/// The mark of a directory that hides what is below it.
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";

/// Bytes of all paths that one layer may mark.
const BYTES: usize = 4 << 20;

/// Directories of a layer that overlayfs has to be told about. Paths are relative to the root of the layer and may lead through
/// its symbolic links; the root itself is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Those that hide what the layers below have in them.
    #[serde(with = "paths")]
    pub opaque: BTreeSet<Vec<u8>>,
    /// Those that the archive did not have, but something in them: owner, mode and time of a layer below hold.
    #[serde(with = "paths")]
    pub implicit: BTreeSet<Vec<u8>>,
    #[serde(skip)]
    bytes: usize,
}

impl Marks {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.opaque.is_empty() && self.implicit.is_empty()
    }

    /// Whether nothing of the layers below is left.
    pub fn hides_everything(&self) -> bool {
        self.opaque.contains(&b""[..])
    }

    /// Marks the opaque directories of the layer `root` for overlayfs; takes `CAP_SYS_ADMIN`.
    pub(crate) fn apply(&self, root: BorrowedFd<'_>) -> rustix::io::Result<()> {
        for path in self.opaque.iter().filter(|path| !path.is_empty()) {
            let path = Path::new(OsStr::from_bytes(path));
            match open_in_root(root, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
                Ok(dir) => rustix::fs::fsetxattr(&dir, OPAQUE, b"y", XattrFlags::empty())?,
                // Something else came there later in the archive.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn add_opaque(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        self.count(path)?;
        self.opaque.insert(path.to_vec());
        Ok(())
    }

    pub(super) fn add_implicit(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        self.count(path)?;
        self.implicit.insert(path.to_vec());
        Ok(())
    }

    fn count(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        self.bytes += path.len() + 1;
        if self.bytes > BYTES {
            return Err(ArchiveError::limit(Limit::Marks, BYTES as u64, Some(path)));
        }
        Ok(())
    }
}

/// Paths are bytes, JSON has text only.
mod paths {
    use super::*;

    pub(super) fn serialize<S: Serializer>(set: &BTreeSet<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(set.iter().map(|path| hex(path)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let path = |text: &String| {
            let digits = text.as_bytes().chunks(2);
            digits
                .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
                .collect::<Option<Vec<u8>>>()
        };
        texts.iter().map(path).collect::<Option<_>>().ok_or_else(|| serde::de::Error::custom("not a path"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_survives_the_way_to_the_parent() {
        let mut marks = Marks::default();
        marks.add_opaque(b"a\xff\n").unwrap();
        marks.add_implicit(b"").unwrap();
        let text = serde_json::to_string(&marks).unwrap();
        let back: Marks = serde_json::from_str(&text).unwrap();
        assert_eq!((back.opaque, back.implicit), (marks.opaque, marks.implicit));
        assert!(serde_json::from_str::<Marks>(r#"{"opaque":["zz"],"implicit":[]}"#).is_err());
    }
}
