//! What is left of pods when their machine starts anew.

use tests::vm;

/// The state that `rkt status` prints.
fn state(vm: &vm::Vm, uuid: &str) -> String {
    let output = vm.exec(["rkt", "status", uuid]).output();
    output.stdout.lines().find_map(|line| line.strip_prefix("state=")).unwrap_or_default().to_owned()
}

#[test]
fn a_pod_that_ran_has_exited_after_a_crash() {
    let mut vm = vm::boot_with_product().expect("the vm host boots");
    let start = "systemd-run --unit=web --property=Delegate=yes rkt run --net=host --uuid-file-save=/root/uuid \
                 example.com/busybox --exec=/bin/sleep -- 1000; \
                 until [ -s /root/uuid ] && rkt status \"$(cat /root/uuid)\" | grep -q state=running; do sleep 0.2; done; \
                 sync; cat /root/uuid";
    let uuid = vm.sh(start).success().trimmed().to_owned();
    let before = vm.sh("cat /proc/sys/kernel/random/boot_id").stdout;
    vm.crash();
    assert_ne!(vm.sh("cat /proc/sys/kernel/random/boot_id").stdout, before);
    assert_eq!(state(&vm, &uuid), "exited");
    vm.sh("rkt gc --grace-period=0s; rkt gc --grace-period=0s").success();
    assert_eq!(vm.exec(["rkt", "list", "--no-legend", "--full"]).output().success().trimmed(), "");
    vm.reboot();
    vm.exec(["rkt", "run", "--net=host", "example.com/busybox", "--exec=/bin/true"]).output().success();
}
