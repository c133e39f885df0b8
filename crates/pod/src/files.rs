//! The files of one pod directory.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use appc::{ImageManifest, PodManifest};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use sys::path::open_beneath;

use crate::{Error, Result};

/// No file of a pod directory is larger; the pod can write some of them, so there is a limit.
const SIZE_MAX: usize = 8 << 20;

const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// The process that a stage1 recorded at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidFile {
    /// `pid`: process 1 of the pod itself.
    Itself(Pid),
    /// `ppid`: the parent of process 1.
    Parent(Pid),
}

/// How an app ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppExit {
    /// Its exit code.
    pub code: i32,
    /// When it was written down.
    pub finished: SystemTime,
}

/// One network of a pod, as `net-info.json` records it. Unknown fields are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // The names are those of the file.
pub struct NetInfo {
    pub net_name: String,
    #[serde(default)]
    pub net_conf: String,
    #[serde(default)]
    pub plugin_path: String,
    #[serde(default)]
    pub if_name: String,
    #[serde(default)]
    pub ip: String,
    #[serde(default)]
    pub args: String,
    #[serde(default)]
    pub mask: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ip6: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mask6: String,
    /// Ports of the host that lead to the pod through this network, as the stage1 wrote them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<serde_json::Value>,
}

/// The writable directories of one overlay.
#[derive(Debug)]
pub struct OverlayDirs {
    /// Where changes are written.
    pub upper: OwnedFd,
    /// For the kernel's own use.
    pub work: OwnedFd,
}

/// A pod directory, held open: it stays the same one when the pod is renamed.
///
/// Paths are looked up below the handle and no symbolic link is followed on the way: parts of the directory
/// are written by what runs in the pod.
#[derive(Debug)]
pub struct PodDir {
    fd: OwnedFd,
}

impl AsFd for PodDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for PodDir {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<PodDir> for OwnedFd {
    fn from(directory: PodDir) -> Self {
        directory.fd
    }
}

/// Refuses what would name another directory than the one meant.
pub(crate) fn component(name: &str) -> Result<&str> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(Error::BadName(name.to_owned()));
    }
    Ok(name)
}

// Any file.
impl PodDir {
    /// The content of `path`; `None` when there is no such file.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        // NONBLOCK: a fifo that the pod put there must not stop us.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match self.open_file(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(Error::io("open", path, error)),
        };
        let mut content = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 8192];
        loop {
            let (read, free) = match rustix::io::read(&fd, &mut buffer) {
                Ok((read, free)) => (read, free.len()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(Error::io("read", path, error)),
            };
            content.extend_from_slice(read);
            // A regular file gives less than was asked for at its end only.
            if free > 0 {
                return Ok(Some(content));
            }
            if content.len() > SIZE_MAX {
                return Err(Error::Damaged { file: path.to_owned(), why: "it is too large".to_owned() });
            }
        }
    }

    /// Opens `path` without following a link anywhere on the way.
    fn open_file(&self, path: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        if path.contains('/') {
            return open_beneath(self.as_fd(), Path::new(path), flags, mode);
        }
        // The same for a single name, and cheaper.
        rustix::fs::openat(&self.fd, path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode)
    }

    /// The content of `path` as text without white space around it; `None` when there is no such file or it
    /// is empty, as a file is for a moment before its first byte is written.
    fn read_word(&self, path: &str) -> Result<Option<String>> {
        let Some(content) = self.read(path)? else { return Ok(None) };
        let text = String::from_utf8(content)
            .map_err(|_| Error::Damaged { file: path.to_owned(), why: "it is no text".to_owned() })?;
        let word = text.trim();
        Ok((!word.is_empty()).then(|| word.to_owned()))
    }

    /// Writes `content` to the new or existing file `path`.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOCTTY;
        let fd = self
            .open_file(path, flags, Mode::from_raw_mode(FILE_MODE))
            .map_err(|error| Error::io("create", path, error))?;
        let mut rest = content;
        while !rest.is_empty() {
            match rustix::io::write(&fd, rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io("write", path, error)),
            }
        }
        Ok(())
    }

    /// Puts `content` in the place of `path` in one step: readers see the old or the new one, whole.
    pub fn replace(&self, path: &str, content: &[u8]) -> Result<()> {
        let temporary = format!("{path}.new");
        self.write(&temporary, content)?;
        rustix::fs::renameat(&self.fd, &temporary, &self.fd, path)
            .map_err(|error| Error::io("replace", path, error))
    }

    /// Makes the directory `path` and those above it, mode 0750, where they are missing; opens it.
    pub fn create_directory(&self, path: &str) -> Result<OwnedFd> {
        match self.open_directory(path) {
            Err(error) if error.is_not_found() => {}
            opened => return opened,
        }
        let mut made = String::with_capacity(path.len());
        for name in path.split('/') {
            if !made.is_empty() {
                made.push('/');
            }
            made.push_str(component(name)?);
            match rustix::fs::mkdirat(&self.fd, &made, Mode::from_raw_mode(DIRECTORY_MODE)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(Error::io("make directory", made, error)),
            }
        }
        self.open_directory(path)
    }

    /// Opens the directory `path`.
    pub fn open_directory(&self, path: &str) -> Result<OwnedFd> {
        open_beneath(self.as_fd(), Path::new(path), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .map_err(|error| Error::io("open directory", path, error))
    }

    /// Whether there is a file `path`.
    pub fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.stat(path)?.is_some())
    }

    fn stat(&self, path: &str) -> Result<Option<rustix::fs::Stat>> {
        match rustix::fs::statat(&self.fd, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::io("look at", path, error)),
        }
    }

    fn modified(&self, path: &str) -> Result<Option<SystemTime>> {
        Ok(self.stat(path)?.and_then(|stat| time(stat.st_mtime, stat.st_mtime_nsec)))
    }
}

/// A time of stat(2).
fn time(seconds: i64, nanoseconds: impl TryInto<u32>) -> Option<SystemTime> {
    let nanoseconds = Duration::from_nanos(nanoseconds.try_into().ok()?.into());
    let seconds = Duration::from_secs(seconds.try_into().ok()?);
    SystemTime::UNIX_EPOCH.checked_add(seconds)?.checked_add(nanoseconds)
}

// Written by stage0.
impl PodDir {
    /// Writes the pod manifest; an older one is replaced in one step.
    pub fn write_manifest(&self, json: &[u8]) -> Result<()> {
        self.replace("pod", json)
    }

    /// The pod manifest as it is stored; `None` before it was written.
    pub fn manifest_json(&self) -> Result<Option<Vec<u8>>> {
        self.read("pod")
    }

    /// The pod manifest.
    pub fn manifest(&self) -> Result<PodManifest> {
        let path = "pod";
        let json = self.manifest_json()?.ok_or_else(|| Error::Missing(path.to_owned()))?;
        PodManifest::parse(&json).map_err(|source| Error::Manifest { file: path.to_owned(), source })
    }

    /// Locks the manifest against changes (shared) or for one (exclusive), until the returned handle is
    /// dropped. Waits for whoever holds it.
    pub fn lock_manifest(&self, exclusive: bool) -> Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE;
        let fd = open_beneath(self.as_fd(), Path::new("pod.lck"), flags, Mode::from_raw_mode(0o600))
            .map_err(|error| Error::io("open", "pod.lck", error))?;
        let how = if exclusive {
            rustix::fs::FlockOperation::LockExclusive
        } else {
            rustix::fs::FlockOperation::LockShared
        };
        rustix::fs::flock(&fd, how).map_err(|error| Error::io("lock", "pod.lck", error))?;
        Ok(fd)
    }

    /// Records now as the time of creation.
    pub fn mark_created(&self) -> Result<()> {
        self.write("pod-created", b"")
    }

    /// When the pod was created, if that was recorded.
    pub fn created(&self) -> Result<Option<SystemTime>> {
        self.modified("pod-created")
    }

    /// Writes the image manifest of an app.
    pub fn write_image_manifest(&self, app: &str, json: &[u8]) -> Result<()> {
        let directory = format!("appsinfo/{}", component(app)?);
        self.create_directory(&directory)?;
        self.write(&format!("{directory}/manifest"), json)
    }

    /// The image manifest of an app.
    pub fn image_manifest_json(&self, app: &str) -> Result<Option<Vec<u8>>> {
        self.read(&format!("appsinfo/{}/manifest", component(app)?))
    }

    /// The image manifest of an app.
    pub fn image_manifest(&self, app: &str) -> Result<Option<ImageManifest>> {
        let Some(json) = self.image_manifest_json(app)? else { return Ok(None) };
        let damaged = |source| Error::Manifest { file: format!("appsinfo/{app}/manifest"), source };
        ImageManifest::parse(&json).map(Some).map_err(damaged)
    }

    /// Records the id of the rendered tree of an app's image.
    pub fn write_tree_id(&self, app: &str, id: &str) -> Result<()> {
        let directory = format!("appsinfo/{}", component(app)?);
        self.create_directory(&directory)?;
        self.write(&format!("{directory}/treeStoreID"), component(id)?.as_bytes())
    }

    /// The id of the rendered tree of an app's image.
    pub fn tree_id(&self, app: &str) -> Result<Option<String>> {
        self.read_name(&format!("appsinfo/{}/treeStoreID", component(app)?))
    }

    /// Writes the image manifest of the stage1.
    pub fn write_stage1_manifest(&self, json: &[u8]) -> Result<()> {
        self.create_directory("stage1")?;
        self.write("stage1/manifest", json)
    }

    /// The image manifest of the stage1.
    pub fn stage1_manifest_json(&self) -> Result<Option<Vec<u8>>> {
        self.read("stage1/manifest")
    }

    /// The image manifest of the stage1.
    pub fn stage1_manifest(&self) -> Result<ImageManifest> {
        let path = "stage1/manifest";
        let json = self.stage1_manifest_json()?.ok_or_else(|| Error::Missing(path.to_owned()))?;
        ImageManifest::parse(&json).map_err(|source| Error::Manifest { file: path.to_owned(), source })
    }

    /// Records the id of the rendered tree of the stage1. Copies of it have one as well: entrypoints are run
    /// from the tree, which no pod can write.
    pub fn write_stage1_tree_id(&self, id: &str) -> Result<()> {
        self.write("stage1TreeStoreID", component(id)?.as_bytes())
    }

    /// The id of the rendered tree of the stage1.
    pub fn stage1_tree_id(&self) -> Result<Option<String>> {
        self.read_name("stage1TreeStoreID")
    }

    fn read_name(&self, path: &str) -> Result<Option<String>> {
        let Some(word) = self.read_word(path)? else { return Ok(None) };
        component(&word)?;
        Ok(Some(word))
    }

    /// Records that the roots of this pod are overlays.
    pub fn mark_overlay(&self) -> Result<()> {
        self.write("overlay-prepared", b"")
    }

    /// Whether the roots of this pod are overlays; else they are copies.
    pub fn is_overlay(&self) -> Result<bool> {
        self.exists("overlay-prepared")
    }

    /// Records the range of host ids that the pod's users map to.
    pub fn write_private_users(&self, shift: u32, count: u32) -> Result<()> {
        self.write("private-users-prepared", format!("{shift}:{count}").as_bytes())
    }

    /// The range of host ids that the pod's users map to, if it has one: first id and count.
    pub fn private_users(&self) -> Result<Option<(u32, u32)>> {
        let path = "private-users-prepared";
        let Some(word) = self.read_word(path)? else { return Ok(None) };
        let range =
            word.split_once(':').and_then(|(shift, count)| Some((shift.parse().ok()?, count.parse().ok()?)));
        let damaged = || Error::Damaged { file: path.to_owned(), why: "it is not SHIFT:COUNT".to_owned() };
        range.ok_or_else(damaged).map(Some)
    }

    /// Makes the writable directories of the overlay over tree `tree`, of an app or of the stage1 (`None`).
    ///
    /// The root of an overlay looks like its upper directory, so that one gets mode and owner of `like`, the
    /// root of the top layer. Neither keeps a setgid bit of the data directory. The owner's numbers are counted from `first`
    /// on, the first id of the pod's users.
    pub fn create_overlay(
        &self,
        tree: &str,
        app: Option<&str>,
        like: BorrowedFd<'_>,
        first: u32,
    ) -> Result<OverlayDirs> {
        let (upper, work) = overlay_paths(tree, app)?;
        let directories =
            OverlayDirs { upper: self.create_directory(&upper)?, work: self.create_directory(&work)? };
        let stat = rustix::fs::fstat(like).map_err(|error| Error::io("look at", "the top layer", error))?;
        let shifted = |id: u32| id.checked_add(first).unwrap_or(id);
        let owner = (
            rustix::fs::Uid::from_raw(shifted(stat.st_uid)),
            rustix::fs::Gid::from_raw(shifted(stat.st_gid)),
        );
        rustix::fs::fchown(&directories.upper, Some(owner.0), Some(owner.1))
            .and_then(|()| rustix::fs::fchmod(&directories.upper, Mode::from_raw_mode(stat.st_mode & 0o1777)))
            .and_then(|()| rustix::fs::fchmod(&directories.work, Mode::from_raw_mode(0o700)))
            .map_err(|error| Error::io("set the mode of", upper, error))?;
        Ok(directories)
    }

    /// Opens the writable directories of an overlay.
    pub fn open_overlay(&self, tree: &str, app: Option<&str>) -> Result<OverlayDirs> {
        let (upper, work) = overlay_paths(tree, app)?;
        Ok(OverlayDirs { upper: self.open_directory(&upper)?, work: self.open_directory(&work)? })
    }
}

fn overlay_paths(tree: &str, app: Option<&str>) -> Result<(String, String)> {
    let below = match app {
        Some(app) => format!("/{}", component(app)?),
        None => String::new(),
    };
    let tree = component(tree)?;
    Ok((format!("overlay/{tree}/upper{below}"), format!("overlay/{tree}/work{below}")))
}

// Written by stage1.
impl PodDir {
    /// The process that stage1 recorded, if it did already.
    pub fn pid_file(&self) -> Result<Option<PidFile>> {
        for (path, kind) in [("pid", PidFile::Itself as fn(Pid) -> PidFile), ("ppid", PidFile::Parent)] {
            if let Some(word) = self.read_word(path)? {
                let pid = crate::process::parse_pid(&word);
                let damaged = || Error::Damaged { file: path.to_owned(), why: format!("{word:?} is no pid") };
                return pid.ok_or_else(damaged).map(|pid| Some(kind(pid)));
            }
        }
        Ok(None)
    }

    /// When the pod was started: the time of its `ppid` or `pid` file.
    pub fn started(&self) -> Result<Option<SystemTime>> {
        match self.modified("ppid")? {
            None => self.modified("pid"),
            started => Ok(started),
        }
    }

    /// Whether a process holds the lock of the directory: the pod is being prepared, or runs.
    pub fn is_locked(&self) -> Result<bool> {
        crate::lock::is_taken(self.as_fd()).map_err(|error| Error::io("test", "the lock", error))
    }

    /// The cgroup of the pod, relative to the root of the hierarchy, without a slash in front.
    pub fn subcgroup(&self) -> Result<Option<String>> {
        let Some(word) = self.read_word("subcgroup")? else { return Ok(None) };
        let path = word.trim_matches('/');
        let names_one = !path.is_empty() && path.split('/').all(|name| component(name).is_ok());
        Ok(names_one.then(|| path.to_owned()))
    }

    /// The name of the stage1's flavour, if it left one.
    pub fn flavor(&self) -> Result<Option<String>> {
        match rustix::fs::readlinkat(&self.fd, "flavor", Vec::new()) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::io("read link", "flavor", error)),
        }
    }

    /// The options that the pod was started with, JSON in the form of the stage1.
    pub fn runtime_config_json(&self) -> Result<Option<Vec<u8>>> {
        self.read("runtime-config")
    }

    /// The networks of the pod; none when it has no network of its own.
    pub fn networks(&self) -> Result<Vec<NetInfo>> {
        let path = "net-info.json";
        let Some(json) = self.read(path)? else { return Ok(Vec::new()) };
        serde_json::from_slice(&json)
            .map_err(|error| Error::Damaged { file: path.to_owned(), why: error.to_string() })
    }

    /// How an app ended; `None` while it runs, or when nobody wrote it down.
    pub fn exit_status(&self, app: &str) -> Result<Option<AppExit>> {
        let path = format!("{}/rkt/status/{}", self.stage1_root_from_outside()?, component(app)?);
        let Some(finished) = self.modified_beneath(&path)? else { return Ok(None) };
        let Some(word) = self.read_word(&path)? else { return Ok(None) };
        // What cannot be read is a failure.
        Ok(Some(AppExit { code: word.parse().unwrap_or(1), finished }))
    }

    /// When an app of a mutable pod was created, if it was.
    pub fn app_created(&self, app: &str) -> Result<Option<SystemTime>> {
        let root = self.stage1_root_from_outside()?;
        self.modified_beneath(&format!("{root}/rkt/status/{}-created", component(app)?))
    }

    /// When an app of a mutable pod was started, if it was.
    pub fn app_started(&self, app: &str) -> Result<Option<SystemTime>> {
        let root = self.stage1_root_from_outside()?;
        self.modified_beneath(&format!("{root}/rkt/status/{}-started", component(app)?))
    }

    /// Whether the stage1 says that it takes orders for apps: its `rkt/supervisor-status` points to `ready`.
    pub fn is_ready(&self) -> Result<bool> {
        let path = format!("{}/rkt", self.stage1_root_from_outside()?);
        let directory = match self.open_directory(&path) {
            Ok(directory) => directory,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error),
        };
        match rustix::fs::readlinkat(&directory, "supervisor-status", Vec::new()) {
            Ok(target) => Ok(target.as_bytes() == b"ready"),
            Err(Errno::NOENT | Errno::INVAL) => Ok(false),
            Err(error) => Err(Error::io("read link", format!("{path}/supervisor-status"), error)),
        }
    }

    /// Where the stage1 root's own files are seen without its mounts.
    fn stage1_root_from_outside(&self) -> Result<String> {
        if self.is_overlay()?
            && let Some(tree) = self.stage1_tree_id()?
        {
            return Ok(format!("overlay/{tree}/upper"));
        }
        Ok("stage1/rootfs".to_owned())
    }

    /// As [`PodDir::modified`], for a path whose directories the pod can write.
    fn modified_beneath(&self, path: &str) -> Result<Option<SystemTime>> {
        match open_beneath(self.as_fd(), Path::new(path), OFlags::PATH, Mode::empty()) {
            Ok(fd) => {
                let stat = rustix::fs::fstat(&fd).map_err(|error| Error::io("look at", path, error))?;
                Ok(time(stat.st_mtime, stat.st_mtime_nsec))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::io("open", path, error)),
        }
    }

    /// When the directory was last renamed: for a pod marked by `gc`, the time of that.
    pub fn renamed(&self) -> Result<Option<SystemTime>> {
        let stat =
            rustix::fs::fstat(&self.fd).map_err(|error| Error::io("look at", "the pod directory", error))?;
        Ok(time(stat.st_ctime, stat.st_ctime_nsec))
    }
}

#[cfg(test)]
mod tests;
