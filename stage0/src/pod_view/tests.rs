use super::*;
use pod::Place;
use std::time::Duration;

const MANIFEST: &str = r#"{"acVersion":"0.8.11","acKind":"PodManifest","apps":[
    {"name":"web","image":{"name":"example.com/web","id":"sha512-aabbccddeeff00112233","labels":[{"name":"version","value":"1.2"}]},
     "app":{"exec":["/web"],"user":"0","group":"0","mountPoints":[
        {"name":"data","path":"/data","readOnly":true},{"name":"more","path":"/more"},{"name":"none","path":"/none"}],
        "userLabels":{"l":"w"}},
     "mounts":[{"volume":"more","path":"/more"},{"volume":"own","path":"/own","appVolume":{"name":"own","kind":"empty"}}]},
    {"name":"db","image":{"id":"sha512-ff"}}],
  "volumes":[{"name":"data","kind":"host","source":"/srv/data"},{"name":"more","kind":"host","source":"/srv/more","readOnly":true}],
  "userAnnotations":{"a":"b"}}"#;

struct Fixture {
    _data: tempfile::TempDir,
    pods: Pods,
    uuid: pod::PodUuid,
}

impl Fixture {
    fn new(manifest: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        for place in Place::ALL {
            std::fs::create_dir_all(data.path().join("pods").join(place.directory())).unwrap();
        }
        let pods = Pods::open(data.path()).unwrap();
        let held = pods.create().unwrap();
        held.dir.write_manifest(manifest.as_bytes()).unwrap();
        let uuid = pods.finish_preparing(held).unwrap().uuid;
        Self { _data: data, pods, uuid }
    }

    fn pod(&self) -> Pod {
        self.pods.get(self.uuid).unwrap().unwrap()
    }

    fn set_time(&self, path: &str, seconds: u64) {
        let pod = self.pod();
        let file = self.pods.path(pod.place, self.uuid).join(path);
        let time = UNIX_EPOCH + Duration::new(seconds, 5_000_000);
        std::fs::File::open(file).unwrap().set_modified(time).unwrap();
    }

    fn json(&self) -> serde_json::Value {
        let text = crate::show::json(&PodView::read(&self.pods, &self.pod()).unwrap(), false).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

#[test]
fn a_pod_for_programs() {
    let fixture = Fixture::new(MANIFEST);
    fixture.set_time("pod-created", 1000);
    let prepared = fixture.json();
    assert_eq!(prepared["name"], fixture.uuid.as_str());
    assert_eq!(prepared["state"], "prepared");
    assert_eq!(prepared["app_names"], serde_json::json!(["web", "db"]));
    assert_eq!(prepared["created_at"], 1000);
    assert_eq!(prepared["user_annotations"], serde_json::json!({"a": "b"}));
    for absent in ["started_at", "networks", "user_labels"] {
        assert_eq!(prepared.get(absent), None, "{absent}");
    }
    let pod = fixture.pods.path(Place::Prepared, fixture.uuid);
    assert_eq!(
        prepared["apps"][0],
        serde_json::json!({
            "name": "web", "state": "created", "created_at": 1_000_005_000_000_i64,
            "image_id": "sha512-aabbccddeeff00112233",
            "mounts": [
                {"name": "more", "container_path": "/more", "host_path": "/srv/more", "read_only": true},
                {"name": "own", "container_path": "/own",
                 "host_path": pod.join("sharedVolumes/own").to_str().unwrap(), "read_only": false},
                {"name": "data", "container_path": "/data", "host_path": "/srv/data", "read_only": true},
            ],
            "user_labels": {"l": "w"},
        })
    );

    let mut held = fixture.pods.hold(fixture.pod()).unwrap();
    fixture.pods.start(&mut held).unwrap();
    held.dir.write("ppid", b"1").unwrap();
    held.dir.create_directory("stage1/rootfs/rkt/status").unwrap();
    held.dir.write("stage1/rootfs/rkt/status/db", b"3").unwrap();
    let net = br#"[{"netName":"default","netConf":"net/99.conf","pluginPath":"p","ifName":"eth0","ip":"172.16.28.2","args":"","mask":"255.255.255.0"}]"#;
    held.dir.write("net-info.json", net).unwrap();
    fixture.set_time("ppid", 2000);
    fixture.set_time("stage1/rootfs/rkt/status/db", 3000);
    let running = fixture.json();
    assert_eq!((&running["state"], &running["started_at"]), (&"running".into(), &2000.into()));
    assert_eq!(running["networks"][0]["ifName"], "eth0");
    assert_eq!(running["apps"][0]["state"], "running");
    assert_eq!(
        running["apps"][1],
        serde_json::json!({
            "name": "db", "state": "exited", "created_at": 1_000_005_000_000_i64, "started_at": 2_000_005_000_000_i64,
            "finished_at": 3_000_005_000_000_i64, "exit_code": 3, "image_id": "sha512-ff",
        })
    );
    drop(held);
    assert_eq!(fixture.json()["apps"][0]["state"], "exited");
}

#[test]
fn fields_stand_in_their_order() {
    let fixture = Fixture::new(MANIFEST);
    let text = crate::show::json(&PodView::read(&fixture.pods, &fixture.pod()).unwrap(), false).unwrap();
    let order = ["\"name\":", "\"state\":", "\"app_names\":", "\"apps\":", "\"user_annotations\":"];
    let places: Vec<_> = order.iter().map(|key| text.find(key)).collect();
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{text}");
}

#[test]
fn states_of_apps() {
    for (pod, ended, state) in [
        (State::Embryo, false, AppState::Unknown),
        (State::Preparing, false, AppState::Unknown),
        (State::AbortedPrepare, false, AppState::Unknown),
        (State::Prepared, false, AppState::Created),
        (State::Running, false, AppState::Running),
        (State::Running, true, AppState::Exited),
        (State::Exited, false, AppState::Exited),
        (State::ExitedGarbage, false, AppState::Exited),
        (State::Deleting, false, AppState::Exited),
    ] {
        assert_eq!(immutable_state(pod, ended), state, "{pod}, {ended}");
    }
    for (pod, created, started, ended, state) in [
        (State::Running, false, false, false, AppState::Unknown),
        (State::Running, true, false, false, AppState::Created),
        (State::Running, true, true, false, AppState::Running),
        (State::Running, true, true, true, AppState::Exited),
        (State::Exited, true, true, false, AppState::Exited),
    ] {
        assert_eq!(mutable_state(pod, created, started, ended), state, "{pod} {created} {started} {ended}");
    }
}

#[test]
fn networks_as_text() {
    let net = |name: &str, ip: &str| NetInfo {
        net_name: name.to_owned(),
        net_conf: String::new(),
        plugin_path: String::new(),
        if_name: String::new(),
        ip: ip.to_owned(),
        args: String::new(),
        mask: String::new(),
        ip6: String::new(),
        mask6: String::new(),
        ports: Vec::new(),
    };
    assert_eq!(networks_text(&[]), "");
    assert_eq!(networks_text(&[net("default", "172.16.28.2")]), "default:ip4=172.16.28.2");
    assert_eq!(
        networks_text(&[net("a", "10.0.0.1"), net("b", "10.1.0.1")]),
        "a:ip4=10.0.0.1, b:ip4=10.1.0.1"
    );
    let with_six = |ip: &str| NetInfo { ip6: "fd00::2".to_owned(), ..net("a", ip) };
    assert_eq!(networks_text(&[with_six("10.0.0.1")]), "a:ip4=10.0.0.1, a:ip6=fd00::2");
    assert_eq!(networks_text(&[with_six("")]), "a:ip6=fd00::2");
}
