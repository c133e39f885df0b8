//! The unpack helper as a program of its own, for tests and measurements. `rkt` is its own helper.

use std::process::ExitCode;

fn main() -> ExitCode {
    image::helper::helper_main()
}
