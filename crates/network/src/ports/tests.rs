use super::*;

fn forward(ip: Option<&str>, host_port: u16, count: u16) -> Forward {
    let host_ip = ip.map(|ip| ip.parse().unwrap());
    Forward { protocol: Protocol::Tcp, host_ip, host_port, pod_port: 80, count }
}

#[test]
fn which_ports_collide() {
    for (a, b, collide) in [
        (forward(None, 80, 1), forward(None, 80, 1), true),
        (forward(None, 80, 1), forward(None, 81, 1), false),
        (forward(None, 80, 10), forward(None, 89, 1), true),
        (forward(None, 80, 10), forward(None, 90, 1), false),
        (forward(Some("10.0.0.1"), 80, 1), forward(Some("10.0.0.2"), 80, 1), false),
        (forward(Some("10.0.0.1"), 80, 1), forward(Some("0.0.0.0"), 80, 1), true),
        (forward(Some("fd00::1"), 80, 1), forward(Some("0.0.0.0"), 80, 1), false),
        (forward(Some("fd00::1"), 80, 1), forward(None, 80, 1), true),
        (Forward { protocol: Protocol::Udp, ..forward(None, 80, 1) }, forward(None, 80, 1), false),
    ] {
        assert_eq!(a.overlap(&b).is_some(), collide, "{a:?} {b:?}");
        assert_eq!(b.overlap(&a).is_some(), collide, "{b:?} {a:?}");
    }
}

fn port(name: &str, protocol: &str, port: u16, count: u16) -> Port {
    Port { name: name.parse().unwrap(), protocol: protocol.to_owned(), port, count, socket_activated: false }
}

#[test]
fn names_are_looked_up_in_the_apps() {
    let apps = [
        port("http", "tcp", 80, 1),
        port("dns", "udp", 53, 1),
        port("many", "tcp", 1000, 100),
        port("x", "sctp", 1, 1),
        port("two", "tcp", 1, 1),
        port("two", "tcp", 2, 1),
    ];
    let ask = |list: &[&str]| {
        let exposed: Vec<ExposedPort> = list.iter().map(|text| text.parse().unwrap()).collect();
        forwards(&exposed, &apps)
    };
    let found = ask(&["http:8080", "dns:127.0.0.1:53", "many:2000"]).unwrap();
    let text: Vec<_> = found
        .iter()
        .map(|f| format!("{:?} {}+{} {}", f.protocol, f.host_port, f.count, f.pod_port))
        .collect();
    assert_eq!(text, ["Tcp 8080+1 80", "Udp 53+1 53", "Tcp 2000+100 1000"]);
    for (list, why) in [
        (&["no:1"] as &[&str], "could not be found in any apps"),
        (&["two:1"], "more than one app"),
        (&["x:1"], "only tcp and udp"),
        (&["many:65500"], "do not fit"),
        (&["http:8080", "many:8000"], "tcp/8080 of the host is asked for twice"),
    ] {
        let error = ask(list).unwrap_err().to_string();
        assert!(error.contains(why), "{list:?}: {error}");
    }
}

const A: &str = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
const B: &str = "7ba7b810-9dad-41d1-80b4-00c04fd430c8";

#[test]
fn one_port_has_one_pod() {
    let dir = tempfile::tempdir().unwrap();
    let claim =
        Claim { data: "/nonexistent".into(), forwards: vec![forward(None, 80, 1)], localnet: Vec::new() };
    let claims = Claims::lock_in(dir.path()).unwrap();
    claims.take_unless(A, &claim, |_, _| true).unwrap();
    let error = claims.take_unless(B, &claim, |_, _| true).unwrap_err().to_string();
    assert!(error.contains(A) && error.contains("tcp/80"), "{error}");
    claims.take_unless(A, &claim, |_, _| true).unwrap();
    assert_eq!(claims.drop_of(A).unwrap(), Some(claim.clone()));
    assert_eq!(claims.drop_of(A).unwrap(), None);
    claims.take_unless(B, &claim, |_, _| true).unwrap();
    assert!(!is_running(B.parse().unwrap(), &claim));
}
