//! Build, install, test, demo and benchmark tasks.

fn main() {}
