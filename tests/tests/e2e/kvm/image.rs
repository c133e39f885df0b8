//! Where the host has no virtiofsd: a machine runs from an image of its files.

use std::time::Duration;

use tests::case::{Case, Stage1, app_lines};
use tests::host::Exec;

const NO_VIRTIOFSD: &str = "--property=InaccessiblePaths=/usr/lib/qemu/virtiofsd";
const NO_MKFS: &str = "--property=InaccessiblePaths=/usr/bin/mkfs.erofs";

/// `rkt run` in a unit with these settings.
fn run_with(case: &Case, settings: &[&str], words: &[&str]) -> Exec<'static> {
    let unit = ["--quiet", "--wait", "--pipe", "--collect", "--property=KillMode=mixed"];
    let unit = unit.iter().chain(settings).map(|&word| word.to_owned());
    let run = case.run_words("pod").into_iter().chain(words.iter().map(|&word| word.to_owned()));
    case.host().exec("systemd-run").args(unit.chain(run))
}

#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn does_what_the_files_would_and_keeps_nothing() {
    let case = Case::new(Stage1::Kvm);
    let image = case.busybox();
    // The second waits for a file of the first, in a volume that both have.
    let first = "cd /etc && echo new >new && cat new && chown 1001 new && stat -c 'owner %u' new; \
                 stat -f -c 'root %T' /; touch /read/x || echo read-only; stat -c '%n %F %a' /bin/busybox; \
                 echo hello >/data/new; mv /data/new /data/file; until test -e /data/done; do sleep 0.1; done; exit 7";
    let second = "until test -e /elsewhere/file; do sleep 0.1; done; cat /elsewhere/file; test ! -e /etc/new && echo mine alone; \
                  touch /elsewhere/done; sleep 1000";
    let words = [
        "--volume=data,kind=empty",
        "--volume=read,kind=empty,readOnly=true",
        image,
        "--name=first",
        "--exec=/bin/sh",
        "--mount=volume=data,target=/data",
        "--mount=volume=read,target=/read",
        "--",
        "-c",
        first,
        "---",
        image,
        "--name=second",
        "--exec=/bin/sh",
        "--mount=volume=data,target=/elsewhere",
        "--",
        "-c",
        second,
    ];
    let output = run_with(&case, &[NO_VIRTIOFSD], &words)
        .limit(Duration::from_secs(300))
        .fails(7)
        .says("virtiofsd is not installed")
        .says("is lost when it ends");
    let lines = app_lines(&output.stdout);
    for line in ["new", "owner 1001", "read-only", "hello", "mine alone"] {
        assert!(lines.contains(&line), "no {line:?}: {output}");
    }
    // What became of the apps is on the host all the same.
    let uuid = case.uuid();
    let status = case.rkt(["status", &uuid]).ok();
    assert!(
        status.stdout.contains("app-first=7\n") && status.stdout.contains("app-second=143\n"),
        "{status}"
    );
    assert!(status.stdout.contains("exited=true\n"), "{status}");
    let dir = case.pod_dir(&uuid).expect("the pod's directory");
    let left = case.host().sh(&format!("cd {dir}; find . -name new -o -name file -o -name '*.erofs'"));
    assert_eq!(left.stdout, "");
    super::assert_nothing_is_left(&case, &uuid);
}

#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn has_the_status_that_others_wait_for() {
    let case = Case::new(Stage1::Kvm);
    let words = ["--volume=v,kind=empty", case.busybox(), "--exec=/bin/sh", "--mount=volume=v,target=/v"];
    let script = ["--", "-c", "echo up; until test -e /v/go; do sleep 0.1; done; echo went"];
    let mut running = run_with(&case, &[NO_VIRTIOFSD], &[&words[..], &script].concat()).spawn();
    running.wait_for_stdout("up");
    let uuid = case.uuid();
    assert!(case.rkt(["status", "--wait-ready", &uuid]).ok().stdout.contains("state=running\n"));
    case.rkt(["enter", &uuid, "/bin/touch", "/v/go"]).ok();
    running.wait_for_stdout("went");
    assert_eq!(running.wait(Duration::from_secs(60)).code, 0);
}

/// These never start a machine.
#[test]
fn what_it_cannot_have_is_refused() {
    let case = Case::new(Stage1::Kvm);
    let image = case.busybox();
    let host = ["--volume=etc,kind=host,source=/etc", image, "--mount=volume=etc,target=/data"];
    run_with(&case, &[NO_VIRTIOFSD], &host)
        .fails(254)
        .says("cannot have the host's files: the volume \"etc\"")
        .says("Install virtiofsd");
    run_with(&case, &[NO_VIRTIOFSD, NO_MKFS], &[image])
        .fails(254)
        .says("qemu-system-common")
        .says("erofs-utils");
}
