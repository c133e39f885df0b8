//! The view that the app has: its root, with the host's `/dev`, `/proc` and `/sys` in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use executor::AppSpec;
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountFlags;
use stage1::args::Run;
use stage1::input::AppInput;
use stage1::volumes::Rules;
use stage1::{Context, Pod, Result, attach, warn};
use sys::mount::{self, Attributes, Propagation};
use sys::path::create_dir_all_in_root;

/// Where the app finds the notify socket of its unit.
const NOTIFY_SOCKET: &str = "/run/systemd/notify";

/// Builds it. `host` is the host's mount namespace; we are in another one.
pub(crate) fn build(
    pod: &Pod,
    app: &AppInput,
    run: &Run,
    spec: &mut AppSpec,
    host: BorrowedFd<'_>,
) -> Result<OwnedFd> {
    let stage1 = pod.current.dir.open_directory("stage1/rootfs")?;
    let directory =
        pod.current.dir.open_directory(&format!("stage1/rootfs/opt/stage2/{}/rootfs", app.name()))?;
    // A mount of its own, so that it can be read-only by itself.
    let root = mount::clone_tree(directory.as_fd(), true)
        .and_then(|root| mount::attach(root.as_fd(), directory.as_fd()).map(|()| root))
        .step(|| "mount the app's root".to_owned())?;
    for path in ["/dev", "/proc", "/sys"] {
        bind_api(path, root.as_fd())?;
    }
    make_directory(root.as_fd(), "/tmp", 0o1777)
        .and_then(|tmp| {
            // The name tells the pod's processes from others of its service.
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            mount::tmpfs(tmp.as_fd(), &pod::members::mount_source(run.uuid), flags, "mode=1777")
        })
        .step(|| "mount /tmp".to_owned())?;

    let mut warnings = Vec::new();
    let rules = Rules { recursive: false, implicit: false };
    let planned = stage1::volumes::plan(&pod.manifest, app, rules, &mut warnings)?;
    let opened = attach::open(&planned, &pod.current.dir, Some(host), root.as_fd(), None)?;
    spec.mounts = attach::attach(app.name(), root.as_fd(), &opened)?;
    warnings.iter().for_each(|warning| warn(warning));

    stage1::network_files::install(stage1.as_fd(), root.as_fd(), run.resolv_conf, run.hosts, &spec.mounts)?;
    stage1::credentials::provide(app, spec, root.as_fd(), 0)?;
    if spec.notify {
        hand_on_notify(spec, root.as_fd())?;
    }
    Ok(root)
}

/// The host's own, with all below. What is mounted there later comes in; nothing goes out, and the host's mounts stay as
/// they are.
fn bind_api(path: &str, root: BorrowedFd<'_>) -> Result<()> {
    let attributes = Attributes { propagation: Some(Propagation::Slave), ..Attributes::default() };
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|source| mount::clone_tree(source.as_fd(), true))
        .and_then(|tree| {
            mount::set_attributes(tree.as_fd(), &attributes, true)?;
            mount::attach(tree.as_fd(), make_directory(root, path, 0o755)?.as_fd())
        })
        .step(|| format!("bind {path}"))
}

fn make_directory(root: BorrowedFd<'_>, path: &str, mode: u32) -> rustix::io::Result<OwnedFd> {
    create_dir_all_in_root(root, Path::new(path), Mode::from_raw_mode(mode))
}

/// The app is the unit's main process, so it talks to systemd itself.
fn hand_on_notify(spec: &mut AppSpec, root: BorrowedFd<'_>) -> Result<()> {
    let Ok(socket) = std::env::var("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let inside = if socket.starts_with('/') {
        let source = rustix::fs::open(&*socket, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .step(|| format!("open the notify socket {socket}"))?;
        attach::bind_file(source.as_fd(), root, Path::new(NOTIFY_SOCKET), false)?;
        NOTIFY_SOCKET.to_owned()
    } else {
        // Abstract sockets belong to the network, which is the host's.
        socket
    };
    spec.environment.push(("NOTIFY_SOCKET".to_owned(), inside));
    if let Some(usec) = spec.watchdog_usec {
        let pid = rustix::process::getpid().as_raw_nonzero();
        spec.environment.push(("WATCHDOG_USEC".to_owned(), usec.to_string()));
        spec.environment.push(("WATCHDOG_PID".to_owned(), pid.to_string()));
    }
    Ok(())
}
