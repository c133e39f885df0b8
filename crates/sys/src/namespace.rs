//! Leaving and joining namespaces; see namespaces(7).

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::Result;
use crate::mount::{Propagation, set_propagation_everywhere};
use crate::process::{CloneOptions, Fork, clone3, exit_now};

/// A kind of namespace, named as its file in `/proc/PID/ns` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Control groups.
    Cgroup,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Mounts.
    Mount,
    /// Network.
    Network,
    /// Process ids, of children to come.
    Pid,
    /// Users and groups.
    User,
    /// Host name.
    Uts,
}

impl Kind {
    /// The name of the file in `/proc/PID/ns`.
    pub fn file_name(self) -> &'static str {
        match self {
            Kind::Cgroup => "cgroup",
            Kind::Ipc => "ipc",
            Kind::Mount => "mnt",
            Kind::Network => "net",
            Kind::Pid => "pid",
            Kind::User => "user",
            Kind::Uts => "uts",
        }
    }

    fn link_type(self) -> LinkNameSpaceType {
        match self {
            Kind::Cgroup => LinkNameSpaceType::ControlGroup,
            Kind::Ipc => LinkNameSpaceType::InterProcessCommunication,
            Kind::Mount => LinkNameSpaceType::Mount,
            Kind::Network => LinkNameSpaceType::Network,
            Kind::Pid => LinkNameSpaceType::ProcessID,
            Kind::User => LinkNameSpaceType::User,
            Kind::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
        }
    }

    fn unshare_flag(self) -> UnshareFlags {
        match self {
            Kind::Cgroup => UnshareFlags::NEWCGROUP,
            Kind::Ipc => UnshareFlags::NEWIPC,
            Kind::Mount => UnshareFlags::NEWNS,
            Kind::Network => UnshareFlags::NEWNET,
            Kind::Pid => UnshareFlags::NEWPID,
            Kind::User => UnshareFlags::NEWUSER,
            Kind::Uts => UnshareFlags::NEWUTS,
        }
    }
}

/// Opens the namespace of `kind` that process `pid` (or this one) is in. The handle keeps it alive.
pub fn open(pid: Option<rustix::process::Pid>, kind: Kind) -> Result<OwnedFd> {
    let owner = pid.map_or_else(|| "self".to_owned(), |pid| pid.as_raw_nonzero().to_string());
    let path = format!("/proc/{owner}/ns/{}", kind.file_name());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Joins `namespace`, which must be of `kind`.
///
/// # Errors
/// `EINVAL` for another kind, and for a mount or user namespace when the process has threads.
pub fn join(namespace: BorrowedFd<'_>, kind: Kind) -> Result<()> {
    rustix::thread::move_into_link_name_space(namespace, Some(kind.link_type()))
}

/// A user namespace in which the ids from `inside` on are those of this one from `outside` on, `count` of them. No process is in it.
/// A mount that is mapped by it ([`crate::mount::map_owners`]) shows owner `inside` on the disk as `outside`.
///
/// # Errors
/// `EDEADLK` when the process has threads; `EPERM` without `CAP_SETUID` and `CAP_SETGID`; `ENOSPC` and `EINVAL` where there can be
/// no more of them.
pub fn users(inside: u32, outside: u32, count: u32) -> Result<OwnedFd> {
    // Somebody must be in it until it is open.
    let (gate, key) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let options = CloneOptions { new_users: true, ..CloneOptions::default() };
    let child = match clone3(options)? {
        Fork::Parent(child) => child,
        Fork::Child => {
            drop(key);
            let _ = rustix::io::read(&gate, &mut [0; 1]);
            exit_now(0)
        }
    };
    let open = || -> Result<OwnedFd> {
        let map = format!("{inside} {outside} {count}");
        for file in ["uid_map", "gid_map"] {
            let path = format!("/proc/{}/{file}", child.pid.as_raw_nonzero());
            let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(&file, map.as_bytes())?;
        }
        open(Some(child.pid), Kind::User)
    };
    let namespace = open();
    drop(key);
    child.wait()?;
    namespace
}

/// Leaves the namespaces of `kinds` for new ones.
///
/// # Errors
/// `EINVAL` for a user namespace when the process has threads; `EPERM` without `CAP_SYS_ADMIN`.
pub fn leave(kinds: &[Kind]) -> Result<()> {
    let flags = kinds.iter().fold(UnshareFlags::empty(), |flags, kind| flags | kind.unshare_flag());
    // SAFETY: rustix marks unshare unsafe because FILES would split the descriptor table between threads
    // and break what OwnedFd promises. No `Kind` maps to FILES.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// A mount namespace of our own, into which mounts of the host still come and out of which none goes.
pub fn private_mounts() -> Result<()> {
    leave(&[Kind::Mount])?;
    set_propagation_everywhere(Propagation::Slave)
}
