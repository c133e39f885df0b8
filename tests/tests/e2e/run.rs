//! `rkt run` with one app: what the app gets, and what comes back.

use serde_json::{Value, json};
use tests::case::{Case, app_lines};
use tests::images;

use crate::garbage::assert_nothing_is_left;

under_supervised_walls!(names_the_host, has_only_loopback_without_a_network,);

under_both_walls!(
    hands_over_output_and_exit_status,
    reports_a_fatal_signal,
    appends_arguments_to_exec,
    gives_the_default_environment,
    merges_environments_in_order,
    sets_user_and_group,
    puts_a_user_into_the_groups_of_the_image,
    sets_the_working_directory,
    protects_a_read_only_root,
    protects_the_read_only_root_of_a_pod_manifest,
    keeps_writes_out_of_the_image,
    saves_the_uuid,
    runs_a_pod_manifest,
    refuses_a_pod_manifest_with_images,
    connects_a_terminal,
    runs_without_overlay,
    falls_back_to_copies_where_overlays_cannot_be,
);

fn hands_over_output_and_exit_status(case: &Case) {
    let output = case.run_sh("echo to stdout; echo to stderr >&2; exit 7").fails(7);
    assert!(app_lines(&output.stdout).contains(&"to stdout"), "{output}");
    let both = format!("{}{}", output.stdout, output.stderr);
    assert!(app_lines(&both).contains(&"to stderr"), "{output}");
    case.run_sh("true").ok();
}

fn reports_a_fatal_signal(case: &Case) {
    case.run_sh("kill -USR1 $$").fails(128 + 10);
}

fn appends_arguments_to_exec(case: &Case) {
    let aci = images::busybox("example.com/echo").app(&["/bin/echo", "from the image"], &json!({}));
    let image = case.image("echo.aci", aci.build());
    let output = case.run([&*image, "--", "and from", "me"]).ok();
    assert!(app_lines(&output.stdout).contains(&"from the image and from me"), "{output}");
    let output = case.run([&*image, "--exec=/bin/echo", "--", "only", "me"]).ok();
    assert!(app_lines(&output.stdout).contains(&"only me"), "{output}");
}

fn environment_of(output: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = app_lines(output).into_iter().filter(|line| line.contains('=')).collect();
    lines.sort_unstable();
    lines
}

fn gives_the_default_environment(case: &Case) {
    let output = case.run([case.busybox(), "--exec=/bin/env"]).env("OF_THE_CALLER", "leaked").ok();
    let environment = environment_of(&output.stdout);
    for expected in [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SHELL=/bin/sh",
        "USER=root",
        "LOGNAME=root",
        "HOME=/root",
        "AC_APP_NAME=busybox",
    ] {
        assert!(environment.contains(&expected), "no {expected}: {output}");
    }
    for name in ["OF_THE_CALLER", "RKT_", "LISTEN_", "NOTIFY_SOCKET"] {
        assert!(!environment.iter().any(|line| line.starts_with(name)), "{name} leaked: {output}");
    }
}

fn merges_environments_in_order(case: &Case) {
    let environment = ["V1", "V2", "V3", "V4"].map(|name| json!({"name": name, "value": "image"}));
    let aci =
        images::busybox("example.com/environment").app(&["/bin/env"], &json!({"environment": environment}));
    let image = case.image("environment.aci", aci.build());
    let file = case.tmp("environment");
    case.host().write(&file, "# a comment\n\n; another\nV2=file\nV3=file\nV4=file\n");
    let file = format!("--set-env-file={file}");
    let output = case
        .run(["--inherit-env", &file, "--set-env=V3=set", "--set-env=V4=set", &image, "--environment=V4=app"])
        .env("V0", "inherited")
        .env("V1", "inherited")
        .ok();
    let environment = environment_of(&output.stdout);
    for expected in ["V0=inherited", "V1=image", "V2=file", "V3=set", "V4=app"] {
        assert!(environment.contains(&expected), "no {expected}: {output}");
    }
}

fn sets_user_and_group(case: &Case) {
    let script = "echo $(id -u) $(id -g) $(id -G)";
    for (user, group) in [("alice", "staff"), ("1001", "1002"), ("/home/alice", "/home/alice")] {
        let (user, group) = (format!("--user={user}"), format!("--group={group}"));
        let output = case
            .run([
                case.busybox(),
                "--exec=/bin/sh",
                &user,
                &group,
                "--supplementary-gids=1003,77",
                "--",
                "-c",
                script,
            ])
            .ok();
        let ids = app_lines(&output.stdout)
            .into_iter()
            .find(|line| line.starts_with("1001 1002 "))
            .map(str::to_owned);
        let mut groups: Vec<_> = ids.as_deref().unwrap_or_default().split(' ').skip(2).collect();
        groups.sort_unstable();
        assert_eq!(groups, ["1002", "1003", "77"], "{output}");
    }
    case.run([case.busybox(), "--user=nobody-by-this-name", "--exec=/bin/true"])
        .fails(254)
        .says("nobody-by-this-name");
}

/// By name as after a login, by number in none; never by what the host's files say.
fn puts_a_user_into_the_groups_of_the_image(case: &Case) {
    let groups = |user: &str| {
        let user = format!("--user={user}");
        // A file can be given to a group by its members only.
        let script = "touch /tmp/file; for group in 1003 1002 4; do chown :$group /tmp/file 2>/dev/null && echo in $group; done";
        let words = [case.busybox(), "--exec=/bin/sh", &user, "--group=staff", "--", "-c", script];
        let output = case.run(words).output();
        let lines = app_lines(&output.stdout).into_iter().filter(|line| line.starts_with("in "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(groups("alice"), ["in 1003", "in 1002"]);
    assert_eq!(groups("1001"), ["in 1002"]);
}

fn sets_the_working_directory(case: &Case) {
    let output = case.run([case.busybox(), "--exec=/bin/pwd", "--working-dir=/home/alice"]).ok();
    assert!(app_lines(&output.stdout).contains(&"/home/alice"), "{output}");
    case.run([case.busybox(), "--exec=/bin/pwd", "--working-dir=/no/such/dir"])
        .fails(254)
        .says("/no/such/dir");
}

fn protects_a_read_only_root(case: &Case) {
    let script = "touch /written && echo writable; mkdir /etc/x; true";
    let is_writable = |flags: &[&str]| {
        let words = [&[case.busybox(), "--exec=/bin/sh"], flags, &["--", "-c", script]].concat();
        let output = case.run(words).ok();
        app_lines(&output.stdout).contains(&"writable")
    };
    assert!(!is_writable(&["--readonly-rootfs"]));
    assert!(is_writable(&["--readonly-rootfs=false"]));
    // Of the same flag, the last one counts.
    assert!(is_writable(&["--readonly-rootfs", "--readonly-rootfs=false"]));
    assert!(!is_writable(&["--readonly-rootfs=false", "--readonly-rootfs=true"]));
}

/// Only a pod manifest can ask for one besides the flag, and no flag of an app stands beside a pod manifest.
fn protects_the_read_only_root_of_a_pod_manifest(case: &Case) {
    let script = "touch /written && echo writable; touch /scratch/written && echo volume";
    let mut manifest = pod_manifest(case, script);
    manifest["apps"][0]["readOnlyRootFS"] = json!(true);
    let flag = pod_manifest_flag(case, &manifest);
    let output = case.run([&*flag]).ok();
    let lines = app_lines(&output.stdout);
    assert!(!lines.contains(&"writable") && lines.contains(&"volume"), "{output}");
    case.run([&*flag, "--readonly-rootfs=false"]).fails(254).says("--readonly-rootfs must follow an image");
    manifest["apps"][0]["readOnlyRootFS"] = json!(false);
    let output = case.run([&*pod_manifest_flag(case, &manifest)]).ok();
    assert!(app_lines(&output.stdout).contains(&"writable"), "{output}");
}

fn keeps_writes_out_of_the_image(case: &Case) {
    case.run_sh("echo changed >/etc/passwd; rm /etc/group").ok();
    let output = case.run_sh("cat /etc/passwd /etc/group").ok();
    assert!(app_lines(&output.stdout).contains(&"staff:x:1002:"), "{output}");
    assert!(!app_lines(&output.stdout).contains(&"changed"), "{output}");
}

fn saves_the_uuid(case: &Case) {
    case.run_sh("true").ok();
    let uuid = case.uuid();
    assert!(uuid.split('-').map(str::len).eq([8, 4, 4, 4, 12]), "{uuid}");
    assert_eq!(case.state(&uuid), "exited");
    assert_eq!(case.pod_dir(&uuid), Some(format!("{}/pods/run/{uuid}", case.data())));
}

/// The manifest of a pod with the busybox image and one app.
fn pod_manifest(case: &Case, script: &str) -> Value {
    let id = case.rkt(["fetch", "--full", images::BUSYBOX_FILE]).ok().trimmed().to_owned();
    json!({
        "acKind": "PodManifest",
        "acVersion": "0.8.11",
        "apps": [{
            "name": "from-manifest",
            "image": {"name": images::BUSYBOX_NAME, "id": id},
            "app": {"exec": ["/bin/sh", "-c", script], "user": "0", "group": "0"},
            "mounts": [{"volume": "scratch", "path": "/scratch"}],
        }],
        "volumes": [{"name": "scratch", "kind": "empty"}],
    })
}

fn pod_manifest_flag(case: &Case, manifest: &Value) -> String {
    let file = case.tmp("pod.json");
    case.host().write(&file, manifest.to_string());
    format!("--pod-manifest={file}")
}

fn runs_a_pod_manifest(case: &Case) {
    let manifest =
        pod_manifest_flag(case, &pod_manifest(case, "touch /scratch/file && echo $AC_APP_NAME; exit 4"));
    let output = case.run([&*manifest]).fails(4);
    assert!(app_lines(&output.stdout).contains(&"from-manifest"), "{output}");
}

fn refuses_a_pod_manifest_with_images(case: &Case) {
    let manifest = pod_manifest_flag(case, &pod_manifest(case, "true"));
    let conflict = "conflicting flags set with --pod-manifest";
    case.run([&*manifest, case.busybox()]).fails(254).says(conflict);
    case.run([&*manifest, "--set-env=A=b"]).fails(254).says(conflict);
    case.run([&*manifest, "--inherit-env"]).fails(254).says(conflict);
}

fn connects_a_terminal(case: &Case) {
    let mut words = case.run_words("pod");
    words.extend(["--interactive", case.busybox(), "--exec=/bin/sh", "--", "-c"].map(str::to_owned));
    let command =
        format!("{} 'test -t 0 && test -t 1 && read line && echo terminal says $line'", words.join(" "));
    // Some time for the pod to start; what is typed before stays in the terminal's queue.
    let output = case
        .host()
        .exec("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .input("hello\n")
        .ok();
    assert!(output.stdout.contains("terminal says hello"), "{output}");
    let refused = ["--interactive", case.busybox(), "--name=one", case.busybox(), "--name=two"];
    case.run(refused).fails(254).says("interactive");
}

fn runs_without_overlay(case: &Case) {
    let output = case
        .run([
            "--no-overlay",
            case.busybox(),
            "--exec=/bin/sh",
            "--",
            "-c",
            "echo x >/etc/passwd; cat /etc/passwd",
        ])
        .ok();
    assert!(app_lines(&output.stdout).contains(&"x"), "{output}");
    let output = case.run_sh("cat /etc/passwd").ok();
    assert!(output.stdout.contains("alice"), "the image was changed: {output}");
}

fn falls_back_to_copies_where_overlays_cannot_be(case: &Case) {
    // The root of the test host is an overlay, and such cannot be the writable layer of another.
    let data = format!("/opt/{}", case.name());
    case.host().exec("mkdir").arg(&*data).ok();
    assert_eq!(case.host().exec("stat").args(["-f", "-c", "%T", &data]).ok().trimmed(), "overlayfs");
    let rkt = |words: &[&str]| {
        let dir = format!("--dir={data}");
        case.host()
            .exec("/usr/bin/rkt")
            .args(["--insecure-options=image", &dir])
            .args(words.iter().copied())
            .ok()
    };
    let (stage1, save) = (case.stage1().flag(), format!("--uuid-file-save={}", case.uuid_file("pod")));
    let words = ["run", &stage1, case.net(), &save, images::BUSYBOX_FILE, "--exec=/bin/sh", "--", "-c"];
    let output = rkt(&[&words[..], &["echo x >/etc/passwd; cat /etc/passwd"]].concat())
        .says(r#"disabling overlay support: "the data directory is on an overlay itself""#);
    assert!(app_lines(&output.stdout).contains(&"x"), "{output}");
    let first = case.uuid();
    let root = format!("{data}/pods/run/{first}/stage1/rootfs/opt/stage2/busybox/rootfs");
    assert_eq!(case.host().read(&format!("{root}/etc/passwd")), "x\n");
    let output = rkt(&[&words[..], &["cat /etc/passwd"]].concat());
    assert!(output.stdout.contains("alice"), "the image was changed: {output}");
    let second = case.uuid();

    rkt(&["gc", "--grace-period=0s"]);
    assert_eq!(case.host().sh(&format!("find {data}/pods -mindepth 2")).success().stdout, "");
    assert_nothing_is_left(case, &first);
    assert_nothing_is_left(case, &second);
    // It lies in memory.
    case.host().exec("rm").args(["-rf", "--one-file-system", &data]).ok();
}

fn names_the_host(case: &Case) {
    let output = case.run(["--hostname=web", case.busybox(), "--exec=/bin/hostname"]).ok();
    assert!(app_lines(&output.stdout).contains(&"web"), "{output}");
    let output = case.run([case.busybox(), "--exec=/bin/hostname"]).ok();
    assert!(app_lines(&output.stdout).contains(&&*format!("rkt-{}", case.uuid())), "{output}");
}

fn has_only_loopback_without_a_network(case: &Case) {
    let words = ["run", &case.stage1().flag(), "--net=none", case.busybox(), "--exec=/bin/sh", "--", "-c"];
    let output = case.rkt(words).arg("sed -n 's/:.*//p' /proc/net/dev").ok();
    let interfaces: Vec<_> =
        app_lines(&output.stdout).into_iter().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(interfaces, ["lo"], "{output}");
}
