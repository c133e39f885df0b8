//! `stop`: a word to systemd-nspawn, which hands it to the supervisor; or the end of everything.

use rustix::process::Signal;
use stage1::args::Stop;
use stage1::processes::{self, Member};
use stage1::{Error, Result};

/// Ends the pod.
pub(crate) fn stop(stop: &Stop) -> Result<()> {
    let dir = pod::Current::open()?.dir;
    if !stop.force {
        return Member::recorded(&dir)?.signal(Signal::TERM);
    }
    // systemd-nspawn stands in the group as well; it is killed by name for the case that there is no group.
    match (processes::kill(&dir)?, Member::recorded(&dir)) {
        (_, Ok(nspawn)) => nspawn.signal(Signal::KILL),
        (true, Err(Error::Refused(_))) => Ok(()),
        (_, Err(error)) => Err(error),
    }
}
