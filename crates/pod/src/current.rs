//! The pod that a stage1 works for.

use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::Pid;

use crate::{Error, LOCK_FD_VARIABLE, PodDir, PodUuid, Result, lock};

/// The regular file that fly holds a lock on instead of the directory.
pub(crate) const RUN_LOCK: &str = "run.lck";

/// The pod in whose directory a stage1 was started: every entrypoint is.
#[derive(Debug)]
pub struct Current {
    /// Its files.
    pub dir: PodDir,
    lock: Option<OwnedFd>,
}

impl Current {
    /// Takes the working directory as the pod directory, and the lock if stage0 handed one over (it does so
    /// for `run` only). The lock is not inherited by what this process starts.
    ///
    /// Call it once, at the start of the program.
    pub fn open() -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(".", flags, Mode::empty())
            .map_err(|error| Error::io("open", "the working directory", error))?;
        Self::new(dir, std::env::var(LOCK_FD_VARIABLE).ok().as_deref())
    }

    fn new(dir: OwnedFd, lock: Option<&str>) -> Result<Self> {
        let lock = lock.map(|number| take_lock(number, &dir)).transpose()?;
        Ok(Self { dir: PodDir::from(dir), lock })
    }

    /// The name of the pod, which is that of its directory: not every entrypoint is told.
    pub fn uuid() -> Result<PodUuid> {
        let directory =
            std::env::current_dir().map_err(|error| Error::io("find", "the working directory", error))?;
        let name = directory.file_name().map(std::os::unix::ffi::OsStrExt::as_bytes).unwrap_or_default();
        PodUuid::from_directory_name(name).ok_or_else(|| Error::Damaged {
            file: directory.display().to_string(),
            why: "it is no pod directory".to_owned(),
        })
    }

    /// Whether this program has the lock of the pod.
    pub fn has_lock(&self) -> bool {
        self.lock.is_some()
    }

    fn lock(&self) -> Result<&OwnedFd> {
        self.lock.as_ref().ok_or_else(|| Error::NoLock("not set: rkt runs this program, not you".to_owned()))
    }

    /// Lets the program that this process becomes keep the lock: the pod runs until that one ends.
    pub fn keep_lock(&self) -> Result<()> {
        sys::fd::set_inherited(self.lock()?, true).map_err(|error| Error::io("hand on", "the lock", error))
    }

    /// As [`Current::keep_lock`], under a number that is not below `lowest`: those are about to become others.
    pub fn keep_lock_from(&mut self, lowest: RawFd) -> Result<()> {
        let moved = fcntl_dupfd_cloexec(self.lock()?, lowest)
            .map_err(|error| Error::io("hand on", "the lock", error))?;
        self.lock = Some(moved);
        self.keep_lock()
    }

    /// Moves the lock from the pod directory to a regular file of it and returns that file, which outlives
    /// `exec`. What this process becomes then has no handle on a directory of the host.
    pub fn keep_lock_on_file(&mut self) -> Result<OwnedFd> {
        self.lock()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, RUN_LOCK, flags, Mode::from_raw_mode(0o640))
            .map_err(|error| Error::io("create", RUN_LOCK, error))?;
        match lock::take(&file) {
            Ok(true) => {}
            Ok(false) => return Err(Error::NoLock(format!("{RUN_LOCK} is locked by another process"))),
            Err(error) => return Err(Error::io("lock", RUN_LOCK, error)),
        }
        sys::fd::set_inherited(&file, true).map_err(|error| Error::io("hand on", RUN_LOCK, error))?;
        // Observers look at the directory first: at no moment are both free.
        self.lock = None;
        Ok(file)
    }

    /// Records the pod's cgroup (relative to the root) before its start: while a process is in it, such as a helper
    /// of a stage1 that was killed, the pod counts as running.
    pub fn write_subcgroup(&self, group: &str) -> Result<()> {
        self.dir.write("subcgroup", group.trim_start_matches('/').as_bytes())
    }

    /// As [`Current::write_subcgroup`], for the cgroup of the service that started the pod: its other processes are not the
    /// pod's. [`crate::members`] says what tells them apart.
    pub fn write_service_cgroup(&self, group: &str) -> Result<()> {
        let (record, group) = (crate::members::RECORD, group.trim_start_matches('/'));
        rustix::fs::symlinkat(group, &self.dir, record).map_err(|error| Error::io("make link", record, error))
    }

    /// Records the start of the pod: its cgroup (relative to the root, no slash in front), and then `pid` as
    /// its process 1. Whoever waits for the pod waits for the latter.
    pub fn write_pid(&self, pid: Pid, subcgroup: Option<&str>) -> Result<()> {
        self.write_start("pid", pid, subcgroup)
    }

    /// As [`Current::write_pid`], for the parent of process 1.
    pub fn write_ppid(&self, pid: Pid, subcgroup: Option<&str>) -> Result<()> {
        self.write_start("ppid", pid, subcgroup)
    }

    fn write_start(&self, file: &str, pid: Pid, subcgroup: Option<&str>) -> Result<()> {
        if let Some(group) = subcgroup {
            self.write_subcgroup(group)?;
        }
        self.dir.write(file, pid.as_raw_nonzero().to_string().as_bytes())
    }

    /// Names the flavour of this stage1.
    pub fn write_flavor(&self, flavor: &str) -> Result<()> {
        match rustix::fs::symlinkat(flavor, &self.dir, "flavor") {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(Error::io("make link", "flavor", error)),
        }
    }

    /// Records the exit code of an app, for a stage1 without a supervisor inside.
    pub fn write_status(&self, app: &str, code: i32) -> Result<()> {
        crate::files::component(app)?;
        self.dir.create_directory("stage1/rootfs/rkt/status")?;
        self.dir.write(&format!("stage1/rootfs/rkt/status/{app}"), code.to_string().as_bytes())
    }
}

fn take_lock(number: &str, dir: &OwnedFd) -> Result<OwnedFd> {
    let bad = |why: &str| Error::NoLock(format!("{number:?} {why}"));
    let fd = number.parse().map_err(|_| bad("is no number"))?;
    let fd = sys::fd::take_inherited(fd).map_err(|_| bad("is not open"))?;
    let stat = |fd: &OwnedFd| rustix::fs::fstat(fd.as_fd()).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    if stat(&fd) != stat(dir) {
        return Err(bad("is not the pod directory that this program was started in"));
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::IntoRawFd;

    fn open(path: &std::path::Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn the_lock_must_be_of_this_pod() {
        let pod = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        assert!(!Current::new(open(pod.path()), None).unwrap().has_lock());
        let foreign = open(other.path()).into_raw_fd().to_string();
        for (number, why) in [
            ("x", "is no number"),
            ("", "is no number"),
            ("1", "is not open"),
            ("99999", "is not open"),
            (foreign.as_str(), "is not the pod directory"),
        ] {
            let error = Current::new(open(pod.path()), Some(number)).unwrap_err().to_string();
            assert!(error.starts_with("RKT_LOCK_FD: ") && error.contains(why), "{number:?}: {error}");
        }
    }

    #[test]
    fn the_lock_gets_out_of_the_way() {
        let pod = tempfile::tempdir().unwrap();
        let locked = open(pod.path());
        assert!(lock::take(&locked).unwrap());
        let number = locked.into_raw_fd().to_string();
        let mut current = Current::new(open(pod.path()), Some(&number)).unwrap();
        current.keep_lock_from(300).unwrap();
        let kept = current.lock.as_ref().unwrap();
        assert!(std::os::fd::AsRawFd::as_raw_fd(kept) >= 300);
        assert!(!rustix::io::fcntl_getfd(kept).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        let observer = open(pod.path());
        assert!(lock::is_taken(observer.as_fd()).unwrap());
        drop(current);
        assert!(!lock::is_taken(observer.as_fd()).unwrap());
    }

    #[test]
    fn the_lock_moves_to_the_file_without_a_gap() {
        let pod = tempfile::tempdir().unwrap();
        let locked = open(pod.path());
        assert!(lock::take(&locked).unwrap());
        let number = locked.into_raw_fd().to_string();
        let mut current = Current::new(open(pod.path()), Some(&number)).unwrap();
        let observer = open(pod.path());
        assert!(lock::is_taken(observer.as_fd()).unwrap());
        let file = current.keep_lock_on_file().unwrap();
        assert!(!lock::is_taken(observer.as_fd()).unwrap());
        let observer = open(&pod.path().join(RUN_LOCK));
        assert!(lock::is_taken(observer.as_fd()).unwrap());
        assert!(!rustix::io::fcntl_getfd(&file).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        assert!(current.keep_lock().is_err() && current.keep_lock_on_file().is_err());
        drop(file);
        assert!(!lock::is_taken(observer.as_fd()).unwrap());
    }

    #[test]
    fn records_the_start() {
        let pod = tempfile::tempdir().unwrap();
        let current = Current::new(open(pod.path()), None).unwrap();
        assert_eq!(current.dir.pid_file().unwrap(), None);
        assert_eq!(current.dir.started().unwrap(), None);
        current.write_flavor("fly").unwrap();
        current.write_pid(Pid::from_raw(4711).unwrap(), Some("/a.slice/pod-x")).unwrap();
        assert_eq!(current.dir.subcgroup().unwrap().as_deref(), Some("a.slice/pod-x"));
        assert_eq!(current.dir.flavor().unwrap().as_deref(), Some("fly"));
        assert!(current.dir.started().unwrap().is_some());
        let pid = crate::PidFile::Itself(Pid::from_raw(4711).unwrap());
        assert_eq!(current.dir.pid_file().unwrap(), Some(pid));
        current.write_status("web", 3).unwrap();
        assert_eq!(current.dir.exit_status("web").unwrap().map(|exit| exit.code), Some(3));
        assert!(current.write_status("../web", 3).is_err());
    }
}
