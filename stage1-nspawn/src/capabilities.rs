//! What systemd-nspawn leaves in the capability bounds of the container: what the apps may have and what the
//! supervisor needs to make them, and no more.

use std::collections::BTreeSet;

use executor::AppSpec;
use executor::capabilities::NAMES;

/// What systemd-nspawn retains unless told otherwise; see `--capability=` in systemd-nspawn(1).
const NSPAWN: [&str; 26] = [
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_NICE",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TTY_CONFIG",
];

/// Retained beside those when the container has a network of its own.
const PRIVATE_NETWORK: &str = "CAP_NET_ADMIN";

/// What the supervisor needs: to mount, change root and owners, to become users and to end their processes.
const SUPERVISOR: [&str; 12] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_RESOURCE",
];

/// Those of a pod whose apps are not known yet: what systemd-nspawn retains by itself, or all.
pub(crate) fn of_mutable(unrestricted: bool) -> Vec<String> {
    if unrestricted { vec!["--capability=all".to_owned()] } else { Vec::new() }
}

/// The arguments of systemd-nspawn that bound the container. The supervisor needs one more when it sets parameters of the
/// network.
pub(crate) fn arguments(apps: &[AppSpec], private_network: bool, administrates_network: bool) -> Vec<String> {
    let mut keep: BTreeSet<&str> = SUPERVISOR.into_iter().collect();
    if administrates_network {
        keep.insert(PRIVATE_NETWORK);
    }
    for app in apps {
        match &app.capabilities {
            Some(names) => keep.extend(names.iter().map(String::as_str)),
            None => return vec!["--capability=all".to_owned()],
        }
    }
    let mut retained: BTreeSet<&str> = NSPAWN.into_iter().collect();
    if private_network {
        retained.insert(PRIVATE_NETWORK);
    }
    // In the kernel's order, so that the command reads the same whatever the manifest's order.
    let list = |wanted: &dyn Fn(&str) -> bool| {
        NAMES.into_iter().filter(|name| wanted(name)).collect::<Vec<_>>().join(",")
    };
    let more = list(&|name| keep.contains(name) && !retained.contains(name));
    let fewer = list(&|name| retained.contains(name) && !keep.contains(name));
    [("--capability=", more), ("--drop-capability=", fewer)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(flag, names)| flag.to_owned() + &names)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(capabilities: Option<&[&str]>) -> AppSpec {
        let mut spec = AppSpec::new("a", &["/a"]);
        spec.capabilities = capabilities.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        spec
    }

    #[test]
    fn the_union_of_the_apps_and_what_the_supervisor_needs() {
        let arguments =
            arguments(&[app(Some(&["CAP_NET_RAW"])), app(Some(&["CAP_SYS_TIME", "CAP_KILL"]))], false, false);
        assert_eq!(
            arguments,
            [
                "--capability=CAP_SYS_TIME",
                "--drop-capability=CAP_LINUX_IMMUTABLE,CAP_NET_BIND_SERVICE,CAP_NET_BROADCAST,CAP_IPC_OWNER,\
                 CAP_SYS_PTRACE,CAP_SYS_BOOT,CAP_SYS_NICE,CAP_SYS_TTY_CONFIG,CAP_MKNOD,CAP_LEASE,CAP_AUDIT_WRITE,\
                 CAP_AUDIT_CONTROL,CAP_SETFCAP"
            ]
        );
    }

    #[test]
    fn a_private_network_is_no_reason_to_administrate_it() {
        let names = |caps: &[&str]| arguments(&[app(Some(caps))], true, false).join(" ");
        let administrates = arguments(&[app(Some(&[]))], true, true).join(" ");
        assert!(!administrates.contains("CAP_NET_ADMIN"));
        assert!(names(&[]).contains("CAP_NET_ADMIN"));
        assert!(!names(&["CAP_NET_ADMIN"]).contains("CAP_NET_ADMIN"));
    }

    #[test]
    fn unrestricted_apps_unrestrict_the_pod() {
        assert_eq!(arguments(&[app(Some(&[])), app(None)], true, false), ["--capability=all"]);
    }
}
