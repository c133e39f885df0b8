//! When an app that has ended starts again.

use std::time::{Duration, Instant};

use executor::spec::Restart;

/// The time between end and start, and how many starts there may be within what time: as systemd has them unless told
/// otherwise (`RestartSec=`, `StartLimitBurst=`, `StartLimitIntervalSec=`).
const DELAY: Duration = Duration::from_millis(100);
const BURST: usize = 5;
const INTERVAL: Duration = Duration::from_secs(10);

/// What becomes of an app that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing more.
    Rest,
    /// It starts again at this time.
    Again(Instant),
    /// It would start again, but has done so too often.
    TooOften,
}

/// The starts of one app.
#[derive(Debug)]
pub(crate) struct Restarts {
    policy: Restart,
    recent: Vec<Instant>,
}

impl Restarts {
    /// An app that has just been started for the first time.
    pub(crate) fn new(policy: Restart) -> Self {
        Restarts { policy, recent: Vec::new() }
    }

    /// Decides, for an app that has ended with `status`.
    pub(crate) fn after(&mut self, status: u8, now: Instant) -> Next {
        let wanted = match self.policy {
            Restart::No => false,
            Restart::OnFailure => status != 0,
            Restart::Always => true,
        };
        if !wanted {
            return Next::Rest;
        }
        self.recent.retain(|start| now.duration_since(*start) < INTERVAL);
        // The first start was one too.
        if self.recent.len() + 1 >= BURST {
            return Next::TooOften;
        }
        self.recent.push(now);
        Next::Again(now + DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let now = Instant::now();
        for (policy, after_success, after_failure) in
            [(Restart::No, false, false), (Restart::OnFailure, false, true), (Restart::Always, true, true)]
        {
            let again = |status| matches!(Restarts::new(policy).after(status, now), Next::Again(_));
            assert_eq!((again(0), again(7)), (after_success, after_failure), "{policy:?}");
        }
    }

    #[test]
    fn too_often_is_too_often() {
        let now = Instant::now();
        let mut restarts = Restarts::new(Restart::Always);
        let count = (0..10).take_while(|_| restarts.after(1, now) != Next::TooOften).count();
        assert_eq!(count, BURST - 1);
        assert!(matches!(restarts.after(1, now + INTERVAL), Next::Again(_)));
    }
}
