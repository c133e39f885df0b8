//! Networks that take a module which not every kernel has.

use std::time::{Duration, Instant};

use tests::case::Stage1;
use tests::images;
use tests::vm::Vm;

/// A neighbour in a network namespace, joined to the machine's by a pair of devices, with a web server on both its addresses.
const NEIGHBOUR: &str = "
! ip netns list | grep -q wire || exit 0
ip netns add wire
ip link add wire type veth peer name eth0 netns wire
ip addr add 10.77.1.1/24 dev wire; ip -6 addr add fd77:1::1/64 dev wire nodad; ip link set wire up
ip -n wire link set lo up
ip -n wire addr add 10.77.1.2/24 dev eth0; ip -n wire -6 addr add fd77:1::2/64 dev eth0 nodad; ip -n wire link set eth0 up
mkdir -p /tmp/wire && echo the neighbour >/tmp/wire/index.html
ip netns exec wire busybox httpd -p '[::]:80' -h /tmp/wire
mkdir -p /etc/rkt/net.d
modprobe tun";
/// In the pod's network.
const IN_POD: &str = "nsenter --net=/proc/$(rkt status $(cat /run/ipvlan.uuid) | sed -n s/^pid=//p)/ns/net";
/// What a pod of the network leaves when it is gone.
const LEFT: &str = "ip netns list | grep -v ^wire; ls -A /var/lib/cni/networks/ipvlan | grep -v -e lock -e last_reserved_ip; ip -o link show type ipvlan; true";

fn eventually(vm: &Vm, what: &str, script: &str, wanted: &str) {
    let end = Instant::now() + Duration::from_secs(180);
    loop {
        let output = vm.sh(script);
        if output.stdout.contains(wanted) {
            return;
        }
        assert!(Instant::now() < end, "{what}: no {wanted:?}: {output}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// The pod has an address on the neighbour's wire, under the hardware address of the machine's end.
#[test]
fn ipvlan_stands_on_the_wire() {
    let (vm, _turn) = crate::machine();
    lay_the_wire(vm);
    start(vm, Stage1::Nspawn);
    for address in addresses(vm) {
        answers_the_neighbour(vm, &address);
    }
    for neighbour in ["10.77.1.2", "[fd77:1::2]"] {
        let in_pod = format!("{IN_POD} curl -gsm5 http://{neighbour}/");
        eventually(vm, "the pod asks the neighbour", &in_pod, "the neighbour");
    }
    let link = vm.sh(&format!("{IN_POD} ip -o link show eth0; cat /sys/class/net/wire/address")).success();
    let hardware = link.stdout.lines().last().unwrap_or_default();
    assert_eq!(link.stdout.matches(hardware).count(), 2, "{link}");
    assert!(!vm.sh(LEFT).stdout.is_empty());
    vm.sh("systemctl stop ipvlan; rkt gc --grace-period=0s").success();
    assert_eq!(vm.sh(LEFT).stdout, "");

    // The same for a machine, as far as its hypervisor; what the guest does takes another minute. The kernel brings the modules that
    // lead packets to it, and it has the hardware address of the wire.
    start(vm, Stage1::Kvm);
    let mac = format!("mac={}", vm.sh("cat /sys/class/net/wire/address").success().trimmed());
    eventually(vm, "the hypervisor", "pgrep -fa virtio-net || journalctl -qu ipvlan", &mac);
    for (from, to) in [("eth0", "tap0"), ("tap0", "eth0")] {
        let filters = format!("tc -n rkt-$(cat /run/ipvlan.uuid) filter show dev {from} ingress");
        let filters = vm.sh(&filters).success();
        assert!(filters.stdout.contains(&format!("(Egress Redirect to device {to})")), "{filters}");
    }
    addresses(vm);
    kill(vm);
}

/// The guest, emulated by what is emulated itself, asks its neighbour and answers it.
#[test]
#[ignore = "emulates a machine in an emulated machine: cargo xtask test vm --full"]
fn ipvlan_leads_to_a_guest() {
    let (vm, _turn) = crate::machine();
    vm.write("/usr/lib/rkt/kvm.d/tests.json", crate::machines::SETTINGS);
    lay_the_wire(vm);
    start(vm, Stage1::Kvm);
    eventually(vm, "the guest asks the neighbour", "journalctl -qu ipvlan", "and over IPv6: the neighbour");
    for address in addresses(vm) {
        answers_the_neighbour(vm, &address);
    }
    kill(vm);
}

fn lay_the_wire(vm: &Vm) {
    vm.sh(NEIGHBOUR).success();
    let ranges = serde_json::json!([
        [{"subnet": "10.77.1.0/24", "rangeStart": "10.77.1.100"}],
        [{"subnet": "fd77:1::/64", "rangeStart": "fd77:1::100"}],
    ]);
    let network = serde_json::json!({"cniVersion": "1.0.0", "name": "ipvlan", "type": "ipvlan", "master": "wire", "mode": "l2",
        "ipam": {"type": "host-local", "ranges": ranges}});
    vm.write("/etc/rkt/net.d/10-ipvlan.conf", network.to_string());
}

fn answers_the_neighbour(vm: &Vm, address: &str) {
    let in_wire = format!("ip netns exec wire curl -gsm5 http://{address}/");
    eventually(vm, "the neighbour asks the pod", &in_wire, "the pod");
}

/// Those of the pod, as they stand in URLs.
fn addresses(vm: &Vm) -> [String; 2] {
    let show = "ip -n rkt-$(cat /run/ipvlan.uuid) -o addr show eth0";
    eventually(vm, "the addresses of the pod", show, "fd77:1::10");
    let shown = vm.sh(show).success();
    let find = |network: &str| {
        let found = shown.stdout.split_whitespace().find(|word| word.starts_with(network));
        let (address, _) =
            found.and_then(|word| word.split_once('/')).unwrap_or_else(|| panic!("no {network}: {shown}"));
        address.to_owned()
    };
    [find("10.77.1.10"), format!("[{}]", find("fd77:1::10"))]
}

/// Ends the machine without a word, and lets `rkt gc` clean up.
fn kill(vm: &Vm) {
    vm.sh("systemctl kill --signal=KILL ipvlan; until rkt status $(cat /run/ipvlan.uuid) | grep exited=true; do sleep 1; done").success();
    vm.sh("rkt gc --grace-period=0s").success();
    assert_eq!(vm.sh(LEFT).stdout, "");
}

/// Starts a web server in a pod of the network.
fn start(vm: &Vm, stage1: Stage1) {
    let script = "mkdir /www; echo the pod >/www/index.html; busybox httpd -p '[::]:80' -h /www
        wget -qO- http://10.77.1.2/ && echo and over IPv6: $(wget -qO- 'http://[fd77:1::2]/')
        sleep 1000";
    vm.sh("systemctl reset-failed ipvlan; rm -f /run/ipvlan.uuid");
    let before = [
        "systemd-run",
        "--quiet",
        "--unit=ipvlan",
        "--property=Delegate=yes",
        "--setenv=RKT_KVM_ACCEL=tcg",
        "/usr/bin/rkt",
    ];
    let flag = stage1.flag();
    let run = [
        "--insecure-options=image",
        "run",
        &flag,
        "--net=ipvlan",
        "--uuid-file-save=/run/ipvlan.uuid",
        images::BUSYBOX_NAME,
        "--memory=48Mi",
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ];
    vm.exec(before.into_iter().chain(run)).output().success();
}
