//! An initramfs for a kernel of the host: that of the stage1, and behind it an archive with the modules of that kernel.
//!
//! The kernel unpacks both, one over the other; the list of the second counts (`modules/order`, see `supervisor::guest`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::MemfdFlags;
use stage1::{Context, Error, Result};

use crate::machine::{Device, Machine, Root};
use crate::settings::Model;

/// Where modules of installed kernels are.
const MODULES: &str = "/lib/modules";

/// What a guest needs for its link.
const SERIAL: &str = "virtio_console";
/// See [`SERIAL`].
const VSOCK: &str = "vmw_vsock_virtio_transport";

/// What it needs for files that the host shares.
const SHARED: &[&str] = &["virtiofs"];

/// What it needs for files in an image. Newer kernels have checksums built in.
const IMAGE: &[&str] = &["virtio_blk", CHECKSUMS, "erofs", "overlay"];

/// See [`IMAGE`].
const CHECKSUMS: &str = "crc32c_generic";

/// What it needs for a network.
const NETWORK: &str = "virtio_net";

/// The initramfs for the kernel in `kernel`, made from `own`, that of the stage1. A kernel that does not say its version is taken for
/// the stage1's own.
///
/// # Errors
/// When modules of that version are not installed.
pub(crate) fn for_kernel(kernel: &Path, own: File, machine: &Machine) -> Result<OwnedFd> {
    let file = File::open(kernel).step(|| format!("open {}", kernel.display()))?;
    let Some(version) = version(&file) else { return Ok(own.into()) };
    let directory = Path::new(MODULES).join(&version);
    let read = |name: &str| std::fs::read_to_string(directory.join(name));
    let installed = read("modules.dep").map_err(|cause| {
        Error::Refused(format!(
            "The modules of the kernel {} (version {version}) cannot be found: {}: {cause}. Install them, or name an initramfs that has them \
             (RKT_KVM_INITRD)",
            kernel.display(),
            directory.join("modules.dep").display()
        ))
    })?;
    // A kernel may have been built with all that is needed.
    let built_in = read("modules.builtin").unwrap_or_default();
    let transport = match machine.model {
        Model::Microvm => "virtio_mmio",
        Model::Q35 => "virtio_pci",
    };
    let device = match machine.link {
        Device::Serial => SERIAL,
        Device::Vsock { .. } => VSOCK,
    };
    let files = match machine.root {
        Root::Virtiofs => SHARED,
        Root::Image => IMAGE,
    };
    let network = (!machine.interfaces.is_empty()).then_some(NETWORK);
    let wanted = [transport, device].into_iter().chain(files.iter().copied()).chain(network);
    let order = order(wanted, &installed, &built_in).map_err(|name| {
        Error::Refused(format!("The kernel {} (version {version}) has no module {name}", kernel.display()))
    })?;
    join(own, &directory, &order).step(|| "make an initramfs".to_owned())
}

/// The version in the header of a bzImage; see Documentation/x86/boot.rst of Linux. Who can read it in `/boot` trusts it.
fn version(kernel: &File) -> Option<String> {
    let mut header = [0; 0x210];
    kernel.read_exact_at(&mut header, 0).ok()?;
    let offset = u16::from_le_bytes([header[0x20e], header[0x20f]]);
    if header[0x202..0x206] != *b"HdrS" || offset == 0 {
        return None;
    }
    let mut text = [0; 128];
    kernel.read_exact_at(&mut text, u64::from(offset) + 0x200).ok()?;
    let text = std::str::from_utf8(text.split(|&byte| byte == b' ' || byte == 0).next()?).ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+~".contains(&byte);
    (text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(is_plain)).then(|| text.to_owned())
}

/// Files of modules, each after what it needs; or the name of one that there is not.
fn order<'a>(
    wanted: impl Iterator<Item = &'a str>,
    dependencies: &str,
    built_in: &str,
) -> std::result::Result<Vec<PathBuf>, &'a str> {
    let known: BTreeMap<String, (&str, &str)> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (module_name(file), (file, needs)))
        .collect();
    let built_in: Vec<String> = built_in.lines().map(module_name).collect();
    let mut order: Vec<PathBuf> = Vec::new();
    for name in wanted {
        let Some((file, needs)) = known.get(name) else {
            if name == CHECKSUMS || built_in.iter().any(|built_in| built_in == name) {
                continue;
            }
            return Err(name);
        };
        // depmod(8) lists all that is needed; the last of it is needed first.
        for file in needs.split_whitespace().rev().chain([*file]) {
            let file = PathBuf::from(file);
            if !order.contains(&file) {
                order.push(file);
            }
        }
    }
    Ok(order)
}

/// `virtio_net` of `kernel/drivers/net/virtio-net.ko.xz`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

fn join(mut own: File, directory: &Path, order: &[PathBuf]) -> std::io::Result<OwnedFd> {
    let mut out = File::from(rustix::fs::memfd_create("initramfs", MemfdFlags::CLOEXEC)?);
    std::io::copy(&mut own, &mut out)?;
    // Archives begin at multiples of four.
    let length = out.stream_position()?;
    out.write_all(&[0; 3][..usize::try_from(length.next_multiple_of(4) - length).unwrap_or(0)])?;
    let mut list = String::new();
    for (number, path) in (1..).zip(order) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // One that is compressed is unpacked by the guest's kernel.
        list.push_str(name);
        list.push('\n');
        let mut content = Vec::new();
        File::open(directory.join(path))?.read_to_end(&mut content)?;
        add(&mut out, number, &format!("modules/{name}"), &content)?;
    }
    add(&mut out, 0, "modules/order", list.as_bytes())?;
    cpio::newc::trailer(&mut out)?;
    Ok(out.into())
}

fn add(out: &mut File, number: u32, name: &str, content: &[u8]) -> std::io::Result<()> {
    let size = u32::try_from(content.len()).map_err(|_| std::io::ErrorKind::FileTooLarge)?;
    let mut entry = cpio::newc::Builder::new(name).ino(number).mode(0o100_644).nlink(1).write(out, size);
    entry.write_all(content)?;
    entry.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_stand_behind_what_they_need() {
        let dependencies = "kernel/fs/fuse/virtiofs.ko.xz: kernel/fs/fuse/fuse.ko.xz kernel/drivers/virtio/virtio.ko.xz kernel/x/virtio_ring.ko.xz\n\
                            kernel/net/virtio-net.ko.xz: kernel/x/failover.ko.xz kernel/drivers/virtio/virtio.ko.xz kernel/x/virtio_ring.ko.xz\n\
                            kernel/fs/fuse/fuse.ko.xz:\n";
        let built_in = "kernel/drivers/virtio/virtio_mmio.ko\n";
        let wanted = ["virtio_mmio", "virtiofs", "virtio_net"];
        let names: Vec<String> = order(wanted.into_iter(), dependencies, built_in)
            .unwrap()
            .iter()
            .map(|path| module_name(path.to_str().unwrap()))
            .collect();
        assert_eq!(names, ["virtio_ring", "virtio", "fuse", "virtiofs", "failover", "virtio_net"]);
        assert_eq!(order(wanted.into_iter(), dependencies, ""), Err("virtio_mmio"));
    }

    #[test]
    fn the_version_of_a_kernel() {
        let image = |text: &[u8]| {
            let mut bytes = vec![0; 4096];
            bytes[0x202..0x206].copy_from_slice(b"HdrS");
            bytes[0x20e..0x210].copy_from_slice(&0x400_u16.to_le_bytes());
            bytes[0x600..0x600 + text.len()].copy_from_slice(text);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            version(&file)
        };
        let found = image(b"6.1.0-41-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP");
        assert_eq!(found.as_deref(), Some("6.1.0-41-cloud-amd64"));
        for wrong in [&b"../../etc (x)"[..], b"6.1/../.. ", b"", b"\xff"] {
            assert_eq!(image(wrong), None);
        }
        let mut elf = tempfile::tempfile().unwrap();
        elf.write_all(b"\x7fELF").unwrap();
        assert_eq!(version(&elf), None);
    }
}
