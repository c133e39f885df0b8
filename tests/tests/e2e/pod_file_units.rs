//! The units that the generator writes, in the eyes of systemd.

use std::collections::BTreeSet;
use std::path::Path;

use tests::case::{Case, Stage1};
use tests::pod_file::PodFile;

/// Each golden directory of the generator, but for those of pods with mistakes.
#[test]
fn systemd_finds_no_fault_with_them() {
    let case = Case::new(Stage1::Fly);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/generator/tests/golden");
    let mut count = 0;
    for kind in ["plain", "service", "proxy", "templates", "masks"] {
        let (from, to) = (golden.join(kind).join("units"), case.tmp(kind));
        let mut units = BTreeSet::new();
        for entry in std::fs::read_dir(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name");
            let directory = entry.path();
            if !directory.is_dir() {
                if directory.is_file() {
                    case.host().write(&format!("{to}/{name}"), std::fs::read(&directory).expect("a unit"));
                    units.insert(name);
                }
                continue;
            }
            let Some(unit) = name.strip_suffix(".d") else { continue };
            for file in std::fs::read_dir(&directory).expect("a directory of drop-ins") {
                let file = file.expect("a drop-in").path();
                let at = format!("{to}/{name}/{}", file.file_name().unwrap_or_default().display());
                case.host().write(&at, std::fs::read(&file).expect("a drop-in"));
            }
            units.insert(unit.to_owned());
        }
        for unit in units {
            // The colon stands for the usual directories.
            let verify = case.host().exec("systemd-analyze").args(["verify", "--man=no", &unit]);
            let output = verify.env("SYSTEMD_UNIT_PATH", &format!("{to}:")).output();
            assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{kind}: {unit}: {output}");
            count += 1;
        }
    }
    assert!(count >= 12, "only {count} units");
}

under_both_walls!(the_status_says_what_runs);

/// What an administrator sees: the pod and its file, its app among the processes, and what the app said.
fn the_status_says_what_runs(case: &Case) {
    let file = PodFile::sh(
        case,
        "status",
        "",
        "echo said in the pod; exec sleep 1234",
        "",
        "[Unit]\nDescription=A pod",
    );
    file.start();
    case.journal(&["-u", &file.unit()], "said in the pod");
    let status = case.host().exec("systemctl").args(["status", "--no-pager", "--full", &file.unit()]).ok();
    let line = format!("Pod {}", file.uuid());
    for text in ["A pod", &line, "said in the pod", &file.path(), "10-rkt-pod.conf"] {
        assert!(status.stdout.contains(text), "no {text:?}: {status}");
    }
    if case.stage1() != Stage1::Kvm {
        status.prints("sleep 1234");
    }
    // A fly pod is its unit; the apps of others have groups of their own below it. Those of a machine are the machine's.
    if case.stage1() == Stage1::Nspawn {
        let top =
            case.host().exec("systemd-cgtop").args(["--batch", "--iterations=1", "--depth=9", "-P"]).ok();
        let group = format!("{}/pod-{}/payload/app-app", file.unit(), file.uuid());
        assert!(top.stdout.contains(&group), "{top}");
    }
}

/// By the presets of a distribution, and on a terminal.
#[test]
fn systemctl_presets_and_edits_them() {
    let case = Case::new(Stage1::Fly);
    let file =
        PodFile::sh(&case, "edit", "TasksMax=77", "sleep 1000", "", "[Install]\nWantedBy=multi-user.target");
    let unit = file.unit();
    let preset = format!("/run/systemd/system-preset/10-{}.preset", case.name());
    for (word, state) in [("enable", "enabled"), ("disable", "disabled")] {
        case.host().write(&preset, format!("{word} {unit}\n"));
        case.systemctl(&["preset", &unit]);
        assert_eq!(file.property("UnitFileState"), state);
    }
    case.host().exec("rm").arg(&preset).ok();

    let editor = case.tmp("editor");
    case.host()
        .write(&editor, "#!/bin/sh\nfor file; do :; done\nprintf '[Service]\\nTasksMax=44\\n' >\"$file\"\n");
    case.host().exec("chmod").args(["755", &editor]).ok();
    let edit = format!("systemctl edit {unit}");
    let edited = case.host().exec("script").args(["--quiet", "--return", "--command", &edit, "/dev/null"]);
    edited.env("SYSTEMD_EDITOR", &editor).ok();
    assert_eq!(file.property("TasksMax"), "44");
    case.systemctl(&["cat", &unit]).prints("TasksMax=77").prints("TasksMax=44");
    case.systemctl(&["revert", &unit]);
    assert_eq!(file.property("TasksMax"), "77");
}
