//! Kernel parameters of a pod: the isolator `os/unix/sysctl`, as far as they belong to the pod's own namespaces.

use std::collections::BTreeMap;
use std::path::Path;

use appc::Isolator;
use appc::sysctl::Sysctl;

use crate::args::{Ipc, Network, Run};
use crate::{Context, Error, Pod, Result};

/// The one that names groups: those of whoever writes it.
const GROUPS: &str = "net.ipv4.ping_group_range";

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
            let is_of_network = Sysctl::owner(name) == Ok(Sysctl::Network);
            let of_kind = if is_of_network { &mut all.network } else { &mut all.ipc };
            of_kind.insert(name.clone(), value.clone());
        }
    }
    Ok(all)
}

/// Sets parameters of the network namespace that this process is in. One that was made outside of the pod's user namespace
/// takes them from nobody within. `users` has the first of the pod's ids on the host and how many there are, if they are none
/// of the host's.
///
/// # Errors
/// When the kernel does not have a parameter, or does not take its value.
pub fn set_network(parameters: &Parameters, users: Option<(u32, u32)>) -> Result<()> {
    for (name, value) in parameters {
        let of_host = users.filter(|_| name == GROUPS).and_then(|users| groups_of_host(value, users));
        std::fs::write(
            Path::new("/proc/sys").join(name.replace('.', "/")),
            of_host.as_ref().unwrap_or(value),
        )
        .step(|| format!("set the kernel parameter {name} to {value:?}"))?;
    }
    Ok(())
}

/// Groups of the pod as the host knows them; what is no list of numbers is left to the kernel to refuse.
fn groups_of_host(value: &str, (first, count): (u32, u32)) -> Option<String> {
    let number =
        |word: &str| Some(first.saturating_add(word.parse::<u32>().ok()?.min(count.saturating_sub(1))));
    let numbers: Option<Vec<u32>> = value.split_whitespace().map(number).collect();
    Some(numbers?.iter().map(u32::to_string).collect::<Vec<_>>().join(" "))
}

fn check(name: &str, network_is_shared: bool, ipc_is_shared: bool) -> Result<()> {
    let refuse = |why: &str| {
        Err(Error::Refused(format!("The pod has the isolator \"os/unix/sysctl\" with {name:?}, {why}")))
    };
    match Sysctl::owner(name) {
        Err(_) => refuse("which is not the name of a kernel parameter (such as net.core.somaxconn)"),
        Ok(Sysctl::Network) if network_is_shared => refuse(
            "which would change the host's network: give the pod one of its own, or set it on the host",
        ),
        Ok(Sysctl::Ipc) if ipc_is_shared => {
            refuse("which would change the host's IPC: leave --ipc=parent out, or set it on the host")
        }
        Ok(Sysctl::Host) => refuse("which belongs to the whole host: set it there (sysctl.d)"),
        Ok(Sysctl::Network | Sysctl::Ipc) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_the_pods() {
        assert_eq!(groups_of_host("0\t2147483647", (65_536, 65_536)).as_deref(), Some("65536 131071"));
        assert_eq!(groups_of_host("1 0", (100, 10)).as_deref(), Some("101 100"));
        assert_eq!(groups_of_host("all", (100, 10)), None);
    }

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
