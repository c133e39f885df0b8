//! `kill -9` of rkt at any moment: what was half done is never taken for whole, and the next `rkt gc` leaves nothing.

use std::time::{Duration, Instant};

use tests::case::{Case, Stage1, eventually};
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
    let first = || {
        let case = Case::alone(Stage1::Nspawn);
        let words = [case.busybox(), "--exec=/bin/true"];
        (case.run(words), case)
    };
    let time = first().0.ok().took;
    for moment in 0..moments() / 2 {
        let (run, case) = first();
        let delay = time * 2 * moment / moments();
        kill_after(run, delay, Victim::Itself);
        collect_garbage(&case, &format!("killed after {delay:?} of {time:?}"));
        assert_store_is_clean(&case, &format!("killed after {delay:?} of {time:?}"));
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
        case.rkt(["gc"]).ok();
        assert_store_is_clean(&case, &format!("killed after {delay:?} of {time:?}"));
        // Whatever is listed now is whole, and fetching again makes it so.
        if case.rkt(["image", "list", "--full", "--no-legend"]).ok().stdout.contains(&id) {
            assert_whole(&case, &id, delay);
        }
        assert_eq!(
            case.rkt(["fetch", "--full", &file]).ok().trimmed(),
            id,
            "killed after {delay:?} of {time:?}"
        );
        assert_whole(&case, &id, delay);
    }
}

/// The image of [`fetch`] has all of its files.
fn assert_whole(case: &Case, id: &str, delay: Duration) {
    let count = case.run([id, "--exec=/bin/sh", "--", "-c", "cat /file-* | wc -c"]).ok();
    let expected: usize = (0..400).map(|n: usize| n.to_string().len() * 10_000).sum();
    assert!(count.stdout.contains(&expected.to_string()), "killed after {delay:?}: {count}");
}

/// Nothing in the store is half made or half gone.
fn assert_store_is_clean(case: &Case, what: &str) {
    let hidden = case.host().sh(&format!("find {}/cas -mindepth 2 -type d -name '.*'", case.data()));
    assert_eq!(hidden.stdout, "", "{what}");
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
        // What counts as prepared is.
        for path in pods(&case).iter().filter(|path| path.contains("/prepared/")) {
            let uuid = path.rsplit('/').next().unwrap_or_default();
            case.rkt(["run-prepared", case.net(), uuid]).ok();
        }
        collect_garbage(&case, "prepare");
    }
}

#[test]
fn garbage_collection() {
    let case = Case::alone(Stage1::Nspawn);
    let make = || {
        drop((prepared(&case), prepared(&case)));
        case.run([case.busybox(), "--exec=/bin/true"]).ok();
    };
    let gc = || case.rkt(["gc", "--grace-period=0s", "--expire-prepared=0s"]);
    make();
    let time = gc().ok().took;
    for moment in 0..moments() / 2 {
        make();
        let delay = time * 2 * moment / moments();
        kill_after(gc(), delay, Victim::Itself);
        collect_garbage(&case, &format!("gc killed after {delay:?} of {time:?}"));
    }
}

/// Tries `moments` of a command that changes a pod which `make` has made.
fn each_moment(case: &Case, words: &[&str], make: impl Fn() -> String) {
    let command = |uuid: &str| case.rkt(words.iter().copied().chain([uuid]).map(str::to_owned));
    let time = command(&make()).ok().took;
    collect_garbage(case, "the whole command");
    for moment in 0..moments() / 2 {
        let delay = time * 2 * moment / moments();
        kill_after(command(&make()), delay, Victim::Itself);
        collect_garbage(case, &format!("{words:?} killed after {delay:?} of {time:?}"));
    }
}

fn prepared(case: &Case) -> String {
    let words = ["prepare", "--quiet", &case.stage1().flag(), case.busybox(), "--exec=/bin/true"];
    case.rkt(words).ok().trimmed().to_owned()
}

#[test]
fn run_prepared_and_rm() {
    let case = Case::alone(Stage1::Nspawn);
    each_moment(&case, &["run-prepared", case.net()], || prepared(&case));
    each_moment(&case, &["rm"], || prepared(&case));
}

/// Starts a pod as a unit, which has no limits of its own to hand down, and does not wait for it to be up.
fn begin_unit(case: &Case, section: &str) -> (String, String) {
    case.host().exec("rm").args(["-f", &case.uuid_file("pod")]).ok();
    let often = format!("{section}\n[Unit]\nStartLimitIntervalSec=0");
    let unit = case.service_sh("exec sleep 1000", &often);
    case.systemctl(&["start", "--no-block", &unit]);
    (unit, case.uuid())
}

fn run_to_its_app(case: &Case, uuid: &str) {
    eventually("the app to run", || {
        case.rkt(["enter", uuid, "/bin/true"]).output().code.eq(&0).then_some(())
    });
}

#[test]
fn stop() {
    let case = Case::alone(Stage1::Nspawn);
    let running = || {
        let (_, uuid) = begin_unit(&case, "");
        run_to_its_app(&case, &uuid);
        uuid
    };
    each_moment(&case, &["stop", "--force"], running);
}

/// Whenever it comes: a pod that was stopped does not start.
#[test]
fn a_stop_that_succeeds_has_stopped_the_pod() {
    let case = Case::alone(Stage1::Nspawn);
    case.rkt(["fetch", case.busybox()]).ok();
    for moment in 0..moments() {
        let (unit, uuid) = begin_unit(&case, "");
        std::thread::sleep(Duration::from_millis(2) * moment);
        let stopped = case.rkt(["stop", "--force", &uuid]).output();
        if stopped.code == 0 {
            let gone = || (case.property(&unit, "MainPID") == "0").then_some(());
            eventually("the pod to end", gone);
            std::thread::sleep(Duration::from_millis(50));
            let left = case.host().cgroup_pids(&format!("system.slice/{unit}"));
            assert!(left.is_empty(), "{moment}: {left:?}");
            assert_ne!(case.state(&uuid), "running");
        } else {
            let early = ["has not started yet", "is not running"];
            assert!(early.iter().any(|text| stopped.stderr.contains(text)), "{stopped}");
            case.systemctl(&["stop", &unit]);
        }
        collect_garbage(&case, &format!("stopped after {moment} times 2 ms"));
    }
}

/// In a unit the pod has no scope, and rkt stands beside the pod's group until systemd-nspawn moves.
#[test]
fn run_of_nspawn_in_a_unit() {
    let case = Case::alone(Stage1::Nspawn);
    let section = "KillMode=process\nSendSIGKILL=no";
    let start = Instant::now();
    let (unit, uuid) = begin_unit(&case, section);
    run_to_its_app(&case, &uuid);
    let time = start.elapsed();
    case.systemctl(&["kill", "--kill-who=main", "--signal=KILL", &unit]);
    collect_garbage(&case, "the whole run");
    for moment in 0..moments() {
        let delay = time * moment / moments();
        let start = Instant::now();
        let (unit, _) = begin_unit(&case, section);
        std::thread::sleep(delay.saturating_sub(start.elapsed()));
        case.host().exec("systemctl").args(["kill", "--kill-who=main", "--signal=KILL", &unit]).output();
        eventually("the unit to fail", || (case.property(&unit, "MainPID") == "0").then_some(()));
        collect_garbage(&case, &format!("killed after {delay:?} of {time:?}"));
    }
}

#[test]
fn removal_of_images() {
    let case = Case::alone(Stage1::Fly);
    for words in [&["image", "rm", images::BUSYBOX_NAME][..], &["image", "gc", "--grace-period=0s"]] {
        case.rkt(["fetch", case.busybox()]).ok();
        let time = case.rkt(words.iter().copied()).ok().took;
        for moment in 0..moments() / 2 {
            case.rkt(["fetch", case.busybox()]).ok();
            let delay = time * 2 * moment / moments();
            kill_after(case.rkt(words.iter().copied()), delay, Victim::Itself);
            case.rkt(["gc", "--grace-period=0s"]).ok();
            assert_store_is_clean(&case, &format!("{words:?} killed after {delay:?} of {time:?}"));
            // It is there, or it is not.
            if case.rkt(["image", "list", "--no-legend"]).ok().stdout.contains(images::BUSYBOX_NAME) {
                case.run([images::BUSYBOX_NAME, "--exec=/bin/true"]).ok();
            }
        }
    }
}

/// systemd kills all of a unit at once.
#[test]
fn a_unit_with_its_pod() {
    for stage1 in [Stage1::Fly, Stage1::Nspawn] {
        let case = Case::alone(stage1);
        let (unit, uuid) = begin_unit(&case, "");
        run_to_its_app(&case, &uuid);
        case.systemctl(&["kill", "--signal=KILL", &unit]);
        eventually("the pod to end", || (case.state(&uuid) == "exited").then_some(()));
        case.rkt(["gc", "--grace-period=0s"]).ok();
        assert_eq!(pods(&case), Vec::<String>::new());
        assert_nothing_is_left(&case, &uuid);
    }
}
