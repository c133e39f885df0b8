//! Whole-process time of a pod in a machine against the bare boot of the same kernel and initramfs, and what the processes of a pod
//! cost. With KVM where it works, else in emulation; both rows the same.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::host::{Data, Host};
use tests::images;

use super::host;
use super::report::{Limit, Promise, Samples, report, write};
use crate::kernel;
use crate::shell::{run as run_command, target};

const POD: &str = "rkt kvm";
const BARE: &str = "QEMU, an init that exits at once";

const PROMISES: &[Promise] = &[Promise { row: POD, peer: BARE, limit: Limit::AtMost(1.25) }];

/// Prints `MICROSECONDS ROW` for each run, and then `NAME KiB` for each process of a pod that runs.
const SCRIPT: &str = r#"
set -eu
group=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)
mkdir $group/driver && echo $$ >$group/driver/cgroup.procs
rkt() { command rkt --insecure-options=image "$@"; }
pod() { rkt run --stage1-from-dir=stage1-kvm.aci --net=none example.com/busybox; }
# As the pod's command line has it, less what connects it.
bare() {
    qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -serial null -cpu $cpu -smp 1 -m 640M \
        -machine $machine,accel=$accel,memory-backend=ram,usb=off -object memory-backend-memfd,id=ram,size=640M,share=on \
        -kernel /run/bench/vmlinux -initrd /run/bench/initramfs \
        -append "console=ttyS0 rdinit=/exit panic=-1 reboot=t no_timer_check noreplace-smp tsc=reliable cryptomgr.notests loglevel=0 $tsc"
}
timed() {
    local row=$1 start end; shift
    start=${EPOCHREALTIME/./}
    "$@" </dev/null >/tmp/bench.log 2>&1 || { echo "$row: exit status $?" >&2; cat /tmp/bench.log >&2; exit 1; }
    end=${EPOCHREALTIME/./}
    [ $warm = 1 ] || echo "$((end - start)) $row"
}
for round in $(seq 0 $rounds); do
    warm=$((round == 0))
    timed "rkt kvm" pod
    timed "QEMU, an init that exits at once" bare
    rkt gc --grace-period=0s >/dev/null 2>&1
done
echo memory
rkt run --stage1-from-dir=stage1-kvm.aci --net=none --uuid-file-save=/run/bench.uuid example.com/busybox --exec=/bin/sleep -- 1000 >/dev/null 2>&1 </dev/null &
for try in $(seq 1 120); do
    sleep 1
    ! rkt enter "$(cat /run/bench.uuid)" /bin/true 2>/tmp/bench.log </dev/null || break
    [ $try -lt 120 ] || { cat /tmp/bench.log >&2; exit 1; }
done
for pid in $(find $group/pod-$(cat /run/bench.uuid) -name cgroup.procs -exec cat {} +); do
    echo "$(cat /proc/$pid/comm) $(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' /proc/$pid/status)"
done
rkt stop --force --uuid-file=/run/bench.uuid >/dev/null
"#;

pub(super) fn run(rounds: u32) -> Result<()> {
    let product = host::product()?;
    let host = Host::boot(Some(&product), Data::Disk)?;
    images::install(&host);
    let stage1 = target().join("bench/stage1-kvm");
    fs::create_dir_all(&stage1)?;
    let archive = product.join("usr/lib/rkt/stage1-images/stage1-kvm.aci");
    run_command(
        Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(archive)
            .arg("-C")
            .arg(&stage1)
            .arg("rootfs/boot"),
    )?;
    let boot = stage1.join("rootfs/boot");
    host.write("/run/bench/vmlinux", fs::read(boot.join("vmlinux"))?);
    let mut initramfs = fs::read(boot.join("initramfs"))?;
    // Under this name the supervisor ends at once.
    kernel::append_link("exit", "init", &mut initramfs)?;
    host.write("/run/bench/initramfs", initramfs);
    let emulated = crate::demo::emulation();
    let (accelerator, cpu, machine) = if emulated.is_empty() {
        ("kvm", "host", "microvm,acpi=on,pit=off,pic=off,rtc=on,isa-serial=on")
    } else {
        ("tcg", "max,erms=off", "q35,smm=off,hpet=off,vmport=off,sata=off,smbus=off,i8042=off")
    };
    if !emulated.is_empty() {
        println!("KVM does not work here: all rows are emulated.");
        host.write(
            "/usr/lib/rkt/kvm.d/bench.json",
            r#"{"rktKind":"kvm","rktVersion":"v1","accelerator":"tcg"}"#,
        );
    }
    // What the stage1 measures; a tenth of a percent does for a boot.
    let tsc = if accelerator == "tcg" { tests::vm::counter_speed() } else { None }.unwrap_or_default();
    println!("Timing 2 rows, {rounds} rounds …\n");
    let script =
        format!("rounds={rounds} accel={accelerator} machine={machine} cpu={cpu} tsc={tsc}\n{SCRIPT}");
    let output = host::run_in_unit(&host, &script, Duration::from_secs(3600))?;
    let (times, memory) = output.split_once("memory\n").context("The benchmark ended early")?;
    let mut samples = Samples::new();
    for line in times.lines() {
        let (time, row) = line.split_once(' ').with_context(|| format!("Not a time: {line:?}"))?;
        samples.entry(row.to_owned()).or_default().push(time.parse()?);
    }
    report(&samples, PROMISES, &target().join("bench/kvm.json"))?;
    println!("\n{:<28} {:>9}", "resident while an app sleeps", "KiB");
    let mut rows = Vec::new();
    for line in memory.lines() {
        let (name, size) = line.split_once(' ').with_context(|| format!("Not a size: {line:?}"))?;
        let size: u64 = size.parse()?;
        // The monitor is the stage1's `run`, whose file is called init.
        let name = if name == "init" { "monitor" } else { name };
        println!(
            "{name:<28} {size:>9} {}",
            if name == "monitor" && size > 4096 { "MISSED (4096)" } else { "" }
        );
        rows.push(json!({"process": name, "resident_kib": size}));
    }
    ensure!(rows.len() >= 3, "Processes of the pod are missing: {memory}");
    write(&target().join("bench/kvm-memory.json"), &json!(rows))
}
