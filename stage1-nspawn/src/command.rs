//! The command line and environment of systemd-nspawn.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use executor::AppSpec;
use pod::PodUuid;
use stage1::args::{Ipc, Network, Run, machine_name};

use crate::capabilities;

/// The supervisor, in the stage1's root.
const SUPERVISOR: &str = "/supervisor";

/// What the command depends on, beside the options of the user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Container<'a> {
    /// The pod.
    pub(crate) uuid: PodUuid,
    /// Its apps.
    pub(crate) apps: &'a [AppSpec],
    /// machined is there.
    pub(crate) register: bool,
    /// The supervisor sets parameters of the network.
    pub(crate) administrates_network: bool,
    /// The container gets a terminal of its own.
    pub(crate) terminal: bool,
    /// Names of the descriptors that are handed down, from 3 on.
    pub(crate) descriptors: &'a [String],
}

/// The arguments, the program's own name first.
pub(crate) fn arguments(container: &Container<'_>, run: &Run) -> Vec<String> {
    let machine = machine_name(container.uuid);
    let yes_no = |yes| if yes { "yes" } else { "no" };
    let mut arguments: Vec<String> = [
        "systemd-nspawn",
        // What an administrator has written for a machine of this name is not about pods.
        "--settings=no",
        "--keep-unit",
        "--directory=stage1/rootfs",
        "--kill-signal=SIGTERM",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--notify-ready=yes",
    ]
    .map(str::to_owned)
    .to_vec();
    if !run.debug {
        arguments.push("--quiet".to_owned());
    }
    if let Some((first, count)) = run.private_users {
        // The roots have the right owners already: from idmapped layers.
        arguments.push(format!("--private-users={first}:{count}"));
        arguments.push("--private-users-ownership=off".to_owned());
    }
    arguments.push(format!("--machine={machine}"));
    arguments.push(format!("--uuid={}", container.uuid));
    arguments.push(format!("--register={}", yes_no(container.register)));
    arguments.push(format!("--console={}", if container.terminal { "interactive" } else { "pipe" }));
    if run.hostname() != machine {
        arguments.push(format!("--hostname={}", run.hostname()));
    }
    // With networks it starts in the pod's namespace already. (With --network-namespace-path it would mount /sys before
    // it joins, and show the pod the host's interfaces.)
    let private_network = run.network == Network::None;
    if private_network {
        arguments.push("--private-network".to_owned());
    }
    arguments.extend(match run.mutable {
        true => capabilities::of_mutable(run.insecure.capabilities),
        false => capabilities::arguments(container.apps, private_network, container.administrates_network),
    });
    for (variable, flag) in [("RKT_SELINUX_CONTEXT", "-Z"), ("RKT_SELINUX_MOUNT_CONTEXT", "-L")] {
        if let Some(context) = std::env::var(variable).ok().filter(|context| !context.is_empty()) {
            arguments.push(format!("{flag}{context}"));
        }
    }
    arguments.push(format!("--setenv=LISTEN_FDNAMES={}", container.descriptors.join(":")));
    arguments.push("--".to_owned());
    arguments.push(SUPERVISOR.to_owned());
    arguments
}

/// The environment: that of the caller, `inherited`, less what was meant for us, and how systemd-nspawn shall behave.
pub(crate) fn environment(
    container: &Container<'_>,
    run: &Run,
    inherited: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<CString> {
    let mut ours: Vec<(&str, String)> = vec![
        ("LISTEN_FDS", container.descriptors.len().to_string()),
        ("LISTEN_PID", rustix::process::getpid().as_raw_nonzero().to_string()),
        // Its own filter is compiled at each start, which takes longer than all the rest. The supervisor has ours.
        ("SYSTEMD_SECCOMP", "0".to_owned()),
        // It would look for a systemd in the stage1 to choose.
        ("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1".to_owned()),
        // The pod directory is locked already.
        ("SYSTEMD_NSPAWN_LOCK", "0".to_owned()),
        ("SYSTEMD_NSPAWN_CONTAINER_SERVICE", "rkt".to_owned()),
    ];
    if !run.debug {
        ours.push(("SYSTEMD_LOG_LEVEL", "err".to_owned()));
    }
    if run.ipc == Ipc::Parent {
        ours.push(("SYSTEMD_NSPAWN_SHARE_NS_IPC", "true".to_owned()));
    }
    if run.insecure.paths {
        ours.push(("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "yes".to_owned()));
    }
    let is_ours = |name: &OsString| {
        let Some(name) = name.to_str() else { return false };
        ["RKT_", "LISTEN_", "SYSTEMD_NSPAWN_"].iter().any(|prefix| name.starts_with(prefix))
            || ours.iter().any(|(own, _)| *own == name)
    };
    let kept = inherited.filter(|(name, _)| !is_ours(name)).map(|(name, value)| {
        let mut text = name.into_vec();
        text.push(b'=');
        text.extend(value.into_vec());
        text
    });
    kept.chain(ours.iter().map(|(name, value)| format!("{name}={value}").into_bytes()))
        // What the kernel gave us has no NUL in it.
        .filter_map(|text| CString::new(text).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";

    fn run(flags: &[&str]) -> Run {
        Run::parse(flags.iter().chain([&UUID]).map(OsString::from).collect()).unwrap()
    }

    fn container<'a>(apps: &'a [AppSpec], descriptors: &'a [String]) -> Container<'a> {
        Container {
            uuid: UUID.parse().unwrap(),
            apps,
            register: true,
            administrates_network: false,
            terminal: false,
            descriptors,
        }
    }

    #[test]
    fn the_whole_command() {
        let mut app = AppSpec::new("a", &["/a"]);
        app.capabilities = None;
        let (apps, names) = ([app], ["control".to_owned(), "journal".to_owned()]);
        let arguments = arguments(&container(&apps, &names), &run(&["--net=none", "--hostname=box"]));
        assert_eq!(
            arguments.join(" "),
            format!(
                "systemd-nspawn --settings=no --keep-unit --directory=stage1/rootfs --kill-signal=SIGTERM \
                 --link-journal=no --resolv-conf=off --timezone=off --notify-ready=yes --quiet --machine=rkt-{UUID} \
                 --uuid={UUID} --register=yes --console=pipe --hostname=box --private-network --capability=all \
                 --setenv=LISTEN_FDNAMES=control:journal -- /supervisor"
            )
        );
    }

    #[test]
    fn with_networks_it_makes_no_namespace_and_gives_nobody_net_admin() {
        let arguments = arguments(&container(&[], &[]), &run(&["--net=a"]));
        let absent = ["--private-network", "--network", "CAP_NET_ADMIN"];
        assert!(!arguments.iter().any(|argument| absent.iter().any(|absent| argument.contains(absent))));
    }

    #[test]
    fn debugging_is_not_quiet_and_the_host_network_is_not_private() {
        let arguments = arguments(&container(&[], &[]), &run(&["--debug", "--net=host"]));
        for absent in ["--quiet", "--private-network", "--hostname"] {
            assert!(!arguments.iter().any(|argument| argument.starts_with(absent)), "{absent}");
        }
    }

    #[test]
    fn the_environment_keeps_what_is_not_ours() {
        let inherited = [
            ("PATH", "/bin"),
            ("NOTIFY_SOCKET", "/run/n"),
            ("WATCHDOG_USEC", "5"),
            ("RKT_LOCK_FD", "9"),
            ("LISTEN_FDNAMES", "x"),
            ("LISTEN_PID", "1"),
            ("SYSTEMD_SECCOMP", "1"),
            ("SYSTEMD_NSPAWN_USE_CGNS", "no"),
        ]
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let names = ["control".to_owned()];
        let flags = run(&["--ipc=parent", "--disable-paths"]);
        let environment: Vec<String> = environment(&container(&[], &names), &flags, inherited.into_iter())
            .into_iter()
            .map(|text| text.into_string().unwrap())
            .collect();
        let pid = std::process::id();
        assert_eq!(
            environment,
            [
                "PATH=/bin",
                "NOTIFY_SOCKET=/run/n",
                "WATCHDOG_USEC=5",
                "LISTEN_FDS=1",
                &format!("LISTEN_PID={pid}"),
                "SYSTEMD_SECCOMP=0",
                "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
                "SYSTEMD_NSPAWN_LOCK=0",
                "SYSTEMD_NSPAWN_CONTAINER_SERVICE=rkt",
                "SYSTEMD_LOG_LEVEL=err",
                "SYSTEMD_NSPAWN_SHARE_NS_IPC=true",
                "SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes",
            ]
        );
    }
}
