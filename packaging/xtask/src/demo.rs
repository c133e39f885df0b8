//! `cargo xtask demo`: a real server, packed as an image, run as a pod under a unit of systemd.
//!
//! Where process 1 is systemd this happens on the machine itself: the product stays below `target/`, the unit in `/run`, the data in
//! `/var/lib/rkt-demo`, and the last two are removed at the end. Elsewhere it happens in the namespace host of the test suite.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;
use tests::host::{Data, Host};

use crate::build::Profile;
use crate::shell::{run, target};
use crate::{install, packages};

const PACKAGES: &[&str] = &["gcc", "libc6-dev", "mmdebstrap", "util-linux", "zstd"];
/// What pods of stage1-nspawn and stage1-kvm need of the machine.
const MACHINE_PACKAGES: &[&str] =
    &["bash", "systemd-container", "containernetworking-plugins", "qemu-system-x86", "qemu-system-common"];

const UNIT: &str = "rkt-demo.service";
const PORT: u16 = 16379;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The wall around the pod
    #[arg(long, value_enum, default_value_t)]
    stage1: Wall,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Wall {
    /// A Linux container
    #[default]
    Nspawn,
    /// A chroot
    Fly,
    /// A virtual machine, emulated where there is no KVM
    Kvm,
}

/// Where the demonstration happens.
enum Place {
    Machine,
    Host(Host),
}

/// The files that it needs, as paths of the place.
struct Files {
    rkt: String,
    stage1: String,
    image: String,
    data: &'static str,
    /// Lines of the unit, and flags of `rkt run`.
    unit: &'static str,
    run: String,
}

pub(crate) fn demo(options: &Options) -> Result<()> {
    packages::need(PACKAGES)?;
    println!("Building rkt …");
    let demo = target().join("demo");
    let product = demo.join("product");
    install::install(&product, Profile::Release)?;
    let image = redis_image(&demo)?;

    let stage1 = match options.stage1 {
        Wall::Nspawn => "usr/lib/rkt/stage1-images/stage1-nspawn.aci",
        Wall::Fly => "usr/lib/rkt/stage1-images/stage1-fly.aci",
        Wall::Kvm => "usr/lib/rkt/stage1-images/stage1-kvm.aci",
    };
    let (unit, flags) = match options.stage1 {
        Wall::Nspawn | Wall::Fly => ("", "--net=host".to_owned()),
        // A machine has a network of its own, into which a port leads.
        Wall::Kvm => (emulation(), format!("--net=default --port=redis:127.0.0.1:{PORT}")),
    };
    let on_machine = Path::new("/run/systemd/system").exists();
    let (place, files) = if on_machine {
        packages::need(MACHINE_PACKAGES)?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let (rkt, stage1) = (text(product.join("usr/bin/rkt")), text(product.join(stage1)));
        (
            Place::Machine,
            Files { rkt, stage1, image: text(image), data: "/var/lib/rkt-demo", unit, run: flags },
        )
    } else {
        println!(
            "Process 1 of this machine is not systemd: this happens in a namespace host with a systemd of its own."
        );
        let host = Host::boot(Some(&product), Data::Memory)?;
        fs::copy(&image, host.path("/redis.aci")).context("Cannot copy the image into the host")?;
        let files = Files {
            rkt: "/usr/bin/rkt".to_owned(),
            stage1: format!("/{stage1}"),
            image: "/redis.aci".to_owned(),
            data: "/var/lib/rkt",
            unit,
            run: flags,
        };
        (Place::Host(host), files)
    };
    let shown = show(&place, &files);
    place.clean_up(&files);
    shown
}

/// Asks for emulation where KVM is not there: the demonstration is to run everywhere.
pub(crate) fn emulation() -> &'static str {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| cpu.split_whitespace().any(|word| word == flag);
    let works =
        (has("vmx") || has("svm")) && fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
    if works && !Path::new("/sys/module/kvm_pvm").exists() { "" } else { "Environment=RKT_KVM_ACCEL=tcg\n" }
}

fn show(place: &Place, files: &Files) -> Result<()> {
    let Files { rkt, stage1, image, data, unit: lines, run } = files;
    let rkt = format!("{rkt} --dir={data}");
    place.type_in(&format!("{rkt} --insecure-options=image fetch {image}"))?;
    let unit = format!(
        "[Unit]\n\
         Description=Redis in a pod\n\
         \n\
         [Service]\n\
         Slice=machine.slice\n\
         Delegate=yes\n\
         {lines}ExecStart={rkt} --insecure-options=image run --stage1-path={stage1} {run} --uuid-file-save=/run/rkt-demo.uuid example.com/redis\n\
         ExecStopPost={rkt} gc --mark-only\n\
         KillMode=mixed\n"
    );
    place.type_in(&format!("cat >/run/systemd/system/{UNIT} <<'END'\n{unit}END"))?;
    place.type_in("systemctl daemon-reload")?;
    place.type_in(&format!("systemctl start {UNIT}"))?;

    let ask = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{PORT} && printf 'PING\\r\\nSET pod rkt\\r\\nGET pod\\r\\nQUIT\\r\\n' >&3 && cat <&3"
    );
    let end = Instant::now() + Duration::from_secs(120);
    while !place.output(&ask)?.0 {
        ensure!(
            Instant::now() < end,
            "The server does not answer on port {PORT}\n{}",
            place.output(&format!("systemctl status {UNIT}"))?.1
        );
        thread::sleep(Duration::from_millis(20));
    }
    let answer = place.type_in(&ask)?;
    ensure!(answer.contains("+PONG") && answer.contains("rkt"), "The server gave a wrong answer");
    place.type_in(&format!("{rkt} list"))?;
    place.type_in(&format!("systemctl status --no-pager --full --lines=0 {UNIT}"))?;
    place.type_in(&format!("journalctl --no-pager --quiet --unit={UNIT} --identifier=redis --lines=8"))?;
    place.type_in(&format!("systemctl stop {UNIT}"))?;
    place.type_in(&format!("{rkt} list"))?;
    let refused = format!(
        "timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{PORT}' 2>&1 | grep --fixed-strings 'Connection refused'"
    );
    ensure!(place.output(&refused)?.0, "The port still leads somewhere after systemctl stop");
    Ok(())
}

impl Place {
    /// Shows a shell command and what it prints, and insists on its success.
    fn type_in(&self, script: &str) -> Result<String> {
        println!("\n# {script}");
        let (success, output) = self.output(script)?;
        print!("{output}");
        if !success {
            bail!("The command failed");
        }
        Ok(output)
    }

    fn output(&self, script: &str) -> Result<(bool, String)> {
        let script = format!("{script} 2>&1");
        match self {
            Place::Machine => {
                let output =
                    Command::new("bash").args(["-c", &script]).output().context("Cannot run bash")?;
                Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
            }
            Place::Host(host) => {
                let output = host.exec("bash").args(["-c", &script]).output();
                Ok((output.code == 0, output.stdout))
            }
        }
    }

    fn clean_up(&self, files: &Files) {
        let Place::Machine = self else { return };
        let Files { rkt, data, .. } = files;
        let script = format!(
            "systemctl stop {UNIT}; rm -f /run/systemd/system/{UNIT} /run/rkt-demo.uuid; systemctl daemon-reload; \
             {rkt} --dir={data} gc --grace-period=0s && rm -rf --one-file-system {data}"
        );
        if !matches!(self.output(&script), Ok((true, _))) {
            eprintln!("Something of the demonstration may be left: see {UNIT} and {data}");
        }
    }
}

/// A small Debian root with redis in it, packed as an image; made once.
fn redis_image(demo: &Path) -> Result<PathBuf> {
    let aci = demo.join("redis-2.aci");
    if aci.exists() {
        return Ok(aci);
    }
    println!("Making an image of a small Debian root with redis-server …");
    let image = demo.join("image");
    if image.exists() {
        fs::remove_dir_all(&image)?;
    }
    fs::create_dir_all(&image)?;
    let rootfs = image.join("rootfs");
    let slim = "rm -rf \"$1\"/var/cache/apt/* \"$1\"/var/lib/apt/lists/* \"$1\"/usr/share/doc/* \"$1\"/usr/share/locale/*";
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args([
        "--quiet",
        "--variant=minbase",
        "--include=redis-server",
        &format!("--customize-hook={slim}"),
        "bookworm",
    ]);
    run(mmdebstrap.arg(&rootfs))?;
    let manifest = json!({
        "acKind": "ImageManifest",
        "acVersion": "0.8.11",
        "name": "example.com/redis",
        "labels": [
            {"name": "version", "value": "7"},
            {"name": "os", "value": "linux"},
            {"name": "arch", "value": "amd64"},
        ],
        "app": {
            "exec": ["/usr/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--port", PORT.to_string(), "--save", ""],
            "user": "redis",
            "group": "redis",
            "workingDirectory": "/var/lib/redis",
            "ports": [{"name": "redis", "protocol": "tcp", "port": PORT}],
        },
    });
    fs::write(image.join("manifest"), serde_json::to_vec_pretty(&manifest)?)?;
    let new = demo.join("redis-2.aci.new");
    let mut tar = Command::new("tar");
    tar.args(["--create", "--zstd", "--numeric-owner", "--sort=name", "--xattrs", "--file"]).arg(&new);
    run(tar.arg("--directory").arg(&image).args(["manifest", "rootfs"]))?;
    fs::rename(&new, &aci)?;
    fs::remove_dir_all(&image)?;
    Ok(aci)
}
