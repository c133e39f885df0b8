//! What other runtimes were broken by, tried on this one: `docs/CVE-LEDGER.md` says what each did and names its test here.

use serde_json::json;
use tests::case::{Case, Stage1, app_lines, eventually};
use tests::host::Running;
use tests::images;

/// Starts a pod of the image `path` whose app prints `up`.
#[track_caller]
fn start(case: &Case, words: &[&str]) -> Running {
    let mut pod = case.run(words.iter().copied()).spawn();
    pod.wait_for_stdout("up");
    pod
}

/// Runs perl in the running pod through `rkt enter`: what it printed.
#[track_caller]
fn enter_perl(case: &Case, script: &str) -> Vec<String> {
    let output = case.rkt(["enter", &case.uuid(), "/usr/bin/perl", "-e", script]).ok();
    output.stdout.lines().map(str::to_owned).collect()
}

/// A pod with perl that waits.
fn waiting_perl(case: &Case, flags: &[&str]) -> Running {
    let script = ["--exec=/bin/sh", "--", "-c", "echo up; while true; do sleep 1000; done"];
    start(case, &[&[images::PERL_NAME], flags, &script].concat())
}

/// The app is the attacker, and the administrator enters it. With all the capabilities of root on the host, the entered process
/// made the node of the host's disk and wrote to it.
#[test]
fn what_enters_cannot_reach_the_disk_of_the_host() {
    let case = Case::new(Stage1::Nspawn);
    let _pod = waiting_perl(&case, &[]);
    // mknod itself is allowed by the fourteen default capabilities; opening the node must not be.
    let lines = enter_perl(
        &case,
        r#"$| = 1; for (qw(/tmp/disk /dev/disk /dev/shm/disk)) { my $at = $_;
             syscall(133, $at, 0060644, makedev()); open(my $disk, "+<", $at) and print "OPEN $at\n"; print "tried\n" }
           sub makedev { 7 << 8 }
           for my $call ([165, "mount"], [169, "reboot"], [308, "setns"], [101, "ptrace"]) {
             $! = 0; my $done = syscall($call->[0], 16, 1, 0, 0, 0); print "DONE $call->[1]\n" if $done == 0 }
           open(my $memory, "<", "/proc/kcore") and read($memory, my $byte, 1) and print "KCORE\n";
           open(my $sysrq, ">", "/proc/sysrq-trigger") and print "SYSRQ\n";
           print "end\n""#,
    );
    assert_eq!(lines, ["tried", "tried", "tried", "end"]);
}

/// Without a filter, the entered process had every system call of the kernel to attack it with.
#[test]
fn what_enters_has_the_filter_of_the_app() {
    let case = Case::new(Stage1::Nspawn);
    let _pod = waiting_perl(&case, &["--seccomp", "mode=remove,errno=ENOTTY,mkdir"]);
    let lines = enter_perl(
        &case,
        r#"$! = 0; mkdir("/tmp/made"); print "mkdir ", $!+0, "\n";
           for my $call (250, 323, 272, 304, 298) { $! = 0; syscall($call, 0, 0, 0, 0, 0); print $call, " ", $!+0, "\n" }"#,
    );
    assert_eq!(lines[0], "mkdir 25");
    // keyctl, open_by_handle_at and perf_event_open are denied to every process of every pod.
    for denied in ["250 1", "304 1", "298 1"] {
        assert!(lines.iter().any(|line| line == denied), "{denied}: {lines:?}");
    }
}

/// Outside of the pod's control group, no limit applied to what entered, and the end of the pod was not its end.
#[test]
fn what_enters_lives_and_dies_in_the_group_of_the_app() {
    let case = Case::new(Stage1::Nspawn);
    let mut words = case.run_words("pod");
    words.extend([images::PERL_NAME, "--name=app", "--exec=/bin/sleep", "--", "1000"].map(str::to_owned));
    let unit = case.service("pod", &words, "Delegate=yes");
    case.systemctl(&["start", &unit]);
    let uuid = case.uuid();
    case.rkt(["status", "--wait-ready=30s", &uuid]).ok();
    // It does what it can to get away: a session of its own, twice forked, deaf to signals; and the root of the tree.
    let flight = r#"$SIG{$_} = "IGNORE" for qw(TERM HUP INT); exit if fork; syscall(112); exit if fork;
                    for (glob("/sys/fs/cgroup/cgroup.procs"), "/sys/fs/cgroup/../cgroup.procs") { open(my $f, ">", $_) and syswrite($f, $$) and print "MOVED\n" }
                    exec "sleep", "4321""#;
    let output = case.rkt(["enter", &uuid, "/usr/bin/perl", "-e", flight]).output();
    assert!(!output.stdout.contains("MOVED"), "{output}");
    let group = format!(
        "{}/pod-{uuid}/payload/app-app",
        case.property(&unit, "ControlGroup").trim_start_matches('/')
    );
    let fled = || {
        let host = case.host();
        let command =
            |pid: &u32| std::fs::read(host.path(format!("/proc/{pid}/cmdline"))).unwrap_or_default();
        host.cgroup_pids(&group).into_iter().find(|pid| command(pid) == b"sleep\x004321\x00")
    };
    let pid = eventually("the process that fled", fled);
    case.rkt(["stop", "--force", &uuid]).ok();
    let process = case.host().path(format!("/proc/{pid}"));
    eventually("its end", || Some(()).filter(|()| !process.exists()));
}

/// `#!/proc/self/exe` made the runtime execute itself inside of the container, which then opened the runtime's own program through
/// `/proc/PID/exe` and wrote to it.
#[test]
fn the_programs_of_the_host_cannot_be_written_through_proc() {
    // What other tests store is nobody's fault.
    let case = Case::alone(Stage1::Nspawn);
    let programs = &format!(
        "find /usr/bin/rkt /usr/bin/systemd-nspawn /usr/lib/rkt {} -type f \\( -perm -100 -o -name '*.aci' \\) \
         ! -path '*/pods/*' | sort | xargs sha256sum",
        case.data()
    );
    // Every process that is not an app's own is tried, as often as it can be, to be written to.
    let hunter = "echo up; while true; do for p in /proc/[0-9]*; do exe=$(readlink $p/exe) || { (: >>$p/exe) 2>/dev/null && echo \
                  WROTE $p; continue; }; case $exe in /bin/busybox|/usr/bin/perl) ;; *) (: >>$p/exe) 2>/dev/null && echo WROTE $exe; \
                  echo SAW $exe;; esac; done; done";
    let image = images::perl("example.com/trap")
        .file("rootfs/bin/trap", 0o755, "#!/proc/self/exe\n")
        .symlink("rootfs/bin/link", "/proc/self/exe")
        .symlink("rootfs/bin/one", "/proc/1/exe")
        .app(&["/bin/sh", "-c", hunter], &json!({}));
    let path = case.image("trap.aci", image.build());
    // The programs of the stage1 are there from the first start on.
    case.run([&*path, "--exec=/bin/true"]).ok();
    let before = case.host().sh(programs).success().stdout;
    assert!(before.contains("/usr/bin/rkt") && before.contains("supervisor"), "{before}");
    let pod = start(&case, &["example.com/trap"]);
    let uuid = case.uuid();
    for command in
        ["/bin/trap", "/bin/link", "/proc/self/exe", "/bin/one", "/proc/1/exe", "/bin/true"].repeat(3)
    {
        let output = case.rkt(["enter", &uuid, command]).output();
        let worked = output.code == 0;
        assert_eq!(worked, command == "/bin/true", "{output}");
    }
    let seen = pod.stdout();
    assert!(!seen.contains("WROTE"), "{seen}");
    assert_eq!(case.host().sh(programs).success().stdout, before);
}

under_both_walls!(no_handle_of_the_host_is_left_open);

/// A working directory of `/proc/self/fd/7` was a directory of the host that the runtime had left open.
fn no_handle_of_the_host_is_left_open(case: &Case) {
    let marker =
        "test ! -e etc/rkt-test-host && test ! -e ../../../../../../etc/rkt-test-host || echo ESCAPED";
    for number in 3..24 {
        let directory = format!("--working-dir=/proc/self/fd/{number}");
        let output = case
            .run_as(
                &format!("pod-{number}"),
                [case.busybox(), &directory, "--exec=/bin/sh", "--", "-c", marker],
            )
            .output();
        assert!(output.code != 0 && !output.stdout.contains("ESCAPED"), "{output}");
    }
    // The image's own links, and what enters.
    let mut image = images::busybox("example.com/links");
    for number in 3..24 {
        image = image.symlink(&format!("rootfs/home/{number}"), &format!("/proc/self/fd/{number}"));
    }
    let path =
        case.image("links.aci", image.app(&["/bin/sh", "-c", "echo up; sleep 1000"], &json!({})).build());
    for number in [3, 4, 7, 8, 9] {
        let words = [
            path.clone(),
            format!("--working-dir=/home/{number}"),
            "--exec=/bin/sh".into(),
            "--".into(),
            "-c".into(),
            marker.into(),
        ];
        let output = case.run_as(&format!("link-{number}"), words).output();
        assert!(output.code != 0 && !output.stdout.contains("ESCAPED"), "{output}");
    }
    let _pod = start(case, &[&path]);
    let script = "for fd in /proc/$$/fd/*; do test -d $fd/ && echo DIRECTORY $fd; test -e $fd/etc/rkt-test-host && echo ESCAPED; done; \
                  ls /proc/$$/fd; true";
    let output = case.rkt(["enter", &case.uuid(), "/bin/sh", "-c", script]).ok();
    let handles: Vec<&str> = output.stdout.split_whitespace().collect();
    assert!(!output.stdout.contains("DIRECTORY") && !output.stdout.contains("ESCAPED"), "{output}");
    assert!(handles.iter().all(|number| number.parse::<u32>().is_ok_and(|number| number < 3)), "{output}");
}

/// A program of the host that looks up a user in a container loaded the container's libraries.
#[test]
fn images_bring_no_library_into_programs_of_the_host() {
    let case = Case::new(Stage1::Nspawn);
    let library = "\x7fELF is what this is not, and whoever loads it ends";
    let mut image = images::busybox("example.com/nss")
        .file("rootfs/etc/nsswitch.conf", 0o644, "passwd: evil files\ngroup: evil files\n")
        .file("rootfs/etc/ld.so.preload", 0o644, "/lib/libnss_evil.so.2\n")
        .dir("rootfs/lib", 0o755);
    for name in ["libnss_evil.so.2", "libnss_files.so.2", "libc.so.6"] {
        image = image.file(&format!("rootfs/lib/{name}"), 0o755, library);
    }
    let path =
        case.image("nss.aci", image.app(&["/bin/id"], &json!({"user": "alice", "group": "staff"})).build());
    let output = case.run([path.as_str()]).ok();
    assert!(
        app_lines(&output.stdout).iter().any(|line| line.starts_with("uid=1001(alice) gid=1002(staff)")),
        "{output}"
    );
    // None of them can load anything: there is no loader in them.
    let interpreters = "for f in /usr/bin/rkt $(find /var/lib/rkt -path '*/pods/*' -prune -o -name supervisor -print -o -name init -print); do \
                        test -f $f && head -c 4096 $f | grep -c 'ld-linux' ; done | sort -u";
    assert_eq!(case.host().sh(interpreters).success().trimmed(), "0");
}

/// An image that has a volume at `/proc` put its own files in the place of what the runtime wrote its restrictions to.
#[test]
fn an_image_with_its_own_proc_is_confined_all_the_same() {
    let case = Case::new(Stage1::Nspawn);
    let mut image = images::perl("example.com/proc").dir("rootfs/proc", 0o755).dir("rootfs/proc/self", 0o755);
    for file in ["oom_score_adj", "attr-exec", "uid_map", "setgroups"] {
        image = image.file(&format!("rootfs/proc/self/{file}"), 0o666, "");
    }
    let app = json!({"mountPoints": [{"name": "proc", "path": "/proc"}]});
    let script = r#"$| = 1; print "up\n"; for my $call (250, 272, 304) { $! = 0; syscall($call, 0, 0, 0, 0, 0); print "$call ", $!+0, "\n" }
                    $! = 0; my ($what, $where) = ("tmpfs", "/tmp"); syscall(165, $what, $where, $what, 0, 0); print "mount ", $!+0, "\n"; sleep 1000"#;
    let image = image.app(&["/usr/bin/perl", "-e", script], &app);
    let path = case.image("proc.aci", image.build());
    let mut pod = case.run([path.as_str(), "--name=app", "--oom-score-adj=123"]).spawn();
    pod.wait_for_stdout("mount ");
    let output = pod.stdout();
    for denied in ["250 1", "272 1", "304 1", "mount 1"] {
        assert!(app_lines(&output).contains(&denied), "{denied}: {output}");
    }
    // The real one was written.
    let scores = "for p in $(pgrep -x perl); do cat /proc/$p/oom_score_adj; done";
    assert!(case.host().sh(scores).stdout.lines().any(|score| score == "123"));
}

/// With the host's network, a container could connect to the runtime's abstract sockets and give it orders.
#[test]
fn no_socket_of_ours_is_in_reach_of_a_pod() {
    let case = Case::new(Stage1::Nspawn);
    let _pod = waiting_perl(&case, &["--user=0"]);
    let uuid = case.uuid();
    let lines = enter_perl(
        &case,
        r#"use strict; my %seen; open(my $list, "<", "/proc/net/unix") or die; while (<$list>) { my $name = (split)[7] // next;
             next if $seen{$name}++; next unless $name =~ /rkt|supervisor|control|machine/; (my $path = $name) =~ s/^@/\0/;
             socket(my $socket, 1, 1, 0) or next; my $done = connect($socket, pack("S a*", 1, $path)) ? "CONNECTED" : "refused";
             print "$done $name\n" } print "end\n""#,
    );
    assert!(lines.last().is_some_and(|line| line == "end"), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("CONNECTED")), "{lines:?}");
    // It is a file, in a directory that is not in the pod, and for root alone.
    let stat = format!("stat -c %F:%a:%u /var/lib/rkt/pods/run/{uuid}/control.sock");
    assert_eq!(case.host().sh(&stat).success().trimmed(), "socket:700:0");
}

/// Two pods share a directory. While the second one starts, the first one swaps a directory, in which that has a mount point, for a link to the
/// root.
#[test]
fn a_mount_point_that_is_swapped_for_a_link_leads_nowhere_outside() {
    let case = Case::new(Stage1::Nspawn);
    let shared = case.tmp("shared");
    let payload = case.tmp("payload");
    case.host().sh(&format!("mkdir -p {shared}/a/etc {payload}; echo mine >{payload}/planted")).success();
    let volume = format!("--volume=shared,kind=host,source={shared}");
    let image = images::PERL_NAME;
    let attacker = r#"$| = 1; print "up\n"; symlink("/", "/shared/link"); while (1) { rename("/shared/a", "/shared/old"); rename("/shared/link", "/shared/a");
                      rename("/shared/a", "/shared/link"); rename("/shared/old", "/shared/a") }"#;
    let words = [
        &volume,
        "--mount=volume=shared,target=/shared",
        image,
        "--exec=/usr/bin/perl",
        "--",
        "-e",
        attacker,
    ];
    let mut first = case.run_as("attacker", words).spawn();
    first.wait_for_stdout("up");
    let planted = format!("--volume=planted,kind=host,source={payload}");
    let before = case.host().sh("ls /etc; cat /proc/self/mountinfo | wc -l").success().stdout;
    let mut started = 0;
    for number in 0..15 {
        // What the second pod sees of the root outside would be in /shared/a, or its own volume would be gone to it.
        let look = "test -e /etc/rkt-test-host && echo ESCAPED; test -e /shared/a/etc/rkt-test-host && echo ESCAPED; true";
        let words = [
            &volume,
            &planted,
            "--mount=volume=shared,target=/shared",
            "--mount=volume=planted,target=/shared/a/etc",
            case.busybox(),
            "--exec=/bin/sh",
            "--",
            "-c",
            look,
        ];
        let output = case.run_as(&format!("victim-{number}"), words).output();
        assert!(!output.stdout.contains("ESCAPED"), "{output}");
        started += u32::from(output.code == 0);
    }
    assert!(started > 0, "no pod was started at all");
    assert!(!case.host().path("/etc/planted").exists());
    assert_eq!(case.host().sh("ls /etc; cat /proc/self/mountinfo | wc -l").success().stdout, before);
    drop(first);
}

/// A new user namespace, and the mount calls in it: the way to the bug in `fsconfig`.
#[test]
fn no_app_gets_to_the_mount_interface_of_the_kernel() {
    let case = Case::new(Stage1::Nspawn);
    for user in ["--user=0", "--user=1001"] {
        let script = r#"$| = 1; $! = 0; my $child = syscall(56, 0x10000011, 0, 0, 0, 0); if ($child == 0) { syscall(231, 0) }
                        print "NAMESPACE\n" if $child > 0; print "UNSHARED\n" if syscall(272, 0x10000000) == 0;
                        for my $call (430, 431, 432, 428, 429, 442) { $! = 0; my $got = syscall($call, 0, 0, 0, 0, 0); print "$call ", $!+0, "\n" } print "end\n""#;
        let words = [images::PERL_NAME, user, "--exec=/usr/bin/perl", "--", "-e", script];
        let output = case.run_as(user.trim_start_matches("--user="), words).ok();
        let lines = app_lines(&output.stdout);
        assert!(
            !lines.contains(&"NAMESPACE") && !lines.contains(&"UNSHARED") && lines.contains(&"end"),
            "{output}"
        );
        for call in ["430", "431", "432", "428", "429", "442"] {
            let denied = [1, 38].iter().any(|errno| lines.contains(&format!("{call} {errno}").as_str()));
            assert!(denied, "{call}: {output}");
        }
    }
}

/// `/dev/null`, `/dev/console` and `/dev/pts` as links of the image: what the runtime bound over masked paths, or made a terminal at, was
/// what they led to.
#[test]
fn devices_of_an_image_are_not_what_paths_are_masked_with() {
    let case = Case::new(Stage1::Nspawn);
    let mut image = images::busybox("example.com/masks").dir("rootfs/dev", 0o755);
    for (name, target) in [
        ("null", "/proc/sys/kernel/core_pattern"),
        ("console", "/proc/sysrq-trigger"),
        ("pts", "/proc/sys"),
        ("ptmx", "/proc/sys/kernel/core_pattern"),
        ("shm", "/proc"),
        ("zero", "/proc/kcore"),
        ("full", "/etc/passwd"),
    ] {
        image = image.symlink(&format!("rootfs/dev/{name}"), target);
    }
    let script = "for n in null zero full; do stat -c '%n %F %t:%T' /dev/$n; done; test -L /dev/pts -o -L /dev/shm && echo LINK; \
                  for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/kernel/modprobe; do (echo x >$f) 2>/dev/null && echo WROTE $f; done; \
                  head -c 1 /proc/kcore | wc -c; (: </proc/kallsyms) && head -c 1 /proc/kallsyms | wc -c; head -1 /etc/passwd; echo end";
    let path = case.image("masks.aci", image.app(&["/bin/sh", "-c", script], &json!({})).build());
    let before = case.host().sh("cat /proc/sys/kernel/core_pattern").success().stdout;
    let output = case.run([path.as_str()]).ok();
    let lines = app_lines(&output.stdout);
    for wanted in [
        "/dev/null character special file 1:3",
        "/dev/zero character special file 1:5",
        "/dev/full character special file 1:7",
        "root:x:0:0:root:/root:/bin/sh",
        "0",
        "end",
    ] {
        assert!(lines.contains(&wanted), "{wanted}: {output}");
    }
    assert!(!output.stdout.contains("WROTE") && !output.stdout.contains("LINK"), "{output}");
    assert!(!lines.contains(&"1"), "a masked path can be read: {output}");
    assert_eq!(case.host().sh("cat /proc/sys/kernel/core_pattern").success().stdout, before);
}
