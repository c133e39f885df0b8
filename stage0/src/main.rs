//! The rkt command.

fn main() {}
