//! What an app sees of the file system.
//!
//! ```text
//! /                 the image, device nodes in it dead (nodev), read-only when asked
//! /proc /sys        the pod's, bound with all below; with parts hidden or read-only ([`crate::protect`])
//! /dev              a small tmpfs: nodes bound one by one, links, the pod's pts and shm, mqueue
//! /etc/resolv.conf /etc/hosts /etc/hostname      what the stage1 prepared
//! /run/systemd/notify, /dev/log                  sockets of the supervisor, for apps that get them
//! ```
//! It is built by the app's first process, in its own mount namespace and before anything of the image runs, but the
//! image's tree is hostile all the same: every target is opened inside the root, and what is mounted is bound
//! from a handle whose kind has been checked. Where the user has attached something of his own, it stays on top.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use sys::mount::{self, Attributes, Propagation};
use sys::path::{create_dir_all_in_root, create_file_in_root, file_type, open_beneath, open_in_root};

use crate::AppSpec;

use crate::protect::protect;
use crate::step::{Failed, Step};

/// Sockets that are bound into the app's view.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sockets<'a> {
    /// At `/run/systemd/notify`.
    pub notify: Option<&'a Path>,
    /// At `/dev/log`.
    pub syslog: Option<&'a Path>,
}

/// Where an app finds its notify socket.
pub const NOTIFY_SOCKET: &str = "/run/systemd/notify";

/// Device nodes of `/dev` and the numbers they must have. The pod's console is a terminal, so any will do.
const DEVICES: [(&str, Option<(u32, u32)>); 8] = [
    ("null", Some((1, 3))),
    ("zero", Some((1, 5))),
    ("full", Some((1, 7))),
    ("random", Some((1, 8))),
    ("urandom", Some((1, 9))),
    ("tty", Some((5, 0))),
    ("net/tun", Some((10, 200))),
    ("console", None),
];

const DEVICE_LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// A file that the stage1 may have prepared in its own root.
struct Prepared {
    source: &'static str,
    target: &'static str,
    /// It counts more than what the user has attached at its place.
    over_volumes: bool,
}

/// What the pod's flags or networks say of names goes over a volume; what is there in any case does not.
const PREPARED: [Prepared; 3] = [
    Prepared { source: "/etc/rkt-resolv.conf", target: "/etc/resolv.conf", over_volumes: true },
    Prepared { source: "/etc/rkt-hosts", target: "/etc/hosts", over_volumes: true },
    HOSTNAME,
];

const HOSTNAME: Prepared = Prepared { source: "/etc/hostname", target: "/etc/hostname", over_volumes: false };

/// Only where the app has none.
const HOSTS_FALLBACK: Prepared =
    Prepared { source: "/etc/hosts-fallback", target: "/etc/hosts", over_volumes: false };

pub(crate) const READ_ONLY: Attributes =
    Attributes { read_only: Some(true), no_suid: None, no_dev: None, no_exec: None, propagation: None };

/// Makes what the view of the app needs of the image at `root`, where it is missing: directories, and the place of the host name, which
/// every app has. All of it is made in any case: who shares the root with a machine does it here, where it takes no requests.
///
/// # Errors
/// When something else stands in a place.
pub fn make_places(root: BorrowedFd<'_>, spec: &AppSpec) -> Result<(), Failed> {
    let view = View { root, spec };
    view.directories()?;
    if !view.is_covered(HOSTNAME.target) {
        view.place_for_file(HOSTNAME.target)
            .step(|| format!("make {} in the app's root", HOSTNAME.target))?;
    }
    view.mtab()
}

/// Builds the view of the app at `root` in the mount namespace of this process and moves the process into it.
pub(crate) fn build(root: &Path, spec: &AppSpec, sockets: Sockets<'_>) -> Result<(), Failed> {
    mount::set_propagation_everywhere(Propagation::Slave).step(|| "leave the pod's mounts".to_owned())?;
    let below = sys::path::hold_directory(root).step(|| format!("open {}", root.display()))?;
    let tree = mount::clone_tree(below.as_fd(), true).step(|| "clone the root file system".to_owned())?;
    mount::attach(tree.as_fd(), below.as_fd()).step(|| "attach the root file system".to_owned())?;
    let view = View { root: tree.as_fd(), spec };
    view.close_devices()?;
    view.directories()?;
    view.proc()?;
    view.sys()?;
    view.dev(sockets)?;
    view.files()?;
    if let Some(notify) = sockets.notify {
        view.bind_file(notify, NOTIFY_SOCKET)?;
    }
    if spec.path_protection {
        protect(tree.as_fd())?;
    }
    view.read_only()?;
    mount::pivot_root(&tree).step(|| "change the root directory".to_owned())
}

struct View<'a> {
    root: BorrowedFd<'a>,
    spec: &'a AppSpec,
}

impl View<'_> {
    /// Whether the user has attached something at `path` or above it (the root does not count).
    fn is_covered(&self, path: &str) -> bool {
        self.spec.mounts.iter().any(|mount| Path::new(path).starts_with(&mount.path))
    }

    /// Whether the user has attached something at `path` or below it.
    fn has_mounts_in(&self, path: &str) -> bool {
        self.spec.mounts.iter().any(|mount| Path::new(&mount.path).starts_with(path))
    }

    fn open(&self, path: &str) -> Result<OwnedFd, Errno> {
        open_in_root(self.root, Path::new(path), OFlags::PATH, Mode::empty())
    }

    /// Device nodes in the image and in volumes are dead, except the volumes that are one.
    fn close_devices(&self) -> Result<(), Failed> {
        let dead = |no_dev| Attributes { no_dev: Some(no_dev), ..Attributes::default() };
        mount::set_attributes(self.root, &dead(true), true).step(|| "close device nodes".to_owned())?;
        for device in self.spec.mounts.iter().filter(|mount| mount.device) {
            self.open(&device.path)
                .and_then(|node| mount::set_attributes(node.as_fd(), &dead(false), false))
                .step(|| format!("open the device {}", device.path))?;
        }
        Ok(())
    }

    fn directories(&self) -> Result<(), Failed> {
        for (path, mode) in
            [("/dev", 0o755), ("/etc", 0o755), ("/proc", 0o555), ("/sys", 0o555), ("/tmp", 0o1777)]
        {
            self.directory(path, mode)?;
        }
        if !self.is_covered("/run") {
            self.directory("/run/systemd/journal", 0o755)?;
        }
        Ok(())
    }

    fn directory(&self, path: &str, mode: u32) -> Result<OwnedFd, Failed> {
        create_dir_all_in_root(self.root, Path::new(path), Mode::from_raw_mode(mode))
            .step(|| format!("make the directory {path} in the app's root"))
    }

    /// A directory at the top that something of ours is mounted on: no link may stand for it.
    fn top(&self, name: &str) -> Result<OwnedFd, Failed> {
        open_beneath(self.root, Path::new(name), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .step(|| format!("use /{name} of the image, which must be a directory and no link"))
    }

    /// Copies of what the user has attached below `path`, which is about to be covered.
    fn carried(&self, path: &str) -> Result<Vec<(&str, OwnedFd)>, Failed> {
        let below = |mount: &&crate::spec::MountPoint| Path::new(&mount.path).starts_with(path);
        let copy = |mount: &'_ crate::spec::MountPoint| {
            self.open(&mount.path)
                .and_then(|at| mount::clone_tree(at.as_fd(), true))
                .step(|| format!("keep what is mounted at {}", mount.path))
        };
        self.spec.mounts.iter().filter(below).map(|mount| Ok((mount.path.as_str(), copy(mount)?))).collect()
    }

    /// Attaches the copies again.
    fn restore(&self, carried: Vec<(&str, OwnedFd)>) -> Result<(), Failed> {
        for (path, tree) in carried {
            let is_directory = file_type(tree.as_fd()) == Ok(FileType::Directory);
            let place = if is_directory {
                create_dir_all_in_root(self.root, Path::new(path), Mode::from_raw_mode(0o755))
            } else {
                create_file_in_root(self.root, Path::new(path), Mode::from_raw_mode(0o644))
            };
            place
                .and_then(|place| mount::attach(tree.as_fd(), place.as_fd()))
                .step(|| format!("mount at {path} again"))?;
        }
        Ok(())
    }

    fn proc(&self) -> Result<(), Failed> {
        if self.is_covered("/proc") {
            return Ok(());
        }
        let carried = self.carried("/proc")?;
        let target = self.top("proc")?;
        bind_own("/proc", target.as_fd(), true)?;
        self.restore(carried)
    }

    /// Unless the user has mounted something at `/sys` or below it, who wants to see that and no more.
    fn sys(&self) -> Result<(), Failed> {
        if self.has_mounts_in("/sys") {
            return Ok(());
        }
        bind_own("/sys", self.top("sys")?.as_fd(), true)
    }

    fn dev(&self, sockets: Sockets<'_>) -> Result<(), Failed> {
        if self.is_covered("/dev") {
            return Ok(());
        }
        let carried = self.carried("/dev")?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount::filesystem(self.top("dev")?.as_fd(), "tmpfs", flags, "mode=0755,size=4m")
            .step(|| "mount /dev".to_owned())?;
        let dev = self.top("dev")?;
        for (name, numbers) in DEVICES {
            if let Some(node) = own_device(name, numbers)? {
                bind_in(dev.as_fd(), name, node.as_fd())?;
            }
        }
        for (name, target) in DEVICE_LINKS {
            rustix::fs::symlinkat(target, &dev, name).step(|| format!("make the link /dev/{name}"))?;
        }
        for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777)] {
            rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(mode))
                .step(|| format!("make /dev/{name}"))?;
        }
        for name in ["pts", "shm"] {
            let target = open_beneath(dev.as_fd(), Path::new(name), OFlags::PATH, Mode::empty())
                .step(|| format!("open /dev/{name}"))?;
            bind_own(&format!("/dev/{name}"), target.as_fd(), false)?;
        }
        let queue = open_beneath(dev.as_fd(), Path::new("mqueue"), OFlags::PATH, Mode::empty())
            .step(|| "open /dev/mqueue".to_owned())?;
        match mount::filesystem(queue.as_fd(), "mqueue", flags, "") {
            // A kernel without message queues.
            Ok(()) | Err(Errno::NODEV) => {}
            Err(errno) => return Err(Failed { step: "mount /dev/mqueue".to_owned(), errno }),
        }
        if let Some(syslog) = sockets.syslog {
            let socket = own(syslog).step(|| format!("open {}", syslog.display()))?;
            bind_in(dev.as_fd(), "log", socket.as_fd())?;
        }
        self.restore(carried)
    }

    fn files(&self) -> Result<(), Failed> {
        for file in &PREPARED {
            self.prepared(file)?;
        }
        if self.open(HOSTS_FALLBACK.target).is_err() {
            self.prepared(&HOSTS_FALLBACK)?;
        }
        self.mtab()
    }

    fn mtab(&self) -> Result<(), Failed> {
        if self.is_covered("/etc") {
            return Ok(());
        }
        let etc = self.directory("/etc", 0o755)?;
        match rustix::fs::symlinkat("../proc/self/mounts", etc, "mtab") {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(Failed { step: "make the link /etc/mtab".to_owned(), errno }),
        }
    }

    /// Binds a file that the stage1 has prepared, if it has. Nothing is created in what the user has attached.
    fn prepared(&self, file: &Prepared) -> Result<(), Failed> {
        let Prepared { source, target, over_volumes } = *file;
        if !over_volumes && self.spec.mounts.iter().any(|mount| mount.path == target) {
            return Ok(());
        }
        let Ok(file) = own(Path::new(source)) else { return Ok(()) };
        if self.is_covered(target) && self.open(target).is_err() {
            return Ok(());
        }
        self.place_for_file(target)
            .and_then(|place| mount::bind(file.as_fd(), place.as_fd(), false))
            .step(|| format!("bind {target}"))
    }

    fn bind_file(&self, source: &Path, target: &str) -> Result<(), Failed> {
        own(source)
            .and_then(|file| mount::bind(file.as_fd(), self.place_for_file(target)?.as_fd(), false))
            .step(|| format!("bind {target}"))
    }

    /// A file at `path` to mount on. Images are full of links like `/etc/resolv.conf` → `../run/…` that point at
    /// nothing: the link makes way.
    fn place_for_file(&self, path: &str) -> Result<OwnedFd, Errno> {
        let path = Path::new(path);
        let mode = Mode::from_raw_mode(0o644);
        match create_file_in_root(self.root, path, mode) {
            Err(Errno::NOENT | Errno::LOOP) => {}
            made => return made,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL);
        };
        let parent = open_in_root(self.root, parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
        create_file_in_root(self.root, path, mode)
    }

    fn read_only(&self) -> Result<(), Failed> {
        for volume in self.spec.mounts.iter().filter(|mount| mount.read_only) {
            self.open(&volume.path)
                .and_then(|at| mount::set_attributes(at.as_fd(), &READ_ONLY, true))
                .step(|| format!("make {} read-only", volume.path))?;
        }
        if self.spec.read_only_root {
            mount::set_attributes(self.root, &READ_ONLY, false)
                .step(|| "make the root file system read-only".to_owned())?;
        }
        Ok(())
    }
}

/// Something of the supervisor's own root, which no app can write to.
pub(crate) fn own(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn bind_own(path: &str, target: BorrowedFd<'_>, recursive: bool) -> Result<(), Failed> {
    own(Path::new(path))
        .and_then(|source| mount::bind(source.as_fd(), target, recursive))
        .step(|| format!("bind {path}"))
}

/// The pod's device `name`, if it has it and it is what it should be.
pub(crate) fn own_device(name: &str, numbers: Option<(u32, u32)>) -> Result<Option<OwnedFd>, Failed> {
    let step = || format!("use the device /dev/{name} of the pod");
    let node = match own(&Path::new("/dev").join(name)) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        opened => opened.step(step)?,
    };
    let stat = rustix::fs::fstat(&node).step(step)?;
    let found = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !is_device || numbers.is_some_and(|numbers| numbers != found) {
        return Err(Errno::NODEV).step(step);
    }
    Ok(Some(node))
}

/// Binds `source` on a new empty file `name` (one directory deep at most) below `dev`, a directory of ours.
fn bind_in(dev: BorrowedFd<'_>, name: &str, source: BorrowedFd<'_>) -> Result<(), Failed> {
    let step = || format!("bind /dev/{name}");
    if let Some((directory, _)) = name.split_once('/') {
        rustix::fs::mkdirat(dev, directory, Mode::from_raw_mode(0o755)).step(step)?;
    }
    rustix::fs::mknodat(dev, name, FileType::RegularFile, Mode::from_raw_mode(0o444), 0).step(step)?;
    // Reading and writing is up to the device; but no app may change the node's owner or mode for all others.
    let tree = mount::clone_tree(source, false).step(step)?;
    mount::set_attributes(tree.as_fd(), &READ_ONLY, false).step(step)?;
    open_beneath(dev, Path::new(name), OFlags::PATH, Mode::empty())
        .and_then(|place| mount::attach(tree.as_fd(), place.as_fd()))
        .step(step)
}
