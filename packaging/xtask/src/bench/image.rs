//! Unpacking one large image: Debian packages with thousands of small files, in layers that umoci wrote.
//!
//! All rows read the same OCI image layout on the same real file system, one after the other within each round, from a state in which
//! nothing of the image is there. What is written is not waited for: none of them does. Peak memory is measured in a round of its own,
//! because looking costs time: the resident sizes of all processes of a row together.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::host;
use super::report::{Limit, Promise, Samples, report};
use crate::shell::{run as run_command, target};

const PROMISES: &[Promise] = &[
    Promise { row: "rkt fetch", peer: "umoci unpack", limit: Limit::AtMost(0.5) },
    Promise { row: "rkt fetch", peer: "podman pull + mount", limit: Limit::AtMost(0.5) },
];

/// Rows and their commands, in the host. `$w` is an empty directory.
const ROWS: &[(&str, &str)] = &[
    ("rkt fetch", "rkt --insecure-options=image --dir=$w/rkt fetch oci:$top/layout:latest"),
    ("umoci unpack", "umoci unpack --image $top/layout:latest $w/bundle"),
    (
        "podman pull + mount",
        "p() { podman --root $w/storage --runroot /run/bench-podman --storage-driver overlay \"$@\"; }; p image mount $(p pull --quiet oci:$top/layout:latest)",
    ),
    // Copies the blobs and unpacks nothing: what is below it is what unpacking costs.
    ("skopeo copy", "skopeo copy --quiet oci:$top/layout:latest dir:$w/copy"),
];

/// What the image is made of.
const CONTENT: &str =
    "build-essential,git,python3,perl,vim,cmake,gdb,nginx,redis-server,openjdk-17-jre-headless";

/// What the layers hold, lowest first.
const LAYERS: &[&str] = &["etc", "var", "usr/bin", "usr/sbin", "usr/share", "usr/lib"];

/// The data directory is the one place of the host that is on a real file system.
const TOP: &str = "/var/lib/rkt";

/// The most memory that rkt may take, in MiB.
const MEMORY: u64 = 64;

pub(super) fn run(rounds: u32) -> Result<()> {
    let content = content()?;
    let host = host::boot()?;
    println!("Making the image …");
    let root = host.path(format!("{TOP}/root"));
    run_command(Command::new("cp").arg("-a").arg(&content).arg(&root))?;
    let layers: String = LAYERS
        .iter()
        .map(|layer| format!("umoci insert --image {TOP}/layout:latest {TOP}/root/{layer} /{layer}\n"))
        .collect();
    let script = format!(
        "umoci init --layout {TOP}/layout; umoci new --image {TOP}/layout:latest\n{layers}\
         du -sm {TOP}/layout {TOP}/root | tr '\\n' ' '; find {TOP}/root | wc -l; rm -rf {TOP}/root"
    );
    let made = host.exec("bash").args(["-ec", &script]).limit(Duration::from_secs(1200)).output();
    ensure!(made.code == 0, "The image cannot be made: {made}");
    println!("MiB of the layout and of its files, and their number: {}", made.trimmed());

    println!("Timing {} rows, {rounds} rounds …\n", ROWS.len());
    host.write("/run/bench.sh", driver(rounds));
    let output = host.exec("bash").arg("/run/bench.sh").limit(Duration::from_secs(3600)).output();
    ensure!(output.code == 0, "The benchmark failed: {output}");
    let mut samples = Samples::new();
    let mut peaks = Vec::new();
    for line in output.stdout.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(kind), Some(value), Some(row)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let value: u32 = value.parse().with_context(|| format!("Not a number: {line:?}"))?;
        match kind {
            "time" => samples.entry(row.to_owned()).or_default().push(value),
            _ => peaks.push((row.to_owned(), value)),
        }
    }
    report(&samples, PROMISES, &target().join("bench/image.json"))?;
    println!("\n{:<28} {:>9}", "MiB at most", "peak");
    for (row, kib) in &peaks {
        let mib = u64::from(*kib) / 1024;
        let word = if row != "rkt fetch" {
            ""
        } else if mib <= MEMORY {
            "kept"
        } else {
            "MISSED"
        };
        println!("{row:<28} {mib:>9} {word}");
    }
    Ok(())
}

/// The files of the image, made once.
fn content() -> Result<PathBuf> {
    let dir = target().join("bench/image-content");
    if !Path::new(&dir).exists() {
        println!("Making the files of the image from Debian packages (once) …");
        let new = target().join("bench/image-content.new");
        std::fs::create_dir_all(target().join("bench"))
            .context("Cannot create the directory of benchmarks")?;
        let include = format!("--include={CONTENT}");
        run_command(
            Command::new("mmdebstrap").args(["--quiet", "--variant=minbase", &include, "bookworm"]).arg(&new),
        )?;
        std::fs::rename(&new, &dir).context("Cannot name the files of the image")?;
    }
    Ok(dir)
}

/// The script that times and measures: `time MICROSECONDS ROW` and `peak KIB ROW`.
fn driver(rounds: u32) -> String {
    let mut script = format!(
        "set -u\n\
         top={TOP}\n\
         prepare() {{ podman --root $w/storage --runroot /run/bench-podman --storage-driver overlay image umount --all >/dev/null 2>&1\n\
             rm -rf $w /run/bench-podman; mkdir $w; sync; }}\n\
         time_it() {{\n\
             local row=$1 start end\n\
             prepare\n\
             start=${{EPOCHREALTIME/./}}\n\
             bash -ec \"$2\" </dev/null >/tmp/bench.log 2>&1 || {{ echo \"$row: exit status $?\" >&2; cat /tmp/bench.log >&2; exit 1; }}\n\
             end=${{EPOCHREALTIME/./}}\n\
             [ $warm = 1 ] || echo time $((end - start)) \"$row\"\n\
         }}\n\
         peak_of() {{\n\
             local row=$1 peak=0 now\n\
             prepare\n\
             setsid bash -ec \"$2\" </dev/null >/tmp/bench.log 2>&1 &\n\
             local leader=$!\n\
             while kill -0 $leader 2>/dev/null; do\n\
                 now=$(ps -o rss= -s $leader | awk '{{sum += $1}} END {{print sum + 0}}')\n\
                 [ $now -le $peak ] || peak=$now\n\
                 sleep 0.02\n\
             done\n\
             wait $leader\n\
             echo peak $peak \"$row\"\n\
         }}\n\
         export top w=$top/work\n\
         for round in $(seq 0 {rounds}); do\n\
         warm=$((round == 0))\n"
    );
    for (row, command) in ROWS {
        script.push_str(&format!("time_it {row:?} '{command}'\n"));
    }
    script.push_str("done\n");
    for (row, command) in ROWS {
        script.push_str(&format!("peak_of {row:?} '{command}'\n"));
    }
    script.push_str("prepare\n");
    script
}
