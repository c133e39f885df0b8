//! Whole-process time of running `/bin/true` in a container from a root that is already there.
//!
//! All rows run one after the other within each round, in a random order, in one delegated unit of one namespace host, on the same root on a real file
//! system, with the host's network. Each starts on a quiet machine, as pods mostly do: what another has left in the kernel, such as a grace
//! period of RCU that has just begun, makes the next one quicker or slower. A row of its own shows what a scope costs.

use std::time::Duration;

use ::tests::host::Host;
use ::tests::images;
use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::host;
use super::report::{Limit, Promise, Samples, report};
use crate::shell::target;

const PROMISES: &[Promise] = &[
    Promise { row: "rkt fly", peer: "crun", limit: Limit::AtMost(0.8) },
    Promise { row: "rkt nspawn", peer: "systemd-nspawn, no seccomp", limit: Limit::AtMost(1.5) },
    Promise { row: "rkt nspawn", peer: "runc", limit: Limit::Below(1.0) },
    Promise { row: "rkt nspawn", peer: "runc, seccomp", limit: Limit::Below(1.0) },
];

/// Rows and their commands, in the host. `$n` is a number that no other call has.
const ROWS: &[(&str, &str)] = &[
    ("rkt fly", "$rkt run --stage1-from-dir=stage1-fly.aci --net=host example.com/root"),
    ("rkt nspawn", "$rkt run --stage1-from-dir=stage1-nspawn.aci --net=host example.com/root"),
    ("crun", "crun --cgroup-manager=cgroupfs run --bundle $top/bundle crun-$n"),
    ("runc", "runc run --bundle $top/bundle runc-$n"),
    ("runc, seccomp", "runc run --bundle $top/bundle-seccomp runc-$n"),
    (
        "systemd-nspawn",
        "systemd-nspawn --quiet --keep-unit --machine=n$n --directory=$top/bundle/rootfs /bin/true",
    ),
    (
        "systemd-nspawn, no seccomp",
        "env SYSTEMD_SECCOMP=0 systemd-nspawn --quiet --keep-unit --machine=s$n --directory=$top/bundle/rootfs /bin/true",
    ),
    ("systemd-run --scope", "systemd-run --quiet --scope $top/bundle/rootfs/bin/true"),
    ("true", "$top/bundle/rootfs/bin/true"),
];

/// The data directory is the one place of the host that is on a real file system.
const TOP: &str = "/var/lib/rkt";

pub(super) fn run(rounds: u32) -> Result<()> {
    let host = host::boot()?;
    prepare(&host)?;

    println!("Timing {} rows, {rounds} rounds …\n", ROWS.len());
    let output = host::run_in_unit(&host, &driver(rounds), Duration::from_secs(1800))?;

    let mut samples = Samples::new();
    for line in output.lines() {
        let (time, row) = line.split_once(' ').with_context(|| format!("Not a time: {line:?}"))?;
        samples
            .entry(row.to_owned())
            .or_default()
            .push(time.parse().with_context(|| format!("Not a time: {line:?}"))?);
    }
    report(&samples, PROMISES, &target().join("bench/run.json"))
}

/// The same small root for all, with what OCI runtimes mount on and what systemd-nspawn expects: in rkt's store, and in a bundle
/// for the others.
fn prepare(host: &Host) -> Result<()> {
    let root = ["dev", "proc", "run", "sys", "usr"]
        .iter()
        .fold(images::busybox("example.com/root"), |root, name| root.dir(&format!("rootfs/{name}"), 0o755))
        .file("rootfs/etc/os-release", 0o644, "");
    host.write("/images/root.aci", root.app(&["/bin/true"], &json!({})).build());
    host.exec("/usr/bin/rkt").args(["--insecure-options=image", "fetch", "/images/root.aci"]).ok();
    let bundle = format!("{TOP}/bundle");
    host.sh(&format!("mkdir {bundle}; cd {bundle}; crun spec; tar -xf /images/root.aci rootfs")).success();
    let file = format!("{bundle}/config.json");
    let mut config: Value = serde_json::from_str(&host.read(&file)).context("crun spec wrote no JSON")?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/true"]);
    config["root"]["readonly"] = json!(false);
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
    }
    if let Some(linux) = config["linux"].as_object_mut() {
        // Rules for devices make crun raise a limit, which some machines forbid even to root.
        linux.remove("resources");
    }
    host.write(&file, config.to_string());
    // The same, with the list of system calls that an app of a pod has.
    config["linux"]["seccomp"] = seccomp(DEFAULT_LIST)?;
    config["root"]["path"] = json!(format!("{bundle}/rootfs"));
    host.sh(&format!("mkdir {bundle}-seccomp")).success();
    host.write(&format!("{bundle}-seccomp/config.json"), config.to_string());
    Ok(())
}

/// What an app may call that says nothing else.
const DEFAULT_LIST: &str = include_str!("../../../../crates/executor/src/seccomp/sets/default-whitelist.txt");

/// A list of system calls, in the form that crates/executor describes, as an OCI runtime takes it.
fn seccomp(list: &str) -> Result<Value> {
    let mut calls = Vec::new();
    for line in list.lines().map(|line| line.split('#').next().unwrap_or_default()) {
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let when = |argument: &str, operator: &str, value: u64| {
            let index: u32 = argument.trim_start_matches("arg").parse()?;
            Ok::<_, anyhow::Error>(json!([{"index": index, "op": operator, "value": value, "valueTwo": 0}]))
        };
        calls.push(match line.split_whitespace().collect::<Vec<_>>()[..] {
            [] => continue,
            [name, "=", "ENOSYS"] => json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}),
            [name, "if", argument, "&", mask, "==", "0"] => {
                json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": when(argument, "SCMP_CMP_MASKED_EQ", number(mask)?)?})
            }
            [name, "if", argument, "!=", value] => {
                json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": when(argument, "SCMP_CMP_NE", number(value)?)?})
            }
            ref names => json!({"names": names, "action": "SCMP_ACT_ALLOW"}),
        });
    }
    Ok(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": calls,
    }))
}

/// The script that times: microseconds, a space, the row.
fn driver(rounds: u32) -> String {
    let mut script = format!(
        "set -u\n\
         top={TOP} n=0 rkt='rkt --insecure-options=image'\n\
         # Out of the way of whoever enables controllers for the unit's cgroup.\n\
         group=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)\n\
         mkdir $group/driver && echo $$ >$group/driver/cgroup.procs || exit\n\
         time_it() {{\n\
             local row=$1 start end; shift\n\
             sleep 0.2\n\
             start=${{EPOCHREALTIME/./}}\n\
             \"$@\" </dev/null >/tmp/bench.log 2>&1 || {{ echo \"$*: exit status $?\" >&2; cat /tmp/bench.log >&2; exit 1; }}\n\
             end=${{EPOCHREALTIME/./}}\n\
             [ $warm = 1 ] || echo $((end - start)) \"$row\"\n\
         }}\n\
         for round in $(seq 0 {rounds}); do\n\
         warm=$((round == 0))\n"
    );
    let numbers: Vec<String> = (0..ROWS.len()).map(|number| number.to_string()).collect();
    script
        .push_str(&format!("for row in $(shuf -e {}); do\nn=$((n + 1))\ncase $row in\n", numbers.join(" ")));
    for (number, (row, command)) in ROWS.iter().enumerate() {
        script.push_str(&format!("{number}) time_it {row:?} {command};;\n"));
    }
    script.push_str("esac\ndone\n");
    script.push_str("done\n");
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(row: &str) -> Option<&'static str> {
        ROWS.iter().find(|(name, _)| *name == row).map(|(_, command)| *command)
    }

    #[test]
    fn promises_are_about_rows() {
        for Promise { row, peer, .. } in PROMISES {
            assert!(command(row).is_some(), "{row}");
            assert!(command(peer).is_some(), "{peer}");
        }
    }

    /// Times are told apart by the names of their rows.
    #[test]
    fn no_two_rows_have_one_name() {
        for (number, (name, _)) in ROWS.iter().enumerate() {
            assert!(ROWS[number + 1..].iter().all(|(other, _)| other != name), "{name}");
        }
    }

    /// A promise is worth what its peer is: another program under the same name would keep it easily.
    #[test]
    fn peers_are_what_they_are_called() {
        for (row, begin) in [
            ("crun", "crun "),
            ("runc", "runc run "),
            ("runc, seccomp", "runc run "),
            ("systemd-nspawn", "systemd-nspawn "),
            ("systemd-nspawn, no seccomp", "env SYSTEMD_SECCOMP=0 systemd-nspawn "),
            ("systemd-run --scope", "systemd-run --quiet --scope "),
        ] {
            let command = command(row).unwrap_or_else(|| panic!("no row {row}"));
            assert!(command.starts_with(begin), "{row}: {command}");
        }
    }

    /// The figures of `docs/SPECIFICATION.md`.
    #[test]
    fn what_is_promised() {
        for (row, peer, limit) in [
            ("rkt fly", "crun", Limit::AtMost(0.8)),
            ("rkt nspawn", "systemd-nspawn, no seccomp", Limit::AtMost(1.5)),
            ("rkt nspawn", "runc", Limit::Below(1.0)),
        ] {
            let promise = PROMISES.iter().find(|promise| promise.row == row && promise.peer == peer);
            assert_eq!(promise.map(|promise| promise.limit), Some(limit), "{row} / {peer}");
        }
    }

    #[test]
    fn all_rows_are_timed() {
        let script = driver(3);
        for (row, command) in ROWS {
            assert!(script.contains(&format!(") time_it {row:?} {command};;\n")), "{row}");
        }
        assert!(script.contains("seq 0 3"));
    }
}
