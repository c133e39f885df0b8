//! `run`: from a prepared pod directory to systemd-nspawn.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use executor::AppSpec;
use executor::spec::OutputMode;
use network::Joined;
use pod::Current;
use rustix::fs::{AtFlags, CWD, Mode};
use rustix::io::Errno;
use stage1::args::Run;
use stage1::attach;
use stage1::network_files::NameFiles;
use stage1::spec::{Limits, Options, Policy};
use stage1::volumes::Rules;
use stage1::{Context, Error, Pod, Result, warn};
use supervisor::PodSpec;
use sys::namespace::{self, Kind};
use systemd::listen::Listen;
use systemd::pod_group::{self, Owner};
use systemd::{PodGroup, journal};

use crate::command::{Container, arguments, environment};
use crate::host;
use crate::networks::{self, Home};

/// The name of the supervisor's socket in the pod directory.
pub(crate) const CONTROL_SOCKET: &str = "control.sock";

/// Becomes systemd-nspawn.
pub(crate) fn run(run: &Run) -> Result<Infallible> {
    // Volumes of a container come from our own mounts: nothing that is mounted in them goes back to the host. What is
    // to be done for its network is done there.
    let mut home = Home::open(attach::leave_host()?)?;
    refuse_what_is_not_built(run)?;
    let program = host::nspawn()?;
    let mut pod = Pod::open(Current::open()?)?;
    if pod.apps.is_empty() {
        return Err(Error::Refused(format!("Pod {} has no apps", run.uuid)));
    }
    let uuid = run.uuid.to_string();
    let group =
        pod_group::join(&pod_group::Request { uuid: &uuid, below: None, slice: None, properties: &[] })?;
    let mut specs = specs(&pod, run, &group)?;
    let sockets = share_out(&pod, &mut specs, systemd::listen::take());
    mount_volumes(&pod, &mut specs)?;
    write_files(&pod, run, &specs)?;
    // A plugin that outlives us keeps the pod from being collected while it works.
    pod.current.write_subcgroup(group.group.path())?;
    let joined = networks::join(&pod, run, &home, &sockets)?;
    let container = Parts { program, group, specs, sockets, joined: joined.as_ref() };
    become_nspawn(&mut pod, run, &mut home, &container).map_err(|error| match joined {
        Some(_) => networks::leave_after(error, run, &home),
        None => error,
    })
}

/// What the pod is started from.
struct Parts<'a> {
    program: PathBuf,
    group: PodGroup,
    specs: Vec<AppSpec>,
    sockets: Vec<(String, OwnedFd)>,
    joined: Option<&'a Joined>,
}

/// All that comes after the network.
fn become_nspawn(pod: &mut Pod, run: &Run, home: &mut Home, parts: &Parts<'_>) -> Result<Infallible> {
    let Parts { program, group, specs, sockets, joined } = parts;
    let root = pod.current.dir.open_directory("stage1/rootfs")?;
    let names = NameFiles {
        resolv_conf: run.resolv_conf,
        of_network: joined.and_then(|joined| joined.resolv_conf.as_deref()),
        hosts: run.hosts,
        hostname: &run.hostname(),
    };
    names.prepare(root.as_fd())?;

    let control = listen_for_control()?;
    let streams = streams(specs, group);
    let entries = if streams.is_empty() { journal::socket().ok() } else { None };
    let mut descriptors: Vec<(String, BorrowedFd<'_>)> = vec![("control".to_owned(), control.as_fd())];
    descriptors.extend(entries.iter().map(|socket| ("journal".to_owned(), socket.as_fd())));
    descriptors.extend(streams.iter().map(|(name, stream)| (name.clone(), stream.as_fd())));
    descriptors.extend(sockets.iter().map(|(name, fd)| (name.clone(), fd.as_fd())));

    let names: Vec<String> = descriptors.iter().map(|(name, _)| name.clone()).collect();
    let container = Container {
        uuid: run.uuid,
        apps: specs,
        register: group.owner != Owner::Nobody && systemd::machined::available(),
        terminal: run.interactive && rustix::termios::isatty(io::stdin()),
        descriptors: &names,
    };
    let strings = |texts: Vec<String>| -> Result<Vec<CString>> {
        let nul = |_| Error::Refused("A NUL byte stands in the options of the pod".to_owned());
        texts.into_iter().map(|text| CString::new(text).map_err(nul)).collect()
    };
    let argv = strings(arguments(&container, run))?;
    let envp = environment(&container, run, std::env::vars_os());
    let path = strings(vec![program.display().to_string()])?.remove(0);

    let ourselves = rustix::process::getpid();
    pod.current.write_ppid(ourselves, Some(group.group.path()))?;
    // /sys of the container shows the interfaces of whoever mounts it.
    if let Some(joined) = joined {
        namespace::join(joined.netns.as_fd(), Kind::Network)
            .step(|| "enter the pod's network namespace".to_owned())?;
    }
    hand_down(pod, home, &descriptors)?;
    let error = sys::process::execute_path(&path, &argv, &envp);
    Err(error).step(|| format!("execute {}", program.display()))
}

fn refuse_what_is_not_built(run: &Run) -> Result<()> {
    for (asked, what) in [
        (run.mutable, "mutable pods (rkt app sandbox)"),
        (run.private_users.is_some(), "user namespaces (--private-users)"),
        (run.mds_token.is_some(), "the metadata service (--mds-register)"),
    ] {
        if asked {
            return Err(Error::Refused(format!("This stage1 does not support {what} yet")));
        }
    }
    Ok(())
}

fn specs(pod: &Pod, run: &Run, group: &PodGroup) -> Result<Vec<AppSpec>> {
    if let Some(isolator) = pod.manifest.isolators.iter().next() {
        return Err(Error::Refused(format!(
            "Pod {} has the isolator {:?}, and isolators of whole pods are not enforced: give it to an app, or limit \
             the unit that starts rkt",
            run.uuid,
            isolator.name()
        )));
    }
    let limits = match &group.limits {
        Ok(()) => Limits::Enforced(group.group.controllers()?),
        Err(reason) => Limits::Impossible(reason.clone()),
    };
    let term = std::env::var("TERM").ok();
    let options = Options {
        policy: Policy::Contained,
        insecure: run.insecure,
        interactive: run.interactive,
        term: term.as_deref(),
        watchdog_usec: stage1::spec::watchdog(),
        limits: &limits,
    };
    let mut warnings = Vec::new();
    let specs = pod.apps.iter().map(|app| stage1::spec::build(app, &options, &mut warnings)).collect();
    warnings.iter().for_each(|warning| warn(warning));
    specs
}

fn mount_volumes(pod: &Pod, specs: &mut [AppSpec]) -> Result<()> {
    let rules = Rules { recursive: true, implicit: true };
    let mut warnings = Vec::new();
    for (app, spec) in pod.apps.iter().zip(specs) {
        let planned = stage1::volumes::plan(&pod.manifest, app, rules, &mut warnings)?;
        if planned.is_empty() {
            continue;
        }
        let root = app_root(pod, app.name())?;
        let opened = attach::open(&planned, &pod.current.dir, None, root.as_fd())?;
        spec.mounts = attach::attach(app.name(), root.as_fd(), &opened)?;
    }
    warnings.iter().for_each(|warning| warn(warning));
    Ok(())
}

fn app_root(pod: &Pod, app: &str) -> Result<OwnedFd> {
    Ok(pod.current.dir.open_directory(&format!("stage1/rootfs/opt/stage2/{app}/rootfs"))?)
}

/// What the supervisor, other entrypoints and other programs read.
fn write_files(pod: &Pod, run: &Run, specs: &[AppSpec]) -> Result<()> {
    let dir = &pod.current.dir;
    for spec in specs {
        let path = format!("stage1/rootfs/rkt/env/{}", spec.name);
        dir.write(&path, stage1::spec::environment_file(spec).as_bytes())?;
    }
    let pod_spec = PodSpec {
        uuid: run.uuid.to_string(),
        // systemd-nspawn sets it.
        hostname: None,
        apps: specs.to_vec(),
        stop_grace_ms: 10_000,
        mutable: false,
        debug: run.debug,
    };
    let json = serde_json::to_vec(&pod_spec).map_err(io::Error::from).step(|| "write the apps".to_owned())?;
    dir.write(&format!("stage1/rootfs{}", supervisor::pod::POD_SPEC_PATH), &json)?;
    stage1::runtime_config::write(pod, run)?;
    Ok(pod.current.write_flavor("nspawn")?)
}

/// The socket on which the supervisor takes orders. The working directory is the pod directory; the socket does not show
/// inside the container.
fn listen_for_control() -> Result<OwnedFd> {
    match rustix::fs::unlinkat(CWD, CONTROL_SOCKET, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error).step(|| format!("remove {CONTROL_SOCKET}")),
    }
    // The group that may look at pods may not give them orders.
    let umask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let socket = UnixListener::bind(CONTROL_SOCKET).step(|| format!("listen on {CONTROL_SOCKET}"));
    rustix::process::umask(umask);
    Ok(socket?.into())
}

/// A stream of the journal for each app, when our own output is one: then nobody copies bytes.
fn streams(specs: &[AppSpec], group: &PodGroup) -> Vec<(String, OwnedFd)> {
    if !journal::stdout_is_journal() {
        return Vec::new();
    }
    let unit = match &group.owner {
        Owner::Service(unit) | Owner::Scope(unit) => unit.as_str(),
        Owner::Nobody => "",
    };
    let mut streams = Vec::new();
    for spec in specs {
        for (output, mode) in [("stdout", spec.stdout), ("stderr", spec.stderr)] {
            if mode != OutputMode::Log {
                continue;
            }
            let stream = journal::Stream {
                identifier: &spec.name,
                unit,
                priority: journal::Priority::Info,
                level_prefix: true,
            };
            match stream.open() {
                Ok(stream) => streams.push((format!("{output}-{}", spec.name), stream)),
                // Then the supervisor copies, to where our own output goes.
                Err(error) => warn(&format!("no journal stream for app {:?}: {error}", spec.name)),
            }
        }
    }
    streams
}

/// Gives the sockets of the unit to the apps that ask for them, under names by which the supervisor tells apart
/// what goes to different apps. Sockets that no app asks for are closed.
fn share_out(pod: &Pod, specs: &mut [AppSpec], listen: Vec<Listen>) -> Vec<(String, OwnedFd)> {
    let wanted: Vec<Vec<usize>> =
        pod.apps.iter().map(|app| stage1::sockets::of_app(app, &pod.manifest, &listen)).collect();
    let mut shared: Vec<(String, OwnedFd)> = Vec::new();
    let mut owners: Vec<(String, Vec<usize>)> = Vec::new();
    for (place, Listen { name, fd }) in listen.into_iter().enumerate() {
        let apps: Vec<usize> = (0..wanted.len()).filter(|&app| wanted[app].contains(&place)).collect();
        if apps.is_empty() {
            continue;
        }
        let name = name_inside(&name, &apps, &mut owners);
        for &app in &apps {
            if !specs[app].sockets.contains(&name) {
                specs[app].sockets.push(name.clone());
            }
        }
        shared.push((name, fd));
    }
    shared
}

/// The name under which the supervisor gets a socket that is for `apps`. Some names mean something else to it, and one
/// name cannot mean different apps.
fn name_inside(name: &str, apps: &[usize], owners: &mut Vec<(String, Vec<usize>)>) -> String {
    let reserved = ["control", "journal"].contains(&name)
        || ["stdout-", "stderr-"].iter().any(|prefix| name.starts_with(prefix));
    let plain = if reserved { format!("socket-{name}") } else { name.to_owned() };
    let mut inside = plain.clone();
    for number in 2.. {
        match owners.iter().find(|(known, _)| *known == inside) {
            Some((_, owner)) if owner == apps => break,
            Some(_) => inside = format!("{plain}-{number}"),
            None => {
                owners.push((inside.clone(), apps.to_vec()));
                break;
            }
        }
    }
    inside
}

/// Puts the descriptors under the numbers from 3 on, and the lock above them. Nothing else stays open in the next
/// program; `home`, which is needed when there is none, moves out of their way.
fn hand_down(pod: &mut Pod, home: &mut Home, descriptors: &[(String, BorrowedFd<'_>)]) -> Result<()> {
    let step = || "hand down descriptors".to_owned();
    let count = i32::try_from(descriptors.len()).map_err(|_| Errno::MFILE).step(step)?;
    sys::fd::close_on_exec_from(3).step(step)?;
    pod.current.keep_lock_from(3 + count)?;
    home.move_above(3 + count).step(step)?;
    let (input, output, errors) = (io::stdin(), io::stdout(), io::stderr());
    let mut all = vec![input.as_fd(), output.as_fd(), errors.as_fd()];
    all.extend(descriptors.iter().map(|(_, fd)| *fd));
    sys::fd::arrange(&all).step(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_inside_mean_one_thing() {
        let mut owners = Vec::new();
        for (name, apps, inside) in [
            ("web.socket", [0].as_slice(), "web.socket"),
            ("web.socket", &[0], "web.socket"),
            ("web.socket", &[1], "web.socket-2"),
            ("web.socket", &[0, 1], "web.socket-3"),
            ("web.socket", &[1], "web.socket-2"),
            ("control", &[0], "socket-control"),
            ("stdout-web", &[0], "socket-stdout-web"),
            ("journals", &[0], "journals"),
        ] {
            assert_eq!(name_inside(name, apps, &mut owners), inside);
        }
    }
}
