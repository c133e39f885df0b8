//! What pods cost beside their apps: processes and memory while they run, time to list and to collect many.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tests::images;

use super::host;
use super::report::write;
use crate::shell::target;

/// Prints `WHAT NUMBER` lines: microseconds, KiB, and numbers of processes.
const SCRIPT: &str = r#"
set -eu
rkt() { command rkt --insecure-options=image "$@"; }
stamp() { echo ${EPOCHREALTIME/./}; }
timed() { local what=$1 start; shift; start=$(stamp); "$@" >/dev/null 2>&1; echo "$what" $(($(stamp) - start)); }
group=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)
mkdir $group/driver && echo $$ >$group/driver/cgroup.procs
# Ended pods, made as quickly as they can be.
end_pods() { for _ in $(seq $1); do rkt run --stage1-from-dir=stage1-fly.aci --net=host example.com/busybox >/dev/null 2>&1; done; }

for _ in $(seq 5); do
    end_pods 100
    timed gc-100 rkt gc --grace-period=0s
done
end_pods 1000
for _ in $(seq 21); do timed list-1000 rkt list; done
timed gc-1000 rkt gc --grace-period=0s

pods=/run/bench-root/etc/rkt/pods
install -d -m 755 /run/bench-root/etc /run/bench-root/etc/rkt $pods /run/bench-units
for number in $(seq 100); do
    printf '[Pod]\nIsolation=nspawn\nMemoryMax=512M\n[App]\nImage=docker://nginx\n[Unit]\nDescription=Pod %%p\n' >$pods/pod-$number.pod
done
for _ in $(seq 21); do
    RKT_GENERATOR_ROOT=/run/bench-root timed generator-100 /usr/lib/systemd/system-generators/rkt-pod-generator /run/bench-units
done

for wall in fly nspawn; do
    rkt run --stage1-from-dir=stage1-$wall.aci --net=host --uuid-file-save=/run/bench.uuid example.com/busybox \
        --exec=/bin/sleep -- 1000 >/dev/null 2>&1 </dev/null &
    until [ -s /run/bench.uuid ] && pgrep -x sleep >/dev/null; do sleep 0.1; done
    sleep 1
    uuid=$(cat /run/bench.uuid)
    # fly shares the group of this script; its processes see a mount of the pod's name.
    if [ $wall = fly ]; then pids=$(grep -l " rkt-$uuid " /proc/[0-9]*/mountinfo | cut -d/ -f3)
    else pids=$(find $group/pod-$uuid -name cgroup.procs -exec cat {} +); fi
    [ -n "$pids" ]
    count=0
    for pid in $pids; do
        name=$(cat /proc/$pid/comm)
        [ "$name" = sleep ] && continue
        count=$((count + 1))
        echo "$wall-$name-KiB" $(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' /proc/$pid/status)
    done
    echo "$wall-processes" $count
    rkt stop --force --uuid-file=/run/bench.uuid >/dev/null
    wait
    rm /run/bench.uuid
done
"#;

pub(super) fn run() -> Result<()> {
    let host = host::boot()?;
    images::install(&host);
    println!("Running 1,500 pods …\n");
    let output = host::run_in_unit(&host, SCRIPT, Duration::from_secs(900))?;

    let mut found = Vec::new();
    for line in output.lines() {
        let (what, number) = line.split_once(' ').with_context(|| format!("Not a measurement: {line:?}"))?;
        let number: f64 = number.parse().with_context(|| format!("Not a measurement: {line:?}"))?;
        found.push((what, number));
    }
    let median = |wanted: &str| {
        let mut numbers: Vec<f64> =
            found.iter().filter(|(what, _)| *what == wanted).map(|(_, number)| *number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.get(numbers.len() / 2).copied().with_context(|| format!("Nothing was measured of {wanted}"))
    };
    let rows = [
        ("rkt list of 1,000 pods, ms", median("list-1000")? / 1000.0, 20.0),
        ("rkt gc of 1,000 pods / of 100", median("gc-1000")? / median("gc-100")?, 12.0),
        ("units of 100 pod files, ms", median("generator-100")? / 1000.0, 10.0),
        ("fly: processes beside the app", median("fly-processes")?, 0.0),
        ("nspawn: process 1 of the pod, KiB", median("nspawn-supervisor-KiB")?, 3072.0),
    ];
    println!("{:<36} {:>8} {:>8}", "", "is", "limit");
    for (what, is, limit) in rows {
        println!("{what:<36} {is:>8.2} {limit:>8.2} {}", if is <= limit { "kept" } else { "MISSED" });
    }
    let rows =
        rows.map(|(what, is, limit)| json!({"what": what, "is": is, "limit": limit, "kept": is <= limit}));
    let measured: Vec<_> = found.iter().map(|(what, number)| json!([what, number])).collect();
    write(&target().join("bench/pods.json"), &json!({"rows": rows, "measured": measured}))
}
