//! Pods with a file on a machine that starts anew, and what controllers do for them.

use tests::vm;

/// Writes a pod file.
fn write(vm: &vm::Vm, name: &str, text: &str) {
    let script = format!("install -d -m 755 /etc/rkt/pods; printf '%s' '{text}' >/etc/rkt/pods/{name}.pod");
    vm.sh(&script).success();
}

#[test]
fn an_enabled_pod_is_up_after_a_reboot() {
    let mut vm = vm::boot_with_product().expect("the vm host boots");
    let pod = |wall: &str, pod: &str, app: &str| {
        format!(
            "[Pod]\nIsolation={wall}\nInsecureOptions=image\nMemoryMax=200M\nCPUQuota=50%\nTasksMax=100\nCPUWeight=42\nIOWeight=43\n\
             MemoryHigh=150M\nMemorySwapMax=1M\n{pod}\n[App]\nImage=example.com/busybox\nExec=/bin/sleep 1000\n{app}\n"
        )
    };
    // fly has no use for the shares of one app.
    let limits = "Memory=64Mi\nCPU=250m\nPidsLimit=50";
    write(&vm, "fly", &pod("fly", "", limits));
    write(&vm, "nspawn", &pod("nspawn", "Network=none", &format!("{limits}\nCPUShares=2048")));
    write(&vm, "site", &(pod("fly", "Service=web", "") + "[Install]\nWantedBy=multi-user.target\n"));
    vm.sh(
        "systemctl daemon-reload && systemctl enable --now rkt-pod@fly rkt-pod@nspawn && systemctl start web",
    )
    .success();
    let read = |vm: &vm::Vm, path: &str| vm.sh(&format!("cat {path}")).success().trimmed().to_owned();
    for wall in ["fly", "nspawn"] {
        let group = format!("/sys/fs/cgroup/machine.slice/rkt-pod@{wall}.service");
        for (file, value) in [
            ("memory.max", "209715200"),
            ("memory.high", "157286400"),
            ("memory.swap.max", "1048576"),
            ("cpu.max", "50000 100000"),
            ("cpu.weight", "42"),
            ("pids.max", "100"),
        ] {
            assert_eq!(read(&vm, &format!("{group}/{file}")), value, "{wall}: {file}");
        }
        let shown = vm.sh(&format!("systemctl show --value -p IOWeight rkt-pod@{wall}")).success();
        assert_eq!(shown.trimmed(), "43");
        let find = format!("find {group} -type d -name app-{wall}");
        let app = vm.sh(&find).success().trimmed().to_owned();
        let weight = if wall == "fly" { "100" } else { "200" };
        for (file, value) in [
            ("memory.max", "67108864"),
            ("cpu.max", "25000 100000"),
            ("cpu.weight", weight),
            ("pids.max", "50"),
        ] {
            assert_eq!(read(&vm, &format!("{app}/{file}")), value, "{wall}: {file} of the app");
        }
    }
    let before = vm.sh("cat /run/rkt/units/nspawn.uuid").success().trimmed().to_owned();
    vm.reboot();
    let up = "for unit in rkt-pod@fly rkt-pod@nspawn web; do \
              until systemctl is-active --quiet $unit; do sleep 0.5; done; done; cat /run/rkt/units/nspawn.uuid";
    let after = vm.sh(up).success().trimmed().to_owned();
    assert_ne!(after, before);
}
