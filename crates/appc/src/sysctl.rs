//! Kernel parameters, by what they belong to.

/// What a kernel parameter belongs to: each namespace of its kind has one of its own, or there is one for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sysctl {
    /// A network namespace.
    Network,
    /// A namespace of System V IPC and POSIX message queues; see ipc_namespaces(7).
    Ipc,
    /// The whole host.
    Host,
}

/// A text is not the name of a kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a kernel parameter (such as net.core.somaxconn)")]
pub struct SysctlNameError(pub String);

/// Those of an IPC namespace.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];
/// What others of an IPC namespace begin with.
const QUEUES: &str = "fs.mqueue.";
/// What those of a network namespace begin with.
const NETWORK: &str = "net.";

impl Sysctl {
    /// What the parameter `name` belongs to.
    ///
    /// # Errors
    /// When it is no name with dots between its parts.
    pub fn owner(name: &str) -> Result<Self, SysctlNameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !name.split('.').all(|part| !part.is_empty() && part.bytes().all(plain)) {
            return Err(SysctlNameError(name.to_owned()));
        }
        Ok(if name.starts_with(NETWORK) {
            Self::Network
        } else if IPC.contains(&name) || name.starts_with(QUEUES) {
            Self::Ipc
        } else {
            Self::Host
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners() {
        for (name, owner) in [
            ("net.core.somaxconn", Some(Sysctl::Network)),
            ("kernel.shmmax", Some(Sysctl::Ipc)),
            ("fs.mqueue.msg_max", Some(Sysctl::Ipc)),
            ("kernel.pid_max", Some(Sysctl::Host)),
            ("vm.swappiness", Some(Sysctl::Host)),
            ("net..x", None),
            ("net.../../../x", None),
            ("net/ipv4/x", None),
            ("", None),
        ] {
            assert_eq!(Sysctl::owner(name).ok(), owner, "{name}");
        }
    }
}
