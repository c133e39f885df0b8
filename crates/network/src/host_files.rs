//! What this host knows of pods, one file each, whatever data directory they are in: `/run/rkt/KIND/UUID`.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use pod::{Pod, PodUuid, Pods};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Context;
use crate::{Error, Result};

/// The files of one kind, locked: nobody else changes them.
#[derive(Debug)]
pub(crate) struct HostFiles {
    directory: PathBuf,
    _lock: File,
}

impl HostFiles {
    pub(crate) fn lock(directory: &Path) -> Result<Self> {
        let step = || format!("lock {}", directory.display());
        fs::create_dir_all(directory).step(step)?;
        let lock = File::open(directory).step(step)?;
        lock.lock().step(step)?;
        Ok(Self { directory: directory.to_owned(), _lock: lock })
    }

    /// All of them, by pod.
    pub(crate) fn all<T: DeserializeOwned>(&self) -> Result<Vec<(PodUuid, T)>> {
        let step = || format!("read {}", self.directory.display());
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.directory).step(step)? {
            let name = entry.step(step)?.file_name().to_string_lossy().into_owned();
            let Ok(uuid) = name.parse() else { continue };
            let json = fs::read(self.directory.join(&name)).step(step)?;
            all.push((uuid, serde_json::from_slice(&json).map_err(|error| self.damaged(&name, &error))?));
        }
        Ok(all)
    }

    /// Writes the file of `pod`, or replaces it.
    pub(crate) fn write(&self, pod: &str, content: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec(content).map_err(|error| self.damaged(pod, &error))?;
        let (new, path) = (self.directory.join(".new"), self.directory.join(pod));
        fs::write(&new, json)
            .and_then(|()| fs::rename(&new, &path))
            .step(|| format!("write {}", path.display()))
    }

    pub(crate) fn remove(&self, pod: &str) -> Result<()> {
        remove(&self.directory, pod)
    }

    fn damaged(&self, pod: &str, error: &serde_json::Error) -> Error {
        let kind = self.directory.file_name().unwrap_or_default().display();
        Error::Record { file: format!("{kind}/{pod}"), why: error.to_string() }
    }
}

/// Removes the file of `pod`, if there is one.
pub(crate) fn remove(directory: &Path, pod: &str) -> Result<()> {
    let path = directory.join(pod);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).step(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Whether the data directory `data` has the pod, and it is as `test` says. One that cannot be looked at may well be.
pub(crate) fn is_in(data: &Path, uuid: PodUuid, test: impl FnOnce(&Pod) -> bool) -> bool {
    if !data.join("pods").is_dir() {
        return false;
    }
    match Pods::open(data).and_then(|pods| pods.get(uuid)) {
        Ok(pod) => pod.is_some_and(|pod| test(&pod)),
        Err(_) => true,
    }
}
