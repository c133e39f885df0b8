//! The disks of the host, for limits on each of them.

use std::fs;

/// `MAJOR:MINOR` of every block device that holds something, without partitions.
pub(crate) fn all() -> Vec<String> {
    let mut disks: Vec<String> = fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).ok();
            let is_empty = read("size").is_none_or(|size| size.trim() == "0");
            if is_empty { None } else { Some(read("dev")?.trim().to_owned()) }
        })
        .collect();
    disks.sort();
    disks
}
