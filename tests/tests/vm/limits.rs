//! The rows of docs/isolators.md that only controllers of cgroup2 can enforce: the hog is killed or slowed down, and its
//! neighbour is not.

use tests::case::Stage1;
use tests::conformance::{Place, check};
use tests::vm;

#[test]
fn fly() {
    check(vm::shared(), Stage1::Fly, Place::Machine);
}

#[test]
fn nspawn() {
    check(vm::shared(), Stage1::Nspawn, Place::Machine);
}
