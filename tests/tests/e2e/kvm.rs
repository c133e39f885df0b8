//! What is particular to pods in a machine: its processes, its failures, and that nothing of it is left. All of it emulated.

mod image;

use std::time::{Duration, Instant};

use tests::case::{Case, Stage1, app_lines, eventually};
use tests::pod_file::PodFile;

/// Helpers of machines that run in this host, by their commands.
fn helpers(case: &Case, uuid: &str) -> String {
    // The hypervisor has the pod's name in its arguments, the file server the path of its directory.
    let found = case.host().exec("pgrep").args(["-f", "-a", uuid]).output();
    let lines = found.stdout.lines().filter(|line| line.contains("qemu") || line.contains("virtiofsd"));
    lines.map(|line| format!("{line}\n")).collect()
}

pub(crate) fn assert_nothing_is_left(case: &Case, uuid: &str) {
    eventually("the helpers to be gone", || helpers(case, uuid).is_empty().then_some(()));
    let machines = case.host().exec("machinectl").args(["--no-legend", "list"]).ok();
    assert!(!machines.stdout.contains(uuid), "{machines}");
    let sockets = case.host().sh(&format!("ls {}/pods/*/{uuid} | grep virtiofsd || :", case.data()));
    assert_eq!(sockets.stdout, "");
}

/// A unit whose pod runs `script` in a machine, started as far as the app.
fn unit(case: &Case, script: &str, section: &str) -> (String, String) {
    let unit = case.service_sh(script, &format!("KillMode=mixed\n{section}"));
    case.systemctl(&["start", &unit]);
    let uuid = case.uuid();
    case.journal(&["-u", &unit], "app is up");
    (unit, uuid)
}

#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn everything_is_in_the_unit_and_has_few_rights() {
    let case = Case::new(Stage1::Kvm);
    let (unit, uuid) = unit(&case, "echo app is up; sleep 1000", "Delegate=yes");
    let group = case.property(&unit, "ControlGroup");
    let main: u32 = case.property(&unit, "MainPID").parse().expect("a pid");
    let pids = case.host().cgroup_pids(&group);
    assert!(pids.contains(&main), "{pids:?}");
    assert!(case.rkt(["status", &uuid]).ok().stdout.contains(&format!("pid={main}\n")));
    let read = |pid: u32, file: &str| case.host().read(&format!("/proc/{pid}/{file}"));
    let mut names: Vec<String> = pids.iter().map(|pid| read(*pid, "comm").trim().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["init", "rkt-vm", "virtiofsd", "virtiofsd"]);
    let mut served = 0;
    for pid in pids {
        // The file server has what it shares as its own root.
        let shown = case.host().sh(&format!("ls /proc/{pid}/root")).success();
        if read(pid, "comm").trim() == "virtiofsd" && !shown.stdout.contains("etc\n") {
            served += 1;
            assert_eq!(shown.stdout, "busybox\n", "what the guest can reach");
        }
        let status = read(pid, "status");
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.trim().to_owned()
        };
        if read(pid, "comm").trim() == "rkt-vm" {
            assert!(!value("Uid:").contains("0\t"), "the hypervisor is root: {status}");
            assert_eq!(value("CapEff:"), "0000000000000000", "{status}");
            assert_eq!(value("Seccomp:"), "2", "{status}");
            assert_eq!(read(pid, "net/dev").lines().count(), 3, "it has a network");
        }
    }
    assert_ne!(served, 0, "nobody serves the pod's root");
    let list = case.host().exec("machinectl").args(["--no-legend", "list"]).ok();
    let line = list.stdout.lines().find(|line| line.contains(&uuid)).unwrap_or_else(|| panic!("{list}"));
    assert_eq!(line.split_whitespace().skip(1).take(2).collect::<Vec<_>>(), ["vm", "rkt"], "{list}");
    case.systemctl(&["stop", &unit]);
    assert_eq!(case.property(&unit, "Result"), "success");
    assert_nothing_is_left(&case, &uuid);
}

#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn a_panic_of_the_guest_fails_the_pod_with_its_reason() {
    let case = Case::new(Stage1::Kvm);
    let output = case
        .run_sh("echo ran")
        .env("RKT_HYPERVISOR_EXTRA_KERNEL_PARAMS", "rdinit=/no-such-init root=none")
        .fails(254)
        .says("kernel panic");
    assert!(!output.stdout.contains("ran"), "{output}");
    assert_nothing_is_left(&case, &case.uuid());
    case.journal(&[&format!("RKT_POD={}", case.uuid()), "-t", "kernel"], "Kernel panic");
}

#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn a_guest_that_hangs_is_killed_after_its_time() {
    let case = Case::new(Stage1::Kvm);
    // The kernel waits for a device that never comes.
    let output = case
        .run_sh("echo ran")
        .env("RKT_HYPERVISOR_EXTRA_KERNEL_PARAMS", "rdinit=/no-such-init root=/dev/vda rootwait")
        .env("RKT_KVM_READY_SEC", "8")
        .fails(254)
        .says("has not started within 8 s");
    assert!(output.took > Duration::from_secs(8), "{output}");
    assert_nothing_is_left(&case, &case.uuid());
}

#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn a_killed_helper_fails_the_pod_with_its_reason() {
    for (helper, reason) in [("virtiofsd", "virtiofsd"), ("rkt-vm", "was killed by signal 9")] {
        let case = Case::new(Stage1::Kvm);
        let (unit, uuid) = unit(&case, "echo app is up; sleep 1000", "");
        let group = case.property(&unit, "ControlGroup");
        for pid in case.host().cgroup_pids(&group) {
            // The first of two may take the second with it.
            let name =
                std::fs::read_to_string(case.host().path(format!("/proc/{pid}/comm"))).unwrap_or_default();
            if name.trim() == helper {
                case.host().exec("kill").args(["-KILL", &pid.to_string()]).output();
            }
        }
        eventually("the unit to fail", || (case.property(&unit, "Result") == "exit-code").then_some(()));
        assert_eq!(case.property(&unit, "ExecMainStatus"), "254");
        case.journal(&["-u", &unit], reason);
        eventually("the pod to have exited", || (case.state(&uuid) == "exited").then_some(()));
        assert_nothing_is_left(&case, &uuid);
    }
}

#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn the_machine_goes_with_its_monitor() {
    let case = Case::new(Stage1::Kvm);
    let (unit, uuid) = unit(&case, "echo app is up; sleep 1000", "");
    let main = case.property(&unit, "MainPID");
    case.host().exec("kill").args(["-KILL", &main]).ok();
    eventually("the helpers to be gone", || helpers(&case, &uuid).is_empty().then_some(()));
    eventually("the pod to have exited", || (case.state(&uuid) == "exited").then_some(()));
}

#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn limits_of_apps_are_kept_inside() {
    let case = Case::new(Stage1::Kvm);
    let script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/app-*/memory.max /sys/fs/cgroup/app-*/cpu.max 2>/dev/null; \
                  grep MemTotal /proc/meminfo; exec tail /dev/zero";
    // Nothing is hidden, so that the groups can be seen.
    let mut words = case.rkt_words();
    words[1] = "--insecure-options=image,paths".to_owned();
    let image = case.busybox();
    let tail = [
        "run",
        &case.stage1().flag(),
        "--net=none",
        image,
        "--memory=48Mi",
        "--cpu=500m",
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ]
    .map(str::to_owned);
    words.extend(tail);
    let output = case
        .host()
        .exec(&words[0])
        .args(words[1..].to_vec())
        .limit(Duration::from_secs(300))
        .fails(137)
        .says("out of memory: the kernel has killed a process of the app, which may use 49152 KiB");
    let lines = app_lines(&output.stdout);
    assert!(lines.contains(&"50331648") && lines.contains(&"50000 100000"), "{output}");
    let total = lines.iter().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let total: u64 = total.trim().trim_end_matches(" kB").parse().unwrap_or_else(|_| panic!("{output}"));
    assert!(total < (128 + 48) * 1024 && total > 64 * 1024, "{total} kB: {output}");
}

#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn files_keep_their_kinds_owners_and_attributes() {
    let case = Case::new(Stage1::Kvm);
    let script = "cd /data && mkfifo fifo && mknod null c 1 3 && touch file && chown 1001:1002 file && chmod 6755 file && \
                  ln -s file link && ln file hard && stat -c '%n %F %u %g %a %h' fifo null file link; \
                  (echo through the fifo >fifo &); cat fifo";
    let volume = "--volume=data,kind=empty";
    let mount = "--mount=volume=data,target=/data";
    let image = case.busybox();
    let output = case.run([volume, image, "--exec=/bin/sh", mount, "--", "-c", script]).ok();
    let lines = app_lines(&output.stdout);
    for line in [
        "fifo fifo 0 0 644 1",
        "null character special file 0 0 644 1",
        "file regular empty file 1001 1002 6755 2",
        "link symbolic link 0 0 777 1",
        "through the fifo",
    ] {
        assert!(lines.contains(&line), "no {line:?}: {output}");
    }
    let dir = case.pod_dir(&case.uuid()).expect("the pod's directory");
    let outside = case.host().sh(&format!("cd {dir}/sharedVolumes/data; stat -c '%n %F %u %g %a %h' *"));
    assert!(outside.stdout.contains("file regular empty file 1001 1002 6755 2"), "{outside}");
    assert!(outside.stdout.contains("null character special file"), "{outside}");
}

#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn pods_run_on_both_machines() {
    let case = Case::new(Stage1::Kvm);
    let script = "ls /sys/bus/pci/devices | grep -q . && echo on PCI || echo without PCI";
    // In emulation it is a PC unless somebody says otherwise.
    let output = case.run_sh(script).ok();
    assert!(app_lines(&output.stdout).contains(&"on PCI"), "{output}");
    // In the same way a pod file asks for emulation. A microvm that is emulated may hang (docs/kvm.md), and is started again then.
    let service = "[Service]\nEnvironment=RKT_KVM_MACHINE=microvm RKT_KVM_READY_SEC=30\nRestart=on-failure\n";
    let script = format!(
        "{script}; grep -q virtiofs /proc/self/mountinfo && echo shared || echo on a disk; exec sleep 1000"
    );
    for (place, without) in [("shared", ""), ("on a disk", "InaccessiblePaths=/usr/lib/qemu/virtiofsd\n")] {
        let id = place.replace(' ', "-");
        let file = PodFile::sh(&case, &id, "", &script, "", &format!("{service}{without}"));
        file.start();
        case.journal(&["-u", &file.unit()], "without PCI");
        case.journal(&["-u", &file.unit()], place);
    }
}

/// With the rights of an app without a wall, which sees the supervisor's root.
#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn time_randomness_and_the_id_are_right_at_the_start() {
    let case = Case::new(Stage1::Kvm);
    let script = "date +%s; timeout 5 head -c 16 /dev/random | wc -c; cat /proc/1/root/etc/machine-id";
    let mut words = case.run_words("pod");
    words[1] = "--insecure-options=image,all-run".to_owned();
    words.extend([case.busybox(), "--exec=/bin/sh", "--", "-c", script].map(str::to_owned));
    let now = || case.host().exec("date").arg("+%s").ok().trimmed().parse::<u64>().expect("a number");
    let before = now();
    let output = case.host().exec(&words[0]).args(words[1..].to_vec()).ok().says("is emulated (TCG)");
    let lines = app_lines(&output.stdout);
    let [time, random, id] = lines[..] else { panic!("{output}") };
    let time: u64 = time.parse().expect("a number");
    assert!((before..=now()).contains(&time), "{before}: {output}");
    assert_eq!((random, id), ("16", case.uuid().replace('-', "").as_str()));
}

/// The guest's kernel measures its timer when it starts, for a tenth of a second: no stop of the machine meanwhile may make its seconds
/// longer, or leave it without a timer.
#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn a_machine_that_is_kept_from_running_keeps_time() {
    let case = Case::new(Stage1::Kvm);
    let mut pod = case.run_sh("while echo tick; do sleep 1; done").spawn();
    let uuid = case.uuid();
    let up = case.tmp("up");
    let keep = format!(
        "until pid=$(pgrep -f '[n]ame rkt-{uuid},process'); do :; done
        until test -e {up}; do kill -STOP $pid; sleep 0.25; kill -CONT $pid; sleep 0.05; done"
    );
    let keeper = case.host().exec("sh").args(["-c", &keep]).spawn();
    pod.wait_for_stdout("tick");
    case.host().exec("touch").arg(&up).ok();
    keeper.wait(Duration::from_secs(10)).success();
    let ticks = || pod.stdout().matches("tick").count();
    let (start, before) = (Instant::now(), ticks());
    eventually("ten seconds", || (ticks() >= before + 10).then_some(()));
    let took = start.elapsed();
    assert!((9..15).contains(&took.as_secs()), "ten seconds of the guest took {took:?}");
}

/// As after `apt install linux-image-…` on the host.
#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn a_kernel_of_the_host_brings_its_modules() {
    const MODULES: [&str; 4] = ["drivers/virtio", "drivers/net", "drivers/char", "fs/fuse"];
    let case = Case::new(Stage1::Kvm);
    let tree = tests::vm::cached_kernel().expect("Debian's kernel");
    let image = std::fs::read(tree.join("boot/vmlinuz")).expect("a kernel");
    let kernel = case.image("vmlinuz", image);
    let run = || {
        let script = "echo kernel $(uname -r); exit 3";
        case.run_sh(script).env("RKT_KVM_KERNEL", &kernel).limit(Duration::from_secs(300))
    };
    run().fails(254).says("Install them, or name an initramfs");

    let modules = tree.join("lib/modules");
    let version = std::fs::read_dir(&modules).expect("modules").flatten().next().expect("a version");
    let kernel_directory = version.path().join("kernel");
    let name = version.file_name().to_string_lossy().into_owned();
    let core = std::iter::once("net/core");
    for directory in MODULES.into_iter().chain(core) {
        for file in std::fs::read_dir(kernel_directory.join(directory)).expect("modules").flatten() {
            if file.path().extension().is_some_and(|extension| extension == "ko") {
                let to = format!("/lib/modules/{name}/kernel/{directory}/{}", file.file_name().display());
                case.host().write(&to, std::fs::read(file.path()).expect("a module"));
            }
        }
    }
    case.host().exec("busybox").args(["depmod", &name]).ok();
    let output = run().fails(3);
    assert!(app_lines(&output.stdout).contains(&format!("kernel {name}").as_str()), "{output}");
}

/// These never start a machine.
#[test]
fn what_a_machine_cannot_have_is_refused() {
    let case = Case::new(Stage1::Kvm);
    let image = case.busybox();
    let run = |flags: &[&'static str]| {
        let flag = case.stage1().flag();
        let words = ["run".to_owned(), flag].into_iter().chain(flags.iter().map(|&flag| flag.to_owned()));
        case.rkt(words.chain([image, "--exec=/bin/true"].map(str::to_owned)))
    };
    run(&["--net=host"]).fails(254).says("--net=host").says("--net=none");
    run(&["--net=none", "--ipc=parent"]).fails(254).says("--ipc=parent");
    let device = "--volume=zero,kind=host,source=/dev/zero";
    run(&["--net=none", device, "--mount=volume=zero,target=/zero"])
        .fails(254)
        .says("is a device of the host");
    let output = run(&["--net=none"]).env("RKT_KVM_ACCEL", "kvm").output();
    // Where there is no KVM nobody falls back on emulation.
    if output.code != 0 {
        assert!(output.code == 254 && output.stderr.contains("RKT_KVM_ACCEL=tcg"), "{output}");
    }
    run(&["--net=none"]).env("RKT_KVM_ACCEL", "fast").fails(254).says("RKT_KVM_ACCEL");
    // An empty PATH, and an image's own directories: there is no QEMU to be found.
    run(&["--net=none"]).env("PATH", "/nonexistent").fails(254).says("qemu-system-x86");
}
