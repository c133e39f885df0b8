//! Giving back what pods have that ended, before gc comes to them.
//!
//! A pod keeps its addresses until it is collected, and gc may come hours later. When a network has nothing left for a
//! new pod, those that have ended leave theirs early: a unit that restarts often must not use up a subnet.

use std::path::Path;

use pod::{Place, Pods, State};

use crate::Result;
use crate::record::Record;
use crate::setup::undo;

/// Leaves the networks of the pods of the data directory that have ended, and returns how many did. What fails here
/// is told when gc tries again.
pub(crate) fn leave_of_the_dead(data: &Path, debug: bool) -> Result<usize> {
    let pods = Pods::open(data)?;
    let mut count = 0;
    for (uuid, place) in pods.walk(&[Place::Run, Place::ExitedGarbage])? {
        let Ok(Some(pod)) = pods.get_from(uuid, place) else { continue };
        let has_ended = matches!(pod.state, State::Exited | State::ExitedGarbage);
        if !has_ended || !Record::is_there(&pod.dir)? {
            continue;
        }
        // Whoever has its lock is at it already.
        let Ok(held) = pods.hold(pod) else { continue };
        if let Ok(Some(record)) = Record::read(&held.dir)
            && undo(&held.dir, &record, debug).is_ok()
        {
            count += 1;
        }
    }
    Ok(count)
}
