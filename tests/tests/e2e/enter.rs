//! `rkt enter`.

use tests::case::Case;

under_supervised_walls!(asks_which_app, is_confined_as_the_app_is,);

under_both_walls!(
    runs_a_command_in_the_app,
    needs_a_running_pod,
    has_the_environment_of_the_app,
    starts_bash_by_default,
    gets_a_terminal
);

const WAIT: &str = "echo up; exec sleep 1000";

fn runs_a_command_in_the_app(case: &Case) {
    let _pod = case.start_sh("echo inside >/tmp/mark; echo up; exec sleep 1000");
    let uuid = case.uuid();
    let output = case
        .rkt(["enter", &uuid, "/bin/sh", "-c", "cat /tmp/mark; cat; echo wrong >&2; exit 9"])
        .input("typed")
        .fails(9);
    assert_eq!(output.stdout, "inside\ntyped");
    assert!(output.stderr.contains("wrong"), "{output}");
    // A prefix names the pod, too, and an app by its name.
    case.rkt(["enter", "--app=busybox", &uuid[..8], "/bin/true"]).ok();
    case.rkt(["enter", "--app=other", &uuid, "/bin/true"]).fails(254).says("other");
    let gone = case.rkt(["enter", &uuid, "/no/such/program"]).output();
    assert!(gone.code != 0 && gone.stderr.contains("/no/such/program"), "{gone}");
}

fn needs_a_running_pod(case: &Case) {
    case.run_sh("true").ok();
    case.rkt(["enter", &case.uuid(), "/bin/true"]).fails(254).says("not running");
    case.rkt(["enter", "00000000", "/bin/true"]).fails(254).says(r#"no matches found for "00000000""#);
}

fn has_the_environment_of_the_app(case: &Case) {
    let words = [case.busybox(), "--exec=/bin/sh", "--environment=COLOUR=green", "--", "-c", WAIT];
    let mut pod = case.run(words).spawn();
    pod.wait_for_stdout("up");
    let output = case.rkt(["enter", &case.uuid(), "/bin/env"]).env("OF_THE_CALLER", "leaked").ok();
    assert!(output.stdout.contains("COLOUR=green\n"), "{output}");
    assert!(output.stdout.contains("AC_APP_NAME=busybox\n"), "{output}");
    assert!(!output.stdout.contains("OF_THE_CALLER"), "{output}");
}

fn starts_bash_by_default(case: &Case) {
    let _pod = case.start_sh(WAIT);
    let output = case.rkt(["enter", &case.uuid()]).output();
    // The image has no bash; the message says which command was assumed.
    assert!(output.code != 0 && output.stderr.contains("/bin/bash"), "{output}");
}

fn gets_a_terminal(case: &Case) {
    let _pod = case.start_sh(WAIT);
    let mut words = case.rkt_words();
    words.extend([
        "enter".to_owned(),
        case.uuid(),
        "/bin/sh -c 'test -t 0 && test -t 1 && read line && echo terminal says $line'".to_owned(),
    ]);
    let script = ["--quiet", "--return", "--command", &words.join(" "), "/dev/null"];
    case.host().exec("script").args(script).input("hello\n").ok().prints("terminal says hello");
}

fn asks_which_app(case: &Case) {
    let image = case.busybox();
    let pod = [
        image,
        "--name=one",
        "--exec=/bin/sh",
        "--",
        "-c",
        WAIT,
        "---",
        image,
        "--name=two",
        "--exec=/bin/sh",
        "--",
        "-c",
        "sleep 1000",
    ];
    let mut pod = case.run(pod).spawn();
    pod.wait_for_stdout("up");
    let uuid = case.uuid();
    case.rkt(["enter", &uuid, "/bin/true"]).fails(254).says("--app");
    let output = case.rkt(["enter", "--app=two", &uuid, "/bin/sh", "-c", "echo $AC_APP_NAME"]).ok();
    assert_eq!(output.stdout, "two\n");
}

/// CVE-2019-10144, -10145 and -10147 of the Go rkt: what enters had all capabilities, no filter, and stood outside of the cgroup.
fn is_confined_as_the_app_is(case: &Case) {
    let mut pod = case
        .run([
            case.busybox(),
            "--exec=/bin/sh",
            "--user=alice",
            "--group=staff",
            "--caps-remove=CAP_MKNOD",
            "--",
            "-c",
            WAIT,
        ])
        .spawn();
    pod.wait_for_stdout("up");
    let uuid = case.uuid();
    let facts = "grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/$P/status; \
                 for ns in cgroup ipc mnt net pid user uts; do readlink /proc/$P/ns/$ns; done; cat /proc/$P/cgroup; readlink /proc/$P/root";
    // The app is the one `sleep` that runs in there.
    let script = format!(
        r#"entered=$(P=$$; {facts}); app=$(P=$(grep -lx sleep /proc/[0-9]*/comm | head -1 | cut -d/ -f3); {facts}); echo "$entered"; test "$entered" = "$app" || {{ echo "$app"; exit 1; }}"#
    );
    case.rkt(["enter", &uuid, "/bin/sh", "-c", &script]).ok().prints("Seccomp:\t2");
}
