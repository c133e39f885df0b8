//! Pods whose file has sockets: a connection starts them, and none is refused while they restart.

use tests::case::{Case, Stage1};
use tests::pod_file::PodFile;

use crate::pod_files::perl;

under_both_walls!(sockets_are_passed_by_name, connections_are_proxied);

fn sockets_are_passed_by_name(case: &Case) {
    let one = case.tmp("one.sock");
    // Told to end, it serves whom it has accepted.
    let script = "$| = 1; $SIG{TERM} = sub { $end = 1 }; print qq($ENV{LISTEN_FDS} $ENV{LISTEN_FDNAMES}\\n); \
                  open(my $l, '+<&=3') or die; vec(my $all, 3, 1) = 1; \
                  until ($end) { select(my $ready = $all, undef, undef, 0.1) > 0 or next; \
                  accept(my $c, $l) or die; syswrite($c, qq(served\\n)); close $c }";
    let file = PodFile::new(case, "socket");
    let rest = format!("[Socket]\nFileDescriptorName=wanted\nListenStream={one}\n");
    file.write(&perl(case, "", script, "Sockets=wanted", &rest));
    let socket = format!("rkt-pod@{}.socket", file.name());
    case.know_unit(&socket);
    case.systemctl(&["start", &socket]);
    assert_eq!(file.property("ActiveState"), "inactive");
    // The first connection starts the pod, and is served by it.
    let connect = || {
        let ask = "use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0); connect($s, sockaddr_un($ARGV[0])) or die qq(refused: $!); print <$s>";
        case.host().exec("perl").args(["-e", ask, &one]).ok().stdout
    };
    assert_eq!(connect(), "served\n");
    case.journal(&["-u", &file.unit()], "1 wanted");
    // Nobody is refused while the pod restarts.
    case.systemctl(&["restart", "--no-block", &file.unit()]);
    let served = (0..20).filter(|_| connect() == "served\n").count();
    // One that the monitor of a machine had taken already may be lost with it.
    let least = if case.stage1() == Stage1::Kvm { 18 } else { 20 };
    assert!(served >= least, "only {served} of 20 were served");
    case.systemctl(&["stop", &socket, &file.unit()]);
}

/// An app that knows nothing of sockets; nobody is refused while it starts and restarts.
fn connections_are_proxied(case: &Case) {
    let (outside, inside) = if case.stage1() == Stage1::Fly { (18231, 18232) } else { (18233, 80) };
    let script = format!("mkdir -p /tmp/www; echo hello >/tmp/www/x; exec httpd -f -p {inside} -h /tmp/www");
    let network = if case.stage1() == Stage1::Fly { "host" } else { "default" };
    let pod = format!("Network={network}\nProxy={inside}");
    let rest = format!("[Socket]\nListenStream=127.0.0.1:{outside}\n");
    let file = PodFile::sh(case, "proxy", &pod, &script, "", &rest);
    let socket = format!("rkt-pod@{}.socket", file.name());
    let proxy = format!("rkt-pod-proxy@{}.service", file.name());
    for unit in [&socket, &proxy] {
        case.know_unit(unit);
    }
    case.systemctl(&["start", &socket]);
    assert_eq!(file.property("ActiveState"), "inactive");
    let get = || {
        let url = format!("http://127.0.0.1:{outside}/x");
        let output = case.host().exec("busybox").args(["wget", "-q", "-O", "-", &url]).output();
        assert!(!output.stderr.contains("refused"), "{output}");
        output.stdout == "hello\n"
    };
    assert!(get(), "the first connection starts the pod and is served");
    assert_eq!(file.property("ActiveState"), "active");
    case.systemctl(&["restart", "--no-block", &file.unit()]);
    // One that the old app had taken already may be lost with it.
    let served = (0..20).filter(|_| get()).count();
    assert!(served >= 18, "only {served} of 20 were served");
    case.systemctl(&["stop", &socket, &proxy, &file.unit()]);
}
