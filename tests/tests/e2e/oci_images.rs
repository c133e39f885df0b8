//! OCI and Docker images in layouts and archives of the host: their layers, their configuration, and what is refused.

use std::time::Duration;

use serde_json::json;
use tar_core::EntryType::{Char, Directory, Regular};
use tests::aci::{Aci, Entry};
use tests::case::{Case, Stage1, app_lines};
use tests::host::Output;
use tests::images;
use tests::oci::{BUILT, Layout, built, digest};

use crate::images::compress;

fn alone() -> Case {
    Case::alone(Stage1::Fly)
}

/// fly wants a volume for every mount point of an image.
const VOLUME: &str = "--volume=volume-var-data,kind=empty";

under_both_walls!(
    what_buildah_built_runs,
    a_file_that_docker_save_wrote_runs,
    an_image_says_what_signal_asks_its_app_to_end
);

fn what_buildah_built_runs(case: &Case) {
    built(case.host());
    let output = case.run([VOLUME, &format!("oci:{BUILT}/layout:latest")]).ok();
    assert!(app_lines(&output.stdout).contains(&"hello there from web in /opt/old"), "{output}");

    let script = "cat /etc/kept /etc/copied /opt/old/other /private/file; ls /etc/gone /opt/old/file; stat -c '%a %u:%g' /private; id";
    let look = ["--user=0", "--exec=/bin/sh", "--", "-c", script];
    let output =
        case.run_as("look", [VOLUME, &format!("oci:{BUILT}/layout")].into_iter().chain(look)).output();
    let lines = app_lines(&output.stdout);
    for expected in ["kept", "copied", "new", "inside", "711 1005:1006"] {
        assert!(lines.contains(&expected), "no {expected:?}: {output}");
    }
    assert!(!output.stdout.contains("\ngone") && !output.stdout.contains("\nold"), "{output}");
}

fn a_file_that_docker_save_wrote_runs(case: &Case) {
    built(case.host());
    let output = case.run([VOLUME, &format!("docker-archive:{BUILT}/docker.tar")]).ok();
    assert!(app_lines(&output.stdout).contains(&"hello there from web in /opt/old"), "{output}");
    let manifest = case.rkt(["image", "cat-manifest", "example.com/team/app:1.5"]).ok().json();
    assert_eq!(manifest["name"], "example.com/team/app");
}

/// The image is configured with SIGINT. Only its program gets it: a child that knows nothing of it is asked as usual, at the end.
fn an_image_says_what_signal_asks_its_app_to_end(case: &Case) {
    built(case.host());
    let script = "sh -c \"trap 'echo child: INT' INT; trap 'echo child: TERM; exit 0' TERM; echo ready; while :; do sleep 0.1; done\" & \
                  trap 'echo program: INT; exit 0' INT; trap 'echo program: TERM; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let image = format!("oci:{BUILT}/layout:latest");
    let mut pod = case.run([VOLUME, &image, "--exec=/bin/sh", "--", "-c", script]).spawn();
    pod.wait_for_stdout("up");
    pod.wait_for_stdout("ready");
    case.rkt(["stop", &case.uuid()]).ok();
    let output = pod.wait(Duration::from_secs(20)).success();
    let lines = app_lines(&output.stdout);
    assert!(lines.contains(&"program: INT") && !lines.contains(&"program: TERM"), "{output}");
    assert!(!lines.contains(&"child: INT"), "{output}");
    if case.stage1() != Stage1::Fly {
        assert!(lines.contains(&"child: TERM"), "{output}");
    }
}

#[test]
fn every_source_of_one_image_has_the_same_layers() {
    let case = alone();
    built(case.host());
    for source in ["oci:layout", "oci:zstd", "oci-archive:oci.tar", "docker-archive:docker.tar"] {
        let source = source.replacen(':', &format!(":{BUILT}/"), 1);
        case.rkt(["fetch", &source]).ok();
    }
    let layers = case.host().sh(&format!("ls {}/cas/layer", case.data())).stdout;
    assert_eq!(layers.lines().filter(|layer| layer.starts_with("sha256-")).count(), 2, "{layers}");
    let names = case.rkt(["image", "list", "--no-legend", "--fields=name"]).ok().stdout;
    for name in ["layout:latest", "zstd:latest", "oci:latest", "example.com/team/app:1.5"] {
        assert!(names.lines().any(|line| line.trim() == name), "no {name}: {names}");
    }
    // The layers stay as long as one image has them.
    case.rkt(["image", "rm", "layout", "zstd", "oci"]).ok();
    case.run([VOLUME, "example.com/team/app:1.5"]).ok();
    case.rkt(["gc", "--grace-period=0s"]).ok();
    case.rkt(["gc", "--grace-period=0s"]).ok();
    case.rkt(["image", "rm", "example.com/team/app"]).ok();
    let left = case.host().sh(&format!("cd {}/cas; ls image name blob layer tree", case.data()));
    // The stage1 is an image of another kind.
    assert!(!left.stdout.contains("sha256"), "{left}");
    assert_eq!(left.stdout.matches(".json").count(), 1, "{left}");
}

#[test]
fn the_configuration_becomes_a_manifest() {
    let case = alone();
    built(case.host());
    let source = format!("oci:{BUILT}/layout:latest");
    let id = case.rkt(["fetch", &source]).ok().trimmed().to_owned();
    let manifest = case.rkt(["image", "cat-manifest", &id]).ok().json();
    let app = &manifest["app"];
    assert_eq!(app["exec"], json!(["/bin/sh", "/hello", "there"]));
    assert_eq!((&app["user"], &app["group"]), (&json!("web"), &json!("web")));
    assert_eq!(app["workingDirectory"], "/opt/old");
    assert_eq!(
        app["ports"][0],
        json!({"name": "8080-tcp", "protocol": "tcp", "port": 8080, "count": 1, "socketActivated": false})
    );
    assert_eq!(app["mountPoints"][0]["name"], "volume-var-data");
    assert_eq!(app["userLabels"]["purpose"], "test");
    let labels = manifest["labels"].to_string();
    for label in ["\"latest\"", "\"linux\"", "\"amd64\""] {
        assert!(labels.contains(label), "{labels}");
    }
    let annotations = manifest["annotations"].to_string();
    assert!(
        annotations.contains("appc.io/docker/repository") && annotations.contains("SIGINT"),
        "{annotations}"
    );
    // Fetched again it is the same image, by its ID, a part of it, and its name.
    assert_eq!(case.rkt(["fetch", &source]).ok().trimmed(), id);
    for word in [&id[..20], "layout", "layout:latest"] {
        assert_eq!(case.rkt(["image", "cat-manifest", word]).ok().json(), manifest);
    }
}

#[test]
fn oci_images_have_no_signature() {
    let case = alone();
    built(case.host());
    let data = format!("--dir={}", case.data());
    for source in ["oci:layout", "oci-archive:oci.tar", "docker-archive:docker.tar"] {
        let source = source.replacen(':', &format!(":{BUILT}/"), 1);
        case.host()
            .exec("/usr/bin/rkt")
            .args([&data, "fetch", &source])
            .fails(254)
            .says("--insecure-options=image");
    }
    let id = case.rkt(["fetch", &format!("oci:{BUILT}/layout")]).ok().trimmed().to_owned();
    // What root took once is there to be used.
    case.host().exec("/usr/bin/rkt").args([&data, "prepare", &Stage1::Fly.flag(), VOLUME, &id]).ok();
}

#[test]
fn images_in_rkts_own_notation() {
    let case = alone();
    let file = case.image("a.aci", crate::images::small("example.com/a", "a").build());
    let escaped = format!("file://{file}").replace(':', "%3A").replace('/', "%2F");
    case.rkt(["fetch", &format!("cimd:aci-archive:v=0:{escaped}")]).ok();
    let found =
        case.rkt(["fetch", "--pull-policy=never", "cimd:appc:v=0:example.com/a?version=1&os=linux"]).ok();
    assert_eq!(case.rkt(["image", "cat-manifest", found.trimmed()]).ok().json()["name"], "example.com/a");
    case.rkt(["fetch", "cimd:other:v=0:x"]).fails(254).says("cimd:TYPE:v=0:DATA");
}

/// The small root that all images by hand stand on.
fn base() -> Aci {
    let busybox = images::binary();
    let mut changes = Aci::changes().dir("bin", 0o755).file("bin/busybox", 0o755, busybox);
    for name in ["sh", "cat", "ls", "stat", "true", "find"] {
        changes = changes.symlink(&format!("bin/{name}"), "busybox");
    }
    changes
        .dir("etc", 0o700)
        .file("etc/passwd", 0o644, "root:x:0:0:root:/:/bin/sh\n")
        .dir("dir", 0o755)
        .file("dir/lower", 0o644, "lower")
        .file("file", 0o644, "lower")
        .dir("swap", 0o755)
        .file("swap/inside", 0o644, "inside")
}

fn image() -> Layout {
    Layout::new(&json!({"Cmd": ["/bin/true"]})).layer(&base())
}

fn source(case: &Case, layout: &Layout) -> String {
    let dir = case.tmp("layout");
    layout.write(case.host(), &dir);
    format!("oci:{dir}")
}

fn look(case: &Case, source: &str, options: &[&str], script: &str) -> Output {
    let words = options.iter().copied().chain([source, "--exec=/bin/sh", "--", "-c", script]);
    case.run(words).output()
}

#[test]
fn a_layer_takes_away_what_lower_ones_have() {
    let upper = Aci::changes()
        .file(".wh.file", 0o644, "")
        .dir("dir", 0o755)
        .file("dir/upper", 0o644, "upper")
        // The mark comes after what it does not hide.
        .file("dir/.wh..wh..opq", 0o644, "")
        // A directory where a file was, and the other way round.
        .file(".wh.swap", 0o644, "")
        .file("swap", 0o644, "a file now")
        // A parent that this layer does not have: it stays as it is.
        .file("etc/added", 0o644, "added");
    let again = Aci::changes()
        .file(".wh.swap", 0o644, "")
        .dir("swap", 0o755)
        .file("swap/other", 0o644, "other")
        .file(".wh..wh.plnk/1.2", 0o644, "of aufs");
    for options in [&[][..], &["--no-overlay"]] {
        let case = alone();
        let source = source(&case, &image().layer(&upper).layer(&again));
        let output = look(
            &case,
            &source,
            options,
            "cat /dir/upper /etc/added; echo; ls -A /dir; ls -A /swap; stat -c %a /etc; ls -A /; ls /file /dir/lower /swap/inside",
        );
        let lines = app_lines(&output.stdout);
        for expected in ["upperadded", "upper", "other", "700"] {
            assert!(lines.contains(&expected), "no {expected:?}: {output}");
        }
        for hidden in ["lower", "inside", "file", ".wh..wh.plnk", ".wh..wh..opq"] {
            assert!(!lines.contains(&hidden), "{hidden:?} shows: {output}");
        }
    }
}

#[test]
fn an_opaque_root_hides_all_lower_layers() {
    let secret = Aci::changes().file("secret", 0o644, "");
    let upper = base().file(".wh..wh..opq", 0o644, "").file("top", 0o644, "");
    let layout = Layout::new(&json!({"Cmd": ["/bin/true"]})).layer(&secret).layer(&upper);
    let case = alone();
    let output = look(&case, &source(&case, &layout), &[], "ls -A /");
    let lines = app_lines(&output.stdout);
    assert!(lines.contains(&"top") && !lines.contains(&"secret"), "{output}");
}

#[test]
fn one_layer_may_stand_several_times() {
    let middle = Aci::changes().file(".wh.file", 0o644, "");
    let layout = Layout::new(&json!({"Cmd": ["/bin/true"]})).layer(&base()).layer(&middle).layer(&base());
    let case = alone();
    let output = look(&case, &source(&case, &layout), &[], "cat /file; echo");
    assert!(app_lines(&output.stdout).contains(&"lower"), "{output}");
}

#[test]
fn every_compression_gives_the_same_layer() {
    let tar = base().layer();
    let oci = "application/vnd.oci.image.layer.v1.tar";
    let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    for (program, media_type) in [
        ("cat", oci.to_owned()),
        ("gzip", format!("{oci}+gzip")),
        ("gzip", docker.to_owned()),
        ("zstd", format!("{oci}+zstd")),
    ] {
        let blob = if program == "cat" { tar.clone() } else { compress(program, &tar) };
        let case = alone();
        let layout = Layout::new(&json!({})).blob(&blob, &tar, &media_type);
        case.rkt(["fetch", &source(&case, &layout)]).ok();
        let layers = case.host().sh(&format!("ls {}/cas/layer", case.data())).stdout;
        assert!(layers.contains(&digest(&tar).replace(':', "-")), "{program}: {layers}");
    }
}

/// Fetches, which fails; leaves nothing and names what is wrong.
#[track_caller]
fn refused(case: &Case, source: &str, says: &[&str]) {
    let output = case.rkt(["fetch", source]).fails(254);
    for text in says {
        assert!(output.stderr.contains(text), "no {text:?}: {output}");
    }
    let left = case.host().sh(&format!("cd {}/cas; ls -A image name blob layer tmp", case.data()));
    assert!(!left.stdout.contains("sha"), "{left}");
}

#[test]
fn parts_that_are_not_what_they_should_be_are_refused() {
    let tar = base().layer();
    let gzip = compress("gzip", &tar);
    let gzip_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    let compressed = || Layout::new(&json!({})).blob(&gzip, &tar, gzip_type);
    let other = digest(b"another");
    let blob =
        |case: &Case, digest: &str| case.tmp(&format!("layout/blobs/{}", digest.replacen(':', "/", 1)));

    // A layer that was changed, cut off, or swapped.
    let case = alone();
    let from = source(&case, &compressed());
    let path = blob(&case, &digest(&gzip));
    case.host().write(&path, &gzip[..gzip.len() / 2]);
    refused(&case, &from, &["bytes, not the expected"]);
    let mut changed = gzip.clone();
    changed[gzip.len() - 6] ^= 1;
    case.host().write(&path, &changed);
    refused(&case, &from, &[&digest(&gzip), "not the expected"]);
    case.host().write(&path, compress("gzip", &Aci::changes().dir("x", 0o755).layer()));
    refused(&case, &from, &["not the expected"]);
    case.host().sh(&format!("rm {path}")).success();
    refused(&case, &from, &["No such file"]);

    for (layout, says) in [
        (compressed().descriptor("digest", json!(other)), "No such file"),
        (compressed().descriptor("size", json!(7)), "not the expected 7"),
        (
            compressed().descriptor("mediaType", json!("application/vnd.oci.image.layer.v1.tar")),
            "its compression is gzip",
        ),
        (compressed().descriptor("mediaType", json!("text/html")), "text/html"),
        (compressed().config("rootfs", json!({"type": "layers", "diff_ids": [other]})), "uncompressed layer"),
        (compressed().config("rootfs", json!({"type": "layers", "diff_ids": []})), "no layers"),
        (compressed().config("rootfs", json!({"type": "layers", "diff_ids": [other, other]})), "2 layers"),
        (compressed().config("architecture", json!("mips")), "mips"),
        (compressed().manifest("mediaType", json!("application/vnd.oci.image.index.v1+json")), "media type"),
        (compressed().manifest("schemaVersion", json!(1)), "schemaVersion"),
        (compressed().entry("mediaType", json!("application/json")), "application/json"),
        (compressed().entry("digest", json!(other)), "No such file"),
        (compressed().entry("digest", json!("sha256:../../../etc/passwd")), "not valid"),
        (compressed().entry("size", json!(7)), "not the expected 7"),
    ] {
        let case = alone();
        refused(&case, &source(&case, &layout), &[says]);
    }
}

#[test]
fn documents_that_mean_two_things_are_refused() {
    type Change = fn(String) -> String;
    let changes: [(Change, &str); 4] = [
        (|text| text.replacen('{', r#"{"layers":[],"#, 1), "twice"),
        (|text| text.replacen(r#""size":"#, r#""size":99999999999999999999999"#, 1), "not valid"),
        (|text| text.replacen(r#""size":"#, r#""size":-"#, 1), "not valid"),
        (|_| "[".repeat(200_000), "not valid"),
    ];
    for (change, says) in changes {
        let case = alone();
        let dir = case.tmp("layout");
        image().write_with(case.host(), &dir, change);
        refused(&case, &format!("oci:{dir}"), &[says]);
    }
}

#[test]
fn an_index_has_to_have_our_platform() {
    let case = alone();
    let dir = case.tmp("layout");
    image().write(case.host(), &dir);
    let index: serde_json::Value =
        serde_json::from_str(&case.host().read(&format!("{dir}/index.json"))).expect("JSON");
    let ours = &index["manifests"][0];
    let entry = |os: &str, arch: &str| {
        let mut entry = ours.clone();
        entry["platform"] = json!({"os": os, "architecture": arch});
        entry
    };
    let write = |entries: &[serde_json::Value]| {
        // As registries have it: the index of the layout names an index for all platforms.
        let inner = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}).to_string();
        let digest = digest(inner.as_bytes());
        case.host().write(&format!("{dir}/blobs/{}", digest.replacen(':', "/", 1)), &inner);
        let outer = json!({"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": inner.len()});
        case.host().write(
            &format!("{dir}/index.json"),
            json!({"schemaVersion": 2, "manifests": [outer]}).to_string(),
        );
    };
    write(&[entry("linux", "s390x"), entry("windows", "amd64")]);
    refused(&case, &format!("oci:{dir}"), &["linux/amd64", "linux/s390x, windows/amd64"]);
    write(&[entry("linux", "s390x"), entry("linux", "amd64")]);
    case.rkt(["fetch", &format!("oci:{dir}")]).ok();
}

#[test]
fn the_image_of_a_layout_is_named() {
    let case = alone();
    let dir = case.tmp("layout");
    image().write(case.host(), &dir);
    let index: serde_json::Value =
        serde_json::from_str(&case.host().read(&format!("{dir}/index.json"))).expect("JSON");
    let named = |name: &str| {
        let mut entry = index["manifests"][0].clone();
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        entry
    };
    let both = json!({"schemaVersion": 2, "manifests": [named("1.0"), named("2.0")]});
    case.host().write(&format!("{dir}/index.json"), both.to_string());
    refused(&case, &format!("oci:{dir}"), &["1.0, 2.0"]);
    refused(&case, &format!("oci:{dir}:3.0"), &["3.0", "1.0, 2.0"]);
    case.rkt(["fetch", &format!("oci:{dir}:2.0")]).ok();
    assert_eq!(case.rkt(["image", "list", "--no-legend", "--fields=name"]).ok().trimmed(), "layout:2.0");
    refused(&alone(), "oci:/nowhere", &["/nowhere", "No such file"]);
    refused(&alone(), "oci:/etc", &["oci-layout"]);
}

#[test]
fn hostile_layers_stay_in_their_root() {
    let outside = alone();
    let dir = outside.tmp("outside");
    outside.host().write(&format!("{dir}/secret"), "secret\n");
    let up = format!("../../../../../../../../../..{dir}");
    let through =
        Aci::changes().symlink("link", &dir).file("link/.wh.secret", 0o644, "").file("link/evil", 0o644, "");
    let opaque = Aci::changes().symlink("link", &dir).file("link/.wh..wh..opq", 0o644, "");
    let marks: [(&str, &[u8]); 2] =
        [("SCHILY.xattr.trusted.overlay.redirect", b"/etc"), ("SCHILY.xattr.user.overlay.opaque", b"y")];
    let marked = Aci::changes().entry(Entry { mode: 0o755, pax: &marks, ..Entry::new(Directory, "dir") });
    for (upper, is_taken) in [
        (Aci::changes().file(&format!("{up}/.wh.secret"), 0o644, ""), false),
        (Aci::changes().file(&format!("{up}/.wh..wh..opq"), 0o644, ""), false),
        (Aci::changes().file(".wh.", 0o644, ""), false),
        (Aci::changes().file(".wh...", 0o644, ""), false),
        (Aci::changes().hard_link("stolen", &format!("{dir}/secret")), false),
        (Aci::changes().entry(Entry::new(Char, "file")), false),
        (Aci::changes().entry(Entry::new(Regular, &format!("{up}/evil"))), false),
        (through, false),
        (opaque, false),
        (marked, true),
    ] {
        let case = alone();
        let source = source(&case, &image().layer(&upper));
        let output = look(&case, &source, &[], "cat /dir/lower /link/secret; echo; stat -c %a /etc");
        assert_eq!(output.code != 254, is_taken, "{output}");
        assert!(!output.stdout.contains("secret"), "{output}");
        if is_taken {
            assert!(app_lines(&output.stdout).contains(&"lower"), "{output}");
        }
        let there = case.host().sh(&format!(
            "cd {dir}; find . | sort; cat secret; stat -c %h secret; getfattr -d -m - . 2>/dev/null || true"
        ));
        assert_eq!(there.stdout, ".\n./secret\nsecret\n1\n", "{output}");
    }
}

#[test]
fn hostile_archives_around_an_image_are_refused() {
    let case = alone();
    let around = |aci: Aci| case.image("archive.tar", aci.layer());
    let saved = |config: &str, layer: &str| {
        json!([{"Config": config, "RepoTags": ["a:1"], "Layers": [layer]}]).to_string()
    };
    let config = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#;
    for (aci, says) in [
        (Aci::changes().file("manifest.json", 0o644, "[]"), "no image at all"),
        (Aci::changes().file("x", 0o644, ""), "manifest.json"),
        (Aci::changes().file("manifest.json", 0o644, saved("../../../../etc/passwd", "l")), "etc/passwd"),
        (
            Aci::changes().file("manifest.json", 0o644, saved("c", "l")).symlink("c", "/etc/passwd"),
            "No such file",
        ),
        (
            Aci::changes().file("manifest.json", 0o644, saved("c", "/dev/zero")).file("c", 0o644, config),
            "No such file",
        ),
        (
            Aci::changes()
                .file("manifest.json", 0o644, saved("c", "l"))
                .file("c", 0o644, config)
                .dir("l", 0o755),
            "regular",
        ),
        (Aci::changes().entry(Entry { device: (1, 5), ..Entry::new(Char, "manifest.json") }), "regular file"),
        (Aci::changes().file("../manifest.json", 0o644, "[]"), "\"..\""),
    ] {
        refused(&case, &format!("docker-archive:{}", around(aci)), &[says]);
    }
    refused(&case, &format!("docker-archive:{}", case.image("junk", "no archive")), &["not a tar archive"]);
}

/// A member of the group `rkt` may store an image. Root reads all of it again.
#[test]
fn root_reads_again_what_another_user_stored() {
    let case = alone();
    built(case.host());
    case.rkt(["image", "list"]).ok();
    let (host, cas) = (case.host(), format!("{}/cas", case.data()));
    host.sh(&format!(
        "groupadd -f rkt; id member || useradd -G rkt member; chgrp -R rkt {cas}; chmod a+rx {} {}; chmod a+r {BUILT}/*.tar",
        case.data(),
        case.tmp("")
    ))
    .success();
    for source in ["oci:layout", "oci-archive:oci.tar", "docker-archive:docker.tar"] {
        let source = source.replacen(':', &format!(":{BUILT}/"), 1);
        let command = format!("/usr/bin/rkt --insecure-options=image --dir={} fetch {source}", case.data());
        let fetch = host.exec("setpriv").args([
            "--reuid=member",
            "--regid=member",
            "--groups=rkt",
            "--",
            "sh",
            "-c",
            &command,
        ]);
        let id = fetch.ok().trimmed().to_owned();
        let data = format!("--dir={}", case.data());
        host.exec("/usr/bin/rkt")
            .args([&data, "run", &Stage1::Fly.flag(), "--net=host", VOLUME, &id])
            .fails(254)
            .says("--insecure-options=image");
        let output = case.run([VOLUME, &id]).ok();
        assert!(app_lines(&output.stdout).contains(&"hello there from web in /opt/old"), "{output}");
        case.rkt(["image", "rm", &id]).ok();
    }
    // A blob that changed after it was fetched.
    for _ in 0..2 {
        case.rkt(["gc", "--grace-period=0s"]).ok();
    }
    case.rkt(["image", "gc"]).ok();
    let command =
        format!("/usr/bin/rkt --insecure-options=image --dir={} fetch oci:{BUILT}/layout", case.data());
    let member = ["--reuid=member", "--regid=member", "--groups=rkt", "--", "sh", "-c"];
    let id = host.exec("setpriv").args(member).arg(command).ok().trimmed().to_owned();
    let spoil = format!("for blob in {cas}/blob/sha256-*; do rm -f $blob; echo spoilt >$blob; done");
    host.exec("setpriv").args(member).arg(spoil).ok();
    case.run([VOLUME, &id]).fails(254).says("not the expected");
}
