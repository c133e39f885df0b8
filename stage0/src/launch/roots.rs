//! The root file systems of a pod: overlays of layers of the store, or copies.
//!
//! ```text
//! stage1/rootfs                          the stage1
//! stage1/rootfs/opt/stage2/APP/manifest  what the app's image says of itself
//! stage1/rootfs/opt/stage2/APP/rootfs    the app
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::Tree;
use pod::{OverlayDirs, PodDir};
use rustix::fs::{Mode, OFlags};
use sys::mount::Upper;

/// An app of the pod.
#[derive(Debug)]
pub(crate) struct AppRoot {
    pub(crate) name: String,
    /// The manifest of its image, JSON.
    pub(crate) manifest: Vec<u8>,
    pub(crate) tree: Tree,
}

/// All roots of one pod.
#[derive(Debug)]
pub(crate) enum Roots {
    /// Mounted when the pod starts.
    Overlays { stage1: Tree, apps: Vec<AppRoot> },
    /// Already there.
    Copies,
}

/// Where the root of an app is in the root of the stage1.
pub(crate) fn app_directory(app: &str) -> PathBuf {
    Path::new("opt/stage2").join(app)
}

impl Roots {
    /// Mounts the roots of `pod`, which was opened in the mount namespace of the pod.
    pub(crate) fn mount(&self, pod: &PodDir) -> Result<()> {
        let Roots::Overlays { stage1, apps } = self else { return Ok(()) };
        let users = users(pod)?;
        let users = users.as_ref().map(AsFd::as_fd);
        let dirs = pod.open_overlay(&stage1.id, None)?;
        for app in apps {
            // Before the overlay is there: in it, the directories above would be copied up first.
            create_place(&dirs.upper, &app.name, &app.manifest)?;
        }
        let root = mount_stage1_from(pod, stage1, &dirs, users)?;
        for app in apps {
            let place = app_directory(&app.name).join("rootfs");
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let target = sys::path::open_in_root(root.as_fd(), &place, flags, Mode::empty())
                .with_context(|| format!("Cannot open the directory of app {:?}", app.name))?;
            let dirs = pod.open_overlay(&app.tree.id, Some(&app.name))?;
            mount_tree(&app.tree, &dirs, target.as_fd(), users)
                .with_context(|| format!("Cannot mount the root of app {:?}", app.name))?;
        }
        Ok(())
    }
}

/// Mounts the root of the stage1 of a pod that has ended, and opens it.
pub(crate) fn mount_stage1(pod: &PodDir, tree: &Tree) -> Result<OwnedFd> {
    let users = users(pod)?;
    let dirs = pod.open_overlay(&tree.id, None)?;
    sys::mount::renew_work(dirs.work.as_fd()).context("Cannot mount the root of the stage1 again")?;
    mount_stage1_from(pod, tree, &dirs, users.as_ref().map(AsFd::as_fd))
}

/// A user namespace like that of the pod, if that has one.
pub(crate) fn users(pod: &PodDir) -> Result<Option<OwnedFd>> {
    let Some((first, count)) = pod.private_users()? else { return Ok(None) };
    sys::namespace::users(0, first, count).map(Some).context("Cannot make a user namespace")
}

fn mount_stage1_from(
    pod: &PodDir,
    tree: &Tree,
    dirs: &OverlayDirs,
    users: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd> {
    let target = pod.open_directory("stage1/rootfs")?;
    mount_tree(tree, dirs, target.as_fd(), users).context("Cannot mount the root of the stage1")?;
    // Opened again: the handle of before is below the mount.
    Ok(pod.open_directory("stage1/rootfs")?)
}

/// Makes the directory for the root of `app` in that of the stage1, and the manifest of its image beside it. Returns a handle
/// (`O_PATH`).
pub(crate) fn create_place(root: &OwnedFd, app: &str, manifest: &[u8]) -> Result<OwnedFd> {
    let directory = app_directory(app);
    let mode = Mode::from_raw_mode(0o755);
    let place = sys::path::create_dir_all_in_root(root.as_fd(), &directory.join("rootfs"), mode)
        .with_context(|| format!("Cannot make the directory of app {app:?}"))?;
    write_in(root, &directory, "manifest", manifest)
        .with_context(|| format!("Cannot write the manifest of app {app:?}"))?;
    Ok(place)
}

/// Mounts `tree` with the writable directories `dirs` on `target`. With `users`, owners in the layers are meant in that
/// namespace; what is written has the host's numbers of its owners.
pub(crate) fn mount_tree(
    tree: &Tree,
    dirs: &OverlayDirs,
    target: BorrowedFd<'_>,
    users: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut handles = open_layers(tree)?;
    if let Some(users) = users {
        for layer in &mut handles {
            let mapped = sys::mount::clone_tree(layer.as_fd(), false)
                .and_then(|mapped| sys::mount::map_owners(mapped.as_fd(), users, false).map(|()| mapped));
            *layer = mapped.context(
                "Cannot map the owners of a layer: the file system of the data directory, or the kernel (Linux 5.12), does not \
                 support idmapped mounts",
            )?;
        }
    }
    let lowers: Vec<BorrowedFd<'_>> = handles.iter().map(AsFd::as_fd).collect();
    let upper = Upper { upper: dirs.upper.as_fd(), work: dirs.work.as_fd() };
    sys::mount::overlay(target, &lowers, Some(upper)).context("Overlay")
}

/// Opens the root of each layer.
fn open_layers(tree: &Tree) -> Result<Vec<OwnedFd>> {
    let open = |path: &PathBuf| {
        sys::path::open_directory(path).with_context(|| format!("Cannot open the layer {}", path.display()))
    };
    tree.layers.iter().map(open).collect()
}

/// Writes the file `name` in `directory` inside `root`, whose links lead nowhere else.
pub(crate) fn write_in(root: &OwnedFd, directory: &Path, name: &str, content: &[u8]) -> Result<()> {
    let mode = Mode::from_raw_mode(0o755);
    let directory = sys::path::create_dir_all_in_root(root.as_fd(), directory, mode)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let file = rustix::fs::openat(&directory, name, flags, mode)?;
    // Apps read it, whatever the umask of rkt is.
    rustix::fs::fchmod(&file, mode)?;
    std::io::Write::write_all(&mut std::fs::File::from(file), content)?;
    Ok(())
}
