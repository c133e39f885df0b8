//! Kernel parameters of a pod: the isolator `os/unix/sysctl`, as far as they belong to the pod's own namespaces.

use std::collections::BTreeMap;
use std::path::Path;

use appc::Isolator;

use crate::args::{Ipc, Network, Run};
use crate::{Context, Error, Pod, Result};

/// Those of the IPC namespace, and what others of it begin with; see ipc_namespaces(7).
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
const QUEUES: &str = "fs.mqueue.";
/// What those of the network namespace begin with.
const NETWORK: &str = "net.";

/// Values of kernel parameters, by name.
pub type Parameters = BTreeMap<String, String>;

/// What the pod's manifest asks for.
#[derive(Debug, Default)]
pub struct Sysctls {
    /// Of the pod's network.
    pub network: Parameters,
    /// Of its IPC.
    pub ipc: Parameters,
}

impl Sysctls {
    /// All of them, for a supervisor that may set them.
    pub fn all(self) -> Parameters {
        self.network.into_iter().chain(self.ipc).collect()
    }
}

/// The parameters that the pod's manifest asks for.
///
/// # Errors
/// For one that would change more than the pod.
pub fn of(pod: &Pod, run: &Run) -> Result<Sysctls> {
    let mut all = Sysctls::default();
    for isolator in pod.manifest.isolators.iter() {
        let Isolator::Sysctl(parameters) = isolator else { continue };
        for (name, value) in parameters {
            check(name, run.network == Network::Host, run.ipc == Ipc::Parent)?;
            let of_kind = if name.starts_with(NETWORK) { &mut all.network } else { &mut all.ipc };
            of_kind.insert(name.clone(), value.clone());
        }
    }
    Ok(all)
}

/// Sets parameters of the network namespace that this process is in. One that was made outside of the pod's user namespace
/// takes them from nobody within.
///
/// # Errors
/// When the kernel does not have a parameter, or does not take its value.
pub fn set_network(parameters: &Parameters) -> Result<()> {
    for (name, value) in parameters {
        std::fs::write(Path::new("/proc/sys").join(name.replace('.', "/")), value)
            .step(|| format!("set the kernel parameter {name} to {value:?}"))?;
    }
    Ok(())
}

fn check(name: &str, network_is_shared: bool, ipc_is_shared: bool) -> Result<()> {
    let refuse = |why: &str| {
        Err(Error::Refused(format!("The pod has the isolator \"os/unix/sysctl\" with {name:?}, {why}")))
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.split('.').all(|part| !part.is_empty() && part.bytes().all(plain)) {
        return refuse("which is not the name of a kernel parameter (such as net.core.somaxconn)");
    }
    if name.starts_with(NETWORK) {
        if network_is_shared {
            return refuse(
                "which would change the host's network: give the pod one of its own, or set it on the host",
            );
        }
    } else if IPC.contains(&name) || name.starts_with(QUEUES) {
        if ipc_is_shared {
            return refuse(
                "which would change the host's IPC: leave --ipc=parent out, or set it on the host",
            );
        }
    } else {
        return refuse("which belongs to the whole host: set it there (sysctl.d)");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_pods_own() {
        for (name, network, ipc, fits) in [
            ("net.core.somaxconn", false, true, true),
            ("net.core.somaxconn", true, false, false),
            ("kernel.shmmax", true, false, true),
            ("kernel.shmmax", false, true, false),
            ("fs.mqueue.msg_max", true, false, true),
            ("kernel.pid_max", false, false, false),
            ("vm.swappiness", false, false, false),
            ("net..x", false, false, false),
            ("net.../../../x", false, false, false),
            ("net/ipv4/x", false, false, false),
            ("", false, false, false),
        ] {
            assert_eq!(check(name, network, ipc).is_ok(), fits, "{name} {network} {ipc}");
        }
    }
}
