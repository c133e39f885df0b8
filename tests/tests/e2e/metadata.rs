//! The metadata service.

use std::sync::Mutex;

use tests::case::{Case, Stage1, app_lines, eventually};
use tests::host::Host;

/// There is one service in a host, and some tests start it anew.
static SERVICE: Mutex<()> = Mutex::new(());

fn socket(host: &Host) {
    host.exec("systemctl").args(["start", "rkt-metadata.socket"]).ok();
}

/// A shell function for apps: `ask PATH` prints what the service answers.
const ASK: &str = "ask() { wget -q -O - $AC_METADATA_URL/acMetadata/v1/$1; }; ";

fn tells_an_app_what_it_is(case: &Case) {
    // From a machine the way to the host is a network.
    let with_net = (case.stage1() == Stage1::Kvm).then(|| Case::new(Stage1::Kvm).with_net("--net=default"));
    let case = with_net.as_ref().unwrap_or(case);
    let _service = SERVICE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    socket(case.host());
    let script = format!(
        "{ASK} for path in pod/uuid apps/busybox/image/id apps/busybox/annotations/example.com/colour pod/annotations; do \
                  ask $path; echo; done; ask pod/manifest; echo; ask apps/busybox/image/manifest; echo; ask apps/other/image/id || echo none"
    );
    let words = [
        "--mds-register",
        case.busybox(),
        "--annotation=example.com/colour=red",
        "--exec=/bin/sh",
        "--",
        "-c",
        &script,
    ];
    let output = case.run(words).ok();
    let lines = app_lines(&output.stdout);
    let uuid = case.uuid();
    assert!(lines.contains(&uuid.as_str()), "{output}");
    for part in [
        "sha512-",
        "red",
        r#""acKind":"PodManifest""#,
        r#""name":"example.com/busybox""#,
        r#""coreos.com/rkt/stage1/mutable""#,
    ] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {output}");
    }
    assert!(lines.contains(&"none"), "{output}");
    // Its requests are logged under the pod, and its token is not.
    let log =
        case.journal(&["-u", "rkt-metadata.service"], &format!("{uuid} GET \"acMetadata/v1/pod/uuid\" 200"));
    assert!(!log.contains("token="), "{log}");
    // A pod that is gone is forgotten.
    case.rkt(["rm", &uuid]).ok();
    let gone = format!(
        "curl -s -o /dev/null -w '%{{http_code}}' --unix-socket /run/rkt/metadata-svc.sock -X PUT -d '{{}}' http://x/pods/{uuid}/busybox"
    );
    assert_eq!(case.host().sh(&gone).success().trimmed(), "404");
}

under_both_walls!(tells_an_app_what_it_is);

#[test]
fn an_app_finds_it_through_its_own_network() {
    let case = Case::new(Stage1::Nspawn).with_net("--net=default");
    let _service = SERVICE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    socket(case.host());
    let script = format!("{ASK} echo $AC_METADATA_URL; ask pod/uuid; echo");
    let output = case.run(["--mds-register", case.busybox(), "--exec=/bin/sh", "--", "-c", &script]).ok();
    let lines = app_lines(&output.stdout);
    assert!(lines[0].starts_with("http://172.16.28.1:18112/"), "{output}");
    assert_eq!(lines[1], case.uuid(), "{output}");
}

#[test]
fn pods_sign_and_nobody_else_for_them() {
    let case = Case::new(Stage1::Nspawn);
    let _service = SERVICE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    socket(case.host());
    let wait = "echo up $AC_METADATA_URL; sleep 1000";
    let mut urls = Vec::new();
    let mut pods = Vec::new();
    for id in ["one", "two"] {
        let mut pod =
            case.run_as(id, ["--mds-register", case.busybox(), "--exec=/bin/sh", "--", "-c", wait]).spawn();
        pod.wait_for_stdout("up http");
        let url = pod
            .stdout()
            .lines()
            .find_map(|line| line.split_once("up "))
            .map(|(_, url)| url.trim().to_owned());
        urls.push(format!("{}/acMetadata/v1/pod/hmac", url.unwrap_or_default()));
        pods.push(pod);
    }
    let (one, two) = (case.uuid_as("one"), case.uuid_as("two"));
    let sign = format!("curl -s --fail --data-urlencode content='a b' {}/sign", urls[0]);
    let signature = case.host().sh(&sign).success().trimmed().to_owned();
    assert_eq!(signature.len(), 88);
    let verify = |url: &str, uuid: &str, content: &str| {
        let ask = format!(
            "curl -s -o /dev/null -w '%{{http_code}}' --data-urlencode content='{content}' --data-urlencode uuid={uuid} \
             --data-urlencode signature='{signature}' {url}/verify"
        );
        case.host().sh(&ask).success().trimmed().to_owned()
    };
    // Any pod can verify what another one signed.
    assert_eq!(verify(&urls[1], &one, "a b"), "200");
    assert_eq!(verify(&urls[1], &two, "a b"), "403");
    assert_eq!(verify(&urls[1], &one, "a c"), "403");
    let nobody =
        urls[0].replace(urls[0].split('/').nth(3).unwrap_or_default(), "0123456789abcdef0123456789abcdef");
    assert_eq!(verify(&nobody, &one, "a b"), "401");
    drop(pods);
}

#[test]
fn the_service_has_no_rights() {
    let case = Case::new(Stage1::Nspawn);
    let _service = SERVICE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let host = case.host();
    socket(host);
    // It is started by the first who asks, and nobody but root can register.
    host.sh("curl -s http://127.0.0.1:18112/ >/dev/null").success();
    let pid = eventually("the service", || {
        Some(case.property("rkt-metadata.service", "MainPID")).filter(|pid| pid != "0")
    });
    let status = host.read(&format!("/proc/{pid}/status"));
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    assert!(!field("Uid:").starts_with('0'), "{status}");
    assert_eq!((field("CapEff:"), field("CapBnd:")), ("0000000000000000".into(), "0000000000000000".into()));
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".into(), "2".into()));
    let denied = host.sh("setpriv --reuid=65534 --regid=65534 --clear-groups curl -s --unix-socket /run/rkt/metadata-svc.sock http://x/pods/x");
    assert_ne!(denied.code, 0, "{denied}");
    assert_eq!(host.sh("stat -c %a:%u:%g /run/rkt/metadata-svc.sock").success().trimmed(), "660:0:0");
    // Requests that are no good do it no harm.
    host.sh("head -c 3000000 /dev/zero | curl -s -o /dev/null --data-binary @- http://127.0.0.1:18112/x || true; \
             printf 'GET / HTTP/1.1\\r\\n' | timeout 1 busybox nc 127.0.0.1 18112 || true; head -c 100000 /dev/urandom | timeout 1 busybox nc 127.0.0.1 18112 || true")
        .success();
    assert_eq!(case.property("rkt-metadata.service", "MainPID"), pid);
}

#[test]
fn without_a_service_or_a_way_to_it_a_pod_does_not_start() {
    let case = Case::new(Stage1::Nspawn);
    let _service = SERVICE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    case.host().exec("systemctl").args(["stop", "rkt-metadata.socket", "rkt-metadata.service"]).ok();
    case.run(["--mds-register", case.busybox(), "--exec=/bin/true"]).fails(254).says("rkt-metadata.socket");
    // It opens its sockets itself, too.
    let mut service = case.rkt(["metadata-service", "--listen-port=18113"]).spawn();
    let socket = case.host().path("/run/rkt/metadata-svc.sock");
    eventually("its socket", || Some(()).filter(|()| socket.exists()));
    case.run_as("second", ["--mds-register", case.busybox(), "--exec=/bin/true"]).ok();
    case.rkt(["metadata-service"]).fails(254).says("already");
    service.kill();
    case.host().sh("rm -f /run/rkt/metadata-svc.sock").success();
    let none = Case::new(Stage1::Nspawn).with_net("--net=none");
    none.run(["--mds-register", none.busybox(), "--exec=/bin/true"]).fails(254).says("--net=none");
}
