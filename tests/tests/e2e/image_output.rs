//! Images out of the store: `image export`, `extract`, `render`, `verify`, `gc`; and what an image may cost.

use serde_json::json;
use tar_core::EntryType::Regular;
use tests::aci::{Aci, Entry};
use tests::case::{Case, Stage1, app_lines};
use tests::images;
use tests::oci::{BUILT, Layout, built};

use crate::images::{compress, small};

fn alone() -> Case {
    Case::alone(Stage1::Fly)
}

/// An image of many kinds of files.
fn various() -> Aci {
    let special = Entry {
        mode: 0o4751,
        uid: 1001,
        gid: 1002,
        content: b"special",
        pax: &[("SCHILY.xattr.user.colour", b"green")],
        ..Entry::new(Regular, "rootfs/etc/special")
    };
    small("example.com/various", "content")
        .entry(special)
        .hard_link("rootfs/etc/same", "rootfs/etc/special")
        .symlink("rootfs/etc/link", "special")
        .entry(Entry::new(tar_core::EntryType::Fifo, "rootfs/etc/fifo"))
        .dir(&format!("rootfs/{}", "long-name-".repeat(12)), 0o700)
        .file(&format!("rootfs/{}/{}", "long-name-".repeat(12), "n".repeat(200)), 0o600, "deep")
}

#[test]
fn an_export_is_the_archive_that_was_imported() {
    let archive = various().build();
    for program in ["cat", "gzip", "xz", "zstd"] {
        let case = alone();
        let content = if program == "cat" { archive.clone() } else { compress(program, &archive) };
        case.rkt(["fetch", &case.image("in.aci", content)]).ok();
        let out = case.tmp("out.aci");
        case.rkt(["image", "export", "example.com/various", &out]).ok();
        let same = std::fs::read(case.host().path(&out)).expect("the export") == archive;
        assert!(same, "{program}");
        case.rkt(["image", "export", "example.com/various", &out]).fails(254).says("--overwrite");
        case.rkt(["image", "export", "--overwrite", "example.com/various", &out]).ok();
    }
    let case = alone();
    case.rkt(["image", "export", "example.com/none", &case.tmp("x.aci")]).fails(254).says("example.com/none");
    let left = case.host().sh(&format!("ls -A {}", case.tmp(""))).stdout;
    assert!(!left.contains("part") && !left.contains("x.aci"), "{left}");
}

#[test]
fn an_oci_image_is_exported_as_an_app_container_image() {
    let case = alone();
    built(case.host());
    case.rkt(["fetch", &format!("oci:{BUILT}/layout:latest")]).ok();
    let out = case.tmp("out.aci");
    case.rkt(["image", "export", "layout", &out]).ok();
    let other = alone();
    let volume = "--volume=volume-var-data,kind=empty";
    let output = other.run([volume, &out]).ok();
    assert!(app_lines(&output.stdout).contains(&"hello there from web in /opt/old"), "{output}");
    // Both have the same files, as another reader of archives sees them.
    let [a, b] = ["a", "b"].map(|name| case.tmp(name));
    case.rkt(["image", "render", "--rootfs-only", "layout", &a]).ok();
    case.host().sh(&format!("mkdir {b}; tar -xpf {out} -C {b} --strip-components=1 rootfs")).success();
    let list = |dir: &str| {
        case.host().sh(&format!("cd {dir}; find . ! -type l -printf '%p %y %m %U:%G %s %n\\n' | grep -v '^[^ ]* d' | sort; find . -type d -printf '%p %m %U:%G\\n' | sort; find . -type l -printf '%p %l\\n' | sort; find . -type f -exec sha256sum {{}} + | sort"))
            .stdout
    };
    assert_eq!(list(&a), list(&b));
}

#[test]
fn an_image_is_extracted_with_everything() {
    let case = alone();
    case.rkt(["fetch", &case.image("in.aci", various().build())]).ok();
    let out = case.tmp("out");
    case.rkt(["image", "extract", "example.com/various", &out]).ok();
    let script = format!(
        "cd {out}; ls -A; stat -c '%n %a %u:%g %h %F' rootfs/etc/special rootfs/etc/same rootfs/etc/fifo; readlink rootfs/etc/link; cat rootfs/etc/file rootfs/long*/n*"
    );
    let found = case.host().sh(&script).stdout;
    for line in [
        "manifest",
        "rootfs",
        "rootfs/etc/special 4751 1001:1002 2 regular file",
        "rootfs/etc/same 4751 1001:1002 2 regular file",
        "rootfs/etc/fifo 644 0:0 1 fifo",
        "special",
        "contentdeep",
    ] {
        assert!(found.lines().any(|found| found == line), "no {line:?}: {found}");
    }
    case.rkt(["image", "extract", "example.com/various", &out]).fails(254).says("--overwrite");
    case.host().write(&format!("{out}/stale"), "");
    case.rkt(["image", "extract", "--overwrite", "--rootfs-only", "example.com/various", &out]).ok();
    let found = case.host().sh(&format!("ls -A {out}")).stdout;
    assert!(found.contains("etc") && !found.contains("manifest") && !found.contains("stale"), "{found}");
    case.rkt(["image", "extract", "example.com/various", &case.tmp("none/out")])
        .fails(254)
        .says("No such file");
    case.rkt(["image", "extract", "--overwrite", "example.com/various", "/"]).fails(254);
    case.rkt(["image", "extract", "--overwrite", "example.com/various", "/proc"]).fails(254);
    let left = case.host().sh(&format!("ls -A {} /", case.tmp(""))).stdout;
    assert!(!left.contains(".rkt-extract"), "{left}");
}

#[test]
fn a_render_has_what_the_image_depends_on() {
    let case = alone();
    case.rkt(["fetch", &case.image("base.aci", small("example.com/base", "base").build())]).ok();
    let top = Aci::new("example.com/top")
        .field("dependencies", json!([{"imageName": "example.com/base"}]))
        .file("rootfs/top", 0o644, "top");
    case.rkt(["fetch", &case.image("top.aci", top.build())]).ok();
    for (command, files) in [("extract", "top"), ("render", "etc\ntop")] {
        let out = case.tmp(command);
        case.rkt(["image", command, "--rootfs-only", "example.com/top", &out]).ok();
        assert_eq!(case.host().sh(&format!("ls -A {out}")).trimmed(), files, "{command}");
    }
}

#[test]
fn a_changed_file_is_found_and_made_anew() {
    let case = alone();
    built(case.host());
    let aci = images::busybox("example.com/verified").app(&["/bin/true"], &json!({}));
    case.rkt(["fetch", &case.image("a.aci", aci.build()), &format!("oci:{BUILT}/layout")]).ok();
    for name in ["example.com/verified", "layout"] {
        let output = case.rkt(["image", "verify", name]).ok();
        assert!(
            output.stdout.contains(&format!("successfully verified checksum for image: \"{name}\"")),
            "{output}"
        );
    }
    let layers = format!("{}/cas/layer", case.data());
    let changes = [
        "echo changed >>etc/passwd",
        "chmod 777 etc/group",
        "chown 7 bin/busybox",
        "touch -d @1 etc",
        "rm bin/sh; ln -s /evil bin/sh",
        "touch new",
    ];
    for (name, layer) in [("example.com/verified", "sha512-*"), ("layout", "sha256-*")] {
        for change in changes {
            case.host()
                .sh(&format!(
                    "for d in {layers}/{layer}/rootfs; do [ ! -e $d/etc/passwd ] || (cd $d; {change}); done"
                ))
                .success();
            let output = case.rkt(["image", "verify", name]).ok();
            assert!(output.stderr.contains("tree cache verification failed"), "{change}: {output}");
            let output = case.rkt(["image", "verify", name]).ok();
            assert!(
                output.stderr.is_empty() && output.stdout.contains("successfully verified"),
                "{change}: {output}"
            );
        }
    }
    // What a pod stands on stays.
    case.rkt(["prepare", &Stage1::Fly.flag(), "example.com/verified"]).ok();
    case.host().sh(&format!(
        "for d in {layers}/sha512-*/rootfs; do [ ! -e $d/etc/passwd ] || touch $d/etc/passwd; done"
    ));
    case.rkt(["image", "verify", "example.com/verified"]).fails(254).says("a pod uses it");
    case.rkt(["image", "verify", "example.com/none"]).fails(254);
}

/// A whitelist makes a layer with a part of another, and directories that a layer leaves out make one of their own. Both
/// are checked as well, and so are the images below.
#[test]
fn a_changed_file_of_what_was_made_here_is_found() {
    let case = alone();
    let base = Aci::new("example.com/base")
        .dir("rootfs/etc", 0o711)
        .file("rootfs/etc/seen", 0o644, "seen")
        .file("rootfs/etc/hidden", 0o644, "hidden");
    let top = Aci::new("example.com/top")
        .field("dependencies", json!([{"imageName": "example.com/base"}]))
        .field("pathWhitelist", json!(["/etc/seen"]));
    for (name, aci) in [("base", base), ("top", top)] {
        case.rkt(["fetch", &case.image(&format!("{name}.aci"), aci.build())]).ok();
    }
    let lower = Aci::changes().dir("etc", 0o711).file("etc/seen", 0o644, "seen");
    let upper = Aci::changes().file("etc/more", 0o644, "more");
    let layout = case.tmp("layered");
    Layout::new(&json!({"Cmd": ["/bin/true"]})).layer(&lower).layer(&upper).write(case.host(), &layout);
    case.rkt(["fetch", &format!("oci:{layout}")]).ok();

    let layers = format!("{}/cas/layer", case.data());
    for (name, files, changes) in [
        (
            "example.com/top",
            "seen",
            &[
                ("part-*", "[ ! -e $d/etc/seen ] || echo changed >>$d/etc/seen"),
                ("part-*", "touch $d/new"),
                ("sha512-*", "[ ! -e $d/etc/hidden ] || echo changed >>$d/etc/hidden"),
            ][..],
        ),
        ("layered", "moreseen", &[("attr-*", "chmod 777 $d/etc")]),
    ] {
        let render = |to: &str| {
            let out = case.tmp(&format!("{files}-{to}"));
            case.rkt(["image", "render", "--rootfs-only", name, &out]).ok();
            case.host().sh(&format!("stat -c %a {out}/etc; cat {out}/etc/*")).success().stdout
        };
        let wanted = format!("711\n{files}");
        assert_eq!(render("before"), wanted);
        let verify = || case.rkt(["image", "verify", name]).ok();
        for (layer, change) in changes {
            assert!(verify().stderr.is_empty(), "{change}");
            case.host().sh(&format!("set -e; for d in {layers}/{layer}/rootfs; do {change}; done")).success();
            let output = verify();
            assert!(output.stderr.contains("tree cache verification failed"), "{change}: {output}");
            assert!(verify().stderr.is_empty(), "{change}");
        }
        assert_eq!(render("after"), wanted);
    }
}

#[test]
fn garbage_is_what_nobody_used_for_a_while() {
    let case = alone();
    built(case.host());
    let aci = images::busybox("example.com/used").app(&["/bin/true"], &json!({}));
    case.rkt([
        "fetch",
        &case.image("used.aci", aci.build()),
        &case.image("a.aci", small("example.com/a", "a").build()),
    ])
    .ok();
    case.rkt(["fetch", &format!("oci:{BUILT}/layout")]).ok();
    let uuid =
        case.rkt(["prepare", "--quiet", &Stage1::Fly.flag(), "example.com/used"]).ok().trimmed().to_owned();
    let names = || {
        let list = case.rkt(["image", "list", "--no-legend", "--fields=name"]).ok().stdout;
        let mut names: Vec<String> = list.lines().map(|line| line.trim().to_owned()).collect();
        names.retain(|name| !name.contains("stage1"));
        names.sort();
        names
    };
    case.rkt(["image", "gc"]).ok();
    assert_eq!(names(), ["example.com/a:1", "example.com/used:1", "layout:latest"]);
    let output = case.rkt(["image", "gc", "--grace-period=0s"]).ok();
    assert!(output.stderr.contains("2 image(s) successfully removed"), "{output}");
    assert!(output.stdout.contains("successfully removed aci for image: \"sha512-"), "{output}");
    assert_eq!(names(), ["example.com/used:1"]);
    let blobs = case.host().sh(&format!("ls {0}/cas/blob {0}/cas/layer", case.data())).stdout;
    assert!(!blobs.contains("sha256-"), "{blobs}");
    case.rkt(["rm", &uuid]).ok();
    case.rkt(["image", "gc", "--grace-period=0s"]).ok();
    assert!(names().is_empty());
}

#[test]
fn sizes_are_those_of_the_archive_and_its_files() {
    let case = alone();
    let content = "x".repeat(100_000);
    let archive = compress("gzip", &small("example.com/sized", &content).build());
    case.rkt(["fetch", &case.image("a.aci", &archive)]).ok();
    let list = case.rkt(["image", "list", "--format=json"]).ok().json();
    assert_eq!(list[0]["size"], archive.len() + content.len());
}

#[test]
fn the_store_of_a_go_rkt_is_refused() {
    let case = alone();
    case.host().write(&format!("{}/cas/db/ql.db", case.data()), "ql");
    case.rkt(["image", "list"]).fails(254).says("move it away");
    case.rkt(["run", "example.com/a"]).fails(254);
}

#[test]
fn a_bomb_meets_a_limit_that_can_be_set() {
    let zeros = small("example.com/bomb", &"\0".repeat(4 << 20));
    let case = alone();
    let file = case.image("bomb.aci", compress("gzip", &zeros.build()));
    let local = case.tmp("local");
    let configured = format!("--local-config={local}");
    let set = |fields: &str| {
        let text = format!(r#"{{"rktKind":"imageLimits","rktVersion":"v1",{fields}}}"#);
        case.host().write(&format!("{local}/images.d/limits.json"), text);
    };
    for (fields, limit, setting) in [
        (r#""unpackedBytes":1000000"#, "unpacked size, which is 1000000", "unpackedBytes"),
        (r#""entries":3"#, "number of entries, which is 3", "entries"),
    ] {
        set(fields);
        let output = case.rkt([&*configured, "fetch", &file]).fails(254);
        assert!(output.stderr.contains(limit) && output.stderr.contains(setting), "{output}");
        assert!(output.stderr.contains("images.d"), "{output}");
    }
    set(r#""unpackedBytes":100000000,"entries":1000,"compressionRatio":2000"#);
    case.rkt([&*configured, "fetch", &file]).ok();
    let config = case.rkt([&*configured, "config"]).ok().stdout;
    assert!(config.contains("imageLimits") && config.contains("2000"), "{config}");
    set(r#""entries":0"#);
    case.rkt([&*configured, "fetch", &file]).fails(254).says("entries");
}
