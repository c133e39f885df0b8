//! A third party's stage1: a few shell scripts behind the annotations of the stage1 ABI.

use tests::aci::Aci;
use tests::case::{Case, Stage1, eventually};
use tests::host::{Exec, Running};
use tests::images;

const PREFIX: &str = "coreos.com/rkt/stage1";

/// Records how it was called, then is the pod until it is told to go.
const RUN: &str = r#"#!/bin/sh
{
    echo "called: $0 $*"
    echo "directory: $PWD"
    echo "lock: $(readlink /proc/$$/fd/$RKT_LOCK_FD)"
    env | sed 's/^/environment: /'
    ls pod stage1/rootfs/opt/stage2/*/rootfs/bin/busybox appsinfo/*/manifest | sed 's/^/file: /'
    cat pod
} >RECORD.run
echo "$(sed -n s/^0:://p /proc/self/cgroup | sed s,^/,,)" >subcgroup
echo $$ >pid
echo foreign pod is up
trap 'mkdir -p stage1/rootfs/rkt/status; echo 17 >stage1/rootfs/rkt/status/busybox; exit 17' TERM
while :; do sleep 0.01; done
"#;

/// Records how it was called.
const OTHER: &str = "#!/bin/sh\n{ echo \"called: $0 $*\"; echo \"directory: $PWD\"; } >RECORD.${0##*/}\n";

/// Records all that it was given, and goes into the pod.
const CROSSING: &str = "#!/bin/sh\n{ echo \"called: $0 $*\"; env; } >RECORD.${0##*/}\n\
                        exec $RKT_STAGE1_ENTERCMD --pid=$RKT_STAGE1_ENTERPID --appname=busybox -- /bin/inside\n";

fn image(case: &Case, interface: &str, annotations: &[&str]) -> String {
    let script = |text: &str| text.replace("RECORD", &case.tmp("record"));
    let stop = format!("{OTHER}kill $(cat pid)\n");
    let enter = format!("{OTHER}echo entered; exit 21\n");
    let mut aci = Aci::new("example.org/stage1-foreign")
        .file("rootfs/run", 0o755, script(RUN))
        .file("rootfs/stop", 0o755, script(&stop))
        .file("rootfs/enter", 0o755, script(&enter))
        .file("rootfs/gc", 0o755, script(OTHER))
        .file("rootfs/attach", 0o755, script(CROSSING))
        .annotation(&format!("{PREFIX}/interface-version"), interface);
    for operation in annotations {
        aci = aci.annotation(&format!("{PREFIX}/{operation}"), &format!("/{operation}"));
    }
    case.image("stage1-foreign.aci", aci.build())
}

fn run(case: &Case, stage1: &str, flags: &[&str]) -> Exec<'static> {
    let stage1 = format!("--stage1-path={stage1}");
    let save = format!("--uuid-file-save={}", case.uuid_file("pod"));
    let words = ["run", &stage1, "--net=host", &save].into_iter().chain(flags.iter().copied());
    case.rkt(words.chain([images::BUSYBOX_FILE, "--exec=/bin/true"]))
}

fn start(case: &Case, interface: &str, flags: &[&str]) -> Running {
    let stage1 = image(case, interface, &["run", "stop", "enter", "gc"]);
    let mut pod = run(case, &stage1, flags).spawn();
    pod.wait_for_stdout("foreign pod is up");
    pod
}

fn record(case: &Case, operation: &str) -> String {
    case.host().read(&case.tmp(&format!("record.{operation}")))
}

#[test]
fn lives_through_the_whole_interface() {
    let case = Case::alone(Stage1::Fly);
    let mut pod = start(&case, "6", &["--hostname=somewhere"]);
    let uuid = case.uuid();
    let dir = format!("{}/pods/run/{uuid}", case.data());

    let seen = record(&case, "run");
    let called = seen.lines().next().unwrap_or_default().to_owned();
    assert!(
        called.contains(&format!("/{uuid}/stage1/rootfs/run ")) || called.contains(" stage1/rootfs/run "),
        "{seen}"
    );
    assert!(called.ends_with(&format!(" {uuid}")), "{seen}");
    for argument in ["--net=host", "--hostname=somewhere"] {
        assert!(called.split(' ').any(|word| word == argument), "no {argument}: {seen}");
    }
    assert!(seen.contains(&format!("directory: {dir}\n")), "{seen}");
    assert!(seen.contains(&format!("lock: {dir}\n")), "{seen}");
    assert!(
        seen.contains("file: stage1/rootfs/opt/stage2/busybox/rootfs/bin/busybox\n"),
        "the app's root is not there: {seen}"
    );
    assert!(seen.contains("file: appsinfo/busybox/manifest\n"), "{seen}");
    assert!(seen.contains(r#""acKind":"PodManifest""#), "{seen}");

    assert_eq!(case.state(&uuid), "running");
    let entered = case.rkt(["enter", &uuid, "/bin/command", "--flag"]).fails(21);
    assert!(entered.stdout.contains("entered"), "{entered}");
    let pid = case.host().read(&format!("{dir}/pid"));
    let called = record(&case, "enter");
    assert!(
        called.contains(&format!("--pid={} --appname=busybox -- /bin/command --flag\n", pid.trim())),
        "{called}"
    );

    case.rkt(["stop", &uuid]).ok();
    assert!(
        record(&case, "stop").lines().next().is_some_and(|line| line.ends_with(&format!(" {uuid}"))),
        "{}",
        record(&case, "stop")
    );
    assert!(record(&case, "stop").contains(&format!("directory: {dir}\n")), "{}", record(&case, "stop"));
    eventually("the pod to end", || pod.ended().then_some(()));
    assert_eq!(pod.wait(std::time::Duration::from_secs(1)).code, 17);
    case.rkt(["status", &uuid]).ok().prints("state=exited").prints("app-busybox=17");

    case.rkt(["gc", "--grace-period=0s"]).ok();
    assert!(
        record(&case, "gc").lines().next().is_some_and(|line| line.ends_with(&format!(" {uuid}"))),
        "{}",
        record(&case, "gc")
    );
    crate::garbage::assert_nothing_is_left(&case, &uuid);
}

/// An entrypoint that has something done inside is told the way, and nothing else.
#[test]
fn what_crosses_finds_the_way_in() {
    let case = Case::alone(Stage1::Fly);
    let stage1 = image(&case, "6", &["run", "stop", "enter", "gc", "attach"]);
    let mut pod = run(&case, &stage1, &[]).spawn();
    pod.wait_for_stdout("foreign pod is up");
    let attach = case.rkt(["attach", "--mode=list", &case.uuid()]).env("SECRET", "of the caller").fails(21);
    assert!(attach.stdout.contains("entered"), "{attach}");

    let pid = case.host().read(&format!("{}/pods/run/{}/pid", case.data(), case.uuid()));
    let called = record(&case, "enter");
    assert!(called.contains(&format!("--pid={} --appname=busybox -- /bin/inside\n", pid.trim())), "{called}");
    let seen = record(&case, "attach");
    assert!(seen.starts_with("called: ") && seen.contains("--action=list --app=busybox"), "{seen}");
    // What a shell sets by itself does not count.
    let mut names: Vec<&str> =
        seen.lines().skip(1).filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["PATH", "RKT_STAGE1_ENTERCMD", "RKT_STAGE1_ENTERPID"], "{seen}");
    case.rkt(["stop", &case.uuid()]).ok();
    eventually("the pod to end", || pod.ended().then_some(()));
}

#[test]
fn an_old_one_gets_no_argument_that_it_does_not_know() {
    let case = Case::alone(Stage1::Fly);
    let pod = start(&case, "1", &["--hostname=somewhere", "--ipc=parent"]);
    let called = record(&case, "run").lines().next().unwrap_or_default().to_owned();
    for unknown in ["--hostname", "--ipc", "--dns-conf-mode", "--mutable", "--disable"] {
        assert!(!called.contains(unknown), "{unknown} was passed: {called}");
    }
    drop(pod);
}

#[test]
fn a_missing_operation_is_named() {
    let case = Case::alone(Stage1::Fly);
    let stage1 = image(&case, "6", &["gc"]);
    run(&case, &stage1, &[]).fails(254).says("coreos.com/rkt/stage1/run");
    let stage1 = image(&case, "6", &["run", "gc"]);
    let mut pod = run(&case, &stage1, &[]).spawn();
    pod.wait_for_stdout("foreign pod is up");
    case.rkt(["enter", &case.uuid(), "/bin/true"]).fails(254).says("enter");
    case.rkt(["stop", &case.uuid()]).fails(254).says("stop");
}

#[test]
fn ways_to_pick_one() {
    let case = Case::alone(Stage1::Fly);
    let stage1 = image(&case, "6", &["run", "gc"]);
    let id = case.rkt(["fetch", "--full", &stage1]).ok().trimmed().to_owned();
    for flag in [
        format!("--stage1-hash={id}"),
        "--stage1-name=example.org/stage1-foreign:1".to_owned(),
        format!("--stage1-url=file://{stage1}"),
    ] {
        let mut pod =
            case.rkt(["run", &flag, "--net=host", images::BUSYBOX_FILE, "--exec=/bin/true"]).spawn();
        pod.wait_for_stdout("foreign pod is up");
    }
    let two =
        ["run", "--stage1-hash=sha512-abcd", "--stage1-path=/x.aci", "--net=host", images::BUSYBOX_FILE];
    case.rkt(two).fails(254).says("mutually exclusive");
    case.rkt(["run", "--stage1-path=/no/such.aci", "--net=host", images::BUSYBOX_FILE])
        .fails(254)
        .says("/no/such.aci");
    case.rkt(["run", "--stage1-from-dir=no-such.aci", "--net=host", images::BUSYBOX_FILE])
        .fails(254)
        .says("no-such.aci");
}

#[test]
fn the_configuration_picks_one() {
    let case = Case::alone(Stage1::Fly);
    let stage1 = image(&case, "6", &["run", "gc"]);
    let config = case.tmp("etc");
    let document = serde_json::json!({"rktKind": "stage1", "rktVersion": "v1", "name": "example.org/stage1-foreign", "version": "1", "location": stage1});
    case.host().write(&format!("{config}/stage1.d/foreign.json"), document.to_string());
    let local = format!("--local-config={config}");
    let mut pod = case.rkt([&*local, "run", "--net=host", images::BUSYBOX_FILE, "--exec=/bin/true"]).spawn();
    pod.wait_for_stdout("foreign pod is up");
    let shown = case.rkt([&*local, "config"]).ok().json();
    assert!(
        shown["stage0"].as_array().is_some_and(|all| all.iter().any(|one| one["rktKind"] == "stage1")),
        "{shown}"
    );
}
