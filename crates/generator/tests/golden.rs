//! Golden directories: `golden/CASE/root` is a host, `golden/CASE/units` the units that the generator writes for it,
//! `golden/CASE/messages` what it says. `RKT_BLESS=1` writes the last two anew.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What stands below a directory, by path: the text of files, and `-> TARGET` for links.
fn tree(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut rest = vec![PathBuf::new()];
    while let Some(path) = rest.pop() {
        let Ok(entries) = fs::read_dir(directory.join(&path)) else { continue };
        for entry in entries.map(Result::unwrap) {
            let (path, kind) = (path.join(entry.file_name()), entry.file_type().unwrap());
            if kind.is_dir() {
                rest.push(path);
            } else if kind.is_symlink() {
                found.insert(path, format!("-> {}", fs::read_link(entry.path()).unwrap().display()));
            } else {
                found.insert(path, fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    found
}

/// Writes a tree with the modes that it has on a host: those of a checkout depend on the umask.
fn write(tree: &BTreeMap<PathBuf, String>, directory: &Path) {
    for (path, content) in tree {
        let path = directory.join(path);
        fs::DirBuilder::new().recursive(true).mode(0o755).create(path.parent().unwrap()).unwrap();
        match content.strip_prefix("-> ") {
            Some(target) => symlink(target, path).unwrap(),
            None => {
                fs::write(&path, content).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
            }
        }
    }
}

fn generate(root: &Path, output: &Path) -> String {
    let open = |path: &Path| sys::path::open_directory(path).unwrap();
    let messages = generator::generate(open(root), open(output).as_fd());
    messages.iter().map(|message| format!("{message}\n")).collect()
}

#[test]
fn golden_directories() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut count = 0;
    for case in fs::read_dir(cases).unwrap() {
        let case = case.unwrap().path();
        let host = tempfile::tempdir().unwrap();
        let (root, output) = (host.path().join("root"), host.path().join("units"));
        write(&tree(&case.join("root")), &root);
        fs::create_dir(&output).unwrap();
        let messages = generate(&root, &output);
        let units = tree(&output);
        if std::env::var_os("RKT_BLESS").is_some() {
            let _ = fs::remove_dir_all(case.join("units"));
            write(&units, &case.join("units"));
            fs::write(case.join("messages"), &messages).unwrap();
        }
        assert_eq!(units, tree(&case.join("units")), "{}", case.display());
        assert_eq!(messages, fs::read_to_string(case.join("messages")).unwrap(), "{}", case.display());
        // A second time in the same directory is the same, and nothing temporary is left.
        assert_eq!(generate(&root, &output), messages);
        assert_eq!(tree(&output), units);
        count += 1;
    }
    assert!(count >= 5, "only {count} cases");
}

#[test]
fn fuzz_whole_hosts() {
    let words = &[
        "[Pod]\n",
        "[App]\n",
        "[Install]\n",
        "Service=a\n",
        "Alias=",
        "WantedBy=",
        "../",
        "/",
        "a.target",
        "[Socket]\n",
        "%i",
    ];
    let start = "[Pod]\nService=a\nMemoryMax=1\n[App]\nImage=x\n[Install]\nWantedBy=a.target\nAlias=b.service\n[Socket]\nListenStream=1\n";
    fuzz::Target::new("generator", [start]).words(words).run(|bytes| {
        let host = tempfile::tempdir().unwrap();
        let output = host.path().join("units");
        fs::create_dir(&output).unwrap();
        let text = String::from_utf8_lossy(bytes).into_owned();
        let files =
            ["etc/rkt/pods/x@y.pod", "etc/rkt/pods/z.pod"].map(|path| (PathBuf::from(path), text.clone()));
        write(&files.into_iter().collect(), &host.path().join("root"));
        let messages = generate(&host.path().join("root"), &output);
        // Nothing but units, and nothing outside.
        assert_eq!(fs::read_dir(host.path()).unwrap().count(), 2);
        let units = tree(&output);
        for path in units.keys() {
            assert!(path.components().count() <= 2 && !path.to_string_lossy().contains(".#"), "{path:?}");
        }
        (units.len(), fuzz::shape(messages))
    });
}
