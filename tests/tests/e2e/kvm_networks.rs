//! Networks of pods in a machine: what comes in and goes out over each type, over IPv4 and IPv6, whole and in both directions.

use serde_json::json;
use tests::case::{Case, Stage1, eventually};
use tests::network::{Neighbour, get, get_eventually, leftovers, number};

use crate::kvm::assert_nothing_is_left;
use crate::network::{
    all_answer, behind_the_host, get_inside, inside, kernel_has, on_the_wire, serve_on_host, server_image,
    shows_its_addresses, start, udp,
};
use crate::network_faults::plugin;

/// Some megabytes: many segments of TCP, larger than a packet while they stay on this host, with checksums that nobody computes before
/// a wire asks for them.
const BULK: &str = "seq 1 500000";

fn end(case: &Case, uuid: &str) {
    case.rkt(["stop", "--force", uuid]).ok();
    eventually("the pod to have exited", || (case.state(uuid) == "exited").then_some(()));
    case.rkt(["rm", uuid]).ok();
    assert_eq!(leftovers(case.host(), uuid), "");
    assert_nothing_is_left(case, uuid);
}

/// Insists that the bulk arrives as it was, from the neighbour in the pod and from the pod at the neighbour.
fn carries_bulk(case: &Case, uuid: &str, neighbour: &Neighbour, v6: bool, url: &str) {
    let sum = case.host().sh(&format!("{BULK} | md5sum; {BULK} | wc -c")).success().stdout;
    inside(case, uuid, &format!("test -e /www/bulk || {BULK} >/www/bulk")).success();
    let (sum, length) = sum.trim_end().split_once('\n').expect("a sum and a length");
    let there = neighbour.address(v6);
    // Behind the answer's head.
    let arrived = inside(case, uuid, &format!("get '{there}' 80 | tail -c {length} | busybox md5sum"));
    assert_eq!(arrived.success().stdout.trim_end(), sum, "from {there}");
    let script = format!("ip netns exec {} curl -gsS --max-time 60 '{url}bulk' | md5sum", neighbour.device());
    assert_eq!(case.host().sh(&script).success().stdout.trim_end(), sum, "from {url}");
}

/// Where a port leads from: localhost, the host's own address, a neighbour, and the pod itself.
#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn ports_lead_into_the_machine_from_everywhere() {
    let n = number();
    let case = Case::new(Stage1::Kvm)
        .with_network("10-net.conflist", &behind_the_host("ptp", n))
        .with_net(&format!("--net=ptp{n}"));
    let host = case.host();
    let neighbour = Neighbour::new(host);
    let bulk = host.sh(BULK).success().stdout;
    let _server = neighbour.serve(&bulk);
    let port = 20_000 + n * 10;
    let flags = [("http", 0), ("range", 1), ("echo", 4)]
        .map(|(name, offset)| format!("--port={name}:{}", port + offset));
    let image = server_image(&case);
    let _pod = start(&case, "pod", &[&flags[0], &flags[1], &flags[2], &image]);
    let uuid = case.uuid();
    // Its server forks after it has said that it is up.
    let of_host = get_eventually(host, &format!("http://127.0.0.1:{port}/"));
    all_answer(
        &uuid,
        vec![
            ("localhost", of_host),
            ("its address", get(host, &format!("http://10.88.{n}.2/"))),
            ("its address, IPv6", get(host, &format!("http://[fd88:{n}::2]/"))),
            ("the last of a range", get(host, &format!("http://localhost:{}/", port + 3))),
        ],
    );
    for v6 in [false, true] {
        let own = neighbour.address_of_host(v6);
        let url = format!("http://{own}:{port}/");
        all_answer(
            &uuid,
            vec![
                ("the host's own address", get(host, &url)),
                ("the neighbour", neighbour.get(&url)),
                ("the pod itself", get_inside(&case, &uuid, &own, port)),
            ],
        );
        carries_bulk(&case, &uuid, &neighbour, v6, &url);
    }
    let [own, own6] = [false, true].map(|v6| neighbour.address_of_host(v6));
    all_answer(
        "echo hello",
        vec![
            ("UDP from localhost", host.exec("perl").args(udp("127.0.0.1", port + 4)).output()),
            ("UDP from the neighbour", neighbour.exec("perl").args(udp(&own, port + 4)).output()),
            ("UDP over IPv6", neighbour.exec("perl").args(udp(&own6, port + 4)).output()),
        ],
    );
    shows_its_addresses(&case, &uuid, n);
    let _of_host = serve_on_host(&case, port, "of the host");
    case.rkt(["stop", &uuid]).ok();
    eventually("the pod's end", || (case.state(&uuid) == "exited").then_some(()));
    let after = get_eventually(host, &format!("http://127.0.0.1:{port}/"));
    all_answer("of the host", vec![("localhost, behind the end of the machine", after)]);
    end(&case, &uuid);
}

/// A pod on the neighbour's wire, known there by its hardware address, that has a network behind the host, too. (ipvlan, which this
/// kernel may lack, is in the vm host.)
#[test]
#[ignore = "emulates a machine: cargo xtask test kvm"]
fn a_machine_joins_macvlan_and_bridge() {
    let case = Case::new(Stage1::Kvm);
    let host = case.host();
    let neighbour = Neighbour::new(host);
    if !kernel_has(&case, "macvlan", &neighbour.device()) {
        return;
    }
    let n = neighbour.number();
    let wire = on_the_wire("macvlan", &neighbour);
    let mut list = json!({"cniVersion": wire["cniVersion"], "name": wire["name"], "plugins": [wire, {"type": "elsewhere"}]});
    for key in ["cniVersion", "name"] {
        list["plugins"][0].as_object_mut().expect("an object").remove(key);
    }
    let case = case
        .with_network("10-wire.conflist", &list)
        .with_network("20-net.conflist", &behind_the_host("bridge", n))
        .with_net(&format!("--net=bridge{n},macvlan{n}"));
    // A link-local address that does not follow from the hardware address, as those of type ipvlan have it.
    plugin(
        &case,
        "elsewhere",
        r#"test "$CNI_COMMAND" = ADD || exit 0
        in_pod="nsenter --net=$CNI_NETNS ip -6 addr"
        $in_pod flush dev $CNI_IFNAME scope link && $in_pod add fe80::77/64 dev $CNI_IFNAME nodad >&2 || exit 1
        echo "$config" | sed 's/.*"prevResult":\(.*\),"type":.*/\1/'"#,
    );
    let bulk = host.sh(BULK).success().stdout;
    let _server = neighbour.serve(&bulk);
    let port = 20_000 + n * 10;
    let image = server_image(&case);
    let names = ["--dns=192.0.2.53", "--dns-search=a.example", "--hosts-entry=192.0.2.1=one"];
    let _pod = start(&case, "pod", &[&[&*format!("--port=http:{port}")], &names[..], &[&*image]].concat());
    let uuid = case.uuid();
    let files = inside(&case, &uuid, "cat /etc/resolv.conf /etc/hosts").success();
    for line in ["nameserver 192.0.2.53", "search a.example", "192.0.2.1 one"] {
        assert!(files.stdout.lines().any(|seen| seen == line), "no {line:?}: {files}");
    }
    let interfaces = inside(&case, &uuid, "ip -o addr").success();
    for address in [
        format!("eth0    inet 10.77.{n}.100/"),
        format!("eth0    inet6 fd77:{n}::100/"),
        format!("eth1    inet 10.88.{n}.2/"),
        format!("eth1    inet6 fd88:{n}::2/"),
    ] {
        assert!(interfaces.stdout.contains(&address), "no {address:?}: {interfaces}");
    }
    let eth0 = interfaces.stdout.lines().filter(|line| line.contains("eth0    inet6 fe80:"));
    let eth0: Vec<&str> = eth0.filter_map(|line| line.split_whitespace().nth(3)).collect();
    assert_eq!(eth0, ["fe80::77/64"], "{interfaces}");
    let of_host = get_eventually(host, &format!("http://127.0.0.1:{port}/"));
    all_answer(&uuid, vec![("localhost", of_host)]);
    for v6 in [false, true] {
        let here = if v6 { format!("http://[fd77:{n}::100]/") } else { format!("http://10.77.{n}.100/") };
        all_answer(&uuid, vec![("the neighbour", neighbour.get(&here))]);
        carries_bulk(&case, &uuid, &neighbour, v6, &here);
        // The gateway of the other network is the host.
        let host_there = if v6 { format!("fd88:{n}::1") } else { format!("10.88.{n}.1") };
        all_answer(&uuid, vec![("the host over the bridge", get_inside(&case, &uuid, &host_there, port))]);
    }
    // The neighbour knows the pod by the address that the plugin's interface has, and that is the guest's.
    let known = neighbour.exec("ip").args(["neigh", "show", &format!("10.77.{n}.100")]).ok();
    let own = inside(&case, &uuid, "cat /sys/class/net/eth0/address").success();
    assert!(known.stdout.contains(own.stdout.trim()), "{known} {own}");
    // Whatever ends it.
    let status = case.rkt(["status", &uuid]).ok();
    let monitor = status.stdout.lines().find_map(|line| line.strip_prefix("pid=")).expect("a pid").to_owned();
    host.exec("kill").args(["-KILL", &monitor]).ok();
    eventually("the pod to have exited", || (case.state(&uuid) == "exited").then_some(()));
    case.rkt(["rm", &uuid]).ok();
    assert_eq!(leftovers(host, &uuid), "");
    assert_nothing_is_left(&case, &uuid);
}
