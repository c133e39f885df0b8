//! `rkt app`: pods whose apps come and go while they run.

use std::time::Duration;

use tests::case::{Case, Stage1, eventually};
use tests::host::{Exec, Running};
use tests::images;

under_supervised_walls!(
    apps_come_and_go,
    an_app_has_volumes_and_flags_of_its_own,
    a_failed_addition_leaves_nothing,
    the_pod_outlives_its_apps,
    copies_will_do_as_well,
);

fn app<S: Into<String>>(case: &Case, args: impl IntoIterator<Item = S>) -> Exec<'static> {
    let args = std::iter::once("app".to_owned()).chain(args.into_iter().map(Into::into));
    case.rkt(args).env("RKT_EXPERIMENT_APP", "true")
}

/// Starts an empty pod and waits until it is ready.
#[track_caller]
fn sandbox(case: &Case, flags: &[&str]) -> (Running, String) {
    let words = case.run_words("pod");
    let mut words: Vec<String> = words
        .into_iter()
        .flat_map(
            |word| if word == "run" { vec!["app".to_owned(), "sandbox".to_owned()] } else { vec![word] },
        )
        .collect();
    words.extend(flags.iter().map(|&flag| flag.to_owned()));
    let program = words.remove(0);
    let pod = case.host().exec(&program).args(words).env("RKT_EXPERIMENT_APP", "true").spawn();
    let uuid = case.uuid();
    case.rkt(["status", "--wait-ready=30s", &uuid]).ok();
    (pod, uuid)
}

#[track_caller]
fn add(case: &Case, uuid: &str, name: &str, script: &str) {
    let name = format!("--name={name}");
    app(case, ["add", uuid, images::BUSYBOX_NAME, &name, "--exec=/bin/sh", "--", "-c", script]).ok();
}

/// The state of an app as `rkt app list` shows it.
fn state(case: &Case, uuid: &str, name: &str) -> String {
    let list = app(case, ["list", "--no-legend", uuid]).ok();
    let states = list.stdout.lines().filter_map(|line| line.split_once('\t'));
    states.filter(|(app, _)| *app == name).map(|(_, state)| state.trim().to_owned()).collect()
}

fn apps_come_and_go(case: &Case) {
    let (mut pod, uuid) = sandbox(case, &["--user-label=tier=test"]);
    assert_eq!(app(case, ["list", &uuid]).ok().stdout, "NAME\tSTATE\n");
    add(case, &uuid, "one", "echo one is up; trap 'exit 3' TERM; while true; do sleep 0.1; done");
    add(case, &uuid, "two", "echo two is up; exec sleep 1000");
    assert_eq!(state(case, &uuid, "one"), "created");
    app(case, ["start", &uuid, "--app=one"]).ok();
    pod.wait_for_stdout("one is up");
    app(case, ["start", "--app=two", &uuid]).ok();
    pod.wait_for_stdout("two is up");
    assert_eq!((state(case, &uuid, "one"), state(case, &uuid, "two")), ("running".into(), "running".into()));
    app(case, ["start", &uuid, "--app=one"]).fails(254).says("runs already");
    app(case, ["rm", &uuid, "--app=one"]).fails(254).says("is running");
    app(case, ["exec", "--app=two", &uuid, "/bin/sh", "-c", "test $AC_APP_NAME = two"]).ok();

    app(case, ["stop", &uuid, "--app=one"]).ok();
    assert_eq!((state(case, &uuid, "one"), state(case, &uuid, "two")), ("exited".into(), "running".into()));
    app(case, ["stop", &uuid, "--app=one"]).ok();
    let status = app(case, ["status", &uuid, "--app=one"]).ok();
    for line in
        ["name=one\n", "state=exited\n", "exit_code=3\n", "image_id=sha512-", "created_at=", "finished_at="]
    {
        assert!(status.stdout.contains(line), "{line}: {status}");
    }
    let json = app(case, ["status", &uuid, "--app=one", "--format=json"]).ok().json();
    assert_eq!((json["name"].as_str(), json["exit_code"].as_i64()), (Some("one"), Some(3)));
    // Again.
    app(case, ["start", &uuid, "--app=one"]).ok();
    eventually("the second start", || Some(()).filter(|()| pod.stdout().matches("one is up").count() == 2));
    assert_eq!(state(case, &uuid, "one"), "running");
    app(case, ["stop", &uuid, "--app=one"]).ok();

    app(case, ["rm", &uuid, "--app=one"]).ok();
    assert_eq!(state(case, &uuid, "one"), "");
    let dir = case.pod_dir(&uuid).unwrap_or_default();
    let left = case.host().sh(&format!("find {dir} -path '*/one*'; ls {dir}/appsinfo"));
    assert_eq!(left.trimmed(), "two", "{left}");
    // The name is free again; nothing of the first one is in the way.
    add(case, &uuid, "one", "test ! -e /left && echo fresh; touch /left");
    app(case, ["start", &uuid, "--app=one"]).ok();
    pod.wait_for_stdout("fresh");
    case.rkt(["logs", "--app=one", &uuid]).ok().prints("one is up").prints("fresh");
    case.rkt(["stop", &uuid]).ok();
    pod.wait(Duration::from_secs(30)).success();
    // Its end is told of as that of any pod.
    assert_eq!(case.state(&uuid), "exited");
    case.rkt(["rm", &uuid]).ok();
    assert_eq!(case.pod_dir(&uuid), None);
}

fn an_app_has_volumes_and_flags_of_its_own(case: &Case) {
    let (mut pod, uuid) = sandbox(case, &[]);
    let shared = case.tmp("shared");
    case.host().sh(&format!("mkdir -p {shared}; echo from the host >{shared}/file")).success();
    let volume = format!("--mnt-volume=data,kind=host,source={shared},target=/data");
    let script = "cat /data/file; id -u; pwd; echo $COLOUR; touch /home/alice/x; mknod /tmp/n c 1 3 || echo no node; exec sleep 1000";
    let words = [
        "add",
        &uuid,
        images::BUSYBOX_NAME,
        &volume,
        "--name=it",
        "--user=alice",
        "--group=staff",
        "--working-dir=/home",
        "--environment=COLOUR=red",
        "--caps-remove=CAP_MKNOD",
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ];
    app(case, words).ok();
    app(case, ["start", &uuid, "--app=it"]).ok();
    pod.wait_for_stdout("no node");
    let output = pod.stdout();
    for line in ["from the host", ": 1001", ": /home", ": red"] {
        assert!(output.contains(line), "{line}: {output}");
    }
    app(case, ["status", &uuid, "--app=it"])
        .ok()
        .prints(&format!("mounts={shared}:/data:(read_only:false)\n"));
    // It is filtered, and alone, as any app is.
    let seen = case
        .rkt(["enter", "--app=it", &uuid, "/bin/sh", "-c", "grep Seccomp: /proc/self/status; ls /opt"])
        .output();
    assert!(seen.stdout.contains("Seccomp:\t2") && seen.stderr.contains("/opt"), "{seen}");
    app(case, ["stop", &uuid, "--app=it"]).ok();
    app(case, ["rm", &uuid, "--app=it"]).ok();
    assert_eq!(case.host().read(&format!("{shared}/file")), "from the host\n");
}

fn a_failed_addition_leaves_nothing(case: &Case) {
    let (mut pod, uuid) = sandbox(case, &[]);
    let image = images::BUSYBOX_NAME;
    app(case, ["add", &uuid, "example.com/not-there"]).fails(254).says("not in the store");
    // A machine's clock is its own: process 1 has every capability there.
    if case.stage1() != Stage1::Kvm {
        app(case, ["add", &uuid, image, "--caps-retain=CAP_SYS_TIME"])
            .fails(254)
            .says("without CAP_SYS_TIME");
    }
    app(case, ["add", &uuid, image, "--user=nobody-knows"]).fails(254).says("nobody-knows");
    let gone = "--mnt-volume=data,kind=host,source=/not/there,target=/data";
    app(case, ["add", &uuid, image, gone]).fails(254).says("/not/there");
    app(case, ["add", &uuid, image, "--mount=volume=other,target=/x"]).fails(254).says("dangling");
    assert_eq!(app(case, ["list", "--no-legend", &uuid]).ok().stdout, "");
    add(case, &uuid, "busybox", "echo works; exec sleep 1000");
    app(case, ["add", &uuid, image]).fails(254).says("already");
    app(case, ["start", &uuid, "--app=busybox"]).ok();
    pod.wait_for_stdout("works");
    app(case, ["start", &uuid, "--app=other"]).fails(254).says("no app \"other\"");
}

fn the_pod_outlives_its_apps(case: &Case) {
    let (mut pod, uuid) = sandbox(case, &[]);
    add(case, &uuid, "fails", "echo failing; exit 9");
    add(case, &uuid, "stays", "echo staying; exec sleep 1000");
    app(case, ["start", &uuid, "--app=stays"]).ok();
    app(case, ["start", &uuid, "--app=fails"]).ok();
    pod.wait_for_stdout("failing");
    eventually("its end", || Some(()).filter(|()| state(case, &uuid, "fails") == "exited"));
    assert_eq!(
        (case.state(&uuid), state(case, &uuid, "stays")),
        ("running".to_owned(), "running".to_owned())
    );
    case.rkt(["stop", &uuid]).ok();
    pod.wait(Duration::from_secs(30)).success();
    case.rkt(["status", &uuid]).ok().prints("app-fails=9\n");
    app(case, ["add", &uuid, images::BUSYBOX_NAME]).fails(254).says("is not running");
}

fn copies_will_do_as_well(case: &Case) {
    let (mut pod, uuid) = sandbox(case, &["--no-overlay"]);
    add(case, &uuid, "one", "echo copied; exec sleep 1000");
    app(case, ["start", &uuid, "--app=one"]).ok();
    pod.wait_for_stdout("copied");
    app(case, ["stop", &uuid, "--app=one"]).ok();
    app(case, ["rm", &uuid, "--app=one"]).ok();
    let dir = case.pod_dir(&uuid).unwrap_or_default();
    assert!(!case.host().path(format!("{dir}/stage1/rootfs/opt/stage2/one")).exists());
}

#[test]
fn is_an_experiment_and_needs_a_mutable_pod() {
    let case = Case::new(Stage1::Nspawn);
    for words in [&["app", "list", "00"][..], &["app", "add", "00", "x"], &["app", "sandbox"]] {
        case.rkt(words.iter().copied()).fails(254).says("RKT_EXPERIMENT_APP");
    }
    let _pod = case.start_sh("echo up; exec sleep 1000");
    let uuid = case.uuid();
    app(&case, ["add", &uuid, images::BUSYBOX_NAME]).fails(254).says("is not mutable");
    app(&case, ["list", &uuid]).ok().prints("busybox\trunning");
    let fly = Case::new(Stage1::Fly);
    let flag = fly.stage1().flag();
    app(&fly, ["sandbox", "--net=host", &flag]).fails(254).says("does not support mutable pods");
}

/// In a unit, the lines of apps that come later are in its journal, once.
#[test]
fn a_unit_can_be_a_sandbox() {
    let case = Case::new(Stage1::Nspawn);
    let words: Vec<String> = case
        .run_words("pod")
        .into_iter()
        .flat_map(
            |word| if word == "run" { vec!["app".to_owned(), "sandbox".to_owned()] } else { vec![word] },
        )
        .collect();
    let unit = case.service("pod", &words, "Environment=RKT_EXPERIMENT_APP=true\nDelegate=yes");
    case.systemctl(&["start", &unit]);
    let uuid = case.uuid();
    case.rkt(["status", "--wait-ready=30s", &uuid]).ok();
    add(&case, &uuid, "later", "echo here I am; exec sleep 1000");
    app(&case, ["start", &uuid, "--app=later"]).ok();
    case.journal(&["-u", &unit, "-t", "later"], "here I am");
    let lines = case.rkt(["logs", "--format=cat", &uuid]).ok();
    assert_eq!(lines.stdout.matches("here I am").count(), 1, "{lines}");
    case.systemctl(&["stop", &unit]);
    assert_eq!(case.property(&unit, "Result"), "success");
}
