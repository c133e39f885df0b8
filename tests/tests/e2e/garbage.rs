//! `rkt gc`: what it removes, when, and what it must never reach.

use std::time::Duration;

use tests::case::{Case, Stage1};

/// Nothing of a pod is left: no directory, no mount, no scope, no cgroup, no registration.
pub(crate) fn assert_nothing_is_left(case: &Case, uuid: &str) {
    assert_eq!(case.pod_dir(uuid), None);
    // As systemd writes it in the name of a scope; find takes a backslash for an escape.
    let escaped = uuid.replace('-', r"\x2d");
    let pattern = uuid.replace('-', r"\\x2d");
    let script = format!(
        "grep {uuid} /proc/self/mountinfo || :
         find /sys/fs/cgroup -name '*{uuid}*' -o -name '*{pattern}*' 2>/dev/null || :
         systemctl list-units --all --plain --no-legend 'machine-rkt*' | grep -F '{escaped}' || :
         machinectl list --no-legend | grep {uuid} || :
         ls /run/netns 2>/dev/null | grep {uuid} || :"
    );
    // systemd and machined notice the end of a pod a little later.
    let mut left = case.host().sh(&script).success();
    for _ in 0..40 {
        if left.stdout.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
        left = case.host().sh(&script).success();
    }
    panic!("left of {uuid}: {left}");
}

fn fly_alone() -> Case {
    Case::alone(Stage1::Fly)
}

fn ended_pod(case: &Case) -> String {
    case.run_sh("true").ok();
    case.uuid()
}

fn prepared_pod(case: &Case) -> String {
    let stage1 = case.stage1().flag();
    case.rkt(["prepare", "--quiet", &stage1, case.busybox(), "--exec=/bin/true"]).ok().trimmed().to_owned()
}

fn keeps_to_the_grace_period(case: &Case) {
    let uuid = ended_pod(case);
    case.rkt(["gc", "--mark-only"]).ok();
    assert!(case.pod_dir(&uuid).is_some_and(|dir| dir.contains("/exited-garbage/")));
    assert_eq!(case.state(&uuid), "exited garbage");
    let output = case.rkt(["gc"]).ok();
    assert!(
        output.stderr.contains(&format!(r#"pod "{uuid}" not removed: still within grace period (30m0s)"#)),
        "{output}"
    );
    assert!(case.pod_dir(&uuid).is_some());
    let output = case.rkt(["gc", "--grace-period=0s"]).ok();
    assert!(output.stdout.contains(&format!(r#"Garbage collecting pod "{uuid}""#)), "{output}");
    assert_nothing_is_left(case, &uuid);
}

#[test]
fn keeps_to_the_grace_period_of_nspawn_pods() {
    keeps_to_the_grace_period(&Case::alone(Stage1::Nspawn));
}

#[test]
fn keeps_to_the_grace_period_of_fly_pods() {
    keeps_to_the_grace_period(&fly_alone());
}

#[test]
fn moves_and_says_so() {
    let case = fly_alone();
    let ended = ended_pod(&case);
    let prepared = prepared_pod(&case);
    let output = case.rkt(["gc", "--expire-prepared=0s"]).ok();
    assert!(output.stderr.contains(&format!(r#"moving pod "{ended}" to garbage"#)), "{output}");
    assert!(
        output.stderr.contains(&format!(r#"moving expired prepared pod "{prepared}" to garbage"#)),
        "{output}"
    );
    assert_nothing_is_left(&case, &prepared);
    assert!(case.pod_dir(&ended).is_some());
}

#[test]
fn leaves_running_and_prepared_pods_alone() {
    for stage1 in [Stage1::Fly, Stage1::Nspawn] {
        let case = Case::alone(stage1);
        let _pod = case.start_sh("echo up; sleep 1000");
        let prepared = prepared_pod(&case);
        case.rkt(["gc", "--grace-period=0s"]).ok();
        assert_eq!(case.state(&case.uuid()), "running");
        assert_eq!(case.state(&prepared), "prepared");
    }
}

#[test]
fn a_pod_counts_as_running_while_its_cgroup_has_a_process() {
    let case = fly_alone();
    // The app gives up every handle it has, the lock too.
    let mut pod =
        case.start_sh("for fd in 3 4 5 6 7 8 9; do eval \"exec $fd>&-\"; done; echo up; exec sleep 1000");
    let uuid = case.uuid();
    assert_eq!(case.state(&uuid), "running");
    case.rkt(["gc", "--grace-period=0s"]).ok();
    case.rkt(["rm", &uuid]).fails(254).says("running");
    assert!(case.pod_dir(&uuid).is_some());
    assert!(!pod.ended());
}

/// Deleting through a bind mount would reach the host's own files.
#[test]
fn never_deletes_across_a_mount() {
    for stage1 in [Stage1::Fly, Stage1::Nspawn] {
        let case = Case::alone(stage1);
        let host = case.host();
        let uuid = ended_pod(&case);
        let dir = case.pod_dir(&uuid).expect("the pod's directory");
        let precious = case.tmp("precious");
        host.sh(&format!(
            "mkdir -p {precious}/deep/mounted {dir}/bound {dir}/stage1/rootfs/bound; echo keep >{precious}/file; echo keep >{precious}/deep/file; \
             mount -t tmpfs inner {precious}/deep/mounted; echo keep >{precious}/deep/mounted/file; \
             mount --bind /dev {dir}/stage1/rootfs/bound; mount --rbind {precious} {dir}/bound"
        ))
        .success();
        let output = case.rkt(["gc", "--grace-period=0s"]).output();
        let kept = host.sh(&format!("cat {precious}/file {precious}/deep/file {precious}/deep/mounted/file; test -c /dev/null; test -c /dev/urandom; test -d /dev/pts"));
        assert_eq!((kept.code, kept.stdout.as_str()), (0, "keep\nkeep\nkeep\n"), "{output}");
        assert_nothing_is_left(&case, &uuid);
    }
}

#[test]
fn ends_what_a_dead_pod_left_mounted_in_the_host() {
    let case = fly_alone();
    let uuid = ended_pod(&case);
    let dir = case.pod_dir(&uuid).expect("the pod's directory");
    case.host()
        .sh(&format!(
            "mkdir -p {dir}/a/b; mount -t tmpfs one {dir}/a; mkdir {dir}/a/b; mount -t tmpfs two {dir}/a/b"
        ))
        .success();
    case.rkt(["rm", &uuid]).ok();
    assert_nothing_is_left(&case, &uuid);
}

#[test]
fn one_broken_pod_does_not_stop_the_rest() {
    let case = fly_alone();
    let broken = ended_pod(&case);
    case.run_as("second", [case.busybox()]).ok();
    let whole = case.uuid_as("second");
    let dir = case.pod_dir(&broken).expect("the pod's directory");
    case.host()
        .sh(&format!(
            "rm -rf {dir}/stage1 {dir}/pod; echo nonsense >{dir}/pod; mkdir {}/pods/run/not-a-uuid",
            case.data()
        ))
        .success();
    case.rkt(["list"]).ok().prints(&whole[..8]);
    let _ = case.rkt(["gc", "--grace-period=0s"]).output();
    assert_nothing_is_left(&case, &whole);
    assert_nothing_is_left(&case, &broken);
}

#[test]
fn the_timer_of_the_package_runs_it() {
    let case = fly_alone();
    let host = case.host();
    host.exec("systemd-analyze").args(["--man=no", "verify", "rkt-gc.service", "rkt-gc.timer"]).ok();
    host.exec("systemctl").args(["start", "rkt-gc.service"]).ok();
    assert_eq!(case.property("rkt-gc.service", "Result"), "success");
}
