//! `run`: from a prepared pod directory to systemd-nspawn.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use executor::AppSpec;
use network::Joined;
use pod::Current;
use rustix::io::Errno;
use stage1::args::{Network, Run};
use stage1::attach;
use stage1::network_files::NameFiles;
use stage1::spec::{Limits, Policy};
use stage1::sysctls::{self, Parameters};
use stage1::{Context, Error, Pod, Result, pod_limits, warn};
use supervised::apps;
use supervised::descriptors::{listen_for_control, share_out, streams};
use supervised::metadata;
use supervised::networks::{self, Home};
use sys::namespace::{self, Kind};
use systemd::pod_group;
use systemd::{PodGroup, journal};

use crate::cgroup;
use crate::command::{Container, arguments, environment};
use crate::host::{self, Nspawn};

/// Becomes systemd-nspawn.
pub(crate) fn run(run: &Run) -> Result<Infallible> {
    // Volumes of a container come from our own mounts: nothing that is mounted in them goes back to the host. What is
    // to be done for its network is done there.
    let mut home = Home::open(attach::leave_host()?)?;
    let nspawn = host::nspawn()?;
    let mut pod = Pod::open(Current::open()?)?;
    if pod.apps.is_empty() && !run.mutable {
        return Err(Error::Refused(format!("Pod {} has no apps", run.uuid)));
    }
    let uuid = run.uuid.to_string();
    let mut warnings = Vec::new();
    let of_pod = pod_limits::read(&pod, Policy::Contained, &mut warnings)?;
    let properties = pod_limits::properties(&of_pod);
    let mover = cgroup::mover(run, nspawn.version);
    let request = pod_group::Request { uuid: &uuid, properties: &properties, mover };
    let group = pod_group::join(&request)?;
    pod.current.write_subcgroup(group.group.path())?;
    pod_limits::enforce(&of_pod, Some(&group), Policy::Contained, &mut warnings)?;
    warnings.iter().for_each(|warning| warn(warning));
    let limits = match &group.limits {
        Ok(()) => Limits::Enforced(group.group.controllers()?),
        Err(reason) => Limits::Impossible(reason.clone()),
    };
    let mut specs = apps::specs(&pod, run, &limits)?;
    let sockets = share_out(&pod, &mut specs, systemd::listen::take());
    apps::mount_volumes(&pod, &mut specs)?;
    // systemd-nspawn sets the host name. A network of the pod's own that nobody joins is made in there.
    let sysctls = sysctls::of(&pod, run)?;
    let administrates = run.network == Network::None && !sysctls.network.is_empty();
    let (within, of_network) = match run.network {
        Network::None => (sysctls.all(), Parameters::new()),
        _ => (sysctls.ipc, sysctls.network),
    };
    let write = |specs: &[AppSpec]| -> Result<()> {
        let spec = apps::write_files(&pod, run, specs, &within, "nspawn", None)?;
        apps::write_spec(&pod, run, &spec)
    };
    write(&specs)?;
    // Where `rkt logs` finds lines whose writers ended before the journal could see their group.
    if let Some(id) = systemd::unit::invocation().filter(|_| systemd::unit::is_started_by_systemd()) {
        pod.current.dir.write("output", format!("invocation {id}").as_bytes())?;
    }
    let joined = networks::join(&pod, run, &home, !sockets.is_empty())?;
    let announced = match metadata::announce(run, joined.as_ref(), &mut specs) {
        Ok(true) => write(&specs),
        announced => announced.map(|_| ()),
    };
    let started = announced.and_then(|()| {
        let joined = joined.as_ref();
        let container = Parts { nspawn, group, specs, sockets, administrates, of_network, joined };
        become_nspawn(&mut pod, run, &mut home, &container)
    });
    started.map_err(|error| match joined {
        Some(_) => networks::leave_after(error, run, &home),
        None => error,
    })
}

/// What the pod is started from.
struct Parts<'a> {
    nspawn: Nspawn,
    group: PodGroup,
    specs: Vec<AppSpec>,
    sockets: Vec<(String, OwnedFd)>,
    administrates: bool,
    of_network: Parameters,
    joined: Option<&'a Joined>,
}

/// All that comes after the network.
fn become_nspawn(pod: &mut Pod, run: &Run, home: &mut Home, parts: &Parts<'_>) -> Result<Infallible> {
    let Parts { nspawn, group, specs, sockets, administrates, of_network, joined } = parts;
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
    // Apps that come later have no stream of their own.
    let copied = run.mutable || !journal::stdout_is_journal();
    let entries = if copied { journal::socket().ok() } else { None };
    let mut descriptors: Vec<(String, BorrowedFd<'_>)> = vec![("control".to_owned(), control.as_fd())];
    descriptors.extend(entries.iter().map(|socket| ("journal".to_owned(), socket.as_fd())));
    descriptors.extend(streams.iter().map(|(name, stream)| (name.clone(), stream.as_fd())));
    descriptors.extend(sockets.iter().map(|(name, fd)| (name.clone(), fd.as_fd())));

    let names: Vec<String> = descriptors.iter().map(|(name, _)| name.clone()).collect();
    let container = Container {
        uuid: run.uuid,
        apps: specs,
        register: nspawn.may_register(&group.owner) && systemd::machined::available(),
        administrates_network: *administrates,
        terminal: run.interactive && rustix::termios::isatty(io::stdin()),
        descriptors: &names,
    };
    let strings = |texts: Vec<String>| -> Result<Vec<CString>> {
        let nul = |_| Error::Refused("A NUL byte stands in the options of the pod".to_owned());
        texts.into_iter().map(|text| CString::new(text).map_err(nul)).collect()
    };
    let argv = strings(arguments(&container, run))?;
    let envp = environment(&container, run, std::env::vars_os());
    let path = strings(vec![nspawn.program.display().to_string()])?.remove(0);

    let ourselves = rustix::process::getpid();
    pod.current.write_ppid(ourselves, Some(group.group.path()))?;
    // /sys of the container shows the interfaces of whoever mounts it.
    if let Some(joined) = joined {
        namespace::join(joined.netns.as_fd(), Kind::Network)
            .step(|| "enter the pod's network namespace".to_owned())?;
        sysctls::set_network(of_network, run.private_users)?;
    }
    if !group.moved {
        cgroup::present(&pod.current, &group.group, run.debug)?;
    }
    hand_down(pod, home, &descriptors)?;
    let error = sys::process::execute_path(&path, &argv, &envp);
    Err(error).step(|| format!("execute {}", nspawn.program.display()))
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
