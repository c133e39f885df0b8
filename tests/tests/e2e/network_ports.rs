//! Ports of the host that lead to a pod: who may have them, and who may not use the way.

use serde_json::json;
use tests::case::{Case, Stage1, eventually};
use tests::images;
use tests::network::{Neighbour, get, get_eventually, leftovers, number};

use crate::network::{all_answer, behind_the_host, end, get_inside, serve_on_host, server_image, start};

#[test]
fn a_port_has_one_pod_and_the_second_learns_which() {
    let case = Case::new(Stage1::Nspawn).with_net("--net=default");
    let host = case.host();
    let port = 20_000 + number() * 10;
    let image = server_image(&case);
    let flag = format!("--port=http:{port}");
    let _first = start(&case, "first", &[&flag, &image]);
    let first = case.uuid_as("first");
    for (flag, what) in [
        (flag.clone(), format!("tcp/{port}")),
        (format!("--port=http:127.0.0.1:{port}"), format!("tcp/{port} of 127.0.0.1")),
        (format!("--port=range:{}", port - 2), format!("tcp/{port}")),
    ] {
        let refused = case.run_as("second", [flag.as_str(), &image]).fails(254);
        refused.says(&format!("Port {what} of the host is forwarded to pod {first} already"));
        assert_eq!(leftovers(host, &case.uuid_as("second")), "");
    }
    all_answer(&first, vec![("localhost", get(host, &format!("http://127.0.0.1:{port}/")))]);
    case.rkt(["stop", &first]).ok();
    eventually("the first pod's end", || (case.state(&first) == "exited").then_some(()));
    // Without gc: who is dead stands in nobody's way.
    let _third = start(&case, "third", &[&flag, &image]);
    let third = case.uuid_as("third");
    all_answer(&third, vec![("localhost", get(host, &format!("http://127.0.0.1:{port}/")))]);
    case.rkt(["rm", &first]).ok();
    all_answer(&third, vec![("localhost, later", get(host, &format!("http://127.0.0.1:{port}/")))]);
    end(&case, &third);
}

/// A server of the host that listens at the port has been waiting all the time.
#[test]
fn a_port_leads_to_the_host_again_when_its_pod_is_marked() {
    let case = Case::new(Stage1::Nspawn).with_data().with_net("--net=default");
    let port = 20_000 + number() * 10;
    let _pod = start(&case, "pod", &[&format!("--port=http:{port}"), &server_image(&case)]);
    let _server = serve_on_host(&case, port, "of the host");
    let (uuid, url) = (case.uuid(), format!("http://127.0.0.1:{port}/"));
    all_answer(&uuid, vec![("the pod", get(case.host(), &url))]);
    case.rkt(["stop", &uuid]).ok();
    eventually("the pod's end", || (case.state(&uuid) == "exited").then_some(()));
    case.rkt(["gc", "--mark-only"]).ok();
    assert_eq!(case.state(&uuid), "exited garbage");
    all_answer("of the host", vec![("localhost, afterwards", get_eventually(case.host(), &url))]);
    case.rkt(["rm", &uuid]).ok();
    assert_eq!(leftovers(case.host(), &uuid), "");
}

#[test]
fn a_port_of_one_address_is_not_one_of_the_others() {
    let n = number();
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-net.conflist", &behind_the_host("ptp", n))
        .with_net(&format!("--net=ptp{n}"));
    let neighbour = Neighbour::new(case.host());
    let port = 20_000 + n * 10;
    let image = server_image(&case);
    for v6 in [false, true] {
        let (own, other) = (neighbour.address_of_host(v6), neighbour.address_of_host(!v6));
        let id = format!("pod{v6}");
        let _pod = start(&case, &id, &[&format!("--port=http:{own}:{port}"), &image]);
        let uuid = case.uuid_as(&id);
        let url = |address: &str| format!("http://{address}:{port}/");
        all_answer(
            &uuid,
            vec![
                ("the neighbour", neighbour.get(&url(&own))),
                ("the host", get(case.host(), &url(&own))),
                ("the pod itself", get_inside(&case, &uuid, &own, port)),
            ],
        );
        for address in [&*other, "127.0.0.1", &format!("[fd88:{n}::1]"), &format!("10.88.{n}.1")] {
            assert_ne!(get(case.host(), &url(address)).code, 0, "{own} {address}");
        }
        end(&case, &uuid);
    }
}

/// Ports of a manifest, with and without a port of an app behind them.
#[test]
fn forwards_the_ports_of_a_manifest() {
    let case = Case::new(Stage1::Nspawn).with_net("--net=default");
    let id = case.rkt(["fetch", "--full", &server_image(&case)]).ok().trimmed().to_owned();
    let port = 20_000 + number() * 10;
    let manifest = json!({
        "acKind": "PodManifest", "acVersion": "0.8.11",
        "apps": [{"name": "server", "image": {"name": "example.com/server", "id": id}}],
        "ports": [
            {"name": "http", "hostPort": port},
            {"name": "other", "hostPort": port + 1, "podPort": {"name": "other", "protocol": "tcp", "port": 9001}},
        ],
    });
    let file = case.tmp("pod.json");
    case.host().write(&file, manifest.to_string());
    let _pod = start(&case, "pod", &[&format!("--pod-manifest={file}")]);
    let uuid = case.uuid();
    all_answer(
        &uuid,
        vec![
            ("a port of the app", get(case.host(), &format!("http://127.0.0.1:{port}/"))),
            ("a port of the pod", get(case.host(), &format!("http://127.0.0.1:{}/", port + 1))),
        ],
    );
    end(&case, &uuid);
}

/// A service hands down journal streams, sockets and a notify socket, all of which have to find their way past the network.
#[test]
fn a_service_has_its_network_beside_its_sockets() {
    let case = Case::new(Stage1::Nspawn).with_net("--net=default");
    let host = case.host();
    let port = 20_000 + number() * 10;
    let script = r#"perl -e 'open(my $listen, "+<&=", 3); while (accept(my $to, $listen)) { print $to "from the socket"; close $to }' &
        mkdir /www; hostname >/www/index.html; httpd -p 80 -h /www; echo up; wait"#;
    let ports = json!([
        {"name": "http", "protocol": "tcp", "port": 80},
        {"name": "activated", "protocol": "tcp", "port": 81, "socketActivated": true},
    ]);
    let aci = images::perl("example.com/activated").app(&["/bin/sh", "-c", script], &json!({"ports": ports}));
    let image = case.image("activated.aci", aci.build());
    let mut words = case.run_words("pod");
    words.extend([format!("--port=http:{port}"), format!("--port=activated:{}", port + 1), image]);
    let unit = case.service("pod", &words, "KillMode=mixed\nDelegate=yes\nType=notify\nNotifyAccess=all");
    let socket = unit.replace(".service", ".socket");
    host.write(&format!("/run/systemd/system/{socket}"), format!("[Socket]\nListenStream={}\n", port + 1));
    case.systemctl(&["daemon-reload"]);
    case.systemctl(&["start", &socket]);
    case.systemctl(&["start", &unit]);
    case.journal(&["-u", &unit], "up");
    let uuid = case.uuid();
    all_answer(
        &uuid,
        vec![("the server of the pod", get_eventually(host, &format!("http://127.0.0.1:{port}/")))],
    );
    let activated = host.exec("perl").args(tcp("127.0.0.1", port + 1)).output();
    all_answer("from the socket", vec![("the socket of the unit", activated)]);
    let ruleset = host.exec("nft").args(["list", "table", "inet", &format!("rkt-{uuid}")]).ok();
    assert!(ruleset.stdout.contains(&format!("dport {port}")), "{ruleset}");
    assert!(!ruleset.stdout.contains(&format!("dport {}", port + 1)), "{ruleset}");
    case.systemctl(&["stop", &socket, &unit]);
    eventually("the pod's end", || (case.state(&uuid).starts_with("exited")).then_some(()));
    case.rkt(["rm", &uuid]).ok();
    assert_eq!(leftovers(host, &uuid), "");
}

fn tcp(address: &str, port: u32) -> Vec<String> {
    let script = "alarm 4; socket(S, PF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in($ARGV[1], inet_aton($ARGV[0]))) or die; print <S>";
    ["-MSocket", "-e", script, address, &port.to_string()].map(str::to_owned).to_vec()
}

/// Lists made for other runtimes have a plugin for ports in them; both may do it.
#[test]
fn a_plugin_for_ports_is_in_nobodys_way() {
    let n = number();
    let mut network = behind_the_host("bridge", n);
    if let Some(plugins) = network["plugins"].as_array_mut() {
        plugins.push(json!({"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}));
    }
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-net.conflist", &network)
        .with_net(&format!("--net=bridge{n}"));
    let neighbour = Neighbour::new(case.host());
    let port = 20_000 + n * 10;
    let _pod = start(&case, "pod", &[&format!("--port=http:{port}"), &server_image(&case)]);
    let uuid = case.uuid();
    let rules = case.host().sh("nft list ruleset").success();
    assert!(rules.stdout.contains("CNI-HOSTPORT-DNAT"), "the plugin was not told of the port: {rules}");
    let own = neighbour.address_of_host(false);
    let url = format!("http://{own}:{port}/");
    all_answer(
        &uuid,
        vec![
            ("localhost", get(case.host(), &format!("http://127.0.0.1:{port}/"))),
            ("the host's own address", get(case.host(), &url)),
            ("the neighbour", neighbour.get(&url)),
            ("the pod itself", get_inside(&case, &uuid, &own, port)),
        ],
    );
    end(&case, &uuid);
}

/// For `localhost` to lead to a pod, the host has to take packets with such an address from the pod's interface. A pod
/// that is its own master must not reach what the host keeps to itself by that way.
#[test]
fn the_way_of_localhost_leads_nowhere_else() {
    let n = number();
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-net.conflist", &behind_the_host("ptp", n))
        .with_net(&format!("--net=ptp{n}"));
    let host = case.host();
    let port = 20_000 + n * 10;
    let secret = format!("127.0.0.1:{}", port + 1);
    let _server = serve_on_host(&case, port + 1, "a secret of the host");
    let _pod = start(&case, "pod", &[&format!("--port=http:{port}"), &server_image(&case)]);
    let uuid = case.uuid();
    let url = format!("http://127.0.0.1:{port}/");
    all_answer(&uuid, vec![("localhost", get(host, &url))]);
    all_answer("a secret", vec![("the host", get(host, &format!("http://{secret}/")))]);
    let netns = format!("rkt-{uuid}");
    host.sh(&format!(
        "ip netns exec {netns} sysctl -qw net.ipv4.conf.eth0.route_localnet=1 net.ipv4.conf.all.route_localnet=1
         ip -n {netns} addr del 127.0.0.1/8 dev lo
         ip -n {netns} route replace 127.0.0.1/32 via 10.88.{n}.1 dev eth0 src 10.88.{n}.2"
    ))
    .success();
    let attack = || {
        let curl = ["netns", "exec", &netns, "curl", "--silent", "--max-time", "2"];
        host.exec("ip").args(curl).arg(format!("http://{secret}/")).output()
    };
    let refused = attack();
    assert!(refused.code != 0 && !refused.stdout.contains("secret"), "{refused}");
    // It is our rule that does it.
    host.exec("nft").args(["flush", "chain", "inet", &netns, "guard"]).ok();
    all_answer("a secret", vec![("the attack without the rule", attack())]);
    let setting = |interface: &str| host.read(&format!("/proc/sys/net/ipv4/conf/{interface}/route_localnet"));
    assert_eq!(setting("all").trim(), "0");
    end(&case, &uuid);
}
