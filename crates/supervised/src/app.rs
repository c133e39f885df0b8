//! `app_add`, `app_start`, `app_stop` and `app_rm`.

use stage1::args::App;
use stage1::{Error, Result};

/// Changes the apps of a mutable pod.
pub fn app(_: &App) -> Result<()> {
    Err(Error::Refused("This stage1 does not support mutable pods (rkt app sandbox) yet".to_owned()))
}
