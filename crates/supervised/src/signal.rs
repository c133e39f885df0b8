//! `signal`: a word to the supervisor, which knows the processes of its apps.

use std::path::Path;

use stage1::args::Signal;
use stage1::{Error, Result};

use crate::CONTROL_SOCKET;

/// Sends a signal to the program of an app.
pub fn signal(signal: &Signal) -> Result<()> {
    supervisor::client::signal(Path::new(CONTROL_SOCKET), &signal.app, signal.number)
        .map_err(|error| Error::Refused(error.to_string()))
}
