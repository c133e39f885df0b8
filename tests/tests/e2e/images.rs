//! The image store: fetch, list, show, remove, and roots made of several images.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use tests::aci::Aci;
use tests::case::{Case, Stage1, app_lines};
use tests::images;

fn alone() -> Case {
    Case::alone(Stage1::Fly)
}

/// Runs a compressor of this machine.
pub(crate) fn compress(program: &str, content: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(program);
    let mut stdin = child.stdin.take().expect("a pipe");
    let content = content.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&content));
    let output = child.wait_with_output().expect(program);
    writer.join().expect("no panic").expect(program);
    assert!(output.status.success());
    output.stdout
}

/// A small image with one file.
pub(crate) fn small(name: &str, content: &str) -> Aci {
    Aci::new(name).dir("rootfs/etc", 0o755).file("rootfs/etc/file", 0o644, content)
}

fn sha512(case: &Case, file: &str) -> String {
    case.host().exec("sha512sum").arg(file).ok().stdout[..64].to_owned()
}

#[test]
fn every_compression_gives_the_same_image() {
    let case = alone();
    let archive = small("example.com/compressed", &"content ".repeat(40_000)).build();
    let plain = case.image("plain.aci", &archive);
    let key = format!("sha512-{}", sha512(&case, &plain));
    assert_eq!(case.rkt(["fetch", "--full", &plain]).ok().trimmed(), key);
    for (program, name) in [("gzip", "gz.aci"), ("bzip2", "bz2.aci"), ("xz", "xz.aci"), ("zstd", "zst.aci")] {
        let case = alone();
        let file = case.image(name, compress(program, &archive));
        let output = case.rkt(["fetch", &file]).ok();
        assert_eq!(output.trimmed(), &key[..39], "{program}");
        let json = case.rkt(["image", "list", "--format=json"]).ok().json();
        assert_eq!(json[0]["name"], "example.com/compressed:1", "{program}");
    }
}

#[test]
fn the_manifest_may_come_last() {
    let case = alone();
    let aci = images::busybox("example.com/last").app(&["/bin/echo", "it ran"], &json!({})).manifest_last();
    let output = case.run([&*case.image("last.aci", aci.build())]).ok();
    assert!(app_lines(&output.stdout).contains(&"it ran"), "{output}");
}

#[test]
fn a_list_has_the_columns_that_scripts_know() {
    let case = alone();
    let id = case
        .rkt(["fetch", "--full", &case.image("a.aci", small("example.com/a", "a").build())])
        .ok()
        .trimmed()
        .to_owned();
    case.rkt(["fetch", &case.image("b.aci", small("example.com/b", "bb").build())]).ok();
    let output = case.rkt(["image", "list"]).ok();
    let table: Vec<Vec<&str>> = output
        .stdout
        .lines()
        .map(|line| line.split('\t').filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(table[0], ["ID", "NAME", "SIZE", "IMPORT TIME", "LAST USED"]);
    assert_eq!(table[1][..2], [&id[..19], "example.com/a:1"], "{output}");
    assert_eq!(table[2][1], "example.com/b:1", "{output}");
    let full = case
        .rkt([
            "image",
            "list",
            "--full",
            "--no-legend",
            "--fields=id,size,name",
            "--sort=name",
            "--order=desc",
        ])
        .ok();
    let rows: Vec<Vec<&str>> =
        full.stdout.lines().map(|line| line.split('\t').filter(|cell| !cell.is_empty()).collect()).collect();
    assert_eq!((rows[1][0], rows[1][2]), (&*id, "example.com/a:1"), "{full}");
    assert!(rows[1][1].parse::<u64>().is_ok_and(|bytes| bytes > 0), "{full}");
    let json = case.rkt(["image", "list", "--format=json"]).ok().json();
    assert_eq!(json[0]["id"], *id);
    assert!(
        json[0]["import_time"].as_i64().is_some_and(|time| time > 1_600_000_000_000_000_000),
        "nanoseconds: {json}"
    );
    case.rkt(["image", "list", "--fields=bogus"]).fails(254).says("bogus");
    case.rkt(["image", "list", "--order=up"]).fails(254).says("up");
}

#[test]
fn an_image_is_known_by_id_prefix_and_by_name() {
    let case = alone();
    let id = case
        .rkt(["fetch", &case.image("a.aci", small("example.com/a", "a").build())])
        .ok()
        .trimmed()
        .to_owned();
    for word in [&*id, &id[..12], "example.com/a", "example.com/a:1", "example.com/a:1,os=linux"] {
        let manifest = case.rkt(["image", "cat-manifest", word]).ok().json();
        assert_eq!(manifest["name"], "example.com/a", "{word}");
    }
    for word in ["example.com/none", "example.com/a:2", "sha512-00000000", "sha512-a"] {
        case.rkt(["image", "cat-manifest", word]).fails(254);
    }
    let plain = case.rkt(["image", "cat-manifest", "--pretty-print=false", &id]).ok();
    assert_eq!(plain.trimmed().lines().count(), 1);
}

#[test]
fn removing_an_image_leaves_nothing_of_it() {
    let case = alone();
    let file = case.image("a.aci", small("example.com/a", "unpacked").build());
    let id = case.rkt(["fetch", "--full", &file]).ok().trimmed().to_owned();
    let output = case.rkt(["image", "rm", &id[..20]]).ok();
    assert!(output.stdout.contains(&format!(r#"successfully removed aci for image: "{id}""#)), "{output}");
    assert!(output.stderr.contains("1 image(s) successfully removed"), "{output}");
    assert_eq!(case.rkt(["image", "list", "--no-legend"]).ok().trimmed(), "");
    let left = case.host().sh(&format!(
        "find {}/cas -type f ! -path '*/lock*' -size +0; find {}/cas -name rootfs",
        case.data(),
        case.data()
    ));
    assert_eq!(left.stdout, "", "left in the store");
    case.rkt(["image", "rm", &id]).fails(254);
    case.rkt(["image", "rm"]).fails(254);
    // It can come back.
    case.rkt(["fetch", &file]).ok();
}

#[test]
fn an_image_in_use_can_be_removed_and_its_pod_lives_on() {
    let case = Case::alone(Stage1::Nspawn);
    let _pod = case.start_sh("echo up; sleep 1000");
    let _ = case.rkt(["image", "rm", images::BUSYBOX_NAME]).output();
    let output = case.rkt(["enter", &case.uuid(), "/bin/cat", "/etc/passwd"]).ok();
    assert!(output.stdout.contains("alice"), "{output}");
}

#[test]
fn fetching_again_changes_nothing() {
    let case = alone();
    let file = case.image("a.aci", small("example.com/a", "a").build());
    let first = case.rkt(["fetch", &file]).ok().trimmed().to_owned();
    assert_eq!(case.rkt(["fetch", &file]).ok().trimmed(), first);
    assert_eq!(case.rkt(["image", "list", "--no-legend"]).ok().stdout.lines().count(), 1);
}

#[test]
fn a_layer_is_unpacked_once() {
    let case = alone();
    let aci = images::busybox("example.com/once").app(&["/bin/true"], &json!({}));
    let file = case.image("once.aci", aci.build());
    // What was unpacked again would have inodes of its own.
    let layers = || {
        let script = format!(
            "cd {}/cas/layer && stat -c '%n %i %z' * */rootfs */rootfs/bin/busybox 2>/dev/null || :",
            case.data()
        );
        case.host().sh(&script).success().stdout
    };
    case.rkt(["fetch", &file]).ok();
    let fetched = layers();
    assert_eq!(fetched.lines().count(), 3, "a layer, its root and its busybox: {fetched}");
    case.run(["example.com/once"]).ok();
    // The stage1 is there now, too.
    let run = layers();
    for line in fetched.lines() {
        assert!(run.lines().any(|other| other == line), "{line} is gone: {run}");
    }
    case.run(["example.com/once"]).ok();
    assert_eq!(layers(), run, "after it was run again");
    case.rkt(["fetch", &file]).ok();
    assert_eq!(layers(), run, "after it was fetched again");
    case.run([&*file]).ok();
    assert_eq!(layers(), run, "after it was run from its file");
}

#[test]
fn several_at_once_give_one_line_each() {
    let case = alone();
    let files: Vec<String> = (0..3)
        .map(|n| case.image(&format!("{n}.aci"), small(&format!("example.com/n{n}"), &n.to_string()).build()))
        .collect();
    let output = case.rkt(["fetch".to_owned()].into_iter().chain(files)).ok();
    assert_eq!(
        output.stdout.lines().filter(|line| line.len() == 39 && line.starts_with("sha512-")).count(),
        3,
        "{output}"
    );
}

#[test]
fn concurrent_fetches_of_one_image_agree() {
    let case = alone();
    let file = case.image("a.aci", images::busybox("example.com/a").build());
    let fetches: Vec<_> = (0..6).map(|_| case.rkt(["fetch", &file]).spawn()).collect();
    let ids: Vec<_> = fetches
        .into_iter()
        .map(|fetch| fetch.wait(std::time::Duration::from_secs(60)).success().trimmed().to_owned())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(case.rkt(["image", "list", "--no-legend"]).ok().stdout.lines().count(), 1);
}

#[test]
fn a_signature_is_needed_unless_told_otherwise() {
    let case = alone();
    let file = case.image("a.aci", small("example.com/a", "a").build());
    let data = format!("--dir={}", case.data());
    let output = case.host().exec("/usr/bin/rkt").args([&data, "fetch", &file]).fails(254);
    assert!(output.stderr.contains("signature") && output.stderr.contains("insecure-options"), "{output}");
    assert_eq!(case.rkt(["image", "list", "--no-legend"]).ok().trimmed(), "");
}

fn layered(case: &Case) -> [String; 3] {
    let base = images::busybox("example.com/base")
        .file("rootfs/etc/of-base", 0o644, "base")
        .file("rootfs/etc/both", 0o644, "base")
        .dir("rootfs/swap", 0o755);
    let middle = Aci::new("example.com/middle")
        .field("dependencies", json!([{"imageName": "example.com/base"}]))
        .dir("rootfs/etc", 0o700)
        .file("rootfs/etc/both", 0o644, "middle")
        .file("rootfs/swap", 0o644, "a file now");
    let top = Aci::new("example.com/top")
        .field(
            "dependencies",
            json!([{"imageName": "example.com/middle", "labels": [{"name": "version", "value": "1"}]}]),
        )
        .app(
            &["/bin/sh", "-c", "cat /etc/of-base /etc/both /swap /etc/of-top; echo; stat -c %a /etc"],
            &json!({}),
        )
        .dir("rootfs/etc", 0o750)
        .file("rootfs/etc/of-top", 0o644, "top");
    [("base", base), ("middle", middle), ("top", top)]
        .map(|(name, aci)| case.image(&format!("{name}.aci"), aci.build()))
}

#[test]
fn an_image_covers_those_it_depends_on() {
    for no_overlay in [&[][..], &["--no-overlay"]] {
        let case = alone();
        let [base, middle, top] = layered(&case);
        case.rkt(["fetch", &base, &middle]).ok();
        let words: Vec<&str> = no_overlay.iter().copied().chain([&*top]).collect();
        let output = case.run(words).ok();
        let lines = app_lines(&output.stdout);
        assert!(lines.contains(&"basemiddlea file nowtop") && lines.contains(&"750"), "{output}");
    }
}

#[test]
fn a_missing_dependency_is_named() {
    let case = alone();
    let [_, middle, _] = layered(&case);
    case.run([&*middle, "--exec=/bin/true"]).fails(254).says("example.com/base");
}

#[test]
fn a_white_list_hides_everything_else() {
    let case = alone();
    let base = images::busybox("example.com/base").file("rootfs/etc/seen", 0o644, "").file(
        "rootfs/etc/hidden",
        0o644,
        "",
    );
    let top = Aci::new("example.com/top")
        .field("dependencies", json!([{"imageName": "example.com/base"}]))
        .field("pathWhitelist", json!(["/bin/busybox", "/bin/sh", "/bin/ls", "/etc/seen"]))
        .app(&["/bin/ls", "-A", "/etc", "/bin"], &json!({}));
    case.rkt(["fetch", &case.image("base.aci", base.build())]).ok();
    let output = case.run([&*case.image("top.aci", top.build())]).ok();
    let lines = app_lines(&output.stdout);
    assert!(lines.contains(&"seen") && lines.contains(&"busybox"), "{output}");
    assert!(!lines.contains(&"hidden") && !lines.contains(&"cat"), "{output}");
}

#[test]
fn owners_modes_and_attributes_survive() {
    let entry = tests::aci::Entry {
        mode: 0o4751,
        uid: 1001,
        gid: 1002,
        content: b"x",
        pax: &[("SCHILY.xattr.user.colour", b"green")],
        ..tests::aci::Entry::new(tar_core::EntryType::Regular, "rootfs/special")
    };
    let fifo = tests::aci::Entry::new(tar_core::EntryType::Fifo, "rootfs/fifo");
    let aci = images::busybox("example.com/special")
        .entry(entry)
        .entry(fifo)
        .hard_link("rootfs/same", "rootfs/special");
    for no_overlay in [&[][..], &["--no-overlay"]] {
        let case = alone();
        let file = case.image("special.aci", aci.build());
        let script = "stat -c '%n %a %u %g %h %F' /special /same /fifo /tmp";
        let words: Vec<&str> =
            no_overlay.iter().copied().chain([&*file, "--exec=/bin/sh", "--", "-c", script]).collect();
        let output = case.run(words).ok();
        let lines = app_lines(&output.stdout);
        for expected in [
            "/special 4751 1001 1002 2 regular file",
            "/same 4751 1001 1002 2 regular file",
            "/fifo 644 0 0 1 fifo",
            "/tmp 1777 0 0 2 directory",
        ] {
            let fly_mounts_over_tmp = expected.starts_with("/tmp");
            assert!(fly_mounts_over_tmp || lines.contains(&expected), "no {expected:?}: {output}");
        }
    }
}
