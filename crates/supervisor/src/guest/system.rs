//! The machine: its own file systems and the kernel's modules.
//!
//! ```text
//! /init              this program
//! /modules/order     the modules, one a line, each after what it needs: NAME.ko, or NAME.ko PURPOSE: mmio, pci,
//!                    virtiofs, image, serial, vsock, net
//! /modules/NAME.ko     also .ko.xz and the like, which the kernel unpacks
//! ```

use std::os::fd::AsFd;
use std::path::Path;

use executor::Step;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use super::Error;

/// `MODULE_INIT_COMPRESSED_FILE` of finit_module(2).
const COMPRESSED: i32 = 4;

/// Mounts what this program itself needs, and loads the modules. Returns the kernel's command line.
pub(super) fn prepare() -> Result<String, Error> {
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    for (kind, at, flags) in [
        ("devtmpfs", "/dev", MountFlags::NOSUID),
        ("proc", "/proc", quiet | MountFlags::NODEV),
        ("sysfs", "/sys", quiet | MountFlags::NODEV),
        ("cgroup2", "/sys/fs/cgroup", quiet | MountFlags::NODEV),
    ] {
        directory(at)?;
        mount(kind, at, kind, flags, None).step(|| format!("mount {at}"))?;
    }
    directory("/run")?;
    // What follows makes mounts, namespaces and groups, and waits each time until no processor looks at the old ones: for a few
    // ticks of the clock, unless the kernel asks the processors at once. See rcupdate.rcu_expedited in Linux' kernel-parameters.txt.
    let _ = std::fs::write("/sys/kernel/rcu_expedited", "1");
    let options = std::fs::read_to_string("/proc/cmdline")?;
    load_modules(&purposes(&options))?;
    Ok(options)
}

/// What the machine is to do, as the kernel's command line says, and needs modules for.
fn purposes(options: &str) -> Vec<&str> {
    let words = options.split_whitespace().map(|word| word.split_once('=').unwrap_or((word, "")));
    let mut purposes: Vec<&str> = words
        .filter_map(|(name, value)| match name {
            "rkt.transport" | "rkt.root" => Some(value),
            "rkt.vsock" => Some("vsock"),
            "rkt.net" => Some("net"),
            _ => None,
        })
        .collect();
    purposes.extend((!purposes.contains(&"vsock")).then_some("serial"));
    purposes
}

/// Makes a directory, unless it is there.
pub(super) fn directory(path: &str) -> Result<(), Error> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).step(|| format!("make {path}"))?,
    }
}

/// Loads those that are needed in any case, and those for one of `purposes`.
fn load_modules(purposes: &[&str]) -> Result<(), Error> {
    let order = match std::fs::read_to_string("/modules/order") {
        // A kernel that has everything built in.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        order => order?,
    };
    for line in order.lines() {
        let (name, purpose) = line.split_once(' ').unwrap_or((line, ""));
        if !purpose.is_empty() && !purposes.contains(&purpose) {
            continue;
        }
        let path = Path::new("/modules").join(name);
        let module = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .step(|| format!("open {}", path.display()))?;
        let flags = if name.ends_with(".ko") { 0 } else { COMPRESSED };
        match rustix::system::finit_module(module.as_fd(), c"", flags) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => Err(errno).step(|| format!("load the kernel module {name}"))?,
        }
    }
    Ok(())
}

/// Says why the machine ends, where the host reads the kernel's messages.
pub(super) fn complain(message: &str) {
    let _ = std::fs::write("/dev/kmsg", format!("<2>rkt: {message}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_are_words_of_the_command_line() {
        for (options, wanted) in [
            (
                "console=ttyS0 rkt.transport=mmio rkt.root=virtiofs tsc=reliable\n",
                &["mmio", "virtiofs", "serial"][..],
            ),
            ("rkt.root=image rkt.net rkt.transport=pci rkt.vsock=7", &["image", "net", "pci", "vsock"]),
            ("rkt.network rkt.rooted=x", &["serial"]),
        ] {
            assert_eq!(purposes(options), wanted);
        }
    }
}
