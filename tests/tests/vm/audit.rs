//! What the kernel's audit record says where nobody of ours can.

use tests::case::Stage1;
use tests::images;

/// The process of a fly pod is the app: whoever wants to know what it was killed for is told where that stands.
#[test]
fn names_the_system_call_that_a_fly_app_was_killed_for() {
    let (vm, _turn) = crate::machine();
    let words = [images::PERL_NAME, "--seccomp=mode=remove,mkdir", "--exec=/usr/bin/perl", "--", "-e"];
    let script = r#"syswrite STDOUT, "before\n"; mkdir "/directory"; syswrite STDOUT, "after\n""#;
    let (code, said) = crate::as_service(vm, "", Stage1::Fly, &[&words[..], &[script]].concat());
    assert!(code != 0 && said.contains("before") && !said.contains("after"), "{code}\n{said}");
    let command =
        said.split_once("record does, ").and_then(|(_, rest)| rest.lines().next()).unwrap_or_default();
    let records = vm.sh(&format!("journalctl --sync; {command} --no-pager -q")).success();
    let record = records.stdout.lines().find(|line| line.contains("comm=\"perl\""));
    assert!(
        record.is_some_and(|record| record.contains("sig=31") && record.contains("syscall=83")),
        "{said}\n{records}"
    );
}
