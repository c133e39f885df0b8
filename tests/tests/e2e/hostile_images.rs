//! Archives that try to reach what is not theirs. Each is refused, or what it names stays inside of its own root.

use serde_json::json;
use tar_core::EntryType::{Block, Char, Directory, Link, Regular, Symlink};
use tests::aci::{Aci, Entry};
use tests::case::{Case, Stage1, app_lines};
use tests::host::Output;
use tests::images;

/// A directory of the host with a secret in it, which every attack is after.
fn outside(case: &Case) -> String {
    let dir = case.tmp("outside");
    case.host().write(&format!("{dir}/secret"), "secret\n");
    dir
}

/// Fetches and runs the image; whatever comes of it, the host's directory is as it was.
fn attack(case: &Case, name: &str, aci: &Aci) -> Output {
    let dir = outside(case);
    let file = case.image(&format!("{}.aci", name.replace(' ', "-")), aci.build());
    let fetched = case.rkt(["fetch", &file]).output();
    if fetched.code == 0 {
        let look =
            "find / -xdev -name secret -exec cat {} +; cat /link /stolen /etc/stolen 2>/dev/null; true";
        let output = case.run([&*file, "--exec=/bin/sh", "--", "-c", look]).output();
        assert!(
            !app_lines(&output.stdout).contains(&"secret"),
            "{name}: the app reads the host's file: {output}"
        );
    } else {
        assert_eq!(fetched.code, 254, "{name}: {fetched}");
        assert_eq!(case.rkt(["image", "list", "--no-legend"]).ok().trimmed(), "", "{name}");
    }
    let there = case.host().sh(&format!("cd {dir}; find . | sort; cat secret; stat -c %h secret"));
    assert_eq!(there.stdout, ".\n./secret\nsecret\n1\n", "{name}: the host's directory changed; {fetched}");
    fetched
}

fn attacks(list: impl Fn(&str) -> Vec<(&'static str, Aci)>, refused: bool) {
    let case = Case::new(Stage1::Fly);
    for (name, aci) in list(&case.tmp("outside")) {
        let case = Case::alone(Stage1::Fly);
        let own = list(&case.tmp("outside"))
            .into_iter()
            .find(|(other, _)| *other == name)
            .map_or(aci, |(_, aci)| aci);
        let output = attack(&case, name, &own);
        assert!(!refused || output.code == 254, "{name} was taken: {output}");
        // It says more than that something is wrong: which entry, of which file.
        assert!(output.code == 0 || output.stderr.len() > 20, "{name}: {output}");
    }
}

fn image() -> Aci {
    images::busybox("example.com/hostile")
}

fn file<'a>(path: &'a str) -> Entry<'a> {
    Entry { content: b"evil\n", ..Entry::new(Regular, path) }
}

fn link<'a>(kind: tar_core::EntryType, path: &'a str, target: &'a str) -> Entry<'a> {
    Entry { link: target, ..Entry::new(kind, path) }
}

const UP: &str = "rootfs/../../../../../../../../../..";

#[test]
fn names_that_leave_the_archive_are_refused() {
    attacks(
        |outside| {
            let long = format!("{UP}{outside}/evil");
            vec![
                ("up", image().entry(file(&long))),
                ("up as a directory", image().entry(Entry::new(Directory, &format!("{UP}{outside}/evil")))),
                ("up from the top", image().entry(file(&format!("../../../../../../../..{outside}/evil")))),
                ("absolute", image().entry(file(&format!("{outside}/evil")))),
                (
                    "up in a pax record",
                    image().entry(Entry { pax: &[("path", long.as_bytes())], ..file("rootfs/harmless") }),
                ),
                ("beside the root", image().entry(file("evil"))),
                ("a name that begins like the root", image().entry(file("rootfs-evil/file"))),
            ]
        },
        true,
    );
}

#[test]
fn hard_links_to_what_is_not_in_the_archive_are_refused() {
    attacks(
        |outside| {
            vec![
                ("link up", image().entry(link(Link, "rootfs/stolen", &format!("{UP}{outside}/secret")))),
                (
                    "link to an absolute name",
                    image().entry(link(Link, "rootfs/stolen", &format!("{outside}/secret"))),
                ),
                ("link to the manifest", image().entry(link(Link, "rootfs/stolen", "manifest"))),
                ("link to nothing", image().entry(link(Link, "rootfs/stolen", "rootfs/none"))),
                ("link to a directory", image().entry(link(Link, "rootfs/stolen", "rootfs/etc"))),
            ]
        },
        true,
    );
}

#[test]
fn symbolic_links_lead_nowhere_outside() {
    attacks(
        |outside| {
            let through = |target: &str| {
                image().entry(link(Symlink, "rootfs/link", target)).entry(file("rootfs/link/evil"))
            };
            let swapped = image()
                .dir("rootfs/link", 0o755)
                .entry(link(Symlink, "rootfs/link", outside))
                .entry(file("rootfs/link/evil"));
            let hard = image().entry(link(Symlink, "rootfs/link", outside)).entry(link(
                Link,
                "rootfs/stolen",
                "rootfs/link/secret",
            ));
            let over = image()
                .entry(link(Symlink, "rootfs/link", &format!("{outside}/secret")))
                .entry(file("rootfs/link"));
            let chain = image()
                .entry(link(Symlink, "rootfs/one", ".."))
                .entry(link(Symlink, "rootfs/two", "one/../../../../../../../../.."))
                .entry(file(&format!("rootfs/two{outside}/evil")));
            vec![
                ("through an absolute link", through(outside)),
                ("through a link up", through(&format!("../../../../../../../../../..{outside}"))),
                ("through a link that was a directory", swapped),
                ("a hard link through a link", hard),
                ("a file over a link", over),
                ("a chain of links", chain),
                ("a link to the host's proc", through("/proc/self/root/tmp")),
                (
                    "a directory over a link",
                    image().entry(link(Symlink, "rootfs/link", outside)).dir("rootfs/link", 0o777),
                ),
            ]
        },
        false,
    );
}

#[test]
fn the_top_of_an_archive_is_a_manifest_and_a_root() {
    attacks(
        |outside| {
            vec![
                (
                    "the root is a link",
                    Aci::new("example.com/hostile")
                        .entry(link(Symlink, "rootfs", outside))
                        .entry(file("rootfs/evil")),
                ),
                ("the root is a file", Aci::new("example.com/hostile").entry(file("rootfs"))),
                ("a second manifest", image().file("manifest", 0o644, "{}")),
                (
                    "the manifest is a link",
                    image().entry(link(Symlink, "manifest", &format!("{outside}/secret"))),
                ),
            ]
        },
        true,
    );
}

#[test]
fn names_with_a_leading_dot_are_harmless() {
    let case = Case::alone(Stage1::Fly);
    let manifest = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/dots","labels":[{"name":"os","value":"linux"},{"name":"arch","value":"amd64"}]}"#;
    // As `tar -C image -cf image.aci .` writes it.
    let dotted = Aci::new("x")
        .entry(Entry::new(Directory, "./"))
        .file("./manifest", 0o644, manifest)
        .dir("./rootfs/", 0o755)
        .file("./rootfs/file", 0o644, "here");
    let skip = Aci::new("x").entries().len();
    let archive = [&dotted.entries()[skip..], &[0; 1024]].concat();
    let id = case.rkt(["fetch", &case.image("dots.aci", archive)]).ok();
    assert_eq!(case.rkt(["image", "cat-manifest", id.trimmed()]).ok().json()["name"], "example.com/dots");
}

/// What overlayfs reads as its own: an archive could hide or redirect files of the images below, or of the host.
#[test]
fn marks_of_overlayfs_do_not_come_from_an_archive() {
    let outside_case = Case::alone(Stage1::Fly);
    let dir = outside(&outside_case);
    let base = images::busybox("example.com/base").file("rootfs/etc/kept", 0o644, "kept\n");
    let top = |entry: Entry<'_>| {
        let aci =
            Aci::new("example.com/top").field("dependencies", json!([{"imageName": "example.com/base"}]));
        aci.entry(entry).app(&["/bin/sh", "-c", "cat /etc/kept; ls /"], &json!({}))
    };
    let marks: [&[(&str, &[u8])]; 4] = [
        &[("SCHILY.xattr.trusted.overlay.opaque", b"y")],
        &[("SCHILY.xattr.user.overlay.opaque", b"y")],
        &[("SCHILY.xattr.trusted.overlay.redirect", dir.as_bytes())],
        &[("SCHILY.xattr.trusted.overlay.whiteout", b"y")],
    ];
    for pax in marks {
        let case = Case::alone(Stage1::Fly);
        case.rkt(["fetch", &case.image("base.aci", base.build())]).ok();
        let entry = Entry { mode: 0o755, pax, ..Entry::new(Directory, "rootfs/etc") };
        let file = case.image("top.aci", top(entry).build());
        let output = case.run([&*file]).output();
        let shown = app_lines(&output.stdout).contains(&"kept");
        assert!(output.code == 254 || shown, "{pax:?} took effect: {output}");
    }
    // A character device 0/0 is a whiteout.
    let case = Case::alone(Stage1::Fly);
    case.rkt(["fetch", &case.image("base.aci", base.build())]).ok();
    let file = case.image("top.aci", top(Entry::new(Char, "rootfs/etc/kept")).build());
    let output = case.run([&*file]).output();
    assert!(
        output.code != 0 || app_lines(&output.stdout).contains(&"kept"),
        "a whiteout took effect: {output}"
    );
}

#[test]
fn a_device_of_an_archive_is_no_way_to_the_disk() {
    let case = Case::new(Stage1::Nspawn);
    let disk = Entry { device: (8, 0), mode: 0o666, ..Entry::new(Block, "rootfs/disk") };
    let memory = Entry { device: (1, 1), mode: 0o666, ..Entry::new(Char, "rootfs/memory") };
    let aci = images::busybox("example.com/devices").entry(disk).entry(memory);
    let file = case.image("devices.aci", aci.build());
    let script = "for d in /disk /memory; do head -c1 $d >/dev/null 2>&1 && echo opened $d; done; echo done";
    let output = case.run([&*file, "--exec=/bin/sh", "--", "-c", script]).output();
    assert!(output.code == 254 || !output.stdout.contains("opened"), "{output}");
}

/// What is odd without reaching for anything: each is refused with its name, or harmless.
#[test]
fn odd_entries_are_refused_or_harmless() {
    let deep = format!("rootfs/{}x", "d/".repeat(10_000));
    let levels = [300, 200].map(|count| format!("rootfs/{}x", "d/".repeat(count)));
    let long = format!("rootfs/{}", "n".repeat(256));
    let entries: [(&str, Entry<'_>, Option<&str>); 12] = [
        (
            "ten thousand levels",
            Entry { pax: &[("path", deep.as_bytes())], ..file("rootfs/x") },
            Some("length"),
        ),
        ("three hundred levels", file(&levels[0]), Some("depth of directories")),
        ("two hundred levels", file(&levels[1]), None),
        ("a line feed", file("rootfs/a\nb"), None),
        ("a NUL", Entry { pax: &[("path", b"rootfs/a\0b")], ..file("rootfs/x") }, Some("NUL")),
        ("a long name", file(&long), Some("length of a file name")),
        ("set-uid and set-gid", Entry { mode: 0o6755, uid: 7, gid: 8, ..file("rootfs/x") }, None),
        (
            "an owner beyond 32 bits",
            Entry { pax: &[("uid", b"4294967296")], ..file("rootfs/x") },
            Some("owner"),
        ),
        ("a size that lies", Entry { pax: &[("size", b"9999999999")], ..file("rootfs/x") }, Some("cut off")),
        ("a time that is none", Entry { pax: &[("mtime", b"yesterday")], ..file("rootfs/x") }, Some("time")),
        (
            "a sparse map that does not fit",
            Entry {
                pax: &[
                    ("GNU.sparse.major", b"0"),
                    ("GNU.sparse.minor", b"1"),
                    ("GNU.sparse.map", b"0,5,3,5"),
                    ("GNU.sparse.size", b"5"),
                ],
                ..file("rootfs/x")
            },
            Some("sparse"),
        ),
        ("a type of nobody's", Entry::new(tar_core::EntryType::Other(b'Z'), "rootfs/x"), Some("type")),
    ];
    for (name, entry, says) in entries {
        let case = Case::alone(Stage1::Fly);
        let output = attack(&case, name, &image().entry(entry));
        match says {
            Some(says) => assert!(output.code == 254 && output.stderr.contains(says), "{name}: {output}"),
            None => assert_eq!(output.code, 0, "{name}: {output}"),
        }
    }
}
