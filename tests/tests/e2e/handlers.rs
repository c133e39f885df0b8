//! Event handlers, and apps that start again.

use std::time::Duration;

use serde_json::{Value, json};
use tests::case::{Case, Stage1, app_lines, eventually};
use tests::images;

/// An image whose app runs a shell script, with handlers that do so too.
fn image(case: &Case, pre_start: &str, script: &str, post_stop: &str, more: &Value) -> String {
    let sh = |name: &str, script: &str| json!({"name": name, "exec": ["/bin/sh", "-c", script]});
    let mut app = json!({"eventHandlers": [sh("pre-start", pre_start), sh("post-stop", post_stop)]});
    for (name, value) in more.as_object().into_iter().flatten() {
        app[name] = value.clone();
    }
    let aci = images::busybox("example.com/handled").app(&["/bin/sh", "-c", script], &app);
    case.image("handled.aci", aci.build())
}

#[test]
fn handlers_run_before_and_after_as_root() {
    let case = Case::new(Stage1::Nspawn);
    let user = json!({"user": "alice", "group": "staff", "workingDirectory": "/home/alice"});
    let image = image(
        &case,
        "echo before: $(id -u) $(pwd); echo of the handler >/note; grep Seccomp: /proc/self/status",
        "echo within: $(id -u) $(cat /note); exit 3",
        "echo after: $(id -u) $(cat /note)",
        &user,
    );
    let output = case.run([&*image]).fails(3);
    let lines: Vec<_> = app_lines(&output.stdout).into_iter().filter(|line| !line.is_empty()).collect();
    let wanted =
        ["before: 0 /home/alice", "Seccomp:\t2", "within: 1001 of the handler", "after: 0 of the handler"];
    assert_eq!(lines, wanted, "{output}");
}

#[test]
fn a_handler_that_fails_before_is_the_end_of_the_app() {
    let case = Case::new(Stage1::Nspawn);
    let image = image(&case, "exit 9", "echo started", "echo after", &json!({}));
    let output = case.run([&*image]).fails(9);
    let lines = app_lines(&output.stdout);
    assert!(!lines.contains(&"started") && lines.contains(&"after"), "{output}");
    case.rkt(["status", &case.uuid()]).ok().prints("app-handled=9\n");
}

#[test]
fn a_handler_that_fails_after_is_told_and_changes_nothing() {
    let case = Case::new(Stage1::Nspawn);
    let image = image(&case, "true", "true", "exit 4", &json!({}));
    case.run([&*image]).ok().says("post-stop handler failed with status 4");
}

#[test]
fn an_app_that_starts_again_keeps_its_root_and_its_handlers() {
    let case = Case::new(Stage1::Nspawn);
    let script = "echo run $(wc -l </count); [ $(wc -l </count) = 3 ] || exit 7";
    let image = image(&case, "echo x >>/count", script, "echo after", &json!({}));
    let output = case.run([&*image, "--restart=on-failure"]).ok();
    let lines: Vec<_> = app_lines(&output.stdout).into_iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, ["run 1", "after", "run 2", "after", "run 3", "after"], "{output}");
    assert!(output.stderr.contains("Ended with status 7; it starts again"), "{output}");
    case.rkt(["status", &case.uuid()]).ok().prints("app-handled=0\n");
}

#[test]
fn starting_again_has_an_end() {
    let case = Case::new(Stage1::Nspawn);
    let output = case.run([case.busybox(), "--restart=always", "--exec=/bin/echo", "--", "again"]).ok();
    let count = app_lines(&output.stdout).into_iter().filter(|line| *line == "again").count();
    assert_eq!(count, 5, "{output}");
    assert!(output.stderr.contains("has been started too often"), "{output}");
    case.run([case.busybox(), "--restart=sometimes", "--exec=/bin/true"])
        .fails(254)
        .says("must be no, on-failure or always");
}

/// Neither the death of one app of a pod that starts again, nor a stop in between, confuses the others.
#[test]
fn the_others_go_on_and_a_stop_is_final() {
    let case = Case::new(Stage1::Nspawn);
    let image = case.busybox();
    let words = ["--name=steady", "--exec=/bin/sleep", "--", "1000", "---"];
    let flaky = ["--name=flaky", "--restart=on-failure", "--exec=/bin/sh", "--", "-c"];
    let script = "if [ -e /again ]; then echo back; sleep 1000; else touch /again; exit 1; fi";
    let all: Vec<&str> =
        [image].into_iter().chain(words).chain([image]).chain(flaky).chain([script]).collect();
    let mut pod = case.run(all).spawn();
    pod.wait_for_stdout("back");
    let uuid = case.uuid();
    // It runs, so it has no exit status.
    let running = eventually("both apps to run", || {
        let status = case.rkt(["status", &uuid]).ok();
        (!status.stdout.contains("app-flaky=")).then_some(status)
    });
    assert!(running.stdout.contains("state=running"), "{running}");
    case.rkt(["stop", &uuid]).ok();
    pod.wait(Duration::from_secs(30)).success();
    assert_eq!(case.state(&uuid), "exited");
}
