use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

fn pod() -> (tempfile::TempDir, PodDir) {
    let pod = tempfile::tempdir().unwrap();
    let dir = PodDir::from(sys::path::open_directory(pod.path()).unwrap());
    (pod, dir)
}

#[test]
fn what_stage0_writes_can_be_read() {
    let (pod, dir) = pod();
    assert_eq!(dir.manifest_json().unwrap(), None);
    dir.write_manifest(b"{\"a\":1}").unwrap();
    dir.write_manifest(b"{}").unwrap();
    assert_eq!(dir.manifest_json().unwrap().as_deref(), Some(&b"{}"[..]));
    assert!(!pod.path().join("pod.new").exists());
    assert_eq!(std::fs::metadata(pod.path().join("pod")).unwrap().permissions().mode() & 0o777, 0o640);

    dir.write_image_manifest("web", b"[]").unwrap();
    dir.write_tree_id("web", "deps-sha512-aa").unwrap();
    dir.write_stage1_manifest(b"[1]").unwrap();
    dir.write_stage1_tree_id("deps-sha512-bb").unwrap();
    assert_eq!(dir.image_manifest_json("web").unwrap().as_deref(), Some(&b"[]"[..]));
    assert_eq!(dir.image_manifest_json("db").unwrap(), None);
    assert_eq!(dir.tree_id("web").unwrap().as_deref(), Some("deps-sha512-aa"));
    assert_eq!(dir.stage1_manifest_json().unwrap().as_deref(), Some(&b"[1]"[..]));
    assert_eq!(dir.stage1_tree_id().unwrap().as_deref(), Some("deps-sha512-bb"));

    assert!(!dir.is_overlay().unwrap());
    dir.mark_overlay().unwrap();
    assert!(dir.is_overlay().unwrap());
    assert_eq!(dir.private_users().unwrap(), None);
    dir.write_private_users(65536, 65536).unwrap();
    assert_eq!(dir.private_users().unwrap(), Some((65536, 65536)));
    dir.write("private-users-prepared", b"65536").unwrap();
    assert!(matches!(dir.private_users(), Err(Error::Damaged { .. })));
}

#[test]
fn names_stay_in_their_directory() {
    let (_pod, dir) = pod();
    for name in ["", ".", "..", "a/b", "../x", "a\0b"] {
        assert!(matches!(dir.write_image_manifest(name, b""), Err(Error::BadName(_))), "{name:?}");
        assert!(matches!(dir.exit_status(name), Err(Error::BadName(_))), "{name:?}");
        assert!(matches!(dir.write_stage1_tree_id(name), Err(Error::BadName(_))), "{name:?}");
    }
    dir.write("stage1TreeStoreID", b"../../../../etc").unwrap();
    assert!(matches!(dir.stage1_tree_id(), Err(Error::BadName(_))));
}

#[test]
fn large_files_are_read_whole() {
    let (_pod, dir) = pod();
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    for length in [0, 1, 4095, 4096, 4097, 16384, content.len()] {
        dir.write("pod", &content[..length]).unwrap();
        assert_eq!(dir.read("pod").unwrap().as_deref(), Some(&content[..length]), "{length}");
    }
}

#[test]
fn overlay_directories_look_like_the_layer() {
    let (pod, dir) = pod();
    let layer = tempfile::tempdir().unwrap();
    std::fs::set_permissions(layer.path(), PermissionsExt::from_mode(0o2711)).unwrap();
    let like = sys::path::open_directory(layer.path()).unwrap();
    dir.create_overlay("deps-sha512-aa", Some("web"), like.as_fd(), 0).unwrap();
    let upper = std::fs::metadata(pod.path().join("overlay/deps-sha512-aa/upper/web")).unwrap();
    assert_eq!(upper.mode() & 0o7777, 0o711);
    assert_eq!(upper.uid(), rustix::process::geteuid().as_raw());
    assert!(pod.path().join("overlay/deps-sha512-aa/work/web").is_dir());
    dir.open_overlay("deps-sha512-aa", Some("web")).unwrap();
    assert!(dir.open_overlay("deps-sha512-aa", Some("db")).unwrap_err().is_not_found());
}

#[test]
fn exit_codes_come_from_where_the_stage1_root_is_written() {
    let (pod, dir) = pod();
    let copy = pod.path().join("stage1/rootfs/rkt/status");
    std::fs::create_dir_all(&copy).unwrap();
    std::fs::write(copy.join("web"), "1\n").unwrap();
    assert_eq!(dir.exit_status("web").unwrap().map(|exit| exit.code), Some(1));

    dir.mark_overlay().unwrap();
    dir.write_stage1_tree_id("deps-sha512-bb").unwrap();
    assert_eq!(dir.exit_status("web").unwrap(), None);
    assert!(!dir.is_ready().unwrap());
    let upper = pod.path().join("overlay/deps-sha512-bb/upper/rkt/status");
    std::fs::create_dir_all(&upper).unwrap();
    for (content, code) in [("0", Some(0)), ("137", Some(137)), ("-1", Some(-1)), ("x", Some(1)), ("", None)]
    {
        std::fs::write(upper.join("web"), content).unwrap();
        assert_eq!(dir.exit_status("web").unwrap().map(|exit| exit.code), code, "{content:?}");
    }
    let status = upper.join("../supervisor-status");
    symlink("starting", &status).unwrap();
    assert!(!dir.is_ready().unwrap());
    std::fs::remove_file(&status).unwrap();
    symlink("ready", &status).unwrap();
    assert!(dir.is_ready().unwrap());
}

#[test]
fn a_hostile_pod_cannot_point_elsewhere() {
    let (pod, dir) = pod();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("web"), "7").unwrap();
    let rkt = pod.path().join("stage1/rootfs/rkt");
    std::fs::create_dir_all(&rkt).unwrap();
    symlink(outside.path(), rkt.join("status")).unwrap();
    assert!(dir.exit_status("web").is_err());
    std::fs::remove_file(rkt.join("status")).unwrap();
    std::fs::create_dir(rkt.join("status")).unwrap();
    symlink(outside.path().join("web"), rkt.join("status/web")).unwrap();
    assert!(dir.exit_status("web").is_err());
    let fifo = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(&dir, "stage1/rootfs/rkt/status/db", rustix::fs::FileType::Fifo, fifo, 0).unwrap();
    assert_eq!(dir.exit_status("db").unwrap(), None, "nobody waits for a writer");
}

#[test]
fn a_start_half_written_is_none() {
    let (_pod, dir) = pod();
    dir.write("ppid", b"").unwrap();
    assert_eq!(dir.pid_file().unwrap(), None);
    dir.write("ppid", b"12\n").unwrap();
    assert_eq!(dir.pid_file().unwrap(), Pid::from_raw(12).map(PidFile::Parent));
    for bad in ["0", "-3", "x", "99999999999"] {
        dir.write("ppid", bad.as_bytes()).unwrap();
        let result = dir.pid_file();
        assert!(matches!(result, Err(Error::Damaged { .. })), "{bad}: {result:?}");
    }
    for (recorded, group) in
        [("/a/b/", Some("a/b")), ("a", Some("a")), ("/", None), ("", None), ("../a", None), ("a//b", None)]
    {
        dir.write("subcgroup", recorded.as_bytes()).unwrap();
        assert_eq!(dir.subcgroup().unwrap().as_deref(), group, "{recorded:?}");
    }
}

#[test]
fn networks() {
    let (_pod, dir) = pod();
    assert_eq!(dir.networks().unwrap(), []);
    let json = br#"[{"netName":"default","netConf":"net/99.conf","pluginPath":"p","ifName":"eth0",
        "ip":"172.16.28.2","args":"","mask":"255.255.255.0","more":1}]"#;
    dir.write("net-info.json", json).unwrap();
    let networks = dir.networks().unwrap();
    assert_eq!((networks[0].net_name.as_str(), networks[0].ip.as_str()), ("default", "172.16.28.2"));
    dir.write("net-info.json", b"{").unwrap();
    assert!(dir.networks().is_err());
}
