//! The processes of a pod that runs, and what is left of them when it does not.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use pod::members::is_member;
use pod::{PidFile, PodDir, PodUuid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use systemd::cgroup::{Group, Hierarchy, is_gone};

use crate::error::Context;
use crate::{Error, Result};

/// A process of the pod, held so that its number cannot become another's.
#[derive(Debug)]
pub struct Member {
    /// Its number.
    pub pid: Pid,
    /// Its handle.
    pub pidfd: OwnedFd,
}

impl Member {
    /// Holds process `pid`, after making sure that it is one of the pod's: it stands in the pod's control group, it took
    /// the pod's lock, or it is a member of a pod that shares the group of its service.
    ///
    /// # Errors
    /// When it is gone or a stranger.
    pub fn open(dir: &PodDir, uuid: PodUuid, pid: Pid) -> Result<Self> {
        let number = pid.as_raw_nonzero();
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Err(gone(pid)),
            opened => opened.step(|| format!("hold process {number}"))?,
        };
        let belongs = in_group(dir, number.get())? || holds_lock(dir, number.get())? || is_member(pid, uuid);
        let member = Member { pid, pidfd };
        // What was read under its number was about it only if it still lives.
        member.check_alive()?;
        if !belongs {
            return Err(Error::Refused(format!(
                "Process {number} is not one of the pod's: the pod has ended, and another process got its number"
            )));
        }
        Ok(member)
    }

    /// The process that the stage1 recorded.
    ///
    /// # Errors
    /// As [`Member::open`]; when none is recorded.
    pub fn recorded(dir: &PodDir, uuid: PodUuid) -> Result<Self> {
        match dir.pid_file()? {
            Some(PidFile::Itself(pid) | PidFile::Parent(pid)) => Member::open(dir, uuid, pid),
            None => Err(Error::Refused("The pod has not started yet, or its start failed".to_owned())),
        }
    }

    /// Sends it a signal. One that has ended needs none.
    pub fn signal(&self, number: i32) -> Result<()> {
        match sys::signal::send(self.pidfd.as_fd(), number) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => {
                Err(error).step(|| format!("send a signal to process {}", self.pid.as_raw_nonzero()))
            }
        }
    }

    /// Makes sure that it still lives: what was learned by its number before was about it.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check_alive(&self) -> Result<()> {
        if self.wait(Duration::ZERO)? { Err(gone(self.pid)) } else { Ok(()) }
    }

    /// Waits for its end, as long as `limit`; whether it came.
    pub fn wait(&self, limit: Duration) -> Result<bool> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = rustix::event::Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            let mut fds = [PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Err(Errno::INTR) => {}
                ended => return Ok(ended.step(|| "wait for a process".to_owned())? > 0),
            }
        }
    }
}

fn gone(pid: Pid) -> Error {
    Error::Refused(format!("Process {} of the pod is gone: the pod has ended", pid.as_raw_nonzero()))
}

fn in_group(dir: &PodDir, pid: i32) -> Result<bool> {
    let Some(pod) = dir.subcgroup()? else {
        return Ok(false);
    };
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    Ok(systemd::unit::parse(&text).is_some_and(|standing| is_within(&standing.group, &pod)))
}

fn is_within(group: &str, pod: &str) -> bool {
    group.strip_prefix(pod).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the kernel's list of locks names the process for the pod's directory or its `run.lck`.
fn holds_lock(dir: &PodDir, pid: i32) -> Result<bool> {
    let Ok(locks) = std::fs::read_to_string("/proc/locks") else {
        return Ok(false);
    };
    let inode = |path: &str| {
        rustix::fs::statat(dir, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_ino)
    };
    Ok([inode("."), inode("run.lck")].into_iter().flatten().any(|inode| has_lock(&locks, pid, inode)))
}

/// `1: FLOCK  ADVISORY  WRITE 4711 fe:00:12345 0 EOF`
fn has_lock(locks: &str, pid: i32, inode: u64) -> bool {
    locks.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        matches!(fields.as_slice(), [_, "FLOCK", _, "WRITE", owner, file, ..]
            if owner.parse() == Ok(pid) && file.rsplit(':').next().and_then(|text| text.parse().ok()) == Some(inode))
    })
}

/// The pod's control group, while there is one.
pub fn group(dir: &PodDir) -> Result<Option<Group>> {
    let Some(path) = dir.subcgroup()? else {
        return Ok(None);
    };
    open_group(&path)
}

fn open_group(path: &str) -> Result<Option<Group>> {
    match Hierarchy::open().and_then(|hierarchy| hierarchy.group(path)) {
        Ok(group) => Ok(Some(group)),
        Err(systemd::Error::NoUnifiedCgroups) => Ok(None),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The control group that the pod's apps stand in, while there is one: its own, or that of its service.
pub fn standing(dir: &PodDir) -> Result<Option<Group>> {
    match (group(dir)?, dir.service_cgroup()?) {
        (None, Some(path)) => open_group(&path),
        (own, _) => Ok(own),
    }
}

/// How long [`kill`] waits for the end of what it killed.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How often [`kill`] looks for what was forked while it killed.
const KILL_ROUNDS: u32 = 100;

/// Kills everything in the pod's control group, or what is the pod's in that of its service. `false` when it has
/// neither.
///
/// # Errors
/// When something is left that forks faster than it can be killed.
pub fn kill(dir: &PodDir, uuid: PodUuid) -> Result<bool> {
    if let Some(group) = group(dir)? {
        match group.kill() {
            // systemd removes it with the unit whose main process has just been killed.
            Err(error) if is_gone(&error) => return Ok(true),
            killed => killed?,
        }
        // A process that the kernel is busy with ends when that is done.
        group.wait_until_empty(KILL_LIMIT)?;
        return Ok(true);
    }
    if dir.service_cgroup()?.is_none() {
        return Ok(false);
    }
    for _ in 0..KILL_ROUNDS {
        let members = dir.members(uuid)?;
        if members.is_empty() {
            return Ok(true);
        }
        let mut killed = Vec::new();
        for pid in members {
            // What has ended since needs no more.
            if let Ok(member) = Member::open(dir, uuid, pid) {
                member.signal(Signal::KILL.as_raw())?;
                killed.push(member);
            }
        }
        for member in killed {
            member.wait(Duration::from_secs(1))?;
        }
    }
    Err(Error::Refused(format!(
        "Pod {uuid} makes processes faster than they can be killed; stop its unit (systemctl stop), which ends all at once"
    )))
}

/// Removes what an ended pod left of control groups and scopes: nothing, mostly, for systemd does that when a unit
/// ends. What remains is the group of a pod whose service goes on, and a scope that nobody came to stand in.
///
/// # Errors
/// When a process of the pod is still there.
pub fn clean_up(dir: &PodDir, uuid: PodUuid) -> Result<()> {
    if let Some(group) = group(dir)? {
        // The name says that it is ours to remove: the file is in a directory that others may write to.
        let name = group.path().rsplit('/').next().unwrap_or_default();
        if name == format!("pod-{uuid}") {
            refuse_populated(&group, uuid)?;
            group.remove()?;
        }
    }
    let scope = systemd::unit::pod_scope(uuid.as_str());
    if let Some(group) = open_group(&format!("machine.slice/{scope}"))? {
        refuse_populated(&group, uuid)?;
        systemd::scope::stop(&scope)?;
    }
    Ok(())
}

fn refuse_populated(group: &Group, uuid: PodUuid) -> Result<()> {
    match group.is_populated() {
        Ok(true) => Err(Error::Refused(format!(
            "Pod {uuid} still has processes in the control group /{}; stop them first (rkt stop --force {uuid})",
            group.path()
        ))),
        Ok(false) => Ok(()),
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_a_group_means_below_its_name() {
        for (group, pod, within) in [
            ("a.service/pod-1", "a.service/pod-1", true),
            ("a.service/pod-1/payload", "a.service/pod-1", true),
            ("a.service/pod-12", "a.service/pod-1", false),
            ("a.service", "a.service/pod-1", false),
        ] {
            assert_eq!(is_within(group, pod), within, "{group} {pod}");
        }
    }

    #[test]
    fn finds_a_lock_in_the_list() {
        let locks = "1: POSIX  ADVISORY  WRITE 4711 fe:00:12345 0 EOF\n2: FLOCK  ADVISORY  READ  4711 fe:00:12345 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 4712 fe:00:12345 0 EOF\n3: -> FLOCK  ADVISORY  WRITE 9 fe:00:12345 0 EOF\n";
        for (pid, inode, found) in
            [(4712, 12345, true), (4711, 12345, false), (4712, 2345, false), (9, 12345, false)]
        {
            assert_eq!(has_lock(locks, pid, inode), found, "{pid} {inode}");
        }
    }

    #[test]
    fn a_process_that_is_not_the_pods_is_a_stranger() {
        let pod = tempfile::tempdir().unwrap();
        let dir = PodDir::from(sys::path::open_directory(pod.path()).unwrap());
        let uuid = "5bd4ed2c-7b84-4de3-b4b1-7f0d8a5d4c11".parse().unwrap();
        let error = Member::open(&dir, uuid, rustix::process::getpid()).unwrap_err().to_string();
        assert!(error.contains("not one of the pod's"), "{error}");
        assert!(Member::recorded(&dir, uuid).unwrap_err().to_string().contains("not started yet"));
        assert!(!kill(&dir, uuid).unwrap());
    }
}
