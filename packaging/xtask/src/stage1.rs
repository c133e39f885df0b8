//! Assembles the stage1 images from the built programs.
//!
//! ```text
//! manifest                     names the entrypoints
//! rootfs/init, /enter, …       hard links of one program, which looks at its own name
//! rootfs/supervisor            nspawn: process 1 of the pod
//! rootfs/boot/                 kvm: the guest's kernel, and the initramfs with the supervisor
//! rootfs/flavor                symbolic link whose target is the flavor's name
//! ```

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::kernel;
use crate::shell::{run, target};

struct Flavor {
    name: &'static str,
    interface: u32,
    /// Operation and the program's name for it.
    entrypoints: &'static [(&'static str, &'static str)],
    supervisor: bool,
    dirs: &'static [&'static str],
    files: &'static [(&'static str, &'static str)],
}

/// The entrypoints of those that have a supervisor in the pod.
const SUPERVISED: &[(&str, &str)] = &[
    ("run", "init"),
    ("enter", "enter"),
    ("gc", "gc"),
    ("stop", "stop"),
    ("signal", "signal"),
    ("attach", "attach"),
    ("app/add", "app_add"),
    ("app/start", "app_start"),
    ("app/stop", "app_stop"),
    ("app/rm", "app_rm"),
];

/// What systemd-nspawn wants to see in a root.
const NSPAWN_DIRS: &[&str] = &[
    "dev",
    "etc",
    "opt/stage2",
    "proc",
    "rkt/env",
    "rkt/status",
    "rkt/volumes",
    "root",
    "run",
    "sys",
    "tmp",
    "usr",
    "var",
];
const OS_RELEASE: &str = "ID=rkt\nNAME=rkt\nPRETTY_NAME=\"rkt pod\"\n";

const FLAVORS: &[Flavor] = &[
    Flavor {
        name: "nspawn",
        interface: 6,
        entrypoints: SUPERVISED,
        supervisor: true,
        dirs: NSPAWN_DIRS,
        files: &[("etc/os-release", OS_RELEASE), ("etc/machine-id", "")],
    },
    Flavor {
        name: "fly",
        interface: 5,
        entrypoints: &[
            ("run", "run"),
            ("enter", "enter"),
            ("gc", "gc"),
            ("stop", "stop"),
            ("signal", "signal"),
        ],
        supervisor: false,
        dirs: &["opt/stage2", "rkt/env", "rkt/status"],
        files: &[],
    },
    Flavor {
        name: "kvm",
        interface: 6,
        entrypoints: SUPERVISED,
        supervisor: false,
        // The guest mounts on them what systemd-nspawn does for a container.
        dirs: NSPAWN_DIRS,
        files: &[("etc/os-release", OS_RELEASE), ("etc/machine-id", "")],
    },
];

/// Builds `stage1-kvm.aci` into `to`, with the newest kernel that apt knows.
pub(crate) fn kvm(to: &Path, profile: crate::build::Profile) -> Result<()> {
    kernel::prepared(true)?;
    let programs = crate::build::programs(profile)?;
    fs::create_dir_all(to).with_context(|| format!("Cannot create {}", to.display()))?;
    for flavor in FLAVORS.iter().filter(|flavor| flavor.name == "kvm") {
        assemble_one(flavor, &programs, to)?;
    }
    Ok(())
}

/// Writes `stage1-NAME.aci` for every flavor into `to`, from the programs in `programs`.
pub(crate) fn assemble(programs: &Path, to: &Path) -> Result<()> {
    for flavor in FLAVORS {
        assemble_one(flavor, programs, to)
            .with_context(|| format!("Cannot assemble stage1-{}", flavor.name))?;
    }
    Ok(())
}

fn assemble_one(flavor: &Flavor, programs: &Path, to: &Path) -> Result<()> {
    let image = target().join("stage1").join(flavor.name);
    if image.exists() {
        fs::remove_dir_all(&image)?;
    }
    let root = image.join("rootfs");
    fs::create_dir_all(&root)?;
    for dir in flavor.dirs {
        fs::create_dir_all(root.join(dir))?;
    }
    for (path, content) in flavor.files {
        fs::write(root.join(path), content)?;
    }
    let mut program = None;
    for (_, name) in flavor.entrypoints {
        let path = root.join(name);
        match &program {
            None => copy_program(&programs.join(format!("stage1-{}", flavor.name)), &path)?,
            Some(first) => fs::hard_link(first, &path)?,
        }
        program.get_or_insert(path);
    }
    if flavor.supervisor {
        copy_program(&programs.join("supervisor"), &root.join("supervisor"))?;
    }
    if flavor.name == "kvm" {
        let kernel = kernel::prepared(false)?;
        let boot = root.join("boot");
        fs::create_dir_all(&boot)?;
        fs::copy(kernel.join("vmlinux"), boot.join("vmlinux"))?;
        kernel::write_initramfs(&kernel, &programs.join("supervisor"), &boot.join("initramfs"))?;
    }
    symlink(flavor.name, root.join("flavor"))?;
    fs::write(image.join("manifest"), serde_json::to_vec(&manifest(flavor))?)?;

    let archive = to.join(format!("stage1-{}.aci", flavor.name));
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--format=ustar",
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mode=u=rwX,go=rX",
    ]);
    run(tar.arg("--file").arg(archive).arg("--directory").arg(&image).args(["manifest", "rootfs"]))
}

fn copy_program(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("Cannot copy {}", from.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o755))?)
}

fn manifest(flavor: &Flavor) -> Value {
    let mut annotations: Vec<Value> = flavor
        .entrypoints
        .iter()
        .map(|(operation, name)| json!({"name": format!("coreos.com/rkt/stage1/{operation}"), "value": format!("/{name}")}))
        .collect();
    annotations.push(
        json!({"name": "coreos.com/rkt/stage1/interface-version", "value": flavor.interface.to_string()}),
    );
    json!({
        "acKind": "ImageManifest",
        "acVersion": "0.8.11",
        "name": format!("coreos.com/rkt/stage1-{}", flavor.name),
        "labels": [
            {"name": "version", "value": env!("CARGO_PKG_VERSION")},
            {"name": "os", "value": "linux"},
            {"name": "arch", "value": "amd64"},
        ],
        "annotations": annotations,
    })
}
