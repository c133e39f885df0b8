//! Trying again what failed for the moment.

use std::time::Duration;

use transport::Failure;
use transport::message::{Event, Limits};

use crate::session::Reporter;

/// The first pause; each further one without progress is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause of our own.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// The longest pause that a server may ask for. Who wants more is told so.
const PATIENCE: u64 = 30;

/// How often a request may still be made.
#[derive(Debug)]
pub(crate) struct Retries {
    allowed: u32,
    used: u32,
}

impl Retries {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { allowed: limits.retries, used: 0 }
    }

    /// Waits until the request may be made again. `progressed` tells whether this time brought it any further.
    ///
    /// # Errors
    /// `failure` itself, when it makes no sense to try again.
    pub(crate) async fn again(
        &mut self,
        failure: Failure,
        progressed: bool,
        reporter: &Reporter,
    ) -> Result<(), Failure> {
        if progressed {
            self.used = 0;
        }
        let Some(pause) = self.pause(&failure) else { return Err(failure) };
        self.used += 1;
        let wait_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        reporter.event(Event::Retrying { failure, wait_ms }).await;
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// How long to wait after `failure`. None when it is final.
    fn pause(&self, failure: &Failure) -> Option<Duration> {
        if self.used >= self.allowed || !failure.is_transient() {
            return None;
        }
        match failure.retry_after() {
            Some(seconds) => (seconds <= PATIENCE).then(|| Duration::from_secs(seconds)),
            None => Some(LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(self.used))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses() {
        let url = String::new;
        let stalled = || Failure::Stalled { url: url(), seconds: 1 };
        let busy = |seconds| Failure::TooManyRequests { url: url(), retry_after: seconds, message: url() };
        for (used, failure, pause) in [
            (0, stalled(), Some(500)),
            (2, stalled(), Some(2000)),
            (7, stalled(), Some(8000)),
            (8, stalled(), None),
            (0, busy(Some(3)), Some(3000)),
            (0, busy(Some(31)), None),
            (1, busy(None), Some(1000)),
            (0, Failure::NotFound { url: url(), status: 404, message: url() }, None),
            (0, Failure::Server { url: url(), status: 503, retry_after: None, message: url() }, Some(500)),
            (0, Failure::Server { url: url(), status: 501, retry_after: None, message: url() }, None),
            (0, Failure::Cancelled, None),
        ] {
            let found = Retries { allowed: 8, used }.pause(&failure);
            assert_eq!(found, pause.map(Duration::from_millis), "{used} {failure:?}");
        }
    }
}
