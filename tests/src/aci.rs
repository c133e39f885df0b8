//! Writes App Container Images, entry by entry, in exactly the given order: honest ones and hostile ones.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tar_core::EntryType;
use tar_core::builder::EntryBuilder;

/// An uncompressed ACI that is being written.
#[derive(Debug, Clone)]
pub struct Aci {
    manifest: Value,
    entries: Vec<u8>,
    manifest_last: bool,
}

impl Aci {
    /// An image `name`, version 1, for this machine, with an empty `rootfs` and no app.
    #[must_use]
    pub fn new(name: &str) -> Aci {
        let manifest = json!({
            "acKind": "ImageManifest",
            "acVersion": "0.8.11",
            "name": name,
            "labels": [
                {"name": "version", "value": "1"},
                {"name": "os", "value": "linux"},
                {"name": "arch", "value": "amd64"},
            ],
        });
        Aci { manifest, entries: Vec::new(), manifest_last: false }.dir("rootfs", 0o755)
    }

    /// Adds what the directory `from` of this machine holds below `to`, in the order of the names.
    pub fn tree(mut self, from: &Path, to: &str) -> Result<Aci> {
        self.add_tree(from, to)?;
        Ok(self)
    }

    /// Sets the app: `exec` as root, with whatever else `more` (an object) says.
    #[must_use]
    pub fn app(self, exec: &[&str], more: &Value) -> Aci {
        let mut app = json!({"exec": exec, "user": "0", "group": "0"});
        if let (Some(app), Some(more)) = (app.as_object_mut(), more.as_object()) {
            app.extend(more.clone());
        }
        self.field("app", app)
    }

    /// Sets a field of the manifest.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Aci {
        self.manifest[name] = value;
        self
    }

    /// Sets a label of the manifest.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Aci {
        if let Some(labels) = self.manifest["labels"].as_array_mut() {
            labels.retain(|label| label["name"] != name);
            labels.push(json!({"name": name, "value": value}));
        }
        self
    }

    /// Adds an annotation to the manifest.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Aci {
        if !self.manifest["annotations"].is_array() {
            self.manifest["annotations"] = json!([]);
        }
        if let Some(list) = self.manifest["annotations"].as_array_mut() {
            list.push(json!({"name": name, "value": value}));
        }
        self
    }

    /// Writes the manifest after everything else instead of before it.
    #[must_use]
    pub fn manifest_last(mut self) -> Aci {
        self.manifest_last = true;
        self
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, path: &str, mode: u32) -> Aci {
        self.entry(Entry { mode, ..Entry::new(EntryType::Directory, path) })
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Aci {
        self.entry(Entry { mode, content: content.as_ref(), ..Entry::new(EntryType::Regular, path) })
    }

    /// Adds a symbolic link at `path` to `target`.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Aci {
        self.entry(Entry { link: target, mode: 0o777, ..Entry::new(EntryType::Symlink, path) })
    }

    /// Adds a hard link at `path` to `target` (which carries `rootfs/` too).
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Aci {
        self.entry(Entry { link: target, ..Entry::new(EntryType::Link, path) })
    }

    /// Adds any entry.
    ///
    /// # Panics
    /// When it cannot be written in tar at all.
    #[must_use]
    pub fn entry(mut self, entry: Entry<'_>) -> Aci {
        write_entry(&mut self.entries, &entry).unwrap_or_else(|error| panic!("{}: {error}", entry.path));
        self
    }

    /// The finished archive.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        self.build_with_manifest(self.manifest.to_string().as_bytes())
    }

    /// The finished archive with these bytes as its manifest.
    ///
    /// # Panics
    /// When the manifest does not fit in tar.
    #[must_use]
    pub fn build_with_manifest(&self, manifest: &[u8]) -> Vec<u8> {
        let mut archive = Vec::new();
        if self.manifest_last {
            archive.extend_from_slice(&self.entries);
        }
        let entry = Entry { content: manifest, ..Entry::new(EntryType::Regular, "manifest") };
        write_entry(&mut archive, &entry).unwrap_or_else(|error| panic!("manifest: {error}"));
        if !self.manifest_last {
            archive.extend_from_slice(&self.entries);
        }
        archive.extend_from_slice(&[0; 1024]);
        archive
    }

    /// The entries alone, without a manifest and without the end marker.
    #[must_use]
    pub fn entries(&self) -> &[u8] {
        &self.entries
    }

    /// No image, but the entries of a layer of an OCI image, whose paths begin at its root: see [`Aci::layer`].
    #[must_use]
    pub fn changes() -> Aci {
        Aci { manifest: Value::Null, entries: Vec::new(), manifest_last: false }
    }

    /// The entries alone as an archive.
    #[must_use]
    pub fn layer(&self) -> Vec<u8> {
        [self.entries.as_slice(), &[0; 1024]].concat()
    }

    fn add_tree(&mut self, from: &Path, to: &str) -> Result<()> {
        let mut names: Vec<_> = fs::read_dir(from)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect())
            .with_context(|| format!("Cannot list {}", from.display()))?;
        names.sort();
        for name in names {
            let source = from.join(&name);
            let path = format!("{to}/{}", name.to_string_lossy());
            let meta = fs::symlink_metadata(&source)
                .with_context(|| format!("Cannot look at {}", source.display()))?;
            let mode = meta.permissions().mode() & 0o7777;
            let (uid, gid) = (meta.uid(), meta.gid());
            let base = Entry { mode, uid, gid, ..Entry::new(EntryType::Directory, &path) };
            if meta.is_dir() {
                write_entry(&mut self.entries, &base)?;
                self.add_tree(&source, &path)?;
            } else if meta.is_symlink() {
                let target = fs::read_link(&source)?;
                let link = &*target.to_string_lossy();
                write_entry(&mut self.entries, &Entry { kind: EntryType::Symlink, link, ..base })?;
            } else if meta.is_file() {
                let content =
                    fs::read(&source).with_context(|| format!("Cannot read {}", source.display()))?;
                write_entry(
                    &mut self.entries,
                    &Entry { kind: EntryType::Regular, content: &content, ..base },
                )?;
            } else {
                bail!("{} is neither a file, a directory nor a symbolic link", source.display());
            }
        }
        Ok(())
    }
}

/// One entry of an archive.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What it is.
    pub kind: EntryType,
    /// Its name, from the top of the archive.
    pub path: &'a str,
    /// Target of a link.
    pub link: &'a str,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Content of a file.
    pub content: &'a [u8],
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// PAX records, such as `SCHILY.xattr.user.name`.
    pub pax: &'a [(&'a str, &'a [u8])],
}

impl<'a> Entry<'a> {
    /// An entry with mode 0644, owned by root.
    #[must_use]
    pub fn new(kind: EntryType, path: &'a str) -> Entry<'a> {
        Entry { kind, path, link: "", mode: 0o644, uid: 0, gid: 0, content: &[], device: (0, 0), pax: &[] }
    }
}

fn write_entry(archive: &mut Vec<u8>, entry: &Entry<'_>) -> Result<()> {
    let mut header = EntryBuilder::new_ustar();
    header.path(entry.path).entry_type(entry.kind).mode(entry.mode)?;
    header.uid(entry.uid.into())?.gid(entry.gid.into())?.mtime(0)?;
    header.size(entry.content.len() as u64)?;
    if !entry.link.is_empty() {
        header.link_name(entry.link);
    }
    if matches!(entry.kind, EntryType::Char | EntryType::Block) {
        header.device(entry.device.0, entry.device.1)?;
    }
    for (key, value) in entry.pax {
        header.add_pax(key, value);
    }
    archive.extend_from_slice(&header.finish_bytes());
    archive.extend_from_slice(entry.content);
    archive.resize(archive.len().next_multiple_of(512), 0);
    Ok(())
}
