//! Paths of `/proc` and `/sys` that an app cannot see, or not write: the reference's list and that of the OCI
//! runtimes, together.
//!
//! A path that does not exist is left out. None is reached through a link: what stands below `/proc` and `/sys` is
//! the kernel's, and when it is a volume of the user's, links in it are not followed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::mount;
use sys::path::{file_type, open_beneath};

use crate::filesystem::{READ_ONLY, own, own_device};
use crate::step::{Failed, Step};

/// Cannot be written.
const PROTECTED: [(&str, &[&str]); 2] = [
    ("proc", &["bus", "fs", "irq", "sysrq-trigger"]),
    ("sys", &["block", "bus", "class", "dev", "devices", "kernel"]),
];

/// Cannot be seen.
const HIDDEN: [(&str, &[&str]); 2] = [
    (
        "proc",
        &[
            "acpi",
            "asound",
            "config.gz",
            "interrupts",
            "kallsyms",
            "kcore",
            "keys",
            "kmem",
            "latency_stats",
            "mem",
            "sched_debug",
            "scsi",
            "timer_list",
            "timer_stats",
        ],
    ),
    ("sys", &["devices/virtual/powercap", "firmware", "fs", "hypervisor", "module", "power"]),
];

/// An empty directory in the supervisor's root, to hide others with.
const EMPTY: &str = "/run/rkt-empty";

/// Protects the paths below `root`.
pub(crate) fn protect(root: BorrowedFd<'_>) -> Result<(), Failed> {
    for (top, paths) in PROTECTED {
        for_each(root, top, paths, "protect", make_read_only)?;
    }
    protect_sysctls(root)?;
    let null = own_device("null", Some((1, 3)))?
        .ok_or(Errno::NOENT)
        .step(|| "use the device /dev/null of the pod".to_owned())?;
    match rustix::fs::mkdir(EMPTY, Mode::empty()) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Failed { step: format!("make {EMPTY}"), errno }),
    }
    let empty = own(Path::new(EMPTY)).step(|| format!("open {EMPTY}"))?;
    for (top, paths) in HIDDEN {
        for_each(root, top, paths, "hide", |place| {
            let is_directory = file_type(place)? == FileType::Directory;
            let cover = mount::clone_tree(if is_directory { empty.as_fd() } else { null.as_fd() }, false)?;
            mount::set_attributes(cover.as_fd(), &READ_ONLY, false)?;
            mount::attach(cover.as_fd(), place)
        })?;
    }
    Ok(())
}

fn for_each(
    root: BorrowedFd<'_>,
    top: &str,
    paths: &[&str],
    verb: &str,
    act: impl Fn(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<(), Failed> {
    // No such directory, or a volume's link: there is nothing of the kernel's to protect.
    let Ok(top_handle) = open(root, top) else { return Ok(()) };
    for path in paths {
        match open(top_handle.as_fd(), path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(errno).step(|| format!("open /{top}/{path} to {verb} it")),
            Ok(place) => act(place.as_fd()).step(|| format!("{verb} /{top}/{path}"))?,
        }
    }
    Ok(())
}

fn open(directory: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    open_beneath(directory, Path::new(path), OFlags::PATH, Mode::empty())
}

/// The mount at `place` itself, or a read-only bind of the place on itself.
fn make_read_only(place: BorrowedFd<'_>) -> Result<(), Errno> {
    match mount::set_attributes(place, &READ_ONLY, false) {
        // Not the root of a mount.
        Err(Errno::INVAL) => {
            let tree = mount::clone_tree(place, true)?;
            mount::set_attributes(tree.as_fd(), &READ_ONLY, true)?;
            mount::attach(tree.as_fd(), place)
        }
        done => done,
    }
}

/// `/proc/sys` is read-only but for `net`, which belongs to the pod's own network, if it was writable before.
fn protect_sysctls(root: BorrowedFd<'_>) -> Result<(), Failed> {
    let Ok(sysctls) = open(root, "proc/sys") else { return Ok(()) };
    let result = match mount::set_attributes(sysctls.as_fd(), &READ_ONLY, false) {
        // Not the root of a mount.
        Err(Errno::INVAL) => {
            let net = open(sysctls.as_fd(), "net").and_then(|net| mount::clone_tree(net.as_fd(), true));
            make_read_only(sysctls.as_fd()).and_then(|()| match net {
                Ok(net) => mount::attach(net.as_fd(), open(root, "proc/sys/net")?.as_fd()),
                Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(errno),
            })
        }
        done => done,
    };
    result.step(|| "protect /proc/sys".to_owned())
}
