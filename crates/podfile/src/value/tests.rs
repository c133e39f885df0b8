use appc::VolumeKind;

use super::*;

#[test]
fn spans() {
    for (text, milliseconds) in [
        ("5", 5_000),
        ("1min 30s", 90_000),
        ("1min30", 90_000),
        ("500ms", 500),
        ("1.5h", 5_400_000),
        ("2 days", 172_800_000),
    ] {
        assert_eq!(span(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
    }
    assert_eq!(span("infinity").unwrap(), Duration::MAX);
    for text in ["", "x", "5 lightyears", "-1", "1..2", "1e400", "s"] {
        assert!(span(text).is_err(), "{text}");
    }
}

#[test]
fn ports() {
    for (text, name, ip, host, pod) in [
        ("8080:80", "80-tcp", None, 8080, Some((80, "tcp"))),
        ("53:53/udp", "53-udp", None, 53, Some((53, "udp"))),
        ("127.0.0.1:8080:80", "80-tcp", Some("127.0.0.1"), 8080, Some((80, "tcp"))),
        ("[::1]:8080:80", "80-tcp", Some("::1"), 8080, Some((80, "tcp"))),
        ("http:8080", "http", None, 8080, None),
        ("http:127.0.0.1:8080", "http", Some("127.0.0.1"), 8080, None),
        ("80-tcp:8080", "80-tcp", None, 8080, None),
    ] {
        let port = port(text).unwrap();
        assert_eq!((port.name.as_str(), port.host_port), (name, host), "{text}");
        assert_eq!(port.host_ip, ip.map(|ip| ip.parse().unwrap()), "{text}");
        let found = port.pod_port.as_ref().map(|port| (port.port, port.protocol.as_str()));
        assert_eq!(found, pod, "{text}");
    }
    for text in ["80", "80:", ":80", "0:80", "80:0", "80:80/sctp", "1.2.3:80:80", "x", "[::1:80:80"] {
        assert!(port(text).is_err(), "{text}");
    }
}

#[test]
fn volumes_and_mounts() {
    let host = |text: &str| match volume(text).unwrap().kind {
        VolumeKind::Host { source, read_only, .. } => (source, read_only),
        VolumeKind::Empty { .. } => panic!("{text}"),
    };
    assert_eq!(host("data:/srv"), ("/srv".to_owned(), None));
    assert_eq!(host("data:/srv:ro"), ("/srv".to_owned(), Some(true)));
    assert_eq!(host("data,kind=host,source=/x"), ("/x".to_owned(), None));
    assert_eq!(volume("data").unwrap().kind, VolumeKind::empty());
    for text in ["", "data:srv", "data:/srv:rx", "Data", "data,kind=other"] {
        assert!(volume(text).is_err(), "{text}");
    }
    for text in ["data:/srv", "volume=data,target=/srv"] {
        let mount = mount(text).unwrap();
        assert_eq!((mount.volume.as_str(), mount.path.as_str()), ("data", "/srv"));
    }
    for text in ["data", "data:srv", "data:/a/../b", "volume=data"] {
        assert!(mount(text).is_err(), "{text}");
    }
    let found = bind("/a:/b:ro,rbind").unwrap();
    assert_eq!((found.target.as_str(), found.read_only, found.recursive), ("/b", true, Some(true)));
    assert_eq!(bind("/a").unwrap().target, "/a");
    assert!(bind("a:/b").is_err() && bind("/a:/b:x").is_err() && bind("").is_err());
    assert_eq!(tmpfs("/run:mode=1777,uid=5").unwrap().mode, 0o1777);
    assert!(tmpfs("/run:mode=9").is_err() && tmpfs("run").is_err() && tmpfs("/run:size=1").is_err());
}

#[test]
fn kernel_parameters() {
    let good = sysctl("net.ipv4.ping_group_range=0 2147483647").unwrap();
    assert_eq!(good.1, "0 2147483647");
    let hint = |text: &str| sysctl(text).unwrap_err().hint.unwrap_or_default();
    assert_eq!(hint("vm.swappiness=1"), "set it there; see sysctl.d(5)");
    assert_eq!(hint("net/core/somaxconn=1"), "as in net.core.somaxconn=1024");
    assert!(sysctl("net.core.somaxconn").is_err() && sysctl("=1").is_err());
}

#[test]
fn words_of_a_few() {
    assert!(boolean("Yes").unwrap() && !boolean("off").unwrap() && boolean("maybe").is_err());
    assert_eq!(isolation("nspwan").unwrap_err().hint.unwrap(), "did you mean nspawn?");
    assert!(isolation("docker").unwrap_err().hint.unwrap().contains("Stage1="));
    for text in ["SIGHUP", "HUP", "1"] {
        assert_eq!(signal(text).unwrap().number, 1);
    }
    assert_eq!(signal("RTMIN+3").unwrap(), Signal { name: "SIGRTMIN+3".to_owned(), number: 37 });
    assert_eq!(signal("SIGUSR").unwrap_err().hint.unwrap(), "did you mean SIGUSR1?");
    assert_eq!(capabilities("net_admin, CAP_KILL").unwrap().iter().count(), 2);
    assert_eq!(capabilities("NET_ADMN").unwrap_err().hint.unwrap(), "did you mean CAP_NET_ADMIN?");
    assert_eq!(service("web.service").unwrap(), "web");
    assert!(service("a@b").is_err() && service("").is_err() && service("a/b").is_err());
    assert!(limit("512M").is_ok() && limit("50%").is_ok() && limit("1 2").is_err() && limit("M").is_err());
    assert_eq!(number("-5", -10, 10).unwrap(), -5);
    assert!(number::<u32>("+5", 0, 10).is_err() && number("11", 0, 10).is_err());
}
