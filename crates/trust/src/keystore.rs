//! The directories of trusted keys.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use appc::AcIdentifier;
use thiserror::Error;

use crate::key::{Fingerprint, KEY_BYTES_MAX, KeyError, PublicKey};

/// What a key is trusted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every image.
    Root,
    /// The images whose name is this one or stands below it.
    Prefix(AcIdentifier),
}

/// Why the keystore could not be read or changed.
#[derive(Debug, Error)]
pub enum KeystoreError {
    /// The file system refused.
    #[error("Cannot {action} {}", path.display())]
    Io {
        /// What was tried: `read`, `write` …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file in the keystore holds no key.
    #[error("{} holds no usable key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// A file is named by one fingerprint and holds a key with another.
    #[error("{} holds the key {found}: a key file must be named by the fingerprint of its key", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The fingerprint of the key inside.
        found: Fingerprint,
    },
}

/// The trusted keys of a host: the vendor's and the administrator's.
#[derive(Debug, Clone)]
pub struct Keystore {
    system: PathBuf,
    local: PathBuf,
}

impl Keystore {
    /// The keystore of the two configuration roots, `/usr/lib/rkt` and `/etc/rkt` by default.
    pub fn new(system_config: &Path, local_config: &Path) -> Self {
        Self { system: system_config.join("trustedkeys"), local: local_config.join("trustedkeys") }
    }

    /// The keys that may sign the image `name`: root keys, then those of the name and of each of its parents.
    ///
    /// # Errors
    /// A file that holds no key, or another key than its name says, fails the whole look-up: it is better to
    /// trust nothing than to overlook a mask.
    pub fn keys_for(&self, name: &AcIdentifier) -> Result<Vec<PublicKey>, KeystoreError> {
        let mut directories = vec![PathBuf::from("root.d")];
        let mut prefix = Some(Path::new(name.as_str()));
        while let Some(path) = prefix.filter(|path| !path.as_os_str().is_empty()) {
            directories.push(Path::new("prefix.d").join(path));
            prefix = path.parent();
        }
        let mut keys = BTreeMap::new();
        for directory in directories {
            let mut files = key_files(&self.system.join(&directory))?;
            files.extend(key_files(&self.local.join(&directory))?);
            for (fingerprint, path) in files {
                if let Some(key) = load(&fingerprint, &path)? {
                    keys.insert(fingerprint, key);
                }
            }
        }
        Ok(keys.into_values().collect())
    }

    /// Trusts `key` for `scope`, in the administrator's part. Returns the file.
    pub fn add(&self, key: &PublicKey, scope: &Scope) -> Result<PathBuf, KeystoreError> {
        let path = self.local_file(key.fingerprint(), scope);
        let armored = key.to_armored().map_err(|source| KeystoreError::Key { path: path.clone(), source })?;
        write(&path, &armored)?;
        Ok(path)
    }

    /// Takes back the trust in the administrator's own key; false when there was none.
    pub fn remove(&self, fingerprint: &Fingerprint, scope: &Scope) -> Result<bool, KeystoreError> {
        let path = self.local_file(fingerprint, scope);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(KeystoreError::Io { action: "remove", path, source }),
        }
    }

    /// Masks the vendor's key: an empty file of its name in the administrator's part. Returns the file.
    pub fn mask(&self, fingerprint: &Fingerprint, scope: &Scope) -> Result<PathBuf, KeystoreError> {
        let path = self.local_file(fingerprint, scope);
        write(&path, b"")?;
        Ok(path)
    }

    fn local_file(&self, fingerprint: &Fingerprint, scope: &Scope) -> PathBuf {
        let directory = match scope {
            Scope::Root => self.local.join("root.d"),
            Scope::Prefix(prefix) => self.local.join("prefix.d").join(prefix.as_str()),
        };
        directory.join(fingerprint.as_str())
    }
}

/// The regular files of `directory` that are named by a fingerprint. Names of other shapes are the deeper prefixes.
fn key_files(directory: &Path) -> Result<BTreeMap<Fingerprint, PathBuf>, KeystoreError> {
    let failed = |source| KeystoreError::Io { action: "read", path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let fingerprint = name.to_str().and_then(|name| name.parse::<Fingerprint>().ok());
        if let Some(fingerprint) = fingerprint
            && fs::metadata(entry.path()).map_err(failed)?.is_file()
        {
            files.insert(fingerprint, entry.path());
        }
    }
    Ok(files)
}

/// The key in a key file; `None` for an empty file, which is a mask.
fn load(fingerprint: &Fingerprint, path: &Path) -> Result<Option<PublicKey>, KeystoreError> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(KEY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| KeystoreError::Io { action: "read", path: path.to_owned(), source })?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let key =
        PublicKey::parse(&bytes).map_err(|source| KeystoreError::Key { path: path.to_owned(), source })?;
    if key.fingerprint() != fingerprint {
        return Err(KeystoreError::Misnamed { path: path.to_owned(), found: key.fingerprint().clone() });
    }
    Ok(Some(key))
}

/// Writes a key file whole or not at all.
fn write(path: &Path, content: &[u8]) -> Result<(), KeystoreError> {
    let failed = |source| KeystoreError::Io { action: "write", path: path.to_owned(), source };
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed)?;
    let part = directory.join(format!(".{}.{}", std::process::id(), "part"));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&part)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written.map_err(failed)
}
