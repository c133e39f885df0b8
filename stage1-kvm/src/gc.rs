//! `gc`: the networks, and an empty control group.

use stage1::args::Gc;
use stage1::{Error, Result, attach, processes};
use supervised::networks;

/// Cleans up.
pub(crate) fn gc(gc: &Gc) -> Result<()> {
    let host = attach::host_mounts()?;
    let dir = pod::Current::open()?.dir;
    // One failure must not keep us from the rest.
    let steps = [networks::leave(&dir, gc, host.as_ref()), processes::clean_up(&dir, gc.uuid)];
    let failed: Vec<String> =
        steps.into_iter().filter_map(|done| done.err().map(|error| stage1::chain(&error))).collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::Refused(failed.join("; "))) }
}
