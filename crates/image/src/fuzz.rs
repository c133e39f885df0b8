//! Parsers of archives and of OCI documents under spoilt input.

use std::io::{Cursor, Write};
use std::process::{Command, Stdio};

use fuzz::{Target, shape};
use tar_core::EntryType;

use crate::archive::ArchiveError;
use crate::archive::sample::Sample;
use crate::limits::Limits;
use crate::oci::{self, Config};
use crate::pipeline::{self, Content, Outcome};

/// Words of tar: types, names, PAX keys, sparse maps.
const TAR: &[&str] = &[
    "../",
    "/",
    "./",
    "rootfs/",
    "manifest\0",
    ".wh.",
    ".wh..wh..opq",
    "ustar\x0000",
    "ustar  \0",
    "30 mtime=1350244992.023960108\n",
    "18 path=rootfs/a\n",
    "9 size=1\n",
    "28 SCHILY.xattr.user.a=b\n",
    "22 GNU.sparse.major=1\n",
    "22 GNU.sparse.minor=0\n",
    "26 GNU.sparse.realsize=10\n",
    "20 GNU.sparse.map=0,1\n",
    "\x30",
    "\x31",
    "\x32",
    "\x35",
    "x",
    "g",
    "L",
    "K",
    "S",
    "V",
    "M",
    "0000644\0",
    "00000000010\0",
    "77777777777\0",
    "\u{80}",
];

/// Makes the checksums of what could be headers right again.
fn checksums(input: &mut [u8]) {
    for header in input.chunks_exact_mut(512).filter(|header| header[257..262] == *b"ustar") {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

fn archives() -> Vec<Vec<u8>> {
    let all = Sample::aci()
        .file("rootfs/file", "content")
        .hard_link("rootfs/link", "rootfs/file")
        .symlink("rootfs/soft", "../file")
        .node("rootfs/device", EntryType::Char, 1, 3)
        .pax("rootfs/xattr", "SCHILY.xattr.user.a", "b", b"c")
        .file(format!("rootfs/{}", "long/".repeat(40)), "x");
    let layer =
        Sample::default().dir("etc").file("etc/.wh.a", "").file("etc/.wh..wh..opq", "").file("etc/b", "b");
    vec![all.end(), layer.end(), Sample::aci().end(), Vec::new()]
}

fn limits() -> Limits {
    Limits { entries: 200, unpacked: 1 << 20, ..Limits::default() }
}

fn place(result: Result<Outcome, ArchiveError>) -> String {
    match result {
        Ok(outcome) => format!("{} {}", outcome.entries, outcome.dropped_xattrs),
        Err(error) => error.to_string().chars().filter(char::is_ascii_alphabetic).take(160).collect(),
    }
}

fn walk(name: &str, content: Content) {
    let target = Target::new(name, archives()).words(TAR).repair(checksums);
    target.run(|bytes| place(pipeline::run(content, Cursor::new(bytes.to_vec()), None, &limits(), false)));
}

#[test]
fn tar_of_an_image() {
    walk("tar image", Content::Image);
}

#[test]
fn tar_of_a_layer() {
    walk("tar layer", Content::Layer);
}

#[test]
fn tar_around_an_image() {
    walk("tar parts", Content::Parts);
}

/// As root the tree is made too, beside a file that has to stay.
#[test]
fn unpacking_a_layer() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("outside"), "untouched").unwrap();
    let target = Target::new("unpack layer", archives()).words(TAR).repair(checksums);
    target.run(|bytes| {
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let handle = sys::path::open_directory(&root).unwrap();
        let outcome =
            pipeline::run(Content::Layer, Cursor::new(bytes.to_vec()), Some(handle), &limits(), false);
        let at = sys::path::open_directory(dir.path()).unwrap();
        crate::remove::remove_tree(std::os::fd::AsFd::as_fd(&at), "root").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "something was made outside");
        assert_eq!(std::fs::read(dir.path().join("outside")).unwrap(), b"untouched");
        place(outcome)
    });
}

#[test]
fn compressed_streams() {
    let archive = Sample::aci().file("rootfs/file", "content ".repeat(400)).end();
    let compressed = ["gzip", "bzip2", "xz", "zstd"].map(|program| {
        let mut child =
            Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&archive).unwrap();
        child.wait_with_output().unwrap().stdout
    });
    Target::new("compressed stream", compressed).run(|bytes| {
        place(pipeline::run(Content::Image, Cursor::new(bytes.to_vec()), None, &limits(), false))
    });
}

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "\"schemaVersion\":2,",
    "\"mediaType\":",
    "\"digest\":",
    "\"size\":",
    "\"config\":{",
    "\"layers\":[",
    "\"manifests\":[",
    "\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"},",
    "\"annotations\":{",
    "sha256:",
    "\"ExposedPorts\":{\"80/tcp\":{}},",
    "\"Volumes\":{\"/a\":{}},",
    "\"Env\":[\"A=b\"],",
    "\"User\":\"a:b\",",
    "\"WorkingDir\":\"/\",",
    "\"Labels\":{\"a\":\"b\"},",
    "\"variant\":\"v8\",",
    "8000-9000/udp",
];

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn oci_manifests_and_indexes() {
    let part = format!(
        r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{DIGEST}","size":7,"platform":{{"os":"linux","architecture":"amd64"}}}}"#
    );
    let corpus = [
        format!(r#"{{"schemaVersion":2,"config":{part},"layers":[{part}]}}"#),
        format!(r#"{{"schemaVersion":2,"manifests":[{part},{part}]}}"#),
    ];
    let host = transport::Platform::new("linux", "amd64");
    Target::new("oci document", corpus).words(JSON).run(|bytes| {
        let manifest = oci::manifest(bytes).map(|manifest| manifest.layers.len()).map_err(shape);
        let index = oci::choose(bytes, &host).map(|chosen| chosen.size).map_err(shape);
        (manifest, index)
    });
}

#[test]
fn oci_configurations() {
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","created":"2020-01-01T00:00:00Z","config":{{"User":"a:b","ExposedPorts":{{"80/tcp":{{}}}},"Env":["A=b"],"Entrypoint":["/a"],"Cmd":["b"],"Volumes":{{"/v":{{}}}},"WorkingDir":"/w","Labels":{{"a":"b"}},"StopSignal":"SIGTERM"}},"rootfs":{{"type":"layers","diff_ids":["{DIGEST}"]}},"history":[{{"created":"2020-01-01T00:00:00Z","empty_layer":true}}]}}"#
    );
    let name = oci::OciName::from(&"quay.io/a/b:1".parse::<appc::RegistryReference>().unwrap());
    Target::new("oci configuration", [config]).words(JSON).run(|bytes| {
        let config = Config::read(bytes).map_err(shape)?;
        let manifest = oci::translate(&config, &name, None).map_err(shape)?;
        // The store keeps it as text and reads it again.
        let text = serde_json::to_vec(&manifest).unwrap();
        assert!(appc::ImageManifest::parse(&text).unwrap() == manifest);
        Ok::<_, String>(manifest.app.map_or(0, |app| app.ports.len() + app.mount_points.len()))
    });
}
