//! The life of a pod: prepare, run-prepared, list, status, stop, rm, cat-manifest.

use std::time::Duration;

use serde_json::json;
use tests::case::{Case, Stage1, app_lines, eventually};

under_supervised_walls!(gets_its_host_name_when_it_runs, has_a_terminal_for_one_app_only);

under_both_walls!(
    is_prepared_and_run_later,
    gets_its_terminal_when_it_runs,
    is_listed,
    has_a_status,
    waits_for_the_end,
    waits_for_the_end_and_tells_it_as_json,
    stops,
    stops_by_force,
    is_removed,
    shows_its_manifest,
    is_named_by_a_unique_prefix,
    is_named_by_a_file,
    is_stopped_beside_others_that_cannot_be,
    is_removed_beside_others_that_cannot_be,
    shows_its_manifest_beside_others_that_have_none,
);

/// No pod has this name.
const NOBODY: &str = "00000000-1111-4222-8333-444444444444";

fn prepare(case: &Case, script: &str) -> String {
    let words =
        ["prepare", "--quiet", &case.stage1().flag(), case.busybox(), "--exec=/bin/sh", "--", "-c", script]
            .map(str::to_owned);
    let output = case.rkt(words).ok();
    assert_eq!(output.stdout.lines().count(), 1, "more than the UUID: {output}");
    output.trimmed().to_owned()
}

fn is_prepared_and_run_later(case: &Case) {
    let uuid = prepare(case, "exit 6");
    assert_eq!(case.state(&uuid), "prepared");
    assert!(case.pod_dir(&uuid).is_some_and(|dir| dir.contains("/prepared/")));
    case.rkt(["run-prepared", case.net(), &uuid[..13]]).fails(6);
    assert_eq!(case.state(&uuid), "exited");
    case.rkt(["run-prepared", case.net(), &uuid])
        .fails(254)
        .says(&format!(r#"pod "{uuid}" is not prepared"#));
}

fn gets_its_host_name_when_it_runs(case: &Case) {
    let uuid = prepare(case, "hostname");
    let output = case.rkt(["run-prepared", case.net(), "--hostname=web", &uuid]).ok();
    assert!(app_lines(&output.stdout).contains(&"web"), "{output}");
}

fn gets_its_terminal_when_it_runs(case: &Case) {
    let uuid = prepare(case, "test -t 0 && test -t 1 && read line && echo terminal says $line");
    let mut words = case.rkt_words();
    words.extend(["run-prepared", case.net(), "--interactive", &uuid].map(str::to_owned));
    let output = case
        .host()
        .exec("script")
        .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
        .input("hello\n")
        .ok();
    assert!(output.stdout.contains("terminal says hello"), "{output}");
}

fn has_a_terminal_for_one_app_only(case: &Case) {
    let image = case.busybox();
    let words = [
        "prepare",
        "--quiet",
        &case.stage1().flag(),
        image,
        "--name=one",
        "--exec=/bin/true",
        image,
        "--name=two",
        "--exec=/bin/true",
    ]
    .map(str::to_owned);
    let uuid = case.rkt(words).ok().trimmed().to_owned();
    case.rkt(["run-prepared", case.net(), "--interactive", &uuid])
        .fails(254)
        .says("interactive option only supports pods with one app");
    // The mistake costs nothing: the pod can still be run.
    assert_eq!(case.state(&uuid), "prepared");
    case.rkt(["run-prepared", case.net(), &uuid]).ok();
}

fn rows<'a>(table: &'a str, uuid: &str) -> Vec<Vec<&'a str>> {
    let split = |line: &'a str| line.split('\t').map(str::trim).filter(|cell| !cell.is_empty()).collect();
    table.lines().filter(|line| line.starts_with(uuid)).map(split).collect()
}

fn is_listed(case: &Case) {
    let prepared = prepare(case, "true");
    let _pod = case.start_sh("echo up; sleep 1000");
    let running = case.uuid();
    let output = case.rkt(["list"]).ok();
    let header: Vec<_> = output
        .stdout
        .lines()
        .next()
        .unwrap_or_default()
        .split('\t')
        .filter(|cell| !cell.is_empty())
        .collect();
    assert_eq!(header, ["UUID", "APP", "IMAGE NAME", "STATE", "CREATED", "STARTED", "NETWORKS"]);
    let row = &rows(&output.stdout, &running[..8])[0];
    assert_eq!(row[..4], [&running[..8], "busybox", "example.com/busybox:1", "running"], "{output}");
    assert!(row[4].ends_with(" ago") || row[4] == "now", "{output}");
    assert_eq!(rows(&output.stdout, &prepared[..8])[0][3], "prepared", "{output}");

    let full = case.rkt(["list", "--full", "--no-legend"]).ok();
    assert!(!full.stdout.contains("IMAGE"), "{full}");
    let row = &rows(&full.stdout, &running)[0];
    assert_eq!(row[0], running);
    assert!(row[3].starts_with("sha512-") && row[3].len() == 19, "{full}");
    assert!(row[5].starts_with("20"), "{full}");

    let json = case.rkt(["list", "--format=json"]).ok().json();
    let pods = json.as_array().expect("an array");
    let pod = pods.iter().find(|pod| pod["name"] == *running).expect("the pod");
    assert_eq!(pod["state"], "running");
    assert_eq!(pod["app_names"][0], "busybox");
    assert_eq!(pod["apps"][0]["name"], "busybox");
    assert_eq!(pod["apps"][0]["state"], "running");
    assert!(
        pod["created_at"].as_i64().is_some_and(|time| time > 1_600_000_000 && time < 100_000_000_000),
        "seconds: {pod}"
    );
    assert!(pod["started_at"].is_i64(), "{pod}");
    assert!(case.rkt(["list", "--format=json-pretty"]).ok().stdout.contains("\n\t"));
    case.rkt(["list", "--format=xml"]).fails(254).says("xml");
}

fn has_a_status(case: &Case) {
    let pod = case.start_sh("echo up; read line; exec sleep 1000");
    let uuid = case.uuid();
    let output = case.rkt(["status", &uuid]).ok();
    let value = |key: &str| output.stdout.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
    assert_eq!(value("state=").as_deref(), Some("running"));
    assert!(value("created=").is_some_and(|time| time.starts_with("20")), "{output}");
    assert!(value("started=").is_some(), "{output}");
    assert_eq!(value("exited=").as_deref(), Some("false"));
    let pid = value("pid=").unwrap_or_else(|| panic!("no pid: {output}"));
    assert!(case.host().path(format!("/proc/{pid}")).exists(), "{output}");
    let json = case.rkt(["status", "--format=json", &uuid]).ok().json();
    assert_eq!(json["name"], *uuid);
    assert_eq!(json["state"], "running");
    assert_eq!(json["apps"][0]["name"], "busybox");
    let file = format!("--uuid-file={}", case.uuid_file("pod"));
    case.rkt(["status", &file]).ok().prints("state=running");
    case.rkt(["status", &file, &uuid]).fails(254).says("use one of them");
    case.rkt(["status", "--uuid-file=/no/such/file"]).fails(1).says("/no/such/file");
    drop(pod);
}

fn waits_for_the_end(case: &Case) {
    let _pod = case.start_sh("echo up; sleep 3; exit 8");
    let uuid = case.uuid();
    let early = case.rkt(["status", "--wait=100ms", &uuid]).fails(254);
    assert!(early.took < Duration::from_millis(2500), "{early}");
    let output = case.rkt(["status", "--wait", &uuid]).ok().prints("state=exited").prints("exited=true");
    if case.stage1() != Stage1::Fly {
        assert!(output.stdout.contains("app-busybox=8\n"), "{output}");
        let json = case.rkt(["status", "--format=json", &uuid]).ok().json();
        assert_eq!(json["apps"][0]["exit_code"], 8);
        assert_eq!(json["apps"][0]["state"], "exited");
    }
}

fn waits_for_the_end_and_tells_it_as_json(case: &Case) {
    let _pod = case.start_sh("echo up; sleep 1; exit 8");
    let uuid = case.uuid();
    assert_eq!(case.state(&uuid), "running");
    let json = case.rkt(["status", "--wait", "--format=json", &uuid]).ok().json();
    assert_eq!(json["name"], *uuid);
    assert_eq!(json["state"], "exited");
    if case.stage1() != Stage1::Fly {
        assert_eq!(json["apps"][0]["state"], "exited");
        assert_eq!(json["apps"][0]["exit_code"], 8);
    }
}

fn stops(case: &Case) {
    let mut pod = case.start_sh("trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.01; done");
    let uuid = case.uuid();
    let output = case.rkt(["stop", &uuid]).ok();
    assert_eq!(output.trimmed(), format!("{uuid:?}"));
    pod.wait_for_stdout("asked");
    case.rkt(["status", "--wait=10s", &uuid]).ok().prints("state=exited");
    let output = case.rkt(["stop", &uuid]).ok();
    assert!(
        format!("{}{}", output.stdout, output.stderr)
            .contains(&format!(r#"pod "{uuid}" is already stopped"#)),
        "{output}"
    );
    let prepared = prepare(case, "true");
    case.rkt(["stop", &prepared]).fails(254).says(&prepared);
}

fn stops_by_force(case: &Case) {
    let mut pod = case.start_sh("trap '' TERM; echo up; while :; do sleep 0.01; done");
    let file = format!("--uuid-file={}", case.uuid_file("pod"));
    case.rkt(["stop", "--force", &file]).ok().prints(&case.uuid());
    eventually("the pod to end", || pod.ended().then_some(()));
    assert_eq!(case.state(&case.uuid()), "exited");
}

fn is_removed(case: &Case) {
    let pod = case.start_sh("echo up; sleep 1000");
    let uuid = case.uuid();
    case.rkt(["rm", &uuid]).fails(254).says(&format!(r#"pod "{uuid}" is currently running"#));
    assert_eq!(case.state(&uuid), "running");
    drop(pod);
    // It may end just now.
    let _ = case.rkt(["stop", "--force", &uuid]).output();
    case.rkt(["status", "--wait=10s", &uuid]).ok();
    let output = case.rkt(["rm", &uuid]).ok();
    assert_eq!(output.trimmed(), format!("{uuid:?}"));
    assert_eq!(case.pod_dir(&uuid), None);
    case.rkt(["status", &uuid]).fails(254).says(&format!(r#"no matches found for "{uuid}""#));

    let prepared = prepare(case, "true");
    let other = prepare(case, "true");
    case.rkt(["rm", &prepared, &other]).ok().prints(&prepared).prints(&other);
    assert_eq!(case.pod_dir(&prepared), None);
    case.rkt(["rm", &prepared]).fails(254).says("no matches found");
}

fn shows_its_manifest(case: &Case) {
    case.run(["--set-env=A=b", case.busybox(), "--exec=/bin/true", "--user=1001", "--", "argument"]).ok();
    let output = case.rkt(["cat-manifest", &case.uuid()]).ok();
    assert!(output.stdout.contains("\n\t\""), "{output}");
    let manifest = output.json();
    assert_eq!(manifest["acKind"], "PodManifest");
    assert_eq!(manifest["apps"][0]["name"], "busybox");
    assert_eq!(manifest["apps"][0]["app"]["exec"], json!(["/bin/true", "argument"]));
    assert_eq!(manifest["apps"][0]["app"]["user"], "1001");
    assert!(
        manifest["apps"][0]["image"]["id"].as_str().is_some_and(|id| id.starts_with("sha512-")),
        "{output}"
    );
    let plain = case.rkt(["cat-manifest", "--pretty-print=false", &case.uuid()]).ok();
    assert_eq!(plain.trimmed().lines().count(), 1, "{plain}");
    assert_eq!(plain.json(), manifest);
}

fn is_named_by_a_unique_prefix(case: &Case) {
    let uuid = prepare(case, "true");
    assert_eq!(case.state(&uuid[..18].to_uppercase()), "prepared");
    case.rkt(["status", ""]).fails(254).says("UUID cannot be empty");
    case.rkt(["rm", &uuid]).ok();
}

fn is_named_by_a_file(case: &Case) {
    let uuid = prepare(case, "true");
    let path = case.tmp("prepared.uuid");
    case.host().write(&path, format!("{uuid}\n"));
    let file = format!("--uuid-file={path}");
    let manifest = case.rkt(["cat-manifest", &file]).ok().json();
    assert_eq!(manifest["apps"][0]["app"]["exec"], json!(["/bin/sh", "-c", "true"]));
    for command in ["cat-manifest", "rm", "stop"] {
        case.rkt([command, &file, &uuid]).fails(254).says("use one of them");
    }
    // The exit status 1 is for stop and status alone.
    for (command, code) in [("cat-manifest", 254), ("rm", 254), ("stop", 1)] {
        case.rkt([command, "--uuid-file=/no/such/file"]).fails(code).says("/no/such/file");
    }
    assert_eq!(case.state(&uuid), "prepared");
    let output = case.rkt(["rm", &file]).ok();
    assert_eq!(output.trimmed(), format!("{uuid:?}"));
    assert_eq!(case.pod_dir(&uuid), None);
}

fn is_stopped_beside_others_that_cannot_be(case: &Case) {
    let _pod = case.start_sh("trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done");
    let (uuid, prepared) = (case.uuid(), prepare(case, "true"));
    let output = case
        .rkt(["stop", NOBODY, &uuid, &prepared])
        .fails(254)
        .says(&format!("no matches found for {NOBODY:?}"))
        .says(&format!("pod {prepared:?} is not running"))
        .says("failed to stop 2 pod(s)");
    assert_eq!(output.trimmed(), format!("{uuid:?}"));
    case.rkt(["status", "--wait=10s", &uuid]).ok().prints("state=exited");
    assert_eq!(case.state(&prepared), "prepared");
}

fn is_removed_beside_others_that_cannot_be(case: &Case) {
    let _pod = case.start_sh("echo up; sleep 1000");
    let (running, prepared) = (case.uuid(), prepare(case, "true"));
    let output = case
        .rkt(["rm", NOBODY, &prepared, &running])
        .fails(254)
        .says(&format!("no matches found for {NOBODY:?}"))
        .says(&format!("pod {running:?} is currently running"))
        .says("failed to remove one or more pods");
    assert_eq!(output.trimmed(), format!("{prepared:?}"));
    assert_eq!(case.pod_dir(&prepared), None);
    assert_eq!(case.state(&running), "running");
}

fn shows_its_manifest_beside_others_that_have_none(case: &Case) {
    let uuid = prepare(case, "true");
    let output = case
        .rkt(["cat-manifest", NOBODY, &uuid])
        .fails(254)
        .says(&format!("no matches found for {NOBODY:?}"));
    assert_eq!(output.json(), case.rkt(["cat-manifest", &uuid]).ok().json());
}

#[test]
fn an_ambiguous_prefix_is_refused() {
    let case = Case::alone(Stage1::Fly);
    // Seventeen pods: two of them have the same first digit.
    let uuids: Vec<String> = (0..17).map(|_| prepare(&case, "true")).collect();
    let twice = uuids
        .iter()
        .find(|uuid| uuids.iter().filter(|other| other[..1] == uuid[..1]).count() > 1)
        .expect("two with one digit");
    case.rkt(["status", &twice[..1]]).fails(254).says("ambiguous uuid");
}

#[test]
fn an_empty_list_has_a_header_only() {
    let case = Case::alone(Stage1::Fly);
    assert_eq!(case.rkt(["list"]).ok().stdout.lines().count(), 1);
    assert_eq!(case.rkt(["list", "--no-legend"]).ok().trimmed(), "");
    assert_eq!(case.rkt(["list", "--format=json"]).ok().json(), json!([]));
}
