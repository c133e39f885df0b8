//! From a prepared pod to its stage1: mounts, then `exec`.
//!
//! The mounts of a pod are made in a mount namespace of its own, so that they end with the pod's last process and the
//! host never sees them. stage1 gets a handle of the namespace that rkt was called in, for volumes whose mounts
//! must travel, and inherits the lock of the pod.

mod abi;
pub(crate) mod overlay;
pub(crate) mod roots;

use std::convert::Infallible;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use appc::value::NetList;
use pod::{Held, PodDir, Pods};
use rustix::fs::{Mode, OFlags};
use sys::namespace::{self, Kind};

pub(crate) use abi::Abi;

use crate::context::Context;
use crate::metadata;
use crate::options::dns::{NameFile, Names};
use crate::options::net;
use crate::options::runtime::Ipc;
use crate::report;
use roots::Roots;

/// The variable that has the number of the descriptor of the mount namespace that rkt was called in.
pub(crate) const MOUNT_NAMESPACE_FD: &str = "RKT_MOUNT_NAMESPACE_FD";

/// How a pod is run.
#[derive(Debug)]
pub(crate) struct RunRequest {
    pub(crate) net: NetList,
    pub(crate) names: Names,
    pub(crate) hostname: Option<String>,
    pub(crate) interactive: bool,
    pub(crate) ipc: Option<Ipc>,
    /// Apps come and go.
    pub(crate) mutable: bool,
    /// The metadata service gets to know the pod.
    pub(crate) register: bool,
}

/// Becomes the stage1 of the pod `held`, which stands in `run`. Returns only when that fails.
pub(crate) fn launch(
    context: &Context,
    pods: &Pods,
    held: &Held,
    abi: &Abi,
    roots: &Roots,
    request: &RunRequest,
) -> Result<Infallible> {
    ensure!(
        !request.mutable || abi.mutable,
        "the stage1 does not support mutable pods: its manifest lacks annotations coreos.com/rkt/stage1/app/…"
    );
    let token = request.register.then(|| metadata::register(&held.dir, held.uuid)).transpose()?;
    let path = pods.path(held.place, held.uuid);
    let cannot_enter = || format!("Cannot enter {}", path.display());
    rustix::process::chdir(&path).with_context(cannot_enter)?;
    let host_mounts = namespace::open(None, Kind::Mount).context("Cannot open the mount namespace")?;
    namespace::private_mounts().context("Cannot make a mount namespace for the pod")?;

    // A handle from before would stand for the mounts of the host.
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let pod = PodDir::from(rustix::fs::open(".", directory, Mode::empty()).with_context(cannot_enter)?);
    roots.mount(&pod)?;
    write_names(&pod, &request.names)?;

    let program = path.join("stage1/rootfs").join(abi.run.trim_start_matches('/'));
    let lock = held.lock_fd()?;
    sys::fd::set_inherited(&host_mounts, true).context("Cannot hand the mount namespace on")?;
    let mut command = Command::new(&program);
    let users = pod.private_users()?.map(|(first, count)| format!("--private-users={first}:{count}"));
    command
        .args(arguments(context, abi, request))
        .args(users)
        .args(token.map(|token| format!("--mds-token={token}")))
        .arg(held.uuid.as_str())
        .env(pod::LOCK_FD_VARIABLE, lock.to_string())
        .env(MOUNT_NAMESPACE_FD, host_mounts.as_raw_fd().to_string());
    let error = command.exec();
    Err(error).with_context(|| format!("Cannot execute the stage1 {}", program.display()))
}

/// What stage1's `run` gets before the name of the pod. What an older stage1 does not know is left out with a warning.
fn arguments(context: &Context, abi: &Abi, request: &RunRequest) -> Vec<String> {
    let mut arguments = Vec::new();
    if context.debug {
        arguments.push("--debug".to_owned());
    }
    arguments.push(format!("--net={}", net::argument(&request.net)));
    if request.interactive {
        arguments.push("--interactive".to_owned());
    }
    arguments.push(format!("--local-config={}", context.roots.local.display()));
    let mut since = |version: u32, argument: String| {
        if abi.version >= version {
            arguments.push(argument);
        } else {
            let name = argument.split('=').next().unwrap_or_default();
            report::notice("run", format_args!("warning: {name} option is not supported by stage1"));
        }
    };
    if let Some(hostname) = &request.hostname {
        since(2, format!("--hostname={hostname}"));
    }
    if let Some(mode) = request.names.argument() {
        since(4, format!("--dns-conf-mode={mode}"));
    }
    for (skipped, flag) in [
        (context.insecure.skips_capabilities(), "--disable-capabilities-restriction"),
        (context.insecure.skips_paths(), "--disable-paths"),
        (context.insecure.skips_seccomp(), "--disable-seccomp"),
    ] {
        if skipped {
            since(3, flag.to_owned());
        }
    }
    if request.mutable {
        since(5, "--mutable".to_owned());
    }
    if let Some(ipc) = request.ipc {
        since(6, format!("--ipc={}", ipc.as_str()));
    }
    arguments
}

/// Writes the files about names that stage0 was asked for, where stage1 looks for them.
fn write_names(pod: &PodDir, names: &Names) -> Result<()> {
    for (name, file) in [("rkt-resolv.conf", &names.resolv), ("rkt-hosts", &names.hosts)] {
        let NameFile::Text(text) = file else { continue };
        let failed = || format!("Cannot write etc/{name} of the stage1");
        let root = pod.open_directory("stage1/rootfs")?;
        roots::write_in(&root, Path::new("etc"), name, text.as_bytes()).with_context(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Roots as ConfigRoots;

    fn context(debug: bool, insecure: &[&str]) -> Context {
        let roots = ConfigRoots { system: "/s".into(), local: "/etc/rkt".into(), user: None };
        Context::new(debug, None, roots, insecure.iter().map(|word| word.parse().unwrap()).collect())
    }

    fn plain() -> RunRequest {
        RunRequest {
            net: "host".parse().unwrap(),
            names: Names { resolv: NameFile::Default, hosts: NameFile::Default },
            hostname: None,
            interactive: false,
            ipc: None,
            mutable: false,
            register: false,
        }
    }

    fn full() -> RunRequest {
        RunRequest {
            net: "none".parse().unwrap(),
            names: Names { resolv: NameFile::Host, hosts: NameFile::Text(String::new()) },
            hostname: Some("box".to_owned()),
            interactive: true,
            ipc: Some(Ipc::Parent),
            mutable: true,
            register: false,
        }
    }

    fn arguments_of(version: u32, context: &Context, request: &RunRequest) -> String {
        arguments(context, &Abi { run: "/init".to_owned(), version, mutable: true }, request).join(" ")
    }

    #[test]
    fn a_plain_run_says_little() {
        let context = context(false, &[]);
        assert_eq!(arguments_of(6, &context, &plain()), "--net=host --local-config=/etc/rkt");
    }

    #[test]
    fn each_option_goes_to_those_who_know_it() {
        let context = context(true, &["all-run"]);
        let first = "--debug --net=none --interactive --local-config=/etc/rkt";
        let insecure = "--disable-capabilities-restriction --disable-paths --disable-seccomp";
        let names = "--dns-conf-mode=resolv=host,hosts=stage0";
        for (version, rest) in [
            (1, String::new()),
            (2, " --hostname=box".to_owned()),
            (3, format!(" --hostname=box {insecure}")),
            (5, format!(" --hostname=box {names} {insecure} --mutable")),
            (6, format!(" --hostname=box {names} {insecure} --mutable --ipc=parent")),
        ] {
            assert_eq!(arguments_of(version, &context, &full()), format!("{first}{rest}"), "{version}");
        }
    }
}
