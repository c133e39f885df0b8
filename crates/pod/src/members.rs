//! The processes of a pod without a cgroup of its own: one that stays in the group of the service that started it.
//!
//! They share that group with whatever else the service runs. What tells them apart is their mount namespace: the
//! stage1 mounts a tmpfs there that is named after the pod, and there is none of this name anywhere else.

use std::collections::HashSet;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::cgroup::Hierarchy;
use crate::files::component;
use crate::{Error, PodDir, PodUuid, Result};

const PREFIX: &str = "rkt-";

/// The link that names the group, relative to the root of the hierarchy.
pub(crate) const RECORD: &str = "servicecgroup";

/// The source of the tmpfs that a stage1 mounts for `uuid`, as `/proc/PID/mountinfo` shows it.
pub fn mount_source(uuid: PodUuid) -> String {
    format!("{PREFIX}{uuid}")
}

impl PodDir {
    /// The cgroup that the pod shares with others, relative to the root of the hierarchy: that of the service that
    /// started it.
    pub fn service_cgroup(&self) -> Result<Option<String>> {
        let target = match rustix::fs::readlinkat(self, RECORD, Vec::new()) {
            Ok(target) => target,
            // No link: nothing that a stage1 writes.
            Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(Error::io("read link", RECORD, error)),
        };
        let group = target.to_string_lossy().into_owned();
        Ok(group.split('/').all(|name| component(name).is_ok()).then_some(group))
    }

    /// The processes of the pod `uuid` in the group of a service; none when it has its own.
    ///
    /// # Errors
    /// When the group is there and cannot be read.
    pub fn members(&self, uuid: PodUuid) -> Result<Vec<Pid>> {
        let Some(group) = self.service_cgroup()? else { return Ok(Vec::new()) };
        let mut members = Hierarchy::host()
            .processes(&group)
            .map_err(|error| Error::io("read the processes of cgroup", group.as_str(), error))?;
        members.retain(|&pid| is_member(pid, uuid));
        Ok(members)
    }
}

/// Whether `pid` is a process of the pod, wherever it stands.
pub fn is_member(pid: Pid, uuid: PodUuid) -> bool {
    pods_of(pid).contains(&uuid)
}

impl Hierarchy {
    /// The pods that processes in `group`, or below it, belong to.
    pub(crate) fn members_of(&self, group: &str) -> rustix::io::Result<HashSet<PodUuid>> {
        Ok(self.processes(group)?.into_iter().flat_map(pods_of).collect())
    }
}

/// The pods whose mounts a process sees: one, mostly none.
fn pods_of(pid: Pid) -> Vec<PodUuid> {
    let path = format!("/proc/{}/mountinfo", pid.as_raw_nonzero());
    // It has ended since.
    std::fs::read_to_string(Path::new(&path)).map_or_else(|_| Vec::new(), |text| parse_mounts(&text))
}

/// `36 35 98:0 / /mnt rw,noatime master:1 - tmpfs SOURCE rw`: proc(5).
fn parse_mounts(mountinfo: &str) -> Vec<PodUuid> {
    let source = |line: &str| {
        let (_, file_system) = line.split_once(" - ")?;
        let source = file_system.strip_prefix("tmpfs ")?.split(' ').next()?;
        source.strip_prefix(PREFIX)?.parse().ok()
    };
    mountinfo.lines().filter_map(source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "5bd4ed2c-7b84-4de3-b4b1-7f0d8a5d4c11";

    #[test]
    fn the_pod_in_a_list_of_mounts() {
        let uuid: PodUuid = UUID.parse().unwrap();
        for (line, found) in [
            (format!("36 35 0:9 / /tmp rw,nosuid - tmpfs rkt-{UUID} rw,mode=1777"), true),
            (format!("36 35 0:9 / /tmp rw shared:1 master:2 - tmpfs {} rw", mount_source(uuid)), true),
            // Names of directories are the app's to choose.
            (format!("36 35 0:9 /rkt-{UUID} /tmp rw - tmpfs tmpfs rw"), false),
            (format!("36 35 0:9 / /rkt-{UUID} rw - ext4 rkt-{UUID} rw"), false),
            (format!("36 35 0:9 / /tmp rw - tmpfs rkt-{UUID}0 rw"), false),
            (String::new(), false),
        ] {
            assert_eq!(parse_mounts(&line) == [uuid], found, "{line}");
        }
        assert!(!is_member(rustix::process::getpid(), uuid));
    }

    #[test]
    fn the_group_in_the_record() {
        let directory = tempfile::tempdir().unwrap();
        let dir = PodDir::from(sys::path::open_directory(directory.path()).unwrap());
        assert_eq!(dir.service_cgroup().unwrap(), None);
        for (target, group) in [
            ("system.slice/web.service", Some("system.slice/web.service")),
            ("a.slice/../b", None),
            ("/a", None),
            ("..", None),
        ] {
            std::os::unix::fs::symlink(target, directory.path().join(RECORD)).unwrap();
            assert_eq!(dir.service_cgroup().unwrap().as_deref(), group, "{target}");
            std::fs::remove_file(directory.path().join(RECORD)).unwrap();
        }
    }
}
