//! The rows of docs/isolators.md that only controllers of cgroup2 can enforce: the hog is killed or slowed down, and its
//! neighbour is not.

use tests::case::Stage1;
use tests::conformance::{Place, check};

fn under(stage1: Stage1) {
    let (vm, _turn) = crate::machine();
    check(vm, stage1, Place::Machine);
}

#[test]
fn fly() {
    under(Stage1::Fly);
}

#[test]
fn nspawn() {
    under(Stage1::Nspawn);
}
