//! Archives for tests, entry by entry, including ones that no tool would write.

use tar_core::builder::{EntryBuilder, HeaderBuilder};
use tar_core::{EntryType, Header};

/// An archive under construction.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sample {
    /// What is there so far.
    pub(crate) bytes: Vec<u8>,
}

/// A manifest that is good enough for the tar rules.
pub(crate) const MANIFEST: &str =
    r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/sample"}"#;

#[allow(dead_code, reason = "every test takes what it needs")]
impl Sample {
    /// An image with a manifest and an empty root.
    pub(crate) fn aci() -> Self {
        Sample::default().file("manifest", MANIFEST).dir("rootfs")
    }

    /// Adds bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Adds content and its padding.
    pub(crate) fn content(self, content: &[u8]) -> Self {
        let padding = content.len().next_multiple_of(512) - content.len();
        self.raw(content).raw(&vec![0; padding])
    }

    /// Adds an entry of any kind.
    pub(crate) fn entry(
        self,
        path: impl AsRef<[u8]>,
        kind: EntryType,
        content: &[u8],
        more: impl FnOnce(&mut EntryBuilder),
    ) -> Self {
        let mut builder = EntryBuilder::new_ustar();
        builder.path(path).entry_type(kind).mode(0o644).unwrap();
        builder.uid(0).unwrap().gid(0).unwrap().mtime(1_000_000_000).unwrap();
        builder.size(content.len() as u64).unwrap();
        more(&mut builder);
        let headers = builder.finish_bytes();
        self.raw(&headers).content(content)
    }

    /// Adds a regular file.
    pub(crate) fn file(self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.entry(path, EntryType::Regular, content.as_ref(), |_| {})
    }

    /// Adds a directory.
    pub(crate) fn dir(self, path: impl AsRef<[u8]>) -> Self {
        self.entry(path, EntryType::Directory, b"", |entry| {
            entry.mode(0o755).unwrap();
        })
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(self, path: impl AsRef<[u8]>, target: &str) -> Self {
        self.entry(path, EntryType::Symlink, b"", |entry| {
            entry.link_name(target);
        })
    }

    /// Adds a hard link; `target` as it stands in the archive.
    pub(crate) fn hard_link(self, path: impl AsRef<[u8]>, target: &str) -> Self {
        self.entry(path, EntryType::Link, b"", |entry| {
            entry.link_name(target);
        })
    }

    /// Adds a device or pipe.
    pub(crate) fn node(self, path: impl AsRef<[u8]>, kind: EntryType, major: u32, minor: u32) -> Self {
        self.entry(path, kind, b"", |entry| {
            entry.device(major, minor).unwrap();
        })
    }

    /// Adds a regular file with one extended header record.
    pub(crate) fn pax(
        self,
        path: impl AsRef<[u8]>,
        key: &str,
        value: impl AsRef<[u8]>,
        content: &[u8],
    ) -> Self {
        self.entry(path, EntryType::Regular, content, |entry| {
            entry.add_pax(key, value);
        })
    }

    /// Adds a bare header that `change` spoilt; its checksum is right again.
    pub(crate) fn header(self, path: &str, change: impl FnOnce(&mut Header)) -> Self {
        let mut builder = HeaderBuilder::new_ustar();
        builder.path(path).unwrap().mode(0o644).unwrap().mtime(0).unwrap().size(0).unwrap();
        builder.uid(0).unwrap().gid(0).unwrap().entry_type(EntryType::Regular);
        let mut header = builder.finish();
        change(&mut header);
        header.set_checksum();
        self.raw(header.as_bytes())
    }

    /// Ends the archive.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}
