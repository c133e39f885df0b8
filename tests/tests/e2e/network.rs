//! Networks of a pod: every type, over IPv4 and IPv6, out of the pod and into it, with real servers and clients.

use std::io::Write as _;

use serde_json::{Value, json};
use tests::case::{Case, Stage1, app_lines, eventually};
use tests::host::{Output, Running};
use tests::images;
use tests::network::{Neighbour, get, leftovers, number};

/// Asks a web server at an address and a port. (busybox's own client needs more of libc than a static one has.)
const CLIENT: &str = r#"#!/usr/bin/perl
use Socket qw(:all);
my ($host, $port) = @ARGV;
$host =~ tr/[]//d;
my $six = $host =~ /:/;
alarm 20;
socket(my $server, $six ? AF_INET6 : AF_INET, SOCK_STREAM, 0) or die "socket: $!";
connect($server, $six ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $host)) : pack_sockaddr_in($port, inet_aton($host)))
    or die "connect: $!";
syswrite($server, "GET / HTTP/1.0\r\n\r\n");
print while <$server>;
"#;

/// An image whose app is a web server on port 80 and on a range, which answers the pod's name, and an echo server on UDP.
pub(crate) fn server_image(case: &Case) -> String {
    let script = r#"mkdir -p /www; hostname >/www/index.html
        for port in 80 9000 9001 9002; do httpd -p "[::]:$port" -h /www; done
        perl -MSocket=:all -e 'socket(S, PF_INET6, SOCK_DGRAM, 0); bind(S, sockaddr_in6(7, IN6ADDR_ANY)) or die;
            while (my $from = recv(S, my $text, 1500, 0)) { send(S, "echo $text", 0, $from) }' &
        echo up; exec sleep 1000"#;
    let port = |name: &str, protocol: &str, port: u32, count: u32| json!({"name": name, "protocol": protocol, "port": port, "count": count});
    let ports = [port("http", "tcp", 80, 1), port("range", "tcp", 9000, 3), port("echo", "udp", 7, 1)];
    let aci = images::perl("example.com/server")
        .file("rootfs/bin/get", 0o755, CLIENT)
        .app(&["/bin/sh", "-c", script], &json!({"ports": ports}));
    case.image("server.aci", aci.build())
}

pub(crate) fn ipam(subnets: &[String], routes: &[&str]) -> Value {
    let ranges: Vec<Value> = subnets.iter().map(|subnet| json!([{"subnet": subnet}])).collect();
    let routes: Vec<Value> = routes.iter().map(|to| json!({"dst": to})).collect();
    json!({"type": "host-local", "ranges": ranges, "routes": routes})
}

pub(crate) fn start(case: &Case, id: &str, words: &[&str]) -> Running {
    let mut pod = case.run_as(id, words.iter().copied()).spawn();
    pod.wait_for_stdout("up");
    pod
}

/// Runs a shell script in the pod.
pub(crate) fn inside(case: &Case, uuid: &str, script: &str) -> Output {
    case.rkt(["enter", uuid, "/bin/sh", "-c", script]).output()
}

/// What a web server answers to the pod.
pub(crate) fn get_inside(case: &Case, uuid: &str, address: &str, port: u32) -> Output {
    inside(case, uuid, &format!("get '{address}' {port}"))
}

/// Ends the pod, removes it, and insists that nothing is left.
pub(crate) fn end(case: &Case, uuid: &str) {
    case.rkt(["stop", "--force", uuid]).ok();
    eventually("the pod's end", || (case.state(uuid) == "exited").then_some(()));
    case.rkt(["rm", uuid]).ok();
    assert_eq!(leftovers(case.host(), uuid), "", "left of {uuid}");
}

/// A web server of the host itself that answers `text` at a port of `localhost`, unless a pod has the port.
pub(crate) fn serve_on_host(case: &Case, port: u32, text: &str) -> Running {
    let (place, directory) = (format!("127.0.0.1:{port}"), case.tmp("of-host"));
    case.host().write(&format!("{directory}/index.html"), text);
    case.host().exec("busybox").args(["httpd", "-f", "-p", &place, "-h", &directory]).spawn()
}

pub(crate) fn networks(case: &Case, uuid: &str) -> Value {
    case.rkt(["status", "--format=json", uuid]).ok().json()["networks"].clone()
}

/// Insists that each has answered `text`, and tells all that have not.
#[track_caller]
pub(crate) fn all_answer(text: &str, cases: Vec<(&str, Output)>) {
    let silent: Vec<String> = cases
        .into_iter()
        .filter(|(_, output)| !output.stdout.contains(text))
        .map(|(what, output)| format!("{what}: {output}"))
        .collect();
    assert!(silent.is_empty(), "no {text:?} from {}", silent.join("\n"));
}

pub(crate) fn udp(address: &str, port: u32) -> Vec<String> {
    let script = "alarm 20; my ($to, $port) = @ARGV; my $six = $to =~ tr/[]//d; socket(S, $six ? PF_INET6 : PF_INET, SOCK_DGRAM, 0);
        send(S, 'hello', 0, $six ? sockaddr_in6($port, inet_pton(AF_INET6, $to)) : sockaddr_in($port, inet_aton($to)));
        recv(S, my $text, 1500, 0); print $text";
    ["-MSocket=:all", "-e", script, address, &port.to_string()].map(str::to_owned).to_vec()
}

#[test]
fn the_default_network_leads_out_and_ports_lead_in() {
    let case = Case::new(Stage1::Nspawn).with_net("--net");
    let host = case.host();
    let neighbour = Neighbour::new(host);
    let _server = neighbour.serve("the neighbour");
    let port = 20_000 + number() * 10;
    let mut words: Vec<String> = [("http", 0), ("range", 1), ("echo", 4)]
        .map(|(name, offset)| format!("--port={name}:{}", port + offset))
        .to_vec();
    words.push(server_image(&case));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let _pod = start(&case, "pod", &words);
    let uuid = case.uuid();
    let networks = networks(&case, &uuid);
    let ip = networks[0]["ip"].as_str().unwrap_or_default().to_owned();
    assert!(ip.starts_with("172.16.28."), "{networks}");

    let own = neighbour.address_of_host(false);
    all_answer(
        "the neighbour",
        vec![("the pod to the neighbour", get_inside(&case, &uuid, &neighbour.address(false), 80))],
    );
    all_answer(
        &uuid,
        vec![
            ("the host to the pod's address", get(host, &format!("http://{ip}/"))),
            ("localhost", get(host, &format!("http://127.0.0.1:{port}/"))),
            ("localhost by name", get(host, &format!("http://localhost:{port}/"))),
            ("the host's own address", get(host, &format!("http://{own}:{port}/"))),
            ("the neighbour", neighbour.get(&format!("http://{own}:{port}/"))),
            ("the pod itself", get_inside(&case, &uuid, &own, port)),
            ("the first of a range", neighbour.get(&format!("http://{own}:{}/", port + 1))),
            ("the last of a range", get(host, &format!("http://127.0.0.1:{}/", port + 3))),
        ],
    );
    all_answer(
        "echo hello",
        vec![
            ("UDP from localhost", host.exec("perl").args(udp("127.0.0.1", port + 4)).output()),
            ("UDP from the neighbour", neighbour.exec("perl").args(udp(&own, port + 4)).output()),
        ],
    );
    // Nobody but the host itself may use the door that localhost needs.
    let beyond = neighbour.get(&format!("http://{own}:{}/", port + 9));
    assert_ne!(beyond.code, 0, "{beyond}");
    let interfaces = inside(&case, &uuid, "ls /sys/class/net; cat /proc/net/dev");
    assert!(interfaces.stdout.contains("eth0") && !interfaces.stdout.contains("peer"), "{interfaces}");
    end(&case, &uuid);
    assert_ne!(get(host, &format!("http://127.0.0.1:{port}/")).code, 0);
}

#[test]
fn the_restricted_network_leads_to_the_host_only() {
    let case = Case::new(Stage1::Nspawn).with_net("--net=default-restricted");
    let host = case.host();
    let neighbour = Neighbour::new(host);
    let _server = neighbour.serve("the neighbour");
    let _pod = start(&case, "pod", &[&server_image(&case)]);
    let uuid = case.uuid();
    let networks = networks(&case, &uuid);
    let ip = networks[0]["ip"].as_str().unwrap_or_default();
    assert!(ip.starts_with("172.31."), "{networks}");
    all_answer(&uuid, vec![("the host", get(host, &format!("http://{ip}/")))]);
    let out = get_inside(&case, &uuid, &neighbour.address(false), 80);
    assert!(out.code != 0 && !out.stdout.contains("neighbour"), "{out}");
    end(&case, &uuid);
}

/// Whether the kernel has a type of device. A test that is skipped says so even when it passes.
pub(crate) fn kernel_has(case: &Case, kind: &str, parent: &str) -> bool {
    let name = format!("try{}", number());
    let made = case.host().sh(&format!("ip link add {name} link {parent} type {kind} && ip link del {name}"));
    if made.code != 0 {
        let _ = writeln!(
            std::io::stderr(),
            "\n***** SKIPPED: networks of type {kind}: this machine's kernel cannot make them: {}",
            made.stderr.trim()
        );
    }
    made.code == 0
}

/// A network behind the host: `ptp` or `bridge`.
pub(crate) fn behind_the_host(kind: &str, n: u32) -> Value {
    let subnets = [format!("10.88.{n}.0/24"), format!("fd88:{n}::/64")];
    let mut plugin = json!({"type": kind, "ipMasq": true, "ipam": ipam(&subnets, &["0.0.0.0/0", "::/0"])});
    if kind == "bridge" {
        plugin["bridge"] = format!("br{n}").into();
        plugin["isGateway"] = true.into();
    }
    json!({"cniVersion": "1.0.0", "name": format!("{kind}{n}"), "plugins": [plugin]})
}

fn leads_out_and_in_behind_the_host(kind: &str) {
    let n = number();
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-net.conflist", &behind_the_host(kind, n))
        .with_net(&format!("--net={kind}{n}"));
    let host = case.host();
    let neighbour = Neighbour::new(host);
    let _server = neighbour.serve("the neighbour");
    let port = 20_000 + n * 10;
    let [http, echo] =
        [("http", port), ("echo", port + 1)].map(|(name, port)| format!("--port={name}:{port}"));
    let image = server_image(&case);
    let _pod = start(&case, "pod", &[&http, &echo, &image]);
    let uuid = case.uuid();
    let _other = start(&case, "other", &[&image]);
    let other = case.uuid_as("other");
    for v6 in [false, true] {
        let (there, own) = (neighbour.address(v6), neighbour.address_of_host(v6));
        all_answer("the neighbour", vec![("the pod to the neighbour", get_inside(&case, &uuid, &there, 80))]);
        let url = format!("http://{own}:{port}/");
        all_answer(
            &uuid,
            vec![
                ("the host's own address", get(host, &url)),
                ("the neighbour", neighbour.get(&url)),
                ("the pod itself", get_inside(&case, &uuid, &own, port)),
                ("another pod of the network", get_inside(&case, &other, &own, port)),
            ],
        );
        all_answer("echo hello", vec![("UDP", neighbour.exec("perl").args(udp(&own, port + 1)).output())]);
    }
    all_answer(&uuid, vec![("localhost", get(host, &format!("http://localhost:{port}/")))]);
    let list = case.rkt(["list", "--full"]).ok();
    let row = list.stdout.lines().find(|line| line.contains(&uuid)).unwrap_or_default();
    let shown = format!("{kind}{n}:ip4=10.88.{n}.2, {kind}{n}:ip6=fd88:{n}::2");
    assert!(row.ends_with(&shown), "{row}");
    end(&case, &other);
    end(&case, &uuid);
}

#[test]
fn ptp_leads_out_and_in_over_both_families() {
    leads_out_and_in_behind_the_host("ptp");
}

#[test]
fn bridge_leads_out_and_in_over_both_families() {
    leads_out_and_in_behind_the_host("bridge");
}

/// A network of pods that stand beside the neighbour, from the addresses `.100` and `::100` on.
pub(crate) fn on_the_wire(kind: &str, neighbour: &Neighbour) -> Value {
    let n = neighbour.number();
    let ranges = json!([
        [{"subnet": format!("10.77.{n}.0/24"), "rangeStart": format!("10.77.{n}.100")}],
        [{"subnet": format!("fd77:{n}::/64"), "rangeStart": format!("fd77:{n}::100")}],
    ]);
    json!({"cniVersion": "1.0.0", "name": format!("{kind}{n}"), "type": kind, "master": neighbour.device(),
        "mode": "bridge", "ipam": {"type": "host-local", "ranges": ranges}})
}

/// Pods that stand beside the neighbour, on the same wire: the host's end of it is the master. (The same for ipvlan, which
/// fewer kernels have, is in the vm host.)
#[test]
fn macvlan_stands_on_the_wire() {
    let kind = "macvlan";
    let case = Case::new(Stage1::Nspawn);
    let neighbour = Neighbour::new(case.host());
    if !kernel_has(&case, kind, &neighbour.device()) {
        return;
    }
    let n = neighbour.number();
    let network = on_the_wire(kind, &neighbour);
    let case = case.with_network("10-net.conf", &network).with_net(&format!("--net={kind}{n}"));
    let _server = neighbour.serve("the neighbour");
    let _pod = start(&case, "pod", &[&server_image(&case)]);
    let uuid = case.uuid();
    for v6 in [false, true] {
        let here = if v6 { format!("[fd77:{n}::100]") } else { format!("10.77.{n}.100") };
        // The pod's IPv6 address is used when nobody else answers to it: a second or two.
        eventually("the pod's address", || {
            (neighbour.get(&format!("http://{here}/")).stdout.contains(&uuid)).then_some(())
        });
        let there = neighbour.address(v6);
        all_answer("the neighbour", vec![("the pod to the neighbour", get_inside(&case, &uuid, &there, 80))]);
    }
    end(&case, &uuid);
}

/// The network namespace and `rkt status` show what the pod has of `ptp` network `n`.
pub(crate) fn shows_its_addresses(case: &Case, uuid: &str, n: u32) {
    let netns = format!("rkt-{uuid}");
    let there =
        case.host().exec("ip").args(["netns", "exec", &netns, "ip", "-o", "addr", "show", "eth0"]).ok();
    assert!(there.stdout.contains(&format!("10.88.{n}.2/")), "{there}");
    case.rkt(["status", uuid])
        .ok()
        .prints(&format!("networks=ptp{n}:ip4=10.88.{n}.2, ptp{n}:ip6=fd88:{n}::2\n"));
}

#[test]
fn shows_networks_and_ports() {
    let n = number();
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-net.conflist", &behind_the_host("ptp", n))
        .with_net(&format!("--net=ptp{n}"));
    let port = 20_000 + n * 10;
    let _pod = start(&case, "pod", &[&format!("--port=range:10.88.{n}.1:{port}"), &server_image(&case)]);
    let uuid = case.uuid();
    let expected = json!([{
        "netName": format!("ptp{n}"), "netConf": "net/10-net.conflist", "pluginPath": "/usr/lib/cni/ptp",
        "ifName": "eth0", "ip": format!("10.88.{n}.2"), "args": "", "mask": "255.255.255.0",
        "ip6": format!("fd88:{n}::2"), "mask6": "64",
        "ports": [{"protocol": "tcp", "hostIP": format!("10.88.{n}.1"), "hostPort": port, "podPort": 9000, "count": 3}],
    }]);
    assert_eq!(networks(&case, &uuid), expected);
    let listed = case.rkt(["list", "--format=json"]).ok().json();
    let listed = listed.as_array().and_then(|pods| pods.iter().find(|pod| pod["name"] == *uuid)).cloned();
    assert_eq!(listed.unwrap_or_default()["networks"], expected);
    let dir = case.pod_dir(&uuid).unwrap_or_default();
    let file: Value =
        serde_json::from_str(&case.host().read(&format!("{dir}/net-info.json"))).unwrap_or_default();
    assert_eq!(file, expected);
    let netns = case.host().read(&format!("{dir}/netns"));
    assert_eq!(netns, format!("/run/netns/rkt-{uuid}"));
    shows_its_addresses(&case, &uuid, n);
    end(&case, &uuid);
}

#[test]
fn apps_of_a_pod_share_its_network() {
    let case = Case::new(Stage1::Nspawn).with_net("--net=default");
    let image = server_image(&case);
    let ask = "until get 127.0.0.1 80; do sleep 0.05; done; exit 3";
    let output =
        case.run([&*image, "---", &image, "--name=client", "--exec=/bin/sh", "--", "-c", ask]).fails(3);
    let expected = format!("rkt-{}", case.uuid());
    assert!(app_lines(&output.stdout).contains(&expected.as_str()), "{output}");
}

#[test]
fn a_network_may_know_ipv6_only() {
    let n = number();
    let plugin = json!({"type": "ptp", "ipMasq": true, "ipam": ipam(&[format!("fd89:{n}::/64")], &["::/0"])});
    let network = json!({"cniVersion": "1.0.0", "name": format!("six{n}"), "plugins": [plugin]});
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-net.conflist", &network)
        .with_net(&format!("--net=six{n}"));
    let neighbour = Neighbour::new(case.host());
    let _server = neighbour.serve("the neighbour");
    let port = 20_000 + n * 10;
    let _pod = start(&case, "pod", &[&format!("--port=http:{port}"), &server_image(&case)]);
    let uuid = case.uuid();
    let there = neighbour.address(true);
    all_answer("the neighbour", vec![("the pod to the neighbour", get_inside(&case, &uuid, &there, 80))]);
    let url = format!("http://{}:{port}/", neighbour.address_of_host(true));
    all_answer(&uuid, vec![("the neighbour", neighbour.get(&url)), ("the host", get(case.host(), &url))]);
    case.rkt(["status", &uuid]).ok().prints(&format!("networks=six{n}:ip6=fd89:{n}::2\n"));
    end(&case, &uuid);
}
