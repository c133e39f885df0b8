//! Mounts, by handle.
//!
//! A mount is made detached where the kernel allows it and attached to a target that was opened before:
//! no path is resolved twice. See mount_setattr(2), open_tree(2) and move_mount(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::{Result, check};

/// The most layers that one overlay can have: mount(2) takes a page of options.
pub const OVERLAY_LAYERS_MAX: usize = 160;

/// The writable part of an overlay: both directories stand on one file system that is no overlay itself.
#[derive(Debug, Clone, Copy)]
pub struct Upper<'a> {
    /// Where changes are written.
    pub upper: BorrowedFd<'a>,
    /// An empty directory beside it, for the kernel's own use.
    pub work: BorrowedFd<'a>,
}

/// Mounts an overlay of `lowers` (top first) on the directory `target`; without `upper` it is read-only.
///
/// With `upper` it is `volatile`: fsync(2) in it writes nothing to the disk, and taking it away does not sync the whole file system
/// that `upper` is on, as it would otherwise. It cannot be mounted again with the same directories before [`renew_work`].
///
/// Layers are named to the kernel by descriptor, so their paths need no escaping and cannot be swapped.
///
/// # Errors
/// `E2BIG` for more than [`OVERLAY_LAYERS_MAX`] layers, `ENODEV` without overlayfs in the kernel, `EINVAL`
/// where the file system under `upper` cannot hold one, `EPERM` without `CAP_SYS_ADMIN`.
pub fn overlay(target: BorrowedFd<'_>, lowers: &[BorrowedFd<'_>], upper: Option<Upper<'_>>) -> Result<()> {
    if lowers.len() > OVERLAY_LAYERS_MAX {
        return Err(Errno::TOOBIG);
    }
    // A read-only overlay needs two lower directories: naming the only one twice is not allowed, bind it.
    if let (None, [only]) = (upper, lowers) {
        let tree = clone_tree(*only, false)?;
        set_attributes(tree.as_fd(), &Attributes { read_only: Some(true), ..Attributes::default() }, false)?;
        return attach(tree.as_fd(), target);
    }
    let names: Vec<String> = lowers.iter().map(fd_path).collect();
    let mut options = format!("lowerdir={}", names.join(":"));
    if let Some(Upper { upper, work }) = upper {
        options.push_str(&format!(",upperdir={},workdir={},volatile", fd_path(&upper), fd_path(&work)));
    }
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(
        "overlay",
        fd_path(&target),
        "overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )
}

/// Makes the directory `work` of an overlay that was mounted before fit for another mount: a volatile one leaves a mark there.
///
/// See "Volatile mount" in the kernel's documentation of overlayfs.
pub fn renew_work(work: BorrowedFd<'_>) -> Result<()> {
    for (path, flags) in [
        ("work/incompat/volatile/dirty", AtFlags::empty()),
        ("work/incompat/volatile", AtFlags::REMOVEDIR),
        ("work/incompat", AtFlags::REMOVEDIR),
    ] {
        match rustix::fs::unlinkat(work, path, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Mounts a new file system of `kind` (`proc`, `tmpfs`, …) with mount(8)-style `options` on `target`.
pub fn filesystem(target: BorrowedFd<'_>, kind: &str, flags: MountFlags, options: &str) -> Result<()> {
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(kind, fd_path(&target), kind, flags, Some(options.as_c_str()))
}

/// Mounts a new tmpfs on `target` that `/proc/PID/mountinfo` shows as coming from `source`.
pub fn tmpfs(target: BorrowedFd<'_>, source: &str, flags: MountFlags, options: &str) -> Result<()> {
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(source, fd_path(&target), "tmpfs", flags, Some(options.as_c_str()))
}

/// A detached copy of the mount at `source`, with all that is mounted below it when `recursive`.
///
/// The copy keeps the propagation of its source: a copy of a shared mount is a peer of it.
pub fn clone_tree(source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    rustix::mount::open_tree(source, "", flags)
}

/// Attaches the detached mount `tree` on `target`.
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", target, "", flags)
}

/// Binds `source` on `target`; both are directories, or neither is.
pub fn bind(source: BorrowedFd<'_>, target: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    attach(clone_tree(source, recursive)?.as_fd(), target)
}

/// How mounts and unmounts travel between this mount and its peers; see mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// None travels.
    Private,
    /// They come in, none goes out.
    Slave,
    /// They travel both ways.
    Shared,
}

/// What [`set_attributes`] changes; `None` leaves a flag as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes {
    /// `MOUNT_ATTR_RDONLY`.
    pub read_only: Option<bool>,
    /// `MOUNT_ATTR_NOSUID`.
    pub no_suid: Option<bool>,
    /// `MOUNT_ATTR_NODEV`.
    pub no_dev: Option<bool>,
    /// `MOUNT_ATTR_NOEXEC`.
    pub no_exec: Option<bool>,
    /// The new propagation.
    pub propagation: Option<Propagation>,
}

/// Changes the attributes of the mount `at` (a descriptor of its root), and of all below it when `recursive`.
///
/// # Errors
/// `EINVAL` when `at` is not the root of a mount; `EPERM` when a flag is locked or without `CAP_SYS_ADMIN`.
pub fn set_attributes(at: BorrowedFd<'_>, attributes: &Attributes, recursive: bool) -> Result<()> {
    let mut raw = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = [
        (attributes.read_only, libc::MOUNT_ATTR_RDONLY),
        (attributes.no_suid, libc::MOUNT_ATTR_NOSUID),
        (attributes.no_dev, libc::MOUNT_ATTR_NODEV),
        (attributes.no_exec, libc::MOUNT_ATTR_NOEXEC),
    ];
    for (wanted, flag) in flags {
        match wanted {
            Some(true) => raw.attr_set |= flag,
            Some(false) => raw.attr_clr |= flag,
            None => {}
        }
    }
    raw.propagation = match attributes.propagation {
        Some(Propagation::Private) => libc::MS_PRIVATE,
        Some(Propagation::Slave) => libc::MS_SLAVE,
        Some(Propagation::Shared) => libc::MS_SHARED,
        None => 0,
    };
    mount_setattr(at, &raw, recursive)
}

/// Maps the owners of everything on the detached mount `at` through the user namespace `user_namespace`.
///
/// # Errors
/// `EINVAL` when the file system cannot be idmapped or `at` is attached already.
pub fn map_owners(at: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    let userns_fd = u64::try_from(user_namespace.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let raw = libc::mount_attr { attr_set: libc::MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd };
    mount_setattr(at, &raw, recursive)
}

fn mount_setattr(at: BorrowedFd<'_>, attributes: &libc::mount_attr, recursive: bool) -> Result<()> {
    let flags = if recursive { libc::AT_EMPTY_PATH | libc::AT_RECURSIVE } else { libc::AT_EMPTY_PATH };
    // SAFETY: rustix has no mount_setattr. The structure outlives the call and its true size is passed; the
    // descriptor is borrowed, so it stays open; the path is a static, terminated string.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Makes every mount of this namespace a slave (or private): nothing mounted here shows anywhere else.
pub fn set_propagation_everywhere(propagation: Propagation) -> Result<()> {
    let flags = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Shared => MountPropagationFlags::SHARED,
    };
    rustix::mount::mount_change("/", flags | MountPropagationFlags::REC)
}

/// Unmounts what is mounted on top at `target`; `detach` takes it out of sight even when it is busy.
pub fn unmount(target: BorrowedFd<'_>, detach: bool) -> Result<()> {
    let flags = if detach { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    rustix::mount::unmount(fd_path(&target), flags)
}

/// A name for the file behind `fd` that any call taking a path accepts.
pub fn fd_path(fd: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Whether overlayfs is known to the running kernel (or its module can be loaded on first use).
///
/// Reads `/proc/filesystems`, where a module that is not loaded yet does not stand.
pub fn overlay_registered() -> bool {
    std::fs::read_to_string("/proc/filesystems")
        .is_ok_and(|text| text.lines().any(|line| line.split_whitespace().last() == Some("overlay")))
}

/// Moves the root of this mount namespace to `root`, the top directory of a mount, and drops the old one.
///
/// # Errors
/// `EINVAL` when `root` is not a mount point or its mount is shared.
pub fn pivot_root(root: impl AsFd) -> Result<()> {
    rustix::process::fchdir(root.as_fd())?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}
