//! Pods of pod files behind one wall and then another, and pods that come from elsewhere.

use tests::case::{Case, Stage1, eventually};
use tests::images;
use tests::network::{get, number};
use tests::oci::Layout;
use tests::pod_file::PodFile;

use serde_json::json;

/// What stays the same behind each wall: the host's name for it, names inside, volumes, environment, who runs it.
const QUESTIONS: &str =
    "cat /data/kept; echo $0 $COLOR $(id -u):$(id -g) $(pwd); ls /data; stat -c %a /scratch";

#[test]
fn there_and_back_again() {
    let case = Case::new(Stage1::Nspawn);
    let dir = case.tmp("shared");
    case.host().write(&format!("{dir}/kept"), "kept\n");
    case.host().exec("chmod").args(["777", &dir]).ok();
    let app = "Mount=data:/data\nTmpfs=/scratch:mode=1777\nUser=alice\nGroup=staff\nEnvironment=COLOR=blue\nWorkingDirectory=/tmp";
    let pod = format!("Network=host\nVolume=data:{dir}");
    let script = "echo began >>/data/log; exec sleep 1000";
    let file = PodFile::sh(&case, "back", &pod, script, app, "");
    let ask = || file.enter(&["/bin/sh", "-c", QUESTIONS]);
    file.start();
    let first = ask();
    for (wall, words) in [("fly", "fly: a chroot"), ("nspawn", "nspawn: a Linux container")] {
        file.drop_in("50-wall", &format!("[Pod]\nIsolation={wall}\n"));
        case.systemctl(&["restart", &file.unit()]);
        assert_eq!(file.property("ActiveState"), "active");
        case.rkt(["pod", "show", file.name()]).ok().prints(words);
        let flavor = format!("{}/flavor", case.pod_dir(&file.uuid()).unwrap_or_default());
        assert_eq!(case.host().exec("readlink").arg(flavor).ok().trimmed(), wall);
        assert_eq!(ask(), first, "{wall}");
    }
    assert_eq!(case.host().read(&format!("{dir}/log")), "began\nbegan\nbegan\n");
}

/// The address is the network's to give: a pod that says which one it wants has it behind every wall.
fn switch(wall: &str) {
    let case = Case::new(Stage1::Nspawn);
    let n = number();
    let (port, address) = (20_000 + n * 10, format!("172.16.28.{}", 200 + n % 50));
    let dir = case.tmp("www");
    case.host().write(&format!("{dir}/index.html"), "of the volume");
    let pod = format!(
        "Network=default:IP={address}\nPublishPort={port}:80\nHostName=box\nVolume=www:{dir}:ro\nSysctl=net.core.somaxconn=99"
    );
    let app = "Mount=www:/www";
    let file = PodFile::sh(&case, "wall", &pod, "exec httpd -f -p 80 -h /www", app, "");
    file.start();
    let check = |flavor: &str| {
        let path = format!("{}/flavor", case.pod_dir(&file.uuid()).unwrap_or_default());
        assert_eq!(case.host().exec("readlink").arg(path).ok().trimmed(), flavor);
        for url in [format!("http://127.0.0.1:{port}/"), format!("http://{address}/")] {
            eventually("the server to answer", || {
                (get(case.host(), &url).stdout == "of the volume").then_some(())
            });
        }
        assert_eq!(file.enter(&["hostname"]), "box\n");
        assert_eq!(file.enter(&["cat", "/proc/sys/net/core/somaxconn"]), "99\n");
        let networks = case.rkt(["status", "--format=json", &file.uuid()]).ok().json()["networks"].clone();
        assert_eq!(networks[0]["ip"], address, "{networks}");
    };
    check("nspawn");
    for wall in [wall, "nspawn"] {
        file.drop_in("50-wall", &format!("[Pod]\nIsolation={wall}\n"));
        case.systemctl(&["restart", &file.unit()]);
        assert_eq!(file.property("ActiveState"), "active");
        check(wall);
    }
    case.systemctl(&["stop", &file.unit()]);
}

/// Its port, its address and its names are the pod's, not the wall's.
mod ports_and_addresses_stay {
    /// The pod is another one each time, behind the same wall.
    #[test]
    fn nspawn() {
        super::switch("nspawn");
    }

    #[test]
    #[ignore = "emulates a machine: cargo xtask test kvm"]
    fn kvm() {
        super::switch("kvm");
    }
}

under_supervised_walls!(an_imported_quadlet_serves);

fn an_imported_quadlet_serves(case: &Case) {
    let port = 20_000 + number() * 10;
    let layout = Layout::new(&json!({
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["false"], "User": "alice", "ExposedPorts": {"80/tcp": {}},
    }));
    let image = case.tmp("image");
    layout.layer(&images::layer()).write(case.host(), &image);
    let page = case.tmp("www/index.html");
    case.host().write(&page, "of the quadlet");
    case.host().write(&case.tmp("quadlet.env"), "GREETING=hello\n");
    let quadlet = case.tmp("web.container");
    // Devices of the host do not reach into a machine.
    let has_devices = case.stage1() != Stage1::Kvm;
    let device = if has_devices { "\nAddDevice=/dev/full:/dev/filled" } else { "" };
    case.host().write(
        &quadlet,
        format!(
            "[Unit]\nDescription=From podman\n[Container]\nImage=oci:{image}\n\
             Exec='echo $GREETING; exec httpd -f -p 80 -h /www'\n\
             PublishPort=127.0.0.1:{port}:80\nUserNS=auto\nSysctl=net.ipv4.ip_unprivileged_port_start=80\nVolume={}:/www:ro\n\
             EnvironmentFile=./quadlet.env{device}\nHealthCmd=/bin/wget -q -O /dev/null http://127.0.0.1/\nHealthInterval=1s\n\
             HostName=quadlet\nReadOnly=true\nDropCapability=all\nNoNewPrivileges=true\nLogDriver=journald\n\
             [Service]\nRestart=always\n[Install]\nWantedBy=multi-user.target\n",
            case.tmp("www")
        ),
    );
    case.host().write(&format!("{quadlet}.d/10-more.conf"), "[Container]\nReadOnly=false\n");
    let imported = case.rkt(["pod", "import", &quadlet]).ok();
    assert!(imported.stderr.contains("web.container.d are not carried over"), "{imported}");
    // What was left out is told, and only that.
    assert_eq!(imported.stderr.matches("warning").count(), 1, "{imported}");
    assert!(imported.stderr.contains("LogDriver= is not carried over"), "{imported}");
    let file = PodFile::new(case, "quadlet");
    file.write(&imported.stdout);
    file.drop_in("50-wall", &format!("[Pod]\nIsolation={}\n", case.stage1().word()));
    file.start();
    assert_eq!(file.property("Description"), "From podman");
    case.journal(&["-u", &file.unit()], "hello");
    let url = format!("http://127.0.0.1:{port}/");
    eventually("the server to answer", || (get(case.host(), &url).stdout == "of the quadlet").then_some(()));
    let app = |script: &str| {
        let words =
            ["enter".to_owned(), file.uuid(), "/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
        case.rkt(words).ok().stdout
    };
    assert_eq!(
        app("id -u; hostname; grep CapBnd /proc/self/status | cut -f2"),
        "1001\nquadlet\n0000000000000000\n"
    );
    if has_devices {
        let written = app("{ echo x >/dev/filled; } 2>&1 || true");
        assert!(written.contains("No space left on device"), "{written}");
    }
    let check = format!("rkt-pod-health@{}.service", file.name());
    eventually("a check", || (case.property(&check, "ExecMainExitTimestampMonotonic") != "0").then_some(()));
    assert_eq!(case.property(&check, "ExecMainStatus"), "0");
    case.systemctl(&["stop", &file.unit()]);
}
