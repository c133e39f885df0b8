use super::*;
use std::os::unix::fs::symlink;

/// With the modes that they have on a host, whatever the umask is.
fn create_parents(path: &Path) {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o755);
    builder.create(path.parent().unwrap()).unwrap();
}

struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        Root(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        create_parents(&path);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.path().join(path);
        create_parents(&path);
        symlink(target, path).unwrap();
    }

    fn directories(&self) -> Directories {
        Directories::usual(sys::path::open_directory(self.0.path()).unwrap())
    }

    fn find(&self, name: &str) -> Result<Found, SearchError> {
        self.directories().find(&name.parse().unwrap())
    }
}

fn texts(found: Result<Found, SearchError>) -> Vec<String> {
    match found.unwrap() {
        Found::File(main, drop_ins) => {
            std::iter::once(main).chain(drop_ins).map(|source| source.text.clone()).collect()
        }
        Found::Masked(path) => vec![format!("masked {path}")],
    }
}

#[test]
fn earlier_directories_hide_later_ones() {
    let root = Root::new();
    root.write("usr/lib/rkt/pods/a.pod", "vendor");
    root.write("usr/lib/rkt/pods/b.pod", "vendor");
    root.write("run/rkt/pods/b.pod", "run");
    root.write("etc/rkt/pods/c.pod", "");
    root.write("usr/lib/rkt/pods/c.pod", "vendor");
    root.link("etc/rkt/pods/d.pod", "/dev/null");
    root.write("usr/lib/rkt/pods/d.pod", "vendor");
    root.write("etc/rkt/pods/a.pod.d/20.conf", "etc 20");
    root.write("usr/lib/rkt/pods/a.pod.d/20.conf", "vendor 20");
    root.write("usr/lib/rkt/pods/a.pod.d/10.conf", "vendor 10");
    root.write("usr/lib/rkt/pods/a.pod.d/30.conf", "vendor 30");
    root.link("run/rkt/pods/a.pod.d/30.conf", "/dev/null");
    root.write("etc/rkt/pods/a.pod.d/readme", "no");
    assert_eq!(texts(root.find("a")), ["vendor", "vendor 10", "etc 20"]);
    assert_eq!(texts(root.find("b")), ["run"]);
    assert_eq!(texts(root.find("c")), ["masked /etc/rkt/pods/c.pod"]);
    assert_eq!(texts(root.find("d")), ["masked /etc/rkt/pods/d.pod"]);
    let names: Vec<String> = root.directories().list().0.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
}

#[test]
fn templates_and_instances() {
    let root = Root::new();
    root.write("usr/lib/rkt/pods/db@.pod", "template");
    root.link("etc/rkt/pods/db@one.pod", "/usr/lib/rkt/pods/db@.pod");
    root.write("etc/rkt/pods/db@.pod.d/10.conf", "all 10");
    root.write("etc/rkt/pods/db@.pod.d/20.conf", "all 20");
    root.write("etc/rkt/pods/db@one.pod.d/20.conf", "one 20");
    assert_eq!(texts(root.find("db@one")), ["template", "all 10", "one 20"]);
    let error = root.find("db@two").unwrap_err().to_string();
    assert_eq!(
        error,
        "There is no db@two.pod in /etc/rkt/pods, /run/rkt/pods, /usr/lib/rkt/pods. There is a template of it: ln -s \
         /usr/lib/rkt/pods/db@.pod /etc/rkt/pods/db@two.pod makes this instance"
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let root = Root::new();
    root.write("etc/rkt/pods/web.pod", "x");
    root.link("etc/rkt/pods/gone.pod", "nowhere");
    std::fs::create_dir(root.0.path().join("etc/rkt/pods/dir.pod")).unwrap();
    std::fs::write(root.0.path().join("etc/rkt/pods/bytes.pod"), b"\xff").unwrap();
    std::fs::write(root.0.path().join("etc/rkt/pods/big.pod"), vec![b'#'; (1 << 20) + 1]).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.0.path().join("etc/rkt/pods/pipe.pod"), Mode::RUSR).unwrap();
    for (name, part) in [
        ("wbe", "did you mean web?"),
        ("gone", "/etc/rkt/pods/gone.pod: it is a link to a file that is not there"),
        ("dir", "it is no regular file"),
        ("pipe", "it is no regular file"),
        ("bytes", "it is no text in UTF-8"),
        ("big", "it is larger than one mebibyte"),
    ] {
        let error = root.find(name).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
    let mode = |path: &str, mode: u32| {
        let path = root.0.path().join(path);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    mode("etc/rkt/pods/web.pod", 0o664);
    assert!(root.find("web").unwrap_err().to_string().contains("(chmod go-w)"));
    mode("etc/rkt/pods/web.pod", 0o644);
    mode("etc/rkt/pods", 0o775);
    assert!(root.find("web").unwrap_err().to_string().starts_with("Cannot read /etc/rkt/pods: others"));
    assert_eq!(root.directories().list().1.len(), 1);
    mode("etc/rkt/pods", 0o755);
    // A link does not lead out of the root.
    root.link("etc/rkt/pods/out.pod", "../../../../../../../etc/passwd");
    assert!(root.find("out").is_err());
}
