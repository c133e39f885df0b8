//! Boots a bare test host and runs a command there: `test-host COMMAND [ARG…]`. For the test that kills a test process;
//! `cargo xtask host` is for people.

use std::process::ExitCode;

use anyhow::{Context, Result};
use tests::host::{Data, Host};

fn main() -> Result<ExitCode> {
    let mut words = std::env::args().skip(1);
    let program = words.next().context("No command was given")?;
    let host = Host::boot(None, Data::Memory)?;
    let status = host.exec(&program).args(words).interactive()?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
}
