//! The keys of `[App]`.

use appc::Isolator;

use super::{Key, annotation, each, one};
use crate::pod::{AppSettings, Restart, Unhealthy};
use crate::value::{self, Parsed};

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

fn group(text: &str) -> Parsed<u32> {
    value::number(text, 0, u32::MAX - 1)
}

const INPUTS: &[(&str, &str)] = &[("null", "null"), ("stream", "stream"), ("tty", "tty")];
const OUTPUTS: &[(&str, &str)] = &[("null", "null"), ("log", "log"), ("stream", "stream"), ("tty", "tty")];

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
