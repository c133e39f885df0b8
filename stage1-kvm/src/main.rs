//! stage1 that runs a pod in a small virtual machine.

fn main() {}
