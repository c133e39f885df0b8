//! Pods that have a file: what systemd makes of them, and what goes wrong.

use std::time::{Duration, Instant};

use tests::case::{Case, Stage1, eventually};
use tests::images;
use tests::pod_file::PodFile;

under_both_walls!(
    is_a_unit_like_any_other,
    keys_of_the_pod_and_its_app_have_an_effect,
    reloads,
    credentials_are_the_apps_alone,
    is_ready_when_the_app_says_so,
    is_ready_when_the_probe_succeeds,
    a_frozen_app_fails_the_unit,
    an_unhealthy_app_fails_the_unit,
    stops_in_time,
);

fn is_a_unit_like_any_other(case: &Case) {
    let file = PodFile::sh(
        case,
        "web",
        "TasksMax=77\nStopTimeout=7s",
        "trap 'exit 0' TERM; echo is up; while :; do sleep 0.05; done",
        "",
        "[Unit]\nDescription=A web server\n[Service]\nEnvironment=MARK=1\n[Install]\nWantedBy=graphical.target",
    );
    let unit = file.unit();
    case.systemctl(&["enable", "--now", &unit]);
    assert_eq!(file.property("ActiveState"), "active");
    case.journal(&["-u", &unit, "-t", "app"], "is up");
    for (property, value) in [
        ("Description", "A web server"),
        ("TasksMax", "77"),
        ("UnitFileState", "enabled"),
        ("Environment", "MARK=1"),
        ("WantedBy", "graphical.target"),
        ("Slice", "machine.slice"),
        ("SourcePath", file.path().as_str()),
        ("NeedDaemonReload", "no"),
    ] {
        assert_eq!(file.property(property), value, "{property}");
    }
    let uuid = file.uuid();
    assert_eq!(case.state(&uuid), "running");
    assert!(file.property("StatusText").contains(&uuid), "{}", file.property("StatusText"));
    case.systemctl(&["cat", &unit]).prints("10-rkt-pod.conf");
    case.rkt(["pod", "show", file.name()]).ok().prints("TasksMax=77").prints("example.com/busybox");
    case.run_as("other", [case.busybox(), "--exec=/bin/true"]).ok();
    case.systemctl(&["stop", &unit]);
    assert_eq!(file.property("Result"), "success");
    // It marks its own pod for gc, and leaves the others to whoever started them.
    assert_eq!(
        (case.state(&uuid), case.state(&case.uuid_as("other"))),
        ("exited garbage".into(), "exited".into())
    );
    case.systemctl(&["disable", &unit]);
    assert_eq!(file.property("UnitFileState"), "disabled");

    // What the administrator writes with systemctl counts more; revert takes it back.
    case.systemctl(&["set-property", &unit, "TasksMax=55"]);
    assert_eq!(file.property("TasksMax"), "55");
    case.systemctl(&["revert", &unit]);
    assert_eq!(file.property("TasksMax"), "77");
    case.systemctl(&["mask", &unit]);
    assert_eq!(file.property("LoadState"), "masked");
    case.systemctl(&["unmask", &unit]);
    assert_eq!(file.property("LoadState"), "loaded");

    // A file that changes is told of.
    file.drop_in("10-tasks", "[Pod]\nTasksMax=66\n");
    assert_eq!(file.property("TasksMax"), "66");
    case.host().exec("systemd-analyze").args(["verify", "--man=no", &unit]).ok();
}

#[test]
fn a_service_of_ones_own_is_wired() {
    let case = Case::new(Stage1::Nspawn);
    let file = PodFile::new(&case, "site");
    let service = format!("{}-service", case.name());
    let target = format!("{}.target", case.name());
    case.host().write(&format!("/run/systemd/system/{target}"), "[Unit]\nDescription=Test\n");
    file.write(&format!(
        "[Pod]\nIsolation=nspawn\nInsecureOptions=image\nService={service}\n[App]\nImage={}\nExec=/bin/sleep 1000\n\
         [Socket]\nListenStream=/run/{service}.sock\n[Install]\nWantedBy={target}\n",
        case.busybox()
    ));
    let unit = format!("{service}.service");
    case.know_unit(&unit);
    case.systemctl(&["start", &target]);
    eventually("the unit to be active", || (case.property(&unit, "ActiveState") == "active").then_some(()));
    assert_eq!(case.property(&unit, "UnitFileState"), "generated");
    assert_eq!(case.property(&format!("{service}.socket"), "ActiveState"), "active");
    for unit in [unit.as_str(), &format!("{service}.socket")] {
        let path = format!("/run/systemd/generator/{unit}");
        // Whoever reloads makes all that the generator writes anew.
        let verified = eventually("the unit to be there", || {
            let output = case.host().exec("systemd-analyze").args(["verify", "--man=no", &path]).output();
            (!output.stderr.contains("not found")).then_some(output)
        });
        assert_eq!((verified.code, verified.stderr.as_str()), (0, ""), "{verified}");
    }
    // The template's instance is not a second way to run it.
    case.host().exec("systemctl").args(["start", &file.unit()]).output();
    file.wait_for_failure();
    assert!(
        file.property("StatusText").contains(&format!("is run by {unit}")),
        "{}",
        file.property("StatusText")
    );
}

#[test]
fn what_is_wrong_is_told_by_verify_and_in_the_status() {
    let case = Case::new(Stage1::Nspawn);
    let typo = format!("{}-typo", case.name());
    let unit = format!("rkt-pod@{typo}.service");
    case.know_unit(&unit);
    let started = case.host().exec("systemctl").args(["start", &unit]).output();
    assert_ne!(started.code, 0);
    let status = case.property(&unit, "StatusText");
    assert!(status.contains(&format!("There is no {typo}.pod in /etc/rkt/pods")), "{status}");
    case.host()
        .exec("systemctl")
        .args(["status", "--no-pager", &unit])
        .output()
        .prints(&format!("no {typo}.pod"));

    let file = PodFile::new(&case, "bad");
    file.write("[Pod]\nIsolatoin=fly\n[App]\nImage=example.com/busybox\nExec=/bin/true\nUsr=alice\n");
    let path = file.path();
    let verify = case.rkt(["pod", "verify", &path]).output();
    assert_eq!(verify.code, 1);
    assert_eq!(
        verify.stdout,
        format!(
            "{path}:2:1: error: [Pod] has no key Isolatoin=\n  Isolatoin=fly\n  ^^^^^^^^^\n  did you mean Isolation=?\n\
             {path}:6:1: error: [App] has no key Usr=\n  Usr=alice\n  ^^^\n  did you mean User=?\n"
        )
    );
    let json = case.rkt(["pod", "verify", "--format=json", file.name()]).output();
    let rows: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!((rows[1]["line"].as_u64(), rows[1]["hint"].as_str()), (Some(6), Some("did you mean User=?")));
    assert_ne!(case.host().exec("systemctl").args(["start", &file.unit()]).output().code, 0);
    let status = file.property("StatusText");
    assert!(status.contains(":2:1: [Pod] has no key Isolatoin= (and 1 more)"), "{status}");

    file.write("[App]\nImage=example.com/busybox\nExec=/bin/true\n");
    case.rkt(["pod", "verify", file.name()]).ok();
    case.host().exec("ln").args(["-sf", "/dev/null", &path]).ok();
    file.reload();
    assert_eq!(file.property("LoadState"), "masked");
}

#[test]
fn an_instance_is_a_link_to_its_template() {
    let case = Case::new(Stage1::Fly);
    let template = format!("{}-db@", case.name());
    case.host().write(
        &format!("/etc/rkt/pods/{template}.pod"),
        format!(
            "[Pod]\nIsolation=fly\nInsecureOptions=image\n[App app]\nImage={}\nExec=/bin/sh -c 'echo I am %i of %p; sleep 1000'\n\
             [Unit]\nDescription=Database %i\n",
            case.busybox()
        ),
    );
    let instance = format!("{template}one");
    case.host()
        .exec("ln")
        .args(["-s", &format!("{template}.pod"), &format!("/etc/rkt/pods/{instance}.pod")])
        .ok();
    let unit = format!("rkt-pod@{instance}.service");
    case.know_unit(&unit);
    case.systemctl(&["daemon-reload"]);
    case.systemctl(&["start", &unit]);
    assert_eq!(case.property(&unit, "Description"), "Database one");
    case.journal(&["-u", &unit], &format!("I am one of {}", template.trim_end_matches('@')));
    let other = format!("rkt-pod@{template}two.service");
    let _ = case.host().exec("systemctl").args(["start", &other]).output();
    assert!(case.property(&other, "StatusText").contains(&format!("ln -s /etc/rkt/pods/{template}.pod")));
}

/// One start runs a table: what a key says, how the app asks for it, what it answers.
fn keys_of_the_pod_and_its_app_have_an_effect(case: &Case) {
    let host = case.host();
    let dir = case.tmp("shared");
    host.write(&format!("{dir}/here"), "shared");
    host.write(&case.tmp("pod.env"), "FROM_POD_FILE=1\nOVERRIDDEN=no\n");
    host.write(&case.tmp("app.env"), "FROM_APP_FILE=2\n");
    let nspawn = case.stage1() != Stage1::Fly;
    let mut pod = format!(
        "Volume=data:{dir}\nVolume=all:{dir}\nVolume=none,kind=empty,mode=0700,uid=5\nEnvironment=OF_POD=\"a b\" OVERRIDDEN=no\n\
         EnvironmentFile={}\nEnvironmentFile=-/nonexistent\nPassEnvironment=yes\nAnnotation=example.com/pod=yes\nMount=all:/everywhere\n",
        case.tmp("pod.env")
    );
    pod.push_str(
        "DNS=192.0.2.1 192.0.2.2\nDNSSearch=example.com\nDNSOption=ndots:3\nDNSDomain=example.net\n\
         AddHost=192.0.2.9=other.example\nAddHost=third.example:192.0.2.10\n",
    );
    // The network and the name of the host are fly's.
    if nspawn {
        pod.push_str("Network=none\nHostName=box\nIPC=private\n");
    }
    let app = format!(
        "Args=word 'two words'\nWorkingDirectory=/tmp\nUser=alice\nGroup=staff\nSupplementaryGroups=1003\nEnvironment=OF_APP=3 OVERRIDDEN=yes\n\
         EnvironmentFile={}\nMount=data:/mine\nBind={dir}:/bound:ro\nTmpfs=/scratch:mode=1777\nReadOnly=yes\n\
         Capabilities=CAP_KILL CHOWN\nAddCapability=NET_RAW\nDropCapability=CHOWN\nNoNewPrivileges=yes\nOOMScoreAdjust=123\n\
         Annotation=example.com/app=yes\nLabel=color=blue\nUserAnnotation=note=fine\nStandardError=null\nSeccomp=mode=remove,errno=ENOTTY,mkdirat,mkdir\n\
         Ulimit=nofile=100:200\nUlimit=core=0\n",
        case.tmp("app.env")
    );
    // The words are joined to the script's: $0 and $1.
    let script = "echo args=$0,$1; echo to the bin >&2; echo ready; exec sleep 1000";
    let file = PodFile::sh(case, "keys", &pod, script, &app, "[Service]\nEnvironment=OF_UNIT=4\n");
    file.start();
    case.journal(&["-u", &file.unit(), "-t", "app"], "args=word,two words");
    assert!(!case.journal(&["-u", &file.unit()], "ready").contains("to the bin"));
    let ask = |script: &str| file.enter(&["/bin/sh", "-c", &format!("{script}; true")]).trim().to_owned();
    let mut table = vec![
        ("pwd", "/tmp"),
        ("id -u", "1001"),
        ("id -g", "1002"),
        ("id -G", "1002 1003"),
        ("echo $OF_POD", "a b"),
        ("echo $FROM_POD_FILE $FROM_APP_FILE $OF_APP $OF_UNIT", "1 2 3 4"),
        ("echo $OVERRIDDEN", "yes"),
        ("cat /everywhere/here /mine/here /bound/here", "sharedsharedshared"),
        ("touch /bound/x 2>&1", "touch: /bound/x: Read-only file system"),
        ("touch /etc/x 2>&1", "touch: /etc/x: Read-only file system"),
        ("stat -c %a /scratch", "1777"),
        ("touch /scratch/x && echo yes", "yes"),
        ("ulimit -n; ulimit -Hn; ulimit -c", "100\n200\n0"),
        ("grep NoNewPrivs /proc/self/status | cut -f2", "1"),
        ("grep CapBnd /proc/self/status | cut -f2", "0000000000002020"),
        (
            "mkdir /scratch/d 2>&1",
            "mkdir: can't create directory '/scratch/d': Inappropriate ioctl for device",
        ),
    ];
    table.extend([
        (
            "cat /etc/resolv.conf | grep -v '^#' | tr '\\n' ' '",
            "search example.com nameserver 192.0.2.1 nameserver 192.0.2.2 options ndots:3 domain example.net",
        ),
        ("grep -c -e '192.0.2.9 other.example' -e '192.0.2.10 third.example' /etc/hosts", "2"),
    ]);
    if nspawn {
        table.extend([("hostname", "box"), ("ls /sys/class/net", "lo")]);
    }
    for (question, answer) in table {
        assert_eq!(ask(question), answer, "{question}");
    }
    // Whoever enters does not have the app's.
    let scores = ask("cat /proc/[0-9]*/oom_score_adj");
    assert!(scores.lines().any(|score| score == "123"), "{scores}");
    let manifest = case.rkt(["cat-manifest", &file.uuid()]).ok().stdout;
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let has = |list: &serde_json::Value, name: &str| {
        list.as_array().is_some_and(|all| all.iter().any(|one| one["name"] == name && one["value"] == "yes"))
    };
    assert!(has(&manifest["annotations"], "example.com/pod"), "{manifest}");
    assert!(has(&manifest["apps"][0]["annotations"], "example.com/app"), "{manifest}");
    assert_eq!(manifest["apps"][0]["app"]["userLabels"]["color"], "blue");
    assert_eq!(manifest["apps"][0]["app"]["userAnnotations"]["note"], "fine");
}

fn reloads(case: &Case) {
    let script = "trap 'echo got a signal' HUP; echo up; while :; do sleep 0.05; done";
    let app = "ReloadSignal=HUP\nReloadCommand=/bin/sh -c 'echo told to > /tmp/reloaded'";
    let file = PodFile::sh(case, "reload", "", script, app, "");
    file.start();
    case.journal(&["-u", &file.unit()], "up");
    case.systemctl(&["reload", &file.unit()]);
    case.journal(&["-u", &file.unit()], "got a signal");
    assert_eq!(file.enter(&["cat", "/tmp/reloaded"]), "told to\n");
    assert_eq!(file.property("ActiveState"), "active");
}

#[test]
fn the_wall_is_switched_by_a_drop_in() {
    let case = Case::new(Stage1::Nspawn);
    let dir = case.tmp("shared");
    case.host().write(&format!("{dir}/kept"), "kept");
    let file = PodFile::sh(
        &case,
        "wall",
        &format!("Network=host\nVolume=data:{dir}"),
        "sleep 1000",
        "Mount=data:/data",
        "",
    );
    file.start();
    case.rkt(["pod", "show", file.name()]).ok().prints("nspawn: a Linux container");
    let first = file.uuid();
    case.host().exec("machinectl").args(["--no-legend", "list"]).ok().prints(&format!("rkt-{first}"));
    assert_eq!(file.enter(&["cat", "/data/kept"]), "kept");
    file.drop_in("50-wall", "[Pod]\nIsolation=fly\n");
    case.systemctl(&["restart", &file.unit()]);
    assert_eq!(file.property("ActiveState"), "active");
    case.rkt(["pod", "show", file.name()]).ok().prints("fly: a chroot");
    let second = file.uuid();
    assert_ne!(first, second);
    let machines = case.host().exec("machinectl").args(["--no-legend", "list"]).ok().stdout;
    assert!(!machines.contains(&second) && !machines.contains(&first), "{machines}");
    assert_eq!(file.enter(&["cat", "/data/kept"]), "kept");
}

fn credentials_are_the_apps_alone(case: &Case) {
    const SECRET: &str = "correct-horse-battery-staple";
    let secret = case.tmp("secret");
    case.host().write(&secret, SECRET);
    let script = "echo got $(cat $CREDENTIALS_DIRECTORY/key | wc -c); exec sleep 1000";
    let rest = format!("[Service]\nLoadCredential=key:{secret}\nSetCredential=other:x\n");
    let file =
        PodFile::sh(case, "credentials", "", script, "User=alice\nGroup=staff\nCredentials=key", &rest);
    file.start();
    case.journal(&["-u", &file.unit()], &format!("got {}", SECRET.len()));
    let ask = |script: &str| file.enter(&["/bin/sh", "-c", script]).trim().to_owned();
    assert_eq!(ask("cat $CREDENTIALS_DIRECTORY/key"), SECRET);
    assert_eq!(ask("stat -c %a:%u:%g $CREDENTIALS_DIRECTORY/key"), "400:1001:1002");
    assert_eq!(ask("ls $CREDENTIALS_DIRECTORY"), "key");
    assert_eq!(ask("touch $CREDENTIALS_DIRECTORY/x 2>/dev/null || echo no"), "no");
    // A machine sees the host's through the file server.
    let kind = if case.stage1() == Stage1::Kvm { "virtiofs ro" } else { "ramfs ro" };
    assert_eq!(ask(&format!("grep -c \" $CREDENTIALS_DIRECTORY {kind}\" /proc/mounts")), "1");
    // Nowhere else: not on the disk, in no environment, in no command line.
    case.host().exec("rm").arg(&secret).ok();
    let found = case
        .host()
        .exec("grep")
        .args(["-rlF", "--devices=skip", SECRET, "/var/lib/rkt", "/etc/rkt", "/run/rkt", &case.tmp("")])
        .output();
    assert_eq!(found.stdout, "", "{found}");
    for pid in case.host().cgroup_pids(&file.property("ControlGroup")) {
        for what in ["environ", "cmdline"] {
            let path = case.host().path(format!("/proc/{pid}/{what}"));
            let text = std::fs::read(path).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&text).contains(SECRET), "{what} of {pid}");
        }
    }
}

/// A perl program that sends what its standard input's words say to the notify socket.
const SAY: &str = "use Socket; sub say_it { my $path = $ENV{NOTIFY_SOCKET} or die; $path =~ s/^@/\\0/; \
                   socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; send($s, $_[0], 0, sockaddr_un($path)) or die $!; }";

/// A pod file: the app `app` runs `script`, with `pod` in `[Pod]` and `app` in its own section. The rest follows.
pub(crate) fn perl(case: &Case, pod: &str, script: &str, app: &str, rest: &str) -> String {
    let network = if case.stage1() == Stage1::Kvm { "Network=none\n" } else { "" };
    let script = format!("{SAY} {script}").replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%");
    format!(
        "[Pod]\nIsolation={}\nInsecureOptions=image\n{network}{pod}\n[App app]\nImage={}\nExec=/usr/bin/perl -e \"{script}\"\n{app}\n{rest}\n",
        case.stage1().word(),
        images::PERL_NAME,
    )
}

fn is_ready_when_the_app_says_so(case: &Case) {
    case.host().exec("mkdir").arg(case.tmp("go")).ok();
    let file = PodFile::new(case, "notify");
    let bind = format!("Ready=notify\nBind={}:/go", case.tmp("go"));
    let script = "select(undef, undef, undef, 0.01) until -e '/go/now'; say_it('READY=1'); sleep 1000";
    file.write(&perl(case, "", script, &bind, ""));
    case.systemctl(&["start", "--no-block", &file.unit()]);
    eventually("the pod to run", || (case.state(&file.uuid()) == "running").then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(file.property("ActiveState"), "activating");
    case.host().write(&case.tmp("go/now"), "");
    eventually("the unit to be active", || (file.property("ActiveState") == "active").then_some(()));

    // One that is never ready fails in time, and the status says what was waited for.
    case.host().exec("rm").arg(case.tmp("go/now")).ok();
    case.systemctl(&["stop", &file.unit()]);
    // On a busy machine it may be asked to stop before process 1 of the container listens: then systemd kills it.
    file.drop_in("10-time", "[Pod]\nReadyTimeout=2s\nStopTimeout=2s\n");
    assert_ne!(case.host().exec("systemctl").args(["start", &file.unit()]).output().code, 0);
    file.wait_for_failure();
    assert_eq!(file.property("Result"), "timeout");
    eventually("the reason in the status", || {
        file.property("StatusText")
            .ends_with("was not ready in time, waiting for READY=1 of app app")
            .then_some(())
    });
}

fn is_ready_when_the_probe_succeeds(case: &Case) {
    let script = "sleep 0.7; touch /tmp/ready; sleep 1000";
    let app = "ReadyCommand=/bin/test -e /tmp/ready\nReadyInterval=100ms";
    let file = PodFile::sh(case, "probe", "ReadyTimeout=20s", script, app, "");
    file.start();
    assert!(file.property("StatusText").contains("ready after"), "{}", file.property("StatusText"));
    assert_eq!(file.enter(&["ls", "/tmp/ready"]), "/tmp/ready\n");
    case.systemctl(&["stop", &file.unit()]);
    file.drop_in("never", "[Pod]\nReadyTimeout=2s\nStopTimeout=2s\n[App]\nReadyCommand=/bin/false\n");
    assert_ne!(case.host().exec("systemctl").args(["start", &file.unit()]).output().code, 0);
    file.wait_for_failure();
    eventually("the reason in the status", || {
        let status = file.property("StatusText");
        status
            .ends_with("was not ready in time, waiting for ReadyCommand=/bin/false of app app")
            .then_some(())
    });
}

fn a_frozen_app_fails_the_unit(case: &Case) {
    let file = PodFile::new(case, "frozen");
    // Alive for a second, then not.
    let script = "say_it('READY=1'); for (1..10) { say_it('WATCHDOG=1'); select(undef, undef, undef, 0.1) } print qq(frozen\\n); sleep 1000";
    file.write(&perl(case, "Watchdog=1s\nStopTimeout=2s", script, "Ready=notify", ""));
    file.start();
    file.wait_for_failure();
    let result = file.property("Result");
    match case.stage1() {
        Stage1::Fly => assert_eq!(result, "watchdog"),
        _ => assert_ne!(result, "success"),
    }
}

fn an_unhealthy_app_fails_the_unit(case: &Case) {
    let app = "HealthCommand=/bin/test ! -e /tmp/sick\nHealthInterval=200ms\nHealthRetries=2\nHealthTimeout=5s\n\
               HealthStartPeriod=0\nOnUnhealthy=kill";
    let file = PodFile::sh(case, "health", "", "sleep 1000", app, "");
    file.start();
    let timer = format!("rkt-pod-health@{}.timer", file.name());
    let check = format!("rkt-pod-health@{}.service", file.name());
    eventually("a check", || (case.property(&check, "ExecMainExitTimestampMonotonic") != "0").then_some(()));
    assert_eq!(case.property(&timer, "ActiveState"), "active");
    assert_eq!(file.property("ActiveState"), "active");
    let _ = file.enter(&["touch", "/tmp/sick"]);
    file.wait_for_failure();
    assert_eq!(file.property("Result"), "signal");
    case.journal(&["-u", &check], "app app is not healthy (2 of 2 times)");
    eventually("the timer to end", || (case.property(&timer, "ActiveState") == "inactive").then_some(()));
}

fn stops_in_time(case: &Case) {
    let script = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    let file = PodFile::sh(case, "stop", "StopTimeout=1s", script, "", "");
    file.start();
    case.journal(&["-u", &file.unit()], "up");
    let start = Instant::now();
    let _ = case.host().exec("systemctl").args(["stop", &file.unit()]).output();
    let took = start.elapsed();
    assert!(took > Duration::from_millis(800) && took < Duration::from_secs(5), "{took:?}");

    // One that ends by another signal.
    file.drop_in("signal", "[Pod]\nStopTimeout=30s\n[App]\nStopSignal=USR1\nExec=/bin/sh -c \"trap 'echo told; exit 0' USR1; echo up2; while :; do sleep 0.05; done\"\n");
    file.start();
    case.journal(&["-u", &file.unit()], "up2");
    let start = Instant::now();
    case.systemctl(&["stop", &file.unit()]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    case.journal(&["-u", &file.unit()], "told");
    assert_eq!(file.property("Result"), "success");
}

#[test]
fn an_app_starts_again_in_its_pod() {
    let case = Case::new(Stage1::Nspawn);
    let script = "[ -e /tmp/before ] && echo again && exec sleep 1000; touch /tmp/before; exit 1";
    let file = PodFile::sh(&case, "restart", "", script, "Restart=on-failure", "");
    file.start();
    case.journal(&["-u", &file.unit()], "again");
    assert_eq!(file.property("NRestarts"), "0");
}

#[test]
fn pinned_images_stay() {
    let case = Case::alone(Stage1::Fly);
    let fetch = |name: &str| {
        let aci = images::busybox(&format!("example.com/{name}")).app(&["/bin/true"], &serde_json::json!({}));
        case.rkt(["fetch", &case.image(&format!("{name}.aci"), aci.build())]).ok().trimmed().to_owned()
    };
    let (pinned, other) = (fetch("pinned"), fetch("other"));
    let file = PodFile::new(&case, "pin");
    file.write(&format!(
        "[Pod]\nIsolation=fly\nInsecureOptions=image\n[App]\nImage=example.com/other\nImageID={pinned}\nExec=/bin/sleep 1000\n"
    ));
    case.rkt(["pod", "show", file.name()]).ok().prints(&format!("in the store: {pinned}"));
    let removed = case.rkt(["image", "gc", "--grace-period=0s"]).ok();
    assert!(removed.stdout.contains(&other) && !removed.stdout.contains(&pinned), "{removed}");
    case.host().exec("rm").arg(file.path()).ok();
    case.rkt(["image", "gc", "--grace-period=0s"]).ok().prints(&pinned);
    // Another image than the pinned one does not run.
    let other = fetch("other");
    case.host().write(
        &file.path(),
        format!("[Pod]\nIsolation=fly\nInsecureOptions=image\n[App]\nImage={other}\nImageID={pinned}\nExec=/bin/true\n"),
    );
    let run = case.rkt(["pod", "run", file.name()]).output();
    assert_eq!(run.code, 254);
    assert!(run.stderr.contains(&format!("but the pod is pinned to {pinned}")), "{run}");
}

#[test]
fn an_imported_unit_runs() {
    let case = Case::new(Stage1::Fly);
    let unit = case.tmp("old.service");
    case.host().write(
        &unit,
        format!(
            "[Service]\nExecStart=/usr/bin/rkt --insecure-options=image run --stage1-from-dir=stage1-fly.aci --net=host --debug {} \
             --exec=/bin/sh --environment=WORD='of the past' -- -c 'echo a $WORD; sleep 1000'\nKillMode=mixed\n",
            case.busybox()
        ),
    );
    let imported = case.rkt(["pod", "import", &unit]).ok();
    assert!(imported.stderr.contains("--debug is not carried over"), "{imported}");
    let file = PodFile::new(&case, "imported");
    file.write(&imported.stdout);
    file.start();
    case.journal(&["-u", &file.unit()], "a of the past");
}
