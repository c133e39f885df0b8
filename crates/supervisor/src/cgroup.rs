//! The control groups of a pod, inside its own.
//!
//! ```text
//! <the pod's>                process 1, unless an app has limits
//! <the pod's>/supervisor     process 1 then: a group with processes cannot give controllers to those below
//! <the pod's>/app-NAME       one for each app, with its limits; its processes are born there
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use executor::spec::CgroupLimits;
use executor::{Failed, Step};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, inotify};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

/// Where cgroup2 is mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// Where the memory controller counts what has happened.
const MEMORY_EVENTS: &str = "memory.events";

/// Why a group could not be made as wanted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    /// Something was refused.
    #[error(transparent)]
    Step(#[from] Failed),
    /// A limit of a controller that the pod has not been given.
    #[error(
        "The cgroup controller {0:?} is not delegated to this pod, so limits for an app cannot be enforced; \
         set Delegate=yes in the unit that runs the pod"
    )]
    NoController(&'static str),
}

/// The pod's group.
#[derive(Debug)]
pub(crate) struct PodGroup {
    directory: OwnedFd,
}

impl PodGroup {
    /// Finds the group that this process is in, and enables what the `limits` of the apps need.
    pub(crate) fn take<'a>(limits: impl Iterator<Item = &'a CgroupLimits>) -> Result<Self, CgroupError> {
        let text = std::fs::read("/proc/self/cgroup").unwrap_or_default();
        let path = own_group(&text).ok_or(Errno::NOENT).step(|| "find the pod's cgroup2 group".to_owned())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, &path, flags, Mode::empty())
            .step(|| format!("open the pod's group {}", path.display()))?;
        let group = PodGroup { directory };
        group.enable(limits)?;
        Ok(group)
    }

    fn child(&self, name: &str) -> Result<OwnedFd, Failed> {
        match rustix::fs::mkdirat(&self.directory, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).step(|| format!("make the group {name}")),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, name, flags, Mode::empty())
            .step(|| format!("open the group {name}"))
    }

    /// Only what is needed: a controller costs time to enable and to run.
    pub(crate) fn enable<'a>(
        &self,
        limits: impl Iterator<Item = &'a CgroupLimits>,
    ) -> Result<(), CgroupError> {
        let mut needed: Vec<&'static str> = limits.flat_map(CgroupLimits::controllers).collect();
        needed.sort_unstable();
        needed.dedup();
        if needed.is_empty() {
            return Ok(());
        }
        let available = read(self.directory.as_fd(), "cgroup.controllers").unwrap_or_default();
        if let Some(missing) =
            needed.iter().find(|name| !available.split_whitespace().any(|has| has == **name))
        {
            return Err(CgroupError::NoController(missing));
        }
        let own = self.child("supervisor")?;
        write(own.as_fd(), "cgroup.procs", "0").step(|| "move into the group supervisor".to_owned())?;
        for name in needed {
            write(self.directory.as_fd(), "cgroup.subtree_control", &format!("+{name}"))
                .step(|| format!("enable the cgroup controller {name}"))?;
        }
        Ok(())
    }

    /// Removes the group of an app that has ended.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Failed> {
        match rustix::fs::unlinkat(&self.directory, format!("app-{name}"), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).step(|| format!("remove the group of app {name}")),
        }
    }

    /// Makes the group of an app.
    pub(crate) fn app(&self, name: &str, limits: &CgroupLimits) -> Result<AppGroup, CgroupError> {
        let directory = self.child(&format!("app-{name}"))?;
        for (file, value) in limits.settings() {
            write(directory.as_fd(), file, &value).step(|| format!("set {file} of app {name} to {value}"))?;
        }
        let memory = Memory::open(directory.as_fd(), limits.memory_bytes);
        Ok(AppGroup { directory, memory })
    }
}

/// The group of one app.
#[derive(Debug)]
pub(crate) struct AppGroup {
    directory: OwnedFd,
    memory: Option<Memory>,
}

/// What the kernel tells of a group's memory (`memory.events`).
#[derive(Debug)]
struct Memory {
    /// Readable when something has happened.
    changes: OwnedFd,
    limit: Option<u64>,
    /// Processes killed so far for want of memory.
    killed: u64,
}

impl Memory {
    /// `None` for a group without the controller.
    fn open(group: BorrowedFd<'_>, limit: Option<u64>) -> Option<Self> {
        let killed = killed_for_memory(group)?;
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
        let events = format!("{}/{MEMORY_EVENTS}", sys::mount::fd_path(&group));
        inotify::add_watch(&changes, events, inotify::WatchFlags::MODIFY).ok()?;
        Some(Memory { changes, limit, killed })
    }
}

impl AsFd for AppGroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl AppGroup {
    /// What is readable when the kernel has killed a process in it for want of memory, or something else has happened to that.
    pub(crate) fn memory_events(&self) -> Option<BorrowedFd<'_>> {
        self.memory.as_ref().map(|memory| memory.changes.as_fd())
    }

    /// Tells of processes that the kernel has killed for want of memory since it was asked last, as a sentence.
    pub(crate) fn out_of_memory(&mut self) -> Option<String> {
        let memory = self.memory.as_mut()?;
        let mut events = [0_u8; 1024];
        while rustix::io::read(&memory.changes, &mut events).is_ok_and(|length| length > 0) {}
        let killed = killed_for_memory(self.directory.as_fd())?;
        let fresh = killed.saturating_sub(std::mem::replace(&mut memory.killed, killed));
        let processes = if fresh == 1 { "a process".to_owned() } else { format!("{fresh} processes") };
        let limit = memory.limit.map(|limit| format!(", which may use {} KiB", limit >> 10));
        (fresh > 0).then(|| {
            format!(
                "Error: out of memory: the kernel has killed {processes} of the app{}",
                limit.unwrap_or_default()
            )
        })
    }

    /// Whether a process lives in it.
    pub(crate) fn is_populated(&self) -> bool {
        read(self.as_fd(), "cgroup.events")
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    /// Sends a signal to every process in it. One that forks meanwhile may slip through: the kill does not miss it.
    pub(crate) fn signal(&self, signal: Signal) {
        let processes = read(self.as_fd(), "cgroup.procs").unwrap_or_default();
        for pid in processes.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            // It may have ended.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Kills every process in it, all at once.
    pub(crate) fn kill(&self) {
        // Linux 5.14 has cgroup.kill.
        if write(self.as_fd(), "cgroup.kill", "1").is_err() {
            self.signal(Signal::KILL);
        }
    }
}

/// The path of the cgroup2 group in `/proc/self/cgroup`, below the mount.
fn own_group(text: &[u8]) -> Option<PathBuf> {
    let text = std::str::from_utf8(text).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(MOUNT).join(path))
}

fn killed_for_memory(group: BorrowedFd<'_>) -> Option<u64> {
    oom_kills(&read(group, MEMORY_EVENTS).ok()?)
}

/// The number behind `oom_kill` in `memory.events`.
fn oom_kills(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

fn write(directory: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Errno> {
    let file = rustix::fs::openat(directory, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value.as_bytes()).map(|_| ())
}

fn read(directory: BorrowedFd<'_>, file: &str) -> Result<String, Errno> {
    let file = rustix::fs::openat(directory, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match rustix::io::read(&file, &mut chunk)? {
            0 => return String::from_utf8(text).map_err(|_| Errno::ILSEQ),
            length => text.extend(&chunk[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted() {
        let text = "low 0\nhigh 0\nmax 41\noom 2\noom_kill 3\noom_group_kill 1\n";
        assert_eq!((oom_kills(text), oom_kills("low 0\noom 2\n")), (Some(3), None));
    }

    #[test]
    fn own_groups() {
        for (text, wanted) in [
            ("0::/\n", Some("/sys/fs/cgroup")),
            ("0::/a/payload\n", Some("/sys/fs/cgroup/a/payload")),
            ("4:memory:/x\n0::/y\n", Some("/sys/fs/cgroup/y")),
            ("4:memory:/x\n", None),
            ("", None),
        ] {
            let found = own_group(text.as_bytes());
            assert_eq!(found.as_deref(), wanted.map(Path::new), "{text:?}");
        }
    }
}
