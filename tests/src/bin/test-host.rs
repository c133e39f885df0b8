//! Boots a test host with the product in it and runs a command there, a shell without one:
//!
//! ```text
//! cargo run -p tests --bin test-host [-- COMMAND [ARG…]]
//! ```

use std::process::ExitCode;

use anyhow::Result;
use tests::host::{Data, Host};
use tests::{images, product};

fn main() -> Result<ExitCode> {
    let mut words = std::env::args().skip(1);
    let bare = std::env::var_os("RKT_TEST_HOST_BARE").is_some();
    let product = if bare { None } else { Some(product::tree()?) };
    let host = Host::boot(product.as_deref(), Data::Memory)?;
    if !bare {
        images::install(&host);
    }
    let program = words.next().unwrap_or_else(|| "bash".to_owned());
    let status = host.exec(&program).args(words).interactive()?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
}
