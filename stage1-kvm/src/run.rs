//! `run`: from a prepared pod directory to a machine, and to its end.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use executor::AppSpec;
use executor::spec::CgroupLimits;
use network::Joined;
use pod::Current;
use rustix::fs::{Mode, OFlags};
use stage1::args::{FileMode, Ipc, Network, Run, machine_name};
use stage1::network_files::{self, NameFiles};
use stage1::spec::{Limits, Policy};
use stage1::{Context, Error, Pod, Result, attach, pod_limits, sysctls, warn};
use supervised::apps;
use supervised::descriptors::{listen_for_control, share_out};
use supervised::metadata;
use supervised::networks::{self, Home};
use supervisor::PodSpec;
use supervisor::client::RawMode;
use supervisor::link::{Link, OwnFile, Side};
use sys::mount::{Attributes, Propagation};
use systemd::journal;
use systemd::notify::Notifier;
use systemd::pod_group::{self, Mover, Owner, PodGroup};

use crate::accelerator::{self, Accelerator, Facts};
use crate::console::{Complaints, Console};
use crate::files::Source;
use crate::guest::{self, Outside};
use crate::hypervisor::{Connections, Hypervisor};
use crate::initramfs;
use crate::machine::{self, Device, Machine};
use crate::monitor::{Monitor, State};
use crate::qemu::Qemu;
use crate::records::Records;
use crate::settings::{Channel, Model, Settings};
use crate::sockets::HostSocket;
use crate::vsock::Vsock;
use crate::wires;

/// The controllers of the guest's kernel that limits of apps need. (It has no block device whose use could be limited.)
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// The guest's kernel and initramfs, in the root of the stage1.
const KERNEL: &str = "stage1/rootfs/boot/vmlinux";
const INITRD: &str = "stage1/rootfs/boot/initramfs";

/// In the root of the stage1; see machine-id(5).
const MACHINE_ID: &str = "/etc/machine-id";

/// Runs the pod and ends with its status.
pub(crate) fn run(run: &Run) -> Result<Infallible> {
    let clock = Clock::start();
    // What is mounted for the machine stays in a mount namespace of its own; its networks are made in the host's.
    let home = Home::open(attach::leave_host()?)?;
    refuse_what_cannot_be(run)?;
    let settings = Settings::read(Path::new(run.local_config.as_deref().unwrap_or("/etc/rkt")))?;
    let accelerator = accelerator::choose(settings.accelerate(), &Facts::gather())?;
    if accelerator == Accelerator::Tcg {
        warn(
            "the pod's machine is emulated (TCG), as asked for: everything in it takes many times longer than with KVM",
        );
    }
    let (qemu, source) = (Qemu::find(accelerator)?, Source::find()?);
    let pod = Pod::open(Current::open()?)?;
    if pod.apps.is_empty() && !run.mutable {
        return Err(Error::Refused(format!("Pod {} has no apps", run.uuid)));
    }
    let uuid = run.uuid.to_string();
    let mut warnings = Vec::new();
    let of_pod = pod_limits::read(&pod, Policy::Contained, &mut warnings)?;
    // The machine has as much memory as the pod may use, so only its processors are for the host to limit.
    let on_host = CgroupLimits { memory_bytes: None, ..of_pod.clone() };
    let properties = pod_limits::properties(&on_host);
    let request =
        pod_group::Request { uuid: &uuid, properties: &properties, mover: Mover::Us { below: None } };
    let group = pod_group::join(&request)?;
    pod.current.write_subcgroup(group.group.path())?;
    pod_limits::enforce(&on_host, Some(&group), Policy::Contained, &mut warnings)?;
    warnings.iter().for_each(|warning| warn(warning));
    // The guest's own kernel enforces them.
    let limits = Limits::Enforced(CONTROLLERS.map(str::to_owned).to_vec());
    let mut specs = apps::specs(&pod, run, &limits)?;
    let sockets = share_out(&pod, &mut specs, systemd::listen::take());
    apps::mount_volumes(&pod, &mut specs)?;
    apps::refuse_devices(&specs)?;
    apps::make_places(&pod, &specs)?;
    if run.mutable {
        share_later_mounts(&pod)?;
    }
    let sysctls = sysctls::of(&pod, run)?.all();
    let mut written = apps::write_files(&pod, run, &specs, &sysctls, "kvm", Some(run.hostname()))?;
    pod.current
        .dir
        .write(&format!("stage1/rootfs{MACHINE_ID}"), format!("{}\n", uuid.replace('-', "")).as_bytes())?;
    let joined = networks::join(&pod, run, &home, !sockets.is_empty())?;
    let announced = match metadata::announce(run, joined.as_ref(), &mut specs) {
        Ok(true) => apps::write_files(&pod, run, &specs, &sysctls, "kvm", Some(run.hostname()))
            .map(|again| written = again),
        announced => announced.map(|_| ()),
    };
    let names = NameFiles {
        resolv_conf: run.resolv_conf,
        of_network: joined.as_ref().and_then(|joined| joined.resolv_conf.as_deref()),
        hosts: run.hosts,
        hostname: &run.hostname(),
    };
    let parts = Parts {
        settings,
        accelerator,
        qemu: &qemu,
        source: &source,
        specs: &specs,
        of_pod: &of_pod,
        group: &group,
        joined: joined.as_ref(),
    };
    let name = machine_name(run.uuid);
    let ended = announced
        .and_then(|()| Ok(pod.current.dir.open_directory("stage1/rootfs")?))
        .and_then(|root| names.prepare(root.as_fd()))
        .and_then(|()| HostSocket::take(sockets))
        .and_then(|sockets| monitor(&pod, run, &parts, written, sockets, &clock))
        .and_then(|(monitor, raw)| {
            let registered = register(&name, run, &group);
            let status = monitor.run(|| {
                if registered {
                    // machined finds out by itself, later.
                    let _ = systemd::machined::unregister(&name);
                }
            });
            drop(raw);
            status
        });
    match ended {
        Ok(status) => {
            // Nobody answers for the machine any more, not even to refuse.
            if let Err(error) = networks::release_ports(run.uuid) {
                warn(&stage1::chain(&error));
            }
            sys::process::exit_now(i32::from(status))
        }
        Err(error) if joined.is_some() => Err(networks::leave_after(error, run, &home)),
        Err(error) => Err(error),
    }
}

/// Shows the pod to `machinectl`, while the guest boots.
fn register(name: &str, run: &Run, group: &PodGroup) -> bool {
    if group.owner == Owner::Nobody || !systemd::machined::available() {
        return false;
    }
    let digits = run.uuid.to_string().replace('-', "");
    let id = u128::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes();
    match systemd::machined::register(name, id, rustix::process::getpid()) {
        Ok(()) => true,
        Err(error) => {
            warn(&format!("the pod is not registered with machined: {}", stage1::chain(&error)));
            false
        }
    }
}

/// What the machine is made from.
struct Parts<'a> {
    settings: Settings,
    accelerator: Accelerator,
    qemu: &'a Qemu,
    source: &'a Source,
    specs: &'a [AppSpec],
    /// Limits of all of it together.
    of_pod: &'a CgroupLimits,
    group: &'a PodGroup,
    joined: Option<&'a Joined>,
}

fn refuse_what_cannot_be(run: &Run) -> Result<()> {
    for (asked, what) in [
        (
            run.network == Network::Host,
            "the host's network (--net=host): a machine has its own. Use --net=default or --net=none",
        ),
        (run.ipc == Ipc::Parent, "the host's IPC (--ipc=parent)"),
        (run.private_users.is_some(), "user namespaces (--private-users): the machine is the wall"),
    ] {
        if asked {
            return Err(Error::Refused(format!("A pod of stage1-kvm cannot have {what}")));
        }
    }
    Ok(())
}

/// Lets the file server, which is started in a mount namespace of its own, see what is mounted for apps later.
fn share_later_mounts(pod: &Pod) -> Result<()> {
    let step = || "share the root of the stage1".to_owned();
    let root = pod.current.dir.open_directory("stage1/rootfs")?;
    // It may be a plain directory (--no-overlay).
    sys::mount::bind(root.as_fd(), root.as_fd(), true).step(step)?;
    let top = pod.current.dir.open_directory("stage1/rootfs")?;
    let shared = Attributes { propagation: Some(Propagation::Shared), ..Attributes::default() };
    sys::mount::set_attributes(top.as_fd(), &shared, true).step(step)
}

/// What has been prepared for the apps in the root of the stage1, which the guest does not see.
fn own_files(pod: &Pod, run: &Run) -> Result<Vec<OwnFile>> {
    let mut files = Vec::new();
    let modes = [None, Some(run.resolv_conf), Some(run.hosts), None];
    for (path, mode) in network_files::PREPARED.into_iter().zip(modes).chain([(MACHINE_ID, None)]) {
        if let Some(content) = pod.current.dir.read(&format!("stage1/rootfs{path}"))? {
            files.push(OwnFile {
                path: path.to_owned(),
                content: String::from_utf8_lossy(&content).into_owned(),
                read_only: mode == Some(FileMode::Host),
            });
        }
    }
    Ok(files)
}

/// Starts the helpers. While the raw mode lives the terminal is in it.
fn monitor(
    pod: &Pod,
    run: &Run,
    parts: &Parts<'_>,
    written: PodSpec,
    sockets: Vec<HostSocket>,
    clock: &Clock,
) -> Result<(Monitor, Option<RawMode>)> {
    let Parts { settings, accelerator, qemu, source, specs, of_pod, group, joined } = parts;
    let stdin = io::stdin();
    let terminal = run.interactive && rustix::termios::isatty(&stdin);
    let notifier = Notifier::from_environment().step(|| "reach the unit's NOTIFY_SOCKET".to_owned())?;
    let model = match settings.model() {
        Some(model) => model,
        None => qemu.usual_model(*accelerator)?,
    };
    if (*accelerator, model) == (Accelerator::Tcg, Model::Microvm) {
        warn(
            "an emulated microvm that the host keeps from running while it starts hangs, or has longer seconds: a q35 does not",
        );
    }
    let (interfaces, taps) = match joined {
        Some(joined) => wires::lay(&pod.current.dir, &joined.netns)?,
        None => (Vec::new(), Vec::new()),
    };
    let null = open("/dev/null", OFlags::RDWR)?;
    let (mut complaints, to_complaints) = Complaints::new(run.debug)?;
    let words = to_complaints.as_fd();
    let records = Records::open(pod)?;
    // Before signals are kept back: an image may take long.
    let files = source.provide(pod, run, specs, [null.as_fd(), words, words], &mut complaints)?;
    let (mut link, vsock, control_theirs) = open_link(run, settings)?;
    let mut shapes = specs.to_vec();
    // Those that come later, as one without limits.
    shapes.extend(run.mutable.then(|| AppSpec::new("later", &[])));
    let machine = Machine {
        uuid: run.uuid,
        accelerator: *accelerator,
        model,
        memory_mib: machine::memory_mib(&shapes, of_pod.memory_bytes),
        // Emulated processors share the work of the host's badly, and each takes its time to start.
        cpus: machine::cpus(
            &shapes,
            of_pod.cpu_milli,
            if *accelerator == Accelerator::Tcg { 1 } else { host_cpus() },
        ),
        link: vsock.as_ref().map_or(Device::Serial, Vsock::device),
        root: files.root(),
        kernel_parameters: String::new(),
        interfaces: interfaces.iter().map(|interface| interface.mac).collect(),
    };
    let signals = sys::signal::receive_all().step(|| "receive signals".to_owned())?;
    let control = listen_for_control()?;
    let (console, console_theirs) = pair()?;
    let kernel_path = settings.kernel.as_deref().unwrap_or(Path::new(KERNEL));
    let initrd = open(settings.initrd.as_deref().unwrap_or(Path::new(INITRD)), OFlags::RDONLY)?;
    let initrd = match (&settings.kernel, &settings.initrd) {
        (Some(kernel), None) => initramfs::for_kernel(kernel, initrd.into(), &machine)?,
        _ => initrd,
    };
    let connections = Connections {
        kernel: open(kernel_path, OFlags::RDONLY)?,
        initrd,
        control: control_theirs,
        console: console_theirs,
        files: files.descriptor,
        taps,
    };
    let kernel_parameters = machine::kernel_parameters(
        &machine,
        run.debug,
        (*accelerator == Accelerator::Tcg).then(|| clock.tsc_khz()).flatten(),
        settings.kernel_parameters.as_deref(),
    );
    let machine = Machine { kernel_parameters, ..machine };
    let command = qemu.command(&machine);
    if run.debug {
        eprintln!("{}: {} {}", qemu.name(), command.program.display(), command.arguments.join(" "));
    }
    let mut descriptors = vec![null.as_fd(), words, words];
    descriptors.extend(connections.descriptors());
    let hypervisor = command.spawn(&descriptors)?;
    // No streams of the journal, which takes what comes over them for the monitor's own words: it may look for the pod's
    // control group too late, when the monitor has ended. Entries name their pod.
    let journal = journal::socket().ok().map(OwnedFd::from);
    // In an image nothing is a mount of the host's.
    let mounted = specs.iter().filter(|_| files.image.is_none());
    let outside = Outside {
        files: own_files(pod, run)?,
        pod: written,
        journal,
        interactive: run.interactive,
        terminal,
        notify: notifier.is_some(),
        writable_sys: run.insecure.paths,
        mounts: mounted
            .flat_map(|spec| spec.mounts.iter().map(|mount| (spec.name.clone(), mount.path.clone())))
            .collect(),
        image: files.image,
        interfaces,
        listeners: sockets.iter().map(HostSocket::listener).collect(),
    };
    let (start, kept) = guest::connect(&mut link, outside)?;
    let raw = if terminal {
        let own = rustix::io::fcntl_dupfd_cloexec(&stdin, 3).step(|| "use the terminal".to_owned())?;
        Some(RawMode::enter(own).step(|| "switch the terminal to raw mode".to_owned())?)
    } else {
        None
    };
    // Whoever waits for the pod waits for this.
    pod.current.write_pid(rustix::process::getpid(), Some(group.group.path()))?;
    let limit = settings.ready_limit();
    let monitor = Monitor {
        link,
        vsock,
        console: Console::new(console, run.uuid.to_string(), run.debug),
        control,
        signals,
        sockets,
        complaints,
        hypervisor,
        file_server: files.server,
        records,
        start: Some(start),
        terminal: kept.terminal,
        notifications: kept.notifications,
        notifier,
        watchdog: stage1::spec::watchdog().map(Duration::from_micros),
        deadline: Instant::now() + limit,
        limit,
        state: State::Booting,
        is_stopping: false,
    };
    Ok((monitor, raw))
}

fn open(path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
    let path = path.as_ref();
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).step(|| format!("open {}", path.display()))
}

/// The link with the guest, and what the hypervisor gets of it: vsock, or a port of virtio-serial where the host has none.
fn open_link(run: &Run, settings: &Settings) -> Result<(Link, Option<Vsock>, OwnedFd)> {
    let wanted = (settings.link() == Channel::Vsock).then_some(run.uuid);
    if let Some((vsock, device)) = wanted.and_then(Vsock::open) {
        return Ok((Link::unconnected(Side::Host), Some(vsock), device));
    }
    let (port, theirs) = pair()?;
    Ok((Link::new(port, Side::Host), None, theirs))
}

/// A pair of sockets, of which the first does not block.
fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let step = || "make a socket".to_owned();
    let (ours, theirs) = UnixStream::pair().step(step)?;
    ours.set_nonblocking(true).step(step)?;
    Ok((ours.into(), theirs.into()))
}

fn host_cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, |count| u64::try_from(count.get()).unwrap_or(1))
}

/// Measures the speed of the processor's time stamp counter, which a guest in emulation cannot.
#[derive(Debug)]
struct Clock {
    began: Instant,
    stamp: Option<u64>,
}

impl Clock {
    fn start() -> Self {
        Clock { stamp: sys::clock::time_stamp(), began: Instant::now() }
    }

    /// In kHz; `None` when it cannot be known.
    fn tsc_khz(&self) -> Option<u64> {
        /// How long to measure at least, for three digits.
        const LEAST: Duration = Duration::from_millis(5);
        if let Some(rest) = LEAST.checked_sub(self.began.elapsed()) {
            std::thread::sleep(rest);
        }
        let stamp = sys::clock::time_stamp()?;
        let micros = u64::try_from(self.began.elapsed().as_micros()).ok()?;
        stamp.checked_sub(self.stamp?)?.checked_mul(1000)?.checked_div(micros)
    }
}
