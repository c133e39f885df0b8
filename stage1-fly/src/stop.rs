//! `stop`: a word to the app, or the end of all its processes.

use rustix::process::{Pid, Signal};
use stage1::args;
use stage1::args::Stop;
use stage1::processes::{self, Member};
use stage1::{Context, Pod, Result};

use crate::app;

/// Ends the pod.
pub(crate) fn stop(stop: &Stop) -> Result<()> {
    let pod = Pod::open(pod::Current::open()?)?;
    let dir = &pod.current.dir;
    if !stop.force {
        let number = stage1::spec::stop_signal(app::only(&pod)?).unwrap_or(Signal::TERM.as_raw());
        return Member::recorded(dir, stop.uuid)?.signal(number);
    }
    if processes::kill(dir, stop.uuid)? {
        return Ok(());
    }
    // Without a control group there is the process group, which may have lost some.
    let app = Member::recorded(dir, stop.uuid)?;
    let group = dir
        .read("pgid")?
        .and_then(|text| Pid::from_raw(std::str::from_utf8(&text).ok()?.trim().parse().ok()?));
    if group == Some(app.pid) {
        rustix::process::kill_process_group(app.pid, Signal::KILL)
            .step(|| "kill the app's process group".to_owned())?;
    }
    app.signal(Signal::KILL.as_raw())
}

/// Sends a signal to the app, the only one.
pub(crate) fn signal(signal: &args::Signal) -> Result<()> {
    Member::recorded(&pod::Current::open()?.dir, signal.uuid)?.signal(signal.number)
}
