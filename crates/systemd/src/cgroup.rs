//! Control groups (cgroup2), by handle.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::{Error, Result};

/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const MAGIC: i64 = 0x6367_7270;

/// How long [`Group::wait_until_empty`] relies on being told.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The unified hierarchy of this host.
#[derive(Debug)]
pub struct Hierarchy {
    root: OwnedFd,
}

impl Hierarchy {
    /// Finds it: on `/sys/fs/cgroup`, or on `/sys/fs/cgroup/unified` where the old ones are mounted too.
    ///
    /// # Errors
    /// [`Error::NoUnifiedCgroups`].
    pub fn open() -> Result<Self> {
        for place in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            let Ok(root) = rustix::fs::open(place, DIRECTORY, Mode::empty()) else {
                continue;
            };
            if rustix::fs::fstatfs(&root).is_ok_and(|stat| i128::from(stat.f_type) == i128::from(MAGIC)) {
                return Ok(Hierarchy { root });
            }
        }
        Err(Error::NoUnifiedCgroups)
    }

    /// Opens the group at `path`, relative to the root.
    ///
    /// # Errors
    /// [`Error::Io`]; [`is_gone`] tells whether there is no such group.
    pub fn group(&self, path: &str) -> Result<Group> {
        Group::open_at(self.root.as_fd(), Path::new(path), path.trim_matches('/').to_owned())
    }
}

/// Whether an error says that the group is not there (any more).
pub fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. }
        if matches!(Errno::from_io_error(source), Some(Errno::NOENT | Errno::NODEV)))
}

/// One group.
#[derive(Debug)]
pub struct Group {
    path: String,
    directory: OwnedFd,
}

impl Group {
    fn open_at(at: BorrowedFd<'_>, relative: &Path, path: String) -> Result<Self> {
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        match sys::path::open_beneath(at, relative, DIRECTORY, Mode::empty()) {
            Ok(directory) => Ok(Group { path, directory }),
            Err(error) => Err(Error::io("open", named(&path), error)),
        }
    }

    /// Its path relative to the root of the hierarchy, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its directory: what `clone3` takes to have a child born in it.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Makes the group `name` below this one, or opens it where it exists.
    pub fn create(&self, name: &str) -> Result<Group> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) };
        match rustix::fs::mkdirat(&self.directory, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Error::io("create", named(&path), error)),
        }
        Group::open_at(self.directory.as_fd(), Path::new(name), path)
    }

    /// Moves this process in.
    pub fn enter(&self) -> Result<()> {
        self.write("cgroup.procs", "0")
    }

    /// Has the kernel begin what moves between groups wait for, a grace period of RCU (4 to 20 ms), and goes on. A move that comes within
    /// the next 20 ms or so waits for the rest of it only, or not at all; should this fail, it waits as ever. `self` is the group where
    /// this process stands.
    ///
    /// Until then the kernel holds its lock of all groups: making a group waits, and before Linux 6.8 reading `/proc/PID/cgroup` does.
    pub fn begin_grace_period(&self) {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let Ok(list) = rustix::fs::openat(&self.directory, "cgroup.procs", flags, Mode::empty()) else {
            return;
        };
        // A process that moves to where it is.
        let _ = sys::process::run_apart(list.as_fd(), |list| {
            let _ = rustix::io::write(list, b"0");
        });
    }

    /// Whether systemd has handed this group to the unit's own care (`Delegate=yes`): it marks it with an
    /// extended attribute.
    pub fn is_delegated(&self) -> bool {
        ["trusted.delegate", "user.delegate"].into_iter().any(|name| {
            let mut value = [0_u8; 8];
            rustix::fs::fgetxattr(&self.directory, name, &mut value)
                .is_ok_and(|length| value.get(..length) == Some(b"1"))
        })
    }

    /// The controllers that its own limits can use.
    pub fn controllers(&self) -> Result<Vec<String>> {
        Ok(words(&self.read("cgroup.controllers")?))
    }

    /// Gives every controller that this group has to the groups below it, and returns those that they have then.
    ///
    /// # Errors
    /// `EBUSY` when a process stands in this very group.
    pub fn enable_controllers(&self) -> Result<Vec<String>> {
        let file = "cgroup.subtree_control";
        let mut enabled = words(&self.read(file)?);
        let missing: Vec<String> =
            self.controllers()?.into_iter().filter(|name| !enabled.contains(name)).collect();
        if missing.is_empty() {
            return Ok(enabled);
        }
        let all: Vec<String> = missing.iter().map(|name| format!("+{name}")).collect();
        if self.write(file, &all.join(" ")).is_ok() {
            enabled.extend(missing);
            return Ok(enabled);
        }
        // One that cannot be had (cpu, with real-time processes about) must not cost us the others.
        let mut last = None;
        for name in missing {
            match self.write(file, &format!("+{name}")) {
                Ok(()) => enabled.push(name),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) if enabled.is_empty() => Err(error),
            _ => Ok(enabled),
        }
    }

    /// Whether a process stands in it or anywhere below.
    pub fn is_populated(&self) -> Result<bool> {
        Ok(self.read("cgroup.events")?.lines().any(|line| line == "populated 1"))
    }

    /// Kills every process in it and below, with no way for them to escape by forking.
    pub fn kill(&self) -> Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// Waits, as long as `limit`, until no process stands in it or below; whether that came.
    pub fn wait_until_empty(&self, limit: Duration) -> Result<bool> {
        let fault = |error| Error::io("wait for the end of", named(&self.path), error);
        let end = Instant::now() + limit;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let events = match rustix::fs::openat(&self.directory, "cgroup.events", flags, Mode::empty()) {
            // systemd removes a scope as soon as it is empty.
            Err(Errno::NOENT | Errno::NODEV) => return Ok(true),
            opened => opened.map_err(fault)?,
        };
        loop {
            match self.is_populated() {
                Ok(true) => {}
                Err(error) if !is_gone(&error) => return Err(error),
                Ok(false) | Err(_) => return Ok(true),
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // The file says when it changes (cgroups(7)); what changed before it was first read is not told.
            let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(left.min(LOOK_AGAIN).subsec_nanos()) };
            match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&pause)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(fault(error)),
            }
        }
    }

    /// The processes that stand in this very group.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        let text = self.read("cgroup.procs")?;
        Ok(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect())
    }

    /// Removes it and all groups below. None of them may have a process.
    pub fn remove(self) -> Result<()> {
        let Some((parent, name)) = (match self.path.rsplit_once('/') {
            Some((_, name)) => Some(("..", name)),
            None if self.path.is_empty() => None,
            None => Some(("..", self.path.as_str())),
        }) else {
            return Err(Error::io("remove", named(&self.path), Errno::BUSY));
        };
        self.remove_below()?;
        let parent = rustix::fs::openat(&self.directory, parent, DIRECTORY, Mode::empty())
            .map_err(|error| Error::io("open", named(&self.path), error))?;
        remove_directory(parent.as_fd(), name, &self.path)
    }

    fn remove_below(&self) -> Result<()> {
        let entries = rustix::fs::Dir::read_from(&self.directory)
            .map_err(|error| Error::io("list", named(&self.path), error))?;
        for entry in entries {
            let entry = entry.map_err(|error| Error::io("list", named(&self.path), error))?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if entry.file_type() != rustix::fs::FileType::Directory || name == "." || name == ".." {
                continue;
            }
            let path = format!("{}/{name}", self.path);
            match Group::open_at(self.directory.as_fd(), Path::new(name), path.clone()) {
                Ok(below) => below.remove_below()?,
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(error),
            }
            remove_directory(self.directory.as_fd(), name, &path)?;
        }
        Ok(())
    }

    /// Sets one of its files, `memory.max` say.
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        let fault = |error| Error::io("write", format!("{file} of {}", named(&self.path)), error);
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.directory, file, flags, Mode::empty()).map_err(fault)?;
        rustix::io::write(&opened, value.as_bytes()).map_err(fault)?;
        Ok(())
    }

    /// Reads one of its files.
    pub fn read(&self, file: &str) -> Result<String> {
        let fault =
            |error: std::io::Error| Error::io("read", format!("{file} of {}", named(&self.path)), error);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.directory, file, flags, Mode::empty())
            .map_err(|error| fault(error.into()))?;
        std::io::read_to_string(std::fs::File::from(opened)).map_err(fault)
    }
}

fn remove_directory(at: BorrowedFd<'_>, name: &str, path: &str) -> Result<()> {
    match rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(Error::io("remove", named(path), error)),
    }
}

fn named(path: &str) -> String {
    format!("cgroup \"/{path}\"")
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
