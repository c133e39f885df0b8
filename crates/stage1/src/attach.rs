//! Mounting volumes in an app's root.
//!
//! A source is opened once and held; from then on its handle is meant and no path. Targets are resolved inside
//! the app's root, which is hostile, and made where they are missing. The mount is complete (read-only and all) before it
//! is attached.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use executor::spec::MountPoint;
use pod::PodDir;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use sys::mount::{self, Attributes};
use sys::namespace::{self, Kind};
use sys::path::{create_dir_all_in_root, create_file_in_root, file_type, open_in_root};

use crate::error::Context;
use crate::populate;
use crate::volumes::{Planned, Source};
use crate::{Error, Result};

/// In which variable stage0 hands over the mount namespace that it was started in.
const HOST_NAMESPACE: &str = "RKT_MOUNT_NAMESPACE_FD";

/// The mount namespace that rkt was started in, by handle, while this process is in one of its own: stage0 has seen to
/// that, and handed the handle over. An older stage0 has not, so it is done here.
///
/// Call it once, at the start of `run`.
pub fn leave_host() -> Result<OwnedFd> {
    if let Some(host) = host_mounts()? {
        return Ok(host);
    }
    let host = namespace::open(None, Kind::Mount).step(|| "open our mount namespace".to_owned())?;
    namespace::private_mounts().step(|| "leave the host's mount namespace".to_owned())?;
    Ok(host)
}

/// The mount namespace that rkt was started in, if stage0 has left it and handed it over.
///
/// Call it once, at the start of `gc`; [`leave_host`] is for `run`.
pub fn host_mounts() -> Result<Option<OwnedFd>> {
    let Ok(number) = std::env::var(HOST_NAMESPACE) else { return Ok(None) };
    let fd = number.parse().map_err(|_| Errno::BADF).and_then(sys::fd::take_inherited);
    fd.map(Some).step(|| format!("use {HOST_NAMESPACE}={number}"))
}

/// The users of a pod that are none of the host's.
#[derive(Debug)]
pub struct Users {
    /// A user namespace like the pod's.
    pub namespace: OwnedFd,
    /// The host's number of the pod's root.
    pub first: u32,
}

impl Users {
    /// Those of the pod `dir`, if it has some. This process must have one thread only.
    pub fn of(dir: &PodDir) -> Result<Option<Self>> {
        let Some((first, count)) = dir.private_users()? else { return Ok(None) };
        let namespace = namespace::users(0, first, count).step(|| "make a user namespace".to_owned())?;
        Ok(Some(Users { namespace, first }))
    }
}

/// A volume, opened and not attached yet.
#[derive(Debug)]
pub struct Opened<'a> {
    planned: &'a Planned,
    tree: OwnedFd,
    kind: FileType,
}

/// Opens the volumes of an app.
///
/// With `host`, sources on the host are mounted from that mount namespace, so they keep the propagation they have
/// there: what the app mounts in them appears on the host. Without, mounts come in and none goes out.
///
/// With `users`, owners of files on the host are meant as the pod's, and the pod's users own what they write under their own numbers.
///
/// This process's working directory must be the pod directory, and it is afterwards. It must have one thread only.
pub fn open<'a>(
    planned: &'a [Planned],
    pod: &PodDir,
    host: Option<BorrowedFd<'_>>,
    app_root: BorrowedFd<'_>,
    users: Option<&Users>,
) -> Result<Vec<Opened<'a>>> {
    let mut trees: BTreeMap<usize, OwnedFd> = BTreeMap::new();
    let on_host = || planned.iter().enumerate().filter(|(_, one)| matches!(one.source, Source::Host { .. }));
    if on_host().next().is_some() {
        let open_all = || -> Result<Vec<(usize, OwnedFd)>> {
            let mut sources: BTreeMap<&str, OwnedFd> = BTreeMap::new();
            on_host()
                .filter_map(|(index, one)| match &one.source {
                    Source::Host { path, recursive } => Some((index, one, path, *recursive)),
                    Source::Empty { .. } => None,
                })
                .map(|(index, one, path, recursive)| {
                    if !sources.contains_key(path.as_str()) {
                        sources.insert(path, open_source(&one.volume, path)?);
                    }
                    let tree = mount::clone_tree(sources[path.as_str()].as_fd(), recursive);
                    Ok((index, tree.step(|| format!("mount {path} for volume {:?}", one.volume))?))
                })
                .collect()
        };
        trees.extend(match host {
            Some(host) => visit(host, pod, open_all)?,
            None => open_all()?,
        });
    }
    planned
        .iter()
        .enumerate()
        .map(|(index, one)| {
            let is_host = trees.contains_key(&index);
            let tree = match trees.remove(&index) {
                Some(tree) => tree,
                None => open_empty(one, pod, app_root, users.map_or(0, |users| users.first))?,
            };
            let kind = file_type(tree.as_fd()).step(|| format!("look at volume {:?}", one.volume))?;
            // A device is whoever's it is on the host.
            if let Some(users) = users.filter(|_| is_host && kind != FileType::CharacterDevice) {
                map(one, tree.as_fd(), users)?;
            }
            Ok(Opened { planned: one, tree, kind })
        })
        .collect()
}

fn map(planned: &Planned, tree: BorrowedFd<'_>, users: &Users) -> Result<()> {
    let recursive = matches!(planned.source, Source::Host { recursive: true, .. });
    match mount::map_owners(tree, users.namespace.as_fd(), recursive) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::PERM | Errno::OPNOTSUPP) => Err(Error::Refused(format!(
            "Volume {:?} cannot be in a pod with --private-users: its file system, or one mounted below it (recursive=false leaves \
             those out), does not support idmapped mounts",
            planned.volume
        ))),
        Err(error) => Err(error).step(|| format!("map the owners of volume {:?}", planned.volume)),
    }
}

fn open_source(volume: &str, path: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .step(|| format!("open {path:?}, the source of volume {volume:?}"))
}

/// Does something in the mount namespace `there` and comes back.
fn visit<T>(there: BorrowedFd<'_>, home: &PodDir, what: impl FnOnce() -> Result<T>) -> Result<T> {
    let here = namespace::open(None, Kind::Mount).step(|| "open our mount namespace".to_owned())?;
    namespace::join(there, Kind::Mount).step(|| "visit the host's mount namespace".to_owned())?;
    let done = what();
    // Joining a mount namespace also moves the root and the working directory.
    namespace::join(here.as_fd(), Kind::Mount)
        .and_then(|()| rustix::process::fchdir(home))
        .step(|| "return to our mount namespace".to_owned())?;
    done
}

/// The directory of an `empty` volume, made by the first app that has it.
fn open_empty(planned: &Planned, pod: &PodDir, app_root: BorrowedFd<'_>, first: u32) -> Result<OwnedFd> {
    let Source::Empty { directory, mode, uid, gid, filled } = &planned.source else {
        return Err(Error::Refused(format!("Volume {:?} has no source", planned.volume)));
    };
    let path = format!("sharedVolumes/{directory}");
    let made = !pod.exists(&path)?;
    let fd = pod.create_directory(&path)?;
    if made {
        let (uid, gid) = (uid.saturating_add(first), gid.saturating_add(first));
        rustix::fs::fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .and_then(|()| rustix::fs::fchmod(&fd, Mode::from_raw_mode(*mode)))
            .step(|| format!("set owner and mode of volume {:?}", planned.volume))?;
        if *filled {
            fill(planned, app_root, fd.as_fd())?;
        }
    }
    mount::clone_tree(fd.as_fd(), false).step(|| format!("mount volume {:?}", planned.volume))
}

fn fill(planned: &Planned, app_root: BorrowedFd<'_>, volume: BorrowedFd<'_>) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match open_in_root(app_root, &planned.path, flags, Mode::empty()) {
        Ok(image) => populate::copy(image.as_fd(), volume)
            .step(|| format!("copy {} of the image to volume {:?}", planned.path.display(), planned.volume)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(error) => Err(error).step(|| format!("open {} of the image", planned.path.display())),
    }
}

/// Attaches volumes in the root of app `app`, and says what stands where.
pub fn attach(app: &str, root: BorrowedFd<'_>, volumes: &[Opened<'_>]) -> Result<Vec<MountPoint>> {
    volumes
        .iter()
        .map(|volume| {
            let Planned { volume: name, path, read_only, .. } = volume.planned;
            let step = || format!("mount volume {name:?} at {} of app {app:?}", path.display());
            let is_device = matches!(volume.kind, FileType::CharacterDevice | FileType::BlockDevice);
            if is_device && *read_only {
                return Err(Error::Refused(format!(
                    "Volume {name:?} of app {app:?} is a device, which cannot be read-only: set readOnly=false"
                )));
            }
            if *read_only {
                let attributes = Attributes { read_only: Some(true), ..Attributes::default() };
                mount::set_attributes(volume.tree.as_fd(), &attributes, true).step(step)?;
            }
            let target = place(root, path, volume.kind == FileType::Directory).step(step)?;
            mount::attach(volume.tree.as_fd(), target.as_fd()).step(step)?;
            Ok(MountPoint { path: path.display().to_string(), read_only: *read_only, device: is_device })
        })
        .collect()
}

/// A directory, or something else, at `path` in `root` to mount on; made where it is missing.
fn place(root: BorrowedFd<'_>, path: &Path, directory: bool) -> rustix::io::Result<OwnedFd> {
    if directory {
        return create_dir_all_in_root(root, path, Mode::from_raw_mode(0o755));
    }
    let target = create_file_in_root(root, path, Mode::from_raw_mode(0o644))?;
    if file_type(target.as_fd())? == FileType::Directory { Err(Errno::ISDIR) } else { Ok(target) }
}

/// Binds the file `source` over `path` in the root of an app. A link there that points at nothing makes way.
pub fn bind_file(source: BorrowedFd<'_>, root: BorrowedFd<'_>, path: &Path, read_only: bool) -> Result<()> {
    let step = || format!("bind {} in the app's root", path.display());
    let target = match place(root, path, false) {
        Err(Errno::NOENT | Errno::LOOP) => {
            let parent = path.parent().unwrap_or(Path::new("/"));
            open_in_root(root, parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
                .and_then(|parent| {
                    let name = path.file_name().ok_or(Errno::INVAL)?;
                    rustix::fs::unlinkat(&parent, name, AtFlags::empty())
                })
                .and_then(|()| place(root, path, false))
                .step(step)?
        }
        made => made.step(step)?,
    };
    let tree = mount::clone_tree(source, false).step(step)?;
    if read_only {
        let attributes = Attributes { read_only: Some(true), ..Attributes::default() };
        mount::set_attributes(tree.as_fd(), &attributes, false).step(step)?;
    }
    mount::attach(tree.as_fd(), target.as_fd()).step(step)
}
