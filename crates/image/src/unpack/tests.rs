//! Hostile and odd archives, through the whole pipeline, into a directory with a neighbour that must not change.
//! They need root, as unpacking does.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tar_core::{EntryType, SparseEntry};

use crate::archive::sample::{MANIFEST, Sample};
use crate::archive::{ArchiveError, Problem};
use crate::limits::{Limit, Limits};
use crate::pipeline::{self, Content, Outcome};

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/file"), "untouched").unwrap();
        Place { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    fn unpack_with(&self, archive: Vec<u8>, limits: &Limits) -> Result<Outcome, ArchiveError> {
        let root = sys::path::open_directory(&self.root()).unwrap();
        let outcome = pipeline::run(Content::Image, std::io::Cursor::new(archive), Some(root), limits, false);
        let outside: Vec<_> = std::fs::read_dir(self.outside()).unwrap().collect();
        assert_eq!(outside.len(), 1, "something was made outside: {outside:?}");
        let file = self.outside().join("file");
        assert_eq!(std::fs::read(&file).unwrap(), b"untouched");
        assert_eq!(file.metadata().unwrap().nlink(), 1);
        assert_eq!(std::fs::read_dir(self.dir.path()).unwrap().count(), 2);
        outcome
    }

    fn unpack(&self, archive: Vec<u8>) -> Result<Outcome, ArchiveError> {
        self.unpack_with(archive, &Limits::default())
    }
}

fn unpacked(sample: Sample) -> Place {
    let place = Place::new();
    place.unpack(sample.end()).unwrap();
    place
}

fn refused(sample: Sample) -> ArchiveError {
    Place::new().unpack(sample.end()).unwrap_err()
}

fn refused_entry(sample: Sample) -> Problem {
    match refused(sample) {
        ArchiveError::Entry { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_plain_image_is_unpacked_in_full() {
    let place = Place::new();
    let sample = Sample::aci()
        .dir("./rootfs/etc/")
        .entry("rootfs/etc/passwd", EntryType::Regular, b"root:x:0:0", |e| {
            e.mode(0o4751).unwrap().uid(12).unwrap().gid(34).unwrap();
        })
        .symlink("rootfs/etc/link", "/etc/passwd")
        .hard_link("rootfs/etc/hard", "rootfs/etc/passwd")
        .node("rootfs/null", EntryType::Char, 1, 3)
        .node("rootfs/disk", EntryType::Block, 8, 1)
        .node("rootfs/pipe", EntryType::Fifo, 0, 0)
        .file("rootfs/implicit/deep/file", "content")
        .pax("rootfs/early", "mtime", "-1.5", b"x")
        .entry("rootfs/tmp", EntryType::Directory, b"", |e| {
            e.mode(0o1777).unwrap().gid(99).unwrap();
        })
        .entry("rootfs/old-directory/", EntryType::Regular, b"", |_| {})
        .file("rootfs/new\nline\x1b", "legal");
    let outcome = place.unpack(sample.end()).unwrap();
    assert_eq!(outcome.manifest, MANIFEST);
    assert_eq!((outcome.entries, outcome.unpacked), (14, 10 + 7 + 1 + 5));
    let root = place.root();
    let passwd = root.join("etc/passwd").metadata().unwrap();
    assert_eq!((passwd.uid(), passwd.gid(), passwd.nlink(), passwd.mtime()), (12, 34, 2, 1_000_000_000));
    assert_eq!(mode(&root.join("etc/passwd")), 0o4751);
    assert_eq!(std::fs::read_link(root.join("etc/link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(root.join("etc/link").symlink_metadata().unwrap().mtime(), 1_000_000_000);
    let null = root.join("null").metadata().unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(null.rdev(), rustix::fs::makedev(1, 3));
    assert_eq!(mode(&root.join("null")), 0o644);
    assert!(root.join("disk").metadata().unwrap().file_type().is_block_device());
    assert!(root.join("pipe").metadata().unwrap().file_type().is_fifo());
    assert_eq!(read(&root.join("implicit/deep/file")), "content");
    for (directory, time) in
        [("", 1_000_000_000), ("etc", 1_000_000_000), ("implicit", 0), ("implicit/deep", 0)]
    {
        assert_eq!(root.join(directory).metadata().unwrap().mtime(), time, "{directory:?}");
        assert_eq!(mode(&root.join(directory)), 0o755, "{directory:?}");
    }
    let early = root.join("early").metadata().unwrap();
    assert_eq!((early.mtime(), early.mtime_nsec()), (-2, 500_000_000));
    assert_eq!(mode(&root.join("tmp")), 0o1777);
    assert!(root.join("old-directory").is_dir());
    assert_eq!(read(&root.join("new\nline\x1b")), "legal");
}

#[test]
fn directories_keep_their_times_whatever_the_order() {
    let place = unpacked(
        Sample::aci()
            .dir("rootfs/a")
            .dir("rootfs/b")
            .file("rootfs/a/1", "")
            .file("rootfs/b/1", "")
            .file("rootfs/a/2", ""),
    );
    for directory in ["a", "b"] {
        assert_eq!(place.root().join(directory).metadata().unwrap().mtime(), 1_000_000_000);
    }
}

#[test]
fn nothing_leaves_the_root() {
    for (path, problem) in [
        ("rootfs/../outside/new", Problem::ParentInPath),
        ("../outside/new", Problem::ParentInPath),
        ("rootfs/a/..", Problem::ParentInPath),
        ("/etc/new", Problem::AbsolutePath),
        ("/rootfs/new", Problem::AbsolutePath),
        ("etc/passwd", Problem::NotInLayout),
        ("rootfs-not/x", Problem::NotInLayout),
    ] {
        assert_eq!(refused_entry(Sample::aci().file(path, "x")), problem, "{path}");
        assert_eq!(refused_entry(Sample::aci().dir(path)), problem, "{path}");
    }
    assert_eq!(refused_entry(Sample::aci().file("manifest", "again")), Problem::Twice);
    assert_eq!(refused_entry(Sample::aci().symlink("rootfs", "/")), Problem::NotADirectory);
    assert_eq!(refused_entry(Sample::default().symlink("manifest", "/etc/passwd")), Problem::NotAFile);
    assert_eq!(refused_entry(Sample::default().file("manifest", b"\xff")), Problem::NotText);
}

#[test]
fn symbolic_links_lead_nowhere_outside() {
    for target in ["/outside", "../outside", "../../outside", "/../../outside", "a/../../../outside"] {
        // With the directory of that name inside the root, the file lands there.
        let place = unpacked(
            Sample::aci()
                .dir("rootfs/outside")
                .dir("rootfs/a")
                .symlink("rootfs/link", target)
                .file("rootfs/link/new", "x"),
        );
        assert_eq!(read(&place.root().join("outside/new")), "x", "{target}");
        assert_eq!(place.root().join("outside").metadata().unwrap().mtime(), 1_000_000_000, "{target}");
        // Through a link to nothing nothing is made.
        let sample = Sample::aci().symlink("rootfs/link", target).file("rootfs/link/new", "x");
        assert_eq!(refused_entry(sample), Problem::BelowFile, "{target}");
        // Writing to the name of a link replaces the link.
        let place = unpacked(
            Sample::aci().symlink("rootfs/link", &format!("{target}/file")).file("rootfs/link", "y"),
        );
        assert_eq!(read(&place.root().join("link")), "y");
        assert!(place.root().join("link").symlink_metadata().unwrap().is_file());
    }
    let place = Place::new();
    let absolute = place.outside();
    let sample =
        Sample::aci().symlink("rootfs/link", absolute.to_str().unwrap()).file("rootfs/link/file", "x");
    assert!(place.unpack(sample.end()).is_err());
    let sample = Sample::aci().symlink("rootfs/loop", "loop").file("rootfs/loop/file", "x");
    assert_eq!(refused_entry(sample), Problem::BelowFile);
    // A directory over a link to one replaces the link.
    let place = unpacked(
        Sample::aci().dir("rootfs/a").symlink("rootfs/l", "a").dir("rootfs/l").file("rootfs/l/x", ""),
    );
    assert!(place.root().join("l").symlink_metadata().unwrap().is_dir());
    assert!(!place.root().join("a/x").exists());
}

#[test]
fn a_link_planted_before_the_start_is_no_way_out_either() {
    let place = Place::new();
    symlink(place.outside(), place.root().join("planted")).unwrap();
    assert!(place.unpack(Sample::aci().file("rootfs/planted/file", "x").end()).is_err());
    place.unpack(Sample::aci().file("rootfs/planted", "x").end()).unwrap();
}

#[test]
fn hard_links_stay_inside() {
    for target in
        ["/etc/passwd", "../outside/file", "outside/file", "rootfs/../outside/file", "rootfs", "manifest"]
    {
        let problem = refused_entry(Sample::aci().hard_link("rootfs/l", target));
        assert!(matches!(problem, Problem::LinkOutside(_)), "{target} {problem:?}");
    }
    let through = Sample::aci().symlink("rootfs/way", "../outside").hard_link("rootfs/l", "rootfs/way/file");
    assert!(matches!(refused_entry(through), Problem::LinkMissing(_)));
    let missing = refused_entry(Sample::aci().hard_link("rootfs/l", "rootfs/nothing"));
    assert!(matches!(missing, Problem::LinkMissing(_)));
    let directory = refused_entry(Sample::aci().dir("rootfs/d").hard_link("rootfs/l", "rootfs/d"));
    assert!(matches!(directory, Problem::LinkToDirectory(_)));
    // A hard link to a symbolic link is one to the link itself.
    let place =
        unpacked(Sample::aci().symlink("rootfs/s", "../outside/file").hard_link("rootfs/l", "rootfs/s"));
    assert!(place.root().join("l").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn hard_links_may_come_before_their_targets() {
    let place = unpacked(
        Sample::aci()
            .hard_link("rootfs/d/second", "rootfs/d/first")
            .hard_link("rootfs/d/first", "rootfs/file")
            .file("rootfs/replaced", "by a link")
            .hard_link("rootfs/replaced", "rootfs/file")
            .hard_link("rootfs/wins", "rootfs/file")
            .file("rootfs/wins", "later")
            .file("rootfs/file", "x")
            .hard_link("rootfs/file", "rootfs/file"),
    );
    assert_eq!(place.root().join("file").metadata().unwrap().nlink(), 4);
    assert_eq!(read(&place.root().join("wins")), "later");
    assert_eq!(place.root().join("d").metadata().unwrap().mtime(), 0);
}

#[test]
fn later_entries_replace_earlier_ones() {
    let place = unpacked(
        Sample::aci()
            .file("rootfs/a", "1")
            .hard_link("rootfs/b", "rootfs/a")
            .file("rootfs/a", "2")
            .file("rootfs/dir/inner/file", "3")
            .file("rootfs/dir", "now a file")
            .file("rootfs/file", "4")
            .dir("rootfs/file")
            .file("rootfs/file/below", "5")
            .node("rootfs/node", EntryType::Char, 1, 5)
            .file("rootfs/node", "6")
            .symlink("rootfs/node", "x")
            .entry("rootfs/file", EntryType::Directory, b"", |e| {
                e.mode(0o700).unwrap();
            }),
    );
    let root = place.root();
    assert_eq!(read(&root.join("a")), "2");
    assert_eq!(read(&root.join("b")), "1");
    assert_eq!(read(&root.join("dir")), "now a file");
    assert_eq!(read(&root.join("file/below")), "5");
    assert_eq!(mode(&root.join("file")), 0o700);
    assert!(root.join("node").is_symlink());
    assert_eq!(refused_entry(Sample::aci().file("rootfs/a", "").file("rootfs/a/b", "")), Problem::BelowFile);
}

#[test]
fn devices_that_mean_something_to_overlayfs_are_refused() {
    assert_eq!(refused_entry(Sample::aci().node("rootfs/x", EntryType::Char, 0, 0)), Problem::Whiteout);
    unpacked(Sample::aci().node("rootfs/x", EntryType::Fifo, 0, 0).node("rootfs/y", EntryType::Char, 0, 1));
    let out_of_range = Sample::aci().node("rootfs/x", EntryType::Char, 0x1000, 0);
    assert!(matches!(refused_entry(out_of_range), Problem::Number(_)));
}

#[test]
fn only_harmless_attributes_are_kept() {
    // A capability (version 2): CAP_NET_RAW effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let sample = Sample::aci().entry("rootfs/ping", EntryType::Regular, b"x", |e| {
        e.uid(7).unwrap().mode(0o755).unwrap();
        e.add_pax("SCHILY.xattr.security.capability", capability);
        e.add_pax("SCHILY.xattr.user.kept", "value");
        for name in [
            "trusted.overlay.opaque",
            "trusted.overlay.whiteout",
            "trusted.other",
            "user.overlay.opaque",
            "user.overlay.whiteout",
            "security.selinux",
            "security.ima",
            "system.posix_acl_access",
        ] {
            e.add_pax(&format!("SCHILY.xattr.{name}"), "y");
        }
    });
    let sample = sample.entry("rootfs/opaque", EntryType::Directory, b"", |e| {
        e.add_pax("SCHILY.xattr.trusted.overlay.opaque", "y")
            .add_pax("SCHILY.xattr.user.overlay.opaque", "y");
    });
    let place = Place::new();
    assert_eq!(place.unpack(sample.end()).unwrap().dropped_xattrs, 10);
    let list = |name: &str| -> Vec<String> {
        let mut buffer = [0; 4096];
        let count = rustix::fs::listxattr(place.root().join(name), &mut buffer[..]).unwrap();
        let mut names: Vec<String> =
            buffer[..count].split(|b| *b == 0).map(|n| String::from_utf8_lossy(n).into()).collect();
        names.retain(|name| !name.is_empty());
        names.sort();
        names
    };
    assert_eq!(list("ping"), ["security.capability", "user.kept"]);
    assert_eq!(list("opaque"), Vec::<String>::new());
}

#[test]
fn sparse_files_of_every_format() {
    let map = [(4096, 5), (1 << 20, 3), (3 << 30, 0)].map(|(offset, length)| SparseEntry { offset, length });
    let many: Vec<SparseEntry> = (0..50).map(|i| SparseEntry { offset: i * 65536, length: 1 }).collect();
    let dir = tempfile::tempdir().unwrap();
    for gnu in [true, false] {
        let add = |sample: Sample, path: &str, map: &[SparseEntry], length: u64, content: &[u8]| {
            let mut builder = if gnu {
                tar_core::builder::EntryBuilder::new_gnu()
            } else {
                tar_core::builder::EntryBuilder::new_ustar()
            };
            builder.path(path).size(content.len() as u64).unwrap().mode(0o644).unwrap().mtime(0).unwrap();
            builder.uid(0).unwrap().gid(0).unwrap().sparse(map, length);
            sample.raw(&builder.finish_bytes()).content(content)
        };
        let sample = add(Sample::aci(), "rootfs/holes", &map, 3 << 30, b"HELLObye");
        let place =
            unpacked(add(sample, "rootfs/many", &many, 50 * 65536, &[b'x'; 50]).file("rootfs/next", "n"));
        let holes = place.root().join("holes");
        let stat = holes.metadata().unwrap();
        assert_eq!((stat.len(), stat.blocks() < 64), (3 << 30, true), "gnu {gnu}");
        assert_eq!(read(&place.root().join("next")), "n");
        let many = std::fs::read(place.root().join("many")).unwrap();
        assert!(many.iter().enumerate().all(|(at, byte)| (*byte == b'x') == (at % 65536 == 0)));
        std::fs::copy(&holes, dir.path().join("copy")).unwrap();
        let output =
            std::process::Command::new("od").args(["-An", "-c", "-j1048576", "-N3"]).arg(&holes).output();
        assert_eq!(output.unwrap().stdout, b"   b   y   e\n");
        for (bad, length) in [
            (&[(0, 4)][..], 100),
            (&[(0, 9)], 100),
            (&[(4, 4), (0, 4)], 100),
            (&[(0, 5), (4, 3)], 100),
            (&[(96, 8)], 100),
            (&[(u64::MAX - 20, 8)], u64::MAX),
        ] {
            let map: Vec<_> = bad.iter().map(|&(offset, length)| SparseEntry { offset, length }).collect();
            if gnu && bad[0].0 > 1 << 62 {
                continue;
            }
            let sample = add(Sample::aci(), "rootfs/bad", &map, length, b"12345678");
            assert_eq!(refused_entry(sample), Problem::SparseMap, "{bad:?}");
        }
    }
}

#[test]
fn endless_sparse_maps_end() {
    // A map in extended format 1.0 that never has a line end.
    let sample = Sample::aci().entry("rootfs/x", EntryType::Regular, &vec![b'1'; 8 << 20], |e| {
        e.add_pax("GNU.sparse.major", "1")
            .add_pax("GNU.sparse.minor", "0")
            .add_pax("GNU.sparse.realsize", "9");
    });
    assert!(matches!(refused(sample), ArchiveError::Limit { limit: Limit::Metadata, .. }));
    // Extension blocks of the old format that have nothing in them but a promise of the next.
    let mut block = [0; 512];
    block[504] = 1;
    let mut builder = tar_core::builder::EntryBuilder::new_gnu();
    builder
        .path("rootfs/x")
        .size(0)
        .unwrap()
        .mode(0)
        .unwrap()
        .mtime(0)
        .unwrap()
        .uid(0)
        .unwrap()
        .gid(0)
        .unwrap();
    let map: Vec<_> = (0..5).map(|offset| SparseEntry { offset, length: 0 }).collect();
    builder.sparse(&map, 9);
    let headers = builder.finish_bytes();
    let sample = Sample::aci().raw(&headers[..512]).raw(&block.repeat(16_384));
    assert!(matches!(refused(sample), ArchiveError::Limit { limit: Limit::Metadata, .. }));
}

#[test]
fn limits_are_named() {
    let limits =
        Limits { entries: 5, path: 300, depth: 8, metadata: 4096, manifest: 100, ..Limits::default() };
    let deep = format!("rootfs{}", "/d".repeat(10_000));
    let long = format!("rootfs{}", "/0123456789".repeat(40));
    for (sample, limit) in [
        (Sample::aci().file(&long, ""), Limit::Path),
        (Sample::aci().file("rootfs/1/2/3/4/5/6/7/8/9", ""), Limit::Depth),
        (Sample::aci().file(format!("rootfs/{}", "n".repeat(256)), ""), Limit::Name),
        (Sample::aci().pax("rootfs/x", "comment", "c".repeat(5000), b""), Limit::Metadata),
        (
            Sample::aci().file("rootfs/1", "").file("rootfs/2", "").file("rootfs/3", "").file("rootfs/4", ""),
            Limit::Entries,
        ),
        (Sample::default().file("manifest", vec![b' '; 101]), Limit::Manifest),
        (Sample::aci().symlink("rootfs/l", &"x/".repeat(200)), Limit::Path),
    ] {
        match Place::new().unpack_with(sample.end(), &limits) {
            Err(ArchiveError::Limit { limit: found, .. }) => assert_eq!(found, limit),
            other => panic!("{limit}: {other:?}"),
        }
    }
    match refused(Sample::aci().file(&deep, "")) {
        ArchiveError::Limit { limit: Limit::Path, value: 4095, .. } => {}
        other => panic!("{other:?}"),
    }
    let limits = Limits { unpacked: 1 << 20, ..Limits::default() };
    let error = Place::new().unpack_with(Sample::aci().file("rootfs/x", vec![0; 1 << 20]).end(), &limits);
    assert_eq!(error, Err(ArchiveError::limit(Limit::Unpacked, 1u64 << 20, None)));
}

#[test]
fn depth_through_links_counts() {
    let mut sample = Sample::aci();
    let limits = Limits { depth: 20, ..Limits::default() };
    let step = "d/".repeat(15);
    for level in 0..10 {
        let from = if level == 0 { "rootfs".to_owned() } else { format!("rootfs/l{}", level - 1) };
        sample = sample.dir(format!("{from}/{step}"));
        sample = sample.symlink(
            format!("rootfs/l{level}"),
            &format!("{}{step}", if level == 0 { String::new() } else { format!("l{}/", level - 1) }),
        );
    }
    match Place::new().unpack_with(sample.end(), &limits) {
        Err(ArchiveError::Limit { limit: Limit::Depth, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bomb_is_stopped_by_its_ratio() {
    let mut child = std::process::Command::new("sh")
        .args(["-c", "head -c 600M /dev/zero | zstd -qc"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut zeros = Vec::new();
    std::io::Read::read_to_end(child.stdout.as_mut().unwrap(), &mut zeros).unwrap();
    child.wait().unwrap();
    // The frame of zeros stands after one with the header of a large file.
    let head = Sample::aci().header("rootfs/zeros", |header| header.set_size(600 << 20).unwrap());
    let mut archive = zstd::encode_all(&head.bytes[..], 3).unwrap();
    archive.extend_from_slice(&zeros);
    assert_eq!(Place::new().unpack(archive), Err(ArchiveError::limit(Limit::Ratio, 1000u64, None)));
}

#[test]
fn odd_headers_are_refused() {
    let number = |name: &str| Problem::Number(name.to_owned());
    for (sample, problem) in [
        (
            Sample::aci()
                .header("rootfs/x", |h| h.as_ustar_mut().size = [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            number("size"),
        ),
        (Sample::aci().header("rootfs/x", |h| h.as_ustar_mut().uid = [0xff; 8]), number("owner")),
        (
            Sample::aci()
                .header("rootfs/x", |h| h.as_ustar_mut().gid = [0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            number("group"),
        ),
        (
            Sample::aci()
                .header("rootfs/x", |h| h.as_ustar_mut().mtime = [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            number("time"),
        ),
        (Sample::aci().pax("rootfs/x", "uid", "-1", b""), number("owner")),
        (Sample::aci().pax("rootfs/x", "size", "1e3", b""), number("size")),
        (Sample::aci().pax("rootfs/x", "mtime", "soon", b""), number("time")),
        (Sample::aci().pax("rootfs/x", "path", "rootfs/\0x", b""), Problem::Nul),
        (Sample::aci().entry("rootfs/x", EntryType::Symlink, b"", |_| {}), Problem::NoTarget),
        (Sample::aci().entry("rootfs/x", EntryType::Link, b"", |_| {}), Problem::NoTarget),
        (Sample::aci().entry("rootfs/x", EntryType::Directory, b"content", |_| {}), Problem::Content),
        (Sample::aci().entry("rootfs/x", EntryType::Other(b'M'), b"", |_| {}), Problem::UnknownType('M')),
        (Sample::aci().entry("rootfs/x", EntryType::Other(b's'), b"", |_| {}), Problem::UnknownType('s')),
    ] {
        assert_eq!(refused_entry(sample), problem);
    }
    for sample in [
        // Two extended headers, or one without an entry.
        Sample::aci()
            .entry("x", EntryType::XHeader, b"8 a=bcd\n", |_| {})
            .pax("rootfs/x", "comment", "y", b""),
        Sample::aci().entry("x", EntryType::XHeader, b"8 a=bcd\n", |_| {}),
        // A global header that changes what follows, and one that would swallow the header before it.
        Sample::aci().entry("g", EntryType::XGlobalHeader, b"17 path=rootfs/x\n", |_| {}),
        Sample::aci().entry("x", EntryType::XHeader, b"8 a=bcd\n", |_| {}).entry(
            "g",
            EntryType::XGlobalHeader,
            b"13 comment=x\n",
            |_| {},
        ),
        Sample::aci().raw(&[0x20; 512]),
        Sample::aci().raw(&{
            let mut bad = Sample::default().file("rootfs/x", "").bytes;
            bad[150] ^= 1;
            bad
        }),
    ] {
        assert!(matches!(refused(sample), ArchiveError::Header { .. }));
    }
    // What git writes at the start is fine, and so is a time before 1970 in binary.
    let comment =
        Sample::default().entry("pax_global_header", EntryType::XGlobalHeader, b"13 comment=x\n", |_| {});
    let place = unpacked(
        comment.raw(&Sample::aci().bytes).header("rootfs/x", |h| h.as_ustar_mut().mtime = [0xff; 12]),
    );
    assert_eq!(place.root().join("x").metadata().unwrap().mtime(), -1);
}

#[test]
fn what_is_no_image_is_called_so() {
    let unpack = |bytes: &[u8]| Place::new().unpack(bytes.to_vec()).unwrap_err();
    assert_eq!(unpack(b""), ArchiveError::Empty);
    assert_eq!(unpack(b"text"), ArchiveError::NotAnArchive);
    assert_eq!(unpack(&[b'x'; 5000]), ArchiveError::NotAnArchive);
    assert_eq!(unpack(&Sample::default().dir("rootfs").end()), ArchiveError::NoManifest);
    assert_eq!(unpack(&Sample::default().file("manifest", "{}").end()), ArchiveError::NoRootfs);
    assert_eq!(unpack(&Sample::default().end()), ArchiveError::NoManifest);
    let mut trailing = Sample::aci().end();
    trailing.extend_from_slice(&[0; 5000]);
    assert!(Place::new().unpack(trailing.clone()).is_ok());
    trailing.push(1);
    assert_eq!(unpack(&trailing), ArchiveError::TrailingData);
}

/// umoci writes neither the padding of the last entry nor the end.
#[test]
fn a_layer_may_end_after_an_entry() {
    let run = |bytes: &[u8]| {
        let source = std::io::Cursor::new(bytes.to_vec());
        pipeline::run(Content::Layer, source, None, &Limits::default(), false)
    };
    let whole = Sample::default().dir("etc").file("etc/a", "content").end();
    for cut in [512, 1024 + 7, 1024 + 512] {
        assert!(run(&whole[..cut]).is_ok(), "{cut}: {:?}", run(&whole[..cut]));
    }
    for cut in [100, 1024 - 1, 1024, 1024 + 6, 2048] {
        assert!(run(&whole[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn a_cut_archive_is_never_whole() {
    let whole = Sample::aci()
        .file("rootfs/a", vec![b'a'; 3000])
        .file(format!("rootfs/{}", "long/".repeat(30)), "")
        .pax("rootfs/b", "SCHILY.xattr.user.x", "y", b"b")
        .hard_link("rootfs/c", "rootfs/a")
        .end();
    let mut cuts: Vec<usize> = (0..whole.len()).step_by(512).collect();
    cuts.extend((1..whole.len()).step_by(301));
    for cut in cuts {
        let error = Place::new().unpack(whole[..cut].to_vec()).unwrap_err();
        let expected = match cut {
            0 => error == ArchiveError::Empty,
            1..512 => error == ArchiveError::NotAnArchive,
            _ => matches!(error, ArchiveError::Truncated { .. }),
        };
        assert!(expected, "{cut}: {error:?}");
    }
    assert!(Place::new().unpack(whole).is_ok());
}

#[test]
fn a_flipped_bit_changes_the_digest_or_is_an_error() {
    let whole = Sample::aci().file("rootfs/a", vec![b'a'; 600]).symlink("rootfs/b", "a").end();
    let good = Place::new().unpack(whole.clone()).unwrap();
    let mut errors = 0;
    for at in (0..whole.len()).step_by(37) {
        for bit in [0, 5, 7] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            match Place::new().unpack(damaged) {
                Ok(outcome) => assert_ne!(outcome.digest, good.digest, "{at}"),
                Err(_) => errors += 1,
            }
        }
    }
    assert!(errors > 50, "{errors}");
}

#[test]
fn gnu_tar_and_this_agree() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
        set -e; cd "$0"; mkdir -p in/rootfs/dir/sub theirs; umask 022
        printf '{}' > in/manifest
        seq 1 20000 > in/rootfs/dir/numbers; ln in/rootfs/dir/numbers in/rootfs/dir/sub/hard
        ln -s ../dir in/rootfs/dir/sub/link; mkfifo in/rootfs/pipe; mknod in/rootfs/null c 1 3
        truncate -s 5M in/rootfs/sparse; printf mid | dd of=in/rootfs/sparse bs=1 seek=2000000 conv=notrunc status=none
        chown 5:6 in/rootfs/dir/sub; chmod 2750 in/rootfs/dir/sub; chown -h 7:8 in/rootfs/dir/sub/link
        touch -d '1960-01-01 00:00:00.25' in/rootfs/dir/old; touch -d 2001-02-03 in/rootfs/dir
        longname=$(printf '%0200d' 7); echo long > in/rootfs/dir/$longname; ln -s $longname in/rootfs/$(printf '%0150d' 3)
        tar -C in --format=$1 -S $2 -cf a.tar manifest rootfs
        tar -C theirs --numeric-owner -p --same-owner -xf a.tar
    "#;
    for (format, more) in [
        ("gnu", ""),
        ("pax", "--sparse-version=0.0"),
        ("pax", "--sparse-version=0.1"),
        ("pax", "--sparse-version=1.0"),
    ] {
        let here = dir.path().join(format!("{format}{more}"));
        std::fs::create_dir(&here).unwrap();
        let status =
            std::process::Command::new("sh").args(["-c", script]).arg(&here).args([format, more]).status();
        assert!(status.unwrap().success());
        let place = Place::new();
        place.unpack(std::fs::read(here.join("a.tar")).unwrap()).unwrap();
        let list = |root: &Path| {
            let output = std::process::Command::new("sh")
                .args(["-c", r"find . -printf '%P %y %m %U:%G %s %T@ %n %l\n' | sort; find . -type f -print0 | sort -z | xargs -0 md5sum"])
                .current_dir(root)
                .output();
            // Directory sizes depend on the file system.
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        assert_eq!(list(&place.root()), list(&here.join("theirs/rootfs")), "{format} {more}");
    }
}
