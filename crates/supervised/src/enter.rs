//! `enter`: a client of the supervisor, which starts the command inside, confined as the app is.

use std::path::Path;

use stage1::args::Enter;
use stage1::{Error, Result};

use crate::CONTROL_SOCKET;

/// Runs a command in an app.
pub fn enter(enter: &Enter) -> Result<u8> {
    let Enter { app, command, .. } = enter;
    let app = app.as_deref().ok_or_else(|| {
        Error::Refused("Which app? There is nothing to enter beside the apps (--appname=NAME)".to_owned())
    })?;
    supervisor::client::exec(Path::new(CONTROL_SOCKET), app, command)
        .map_err(|error| Error::Refused(stage1::chain(&error)))
}
