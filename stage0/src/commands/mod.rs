//! The subcommands, one a file: `XArgs` (flags and positional arguments) and
//! `run(&Context, &XArgs) -> anyhow::Result<ExitCode>`.
//!
//! An error that `run` returns is printed as `<command>: <outermost>: <innermost>` and ends in exit code 254.
//! A `bool` in `XArgs` is a flag in Go's manner (`--flag`, `--flag=false`) without further attributes.

pub(crate) mod app;
mod attach;
pub(crate) mod cat_manifest;
mod completion;
mod config;
pub(crate) mod enter;
mod export;
mod fetch;
pub(crate) mod gc;
mod help;
pub(crate) mod image;
pub(crate) mod list;
mod logs;
mod metadata_service;
pub(crate) mod pod;
mod prepare;
pub(crate) mod rm;
mod run;
mod run_prepared;
pub(crate) mod status;
pub(crate) mod stop;
mod trust;
mod version;

use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgMatches, Args, FromArgMatches};

use crate::apps::flags::PerApp;
use crate::cli::Style;
pub(crate) use crate::context::Context;

/// One command, as the command line knows it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The words that name it.
    pub(crate) path: &'static [&'static str],
    /// One line for the list of commands.
    pub(crate) about: &'static str,
    /// What follows the name in the usage line.
    pub(crate) usage: &'static str,
    /// Further help, line by line.
    pub(crate) description: &'static str,
    /// Left out of the list of commands.
    pub(crate) hidden: bool,
    /// Where its flags may stand.
    pub(crate) style: Style,
    /// Adds its flags and arguments to a definition.
    pub(crate) define: fn(clap::Command) -> clap::Command,
    /// Runs it.
    pub(crate) run: fn(&Context, &mut ArgMatches) -> Result<ExitCode>,
}

impl Entry {
    /// The last word of the name, which errors are told under.
    pub(crate) fn name(&self) -> &'static str {
        self.path[self.path.len() - 1]
    }
}

/// Commands that have subcommands.
pub(crate) const GROUPS: [(&str, &str); 3] = [
    ("app", "Operate on apps of a running pod (experimental: RKT_EXPERIMENT_APP=true)"),
    ("image", "Operate on image(s) in the local store"),
    ("pod", "Operate on pods that have a file, as systemd runs them"),
];

const fn entry<A: Args + FromArgMatches>(
    path: &'static [&'static str],
    about: &'static str,
    usage: &'static str,
    run: fn(&Context, &mut ArgMatches) -> Result<ExitCode>,
) -> Entry {
    Entry {
        path,
        about,
        usage,
        description: "",
        hidden: false,
        style: Style::Anywhere,
        define: A::augment_args,
        run,
    }
}

macro_rules! entry {
    ($path:expr, $about:expr, $usage:expr, $($module:ident)::+, $args:ident $(, $field:ident: $value:expr)*) => {
        Entry {
            $($field: $value,)*
            ..entry::<$($module)::+::$args>($path, $about, $usage, |context, matches| {
                $($module)::+::run(context, &$($module)::+::$args::from_arg_matches_mut(matches)?)
            })
        }
    };
}

fn app_exec(context: &Context, args: &enter::EnterArgs) -> Result<ExitCode> {
    app::experiment()?;
    enter::run(context, args)
}

/// Every command, in the order of the help text.
pub(crate) static TABLE: [Entry; 46] = [
    Entry {
        run: |context, matches| app::add::run(context, &app::add::AddArgs::from_arg_matches_mut(matches)?),
        hidden: true,
        style: Style::Images(PerApp::All),
        description: "The image must be in the store. The app does not run before rkt app start.",
        ..entry::<app::add::AddArgs>(
            &["app", "add"],
            "Add an app to a pod that runs",
            "[--mnt-volume=NAME,kind=KIND,...,target=PATH] UUID IMAGEID [image flags] [-- image-args]",
            |_, _| Ok(ExitCode::SUCCESS),
        )
    },
    Entry {
        run: |context, matches| app_exec(context, &enter::EnterArgs::from_arg_matches_mut(matches)?),
        hidden: true,
        style: Style::Leading,
        description: "The same as rkt enter.",
        ..entry::<enter::EnterArgs>(
            &["app", "exec"],
            "Execute a command in an app of a running pod",
            "[--app=APPNAME] UUID [CMD [ARGS ...]]",
            |_, _| Ok(ExitCode::SUCCESS),
        )
    },
    Entry {
        run: |context, matches| {
            app::show::list(context, &app::show::ListArgs::from_arg_matches_mut(matches)?)
        },
        hidden: true,
        ..entry::<app::show::ListArgs>(&["app", "list"], "List the apps of a pod", "UUID", |_, _| {
            Ok(ExitCode::SUCCESS)
        })
    },
    Entry {
        run: |context, matches| {
            app::rm::run(context, &app::change::ChangeArgs::from_arg_matches_mut(matches)?)
        },
        hidden: true,
        ..entry::<app::change::ChangeArgs>(
            &["app", "rm"],
            "Remove an app that does not run from a pod",
            "--app=APPNAME UUID",
            |_, _| Ok(ExitCode::SUCCESS),
        )
    },
    Entry {
        run: |context, matches| {
            app::sandbox::run(context, &app::sandbox::SandboxArgs::from_arg_matches_mut(matches)?)
        },
        hidden: true,
        ..entry::<app::sandbox::SandboxArgs>(
            &["app", "sandbox"],
            "Start a pod without apps, which more can be added to",
            "[--port=NAME:PROTOCOL:PODPORT:HOSTIP:HOSTPORT]",
            |_, _| Ok(ExitCode::SUCCESS),
        )
    },
    Entry {
        run: |context, matches| {
            app::change::start(context, &app::change::ChangeArgs::from_arg_matches_mut(matches)?)
        },
        hidden: true,
        ..entry::<app::change::ChangeArgs>(
            &["app", "start"],
            "Start an app of a pod that runs",
            "--app=APPNAME UUID",
            |_, _| Ok(ExitCode::SUCCESS),
        )
    },
    Entry {
        run: |context, matches| {
            app::show::status(context, &app::show::StatusArgs::from_arg_matches_mut(matches)?)
        },
        hidden: true,
        ..entry::<app::show::StatusArgs>(
            &["app", "status"],
            "Show what an app of a pod does",
            "--app=APPNAME UUID",
            |_, _| Ok(ExitCode::SUCCESS),
        )
    },
    Entry {
        run: |context, matches| {
            app::change::stop(context, &app::change::ChangeArgs::from_arg_matches_mut(matches)?)
        },
        hidden: true,
        ..entry::<app::change::ChangeArgs>(
            &["app", "stop"],
            "Stop an app of a pod that runs",
            "--app=APPNAME UUID",
            |_, _| Ok(ExitCode::SUCCESS),
        )
    },
    entry!(
        &["attach"],
        "Attach to an app running within a rkt pod",
        "[--app=APPNAME] [--mode=MODE] UUID",
        attach, AttachArgs,
        description: "Connects to the streams of an app that were started as stream or tty: rkt run IMAGE --stdin=tty --stdout=tty.\nThree times Control-] within a second detaches from a terminal; the app goes on."
    ),
    entry!(
        &["cat-manifest"],
        "Inspect and print the pod manifest",
        "[--pretty-print] UUID...",
        cat_manifest, CatManifestArgs,
        description: "UUID should be the UUID of a pod, or a prefix that only one pod has."
    ),
    entry!(
        &["completion"],
        "Output shell completion code for the specified shell",
        "SHELL",
        completion, CompletionArgs,
        description: "Prints code that completes rkt's commands and flags. SHELL is bash.\n\nTo use it at once: source <(rkt completion bash)"
    ),
    entry!(
        &["config"],
        "Print configuration for each stage in JSON format",
        "",
        config, ConfigArgs,
        description: "The output has the documents that, as files, give the configuration in force. It shows secrets."
    ),
    entry!(
        &["enter"],
        "Enter the namespaces of an app within a rkt pod",
        "[--app=APPNAME] UUID [CMD [ARGS ...]]",
        enter, EnterArgs,
        style: Style::Leading,
        description: "By default the CMD that is run is /bin/bash."
    ),
    entry!(
        &["export"],
        "Export an app from an exited pod to an ACI file",
        "[--app=APPNAME] [--overwrite] UUID OUTPUT_ACI_FILE",
        export, ExportArgs,
        description: "UUID should be the UUID of an exited pod. Volumes are left out."
    ),
    entry!(
        &["fetch"],
        "Fetch image(s) and store them in the local store",
        "IMAGE...",
        fetch, FetchArgs,
        style: Style::Images(PerApp::Signature),
        description: "Prints the ID of each image. An image is a file (it ends in .aci, or has a / in its name), the ID or the\nname of a stored image."
    ),
    entry!(
        &["gc"],
        "Garbage collect rkt pods no longer in use",
        "[--grace-period=duration] [--expire-prepared=duration]",
        gc,
        GcArgs
    ),
    entry!(&["help"], "Help about any command", "[command]", help, HelpArgs),
    entry!(
        &["image", "cat-manifest"],
        "Inspect and print the image manifest",
        "IMAGE",
        image::cat_manifest, CatManifestArgs,
        description: "IMAGE should be a string referencing an image: either an ID or a name."
    ),
    entry!(
        &["image", "export"],
        "Export a stored image to an ACI file",
        "[--overwrite] IMAGE OUTPUT_ACI_FILE",
        image::export, ExportArgs,
        description: "IMAGE should be a string referencing an image: either an ID or a name.\nAn OCI image becomes an App Container image with all its files."
    ),
    entry!(
        &["image", "extract"],
        "Extract a stored image to a directory",
        "[--overwrite] [--rootfs-only] IMAGE OUTPUT_DIR",
        image::extract, ExtractArgs,
        description: "IMAGE should be a string referencing an image: either an ID or a name.\nThe images that it depends on are left out: see rkt image render."
    ),
    entry!(
        &["image", "fetch"],
        "Fetch image(s) and store them in the local store",
        "IMAGE...",
        fetch, FetchArgs,
        style: Style::Images(PerApp::Signature),
        hidden: true
    ),
    entry!(
        &["image", "gc"],
        "Garbage collect local store",
        "[--grace-period=duration]",
        image::gc, GcArgs,
        description: "Removes the images that no pod uses and nobody used for a while, and what is left of others."
    ),
    entry!(
        &["image", "list"],
        "List images in the local store",
        "",
        image::list, ListArgs,
        description: "Optionally, allows the user to specify the fields and sort order."
    ),
    Entry {
        run: |context, matches| {
            image::extract::render(context, &image::extract::RenderArgs::from_arg_matches_mut(matches)?)
        },
        description: "IMAGE should be a string referencing an image: either an ID or a name.\nThe images that it depends on are part of the result.",
        ..entry::<image::extract::RenderArgs>(
            &["image", "render"],
            "Render a stored image to a directory with all its dependencies",
            "[--overwrite] [--rootfs-only] IMAGE OUTPUT_DIR",
            |_, _| Ok(ExitCode::SUCCESS),
        )
    },
    entry!(
        &["image", "rm"],
        "Remove one or more images with the given IDs or image names from the local store",
        "IMAGE...",
        image::rm,
        RmArgs
    ),
    entry!(
        &["image", "verify"],
        "Verify one or more rendered images in the local store",
        "IMAGE...",
        image::verify, VerifyArgs,
        description: "Compares the files of each image with its stored archive, and makes them anew where they differ."
    ),
    entry!(&["list"], "List pods", "", list, ListArgs),
    entry!(
        &["logs"],
        "Show what the apps of a pod have written to the journal",
        "[--follow] [--app=APPNAME] UUID | --uuid-file=FILE",
        logs, LogsArgs,
        description: "Works while the pod runs and after its end, until it is removed. -f is short for --follow."
    ),
    entry!(
        &["metadata-service"],
        "Run metadata service",
        "[--listen-port=PORT]",
        metadata_service, MetadataServiceArgs,
        description: "Tells apps of pods that run with --mds-register what they are. systemd starts it by itself: rkt-metadata.socket."
    ),
    entry!(
        &["pod", "health"],
        "Check the health of the apps of a pod",
        "NAME",
        pod::health, HealthArgs,
        hidden: true
    ),
    entry!(
        &["pod", "import"],
        "Make a pod file of a Podman quadlet or a unit that calls rkt run",
        "FILE",
        pod::import, ImportArgs,
        description: "FILE is NAME.container, NAME.pod (with the containers beside it that name it), or a unit, by path or by the name\nof a service in /etc/systemd/system, /run/systemd/system or /usr/lib/systemd/system.\nPrints the pod file. What could not be carried over is listed on standard error."
    ),
    entry!(
        &["pod", "proxy"],
        "Hand connections at the sockets of a unit to a port of its pod",
        "NAME",
        pod::proxy, ProxyArgs,
        hidden: true
    ),
    entry!(
        &["pod", "reload"],
        "Let the apps of a pod read their configuration again",
        "NAME",
        pod::reload, ReloadArgs,
        hidden: true
    ),
    entry!(
        &["pod", "run"],
        "Run the pod of a pod file",
        "NAME",
        pod::run, RunArgs,
        hidden: true
    ),
    entry!(
        &["pod", "show"],
        "Show what a pod file makes run",
        "NAME",
        pod::show, ShowArgs,
        description: "NAME is the name of a file in /etc/rkt/pods, /run/rkt/pods or /usr/lib/rkt/pods, without .pod.\nPrints the wall, the apps, the unit, and what systemd knows of the unit."
    ),
    entry!(
        &["pod", "stopped"],
        "Say why a pod has ended, and mark it as garbage",
        "NAME",
        pod::stopped, StoppedArgs,
        hidden: true
    ),
    entry!(
        &["pod", "verify"],
        "Check pod files",
        "[--format=json] [FILE...]",
        pod::verify, VerifyArgs,
        description: "FILE is the path of a pod file, or the name of a pod. Without one all pods are checked.\nPrints each mistake with its place and a hint. Exit code 1 when there are errors."
    ),
    entry!(
        &["pod", "wait-ready"],
        "Wait until the apps of a pod are ready",
        "NAME",
        pod::wait_ready, WaitReadyArgs,
        hidden: true
    ),
    entry!(
        &["prepare"],
        "Prepare to run image(s) in a pod in rkt",
        "[--volume=name,kind=host,source=/abs,...] [--mount volume=VOL,target=PATH] IMAGE [-- image-args...[---]]...",
        prepare, PrepareArgs,
        style: Style::Images(PerApp::All),
        description: "Prints the UUID of the prepared pod: rkt run-prepared UUID starts it."
    ),
    entry!(
        &["rm"],
        "Remove all files and resources associated with an exited pod",
        "UUID... | --uuid-file=FILE",
        rm,
        RmArgs
    ),
    entry!(
        &["run"],
        "Run image(s) in a pod in rkt",
        "[--volume=name,kind=host,source=/abs,...] [--mount volume=VOL,target=PATH] IMAGE [-- image-args...[---]]...",
        run, RunArgs,
        style: Style::Images(PerApp::All),
        description: "Flags of one app (--exec, --name, --user, ...) follow its image. Arguments of its program stand between --\nand ---:\n\n\trkt run IMAGE1 --exec=/bin/a -- -v --- IMAGE2 --name=b"
    ),
    entry!(
        &["run-prepared"],
        "Run a prepared application pod in rkt",
        "UUID",
        run_prepared, RunPreparedArgs,
        description: "UUID must have been acquired via rkt prepare."
    ),
    entry!(
        &["status"],
        "Check the status of a rkt pod",
        "[--wait=bool|timeout] [--wait-ready=bool|timeout] UUID | --uuid-file=FILE",
        status,
        StatusArgs
    ),
    entry!(&["stop"], "Stop a pod", "[--force] UUID... | --uuid-file=FILE", stop, StopArgs),
    entry!(
        &["trust"],
        "Trust a key for image verification",
        "[--prefix=PREFIX] [PUBKEY ...]",
        trust, TrustArgs,
        description: "Adds keys to the local keystore for use in verifying signed images. PUBKEY is a file or an https URL; without one,\nthe keys that the owner of PREFIX announces are looked for.\n\nEach key is shown, and asked about, before it is trusted."
    ),
    entry!(&["version"], "Print the version and exit", "", version, VersionArgs),
];
