//! What an app may do, and that no process of a pod escapes it.

use std::collections::BTreeMap;

use tests::case::{Case, Stage1, app_lines, eventually};
use tests::images;

under_supervised_walls!(
    dangerous_system_calls_are_refused,
    system_calls_of_this_decade_work_or_are_unknown,
    seccomp_flags_replace_the_filter,
    capability_flags_replace_the_set,
    paths_of_the_kernel_are_hidden_or_read_only,
    sees_its_own_processes_only,
);

/// The default capability set: the fourteen of the appc executor.
const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;

/// `Name → value` of `/proc/PID/status` of every process in the pod's container, with its command line.
fn statuses(case: &Case, group: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let host = case.host();
    let read = |pid: u32| {
        let status = std::fs::read_to_string(host.path(format!("/proc/{pid}/status"))).ok()?;
        let command = std::fs::read(host.path(format!("/proc/{pid}/cmdline"))).ok()?;
        let pairs = status.lines().filter_map(|line| line.split_once(":\t"));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        Some((String::from_utf8_lossy(&command).replace('\0', " "), pairs))
    };
    host.cgroup_pids(group).into_iter().filter_map(read).collect()
}

fn capabilities(status: &BTreeMap<String, String>, set: &str) -> u64 {
    u64::from_str_radix(&status[set], 16).expect("a hexadecimal number")
}

#[test]
fn every_process_of_the_pod_is_filtered() {
    let case = Case::new(Stage1::Nspawn);
    let image = case.busybox();
    let mut words = case.run_words("pod");
    words.extend(
        [
            image,
            "--name=one",
            "--exec=/bin/sh",
            "--",
            "-c",
            "sleep 1000 & sleep 1000",
            "---",
            image,
            "--name=two",
            "--user=1001",
            "--exec=/bin/sleep",
            "--",
            "1000",
        ]
        .map(str::to_owned),
    );
    let unit = case.service("pod", &words, "Delegate=yes");
    case.systemctl(&["start", &unit]);
    let uuid = case.uuid();
    let group = case.property(&unit, "ControlGroup");
    eventually("three processes of apps", || {
        (statuses(&case, &group).iter().filter(|(command, _)| command.contains("sleep")).count() >= 3)
            .then_some(())
    });
    let entered = case.rkt(["enter", "--app=one", &uuid, "/bin/sleep", "777"]).spawn();
    let payload = eventually("the entered command", || {
        let all = statuses(&case, &group);
        all.iter().any(|(command, _)| command.trim() == "/bin/sleep 777").then_some(all)
    });
    let nspawn = |command: &str| command.contains("systemd-nspawn");
    let inside: Vec<_> = payload.iter().filter(|(command, _)| !nspawn(command)).collect();
    assert!(inside.len() >= 5, "{inside:?}");
    for (command, status) in &inside {
        assert_eq!(status["Seccomp"], "2", "{command} runs unfiltered");
        if command.contains("sleep") {
            assert_eq!(capabilities(status, "CapBnd"), DEFAULT_CAPABILITIES, "{command}");
            assert_eq!(capabilities(status, "CapInh"), 0, "{command}");
            assert_eq!(capabilities(status, "CapAmb"), 0, "{command}");
        }
        if status["Uid"].starts_with("1001") {
            assert_eq!(status["NoNewPrivs"], "1", "{command}");
            assert_eq!(capabilities(status, "CapEff"), 0, "{command}");
        }
    }
    drop(entered);
}

/// Runs perl in a pod and returns what its script printed.
fn perl(case: &Case, flags: &[&str], script: &str) -> Vec<String> {
    let image = [images::PERL_NAME, "--exec=/usr/bin/perl"];
    let output = case.run([&image, flags, &["--", "-e", script]].concat()).output();
    app_lines(&output.stdout).into_iter().map(str::to_owned).collect()
}

/// A perl script that makes each system call with harmless arguments and prints `name=errno`.
fn probe(calls: &[(&str, u32)]) -> String {
    let tries = calls.iter().map(|(name, number)| {
        format!(r#"$! = 0; syscall({number}, 0, 0, 0, 0, 0); print "{name}=", $!+0, "\n";"#)
    });
    format!("$| = 1; {}", tries.collect::<String>())
}

fn dangerous_system_calls_are_refused(case: &Case) {
    let calls = [
        ("mount", 165),
        ("reboot", 169),
        ("init_module", 175),
        ("kexec_load", 246),
        ("keyctl", 250),
        ("bpf", 321),
        ("userfaultfd", 323),
        ("setns", 308),
        ("unshare", 272),
        ("ptrace", 101),
    ];
    for (name, number) in calls {
        // A refused call fails, or it kills the process before it can print.
        let lines = perl(case, &[], &probe(&[(name, number)]));
        let answer = lines.iter().find(|line| line.starts_with(name));
        assert!(answer.is_none_or(|line| line.ends_with("=1") || line.ends_with("=38")), "{name}: {lines:?}");
    }
}

fn system_calls_of_this_decade_work_or_are_unknown(case: &Case) {
    // Programs fall back on ENOSYS only: EPERM or a signal breaks them.
    let calls = [
        ("statx", 332),
        ("rseq", 334),
        ("clone3", 435),
        ("close_range", 436),
        ("openat2", 437),
        ("faccessat2", 439),
        ("pidfd_open", 434),
        ("future", 999),
    ];
    let lines = perl(case, &[], &probe(&calls));
    for (name, _) in calls {
        let answer = lines.iter().find(|line| line.starts_with(&format!("{name}=")));
        assert!(answer.is_some_and(|line| !line.ends_with("=1")), "{name}: {lines:?}");
    }
}

fn seccomp_flags_replace_the_filter(case: &Case) {
    let script = r#"mkdir("/tmp/x") or print "mkdir: ", $!+0, "\n"; print "done\n""#;
    let lines = perl(case, &["--seccomp=mode=remove,errno=EACCES,mkdir"], script);
    assert!(lines.iter().any(|line| line == "mkdir: 13"), "{lines:?}");
    let lines = perl(case, &["--seccomp=mode=retain,errno=EPERM,@appc.io/all"], script);
    assert!(
        lines.iter().any(|line| line == "done") && !lines.iter().any(|line| line.starts_with("mkdir")),
        "{lines:?}"
    );
    case.run([images::PERL_NAME, "--exec=/bin/true", "--seccomp=mode=maybe,mkdir"]).fails(254).says("mode");
}

/// The filter would kill without a word; the supervisor gives the call its name.
#[test]
fn a_killed_app_leaves_the_name_of_the_call() {
    const SIGSYS: i32 = 31;
    let case = Case::new(Stage1::Nspawn);
    let filter = "--seccomp=mode=remove,mkdir";
    let run = |script: &str| {
        case.run([images::PERL_NAME, filter, "--exec=/usr/bin/perl", "--", "-e", script]).output()
    };
    let named =
        "(perl) killed by SIGSYS: its seccomp filter does not allow the system call mkdir (number 83)";
    run(r#"$| = 1; print "before\n"; mkdir "/directory"; print "after\n""#).code(128 + SIGSYS).says(named);
    case.journal(&[&format!("RKT_POD={}", case.uuid())], named);
    // Nobody gets away with a handler.
    run(r#"$SIG{SYS} = sub {}; mkdir "/directory"; mkdir "/directory"; exit 0"#)
        .code(128 + SIGSYS)
        .says(named);
    // A child dies alone, and its parent sees why.
    let child = r#"$| = 1; if (!fork) { mkdir "/directory"; exit 0 } wait; print "child: ", $? & 127, "\n""#;
    let output = run(child).success().says(named);
    assert!(app_lines(&output.stdout).contains(&"child: 31"), "{output}");
}

/// What somebody enters with is under the same filter, and its end is told in the same way.
#[test]
fn an_entered_program_is_named_too() {
    let case = Case::new(Stage1::Nspawn);
    let words = [images::PERL_NAME, "--seccomp=mode=remove,mkdir", "--exec=/bin/sh", "--"];
    let script = ["-c", "echo up; sleep 1000"];
    let mut pod = case.run(words.into_iter().chain(script)).spawn();
    pod.wait_for_stdout("up");
    case.rkt(["enter", &case.uuid(), "/bin/mkdir", "/directory"]).fails(128 + 31);
    case.journal(&[&format!("RKT_POD={}", case.uuid())], "(mkdir) killed by SIGSYS");
    // The app goes on.
    case.rkt(["enter", &case.uuid(), "/bin/true"]).ok();
}

fn capability_flags_replace_the_set(case: &Case) {
    let bounding = |flags: &[&'static str]| {
        let words = [case.busybox(), "--exec=/bin/grep"].into_iter().chain(flags.iter().copied()).chain([
            "--",
            "CapBnd",
            "/proc/self/status",
        ]);
        let output = case.run(words).ok();
        let line = app_lines(&output.stdout)
            .into_iter()
            .find_map(|line| line.strip_prefix("CapBnd:\t"))
            .map(str::to_owned);
        u64::from_str_radix(&line.unwrap_or_else(|| panic!("{output}")), 16).expect("a hexadecimal number")
    };
    assert_eq!(bounding(&[]), DEFAULT_CAPABILITIES);
    assert_eq!(bounding(&["--caps-retain=CAP_NET_BIND_SERVICE,CAP_SYS_TIME"]), 1 << 10 | 1 << 25);
    assert_eq!(bounding(&["--caps-remove=CAP_CHOWN"]), DEFAULT_CAPABILITIES & !1);
    assert_eq!(bounding(&["--cap-remove=CAP_CHOWN"]), DEFAULT_CAPABILITIES & !1);
    let both = ["--caps-retain=CAP_CHOWN", "--caps-remove=CAP_CHOWN"];
    case.run([case.busybox(), "--exec=/bin/true", both[0], both[1]]).fails(254).says("caps-retain");
}

fn paths_of_the_kernel_are_hidden_or_read_only(case: &Case) {
    let script = "for f in /proc/kcore /proc/kallsyms /proc/sched_debug; do test -s $f && head -c1 $f | grep -q . && echo readable $f; done; \
                  for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/vm/panic_on_oom; do (echo x >$f) 2>/dev/null && echo writable $f; done; \
                  for d in /sys/firmware /sys/module; do test -n \"$(ls -A $d 2>/dev/null)\" && echo visible $d; done; \
                  mkdir /sys/fs/cgroup/x 2>/dev/null && echo made a cgroup; echo done";
    let output = case.run_sh(script).ok();
    let lines: Vec<_> = app_lines(&output.stdout).into_iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, ["done"], "{output}");
}

fn sees_its_own_processes_only(case: &Case) {
    let output = case.run_sh("cat /proc/[0-9]*/comm; ls /dev").ok();
    for foreign in ["systemd-journal", "dbus-daemon", "systemd-nspawn", "kmsg", "fuse", "kvm"] {
        assert!(!app_lines(&output.stdout).contains(&foreign), "{foreign} is there: {output}");
    }
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        assert!(app_lines(&output.stdout).contains(&device), "no {device}: {output}");
    }
}

under_both_walls!(inherits_no_handle);

/// File descriptors of rkt would be handles on the host's directories. fly's lock is on a file of the pod directory.
fn inherits_no_handle(case: &Case) {
    // The shell waits, and has no descriptors of its own meanwhile.
    let output = case.run_sh("ls -l /proc/$$/fd; true").ok();
    let lines = app_lines(&output.stdout);
    let handles: Vec<_> = lines.iter().filter_map(|line| line.split_once(" -> ")).collect();
    assert!(handles.len() >= 3, "{output}");
    for (name, target) in handles {
        let number = name.rsplit(' ').next().unwrap_or_default();
        let allowed = matches!(number, "0" | "1" | "2") || target.ends_with("/run.lck");
        assert!(allowed, "{name} -> {target}: {output}");
    }
}

/// Kernel parameters: the pod's own are set, and the host's are none of its business.
#[test]
fn kernel_parameters_end_at_the_wall() {
    let case = Case::new(Stage1::Nspawn);
    let id = case.rkt(["fetch", "--full", images::BUSYBOX_FILE]).ok().trimmed().to_owned();
    let pod = |name: &str, value: &str, flags: &[&str]| {
        let manifest = serde_json::json!({
            "acKind": "PodManifest",
            "acVersion": "0.8.11",
            "apps": [{
                "name": "parameters",
                "image": {"id": id},
                "app": {
                    "exec": ["/bin/sh", "-c", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; nc -l -p 81 & sleep 0.2; kill $! && echo listened"],
                    "user": "alice",
                    "group": "staff",
                },
            }],
            "isolators": [{"name": "os/unix/sysctl", "value": {name: value}}],
        });
        let file = case.tmp(&format!("{name}.json"));
        case.host().write(&file, manifest.to_string());
        let file = format!("--pod-manifest={file}");
        case.rkt([&["run", "--stage1-from-dir=stage1-nspawn.aci", &file], flags].concat()).output()
    };
    // alice may listen below 1024 where the pod says so, which the host does not notice.
    let before = case.host().read("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    for flags in [&["--net=none"][..], &["--net=none", "--private-users"], &["--private-users"]] {
        let output = pod("net.ipv4.ip_unprivileged_port_start", "80", flags);
        let lines: Vec<_> = app_lines(&output.stdout).into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, ["80", "listened"], "{flags:?}: {output}");
    }
    assert_eq!(case.host().read("/proc/sys/net/ipv4/ip_unprivileged_port_start"), before);
    pod("net.ipv4.ip_unprivileged_port_start", "80", &["--net=host"]).code(254).says("the host's network");
    pod("kernel.pid_max", "4194304", &["--net=none"]).code(254).says("belongs to the whole host");
    pod("net.ipv4.no_such_parameter", "1", &["--net=none"]).says("Cannot set the kernel parameter");
}
