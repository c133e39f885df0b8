//! The supervisor's root and the supervisor in it.
//!
//! ```text
//! /root                        a tmpfs
//! /root/opt/stage2             virtiofs: the apps' roots, with their volumes in them, on the host; or an image of them
//! /root/dev /run /tmp /etc     made here
//! /root/proc /sys/fs/cgroup    made in the supervisor's own namespaces
//! ```

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use executor::{Failed, Step};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_move};
use rustix::pipe::PipeFlags;
use sys::mount::Attributes;
use sys::namespace::Kind;
use sys::process::{Child, CloneOptions, Fork};

use super::system::directory;
use super::{Error, image};
use crate::host_mounts::claim;
use crate::inherited::Inherited;
use crate::link::{OwnFile, Start};
use crate::pod::PodSpec;

/// The tag of the file system that the host shares.
pub const TAG: &str = "rkt";

/// Where the supervisor's root is, in ours.
const ROOT: &str = "/root";

/// Where the apps are.
const APPS: &str = "/root/opt/stage2";

/// The most that one request of virtiofs can bring.
const READ_AHEAD_KIB: &str = "1024";

/// The supervisor's group.
const GROUP: &str = "/sys/fs/cgroup/pod";

/// Controllers that the pod may use.
const CONTROLLERS: &str = "+cpu +memory +pids +io";

/// Device nodes and their numbers.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Makes the supervisor's root.
pub(super) fn mount_root(start: &Start) -> Result<(), Error> {
    let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mode = Some(c"mode=0755");
    for (kind, at, flags, options) in [
        ("tmpfs", ROOT, quiet, mode),
        ("tmpfs", "/root/dev", MountFlags::NOSUID | MountFlags::NOEXEC, mode),
        ("tmpfs", "/root/run", MountFlags::NOSUID | MountFlags::NODEV, mode),
        ("tmpfs", "/root/tmp", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=1777")),
        (
            "devpts",
            "/root/dev/pts",
            MountFlags::NOSUID | MountFlags::NOEXEC,
            Some(c"mode=0620,gid=5,ptmxmode=0666"),
        ),
        ("tmpfs", "/root/dev/shm", quiet, Some(c"mode=1777")),
    ] {
        directory(at)?;
        mount(kind, at, kind, flags, options).step(|| format!("mount {at}"))?;
    }
    for at in ["/root/proc", "/root/sys", "/root/etc", "/root/opt", APPS] {
        directory(at)?;
    }
    if start.image.is_some() {
        image::mount_apps(APPS)?;
    } else {
        mount(TAG, APPS, "virtiofs", MountFlags::empty(), None)
            .step(|| "mount the apps that the host shares".to_owned())?;
        read_ahead()?;
    }
    for file in &start.files {
        own_file(file)?;
    }
    for (name, major, minor) in DEVICES {
        let (path, device) = (format!("/root/dev/{name}"), rustix::fs::makedev(major, minor));
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, mode, device)
            .and_then(|()| rustix::fs::chmod(&path, mode))
            .step(|| format!("make {path}"))?;
    }
    rustix::fs::symlink("pts/ptmx", "/root/dev/ptmx")?;
    for (app, path) in &start.mounts {
        let top = sys::path::hold_directory(&Path::new(APPS).join(app).join("rootfs"));
        top.and_then(|top| claim(top.as_fd(), Path::new(path)))
            .step(|| format!("use what the host has mounted at {path} of app {app}"))?;
    }
    if let Some(volumes) = &start.image {
        image::mount_volumes(Path::new(APPS), volumes)?;
    }
    Ok(())
}

/// Makes a file of the supervisor's root.
fn own_file(file: &OwnFile) -> Result<(), Error> {
    let path = format!("{ROOT}{}", file.path);
    std::fs::write(&path, &file.content).map_err(|error| format!("Cannot write {path}: {error}"))?;
    if file.read_only {
        let protect = || -> Result<(), Errno> {
            let root = sys::path::hold_directory(Path::new(ROOT))?;
            claim(root.as_fd(), Path::new(&file.path))?;
            let at =
                sys::path::open_in_root(root.as_fd(), Path::new(&file.path), OFlags::PATH, Mode::empty())?;
            let read_only = Attributes { read_only: Some(true), ..Attributes::default() };
            sys::mount::set_attributes(at.as_fd(), &read_only, false)
        };
        protect().step(|| format!("protect {path}"))?;
    }
    Ok(())
}

/// Lets the guest read programs from the host in few requests: each takes its way through the hypervisor, and what it reads is
/// memory of the host in most cases.
fn read_ahead() -> Result<(), Error> {
    let device = rustix::fs::stat(APPS)?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let file = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
    std::fs::write(&file, READ_AHEAD_KIB).map_err(|error| format!("Cannot write {file}: {error}").into())
}

/// Starts the supervisor of `pod` with these descriptors: standard streams first. Returns the process, and the reading end of a pipe for
/// its exit status, a byte.
///
/// It goes on in this program, with nothing of ours but its memory: to execute the file again would take an emulated processor
/// longer than most of what the supervisor does.
pub(super) fn start(
    pod: PodSpec,
    descriptors: &[(String, OwnedFd)],
    notify_socket: Option<&str>,
    writable_sys: bool,
) -> Result<(Child, OwnedFd), Error> {
    // They count for all of the pod as soon as they are enabled.
    if pod.mutable || pod.apps.iter().any(|app| !app.cgroup.controllers().is_empty()) {
        let controllers = "/sys/fs/cgroup/cgroup.subtree_control";
        std::fs::write(controllers, CONTROLLERS)
            .map_err(|error| format!("Cannot enable {CONTROLLERS}: {error}"))?;
    }
    directory(GROUP)?;
    let group = sys::path::open_directory(Path::new(GROUP))?;
    let options = CloneOptions {
        new_mounts: true,
        new_pids: true,
        cgroup: Some(group.as_fd()),
        ..CloneOptions::default()
    };
    let (status, to_status) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    match sys::process::clone3(options).step(|| "start the supervisor".to_owned())? {
        Fork::Parent(child) => Ok((child, status)),
        Fork::Child => match isolate(descriptors, &to_status, writable_sys) {
            Ok((names, to_status)) => {
                let inherited = Inherited::of(names, notify_socket.map(OsString::from));
                let status = crate::supervise(Ok(pod), inherited);
                let _ = rustix::io::write(&to_status, &[status]);
                // The machine ends now. To take all the namespaces and mounts apart first is of use to nobody.
                loop {
                    let _ = rustix::event::poll(&mut [], None);
                }
            }
            Err(error) => {
                super::system::complain(&format!("Cannot start the supervisor: {error}"));
                sys::process::exit_now(crate::FAILED.into())
            }
        },
    }
}

/// Leaves this process with the namespaces and the descriptors of the supervisor. Returns their numbers and names, less the standard
/// streams, and `to_status`.
fn isolate(
    descriptors: &[(String, OwnedFd)],
    to_status: &OwnedFd,
    writable_sys: bool,
) -> Result<(Vec<(i32, String)>, OwnedFd), Error> {
    prepare_namespaces(writable_sys)?;
    sys::process::reset_signals()?;
    rustix::thread::set_name(c"supervisor")?;
    let handles: Vec<BorrowedFd<'_>> =
        descriptors.iter().map(|(_, fd)| fd).chain([to_status]).map(AsFd::as_fd).collect();
    sys::fd::arrange(&handles)?;
    let names: Vec<(i32, String)> =
        (3..).zip(descriptors.iter().skip(3).map(|(name, _)| name.clone())).collect();
    let last = 3 + i32::try_from(names.len())?;
    // The link and all else that is open belongs to our parent.
    sys::fd::close_from(last + 1)?;
    Ok((names, sys::fd::take_inherited(last)?))
}

/// In the supervisor's namespaces: what shows only its own, and the change of root.
fn prepare_namespaces(writable_sys: bool) -> Result<(), Failed> {
    sys::namespace::leave(&[Kind::Cgroup]).step(|| "leave the cgroup namespace".to_owned())?;
    let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let protected = if writable_sys { quiet } else { quiet | MountFlags::RDONLY };
    for (kind, at, flags) in [
        ("proc", "/root/proc", quiet),
        ("sysfs", "/root/sys", protected),
        ("cgroup2", "/root/sys/fs/cgroup", quiet),
    ] {
        mount(kind, at, kind, flags, None).step(|| format!("mount {at}"))?;
    }
    // The root of an initramfs cannot be left with pivot_root(2).
    rustix::process::chdir(ROOT).step(|| format!("enter {ROOT}"))?;
    mount_move(".", "/").step(|| "move the root".to_owned())?;
    rustix::process::chroot(".").step(|| "change the root".to_owned())?;
    rustix::process::chdir("/").step(|| "enter the root".to_owned())
}
