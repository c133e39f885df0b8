//! `stop`: a word to the supervisor, or the end of everything.
//!
//! It is the supervisor that is asked, over its control socket: a signal to systemd-nspawn in the first moments of a pod is
//! lost, because the process 1 that it is handed to is not there yet. And the answer is waited for: a unit with
//! `ExecStop=rkt stop` gets SIGTERM as soon as that returns, which systemd-nspawn takes for impatience if it is the second.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use stage1::args::Stop;
use stage1::processes::{self, Member};
use stage1::{Error, Result};

use crate::{CONTROL_SOCKET, networks};

/// How long apps have to end: longer than the supervisor gives them before it kills them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends the pod.
pub fn stop(stop: &Stop) -> Result<()> {
    let dir = pod::Current::open()?.dir;
    if stop.force {
        // First systemd-nspawn, which moves processes into the group while it starts.
        let nspawn = Member::recorded(&dir, stop.uuid);
        if let Ok(nspawn) = &nspawn {
            nspawn.signal(Signal::KILL.as_raw())?;
            nspawn.wait(PATIENCE)?;
        }
        match (processes::kill(&dir, stop.uuid)?, nspawn) {
            (_, Ok(_)) => {}
            // There is a group before there is a systemd-nspawn.
            (true, Err(Error::Refused(_))) if !dir.is_locked()? => {}
            (_, Err(error)) => return Err(error),
        }
        // The monitor of a machine, which does so at the end of one, was killed.
        return networks::release_ports(stop.uuid);
    }
    let nspawn = Member::recorded(&dir, stop.uuid)?;
    if supervisor::client::stop(Path::new(CONTROL_SOCKET), false).is_err() {
        nspawn.signal(Signal::TERM.as_raw())?;
    }
    if nspawn.wait(PATIENCE)? {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "The pod has not ended within {} s; rkt stop --force kills it",
        PATIENCE.as_secs()
    )))
}
