//! The `rkt` command: everything is in the library, so that generators of manual pages and completions can
//! use the same definition of the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    stage0::main()
}
