use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::specifier::{HostFacts, Specifiers};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

fn source(name: &str) -> Rc<Source> {
    let text = fs::read_to_string(directory().join(name)).unwrap();
    Rc::new(Source { path: format!("/etc/containers/systemd/{name}"), text })
}

fn read_beside(path: &str) -> Option<String> {
    fs::read_to_string(directory().join(Path::new(path).file_name()?)).ok()
}

/// What real hosts have: `NAME` is read, `NAME.imported` and `NAME.notes` are what comes of it. `RKT_BLESS=1` writes them
/// anew.
#[test]
fn quadlets_and_units() {
    let mut names: Vec<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| [".container", ".pod", ".service"].iter().any(|kind| name.ends_with(kind)))
        .filter(|name| !["app-db.container", "app-web.container"].contains(&name.as_str()))
        .collect();
    names.sort();
    let quadlets = names.iter().filter(|name| !name.ends_with(".service")).count();
    assert!(quadlets >= 20, "only {quadlets} quadlets");
    for name in names {
        let members = if name == "app.pod" {
            vec![source("app-db.container"), source("app-web.container")]
        } else {
            Vec::new()
        };
        let imported = import(&source(&name), &members, &read_beside);
        let notes: String = imported.notes.iter().map(|note| format!("{note}\n")).collect();
        for (kind, text) in [("imported", &imported.text), ("notes", &notes)] {
            let path = directory().join(format!("{name}.{kind}"));
            if std::env::var_os("RKT_BLESS").is_some() {
                fs::write(&path, text).unwrap();
            }
            assert_eq!(*text, fs::read_to_string(&path).unwrap(), "{}", path.display());
        }
        // It is a pod file without a mistake.
        let stem = name.split('.').next().unwrap();
        let pod = Rc::new(Source { path: format!("{stem}.pod"), text: imported.text });
        let specifiers =
            Specifiers { name: stem.replace('@', "@x").parse().unwrap(), host: HostFacts::default() };
        let mut outcome = crate::read(&pod, &[], &specifiers);
        crate::unit::units(&outcome.file, &mut outcome.diagnostics);
        let texts: Vec<String> = outcome.diagnostics.iter().map(ToString::to_string).collect();
        assert!(texts.is_empty(), "{name}:\n{}", texts.join("\n"));
    }
}

#[test]
fn what_is_no_pod_is_refused() {
    let plain = Rc::new(Source {
        path: "/x.service".to_owned(),
        text: "[Service]\nExecStart=/bin/true\nExecStart=/usr/bin/rkt list\n".to_owned(),
    });
    let imported = import(&plain, &[], &|_| None);
    assert_eq!(imported.notes.last().map(|note| note.message.as_str()), Some("There is no pod in this file"));
}
