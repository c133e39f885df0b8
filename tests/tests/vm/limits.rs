//! Limits that only controllers of cgroup2 can enforce.

use tests::vm;

#[test]
fn the_machine_has_the_controllers() {
    let controllers = vm::shared().sh("cat /sys/fs/cgroup/cgroup.controllers").success();
    for wanted in ["cpu", "io", "memory", "pids"] {
        assert!(
            controllers.stdout.split_whitespace().any(|name| name == wanted),
            "no {wanted}: {controllers}"
        );
    }
}
