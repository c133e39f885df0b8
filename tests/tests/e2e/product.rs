//! The product as it was installed: what its programs need of a host, and where rkt looks for its stage1.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tests::case::{Case, Stage1};
use tests::host::{Exec, Host};
use tests::images;

const IMAGES: &str = "/usr/lib/rkt/stage1-images";

/// Whether the kernel starts a program by a loader that it names (`PT_INTERP`), which then looks for libraries. `None` for
/// what is no program.
fn is_dynamic(path: &Path) -> Option<bool> {
    let file = File::open(path).unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
    let mut head = Vec::new();
    file.take(4096).read_to_end(&mut head).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    assert_eq!(head[4..6], [2, 1], "{} is not of 64 bits, lowest byte first", path.display());
    let number = |at: usize, size: usize| {
        head[at..at + size].iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    assert!(count > 0 && table + size * count <= head.len(), "{} has its segments elsewhere", path.display());
    let mut segments = (0..count).map(|index| number(table + size * index, 4));
    Some(segments.any(|kind| kind == 3))
}

/// The files below a directory that may be executed.
fn executables(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![below.to_owned()];
    while let Some(dir) = left.pop() {
        let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("read {}: {error}", dir.display()));
        for entry in entries.flatten() {
            let meta = entry.metadata().unwrap_or_else(|error| panic!("{}: {error}", entry.path().display()));
            if meta.is_dir() {
                left.push(entry.path());
            } else if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn programs_on_the_host_are_static() {
    let host = tests::case::shared_host();
    let find = "find /usr/bin/rkt /usr/lib/rkt /usr/lib/systemd/system-generators/rkt-* -type f -perm /111";
    let mut dynamic = Vec::new();
    let mut count = 0;
    for file in host.sh(find).success().stdout.lines() {
        let is_dynamic = is_dynamic(&host.path(file));
        count += usize::from(is_dynamic.is_some());
        dynamic.extend(is_dynamic.filter(|is| *is).map(|_| file.to_owned()));
    }
    dynamic.sort();
    // They talk to others: how names are resolved is a matter of the host's C library.
    assert_eq!(dynamic, ["/usr/lib/rkt/rkt-fetcher", "/usr/lib/rkt/rkt-metadata"]);
    assert!(
        count >= 4,
        "only {count} programs: rkt, its fetcher, its metadata service and its generator are missing"
    );
}

/// Unpacks a stage1 image, and the initramfs in it if there is one, into `dir`.
fn unpack(host: &Host, stage1: Stage1, dir: &str) {
    let script = r#"mkdir -p "$2" && tar -C "$2" -xf "$1" && cd "$2/rootfs"
        [ ! -e boot/initramfs ] || { mkdir guest && cd guest && busybox cpio -i <../boot/initramfs; rm -r ../boot; }"#;
    let image = format!("{IMAGES}/{}", stage1.file());
    host.exec("sh").args(["-ec", script, "sh", &image, dir]).ok();
}

/// A stage1 runs from a root that has no libraries.
#[test]
fn programs_of_a_stage1_are_static() {
    let case = Case::new(Stage1::Fly);
    for stage1 in [Stage1::Fly, Stage1::Nspawn, Stage1::Kvm] {
        let dir = case.tmp(stage1.file());
        unpack(case.host(), stage1, &dir);
        let root = case.host().path(format!("{dir}/rootfs"));
        let programs = executables(&root);
        for program in &programs {
            assert_eq!(is_dynamic(program), Some(false), "{}", program.display());
        }
        let mut wanted = entrypoints(&case.host().read(&format!("{dir}/manifest")));
        assert!(wanted.len() >= 5, "{wanted:?}");
        wanted.extend(match stage1 {
            Stage1::Fly => None,
            Stage1::Nspawn => Some("supervisor".to_owned()),
            Stage1::Kvm => Some("guest/init".to_owned()),
        });
        for name in wanted {
            assert!(programs.contains(&root.join(&name)), "{} has no program {name}", stage1.file());
        }
        case.host().exec("rm").args(["-r", &dir]).ok();
    }
}

/// The programs that the manifest of a stage1 names, without the slash before them.
fn entrypoints(manifest: &str) -> Vec<String> {
    let manifest: serde_json::Value = serde_json::from_str(manifest).expect("a manifest");
    let annotations = manifest["annotations"].as_array().expect("annotations");
    let values = annotations.iter().filter_map(|annotation| annotation["value"].as_str());
    values.filter_map(|value| value.strip_prefix('/')).map(str::to_owned).collect()
}

/// A copy of rkt in a directory of its own, where the stage1 images of the host are hidden and the store has none.
struct Copy {
    case: Case,
    program: String,
    config: String,
}

impl Copy {
    /// `program` and `images` are paths in the directory of the test; the images lie in the latter.
    fn new(program: &str, images: &str) -> Copy {
        let case = Case::alone(Stage1::Nspawn);
        let (program, images) = (case.tmp(program), case.tmp(images));
        let script = r#"mkdir -p "${1%/*}" "$2" && cp /usr/bin/rkt "$1" && cp "$3"/stage1-fly.aci "$3"/stage1-nspawn.aci "$2""#;
        case.host().exec("sh").args(["-ec", script, "sh", &program, &images, IMAGES]).ok();
        let config = case.tmp("config");
        case.host().exec("mkdir").arg(&config).ok();
        Copy { case, program, config }
    }

    fn rkt(&self, args: &[&str]) -> Exec<'static> {
        let empty = self.case.tmp("empty");
        let script = r#"mkdir -p "$1" && mount --bind "$1" "$2" && shift 2 && exec "$@""#;
        let exec =
            self.case.host().exec("unshare").args(["--mount", "sh", "-ec", script, "sh", &empty, IMAGES]);
        let options = [format!("--dir={}", self.case.data()), format!("--local-config={}", self.config)];
        exec.arg(&self.program).args(options).args(args.iter().copied())
    }

    /// Runs a pod without a word about its stage1, which must not need a signature either.
    fn run(&self) -> Exec<'static> {
        let fetch = self.rkt(&["fetch", "--insecure-options=image", images::BUSYBOX_FILE]).ok();
        self.rkt(&["run", "--net=host", fetch.trimmed(), "--exec=/bin/sh", "--", "-c", "echo from the pod"])
    }

    /// The images in the store: the app's, and the stage1 that was used.
    fn stored(&self) -> Vec<String> {
        let list = self.rkt(&["image", "list", "--fields=name", "--no-legend"]).ok();
        list.stdout.lines().map(|line| line.trim().split(':').next().unwrap_or_default().to_owned()).collect()
    }

    fn runs_with(&self, stage1: &str) {
        self.run().ok().prints("from the pod");
        let mut stored = self.stored();
        stored.sort();
        assert_eq!(stored, [stage1, images::BUSYBOX_NAME]);
    }
}

#[test]
fn a_stage1_beside_rkt_is_found() {
    Copy::new("opt/rkt", "opt").runs_with("coreos.com/rkt/stage1-nspawn");
}

#[test]
fn a_stage1_under_the_prefix_of_rkt_is_found() {
    Copy::new("opt/bin/rkt", "opt/lib/rkt/stage1-images").runs_with("coreos.com/rkt/stage1-nspawn");
}

#[test]
fn a_configured_stage1_is_found_beside_rkt() {
    let copy = Copy::new("opt/rkt", "opt");
    let stage1 = r#"{"rktKind": "stage1", "rktVersion": "v1", "location": "/nowhere/stage1-fly.aci"}"#;
    copy.case.host().write(&format!("{}/stage1.d/fly.json", copy.config), stage1);
    copy.runs_with("coreos.com/rkt/stage1-fly");
}

#[test]
fn a_stage1_by_its_file_is_found_beside_rkt() {
    let copy = Copy::new("opt/rkt", "opt");
    let args = ["run", "--insecure-options=image", "--stage1-from-dir=stage1-fly.aci", "--net=host"];
    copy.rkt(&[&args[..], &[images::BUSYBOX_FILE, "--exec=/bin/true"]].concat()).ok();
    assert!(copy.stored().contains(&"coreos.com/rkt/stage1-fly".to_owned()));
}

#[test]
fn a_stage1_elsewhere_is_not_found() {
    let copy = Copy::new("opt/rkt", "elsewhere");
    let output = copy.run().fails(254);
    assert_eq!(output.stdout, "");
    let opt = copy.case.tmp("opt");
    output
        .says("cannot find a stage1 image, looked for: ")
        .says(&format!("{IMAGES}/stage1-nspawn.aci, {opt}/stage1-nspawn.aci, {opt}/../lib/rkt/stage1-images/stage1-nspawn.aci"))
        .says(r#""coreos.com/rkt/stage1-nspawn:"#);
}
