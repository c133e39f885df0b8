//! A full disk: nothing half-stored is taken for whole, and room can be made again.

use tests::case::{Case, Stage1};
use tests::images;

/// A data directory of this size on a file system of its own.
fn small_disk(stage1: Stage1, size: &str) -> Case {
    let case = Case::alone(stage1);
    case.host().sh(&format!("mkdir -p {0}; mount -t tmpfs -o size={size} small {0}", case.data())).success();
    case
}

fn grow(case: &Case) {
    case.host().sh(&format!("mount -o remount,size=256m {}", case.data())).success();
}

#[test]
fn a_fetch_that_does_not_fit_stores_nothing() {
    // The archive has about two megabytes: it fails at different places.
    for size in ["64k", "1m", "2m", "3m", "4m"] {
        let case = small_disk(Stage1::Fly, size);
        let output = case.rkt(["fetch", images::BUSYBOX_FILE]).output();
        if output.code == 0 {
            continue;
        }
        assert_eq!(output.code, 254, "{size}: {output}");
        assert!(output.stderr.contains("No space left on device"), "{size}: {output}");
        output.says(&format!("no room below {}: rkt gc and rkt image gc", case.data()));
        assert_eq!(case.rkt(["image", "list", "--no-legend"]).ok().trimmed(), "", "{size}");
        grow(&case);
        case.rkt(["fetch", images::BUSYBOX_FILE]).ok();
        case.run([images::BUSYBOX_NAME, "--exec=/bin/true"]).ok();
    }
}

#[test]
fn a_run_that_does_not_fit_fails_and_goes() {
    for stage1 in [Stage1::Fly, Stage1::Nspawn] {
        let case = small_disk(stage1, "256m");
        case.run([case.busybox(), "--exec=/bin/true"]).ok();
        case.rkt(["gc", "--grace-period=0s"]).ok();
        case.host()
            .sh(&format!("dd if=/dev/zero of={}/filler bs=64k 2>/dev/null || :", case.data()))
            .success();
        let output = case.run(["--no-overlay", images::BUSYBOX_NAME, "--exec=/bin/true"]).fails(254);
        output.says("No space left on device").says(&format!("no room below {}", case.data()));
        // Removing needs no room.
        case.rkt(["gc", "--grace-period=0s", "--expire-prepared=0s"]).ok();
        let left = case.host().sh(&format!("find {}/pods -mindepth 2 -maxdepth 2", case.data()));
        assert_eq!(left.stdout, "");
        case.rkt(["image", "rm", images::BUSYBOX_NAME]).ok();
    }
}
