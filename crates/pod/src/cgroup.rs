//! The cgroup that a stage1 recorded for a pod.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use sys::path::open_beneath;

use crate::{PodUuid, Teardown};

/// Deeper groups are nobody's.
const DEPTH_MAX: usize = 32;

/// Where cgroup2 is mounted, opened on first use.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    path: PathBuf,
    root: OnceLock<rustix::io::Result<OwnedFd>>,
}

/// Whether `group` is named after the pod, with the dashes of its name as they are or escaped as in the name
/// of a unit.
pub(crate) fn names_pod(group: &str, uuid: PodUuid) -> bool {
    group.contains(uuid.as_str()) || group.contains(&uuid.as_str().replace('-', "\\x2d"))
}

impl Hierarchy {
    /// That of the host: the usual place, or the one beside the version 1 hierarchies.
    pub(crate) fn host() -> Self {
        Self { path: PathBuf::from("/sys/fs/cgroup"), root: OnceLock::new() }
    }

    #[cfg(test)]
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), root: OnceLock::new() }
    }

    fn root(&self) -> rustix::io::Result<BorrowedFd<'_>> {
        let root = self.root.get_or_init(|| {
            sys::path::open_directory(&self.path.join("unified"))
                .or_else(|_| sys::path::open_directory(&self.path))
        });
        root.as_ref().map(AsFd::as_fd).map_err(|error| *error)
    }

    fn open(&self, group: &str) -> rustix::io::Result<OwnedFd> {
        let root = self.root()?;
        open_beneath(root, Path::new(group), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// Whether a process is in `group` or below it. A group that cannot be asked counts as populated: a pod is
    /// rather kept than deleted while it runs.
    pub(crate) fn is_populated(&self, group: &str) -> bool {
        match self.open(group).and_then(|directory| read_populated(directory.as_fd())) {
            Ok(populated) => populated,
            // No such group, or it is just being removed.
            Err(Errno::NOENT | Errno::NODEV) => false,
            Err(_) => true,
        }
    }

    /// The processes in `group` and in the groups below it; none when there is no such group.
    pub(crate) fn processes(&self, group: &str) -> rustix::io::Result<Vec<Pid>> {
        let mut processes = Vec::new();
        match self.open(group).and_then(|top| read_processes(top.as_fd(), 0, &mut processes)) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(processes),
            Err(error) => Err(error),
        }
    }

    /// The pods that a group is named after, anywhere in the hierarchy; `None` when that is more work than asking
    /// for a few groups: when there are more than `limit` groups.
    pub(crate) fn survey(&self, limit: usize) -> Option<HashSet<PodUuid>> {
        let mut survey = Survey { named: HashSet::new(), left: limit };
        let root = self.root().ok()?;
        survey.read(root, 0)?;
        Some(survey.named)
    }

    /// Removes `group` and the groups below it, when no process is in any of them.
    pub(crate) fn remove(&self, group: &str) -> Result<(), Teardown> {
        let mut failed = Teardown::default();
        let top = match self.open(group) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(error) => {
                failed.note(format!("open cgroup {group}"), error);
                return Err(failed);
            }
        };
        match read_populated(top.as_fd()) {
            Ok(false) => {}
            Ok(true) => {
                failed.note(format!("remove cgroup {group}"), Errno::BUSY);
                return Err(failed);
            }
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(error) => {
                failed.note(format!("read cgroup.events of {group}"), error);
                return Err(failed);
            }
        }
        remove_below(top.as_fd(), group, &mut failed);
        if let Some((parent, name)) = group.rsplit_once('/')
            && let Ok(parent) = self.open(parent)
        {
            remove_one(parent.as_fd(), name, group, &mut failed);
        }
        failed.into_result()
    }
}

/// A walk through the hierarchy.
struct Survey {
    named: HashSet<PodUuid>,
    left: usize,
}

impl Survey {
    /// Reads the groups in `directory`; `None` when there are too many, or one cannot be read.
    fn read(&mut self, directory: BorrowedFd<'_>, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for entry in Dir::read_from(directory).ok()? {
            let entry = entry.ok()?;
            let name = entry.file_name();
            if entry.file_type() != FileType::Directory || matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.left = self.left.checked_sub(1)?;
            if let Some(uuid) = pod_in_name(name.to_bytes()) {
                // What is below is the pod's.
                self.named.insert(uuid);
                continue;
            }
            let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(_) => return None,
            };
            // Each group has a link from each group in it.
            if stat.st_nlink == 2 {
                continue;
            }
            match rustix::fs::openat(directory, name, flags, Mode::empty()) {
                Ok(below) => self.read(below.as_fd(), depth + 1)?,
                Err(Errno::NOENT | Errno::NODEV) => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}

/// The pod that a group called `name` is named after.
fn pod_in_name(name: &[u8]) -> Option<PodUuid> {
    let name = std::str::from_utf8(name).ok()?.replace("\\x2d", "-");
    let ends = (PodUuid::LENGTH..=name.len()).filter_map(|end| name.get(end - PodUuid::LENGTH..end));
    ends.filter(|part| part.as_bytes()[8] == b'-').find_map(|part| part.parse().ok())
}

/// `populated` of `cgroup.events`, which counts the groups below as well.
fn read_populated(group: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(group, "cgroup.events", flags, Mode::empty())?;
    let mut buffer = [0; 256];
    let length = rustix::io::read(&file, &mut buffer)?;
    Ok(parse_populated(&buffer[..length]))
}

fn read_processes(group: BorrowedFd<'_>, depth: usize, found: &mut Vec<Pid>) -> rustix::io::Result<()> {
    if depth > DEPTH_MAX {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let list = rustix::fs::openat(group, "cgroup.procs", flags, Mode::empty())?;
    let list = std::io::read_to_string(std::fs::File::from(list))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    found.extend(list.lines().filter_map(crate::process::parse_pid));
    for entry in Dir::read_from(group)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        match rustix::fs::openat(group, name, flags, Mode::empty())
            .and_then(|below| read_processes(below.as_fd(), depth + 1, found))
        {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn parse_populated(events: &[u8]) -> bool {
    events.split(|&byte| byte == b'\n').any(|line| line == b"populated 1")
}

fn remove_below(directory: BorrowedFd<'_>, path: &str, failed: &mut Teardown) {
    let entries = match Dir::read_from(directory) {
        Ok(entries) => entries,
        Err(error) => return failed.note(format!("read cgroup {path}"), error),
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let below = format!("{path}/{}", name.to_string_lossy());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(child) = rustix::fs::openat(directory, name, flags, Mode::empty()) {
            remove_below(child.as_fd(), &below, failed);
        }
        remove_one(directory, name, &below, failed);
    }
}

fn remove_one(parent: BorrowedFd<'_>, name: impl rustix::path::Arg, path: &str, failed: &mut Teardown) {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        // systemd removes the groups of its scopes too.
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => failed.note(format!("remove cgroup {path}"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn populated_is_a_whole_line() {
        for (events, populated) in [
            ("populated 1\nfrozen 0\n", true),
            ("populated 0\nfrozen 1\n", false),
            ("frozen 0\npopulated 1", true),
            ("unpopulated 1\n", false),
            ("", false),
        ] {
            assert_eq!(parse_populated(events.as_bytes()), populated, "{events:?}");
        }
    }

    #[test]
    fn shared_groups_say_nothing() {
        let uuid: PodUuid = "5bd4ed2c-7b84-4de3-b4b1-7f0d8a5d4c11".parse().unwrap();
        for (group, own) in [
            ("system.slice/web.service/pod-5bd4ed2c-7b84-4de3-b4b1-7f0d8a5d4c11", true),
            (
                r"machine.slice/machine-rkt\x2d5bd4ed2c\x2d7b84\x2d4de3\x2db4b1\x2d7f0d8a5d4c11.scope/payload",
                true,
            ),
            ("system.slice/web.service", false),
            ("system.slice/web.service/pod-5bd4ed2c", false),
        ] {
            assert_eq!(names_pod(group, uuid), own, "{group}");
        }
    }

    #[test]
    fn surveys_the_names_of_groups() {
        let (a, b) = ("5bd4ed2c-7b84-4de3-b4b1-7f0d8a5d4c11", "00000000-0000-4000-8000-000000000002");
        let root = tempfile::tempdir().unwrap();
        for group in [
            format!("system.slice/web.service/pod-{a}/app-x"),
            format!("machine.slice/machine-rkt\\x2d{}.scope", b.replace('-', "\\x2d")),
            "system.slice/other.service".to_owned(),
        ] {
            std::fs::create_dir_all(root.path().join(group)).unwrap();
        }
        let hierarchy = Hierarchy::at(root.path());
        let named = hierarchy.survey(6).unwrap();
        assert_eq!(named, [a, b].map(|uuid| uuid.parse().unwrap()).into());
        assert_eq!(hierarchy.survey(5), None);
        assert_eq!(Hierarchy::at(&root.path().join("none")).survey(5), None);
        for name in ["pod-", "x", "user@1000.service", "machine-rkt\\x2d5bd4ed2c.scope", "é-5bd4ed2c-7b84"] {
            assert_eq!(pod_in_name(name.as_bytes()), None, "{name}");
        }
    }

    // A directory stands in for cgroupfs, whose files cannot be deleted and go with their directory.
    #[test]
    fn asks_and_removes() {
        let root = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy::at(root.path());
        assert!(!hierarchy.is_populated("a/pod"));
        hierarchy.remove("a/pod").unwrap();
        let group = root.path().join("a/pod");
        std::fs::create_dir_all(&group).unwrap();
        assert!(!hierarchy.is_populated("a/pod"));
        std::fs::write(group.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        assert!(hierarchy.is_populated("a/pod"));
        assert!(hierarchy.remove("a/pod").is_err());
        assert!(!hierarchy.is_populated("a/pod/../../b"), "no such group");
    }
}
