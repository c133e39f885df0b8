//! The host's root: made once by `mmdebstrap` from Debian packages, kept under `target/testhosts/`, named after its recipe.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

/// A file that only this root has.
pub const MARKER: &str = "/etc/rkt-test-host";

/// Which Debian it is, unless [`SUITE_VARIABLE`] names another: a newer one has a newer systemd.
const SUITE: &str = "bookworm";
/// The variable that names the release.
const SUITE_VARIABLE: &str = "RKT_TEST_DEBIAN";

/// systemd as process 1 with what rkt drives; then what tests and benchmarks call.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "systemd-container",
    "dbus",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "nftables",
    "procps",
    "curl",
    "busybox-static",
    "qemu-system-x86",
    "qemu-system-common",
    "erofs-utils",
    "strace",
    "gdb-minimal",
    "crun",
    "runc",
    "gpg",
    "gpg-agent",
    "buildah",
    "skopeo",
    "umoci",
    "podman",
    "ca-certificates",
    "docker-registry",
    "nginx-light",
    "openssl",
    "tinyproxy-bin",
];

/// Units that would change the machine's kernel (its settings, its modules), that only cost time, or that take the ports of
/// servers which tests start themselves.
const MASKED: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dev-hugepages.mount",
    "docker-registry.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "modprobe@.service",
    "nginx.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-modules-load.service",
    "systemd-remount-fs.service",
    "systemd-sysctl.service",
    "systemd-tmpfiles-clean.timer",
];

/// The directory that holds roots and whatever else hosts need on a real file system.
pub fn cache_dir() -> Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    };
    let dir = target.join("testhosts");
    fs::create_dir_all(&dir).with_context(|| format!("Cannot create {}", dir.display()))?;
    fs::canonicalize(&dir).with_context(|| format!("Cannot resolve {}", dir.display()))
}

/// The root, made now if it is not there yet (about a minute).
pub fn cached() -> Result<PathBuf> {
    let dir = cache_dir()?;
    let masks: String =
        MASKED.iter().map(|unit| format!("ln -sf /dev/null \"$1/etc/systemd/system/{unit}\"; ")).collect();
    let customize =
        format!("touch \"$1{MARKER}\"; {masks}rm -rf \"$1\"/var/cache/apt \"$1\"/var/lib/apt/lists/*");
    let packages = PACKAGES.join(",");
    let suite = std::env::var(SUITE_VARIABLE).unwrap_or_else(|_| SUITE.to_owned());
    let recipe = Sha256::digest([suite.as_str(), &packages, &customize].join("\n"));
    let id: String = recipe.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let root = dir.join(format!("root-{id}"));
    if root.exists() {
        return Ok(root);
    }

    let lock =
        File::create(dir.join("root.lock")).context("Cannot create the lock of the test hosts' roots")?;
    lock.lock().context("Cannot lock the test hosts' roots")?;
    if root.exists() {
        return Ok(root);
    }
    let new = dir.join(format!("root-{id}.new"));
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("Cannot remove {}", new.display()))?;
    }
    eprintln!("Making the root of the test host from Debian packages (once, about a minute) …");
    let status = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", &format!("--include={packages}")])
        .arg(format!("--customize-hook={customize}"))
        .arg(&suite)
        .arg(&new)
        .status()
        .context("Cannot run mmdebstrap; `cargo xtask test` installs it")?;
    ensure!(status.success(), "mmdebstrap failed ({status})");
    fs::rename(&new, &root).with_context(|| format!("Cannot name {}", root.display()))?;
    Ok(root)
}
