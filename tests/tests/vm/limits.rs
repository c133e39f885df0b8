//! The rows of docs/isolators.md that only controllers of cgroup2 can enforce: the hog is killed or slowed down, and its
//! neighbour is not.

use std::sync::{Mutex, PoisonError};

use tests::case::Stage1;
use tests::conformance::{Place, check};
use tests::vm;

/// Probes of processor time must not take it from each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn under(stage1: Stage1) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    check(vm::shared(), stage1, Place::Machine);
}

#[test]
fn fly() {
    under(Stage1::Fly);
}

#[test]
fn nspawn() {
    under(Stage1::Nspawn);
}
