//! The keys of `[Pod]` and `[App]`: one table each, from which the parser, its hints and the documents are made.

use appc::Isolator;

use crate::pod::{AppSettings, Ipc, Pod, Pull, Restart, Unhealthy};
use crate::value::{self, Parsed};

/// One key of a section that becomes a `T`.
pub struct Key<T: 'static> {
    /// What stands before `=`.
    pub name: &'static str,
    /// What its value looks like.
    pub syntax: &'static str,
    /// What it does, for the manual.
    pub about: &'static str,
    /// Further assignments add to it; otherwise the last one counts.
    pub adds: bool,
    /// `%` has no meaning in it.
    pub(crate) is_raw: bool,
    pub(crate) set: fn(&mut T, &str) -> Parsed<()>,
    pub(crate) reset: fn(&mut T),
}

impl<T> std::fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A key whose last value counts.
macro_rules! one {
    ($name:literal, $syntax:literal, $field:ident, $parse:expr, $about:literal) => {
        Key {
            name: $name,
            syntax: $syntax,
            about: $about,
            adds: false,
            is_raw: false,
            set: |section, text| {
                section.$field = Some($parse(text)?);
                Ok(())
            },
            reset: |section| section.$field = None,
        }
    };
}

/// A key whose values add up; `$parse` gives several.
macro_rules! many {
    ($name:literal, $syntax:literal, $field:ident, $parse:expr, $about:literal) => {
        Key {
            name: $name,
            syntax: $syntax,
            about: $about,
            adds: true,
            is_raw: false,
            set: |section, text| {
                section.$field.extend($parse(text)?);
                Ok(())
            },
            reset: |section| section.$field = Default::default(),
        }
    };
}

/// A key that is a list and whose last value counts.
macro_rules! list {
    ($name:literal, $syntax:literal, $field:ident, $parse:expr, $about:literal) => {
        Key {
            name: $name,
            syntax: $syntax,
            about: $about,
            adds: false,
            is_raw: false,
            set: |section, text| {
                section.$field = $parse(text)?;
                Ok(())
            },
            reset: |section| section.$field = Default::default(),
        }
    };
}

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

/// A stream of an app.
macro_rules! stream {
    ($name:literal, $syntax:literal, $number:literal, $modes:expr, $about:literal) => {
        Key {
            name: $name,
            syntax: $syntax,
            about: $about,
            adds: false,
            is_raw: false,
            set: |section, text| {
                section.streams[$number] = Some(value::choice(text, $modes)?.to_owned());
                Ok(())
            },
            reset: |section| section.streams[$number] = None,
        }
    };
}

/// A set of capabilities.
macro_rules! capabilities {
    ($name:literal, $field:ident, $about:literal) => {
        Key {
            name: $name,
            syntax: "CAPABILITY…",
            about: $about,
            adds: true,
            is_raw: false,
            set: |section, text| {
                let set = value::capabilities(text)?;
                section.$field = Some(section.$field.unwrap_or_default().union(set));
                Ok(())
            },
            reset: |section| section.$field = None,
        }
    };
}

fn one<T>(parse: impl Fn(&str) -> Parsed<T>) -> impl Fn(&str) -> Parsed<[T; 1]> {
    move |text| parse(text).map(|value| [value])
}

fn each<T>(parse: impl Fn(&str) -> Parsed<T>) -> impl Fn(&str) -> Parsed<Vec<T>> {
    move |text| value::each(text, &parse)
}

fn annotation(text: &str) -> Parsed<(appc::AcIdentifier, String)> {
    let (name, value) = value::pair(text)?;
    Ok((value::parsed(&name)?, value))
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

fn group(text: &str) -> Parsed<u32> {
    value::number(text, 0, u32::MAX - 1)
}

fn stage1(text: &str) -> Parsed<String> {
    value::text(text)
}

const INPUTS: &[(&str, &str)] = &[("null", "null"), ("stream", "stream"), ("tty", "tty")];
const OUTPUTS: &[(&str, &str)] = &[("null", "null"), ("log", "log"), ("stream", "stream"), ("tty", "tty")];

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
        stage1,
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

/// The keys of `[App]`.
pub static APP: &[Key<AppSettings>] = &[
    one!(
        "Name",
        "NAME",
        name,
        value::parsed,
        "The name of the app, in place of the one in [App NAME]. The only app of a pod is called like the pod."
    ),
    one!(
        "Image",
        "IMAGE",
        image,
        value::text,
        "The image, as rkt run takes it: docker://nginx, a URL, a name, an absolute path, an ID."
    ),
    one!(
        "ImageID",
        "sha512-ID",
        image_id,
        value::parsed,
        "Pins the image: no other than the one with this ID runs. It is not looked for outside while the store has it."
    ),
    one!("Signature", "FILE", signature, value::path, "A detached signature of the image."),
    list!(
        "Exec",
        "PROGRAM [ARGUMENT…]",
        exec,
        value::command,
        "The program and its arguments, in place of those of the image."
    ),
    one!(
        "Command",
        "ARGUMENT…",
        command,
        value::words,
        "The arguments in place of those of the image; its entrypoint stays. For images from registries."
    ),
    many!(
        "Args",
        "ARGUMENT…",
        args,
        value::words,
        "Further arguments, behind those of the image or of Exec=."
    ),
    one!(
        "WorkingDirectory",
        "DIRECTORY",
        working_directory,
        value::path,
        "The directory in which the program starts."
    ),
    one!(
        "User",
        "NAME|ID|FILE",
        user,
        value::owner,
        "The user, by name, by number, or as the owner of a file of the image."
    ),
    one!("Group", "NAME|ID|FILE", group, value::owner, "The group, in the same way."),
    many!("SupplementaryGroups", "ID…", supplementary_groups, each(group), "Further groups."),
    many!("Environment", "NAME=VALUE…", environment, each(value::parsed), "Variables of the app."),
    many!(
        "EnvironmentFile",
        "[-]FILE",
        environment_files,
        one(value::environment_file),
        "A file with variables of the app."
    ),
    many!("Mount", "VOLUME:/TARGET", mounts, one(value::mount), "Puts a volume at a path of the app."),
    many!(
        "Bind",
        "/SOURCE[:/TARGET[:ro,rbind]]",
        binds,
        one(value::bind),
        "A file or directory of the host at a path of this app."
    ),
    many!(
        "Tmpfs",
        "/TARGET[:mode=…,uid=…,gid=…]",
        tmpfs,
        one(value::tmpfs),
        "An empty directory at a path of this app."
    ),
    one!(
        "ReadOnly",
        "BOOLEAN",
        read_only,
        value::boolean,
        "Whether the root of the app is read-only. Volumes are as they say."
    ),
    capabilities!("Capabilities", capabilities, "The capabilities of the app, in place of the usual ones."),
    capabilities!(
        "AddCapability",
        add_capabilities,
        "Capabilities beside the usual ones, or beside those of Capabilities=."
    ),
    capabilities!(
        "DropCapability",
        drop_capabilities,
        "Capabilities that are taken away; all takes every one."
    ),
    one!(
        "Seccomp",
        "mode=retain|remove[,errno=ERROR],CALL…",
        seccomp,
        value::seccomp,
        "The filter of system calls, as --seccomp says it."
    ),
    one!(
        "NoNewPrivileges",
        "BOOLEAN",
        no_new_privileges,
        value::boolean,
        "Whether the app cannot gain privileges by executing a program."
    ),
    one!("Memory", "BYTES", memory, value::memory, "The most memory of the app: 16Mi, 50M."),
    one!("CPU", "CPUS", cpu, value::cpu, "The most processor time of the app: 500m, 2."),
    one!(
        "CPUShares",
        "NUMBER",
        cpu_shares,
        |text| value::number(text, Isolator::MIN_CPU_SHARES, Isolator::MAX_CPU_SHARES),
        "The app's share of processor time under contention, 2 to 262144."
    ),
    one!(
        "OOMScoreAdjust",
        "NUMBER",
        oom_score_adjust,
        |text| value::number(text, -1000, 1000),
        "How soon the app is killed when memory is short, -1000 to 1000."
    ),
    one!(
        "PidsLimit",
        "NUMBER",
        pids_limit,
        |text| value::number(text, 1, 4_194_304),
        "The most processes and threads of the app at one time."
    ),
    many!(
        "Ulimit",
        "RESOURCE=SOFT[:HARD]",
        ulimits,
        one(value::ulimit),
        "Limits of each process of the app, as in nofile=1024:4096; see getrlimit(2)."
    ),
    one!(
        "Restart",
        "no|on-failure|always",
        restart,
        |text| value::choice(text, &Restart::ALL),
        "When the app starts again after its end, while the rest of the pod runs on. Not under Isolation=fly: there Restart= of [Service] is for it."
    ),
    one!("StopSignal", "SIGNAL", stop_signal, value::signal, "What asks the app to end. Default: SIGTERM."),
    many!(
        "Annotation",
        "NAME=VALUE",
        annotations,
        one(annotation),
        "An annotation of the app in the pod's manifest."
    ),
    many!(
        "Label",
        "NAME=VALUE…",
        labels,
        each(value::pair),
        "A label of the app, which rkt list and rkt status show."
    ),
    many!(
        "UserAnnotation",
        "NAME=VALUE…",
        user_annotations,
        each(value::pair),
        "A free annotation of the app."
    ),
    stream!("StandardInput", "null|stream|tty", 0, INPUTS, "Where the app reads from."),
    stream!(
        "StandardOutput",
        "null|log|stream|tty",
        1,
        OUTPUTS,
        "Where the app writes to: the journal, or somebody who attaches."
    ),
    stream!("StandardError", "null|log|stream|tty", 2, OUTPUTS, "Where the app writes errors to."),
    one!(
        "Ready",
        "start|notify",
        ready,
        value::ready,
        "When the app counts as ready: when it runs, or when it says READY=1; see sd_notify(3)."
    ),
    list!(
        "ReadyCommand",
        "PROGRAM [ARGUMENT…]",
        ready_command,
        value::command,
        "Asked in the app until it succeeds: the unit is started only then."
    ),
    one!(
        "ReadyInterval",
        "SPAN",
        ready_interval,
        value::span,
        "The time between two tries of ReadyCommand=. Default: 500ms."
    ),
    list!(
        "HealthCommand",
        "PROGRAM [ARGUMENT…]",
        health_command,
        value::command,
        "Asked in the app from time to time: it is healthy while this succeeds."
    ),
    one!(
        "HealthInterval",
        "SPAN",
        health_interval,
        value::span,
        "The time between two checks. Default: 30s."
    ),
    one!("HealthTimeout", "SPAN", health_timeout, value::span, "How long a check may take. Default: 30s."),
    one!(
        "HealthRetries",
        "NUMBER",
        health_retries,
        |text| value::number(text, 1, 1000),
        "How many checks fail in a row before the app counts as unhealthy. Default: 3."
    ),
    one!(
        "HealthStartPeriod",
        "SPAN",
        health_start_period,
        value::span,
        "The time after the start in which failures do not count. Default: 0."
    ),
    one!(
        "OnUnhealthy",
        "none|kill|restart|stop",
        on_unhealthy,
        |text| value::choice(text, &Unhealthy::ALL),
        "What becomes of the pod then: it is killed so that its unit fails, restarted, or stopped. Default: none."
    ),
    one!(
        "ReloadSignal",
        "SIGNAL",
        reload_signal,
        value::signal,
        "What systemctl reload sends to the program of the app."
    ),
    list!(
        "ReloadCommand",
        "PROGRAM [ARGUMENT…]",
        reload_command,
        value::command,
        "What systemctl reload runs in the app."
    ),
    Key {
        name: "Sockets",
        syntax: "NAME…",
        about: "The sockets of the unit, by FileDescriptorName=, that the app gets. Without it: those of its ports that are socket activated.",
        adds: true,
        is_raw: false,
        set: |section, text| {
            section.sockets.get_or_insert_default().extend(value::words(text)?);
            Ok(())
        },
        reset: |section| section.sockets = Some(Vec::new()),
    },
    Key {
        name: "Credentials",
        syntax: "NAME…",
        about: "The credentials of the unit (LoadCredential= and the like) that the app finds in $CREDENTIALS_DIRECTORY. Without it: all; empty: none.",
        adds: true,
        is_raw: false,
        set: |section, text| {
            section.credentials.get_or_insert_default().extend(value::words(text)?);
            Ok(())
        },
        reset: |section| section.credentials = Some(Vec::new()),
    },
];

/// Sections that systemd reads.
pub const HANDED: [&str; 4] = ["Unit", "Service", "Install", "Socket"];

/// Keys of `[Service]` that are rkt's own in the unit of a pod, and what to use instead.
pub const RESERVED: &[(&str, &str)] = &[
    ("Type", "Ready= of [App] says when the pod is ready"),
    ("ExecStart", "Exec= of [App] names the program of an app"),
    ("NotifyAccess", "it is set for rkt"),
    ("Delegate", "it is set for rkt"),
    ("DelegateSubgroup", "it is set for rkt"),
    ("KillMode", "it is set for rkt"),
    ("PIDFile", "rkt is the main process of the unit"),
    ("BusName", "rkt is the main process of the unit"),
    ("User", "User= of [App] names the user of an app"),
    ("Group", "Group= of [App] names the group of an app"),
    ("DynamicUser", "User= of [App] names the user of an app"),
    ("RootDirectory", "Image= of [App] names the root of an app"),
    ("RootImage", "Image= of [App] names the root of an app"),
    ("StandardOutput", "StandardOutput= of [App] says where an app writes to"),
    ("StandardInput", "StandardInput= of [App] says where an app reads from"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_in_its_table_once() {
        let pods: Vec<&str> = POD.iter().map(|key| key.name).collect();
        let apps: Vec<&str> = APP.iter().map(|key| key.name).collect();
        for mut names in [pods, apps] {
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
        for about in POD.iter().map(|key| key.about).chain(APP.iter().map(|key| key.about)) {
            assert!(about.ends_with('.'), "{about}");
        }
    }
}
