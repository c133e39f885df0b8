//! Pods under systemd: the unit that started them, the scope they get else, the journal, readiness, and how they stop.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::case::{Case, Stage1, eventually};
use tests::images;

under_both_walls!(
    stays_in_the_unit,
    stops_within_the_timeout,
    writes_to_the_journal,
    gives_the_unit_its_exit_status,
    waits_for_the_app_to_be_ready,
    stays_in_the_unit_of_a_script,
    runs_prepared_pods,
    gets_a_scope_in_a_session,
);

// Their units collect, which would move the ended pods of the other tests too.
under_both_walls!(alone: lets_the_unit_run_commands, restarts_with_the_unit);

/// Command lines of the processes in a cgroup.
fn commands_in(case: &Case, group: &str) -> Vec<String> {
    let read = |pid: &u32| std::fs::read(case.host().path(format!("/proc/{pid}/cmdline"))).ok();
    let lines = case.host().cgroup_pids(group).into_iter().filter_map(|pid| read(&pid));
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned()).collect()
}

/// Command lines of the processes of a pod that stands in a cgroup; of one in a machine, of those inside it.
fn commands_of(case: &Case, uuid: &str, group: &str) -> Vec<String> {
    const LIST: &str = "for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$file; echo; done";
    let outside = commands_in(case, group);
    if case.stage1() != Stage1::Kvm {
        return outside;
    }
    if !outside.iter().any(|command| command.contains("qemu") && command.contains(uuid)) {
        return Vec::new();
    }
    let inside = case.rkt(["enter", uuid, "/bin/sh", "-c", LIST]).output().stdout;
    inside.lines().map(|line| line.trim().to_owned()).collect()
}

fn is_running(case: &Case, command: &str) -> bool {
    case.host().exec("pgrep").args(["-fx", command]).output().code == 0
}

fn stays_in_the_unit(case: &Case) {
    let unit = case.service_sh("sleep 1111 & sleep 2222", "KillMode=mixed\nDelegate=yes");
    case.systemctl(&["start", &unit]);
    let uuid = case.uuid();
    let group = case.property(&unit, "ControlGroup");
    assert!(group.ends_with(&unit), "{group}");
    let commands = eventually("the app to be in the unit's cgroup", || {
        let commands = commands_of(case, &uuid, &group);
        ["sleep 1111", "sleep 2222"]
            .iter()
            .all(|app| commands.iter().any(|command| command == app))
            .then_some(commands)
    });
    if case.stage1() == Stage1::Fly {
        assert!(
            commands.iter().all(|command| command.contains("sleep")),
            "more than the app is there: {commands:?}"
        );
        // The shell has become its last command.
        assert_eq!(commands_in(case, &group).len(), 2, "{commands:?}");
    } else {
        case.host().exec("machinectl").args(["--no-legend", "list"]).ok().prints(&format!("rkt-{uuid}"));
    }
    let main: u32 = case.property(&unit, "MainPID").parse().expect("a pid");
    assert!(case.host().cgroup_pids(&group).contains(&main));
    let scopes = case
        .host()
        .exec("systemctl")
        .args(["list-units", "--no-legend", "--all", "--plain", "machine-rkt*"])
        .ok();
    assert!(!scopes.stdout.contains(&uuid.replace('-', r"\x2d")), "{scopes}");
    assert_eq!(case.state(&uuid), "running");
}

fn stops_within_the_timeout(case: &Case) {
    let unit = case.service_sh(
        "trap 'echo asked to stop; exit 0' TERM; echo is up; while :; do sleep 0.01; done",
        "KillMode=mixed",
    );
    case.systemctl(&["start", &unit]);
    case.journal(&["-u", &unit], "is up");
    let group = case.property(&unit, "ControlGroup");
    let start = Instant::now();
    case.systemctl(&["stop", &unit]);
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    case.journal(&["-u", &unit], "asked to stop");
    assert_eq!(case.property(&unit, "Result"), "success");
    assert_eq!(case.property(&unit, "ActiveState"), "inactive");
    assert_eq!(case.state(&case.uuid()), "exited");
    assert!(case.host().cgroup_pids(&group).is_empty());
}

fn writes_to_the_journal(case: &Case) {
    let mut words = case.run_words("pod");
    words.extend(
        [
            case.busybox(),
            "--exec=/bin/sh",
            "--name=talker",
            "--",
            "-c",
            "echo on stdout; echo on stderr >&2; sleep 0.1",
        ]
        .map(str::to_owned),
    );
    let unit = case.service("pod", &words, "");
    case.systemctl(&["start", &unit]);
    case.journal(&["-u", &unit, "-t", "talker"], "on stdout");
    case.journal(&["-u", &unit, "-t", "talker"], "on stderr");
}

fn gives_the_unit_its_exit_status(case: &Case) {
    let unit = case.service_sh("exit 5", "");
    case.systemctl(&["start", "--no-block", &unit]);
    eventually("the unit to fail", || (case.property(&unit, "ActiveState") == "failed").then_some(()));
    assert_eq!(case.property(&unit, "ExecMainStatus"), "5");
    assert_eq!(case.property(&unit, "Result"), "exit-code");
}

/// An image whose app says `READY=1` as sd_notify(3) does, once the file `/go/now` is there.
fn notifying_image(case: &Case) -> String {
    let script = r#"use Socket; select(undef, undef, undef, 0.01) until -e "/go/now";
        my $path = $ENV{NOTIFY_SOCKET} or die "no NOTIFY_SOCKET"; $path =~ s/^@/\0/;
        socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die $!;
        send($socket, "READY=1\nSTATUS=as ready as can be", 0, sockaddr_un($path)) or die $!; sleep 1000"#;
    let aci = images::perl("example.com/notifying")
        .annotation("appc.io/executor/supports-systemd-notify", "true")
        .app(&["/usr/bin/perl", "-e", script], &json!({}));
    case.image("notifying.aci", aci.build())
}

fn waits_for_the_app_to_be_ready(case: &Case) {
    let image = notifying_image(case);
    case.host().exec("mkdir").arg(case.tmp("go")).ok();
    let volume = format!("--volume=go,kind=host,source={}", case.tmp("go"));
    let mut words = case.run_words("pod");
    words.extend([&volume, &image, "--mount=volume=go,target=/go"].map(str::to_owned));
    let unit = case.service("pod", &words, "Type=notify\nTimeoutStartSec=30");
    case.systemctl(&["start", "--no-block", &unit]);
    eventually("the pod to run", || (case.state(&case.uuid()) == "running").then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(case.property(&unit, "ActiveState"), "activating");
    case.host().write(&case.tmp("go/now"), "");
    eventually("the unit to be active", || (case.property(&unit, "ActiveState") == "active").then_some(()));
    eventually("the status text", || {
        case.property(&unit, "StatusText").ends_with("as ready as can be").then_some(())
    });
}

/// Old units have no `Delegate=yes`; what they run besides the pod must find a cgroup to start in.
fn lets_the_unit_run_commands(case: &Case) {
    let rkt = case.rkt_words().join(" ");
    let stop = format!("{rkt} stop --uuid-file={}", case.uuid_file("pod"));
    let section = format!(
        "KillMode=mixed\nExecReload=/bin/touch {}\nExecStop={stop}\nExecStopPost={rkt} gc --mark-only",
        case.tmp("reloaded")
    );
    let unit = case.service_sh("echo is up; sleep 1000", &section);
    case.systemctl(&["start", &unit]);
    case.journal(&["-u", &unit], "is up");
    case.systemctl(&["reload", &unit]);
    assert!(case.host().path(case.tmp("reloaded")).exists());
    case.systemctl(&["stop", &unit]);
    assert_eq!(
        case.property(&unit, "ActiveState"),
        "inactive",
        "Result is {}",
        case.property(&unit, "Result")
    );
    let journal = case.journal(&["-u", &unit], "");
    assert!(!journal.contains("219/CGROUP"), "{journal}");
    assert!(case.state(&case.uuid()).starts_with("exited"), "{}", case.state(&case.uuid()));
}

fn stays_in_the_unit_of_a_script(case: &Case) {
    // The tests of both walls share a host.
    let seconds = if case.stage1() == Stage1::Fly { "3333" } else { "4444" };
    let command = format!("/bin/sleep {seconds}");
    let mut pod = case.run_words("pod");
    pod.extend([case.busybox(), "--exec=/bin/sleep", "--", seconds].map(str::to_owned));
    let script = format!("{} & wait", pod.join(" "));
    let unit = case.service("script", &["/bin/sh".to_owned(), "-c".to_owned(), script], "");
    case.systemctl(&["start", &unit]);
    let uuid = case.uuid();
    let group = case.property(&unit, "ControlGroup");
    eventually("the app to be in the unit's cgroup", || {
        commands_of(case, &uuid, &group).contains(&command).then_some(())
    });
    case.systemctl(&["stop", &unit]);
    assert!(!is_running(case, &command) && !is_running(case, &format!(".*qemu.*{uuid}.*")));
}

/// Each pod is in its own group from its start, systemd-nspawn and all, though rkt never stood there.
#[test]
fn pods_of_a_script_have_groups_of_their_own() {
    let case = Case::alone(Stage1::Nspawn);
    let pods = [("a", "7771"), ("b", "7772")];
    let mut script = "group=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)\n\
                      mkdir $group/script && echo $$ >$group/script/cgroup.procs || exit\n"
        .to_owned();
    for (id, seconds) in pods {
        let mut words = case.run_words(id);
        words.extend([case.busybox(), "--exec=/bin/sleep", "--", seconds].map(str::to_owned));
        script.push_str(&format!("{} &\n", words.join(" ")));
    }
    case.host().write(&case.tmp("script"), script + "wait\n");
    let unit = case.service("script", &["/bin/sh".to_owned(), case.tmp("script")], "Delegate=yes");
    case.systemctl(&["start", &unit]);

    let group = case.property(&unit, "ControlGroup");
    let uuids = pods.map(|(id, seconds)| {
        let uuid = case.uuid_as(id);
        let payload = format!("{group}/pod-{uuid}/payload");
        let commands = eventually("the app to be in its pod's group", || {
            let commands = commands_in(&case, &payload);
            commands.contains(&format!("/bin/sleep {seconds}")).then_some(commands)
        });
        assert_eq!(commands.len(), 2, "{commands:?}");
        let around = commands_in(&case, &format!("{group}/pod-{uuid}/supervisor"));
        assert!(around.len() == 1 && around[0].contains(&format!("--machine=rkt-{uuid}")), "{around:?}");
        // What was started on the way there is nobody's to reap.
        let nspawn = case.host().cgroup_pids(&format!("{group}/pod-{uuid}/supervisor"))[0];
        let children =
            case.host().exec("ps").args(["--no-headers", "-o", "args", "--ppid", &nspawn.to_string()]).ok();
        assert_eq!(children.trimmed(), "/supervisor", "{children}");
        uuid
    });
    assert_eq!(commands_in(&case, &format!("{group}/script")).len(), 1);

    case.rkt(["stop", "--force", &uuids[0]]).ok();
    assert!(!is_running(&case, "/bin/sleep 7771") && is_running(&case, "/bin/sleep 7772"));
    case.systemctl(&["stop", &unit]);
    assert!(!is_running(&case, "/bin/sleep 7772"));
}

/// fly stays in the service's own cgroup. The pod's processes are told from those of the script around it, whatever they do
/// with their handles.
#[test]
fn a_script_and_its_pod_are_told_apart() {
    let case = Case::alone(Stage1::Fly);
    let close = "for fd in 3 4 5 6 7 8 9; do eval \"exec $fd>&-\"; done";
    let mut pod = case.run_words("pod");
    let app = format!("({close}; exec sleep 5555) & {close}; exit 0");
    pod.extend([case.busybox(), "--exec=/bin/sh", "--", "-c", &app].map(|word| format!("'{word}'")));
    let script = format!("{}; echo the pod is left; exec sleep 6666", pod.join(" "));
    let unit = case.service("script", &["/bin/sh".to_owned(), "-c".to_owned(), script], "");
    case.systemctl(&["start", &unit]);
    case.journal(&["-u", &unit], "the pod is left");
    let uuid = case.uuid();
    assert_eq!(case.state(&uuid), "running");
    let list = case.rkt(["list", "--full", "--no-legend"]).ok();
    assert!(list.stdout.contains("running"), "{list}");
    case.rkt(["gc", "--grace-period=0s"]).ok();
    assert!(case.pod_dir(&uuid).is_some());
    assert!(is_running(&case, "sleep 5555"));
    // Its main process has ended, and what it left has no name.
    case.rkt(["stop", "--force", &uuid]).ok();
    eventually("the pod to end", || (case.state(&uuid) == "exited").then_some(()));
    assert!(!is_running(&case, "sleep 5555") && is_running(&case, "sleep 6666"));
    assert_eq!(case.property(&unit, "ActiveState"), "active");
    case.rkt(["gc", "--grace-period=0s"]).ok();
    assert_eq!(case.pod_dir(&uuid), None);
    case.systemctl(&["stop", &unit]);
}

fn restarts_with_the_unit(case: &Case) {
    let gc = format!("{} gc --mark-only", case.rkt_words().join(" "));
    let unit = case
        .service_sh("echo is up; sleep 1000", &format!("KillMode=mixed\nDelegate=yes\nExecStopPost={gc}"));
    case.systemctl(&["start", &unit]);
    // Before process 1 of the pod listens, systemd-nspawn passes a request to end on to nobody.
    case.journal(&["-u", &unit], "is up");
    let first = case.uuid();
    case.systemctl(&["restart", &unit]);
    let second = eventually("another pod", || Some(case.uuid()).filter(|uuid| *uuid != first));
    eventually("the second pod to run", || (case.state(&second) == "running").then_some(()));
    assert!(case.state(&first).starts_with("exited"), "{}", case.state(&first));
}

fn runs_prepared_pods(case: &Case) {
    let stage1 = case.stage1().flag();
    let uuid = case
        .rkt(["prepare", "--quiet", &stage1, case.busybox(), "--exec=/bin/sleep", "--", "1000"])
        .ok()
        .trimmed()
        .to_owned();
    let mut words = case.rkt_words();
    words.extend(["run-prepared".to_owned(), case.net().to_owned(), uuid.clone()]);
    let unit = case.service("prepared", &words, "KillMode=mixed");
    case.systemctl(&["start", &unit]);
    eventually("the pod to run", || (case.state(&uuid) == "running").then_some(()));
    let group = case.property(&unit, "ControlGroup");
    eventually("the app to run", || {
        commands_of(case, &uuid, &group).contains(&"/bin/sleep 1000".to_owned()).then_some(())
    });
    case.systemctl(&["stop", &unit]);
    assert_eq!(case.state(&uuid), "exited");
}

fn gets_a_scope_in_a_session(case: &Case) {
    let mut pod = case.start_sh("echo up; read line </dev/null; exec sleep 4444");
    let uuid = case.uuid();
    let scope = format!(r"machine-rkt\x2d{}.scope", uuid.replace('-', r"\x2d"));
    let group = case.property(&scope, "ControlGroup");
    assert_eq!(group, format!("/machine.slice/{scope}"));
    assert_eq!(case.property(&scope, "Delegate"), "yes");
    eventually("the app to be in the scope", || {
        commands_of(case, &uuid, &group).contains(&"sleep 4444".to_owned()).then_some(())
    });
    if case.stage1() == Stage1::Fly {
        case.systemctl(&["stop", &scope]);
    } else {
        case.host().exec("machinectl").args(["--no-legend", "list"]).ok().prints(&format!("rkt-{uuid}"));
        case.host().exec("machinectl").args(["terminate", &format!("rkt-{uuid}")]).ok();
    }
    eventually("the pod to end", || pod.ended().then_some(()));
    eventually("the scope to go", || {
        (case.property(&scope, "LoadState") == "not-found"
            || case.property(&scope, "ActiveState") == "inactive")
            .then_some(())
    });
    assert_eq!(case.state(&uuid), "exited");
}

#[test]
fn an_app_that_ignores_the_request_is_killed_after_the_grace_time() {
    let case = Case::new(Stage1::Nspawn);
    let unit = case.service_sh(
        "trap '' TERM; echo is up; while :; do sleep 0.1; done",
        "KillMode=mixed\nTimeoutStopSec=30",
    );
    case.systemctl(&["start", &unit]);
    case.journal(&["-u", &unit], "is up");
    let group = case.property(&unit, "ControlGroup");
    let start = Instant::now();
    case.systemctl(&["stop", &unit]);
    assert!(start.elapsed() < Duration::from_secs(20), "it took {:?}", start.elapsed());
    assert!(case.host().cgroup_pids(&group).is_empty());
}

#[test]
fn machinectl_stops_a_pod() {
    let case = Case::new(Stage1::Nspawn);
    let mut pod = case.start_sh("trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done");
    case.host()
        .exec("machinectl")
        .args(["status", "--no-pager", &format!("rkt-{}", case.uuid())])
        .ok()
        .prints("rkt");
    case.host().exec("machinectl").args(["poweroff", &format!("rkt-{}", case.uuid())]).ok();
    eventually("the pod to end", || pod.ended().then_some(()));
}

#[test]
fn limits_of_an_app_need_delegation() {
    let case = Case::new(Stage1::Nspawn);
    let mut words = case.run_words("pod");
    words.extend([case.busybox(), "--exec=/bin/true", "--memory=64Mi"].map(str::to_owned));
    let unit = case.service("pod", &words, "");
    case.systemctl(&["start", "--no-block", &unit]);
    case.journal(&["-u", &unit], "Delegate=yes");
    eventually("the unit to fail", || (case.property(&unit, "ExecMainStatus") == "254").then_some(()));
}

#[test]
fn logs_by_pod_and_app_from_a_session() {
    let case = Case::new(Stage1::Nspawn);
    case.run_sh("echo on the terminal").ok();
    let pod = format!("RKT_POD={}", case.uuid());
    case.journal(&[&pod, "RKT_APP=busybox"], "on the terminal");
    case.journal(&[&pod, "-t", "busybox"], "on the terminal");
}

#[test]
fn refuses_limits_where_there_is_no_systemd() {
    let case = Case::alone(Stage1::Nspawn);
    let mut words = case.run_words("pod");
    words.extend([case.busybox(), "--exec=/bin/true"].map(str::to_owned));
    // Without /run, nothing of systemd is to be found.
    let script = r#"mount -t tmpfs none /run && exec "$@""#;
    let without = |words: &[String]| {
        case.host().exec("unshare").args(["--mount", "sh", "-c", script, "sh"]).args(words).output()
    };
    let output = without(&words);
    assert!(output.code == 0, "what needs no unit works: {output}");
    words.push("--memory=64Mi".to_owned());
    let output = without(&words);
    assert!(output.code == 254 && output.stderr.contains("systemd"), "{output}");
}
