//! Pods with several apps.

use std::time::Duration;

use serde_json::json;
use tests::case::{Case, Stage1, app_lines, eventually};
use tests::images;

under_supervised_walls!(
    all_run_and_share_what_a_pod_shares,
    the_first_failure_ends_the_pod_with_its_status,
    a_success_leaves_the_others_alone,
    each_has_its_own_flags,
    each_has_its_own_lines_in_the_journal,
    the_unit_waits_for_all_to_be_ready,
);

fn two<'a>(case: &'a Case, one: &'a str, two: &'a str) -> Vec<&'a str> {
    let image = case.busybox();
    vec![
        image,
        "--name=one",
        "--exec=/bin/sh",
        "--",
        "-c",
        one,
        "---",
        image,
        "--name=two",
        "--exec=/bin/sh",
        "--",
        "-c",
        two,
    ]
}

fn all_run_and_share_what_a_pod_shares(case: &Case) {
    let image = case.busybox();
    let mut words =
        vec!["--volume=shared,kind=empty", "--mount=volume=shared,target=/shared", "--hostname=pod-of-two"];
    words.extend(two(
        case,
        "until test -e /shared/from-two; do sleep 0.01; done; echo one: $AC_APP_NAME $(hostname) $(cat /shared/from-two)",
        "echo hello >/shared/new; mv /shared/new /shared/from-two; echo two: $AC_APP_NAME $(hostname); test ! -e /of-one",
    ));
    let output = case.run(words).ok();
    let lines = app_lines(&output.stdout);
    assert!(lines.contains(&"one: one pod-of-two hello"), "{output}");
    assert!(lines.contains(&"two: two pod-of-two"), "{output}");
    assert!(output.stdout.lines().any(|line| line.starts_with('[') && line.contains("] one[")), "{output}");
    assert!(image.contains("busybox"));
}

fn the_first_failure_ends_the_pod_with_its_status(case: &Case) {
    let output = case.run(two(case, "sleep 1000", "exit 3")).limit(Duration::from_secs(30)).fails(3);
    assert!(output.took < Duration::from_secs(20), "{output}");
    let status = case.rkt(["status", &case.uuid()]).ok();
    assert!(status.stdout.contains("app-two=3\n"), "{status}");
    assert!(status.stdout.contains("exited=true\n"), "{status}");
}

fn a_success_leaves_the_others_alone(case: &Case) {
    let output = case.run(two(case, "sleep 0.3; echo still here; exit 5", "true")).fails(5);
    assert!(app_lines(&output.stdout).contains(&"still here"), "{output}");
    case.rkt(["status", &case.uuid()]).ok().prints("app-one=5\n").prints("app-two=0\n");
}

fn each_has_its_own_flags(case: &Case) {
    let image = case.busybox();
    let output = case
        .run([
            "--set-env=WHO=all",
            image,
            "--name=one",
            "--exec=/bin/sh",
            "--user=1001",
            "--environment=WHO=one",
            "--",
            "-c",
            "echo one $WHO $(id -u) $(pwd)",
            "---",
            image,
            "--name=two",
            "--exec=/bin/sh",
            "--working-dir=/home",
            "--",
            "-c",
            "echo two $WHO $(id -u) $(pwd)",
        ])
        .ok();
    let lines = app_lines(&output.stdout);
    assert!(lines.contains(&"one one 1001 /"), "{output}");
    assert!(lines.contains(&"two all 0 /home"), "{output}");
}

fn each_has_its_own_lines_in_the_journal(case: &Case) {
    let mut words = case.run_words("pod");
    let scripts = ["one", "two"]
        .map(|app| format!("echo {app} on stdout; echo {app} on stderr >&2; sleep 0.1; echo {app} ends"));
    words.extend(two(case, &scripts[0], &scripts[1]).into_iter().map(str::to_owned));
    let unit = case.service("pod", &words, "");
    case.systemctl(&["start", &unit]);
    let expected =
        ["one", "two"].map(|app| ["ends", "on stderr", "on stdout"].map(|text| format!("{app} {text}")));
    for line in expected.as_flattened() {
        case.journal(&["-u", &unit], line);
    }
    for (app, expected) in ["one", "two"].iter().zip(&expected) {
        let lines = case.journal(&["-u", &unit, "-t", app], "");
        let mut lines: Vec<&str> = lines.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, expected);
    }
}

/// Each app says `READY=1` as sd_notify(3) does, once there is a file `/go/APP`.
fn the_unit_waits_for_all_to_be_ready(case: &Case) {
    let script = r#"my $name = $ENV{AC_APP_NAME}; use Socket; select(undef, undef, undef, 0.01) until -e "/go/$name";
        my $path = $ENV{NOTIFY_SOCKET} or die "no NOTIFY_SOCKET"; $path =~ s/^@/\0/;
        socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die $!;
        send($socket, "READY=1\nSTATUS=$name is ready", 0, sockaddr_un($path)) or die $!; sleep 1000"#;
    let aci = images::perl("example.com/notifying")
        .annotation("appc.io/executor/supports-systemd-notify", "true")
        .app(&["/usr/bin/perl", "-e", script], &json!({}));
    let image = case.image("notifying.aci", aci.build());
    case.host().exec("mkdir").arg(case.tmp("go")).ok();
    let volume = format!("--volume=go,kind=host,source={}", case.tmp("go"));
    let mut words = case.run_words("pod");
    words.extend(
        [&*volume, "--mount=volume=go,target=/go", &image, "--name=one", &image, "--name=two"]
            .map(str::to_owned),
    );
    let unit = case.service("pod", &words, "Type=notify\nTimeoutStartSec=60");
    let says = |text: &str| case.property(&unit, "StatusText").ends_with(text).then_some(());
    case.systemctl(&["start", "--no-block", &unit]);
    let uuid = case.uuid();
    // The pod is told of the first app's readiness and of its status by one message.
    case.host().write(&case.tmp("go/one"), "");
    eventually("the status of the first app", || says("one is ready"));
    case.rkt(["status", "--wait-ready=300ms", &uuid]).fails(254).says("did not become ready");
    assert_eq!(case.property(&unit, "ActiveState"), "activating");
    case.host().write(&case.tmp("go/two"), "");
    eventually("the status of the second app", || says("two is ready"));
    eventually("the unit to be active", || (case.property(&unit, "ActiveState") == "active").then_some(()));
    case.rkt(["status", "--wait-ready=10s", &uuid]).ok();
}

#[test]
fn names_are_made_from_images_and_must_differ() {
    let case = Case::new(Stage1::Nspawn);
    let image = case.busybox();
    case.run([image, "--exec=/bin/true", image, "--exec=/bin/true"])
        .fails(254)
        .says(r#"multiple apps with name "busybox": give each its own --name"#);
    case.run([image, "--name=same", "--exec=/bin/true", image, "--name=same", "--exec=/bin/true"])
        .fails(254)
        .says(r#"multiple apps with name "same": give each its own --name"#);
    case.run([image, "--exec=/bin/true", image, "--name=other", "--exec=/bin/true"]).ok();
}

#[test]
fn fly_takes_one_app() {
    let case = Case::new(Stage1::Fly);
    let output = case.run(two(&case, "echo ran", "echo ran")).fails(254);
    assert!(!output.stdout.contains("ran"), "{output}");
}
