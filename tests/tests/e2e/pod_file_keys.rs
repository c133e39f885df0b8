//! Keys of pod files, each with the effect that it has in the running pod.

use serde_json::json;
use tests::case::{Case, Stage1, eventually};
use tests::gpg::Gpg;
use tests::images;
use tests::pod_file::PodFile;

under_both_walls!(
    a_stage1_has_other_names,
    a_manifest_takes_the_place_of_apps,
    images_are_verified,
    roots_are_copies_where_that_is_asked_for,
    checks_of_health_are_as_they_are_asked_for,
    a_probe_waits_between_two_tries,
    credentials_come_from_every_source,
);
under_supervised_walls!(kernel_parameters_are_the_pods_own, users_are_the_pods_own, streams_are_attached_to);

fn kernel_parameters_are_the_pods_own(case: &Case) {
    let pod = "Sysctl=net.ipv4.ip_unprivileged_port_start=80 kernel.msgmax=4096\n\
               Sysctl=\"net.ipv4.ping_group_range=0 100\"";
    let file = PodFile::sh(case, "own", &format!("Network=none\n{pod}"), "sleep 1000", "", "");
    let names = ["net/ipv4/ip_unprivileged_port_start", "kernel/msgmax", "net/ipv4/ping_group_range"];
    let of_host = names.map(|name| case.host().read(&format!("/proc/sys/{name}")));
    // A network that is joined is made outside of the pod, and users of the pod's own do not administrate it.
    for more in ["", "PrivateUsers=yes", "PrivateUsers=yes\nNetwork=\nNetwork=default"] {
        file.drop_in("10-more", &format!("[Pod]\n{more}\n"));
        case.systemctl(&["restart", &file.unit()]);
        let of_pod = names.map(|name| file.enter(&["cat", &format!("/proc/sys/{name}")]).trim().to_owned());
        assert_eq!(of_pod, ["80", "4096", "0\t100"], "{more}");
    }
    assert_eq!(names.map(|name| case.host().read(&format!("/proc/sys/{name}"))), of_host);
    case.rkt(["pod", "show", file.name()]).ok().prints("kernel.msgmax=4096");
}

/// The users of a machine are its own in any case.
fn users_are_the_pods_own(case: &Case) {
    let file = PodFile::sh(case, "users", "Network=none\nPrivateUsers=yes", "sleep 1000", "", "");
    file.start();
    let map = file.enter(&["cat", "/proc/self/uid_map"]);
    let map: Vec<u32> = map.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if case.stage1() == Stage1::Nspawn {
        assert!(map[0] == 0 && map[1] >= 65_536 && map[2] == 65_536, "{map:?}");
    }
    case.rkt(["pod", "show", file.name()]).ok().prints("Users");
}

/// No network, for pods that can be without one.
fn network(case: &Case) -> &'static str {
    if case.stage1() == Stage1::Fly { "" } else { "Network=none\n" }
}

fn a_stage1_has_other_names(case: &Case) {
    let path = format!("/usr/lib/rkt/stage1-images/{}", case.stage1().file());
    // Nothing says here what the flavor is: the network is not left to that.
    let network = if case.stage1() == Stage1::Fly { "host" } else { "none" };
    let text = |stage1: &str| {
        format!(
            "[Pod]\nStage1={stage1}\nNetwork={network}\nInsecureOptions=image\n[App app]\nImage={}\nExec=/bin/sleep 1000\n",
            case.busybox()
        )
    };
    let file = PodFile::new(case, "stage1");
    let key = case.rkt(["fetch", "--full", &path]).ok().trimmed().to_owned();
    let list = case.rkt(["image", "list", "--full", "--no-legend", "--fields=id,name"]).ok().stdout;
    let line = list.lines().find(|line| line.starts_with(&key)).unwrap_or_default();
    let name = line.split_whitespace().nth(1).unwrap_or_default();
    for stage1 in [path.as_str(), &key, name] {
        file.write(&text(stage1));
        file.start();
        let flavor = format!("{}/flavor", case.pod_dir(&file.uuid()).unwrap_or_default());
        assert_eq!(case.host().exec("readlink").arg(flavor).ok().trimmed(), case.stage1().word(), "{stage1}");
        case.rkt(["pod", "show", file.name()]).ok().prints(stage1);
        case.systemctl(&["stop", &file.unit()]);
    }
}

fn a_manifest_takes_the_place_of_apps(case: &Case) {
    let id = case.rkt(["fetch", "--full", images::BUSYBOX_FILE]).ok().trimmed().to_owned();
    let manifest = json!({
        "acKind": "PodManifest", "acVersion": "0.8.11",
        "apps": [{
            "name": "app", "image": {"id": id},
            "app": {"exec": ["/bin/sh", "-c", "echo of the manifest; exec sleep 1000"], "user": "0", "group": "0"},
        }],
    });
    let file = PodFile::new(case, "manifest");
    case.host().write(&format!("/etc/rkt/pods/{}.json", file.name()), manifest.to_string());
    let pod = format!("[Pod]\nIsolation={}\n{}", case.stage1().word(), network(case));
    file.write(&format!("{pod}Manifest={}.json\n", file.name()));
    case.rkt(["pod", "verify", file.name()]).ok();
    file.start();
    case.journal(&["-u", &file.unit(), "-t", "app"], "of the manifest");

    // A mistake in it is found before anything runs.
    let other = case.tmp("other.pod");
    case.host().write(&other, format!("{pod}Manifest=other.json\n"));
    case.host().write(&case.tmp("other.json"), manifest.to_string().replace("PodManifest", "PodFest"));
    case.rkt(["pod", "verify", &other]).output().code(1).prints("other.json");
}

fn images_are_verified(case: &Case) {
    const ALICE: &str = "alice@example.com";
    let name = format!("example.com/{}", case.name());
    let aci = images::busybox(&name).app(&["/bin/sh", "-c", "echo verified; exec sleep 1000"], &json!({}));
    let image = case.image("signed.aci", aci.build());
    let gpg = Gpg::new(case.host());
    gpg.generate(ALICE, "never", &[]);
    let signature = case.tmp("signature");
    gpg.run(&["--local-user", ALICE, "--output", &signature, "--detach-sign", &image]);
    let trust = ["trust", "--skip-fingerprint-review", &format!("--prefix={name}"), &gpg.export(ALICE)];
    case.rkt(trust).ok();

    let file = PodFile::new(case, "signed");
    let pod = format!("[Pod]\nIsolation={}\n{}", case.stage1().word(), network(case));
    file.write(&format!("{pod}[App]\nName=other\nImage={image}\n"));
    assert_ne!(case.host().exec("systemctl").args(["start", &file.unit()]).output().code, 0);
    file.wait_for_failure();
    assert!(file.property("StatusText").contains("signature"), "{}", file.property("StatusText"));

    file.drop_in("10-signature", &format!("[App]\nSignature={signature}\n"));
    file.start();
    case.journal(&["-u", &file.unit(), "-t", "other"], "verified");

    // Who gives the safeguard up does without.
    file.drop_in("10-signature", "[Pod]\nInsecureOptions=image\n");
    case.systemctl(&["restart", &file.unit()]);
    assert_eq!(file.property("ActiveState"), "active");
}

/// Overlays are mounted where the host does not see them; copies lie in the pod's directory.
fn roots_are_copies_where_that_is_asked_for(case: &Case) {
    let file = PodFile::sh(case, "overlay", "", "sleep 1000", "", "");
    let program = || {
        let dir = case.pod_dir(&file.uuid()).unwrap_or_default();
        case.host().path(format!("{dir}/stage1/rootfs/opt/stage2/app/rootfs/bin/busybox")).exists()
    };
    file.start();
    assert!(!program());
    file.drop_in("10-overlay", "[Pod]\nOverlay=no\n");
    case.systemctl(&["restart", &file.unit()]);
    assert!(program());
    assert_eq!(file.enter(&["readlink", "/bin/sh"]), "busybox\n");
}

#[test]
fn ipc_is_the_pods_or_the_hosts() {
    let case = Case::new(Stage1::Nspawn);
    let file = PodFile::sh(&case, "ipc", "Network=none\nIPC=private", "sleep 1000", "", "");
    let of_host = case.host().exec("readlink").arg("/proc/self/ns/ipc").ok().trimmed().to_owned();
    let of_pod = || {
        file.start();
        file.enter(&["readlink", "/proc/self/ns/ipc"]).trim().to_owned()
    };
    assert_ne!(of_pod(), of_host);
    case.systemctl(&["stop", &file.unit()]);
    file.drop_in("10-ipc", "[Pod]\nIPC=parent\n");
    assert_eq!(of_pod(), of_host);
}

fn streams_are_attached_to(case: &Case) {
    let app = "StandardInput=stream\nStandardOutput=stream\nStandardError=log";
    let script = "echo up >&2; while read line; do echo heard $line; done";
    let file = PodFile::sh(case, "streams", "", script, app, "");
    file.start();
    case.journal(&["-u", &file.unit(), "-t", "app"], "up");
    let mut client = case.rkt(["attach", "--mode=stdin,stdout", &file.uuid()]).input("a word\n").spawn();
    client.wait_for_stdout("heard a word");
    client.kill();
}

/// From every source that systemd has; encrypted ones lie on the disk as they are, and nobody inside decrypts them.
fn credentials_come_from_every_source(case: &Case) {
    let (plain, sealed) = (case.tmp("plain"), case.tmp("sealed"));
    case.host().write(&plain, "of a file");
    let encrypt = "printf 'under seal' | systemd-creds encrypt --with-key=host --name=sealed -";
    case.host().sh(&format!("{encrypt} {sealed}")).success();
    assert!(!case.host().read(&sealed).contains("under seal"));
    let rest = format!(
        "[Service]\nLoadCredential=loaded:{plain}\nSetCredential=said:of-the-unit\nLoadCredentialEncrypted=sealed:{sealed}\n"
    );
    // Without Credentials= an app gets all of them, with an empty one none.
    let file = PodFile::sh(case, "sources", network(case), "sleep 1000", "", &rest);
    file.start();
    let ask = |script: &str| file.enter(&["/bin/sh", "-c", script]);
    assert_eq!(
        ask("cd $CREDENTIALS_DIRECTORY && for name in *; do echo $name: $(cat $name); done"),
        "loaded: of a file\nsaid: of-the-unit\nsealed: under seal\n"
    );
    case.systemctl(&["stop", &file.unit()]);
    file.drop_in("10-none", "[App]\nCredentials=\n");
    file.start();
    assert_eq!(
        ask(
            "ls -A ${CREDENTIALS_DIRECTORY:-/nonexistent} 2>/dev/null; ls /run/credentials 2>/dev/null; true"
        )
        .trim(),
        ""
    );
}

/// Each of these apps is sick from the start.
fn checks_of_health_are_as_they_are_asked_for(case: &Case) {
    let check = |file: &PodFile<'_>| format!("rkt-pod-health@{}.service", file.name());
    let sick = |id: &str, command: &str, app: &str| {
        let app = format!("HealthCommand={command}\nHealthInterval=200ms\n{app}");
        // One that is started again and again stays below no limit.
        let file = PodFile::sh(case, id, "", "sleep 1000", &app, "[Unit]\nStartLimitIntervalSec=0\n");
        file.start();
        file
    };
    // It may be, for a while.
    let early = sick("early", "/bin/false", "HealthRetries=1\nHealthStartPeriod=1h\nOnUnhealthy=kill");
    // It is only told.
    let told = sick("told", "/bin/false", "HealthRetries=1\nOnUnhealthy=none");
    // One that does not answer is not healthy.
    let slow = sick("slow", "/bin/sleep 1000", "HealthTimeout=300ms\nHealthRetries=2\nOnUnhealthy=stop");
    let again = sick("again", "/bin/test -e /tmp/x", "HealthRetries=1\nOnUnhealthy=restart");
    let first = again.uuid();
    case.journal(&["-u", &check(&slow)], "app app is not healthy (2 of 2 times)");
    eventually("the pod to be stopped", || (slow.property("ActiveState") == "inactive").then_some(()));
    assert_eq!(slow.property("Result"), "success");
    eventually("the pod to be another", || {
        (again.uuid() != first && again.property("ActiveState") == "active").then_some(())
    });
    case.journal(&["-u", &check(&early)], "app app is not healthy yet");
    case.journal(&["-u", &check(&told)], "app app is not healthy (3 of 1 times)");
    for file in [&early, &told] {
        assert_eq!(file.property("ActiveState"), "active");
    }
}

/// With an hour between two tries the second one never comes.
fn a_probe_waits_between_two_tries(case: &Case) {
    let app = "ReadyCommand=/bin/test -e /tmp/ready\nReadyInterval=1h";
    let file = PodFile::sh(case, "rare", "ReadyTimeout=8s", "sleep 3; touch /tmp/ready; sleep 1000", app, "");
    assert_ne!(case.host().exec("systemctl").args(["start", &file.unit()]).output().code, 0);
    file.wait_for_failure();
    assert_eq!(file.property("Result"), "timeout");
}
