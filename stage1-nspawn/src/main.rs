//! stage1 that runs a pod in a systemd-nspawn container.

fn main() {}
