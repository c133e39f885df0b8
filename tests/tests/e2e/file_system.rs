//! What an app sees of the file system.

use serde_json::json;
use tests::case::{Case, Stage1, app_lines};
use tests::images;

under_both_walls!(
    nested_volumes_stand_in_each_other,
    a_device_is_a_volume,
    a_file_in_place_of_a_directory_is_refused,
    a_source_is_opened_once,
);

/// The lines that the script's failing tests print: each test is `NAME: CONDITION`.
#[track_caller]
fn holds(case: &Case, flags: &[&str], app: &[&str], tests: &[(&str, &str)]) {
    let script: String = tests
        .iter()
        .map(|(name, test)| format!("( {test} ) >/dev/null 2>&1 || echo 'not so: {name}'\n"))
        .collect();
    let image = [images::PERL_NAME, "--exec=/bin/sh"];
    let words = [flags, &image, app, &["--", "-c", &script]].concat();
    let output = case.run(words).ok();
    let lines: Vec<_> = app_lines(&output.stdout).into_iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, Vec::<&str>::new(), "{output}");
}

#[test]
fn the_usual_places_are_there() {
    let case = Case::new(Stage1::Nspawn);
    let links = [
        ("/dev/fd", "[ $(readlink /dev/fd) = /proc/self/fd ]"),
        (
            "/dev/stdin",
            "[ $(readlink /dev/stdin) = /proc/self/fd/0 ] && echo hello | grep -q hello /dev/stdin",
        ),
        ("/dev/stdout", "[ $(readlink /dev/stdout) = /proc/self/fd/1 ] && echo hello >/dev/stdout"),
        ("/dev/stderr", "[ $(readlink /dev/stderr) = /proc/self/fd/2 ] && echo hello >/dev/stderr"),
        ("/dev/ptmx", "[ $(readlink /dev/ptmx) = pts/ptmx ]"),
        (
            "a new terminal",
            r#"perl -e 'open my $master, "+<", "/dev/ptmx" or exit 1; my $number = pack "i", 0;
               ioctl($master, 0x80045430, $number) or exit 2; my $unlock = pack "i", 0; ioctl($master, 0x40045431, $unlock) or exit 3;
               open my $slave, "+<", "/dev/pts/" . unpack "i", $number or exit 4'"#,
        ),
        ("/etc/mtab", "grep -q ' /proc proc ' /etc/mtab"),
    ];
    let devices = [
        ("null", "[ -c /dev/null ] && echo x >/dev/null && [ -z \"$(cat /dev/null)\" ]"),
        ("zero", "[ $(head -c3 /dev/zero | wc -c) = 3 ]"),
        ("full", "! echo x >/dev/full"),
        ("random", "[ $(head -c3 /dev/random | wc -c) = 3 ]"),
        ("urandom", "[ $(head -c3 /dev/urandom | wc -c) = 3 ]"),
        ("tty", "[ -c /dev/tty ]"),
        ("no disk", "! ls /dev/sd* /dev/vd* /dev/nvme* /dev/mem /dev/kmsg"),
        ("nodes keep their mode", "! chmod 600 /dev/null"),
    ];
    let places = [
        ("/, which no end of a pod syncs", "grep -q ' / / .* - overlay .*[,=]volatile' /proc/self/mountinfo"),
        (
            "/dev/shm",
            "grep -q ' /dev/shm .* - tmpfs ' /proc/self/mountinfo && touch /dev/shm/x && [ $(stat -c %a /dev/shm) = 1777 ]",
        ),
        ("/dev/mqueue", "grep -q ' /dev/mqueue .* - mqueue ' /proc/self/mountinfo"),
        ("/dev/pts", "grep -q ' /dev/pts .* - devpts ' /proc/self/mountinfo"),
        ("/proc", "[ $(readlink /proc/self) -lt 100 ] && [ \"$(cat /proc/1/comm)\" = supervisor ]"),
        ("/sys", "[ -d /sys/class/net/lo ]"),
        ("/tmp", "[ $(stat -c %a /tmp) = 1777 ] && touch /tmp/x"),
        ("/etc/hostname", "[ \"$(cat /etc/hostname)\" = $(hostname) ]"),
        ("/etc/hosts", "grep -q localhost /etc/hosts"),
        ("/etc/resolv.conf", "grep -q 192.0.2.7 /etc/resolv.conf"),
        ("nothing of other apps or of the stage1", "! ls /opt/stage2 /supervisor /rkt"),
    ];
    let read_only = [
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/vm/panic_on_oom",
        "/proc/irq/default_smp_affinity",
    ]
    .map(|path| (path, format!("! [ -e {path} ] || ! (: >>{path})")));
    let hidden = [
        "/proc/kcore",
        "/proc/kallsyms",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/proc/interrupts",
        "/proc/config.gz",
        "/proc/acpi",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/fs",
        "/sys/module",
        "/sys/power",
        "/sys/devices/virtual/powercap",
    ]
    .map(|path| {
        (path, format!("[ -d {path} ] && [ -z \"$(ls -A {path})\" ] || [ -z \"$(head -c1 {path})\" ]"))
    });
    let sys = ["block", "bus", "class", "dev", "devices", "kernel"].map(|name| {
        (name, format!("! grep -E '^[^ ]+ [^ ]+ [^ ]+ [^ ]+ /sys(/{name})? rw' /proc/self/mountinfo"))
    });
    let owned = read_only.iter().chain(&hidden).chain(&sys).map(|(name, test)| (*name, test.as_str()));
    let all: Vec<_> = links.into_iter().chain(devices).chain(places).chain(owned).collect();
    holds(&case, &["--dns=192.0.2.7"], &[], &all);
}

/// With a read-only root, what has to be written to is still writable.
#[test]
fn a_read_only_root_leaves_room() {
    let case = Case::new(Stage1::Nspawn);
    let tests = [
        ("the root", "! touch /x && ! mkdir /etc/x && ! rm /bin/busybox"),
        ("/dev/shm", "touch /dev/shm/x"),
        ("a volume", "touch /data/x"),
        ("/dev/null", "echo x >/dev/null"),
        ("a remount", "! mount -o remount,rw /"),
    ];
    let flags = ["--volume=data,kind=empty", "--mount=volume=data,target=/data"];
    holds(&case, &flags, &["--readonly-rootfs"], &tests);
}

/// A volume in a volume, whichever is named first; and the place below it is made.
fn nested_volumes_stand_in_each_other(case: &Case) {
    case.host().write(&case.tmp("outer/file"), "outer");
    case.host().write(&case.tmp("inner/file"), "inner");
    let outer = format!("--volume=outer,kind=host,source={}", case.tmp("outer"));
    let inner = format!("--volume=inner,kind=host,source={},readOnly=true", case.tmp("inner"));
    let mounts = ["--mount=volume=inner,target=/data/deep/inner", "--mount=volume=outer,target=/data"];
    let tests = [
        ("the outer one", "[ $(cat /data/file) = outer ] && touch /data/new"),
        ("the inner one", "[ $(cat /data/deep/inner/file) = inner ] && ! touch /data/deep/inner/new"),
    ];
    holds(case, &[&outer, &inner], &mounts, &tests);
    assert!(case.host().path(case.tmp("outer/new")).exists());
}

/// A device node of the host works where it is mounted as a volume, and elsewhere it is dead.
fn a_device_is_a_volume(case: &Case) {
    let device = case.tmp("device");
    case.host().sh(&format!("mkdir -p $(dirname {device}); mknod -m 666 {device} c 1 5")).success();
    let volume = format!("--volume=device,kind=host,source={device}");
    // The host's temporary directory is a mount without devices; /dev/zero is on one with.
    let zero = "--volume=zero,kind=host,source=/dev/zero";
    let mount = ["--mount=volume=zero,target=/dev/of-mine", "--mount=volume=device,target=/there"];
    let tests = [("the volume", "[ $(head -c3 /dev/of-mine | wc -c) = 3 ]")];
    holds(case, &[zero, &volume], &mount, &tests);
    let read_only = format!("{zero},readOnly=true");
    let words =
        [&*read_only, images::PERL_NAME, "--mount=volume=zero,target=/dev/of-mine", "--exec=/bin/true"];
    case.run(words).fails(254).says("cannot be read-only");
}

fn a_file_in_place_of_a_directory_is_refused(case: &Case) {
    let volume = format!("--volume=data,kind=host,source={}", case.tmp("directory"));
    case.host().write(&case.tmp("directory/file"), "");
    let words = [&*volume, case.busybox(), "--mount=volume=data,target=/etc/passwd", "--exec=/bin/true"];
    case.run(words).fails(254).says("/etc/passwd");
}

/// A source that is swapped for a link while pods start: the app gets what was opened, and never what the link leads to from
/// inside of its own root.
fn a_source_is_opened_once(case: &Case) {
    let dir = case.tmp("swapped");
    let secret = case.tmp("secret");
    case.host().write(&format!("{dir}/real/file"), "harmless");
    case.host().write(&format!("{secret}/file"), "secret");
    let swap = format!(
        "cd {dir}; ln -s real now; ln -s /nonexistent gone; i=0; while [ $i -lt 2000 ]; do ln -sfn real now; ln -sfn gone now; i=$((i + 1)); done"
    );
    let swapper = case.host().exec("sh").args(["-c", &swap]).spawn();
    let volume = format!("--volume=data,kind=host,source={dir}/now,readOnly=true");
    for _ in 0..4 {
        let words = [
            &*volume,
            case.busybox(),
            "--mount=volume=data,target=/data",
            "--exec=/bin/cat",
            "--",
            "/data/file",
        ];
        let output = case.run(words).output();
        // Either the pod is refused, or it has the whole of what was opened.
        let whole = output.code == 0 && app_lines(&output.stdout).contains(&"harmless");
        assert!(whole || output.code == 254, "{output}");
    }
    drop(swapper);
}

/// What Docker does with the volumes of an image: they begin as a copy of what the image has there.
#[test]
fn implicit_volumes_of_docker_images_are_filled() {
    let case = Case::new(Stage1::Nspawn);
    let data = tests::aci::Entry {
        mode: 0o2750,
        uid: 1001,
        gid: 1002,
        ..tests::aci::Entry::new(tar_core::EntryType::Directory, "rootfs/data")
    };
    let aci = images::busybox("example.com/filled")
        .entry(data)
        .file("rootfs/data/file", 0o640, "of the image")
        .symlink("rootfs/data/link", "/etc/passwd")
        .field("annotations", json!([{"name": "appc.io/docker/repository", "value": "library/filled"}]))
        .app(
            &["/bin/sh", "-c", "stat -c '%a %u %g' /data; cat /data/file; echo; readlink /data/link; grep -c ' /data ' /proc/self/mountinfo"],
            &json!({"mountPoints": [{"name": "data", "path": "/data"}]}),
        );
    let image = case.image("filled.aci", aci.build());
    let output = case.run([&*image]).ok();
    let lines: Vec<_> = app_lines(&output.stdout).into_iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, ["2750 1001 1002", "of the image", "/etc/passwd", "1"], "{output}");
    assert!(output.stderr.contains("implicitly creating an \"empty\" volume"), "{output}");
}
