//! What a vm host boots from, made once and kept under `target/testhosts/`: Debian's kernel, an initramfs, and the namespace
//! host's root as a disk image.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::initramfs;
use crate::host::root;

/// Its kernel has every controller of cgroup2, and few drivers.
const KERNEL: &str = "linux-image-cloud-amd64";
/// The root's disk: what is not used takes no space.
const SIZE: &str = "3G";

const INIT: &str = include_str!("init.sh");
const AGENT: &str = include_str!("agent.sh");
const UNIT: &str = "[Service]\nExecStart=/usr/libexec/rkt-vm-agent\nKillMode=process\n";

/// Files to boot.
#[derive(Debug, Clone)]
pub(super) struct Boot {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    pub(super) root: PathBuf,
}

/// The files, made now if they are not there yet (about half a minute).
pub(super) fn cached() -> Result<Boot> {
    let dir = root::cache_dir()?;
    let root = root::cached()?;
    let lock = File::create(dir.join("vm.lock")).context("Cannot create the lock of the vm host's files")?;
    lock.lock().context("Cannot lock the vm host's files")?;
    let kernel = kernel(&dir)?;
    let of_root = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let recipe = Sha256::digest([of_root.as_str(), SIZE, INIT, AGENT, UNIT].join("\n"));
    let id: String = recipe.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let boot = Boot {
        kernel: kernel.join("boot/vmlinuz"),
        initramfs: dir.join(format!("vm-{id}.cpio")),
        root: dir.join(format!("vm-{id}.img")),
    };
    if !boot.root.exists() {
        eprintln!("Making the disk of the vm host (once) …");
        make(&root, &kernel, &boot).context("Cannot make the disk of the vm host")?;
    }
    Ok(boot)
}

/// Debian's kernel and its modules: `boot/vmlinuz` and `lib/modules/VERSION` in a directory.
///
/// # Errors
/// When the package cannot be had.
pub fn cached_kernel() -> Result<PathBuf> {
    let dir = root::cache_dir()?;
    let lock = File::create(dir.join("vm.lock")).context("Cannot create the lock of the vm host's files")?;
    lock.lock().context("Cannot lock the vm host's files")?;
    kernel(&dir)
}

/// Debian's kernel and its modules, unpacked.
fn kernel(dir: &Path) -> Result<PathBuf> {
    let kernel = dir.join("kernel");
    if kernel.exists() {
        return Ok(kernel);
    }
    let new = dir.join("kernel.new");
    remove(&new)?;
    fs::create_dir_all(&new)?;
    if download(&new).is_err() {
        // The package lists are old, or there are none.
        run(Command::new("apt-get").args(["--quiet", "update"]))?;
        download(&new)?;
    }
    let package = find(&new, "linux-image-")?;
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&new))?;
    fs::remove_file(&package)?;
    fs::rename(find(&new.join("boot"), "vmlinuz-")?, new.join("boot/vmlinuz"))?;
    fs::rename(&new, &kernel)?;
    Ok(kernel)
}

/// Downloads the package of the kernel that [`KERNEL`] stands for now.
fn download(to: &Path) -> Result<()> {
    let output = Command::new("apt-cache").args(["depends", "--important", KERNEL]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let package = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let package = package.with_context(|| format!("Debian's lists have no package {KERNEL}"))?;
    run(Command::new("apt-get").args(["--quiet", "download", package]).current_dir(to))
}

/// A root with modules in it, as a disk; and the initramfs that mounts it.
fn make(root: &Path, kernel: &Path, boot: &Boot) -> Result<()> {
    let tree = boot.root.with_extension("tree");
    remove(&tree)?;
    // Files are links to those of the root: they are replaced, never written to.
    run(Command::new("cp").args(["--archive", "--link"]).arg(root).arg(&tree))?;
    let modules = tree.join("usr/lib/modules");
    fs::create_dir_all(&modules)?;
    run(Command::new("cp").args(["--archive", "--link"]).arg(kernel.join("lib/modules/.")).arg(&modules))?;
    let version = find(&modules, "")?;
    let name = version.file_name().unwrap_or_default();
    run(Command::new(root.join("bin/busybox")).arg("depmod").arg("-b").arg(&tree).arg(name))?;
    // The kernel calls it for modules that something needs.
    symlink("/bin/busybox", tree.join("sbin/modprobe"))?;
    replace(&tree.join("etc/machine-id"), "7b1f0d0a5c9e4d7f8a6b3c2d1e0f9a8b\n", 0o444)?;
    replace(&tree.join("etc/hostname"), "rkt-vm-host\n", 0o644)?;
    replace(&tree.join("usr/libexec/rkt-vm-agent"), AGENT, 0o755)?;
    let units = tree.join("etc/systemd/system");
    fs::create_dir_all(units.join("multi-user.target.wants"))?;
    replace(&units.join("rkt-vm-agent.service"), UNIT, 0o644)?;
    symlink("../rkt-vm-agent.service", units.join("multi-user.target.wants/rkt-vm-agent.service"))?;

    fs::write(&boot.initramfs, initramfs::make(&root.join("bin/busybox"), INIT, &version)?)?;
    let new = boot.root.with_extension("img.new");
    disk(&tree, &new, SIZE)?;
    remove(&tree)?;
    Ok(fs::rename(&new, &boot.root)?)
}

/// Makes a disk with the files of `tree`.
pub(super) fn disk(tree: &Path, image: &Path, size: &str) -> Result<()> {
    remove(image)?;
    run(Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0", "-d"])
        .arg(tree)
        .arg(image)
        .arg(size))
}

/// Puts a new file in the place of an old one.
fn replace(path: &Path, text: &str, mode: u32) -> Result<()> {
    remove(path)?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

fn remove(path: &Path) -> Result<()> {
    run(Command::new("rm").args(["-rf", "--one-file-system", "--"]).arg(path))
}

/// The only entry of a directory whose name begins so.
fn find(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("Cannot list {}", directory.display()))?;
    let mut names = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    names
        .next()
        .map(|entry| entry.path())
        .with_context(|| format!("{} has no {prefix:?}…", directory.display()))
}

pub(super) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("Cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
