//! `kill -9` of rkt at any moment: what was half done is never taken for whole, and the next `rkt gc` leaves nothing.

use std::time::{Duration, Instant};

use tests::case::{Case, Stage1};
use tests::host::{Exec, Running};
use tests::images;

use crate::garbage::assert_nothing_is_left;

/// How many moments are tried, spread evenly over the time that the command takes.
fn moments() -> u32 {
    if std::env::var_os("RKT_TEST_FULL").is_some() { 200 } else { 16 }
}

/// Whether to kill rkt alone, or all processes it has started in its process group.
#[derive(Clone, Copy)]
enum Victim {
    Itself,
    WithChildren,
}

fn kill_after(command: Exec<'static>, delay: Duration, victim: Victim) {
    let start = Instant::now();
    let mut running: Running = command.spawn();
    std::thread::sleep(delay.saturating_sub(start.elapsed()));
    match victim {
        Victim::Itself => running.kill_command(),
        Victim::WithChildren => running.kill(),
    }
}

/// All that a data directory's pods have left, in whatever state.
fn pods(case: &Case) -> Vec<String> {
    let found =
        case.host().sh(&format!("find {}/pods -mindepth 2 -maxdepth 2 2>/dev/null || :", case.data()));
    found.stdout.lines().map(str::to_owned).collect()
}

fn collect_garbage(case: &Case, what: &str) {
    let uuids: Vec<_> =
        pods(case).iter().filter_map(|path| path.rsplit('/').next().map(str::to_owned)).collect();
    for uuid in &uuids {
        // It may have come up: then it is a pod like any other.
        let _ = case.rkt(["stop", "--force", uuid]).output();
        let _ = case.rkt(["status", "--wait=5s", uuid]).output();
    }
    case.rkt(["gc", "--grace-period=0s", "--expire-prepared=0s"]).ok();
    assert_eq!(pods(case), Vec::<String>::new(), "{what}");
    for uuid in &uuids {
        assert_nothing_is_left(case, uuid);
    }
    let mounts = case.host().sh(&format!("grep {}/ /proc/self/mountinfo || :", case.data()));
    assert_eq!(mounts.stdout, "", "{what}");
}

fn run_killed(stage1: Stage1, victim: Victim) {
    let case = Case::alone(stage1);
    case.rkt(["fetch", case.busybox()]).ok();
    let words = || [images::BUSYBOX_NAME, "--exec=/bin/sh", "--", "-c", "echo up; exec sleep 1000"];
    let mut whole = case.run(words()).spawn();
    let start = Instant::now();
    whole.wait_for_stdout("up");
    let time = start.elapsed();
    drop(whole);
    collect_garbage(&case, "the whole run");
    for moment in 0..moments() {
        // Up to a quarter more than it took: the last ones hit a pod that runs.
        let delay = time * 5 * moment / (4 * moments());
        kill_after(case.run(words()), delay, victim);
        collect_garbage(&case, &format!("killed after {delay:?} of {time:?}"));
    }
    case.run([images::BUSYBOX_NAME, "--exec=/bin/true"]).ok();
}

#[test]
fn run_of_fly_with_its_children() {
    run_killed(Stage1::Fly, Victim::WithChildren);
}

#[test]
fn run_of_fly_alone() {
    run_killed(Stage1::Fly, Victim::Itself);
}

#[test]
fn run_of_nspawn_with_its_children() {
    run_killed(Stage1::Nspawn, Victim::WithChildren);
}

#[test]
fn run_of_nspawn_alone() {
    run_killed(Stage1::Nspawn, Victim::Itself);
}

/// The first run also stores the stage1 and the image.
#[test]
fn first_run_with_a_fetch_in_it() {
    for moment in 0..moments() / 2 {
        let case = Case::alone(Stage1::Nspawn);
        let delay = Duration::from_millis(10) * moment;
        kill_after(case.run([case.busybox(), "--exec=/bin/true"]), delay, Victim::Itself);
        collect_garbage(&case, &format!("killed after {delay:?}"));
        case.run([case.busybox(), "--exec=/bin/true"]).ok();
    }
}

#[test]
fn fetch() {
    let case = Case::alone(Stage1::Fly);
    let mut aci = images::busybox("example.com/large");
    for n in 0..400 {
        aci = aci.file(&format!("rootfs/file-{n}"), 0o644, format!("{n}").repeat(10_000));
    }
    let file = case.image("large.aci", aci.build());
    let whole = case.rkt(["fetch", "--full", &file]).ok();
    let (id, time) = (whole.trimmed().to_owned(), whole.took);
    for moment in 0..moments() {
        case.rkt(["image", "rm", &id]).ok();
        let delay = time * moment / moments();
        kill_after(case.rkt(["fetch", &file]), delay, Victim::WithChildren);
        // Whatever is listed now is whole, and fetching again makes it so.
        case.rkt(["image", "list"]).ok();
        assert_eq!(
            case.rkt(["fetch", "--full", &file]).ok().trimmed(),
            id,
            "killed after {delay:?} of {time:?}"
        );
        let count = case.run([&*id, "--exec=/bin/sh", "--", "-c", "cat /file-* | wc -c"]).ok();
        let expected: usize = (0..400).map(|n: usize| n.to_string().len() * 10_000).sum();
        assert!(count.stdout.contains(&expected.to_string()), "killed after {delay:?} of {time:?}: {count}");
    }
}

#[test]
fn prepare() {
    let case = Case::alone(Stage1::Nspawn);
    case.run([case.busybox(), "--exec=/bin/true"]).ok();
    let stage1 = case.stage1().flag();
    let words = ["prepare", "--quiet", &stage1, images::BUSYBOX_NAME, "--exec=/bin/true"];
    for overlay in [&["--no-overlay"][..], &[]] {
        let words: Vec<&str> = words[..3].iter().chain(overlay).chain(&words[3..]).copied().collect();
        let time = case.rkt(words.clone()).ok().took;
        for moment in 0..moments() {
            kill_after(case.rkt(words.clone()), time * moment / moments(), Victim::Itself);
        }
        collect_garbage(&case, "prepare");
    }
}

#[test]
fn garbage_collection() {
    let case = Case::alone(Stage1::Nspawn);
    let stage1 = case.stage1().flag();
    for moment in 0..moments() / 2 {
        for _ in 0..2 {
            case.rkt(["prepare", "--quiet", &stage1, case.busybox(), "--exec=/bin/true"]).ok();
        }
        case.run([case.busybox(), "--exec=/bin/true"]).ok();
        let delay = Duration::from_millis(4) * moment;
        kill_after(case.rkt(["gc", "--grace-period=0s", "--expire-prepared=0s"]), delay, Victim::Itself);
        collect_garbage(&case, &format!("gc killed after {delay:?}"));
    }
}
