//! stage1 that runs one app in a chroot of the host.

fn main() {}
