//! The keys of `[Pod]`.

use super::{Key, annotation, each, one};
use crate::pod::{Ipc, Pod, Pull};
use crate::value::{self, Parsed};

/// A limit that systemd enforces for the unit.
macro_rules! limit {
    ($name:literal, $about:literal) => {
        Key {
            name: $name,
            syntax: "as in systemd.resource-control(5)",
            about: $about,
            adds: false,
            is_raw: true,
            set: |section, text| {
                section.limits.insert($name, value::limit(text)?);
                Ok(())
            },
            reset: |section| drop(section.limits.remove($name)),
        }
    };
}

fn dns(text: &str) -> Parsed<String> {
    value::parsed::<appc::DnsList>(text)?;
    Ok(text.to_owned())
}

/// `IP=NAME` as `--hosts-entry` has it, or `NAME:IP` as others do.
fn host(text: &str) -> Parsed<String> {
    let turned = match text.split_once(':') {
        Some((name, address)) if !text.contains('=') && address.parse::<std::net::IpAddr>().is_ok() => {
            format!("{address}={name}")
        }
        _ => text.to_owned(),
    };
    value::parsed::<appc::HostsEntry>(&turned)?;
    Ok(turned)
}

/// The keys of `[Pod]`.
pub static POD: &[Key<Pod>] = &[
    one!(
        "Isolation",
        "fly|nspawn|kvm",
        isolation,
        value::isolation,
        "The wall around the pod: a chroot, a container, or a virtual machine. Without it and without Stage1= the configuration of rkt decides."
    ),
    one!(
        "Stage1",
        "FILE|URL|NAME[:VERSION]|sha512-ID",
        stage1,
        value::text,
        "Another stage1, in place of Isolation=: an absolute path, a URL, a name or the ID of an image."
    ),
    one!(
        "Service",
        "NAME",
        service,
        value::service,
        "The pod gets a service of this name instead of rkt-pod@POD.service. Its [Install] is wired by the generator: it is enabled as long as the file is there."
    ),
    one!(
        "Manifest",
        "FILE",
        manifest,
        value::text,
        "A pod manifest, JSON, in place of the sections [App]. A relative path begins at the directory of the pod file."
    ),
    many!(
        "Network",
        "none|host|all|NETWORK[:ARGUMENT=VALUE[;…]]",
        network,
        one(value::parsed),
        "The networks that the pod joins, as --net says it. Without it: default, or host under Isolation=fly."
    ),
    many!(
        "PublishPort",
        "NAME:[IP:]HOSTPORT|[IP:]HOSTPORT:PODPORT[/tcp|/udp]",
        ports,
        one(value::port),
        "A port of the host that leads to a port of the pod, by the name that an image has for it or by number."
    ),
    one!(
        "HostName",
        "NAME",
        hostname,
        value::hostname,
        "The host name in the pod. Without it: rkt- and the pod's UUID."
    ),
    many!("DNS", "IP…|host|none", dns, each(dns), "Name servers of the pod."),
    many!("DNSSearch", "DOMAIN…", dns_search, value::words, "Domains in which names are looked for."),
    many!("DNSOption", "OPTION…", dns_options, value::words, "Options for resolv.conf(5)."),
    one!("DNSDomain", "DOMAIN", dns_domain, value::text, "The local domain."),
    many!("AddHost", "IP=NAME|NAME:IP|host", hosts, each(host), "Lines for /etc/hosts of the apps."),
    many!(
        "Volume",
        "NAME[:/SOURCE[:ro]]|NAME,kind=…",
        volumes,
        one(value::volume),
        "A volume: a file or directory of the host, or without a source an empty directory that lives as long as the pod."
    ),
    many!("Mount", "VOLUME:/TARGET", mounts, one(value::mount), "Puts a volume at a path of all apps."),
    one!(
        "IPC",
        "private|parent",
        ipc,
        |text| value::choice(text, &Ipc::ALL),
        "Whether the pod has System V IPC of its own or the host's."
    ),
    one!(
        "PrivateUsers",
        "BOOLEAN",
        private_users,
        value::boolean,
        "With yes no user of the pod is one of the host or of another pod. A virtual machine has it in any case, Isolation=fly cannot."
    ),
    many!(
        "Sysctl",
        "NAME=VALUE…",
        sysctls,
        each(value::sysctl),
        "Kernel parameters of the pod's own: net.* unless it has the network of the host, and those of System V IPC and message queues unless it shares the host's. Not under Isolation=fly."
    ),
    one!(
        "Overlay",
        "BOOLEAN",
        overlay,
        value::boolean,
        "With no the roots of the apps are copies instead of overlays."
    ),
    one!(
        "Pull",
        "new|never|update",
        pull,
        |text| value::choice(text, &Pull::ALL),
        "When images are looked for outside of the store: when it lacks them, never, or at each start."
    ),
    many!(
        "InsecureOptions",
        "OPTION…",
        insecure,
        value::words,
        "Safeguards to give up, as --insecure-options says it."
    ),
    many!("Environment", "NAME=VALUE…", environment, each(value::parsed), "Variables for all apps."),
    many!(
        "EnvironmentFile",
        "[-]FILE",
        environment_files,
        one(value::environment_file),
        "A file with variables for all apps, one NAME=VALUE a line. With - it may be missing."
    ),
    one!(
        "PassEnvironment",
        "BOOLEAN",
        pass_environment,
        value::boolean,
        "With yes apps get the variables of the unit that their image does not set."
    ),
    many!("Annotation", "NAME=VALUE", annotations, one(annotation), "An annotation of the pod's manifest."),
    one!(
        "Proxy",
        "PORT",
        proxy,
        |text| value::number(text, 1, u16::MAX),
        "For apps that do not take sockets from their starter: what comes in at the sockets of [Socket] goes to this TCP port of the pod. While the pod starts, connections wait."
    ),
    one!(
        "StopTimeout",
        "SPAN",
        stop_timeout,
        value::span,
        "How long apps may take to end after SIGTERM before they are killed."
    ),
    one!(
        "ReadyTimeout",
        "SPAN",
        ready_timeout,
        value::span,
        "How long the pod may take to become ready before its unit fails."
    ),
    one!(
        "Watchdog",
        "SPAN",
        watchdog,
        value::span,
        "How long an app with Ready=notify may go without a sign of life (WATCHDOG=1) before its unit fails."
    ),
    limit!("MemoryMax", "The most memory of all apps together."),
    limit!("MemoryHigh", "The memory of all apps together above which they are slowed down."),
    limit!("MemorySwapMax", "The most swap of all apps together."),
    limit!("CPUQuota", "The most processor time of all apps together."),
    limit!("CPUWeight", "The share of processor time under contention."),
    limit!("IOWeight", "The share of input and output under contention."),
    limit!("TasksMax", "The most processes and threads of all apps together."),
];
