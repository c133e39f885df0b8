//! The supervisor's root and the supervisor in it.
//!
//! ```text
//! /root                        virtiofs: the stage1's root on the host, with the apps' roots and volumes in it; or an image of it
//! /root/dev /run /tmp          made here
//! /root/proc /sys/fs/cgroup    made in the supervisor's own namespaces
//! ```

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use executor::{Failed, Step};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{MountFlags, mount, mount_move};
use sys::namespace::Kind;
use sys::process::{Child, CloneOptions, Fork};

use super::system::directory;
use super::{Error, image};
use crate::host_mounts::claim;
use crate::link::Start;

/// The tag of the file system that the host shares.
pub const TAG: &str = "rkt";

/// Where the supervisor's root is, in ours.
const ROOT: &str = "/root";

/// The supervisor's group.
const GROUP: &str = "/sys/fs/cgroup/pod";

/// Controllers that the pod may use.
const CONTROLLERS: &str = "+cpu +memory +pids +io";

/// Device nodes and their numbers.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Makes the supervisor's root.
pub(super) fn mount_root(start: &Start) -> Result<(), Error> {
    directory(ROOT)?;
    if start.image.is_some() {
        image::mount_root(ROOT)?;
    } else {
        mount(TAG, ROOT, "virtiofs", MountFlags::empty(), None)
            .step(|| "mount the root file system that the host shares".to_owned())?;
    }
    let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mode = Some(c"mode=0755");
    for (kind, at, flags, options) in [
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
        ("mqueue", "/root/dev/mqueue", quiet, None),
    ] {
        directory(at)?;
        mount(kind, at, kind, flags, options).step(|| format!("mount {at}"))?;
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
        let top = sys::path::open_directory(&Path::new(ROOT).join("opt/stage2").join(app).join("rootfs"));
        top.and_then(|top| claim(top.as_fd(), Path::new(path)))
            .step(|| format!("use what the host has mounted at {path} of app {app}"))?;
    }
    if let Some(volumes) = &start.image {
        image::mount_volumes(Path::new(ROOT), volumes)?;
    }
    Ok(())
}

/// Starts the supervisor with these descriptors: standard streams first.
pub(super) fn start(start: &Start, descriptors: &[(String, OwnedFd)]) -> Result<Child, Error> {
    let controllers = "/sys/fs/cgroup/cgroup.subtree_control";
    std::fs::write(controllers, CONTROLLERS)
        .map_err(|error| format!("Cannot enable {CONTROLLERS}: {error}"))?;
    directory(GROUP)?;
    let group = sys::path::open_directory(Path::new(GROUP))?;
    let program = rustix::fs::open("/init", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let options = CloneOptions {
        new_mounts: true,
        new_pids: true,
        cgroup: Some(group.as_fd()),
        ..CloneOptions::default()
    };
    match sys::process::clone3(options).step(|| "start the supervisor".to_owned())? {
        Fork::Parent(child) => Ok(child),
        Fork::Child => {
            let error = become_supervisor(start, program.as_fd(), descriptors);
            super::system::complain(&format!("Cannot start the supervisor: {error}"));
            sys::process::exit_now(254)
        }
    }
}

fn become_supervisor(start: &Start, program: BorrowedFd<'_>, descriptors: &[(String, OwnedFd)]) -> Error {
    let prepared = prepare_namespaces(start.writable_sys).map_err(Error::from).and_then(|()| {
        let names: Vec<&str> = descriptors.iter().skip(3).map(|(name, _)| name.as_str()).collect();
        let mut environment = vec![
            ("LISTEN_FDS".to_owned(), names.len().to_string()),
            ("LISTEN_PID".to_owned(), std::process::id().to_string()),
            ("LISTEN_FDNAMES".to_owned(), names.join(":")),
        ];
        environment.extend(start.environment.iter().cloned());
        let strings: Result<Vec<CString>, _> =
            environment.into_iter().map(|(name, value)| CString::new(format!("{name}={value}"))).collect();
        let handles: Vec<BorrowedFd<'_>> = descriptors.iter().map(|(_, fd)| fd.as_fd()).collect();
        let program = rustix::io::fcntl_dupfd_cloexec(program, 1000)?;
        sys::process::reset_signals()?;
        sys::fd::close_on_exec_from(3)?;
        sys::fd::arrange(&handles)?;
        Ok((strings?, program))
    });
    match prepared {
        Ok((environment, program)) => {
            sys::process::execute(program.as_fd(), &[c"supervisor".to_owned()], &environment).into()
        }
        Err(error) => error,
    }
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
