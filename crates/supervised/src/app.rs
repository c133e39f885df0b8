//! `app_add`, `app_start`, `app_stop` and `app_rm`: changes of a mutable pod.
//!
//! ```text
//! stage0 ── the root of the app, a mount that stands nowhere (RKT_APP_ROOT_FD) ──► app_add
//!             app_add ── opens its volumes, then goes into the mount namespace of process 1, and attaches both there
//!                     ── what the app is ──► supervisor
//! ```
//! The root of the stage1 is the top of that namespace for a container, and stands in the pod directory for a machine, where the
//! file server gets to see what is mounted.
//!
//! Without that handle the root stands in the pod's copy of the stage1 already.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use executor::AppSpec;
use pod::{Current, PodDir, PodUuid};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use stage1::args::{App, AppOperation};
use stage1::processes::Member;
use stage1::spec::{Limits, Options, Policy};
use stage1::volumes::Rules;
use stage1::{Context, Error, Pod, Result, attach, runtime_config, warn};
use supervisor::client::{Changes, ClientError};
use supervisor::control::Request;
use sys::namespace::{self, Kind};
use sys::path::{create_dir_all_in_root, open_in_root};

use crate::CONTROL_SOCKET;

/// In which variable stage0 hands over the root of a new app.
const ROOT: &str = "RKT_APP_ROOT_FD";

/// What is around the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wall {
    Container,
    Machine,
}

/// Changes the apps of a mutable pod in a container.
///
/// # Errors
/// When the pod is not mutable, or the supervisor refuses.
pub fn app(app: &App) -> Result<()> {
    change(app, Wall::Container)
}

/// Changes the apps of a mutable pod in a machine.
///
/// # Errors
/// As [`app`].
pub fn app_of_machine(app: &App) -> Result<()> {
    change(app, Wall::Machine)
}

fn change(app: &App, wall: Wall) -> Result<()> {
    let mut changes = Changes::open(Path::new(CONTROL_SOCKET)).map_err(|error| refused(&error))?;
    let name = || app.app.clone();
    match app.operation {
        AppOperation::Add => add(app, wall, &mut changes),
        AppOperation::Start => {
            changes.ask(&Request::StartApp { app: name() }).map_err(|error| refused(&error))
        }
        AppOperation::Stop => changes.ask(&Request::StopApp { app: name() }).map_err(|error| refused(&error)),
        AppOperation::Remove => {
            changes.ask(&Request::RemoveApp { app: name() }).map_err(|error| refused(&error))?;
            let dir = Current::open()?.dir;
            let root = enter(&dir, wall)?;
            unmount(root.as_fd(), &app.app)?;
            forget(root.as_fd(), &app.app)
        }
    }
}

fn refused(error: &ClientError) -> Error {
    Error::Refused(stage1::chain(error))
}

fn add(app: &App, wall: Wall, changes: &mut Changes) -> Result<()> {
    let pod = Pod::open(Current::open()?)?;
    let remembered = runtime_config::read(&pod.current.dir)?;
    if !remembered.mutable {
        return Err(Error::Refused("The apps of this pod cannot be changed: it is not mutable".to_owned()));
    }
    let input = pod.app(&app.app)?;
    let given = match std::env::var(ROOT) {
        Ok(number) => {
            let root = number.parse().map_err(|_| Errno::BADF).and_then(sys::fd::take_inherited);
            Some(root.step(|| format!("use {ROOT}={number}"))?)
        }
        Err(_) => None,
    };
    let mut warnings = Vec::new();
    // The supervisor knows which it can enforce.
    let limits = Limits::Enforced(["cpu", "memory", "pids", "io"].map(str::to_owned).to_vec());
    let options = Options {
        policy: Policy::Contained,
        insecure: remembered.insecure,
        interactive: false,
        term: None,
        watchdog_usec: None,
        limits: &limits,
    };
    let mut spec = stage1::spec::build(input, &options, &mut warnings)?;
    let rules = Rules { recursive: true, implicit: true };
    let planned = stage1::volumes::plan(&pod.manifest, input, rules, &mut warnings)?;
    warnings.iter().for_each(|warning| warn(warning));
    let image = match &given {
        Some(root) => root.as_fd().try_clone_to_owned().step(|| "use the root of the app".to_owned())?,
        None => crate::apps::app_root(&pod, &app.app)?,
    };
    let users = attach::Users::of(&pod.current.dir)?;
    let opened = attach::open(&planned, &pod.current.dir, None, image.as_fd(), users.as_ref())?;
    drop(image);

    let inside = enter(&pod.current.dir, wall)?;
    let done = put(inside.as_fd(), given.as_ref(), &mut spec, &opened).and_then(|()| {
        if wall == Wall::Machine {
            crate::apps::refuse_devices(std::slice::from_ref(&spec))?;
        }
        let spec = Box::new(spec.clone());
        changes.ask(&Request::AddApp { spec }).map_err(|error| refused(&error))
    });
    if done.is_err() {
        // What was the matter is told; that this failed as well is not.
        let _ = unmount(inside.as_fd(), &app.app);
    }
    done
}

/// Puts the root and the volumes of an app in their places.
fn put(
    inside: BorrowedFd<'_>,
    root: Option<&OwnedFd>,
    spec: &mut AppSpec,
    volumes: &[attach::Opened<'_>],
) -> Result<()> {
    let place = format!("opt/stage2/{}/rootfs", spec.name);
    let mode = Mode::from_raw_mode(0o755);
    let step = || format!("put the root of app {:?} in its place", spec.name);
    let target = create_dir_all_in_root(inside, Path::new(&place), mode).step(step)?;
    if let Some(root) = root {
        sys::mount::attach(root.as_fd(), target.as_fd()).step(step)?;
    }
    let top = open_in_root(inside, Path::new(&place), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
        .step(step)?;
    spec.mounts = attach::attach(&spec.name, top.as_fd(), volumes)?;
    let environment = stage1::spec::environment_file(spec);
    let directory = create_dir_all_in_root(inside, Path::new("rkt/env"), mode).step(step)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, &*spec.name, flags, Mode::from_raw_mode(0o640)).step(step)?;
    std::io::Write::write_all(&mut std::fs::File::from(file), environment.as_bytes()).map_err(|source| {
        Error::Step { step: format!("write the environment of app {:?}", spec.name), source }
    })
}

/// Removes what was made for an app in the root of the stage1. A root that is a copy is left to stage0.
fn forget(inside: BorrowedFd<'_>, app: &str) -> Result<()> {
    for (directory, name, flags) in [
        ("rkt/env".to_owned(), app, AtFlags::empty()),
        (format!("opt/stage2/{app}"), "rootfs", AtFlags::REMOVEDIR),
        ("opt/stage2".to_owned(), app, AtFlags::REMOVEDIR),
    ] {
        let handle =
            open_in_root(inside, Path::new(&directory), OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
        match handle.and_then(|handle| rustix::fs::unlinkat(&handle, name, flags)) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => {}
            Err(errno) => return Err(errno).step(|| format!("remove /{directory}/{name} of the pod")),
        }
    }
    Ok(())
}

/// Takes what is mounted for an app out of the pod.
fn unmount(inside: BorrowedFd<'_>, app: &str) -> Result<()> {
    let place = format!("opt/stage2/{app}/rootfs");
    // Mounts stand on each other: as long as there is one, it goes, with all below it.
    loop {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let top = match open_in_root(inside, Path::new(&place), flags, Mode::empty()) {
            Ok(top) => top,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno).step(|| format!("open /{place}")),
        };
        rustix::process::fchdir(inside).step(|| "enter the root of the pod".to_owned())?;
        match rustix::mount::unmount(
            place.as_str(),
            rustix::mount::UnmountFlags::DETACH | rustix::mount::UnmountFlags::NOFOLLOW,
        ) {
            Ok(()) => drop(top),
            // It is no mount.
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno).step(|| format!("unmount the root of app {app:?}")),
        }
    }
}

/// Goes into the mount namespace of the pod's process 1, or of the monitor, and opens the root of the stage1.
fn enter(dir: &PodDir, wall: Wall) -> Result<OwnedFd> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let end = Instant::now() + PATIENCE;
    let one = loop {
        // While the container is built, a helper can stand there.
        match dir.process_one()? {
            Some(one) if one.certain => break one.pid,
            _ if Instant::now() > end => {
                return Err(Error::Refused("The pod has no process 1".to_owned()));
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let (uuid, directory) = own_directory()?;
    let member = Member::open(dir, uuid, one)?;
    let mounts =
        namespace::open(Some(one), Kind::Mount).step(|| "open the pod's mount namespace".to_owned())?;
    member.check_alive()?;
    namespace::join(mounts.as_fd(), Kind::Mount).step(|| "enter the pod's mount namespace".to_owned())?;
    let root = match wall {
        Wall::Container => PathBuf::from("/"),
        Wall::Machine => directory.join("stage1/rootfs"),
    };
    sys::path::open_directory(&root).step(|| "open the root of the pod".to_owned())
}

/// The UUID of the pod, which is the name of its directory, and that. Every entrypoint is started there.
fn own_directory() -> Result<(PodUuid, PathBuf)> {
    let directory = std::env::current_dir()
        .map_err(|source| Error::Step { step: "find the pod directory".to_owned(), source })?;
    let name = directory.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    let uuid = name
        .parse()
        .map_err(|_| Error::Refused(format!("The directory {} is not one of a pod", directory.display())))?;
    Ok((uuid, directory))
}
