//! A machine in the machine: what takes devices of the host's kernel.

use std::time::Duration;

use tests::images;

/// Settings of machines: they have all the time that they need.
pub(crate) const SETTINGS: &str =
    r#"{"rktKind": "kvm", "rktVersion": "v1", "accelerator": "tcg", "readySec": 1800}"#;

#[test]
#[ignore = "emulates a machine in an emulated machine: cargo xtask test vm --full"]
fn the_link_goes_over_vsock_where_the_host_has_it() {
    let (vm, _turn) = crate::machine();
    vm.write("/usr/lib/rkt/kvm.d/tests.json", SETTINGS);
    vm.sh("modprobe vhost_vsock; test -c /dev/vhost-vsock").success();
    let run = format!(
        "rkt --insecure-options=image run --stage1-from-dir=stage1-kvm.aci --net=none {} --memory=48Mi --exec=/bin/sh -- -c \
         'cd /sys/bus/virtio/drivers; echo drivers: *; exit 5'",
        images::BUSYBOX_NAME
    );
    let output = vm.script(&run).limit(Duration::from_secs(1800)).output();
    assert_eq!(output.code, 5, "{output}");
    let drivers = output.stdout.lines().find(|line| line.contains("drivers: ")).unwrap_or_default();
    assert!(drivers.contains("vsock") && !drivers.contains("console"), "{output}");
}
