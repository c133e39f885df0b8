//! `gc`: an empty control group is all that can be left.

use stage1::args::Gc;
use stage1::{Result, processes};

/// Cleans up.
pub(crate) fn gc(gc: &Gc) -> Result<()> {
    processes::clean_up(&pod::Current::open()?.dir, gc.uuid)
}
