//! The rows of docs/isolators.md that need no controllers of cgroup2; `tests/vm/limits.rs` has the others.

use std::collections::BTreeSet;

use tests::case::{Stage1, shared_host};
use tests::conformance::{Place, check, probes, rows};

#[test]
fn every_row_has_a_probe_and_every_probe_a_row() {
    let rows: BTreeSet<_> = rows().into_iter().map(|row| (row.name, row.ways)).collect();
    let ways = |ways: Vec<(&str, _)>| ways.into_iter().map(|(way, _)| way.to_owned()).collect::<Vec<_>>();
    let probes: BTreeSet<_> =
        probes().into_iter().map(|probe| (probe.row.to_owned(), ways(probe.ways))).collect();
    assert_eq!(rows.difference(&probes).collect::<Vec<_>>(), Vec::<&_>::new(), "rows without a probe");
    assert_eq!(probes.difference(&rows).collect::<Vec<_>>(), Vec::<&_>::new(), "probes without a row");
}

#[test]
fn fly() {
    check(shared_host(), Stage1::Fly, Place::Namespace);
}

#[test]
fn nspawn() {
    check(shared_host(), Stage1::Nspawn, Place::Namespace);
}
