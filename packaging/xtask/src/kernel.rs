//! The guest's kernel and initramfs of stage1-kvm, from Debian's kernel package.
//!
//! ```text
//! target/kvm/kernel/vmlinux        the kernel, uncompressed: hypervisors start it at its PVH entry
//! target/kvm/kernel/modules/       NAME.ko, and "order": each after what it needs
//! target/kvm/kernel/package        which package it is from, and how it was made; written last, so all of the above is complete
//! ```
//! The package is downloaded and unpacked, never installed. What is there stays: only `cargo xtask stage1-kvm` looks for a newer one.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::packages;
use crate::shell::{run, target};

/// The package that depends on the newest kernel.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// The way in which all of it is made.
const RECIPE: &str = "stripped modules without types, local names and tables for unwinding and tracing, each with its purpose, and vsock";

/// Modules that the guest needs, and what it needs them for: a transport of virtio, one of two devices for the link, a root that the host
/// shares or one in an image, a network. What they need comes before them.
const MODULES: &[(&str, Option<&str>)] = &[
    ("virtio_mmio", Some("mmio")),
    ("virtio_pci", Some("pci")),
    ("virtio_console", Some("serial")),
    ("vmw_vsock_virtio_transport", Some("vsock")),
    ("virtiofs", Some("virtiofs")),
    ("virtio_blk", Some("image")),
    ("erofs", Some("image")),
    ("overlay", Some("image")),
    ("virtio_net", Some("net")),
];

/// What unpacks and strips.
const PACKAGES: &[&str] = &["binutils", "dpkg", "lz4", "xz-utils", "zstd"];

/// The kernel, unpacked now if it is not there yet; with `refresh` also when there is a newer one.
pub(crate) fn prepared(refresh: bool) -> Result<PathBuf> {
    let kernel = target().join("kvm/kernel");
    let marker = kernel.join("package");
    let made = fs::read_to_string(&marker).unwrap_or_default();
    if made.ends_with(&format!("\n{RECIPE}")) && !refresh {
        return Ok(kernel);
    }
    packages::need(PACKAGES)?;
    let package = newest_package()?;
    let text = format!("{package}\n{RECIPE}");
    if made == text {
        return Ok(kernel);
    }
    println!("Making the guest's kernel from the package {package} …");
    let work = target().join("kvm/work");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(&work)?;
    run(Command::new("apt-get").args(["--quiet", "--quiet", "download", &package]).current_dir(&work))?;
    let archive = only_file(&work)?;
    let tree = work.join("tree");
    run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&tree))?;
    let new = work.join("kernel");
    fs::create_dir_all(new.join("modules"))?;
    let image = only_matching(&tree.join("boot"), "vmlinuz-")?;
    fs::write(new.join("vmlinux"), uncompressed(&fs::read(image)?)?)?;
    collect_modules(&tree.join("lib/modules"), &new.join("modules"))?;
    fs::write(new.join("package"), text)?;
    if kernel.exists() {
        fs::remove_dir_all(&kernel)?;
    }
    fs::rename(&new, &kernel)?;
    fs::remove_dir_all(&work)?;
    Ok(kernel)
}

/// The real package behind [`META_PACKAGE`].
fn newest_package() -> Result<String> {
    let ask = || -> Result<Option<String>> {
        let output = Command::new("apt-cache").args(["depends", META_PACKAGE]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let name = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(name.filter(|name| name.starts_with("linux-image-")).map(str::to_owned))
    };
    if let Some(name) = ask().context("Cannot ask apt for the kernel package")? {
        return Ok(name);
    }
    run(Command::new("apt-get").args(["--quiet", "update"]))?;
    ask()?.with_context(|| format!("apt knows no package {META_PACKAGE}"))
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(directory)?;
    let entry =
        entries.next().with_context(|| format!("Nothing was downloaded to {}", directory.display()))?;
    Ok(entry?.path())
}

fn only_matching(directory: &Path, prefix: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(directory).with_context(|| format!("Cannot list {}", directory.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            return Ok(entry.path());
        }
    }
    bail!("There is no {prefix}… in {}", directory.display())
}

/// The ELF file in a bzImage; see Documentation/x86/boot.rst of Linux.
fn uncompressed(image: &[u8]) -> Result<Vec<u8>> {
    let word = |at: usize| -> Result<usize> {
        let bytes = image.get(at..at + 4).context("The kernel image is too short")?;
        Ok(usize::try_from(u32::from_le_bytes(bytes.try_into()?))?)
    };
    ensure!(image.get(0x202..0x206) == Some(b"HdrS"), "The kernel is no bzImage");
    let sectors = match image[0x1f1] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let (offset, length) = (word(0x248)?, word(0x24c)?);
    let start = (sectors + 1) * 512 + offset;
    // The length of what comes out stands in the last four bytes.
    let payload =
        image.get(start..start + length.saturating_sub(4)).context("The kernel image is cut off")?;
    let tool: &[&str] = match payload {
        [0x02, 0x21, 0x4c, 0x18, ..] => &["lz4", "-d", "-c"],
        [0xfd, b'7', b'z', b'X', b'Z', ..] => &["xz", "-d", "-c"],
        [0x1f, 0x8b, ..] => &["gzip", "-d", "-c"],
        [0x28, 0xb5, 0x2f, 0xfd, ..] => &["zstd", "-d", "-c"],
        _ => bail!("The kernel image is compressed in an unknown way"),
    };
    let file = target().join("kvm/work/payload");
    fs::write(&file, payload)?;
    let output = Command::new(tool[0])
        .args(&tool[1..])
        .stdin(File::open(&file)?)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("Cannot run {}", tool[0]))?;
    let wanted = word(start + length - 4)?;
    ensure!(output.stdout.len() == wanted, "{} gave {} bytes, not {wanted}", tool[0], output.stdout.len());
    ensure!(output.stdout.starts_with(b"\x7fELF"), "The kernel in the image is no ELF file");
    Ok(output.stdout)
}

/// Copies the modules, and lists them in the order in which they can be loaded.
fn collect_modules(from: &Path, to: &Path) -> Result<()> {
    let mut found = Vec::new();
    find_modules(from, &mut found)?;
    let mut order: Vec<(String, Option<&str>)> = Vec::new();
    for (name, purpose) in MODULES {
        add_module(name, *purpose, &found, to, &mut order)?;
    }
    let text: String = order
        .iter()
        .map(|(name, purpose)| match purpose {
            Some(purpose) => format!("{name}.ko {purpose}\n"),
            None => format!("{name}.ko\n"),
        })
        .collect();
    Ok(fs::write(to.join("order"), text)?)
}

fn find_modules(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("Cannot list {}", directory.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find_modules(&entry.path(), found)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "ko") {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn add_module(
    name: &str,
    purpose: Option<&'static str>,
    found: &[PathBuf],
    to: &Path,
    order: &mut Vec<(String, Option<&'static str>)>,
) -> Result<()> {
    if let Some((_, known)) = order.iter_mut().find(|(known, _)| known == name) {
        // Somebody else needs it, for something else or in any case.
        if *known != purpose {
            *known = None;
        }
        return Ok(());
    }
    let is_it = |path: &&PathBuf| {
        path.file_stem().is_some_and(|stem| stem.to_string_lossy().replace('-', "_") == name)
    };
    let path = found.iter().find(is_it).with_context(|| format!("The package has no module {name}"))?;
    let content = fs::read(path)?;
    for needed in depends(&content) {
        add_module(&needed, purpose, found, to, order)?;
    }
    let file = to.join(format!("{name}.ko"));
    fs::write(&file, content)?;
    // What is for debuggers and tracers goes, and the signature behind it: all of it takes the guest longer to read, and to sort, than
    // the module to load. The kernel comes from the same package and the same archive.
    let sections = [".BTF", ".orc_unwind", ".orc_unwind_ip", "__mcount_loc"]
        .map(|section| format!("--remove-section={section}"));
    run(Command::new("strip").arg("--strip-unneeded").args(sections).arg(&file))?;
    order.push((name.to_owned(), purpose));
    Ok(())
}

/// The modules that a module says it needs.
fn depends(module: &[u8]) -> Vec<String> {
    let fields = module.split(|&byte| byte == 0);
    let list = fields.filter_map(|field| field.strip_prefix(b"depends=")).next().unwrap_or_default();
    let names = String::from_utf8_lossy(list);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// Writes an initramfs with the modules and `init`, stripped, as its first program.
pub(crate) fn write_initramfs(kernel: &Path, init: &Path, to: &Path) -> Result<()> {
    let stripped = target().join("kvm/init");
    run(Command::new("strip").arg("--strip-all").arg("-o").arg(&stripped).arg(init))?;
    let mut archive = Initramfs {
        out: BufWriter::new(File::create(to).with_context(|| format!("Cannot create {}", to.display()))?),
        number: 0,
    };
    for directory in ["dev", "proc", "sys", "run", "root", "modules"] {
        archive.add(directory, 0o040_755, (0, 0), &[])?;
    }
    // The kernel opens it for the first program before anything is mounted.
    archive.add("dev/console", 0o020_600, (5, 1), &[])?;
    archive.add("init", 0o100_755, (0, 0), &fs::read(&stripped)?)?;
    let modules = kernel.join("modules");
    let mut names: Vec<_> =
        fs::read_dir(&modules)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    names.sort();
    for name in names {
        let content = fs::read(modules.join(&name))?;
        archive.add(&format!("modules/{}", name.to_string_lossy()), 0o100_644, (0, 0), &content)?;
    }
    cpio::newc::trailer(archive.out)?.flush()?;
    Ok(())
}

/// Adds an archive with one symbolic link behind an initramfs.
pub(crate) fn append_link(name: &str, target: &str, initramfs: &mut Vec<u8>) -> Result<()> {
    initramfs.resize(initramfs.len().next_multiple_of(4), 0);
    let mut archive = Initramfs { out: initramfs, number: 0 };
    archive.add(name, 0o120_777, (0, 0), target.as_bytes())?;
    cpio::newc::trailer(archive.out)?;
    Ok(())
}

struct Initramfs<W> {
    out: W,
    number: u32,
}

impl<W: std::io::Write> Initramfs<W> {
    fn add(&mut self, name: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) -> Result<()> {
        self.number += 1;
        let entry = cpio::newc::Builder::new(name)
            .ino(self.number)
            .mode(mode)
            .nlink(1)
            .rdev_major(major)
            .rdev_minor(minor);
        let mut writer = entry.write(&mut self.out, u32::try_from(content.len())?);
        writer.write_all(content)?;
        writer.finish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_say_what_they_need() {
        for (module, needed) in [
            (&b"x\0depends=virtio,virtio-ring\0retpoline=Y\0"[..], &["virtio", "virtio_ring"][..]),
            (b"\0depends=\0", &[]),
            (b"", &[]),
        ] {
            assert_eq!(depends(module), needed);
        }
    }

    #[test]
    fn what_is_no_kernel_is_named() {
        for (image, why) in [(vec![0; 4096], "no bzImage"), (vec![0; 16], "no bzImage")] {
            assert!(uncompressed(&image).unwrap_err().to_string().contains(why));
        }
    }
}
