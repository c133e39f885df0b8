//! The rows of docs/isolators.md that need no controllers of cgroup2; `tests/vm/limits.rs` has the others.

use std::collections::BTreeSet;

use tests::case::{Case, Stage1, shared_host};
use tests::conformance::{Place, check, probes, rows};
use tests::images;

#[test]
fn every_row_has_a_probe_and_every_probe_a_row() {
    let rows: BTreeSet<_> = rows().into_iter().map(|row| (row.name, row.ways)).collect();
    let ways = |ways: Vec<(&str, _)>| ways.into_iter().map(|(way, _)| way.to_owned()).collect::<Vec<_>>();
    let probes: BTreeSet<_> =
        probes().into_iter().map(|probe| (probe.row.to_owned(), ways(probe.ways))).collect();
    assert_eq!(rows.difference(&probes).collect::<Vec<_>>(), Vec::<&_>::new(), "rows without a probe");
    assert_eq!(probes.difference(&rows).collect::<Vec<_>>(), Vec::<&_>::new(), "probes without a row");
}

#[test]
fn fly() {
    check(shared_host(), Stage1::Fly, Place::Namespace);
}

#[test]
fn nspawn() {
    check(shared_host(), Stage1::Nspawn, Place::Namespace);
}

/// A machine for each row and way.
#[test]
#[ignore = "emulates a hundred machines, one after the other: cargo xtask test kvm --full"]
fn machines() {
    check(shared_host(), Stage1::Kvm, Place::Namespace);
}

/// Every wildcard of seccomp sets: a call that is in it, and what becomes of that.
#[test]
fn wildcards_of_system_calls() {
    const EXDEV: i32 = 18;
    let case = Case::new(Stage1::Nspawn);
    let cases = [
        ("whitelist", "mode=retain,errno=EXDEV,@rkt/default-whitelist", 165, EXDEV),
        ("whitelist-of-docker", "mode=retain,errno=EXDEV,@docker/default-whitelist", 165, EXDEV),
        ("blacklist", "mode=remove,errno=EXDEV,@rkt/default-blacklist", 312, EXDEV),
        ("blacklist-of-docker", "mode=remove,errno=EXDEV,@docker/default-blacklist", 312, EXDEV),
        ("clock", "mode=remove,errno=EXDEV,@systemd/clock", 227, EXDEV),
        ("mount", "mode=remove,errno=EXDEV,@systemd/mount", 165, EXDEV),
        ("network-io", "mode=remove,errno=EXDEV,@systemd/network-io", 41, EXDEV),
        ("obsolete", "mode=remove,errno=EXDEV,@systemd/obsolete", 136, EXDEV),
        ("privileged", "mode=remove,errno=EXDEV,@systemd/privileged", 161, EXDEV),
        ("process", "mode=remove,errno=EXDEV,@systemd/process", 98, EXDEV),
        ("raw-io", "mode=remove,errno=EXDEV,@systemd/raw-io", 173, EXDEV),
        // Nothing is taken from the default list, where kcmp gives EPERM; and the filter is off: there is no process 0.
        ("empty", "mode=remove,@appc.io/empty", 312, 1),
        ("all", "mode=retain,@appc.io/all", 312, 3),
    ];
    let mut words = Vec::new();
    for (name, filter, call, _) in &cases {
        let script = format!(
            r#"$! = 0; syscall {call}, 0, 0, 0, 0, 0; my $error = $! + 0; mkdir "/directory" or die; print "errno $error\n""#
        );
        words.extend(["---".to_owned(), images::PERL_NAME.to_owned(), format!("--name={name}")]);
        words.extend([format!("--seccomp={filter}"), "--exec=/usr/bin/perl".to_owned()]);
        words.extend(["--".to_owned(), "-e".to_owned(), script]);
    }
    let output = case.run(words.into_iter().skip(1)).ok();
    for (name, filter, call, errno) in cases {
        let wanted = format!("]: errno {errno}");
        let said =
            output.stdout.lines().any(|line| line.contains(&format!(" {name}[")) && line.ends_with(&wanted));
        assert!(said, "{filter}: call {call} does not give {errno}: {output}");
    }
    // What is in no set but that which every program needs to start.
    let test = |set: &str| {
        let filter = format!("--seccomp=mode=retain,errno=EXDEV,{set}");
        case.run([case.busybox(), "--exec=/bin/test", &filter, "--", "-e", "/etc/passwd"]).output().code
    };
    assert_eq!(test("@systemd/default-whitelist"), 1);
    assert_eq!(test("@appc.io/empty"), 1);
    assert_eq!(test("@rkt/default-whitelist"), 0);
    case.run([case.busybox(), "--exec=/bin/true", "--seccomp=mode=remove,@appc.io/all"])
        .fails(254)
        .says("leaves the app no system call");
}
