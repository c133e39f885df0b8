//! `cargo xtask demo`: a real server, packed as an image, run as a pod under a unit of systemd.
//!
//! Where process 1 is systemd this happens on the machine itself: the product stays below `target/`, the unit in `/run`, the data in
//! `/var/lib/rkt-demo`, and the last two are removed at the end. Elsewhere it happens in the namespace host of the test suite.

use std::fs;
use std::path::{self, Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ::tests::host::{Data, Host};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::shell::{run, target};
use crate::{install, packages};

const PACKAGES: &[&str] = &["gcc", "libc6-dev", "mmdebstrap", "util-linux", "zstd"];
/// What pods of stage1-nspawn and stage1-kvm need of the machine.
const MACHINE_PACKAGES: &[&str] =
    &["bash", "systemd-container", "containernetworking-plugins", "qemu-system-x86", "qemu-system-common"];

const UNIT: &str = "rkt-demo.service";
const PORT: u16 = 16379;
const UUID_FILE: &str = "/run/rkt-demo.uuid";
/// After this a command has hung: longer than systemd waits before it kills a unit that does not stop.
const LIMIT: Duration = Duration::from_secs(100);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The wall around the pod
    #[arg(long, value_enum, default_value_t)]
    stage1: Wall,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Wall {
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
}

pub(crate) fn demo(options: &Options) -> Result<()> {
    packages::need(PACKAGES)?;
    let product = install::product(directory().join("product"))?;
    if Path::new("/run/systemd/system").exists() {
        return on_machine(&product, options.stage1);
    }
    println!(
        "Process 1 of this machine is not systemd: this happens in a namespace host with a systemd of its own."
    );
    in_host(&product, options.stage1)
}

/// Where the image is, and the product that is built for the demonstration.
fn directory() -> PathBuf {
    target().join("demo")
}

fn on_machine(product: &Path, wall: Wall) -> Result<()> {
    packages::need(MACHINE_PACKAGES)?;
    // Units have no working directory that relative paths could start from.
    let text = |path: PathBuf| -> Result<String> {
        let path = path::absolute(&path).with_context(|| format!("Cannot resolve {}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    };
    let files = Files {
        rkt: text(product.join("usr/bin/rkt"))?,
        stage1: text(product.join(wall.stage1()))?,
        image: text(redis_image(&directory())?)?,
        data: "/var/lib/rkt-demo",
    };
    show(&Place::Machine, &files, wall)
}

/// The demonstration in a namespace host with `product` in it.
pub(crate) fn in_host(product: &Path, wall: Wall) -> Result<()> {
    let image = redis_image(&directory())?;
    let host = Host::boot(Some(product), Data::Memory)?;
    fs::copy(&image, host.path("/redis.aci")).context("Cannot copy the image into the host")?;
    let files = Files {
        rkt: "/usr/bin/rkt".to_owned(),
        stage1: format!("/{}", wall.stage1()),
        image: "/redis.aci".to_owned(),
        data: "/var/lib/rkt",
    };
    show(&Place::Host(host), &files, wall)
}

impl Wall {
    /// Where the product has its stage1.
    fn stage1(self) -> &'static str {
        match self {
            Self::Nspawn => "usr/lib/rkt/stage1-images/stage1-nspawn.aci",
            Self::Fly => "usr/lib/rkt/stage1-images/stage1-fly.aci",
            Self::Kvm => "usr/lib/rkt/stage1-images/stage1-kvm.aci",
        }
    }

    /// A process of the pod that the machine sees.
    fn process(self) -> &'static str {
        match self {
            Self::Nspawn | Self::Fly => "redis-server",
            Self::Kvm => "qemu-system",
        }
    }

    /// Further lines of the unit, and flags of `rkt run`.
    fn settings(self) -> (&'static str, String) {
        match self {
            Self::Nspawn | Self::Fly => ("", "--net=host".to_owned()),
            // A machine has a network of its own, into which a port leads.
            Self::Kvm => (emulation(), format!("--net=default --port=redis:127.0.0.1:{PORT}")),
        }
    }
}

/// Asks for emulation where KVM is not there: the demonstration is to run everywhere.
pub(crate) fn emulation() -> &'static str {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| cpu.split_whitespace().any(|word| word == flag);
    let works =
        (has("vmx") || has("svm")) && fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
    if works && !Path::new("/sys/module/kvm_pvm").exists() { "" } else { "Environment=RKT_KVM_ACCEL=tcg\n" }
}

/// Shows all of it, then what the unit says if something was not as it should be, and cleans up.
fn show(place: &Place, files: &Files, wall: Wall) -> Result<()> {
    let shown = steps(place, files, wall);
    if shown.is_err() {
        println!("\nWhat the unit says:");
        if let Ok((_, status)) =
            place.output(&format!("systemctl status --no-pager --full --lines=40 {UNIT}"))
        {
            print!("{status}");
        }
    }
    place.clean_up(files);
    shown
}

fn steps(place: &Place, files: &Files, wall: Wall) -> Result<()> {
    let Files { rkt, stage1, image, data } = files;
    let (lines, flags) = wall.settings();
    let rkt = format!("{rkt} --dir={data}");
    let at_once = Duration::ZERO;

    place.expect(
        &format!("{rkt} --insecure-options=image fetch {image}"),
        at_once,
        "rkt fetch did not print the image's ID",
        |output| output.lines().any(|line| line.starts_with("sha512-")),
    )?;
    let unit = format!(
        "[Unit]\n\
         Description=Redis in a pod\n\
         \n\
         [Service]\n\
         Slice=machine.slice\n\
         Delegate=yes\n\
         {lines}ExecStart={rkt} --insecure-options=image run --stage1-path={stage1} {flags} --uuid-file-save={UUID_FILE} example.com/redis\n\
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
            place.output(&format!("systemctl is-active {UNIT}"))?.0,
            "The unit ended before its server answered"
        );
        ensure!(Instant::now() < end, "The server does not answer on port {PORT}");
        thread::sleep(Duration::from_millis(20));
    }
    place.expect(&ask, at_once, "The server gave a wrong answer", |answer| {
        answer.lines().eq(["+PONG", "+OK", "$3", "rkt", "+OK"])
    })?;

    let uuid = place.output(&format!("cat {UUID_FILE}"))?.1;
    let listed = |state: &'static str| {
        let uuid = uuid.trim();
        move |table: &str| lists(table, uuid, state)
    };
    place.expect(
        &format!("{rkt} list"),
        at_once,
        "rkt list does not have the pod as running, with the app redis",
        listed("running"),
    )?;
    place.expect(
        &format!("systemctl status --no-pager --full --lines=0 {UNIT}"),
        at_once,
        "The unit is not active, or the pod's process is not in its control group",
        |status| runs(status, wall.process()),
    )?;
    place.expect(
        // By the invocation: a machine's journal may have lines of an earlier demonstration.
        &format!(
            "journalctl --no-pager --quiet --unit={UNIT} --identifier=redis --lines=8 \
             _SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value {UNIT})"
        ),
        Duration::from_secs(10),
        "The journal does not have the line with which the server says that it is ready",
        |journal| journal.lines().any(|line| line.contains("Ready to accept connections")),
    )?;

    place.type_in(&format!("systemctl stop {UNIT}"))?;
    place.expect(
        &format!("systemctl show --property=ActiveState --property=Result {UNIT}"),
        at_once,
        "The unit did not stop without a failure",
        |properties| {
            ["ActiveState=inactive", "Result=success"]
                .iter()
                .all(|line| properties.lines().any(|is| is == *line))
        },
    )?;
    place.expect(
        &format!("{rkt} list"),
        at_once,
        "rkt list does not have the pod as exited",
        listed("exited garbage"),
    )?;
    let refused = format!(
        "timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{PORT}' 2>&1 | grep --fixed-strings 'Connection refused'"
    );
    ensure!(place.output(&refused)?.0, "The port still leads somewhere after systemctl stop");
    Ok(())
}

/// Whether a table of `rkt list` has the pod in this state, with its app.
fn lists(table: &str, uuid: &str, state: &str) -> bool {
    table.lines().any(|line| {
        let columns: Vec<_> = line.split('\t').filter(|column| !column.is_empty()).collect();
        let [short, app, _, is, ..] = columns[..] else { return false };
        uuid.starts_with(short) && app == "redis" && is == state
    })
}

/// Whether `systemctl status` says that the unit runs, and has this process in its control group.
fn runs(status: &str, process: &str) -> bool {
    let Some((head, group)) = status.split_once("CGroup: ") else { return false };
    head.lines().any(|line| line.trim_start().starts_with("Active: active (running) "))
        && group.contains(process)
}

impl Place {
    /// Shows a shell command and what it prints, and insists on its success.
    fn type_in(&self, script: &str) -> Result<()> {
        let first = script.lines().next().unwrap_or_default();
        self.expect(script, Duration::ZERO, &format!("{first:?} failed"), |_| true)
    }

    /// Shows a shell command and what it prints, and insists on its success and on `is_right`, which must come true within `limit`; else
    /// the error is `wrong`.
    fn expect(
        &self,
        script: &str,
        limit: Duration,
        wrong: &str,
        is_right: impl Fn(&str) -> bool,
    ) -> Result<()> {
        println!("\n# {script}");
        let end = Instant::now() + limit;
        loop {
            let (success, output) = self.output(script)?;
            let right = success && is_right(&output);
            if right || Instant::now() >= end {
                print!("{output}");
                ensure!(right, "{wrong}");
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn output(&self, script: &str) -> Result<(bool, String)> {
        // Not behind the script, whose last line may end a here-document.
        let script = format!("exec 2>&1\n{script}");
        let limit = LIMIT.as_secs().to_string();
        let words = ["--kill-after=5", &limit, "bash", "-c", &script];
        match self {
            Place::Machine => {
                let output = Command::new("timeout").args(words).output().context("Cannot run bash")?;
                Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
            }
            Place::Host(host) => {
                let output = host.exec("timeout").args(words).limit(LIMIT * 2).output();
                Ok((output.code == 0, output.stdout))
            }
        }
    }

    fn clean_up(&self, files: &Files) {
        let Place::Machine = self else { return };
        let Files { rkt, data, .. } = files;
        let script = format!(
            "systemctl stop {UNIT}; rm -f /run/systemd/system/{UNIT} {UUID_FILE}; systemctl daemon-reload; \
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

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "212df71d-f8b9-45af-99e5-2c7b2a1ef25e";

    #[test]
    fn a_pod_in_a_list() {
        let head = "UUID\t\tAPP\tIMAGE NAME\t\tSTATE\tCREATED\tSTARTED\tNETWORKS\n";
        for (rows, running) in [
            ("212df71d\tredis\texample.com/redis:7\trunning\tnow\tnow\t\n", true),
            (
                "11111111\tredis\texample.com/redis:7\texited\tnow\tnow\t\n212df71d\tredis\texample.com/redis:7\trunning\tnow\tnow\t\n",
                true,
            ),
            ("", false),
            ("212df71d\tredis\texample.com/redis:7\texited garbage\tnow\tnow\t\n", false),
            // Another pod, another app, no app, and a word elsewhere in the row.
            ("11111111\tredis\texample.com/redis:7\trunning\tnow\tnow\t\n", false),
            ("212df71d\tother\texample.com/redis:7\trunning\tnow\tnow\t\n", false),
            ("212df71d\texample.com/redis:7\trunning\tnow\tnow\t\n", false),
            ("212df71d\tredis\trunning\texited\tnow\tnow\t\n", false),
        ] {
            assert_eq!(lists(&format!("{head}{rows}"), UUID, "running"), running, "{rows}");
        }
        let ended = "212df71d\tredis\texample.com/redis:7\texited garbage\tnow\tnow\t\n";
        assert!(lists(ended, UUID, "exited garbage"));
        // A pod that never said its name is in no list.
        assert!(!lists(ended, "", "exited garbage"));
    }

    #[test]
    fn a_unit_that_runs() {
        let status = |active: &str, group: &str| {
            format!(
                "● rkt-demo.service - Redis in a pod\n     Loaded: loaded (/run/systemd/system/rkt-demo.service; static)\n     \
                 Active: {active}\n   Main PID: 98 (redis-server)\n{group}"
            )
        };
        let group = "     CGroup: /machine.slice/rkt-demo.service\n             └─98 \"/usr/bin/redis-server 0.0.0.0:16379\"\n";
        let since = "since Sun 2026-11-29 12:14:53 UTC; 221ms ago";
        for (active, group, expected) in [
            (format!("active (running) {since}"), group, true),
            (format!("active (exited) {since}"), group, false),
            (format!("activating (start) {since}"), group, false),
            ("inactive (dead)".to_owned(), "", false),
            (format!("failed (Result: exit-code) {since}"), "", false),
            // Running elsewhere.
            (format!("active (running) {since}"), "", false),
            (format!("active (running) {since}"), "     CGroup: /machine.slice/rkt-demo.service\n", false),
        ] {
            assert_eq!(runs(&status(&active, group), "redis-server"), expected, "{active}{group}");
        }
    }
}
