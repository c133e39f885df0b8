//! The initramfs of a vm host: busybox, a script, and the modules that its disks need.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What is loaded before the root is mounted; what they need themselves comes with them.
const MODULES: &[&str] = &["virtio_pci", "virtio_blk", "virtio_console", "crc32c_generic", "ext4"];

/// An archive in the format that the kernel unpacks (`newc` of cpio(5)).
#[derive(Default)]
struct Cpio {
    bytes: Vec<u8>,
    count: u32,
}

impl Cpio {
    fn add(&mut self, name: &str, mode: u32, data: &[u8], (major, minor): (u32, u32)) -> Result<()> {
        self.count += 1;
        let lengths = [u32::try_from(data.len())?, u32::try_from(name.len() + 1)?];
        let fields = [self.count, mode, 0, 0, 1, 0, lengths[0], 0, 0, major, minor, lengths[1], 0]
            .map(|field| format!("{field:08x}"));
        self.bytes.extend(format!("070701{}{name}\0", fields.concat()).bytes());
        self.pad();
        self.bytes.extend(data);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Makes it. `modules` is the directory `/lib/modules/VERSION`, with the files of depmod in it.
pub(super) fn make(busybox: &Path, init: &str, modules: &Path) -> Result<Vec<u8>> {
    let mut archive = Cpio::default();
    for directory in ["bin", "dev", "modules", "payload", "proc", "root", "sys"] {
        archive.add(directory, 0o040_755, &[], (0, 0))?;
    }
    archive.add("dev/console", 0o020_600, &[], (5, 1))?;
    archive.add("init", 0o100_755, init.as_bytes(), (0, 0))?;
    let busybox = fs::read(busybox).with_context(|| format!("Cannot read {}", busybox.display()))?;
    archive.add("bin/busybox", 0o100_755, &busybox, (0, 0))?;
    for applet in ["cp", "insmod", "mount", "sh", "switch_root", "touch", "umount"] {
        archive.add(&format!("bin/{applet}"), 0o120_777, b"busybox", (0, 0))?;
    }
    let mut order = String::new();
    for file in load_order(&fs::read_to_string(modules.join("modules.dep"))?) {
        let name = file_name(&file).to_owned();
        archive.add(&format!("modules/{name}"), 0o100_644, &fs::read(modules.join(&file))?, (0, 0))?;
        order.push_str(&name);
        order.push('\n');
    }
    archive.add("modules/order", 0o100_644, order.as_bytes(), (0, 0))?;
    archive.add("TRAILER!!!", 0, &[], (0, 0))?;
    Ok(archive.bytes)
}

/// The files of [`MODULES`], each after what it needs, as modules.dep says. What is built into the kernel is not there.
fn load_order(dependencies: &str) -> Vec<String> {
    let needs: HashMap<&str, (&str, Vec<&str>)> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (module_name(file), (file, needs.split_whitespace().collect())))
        .collect();
    let mut order: Vec<String> = Vec::new();
    for module in MODULES {
        visit(module, &needs, &mut order);
    }
    order
}

fn visit(module: &str, needs: &HashMap<&str, (&str, Vec<&str>)>, order: &mut Vec<String>) {
    let Some((file, before)) = needs.get(module) else { return };
    if order.iter().any(|known| known == file) {
        return;
    }
    for other in before {
        visit(module_name(other), needs, order);
    }
    order.push((*file).to_owned());
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `virtio_pci` of `kernel/drivers/virtio/virtio_pci.ko`.
fn module_name(path: &str) -> &str {
    file_name(path).trim_end_matches(".ko")
}
