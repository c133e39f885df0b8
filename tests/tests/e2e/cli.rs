//! The command line itself: help, version, abbreviations, and where flags may stand.

use serde_json::json;
use tests::case::{Case, Stage1};

fn case() -> Case {
    Case::new(Stage1::Fly)
}

#[test]
fn no_command_is_exit_status_two() {
    let output = case().rkt::<String>([]).fails(2);
    assert!(output.stderr.contains("missing command"), "{output}");
    let both = format!("{}{}", output.stdout, output.stderr);
    assert!(both.contains("USAGE:") && both.contains("COMMANDS:"), "{output}");
}

#[test]
fn help_lists_commands_and_flags() {
    let case = case();
    for words in [&["help"][..], &["--help"]] {
        let output = case.rkt(words.iter().copied()).ok();
        for text in [
            "NAME:",
            "USAGE:",
            "VERSION:",
            "COMMANDS:",
            "GLOBAL OPTIONS:",
            "run-prepared",
            "image cat-manifest",
            "--insecure-options",
        ] {
            assert!(output.stdout.contains(text), "no {text}: {output}");
        }
    }
    for words in [&["help", "run"][..], &["run", "--help"]] {
        let output = case.rkt(words.iter().copied()).ok();
        for text in ["--uuid-file-save", "--stage1-from-dir", "--readonly-rootfs", "--net", "GLOBAL OPTIONS:"]
        {
            assert!(output.stdout.contains(text), "no {text}: {output}");
        }
    }
}

#[test]
fn version_has_the_lines_that_scripts_read() {
    let output = case().rkt(["version"]).ok();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert!(lines[0].starts_with("rkt Version: ") && lines[1] == "appc Version: 0.8.11", "{output}");
    assert!(lines.iter().any(|line| line.starts_with("Features: ")), "{output}");
}

#[test]
fn commands_may_be_abbreviated() {
    let case = case();
    let full = case.rkt(["image", "list", "--full"]).ok();
    let short = case.rkt(["im", "li", "--full"]).ok();
    assert_eq!(full.stdout.lines().next(), short.stdout.lines().next());
    case.rkt(["vers"]).ok().prints("rkt Version:");
    // `r` could be run, rm and run-prepared; `run` is all of itself.
    case.rkt(["r"]).fails(254);
    case.rkt(["run", "--help"]).ok();
}

#[test]
fn flags_of_a_command_may_stand_before_it() {
    let case = case();
    case.rkt(["--pretty-print=false", "config"]).ok();
    case.rkt(["--net=host", "--debug", &case.stage1().flag(), "run", case.busybox(), "--exec=/bin/true"])
        .ok();
    case.rkt(["--pull-policy=new", "fetch", tests::images::BUSYBOX_FILE]).ok();
}

#[test]
fn old_spellings_work() {
    let case = case();
    let flag = case.stage1().flag();
    case.rkt([
        "run",
        "--net=host",
        "--store-only",
        &flag,
        case.busybox(),
        "--cap-retain=CAP_CHOWN",
        "--exec=/bin/true",
    ])
    .ok();
}

#[test]
fn debug_shows_the_chain_of_causes() {
    let case = case();
    let words = ["fetch", "/no/such/file.aci"];
    let short = case.rkt(words).fails(254);
    assert!(short.stderr.starts_with("fetch: ") && short.stderr.trim().lines().count() == 1, "{short}");
    let long = case.rkt(["--debug"].into_iter().chain(words)).fails(254);
    assert!(long.stderr.contains("└─"), "{long}");
}

#[test]
fn configuration_is_shown_and_obeyed() {
    let case = case();
    let etc = case.tmp("etc");
    let local = format!("--local-config={etc}");
    let data = case.tmp("elsewhere");
    let paths = json!({"rktKind": "paths", "rktVersion": "v1", "data": data});
    case.host().write(&format!("{etc}/paths.d/paths.json"), paths.to_string());
    let output = case.rkt([&*local, "config"]).ok();
    assert!(output.stdout.contains("\n\t"), "{output}");
    assert!(
        output.json()["stage0"].as_array().is_some_and(|documents| documents.contains(&paths)),
        "{output}"
    );
    case.rkt([&*local, "fetch", tests::images::BUSYBOX_FILE]).ok();
    assert!(case.host().path(format!("{data}/cas")).exists());

    case.host().write(&format!("{etc}/paths.d/broken.json"), r#"{"rktKind": "paths", "rktVersion": "v9"}"#);
    let output = case.rkt([&*local, "config"]).fails(254);
    assert!(output.stderr.contains("broken.json") || output.stderr.contains("v9"), "{output}");
}

#[test]
fn completion_is_for_bash() {
    let case = case();
    let script = case.rkt(["completion", "bash"]).ok();
    let check = case.host().exec("bash").args(["-n"]).input(script.stdout.clone()).ok();
    assert_eq!(check.stderr, "");
    assert!(script.stdout.contains("run-prepared"));
}

#[test]
fn every_command_has_a_manual_page() {
    let case = case();
    let help = case.rkt(["help"]).ok();
    let commands = help.stdout.split("COMMANDS:").nth(1).and_then(|rest| rest.split("\n\n").next());
    let commands = commands.expect("a list of commands").lines().filter(|line| !line.trim().is_empty());
    let mut count = 0;
    for line in commands {
        let words: Vec<_> =
            line.split('\t').find(|text| !text.is_empty()).unwrap_or_default().split(' ').collect();
        let page = case.host().read(&format!("/usr/share/man/man1/rkt-{}.1", words.join("-")));
        assert!(page.contains("SYNOPSIS"), "{words:?}");
        count += 1;
    }
    assert!(count > 10, "{help}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let case = case();
    let rkt = case.rkt_words().join(" ");
    let output = case
        .host()
        .exec("bash")
        .args(["-o", "pipefail", "-c", &format!("{rkt} help run | head -n1")])
        .output();
    assert!(!output.stderr.contains("panicked"), "{output}");
}
