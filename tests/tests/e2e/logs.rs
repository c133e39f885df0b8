//! `rkt logs`.

use std::time::Duration;

use tests::case::{Case, Stage1, eventually};

under_both_walls!(shows_what_a_unit_wrote, goes_on_until_the_pod_ends, needs_a_pod_that_has_started);

/// The bare lines of a pod.
fn lines(case: &Case, uuid: &str, more: &[&str]) -> Vec<String> {
    let args = [&["logs", "--format=cat"], more, &[uuid]].concat();
    case.rkt(args).ok().stdout.lines().map(str::to_owned).collect()
}

/// Lines of an app whose lines have numbers. A busy journald may find rkt's own process in the pod's group already, when it takes what that
/// wrote before.
fn numbered(case: &Case, uuid: &str) -> Vec<String> {
    let is_numbered = |line: &String| line.starts_with(|c: char| c.is_ascii_digit());
    lines(case, uuid, &[]).into_iter().filter(is_numbered).collect()
}

fn shows_what_a_unit_wrote(case: &Case) {
    let unit = case.service_sh("echo 1: out; echo 2: err >&2; echo '<3>3: bad'; exec sleep 0.2", "");
    case.systemctl(&["start", &unit]);
    let uuid = case.uuid();
    eventually("the end of the pod", || Some(()).filter(|()| case.state(&uuid) == "exited"));
    let mut all = numbered(case, &uuid);
    // Two streams, whose lines may come in another order.
    all.sort();
    assert_eq!(all, ["1: out", "2: err", "3: bad"]);
    assert_eq!(lines(case, &uuid, &["--app=busybox", "--lines=1"]).len(), 1);
    case.rkt(["logs", "--app=other", &uuid]).fails(254).says("no app \"other\"");
    let plain = case.rkt(["logs", &uuid]).ok();
    assert!(
        plain.stdout.lines().any(|line| line.contains("busybox[") && line.ends_with(": 2: err")),
        "{plain}"
    );
    let json = case.rkt(["logs", "--format=json", &uuid]).ok();
    let entries: Result<Vec<serde_json::Value>, _> = json.stdout.lines().map(serde_json::from_str).collect();
    let is_numbered = |entry: &&serde_json::Value| {
        entry["MESSAGE"].as_str().is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()))
    };
    let mut priorities: Vec<_> =
        entries.iter().flatten().filter(is_numbered).map(|entry| entry["PRIORITY"].as_str()).collect();
    priorities.sort_unstable();
    assert_eq!(priorities, [Some("3"), Some("6"), Some("6")], "{json}");
    // Another pod of the same unit is another log.
    case.host().exec("rm").arg(case.uuid_file("pod")).ok();
    case.systemctl(&["restart", &unit]);
    let second = case.uuid();
    assert_ne!(second, uuid);
    eventually("the lines of the second pod", || Some(()).filter(|()| numbered(case, &second).len() == 3));
    assert_eq!(numbered(case, &uuid).len(), 3);
}

fn goes_on_until_the_pod_ends(case: &Case) {
    let unit = case.service_sh("echo first; until test -e /tmp/go; do sleep 0.05; done; echo last", "");
    case.systemctl(&["start", &unit]);
    let uuid = case.uuid();
    let mut logs = case.rkt(["logs", "-f", "--format=cat", &uuid]).spawn();
    logs.wait_for_stdout("first");
    assert!(!logs.stdout().contains("last"));
    case.rkt(["enter", &uuid, "/bin/touch", "/tmp/go"]).ok();
    let output = logs.wait(Duration::from_secs(20)).success();
    // A warning of rkt's own counts as the pod's when journald looks late.
    let is_own = |line: &&str| !line.starts_with("warning: ");
    assert_eq!(output.stdout.lines().filter(is_own).collect::<Vec<_>>(), ["first", "last"]);
}

fn needs_a_pod_that_has_started(case: &Case) {
    let words = ["prepare", &case.stage1().flag(), case.busybox()];
    let uuid = case.rkt(words).ok().trimmed().to_owned();
    case.rkt(["logs", &uuid]).fails(254).says("has no log: it is prepared");
    case.rkt(["logs"]).fails(254).says("missing UUID");
    case.rkt(["logs", "--format=a b", "00000000"]).fails(254);
}

/// On a terminal or a pipe the supervisor shows the lines and sends them to the journal as well.
#[test]
fn shows_each_app_of_a_pod_on_a_pipe() {
    let case = Case::new(Stage1::Nspawn);
    let image = case.busybox();
    let sh = |name: &'static str, script: &'static str| [image, name, "--exec=/bin/sh", "--", "-c", script];
    let one = sh("--name=one", "echo of one; sleep 0.3");
    let two = sh("--name=two", "echo of two; sleep 0.2; kill -SYS $$");
    case.run([&one[..], &["---"], &two[..]].concat()).fails(159);
    let uuid = case.uuid();
    assert_eq!(lines(&case, &uuid, &["--app=one"]), ["of one"]);
    let two = lines(&case, &uuid, &["--app=two"]);
    assert_eq!(two[0], "of two");
    assert!(two[1].starts_with("Error: killed by SIGSYS"), "{two:?}");
    let mut all = lines(&case, &uuid, &[]);
    all.sort();
    assert_eq!((all.len(), &all[1..]), (3, &["of one".to_owned(), "of two".to_owned()][..]));
    // Who is not root cannot put lines into the log of a pod.
    let forged = format!("RKT_POD={uuid}\nRKT_APP=one\nSYSLOG_IDENTIFIER=one\nMESSAGE=forged\n");
    case.host().write(&case.tmp("forged"), forged);
    let forge = format!(
        "chmod 755 /tmp/{0} && setpriv --reuid=65534 --clear-groups logger --journald=/tmp/{0}/forged",
        case.name()
    );
    case.host().sh(&forge).success();
    case.journal(&[&format!("RKT_POD={uuid}"), "_UID=65534"], "forged");
    assert_eq!(lines(&case, &uuid, &["--app=one"]), ["of one"]);
}

#[test]
fn fly_without_a_journal_says_where_the_lines_went() {
    let case = Case::new(Stage1::Fly);
    case.run_sh("echo hello").ok().prints("hello");
    case.rkt(["logs", &case.uuid()]).fails(254).says("was not the journal");
}

/// The journal often sees such a writer too late to know where it stood.
#[test]
fn the_last_words_of_an_app_are_there() {
    let case = Case::new(Stage1::Nspawn);
    let mut words = case.run_words("pod");
    words.extend([case.busybox(), "--exec=/bin/echo", "--", "1: gone"].map(str::to_owned));
    let unit = case.service("pod", &words, "Type=oneshot");
    for _ in 0..12 {
        case.host().exec("rm").args(["-f", &case.uuid_file("pod")]).ok();
        case.systemctl(&["start", &unit]);
        assert_eq!(numbered(&case, &case.uuid()), ["1: gone"]);
    }
}
