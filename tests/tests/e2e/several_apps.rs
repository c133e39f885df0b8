//! Pods with several apps.

use std::time::Duration;

use tests::case::{Case, Stage1, app_lines};

under_supervised_walls!(
    all_run_and_share_what_a_pod_shares,
    the_first_failure_ends_the_pod_with_its_status,
    a_success_leaves_the_others_alone,
    each_has_its_own_flags,
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

#[test]
fn names_are_made_from_images_and_must_differ() {
    let case = Case::new(Stage1::Nspawn);
    let image = case.busybox();
    case.run([image, "--exec=/bin/true", image, "--exec=/bin/true"]).fails(254).says("busybox");
    case.run([image, "--name=same", "--exec=/bin/true", image, "--name=same", "--exec=/bin/true"])
        .fails(254)
        .says("same");
}

#[test]
fn fly_takes_one_app() {
    let case = Case::new(Stage1::Fly);
    let output = case.run(two(&case, "echo ran", "echo ran")).fails(254);
    assert!(!output.stdout.contains("ran"), "{output}");
}
