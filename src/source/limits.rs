//! How hard the API server is asked.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::config::ApiLimits;

/// Where only one of rate and burst is given: client-go's own (`DefaultQPS` and `DefaultBurst` in `rest/config.go`).
const QPS_DEFAULT: f32 = 5.0;
const BURST_DEFAULT: u32 = 10;

/// The limits of one source, which all that it asks shares.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pace: Option<Pace>,
    places: Option<Semaphore>,
}

impl Limits {
    pub(super) fn new(limits: &ApiLimits) -> Self {
        let pace = (limits.qps.is_some() || limits.burst.is_some()).then(|| {
            let qps = limits.qps.map_or(QPS_DEFAULT, |qps| qps.per_second());
            Pace::new(qps, limits.burst.unwrap_or(BURST_DEFAULT))
        });
        let places = limits.max_inflight.map(|most| Semaphore::new((most as usize).min(Semaphore::MAX_PERMITS)));
        Self { pace, places }
    }

    /// Waits until the next request may be sent.
    pub(super) async fn turn(&self) {
        if let Some(pace) = &self.pace {
            sleep_until(pace.next(Instant::now())).await;
        }
    }

    /// Waits for a place among what is under way at once; it is held for as long as what this returns.
    pub(super) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.places.as_ref()?.acquire().await.ok()
    }
}

/// A rate with bursts, by the generic cell rate algorithm (ITU-T I.371): what counts is when the next request would be
/// due if all came evenly, and how much before that it may come.
#[derive(Debug)]
struct Pace {
    between: Duration,
    early: Duration,
    due: Mutex<Option<Instant>>,
}

/// The longest wait between two requests: a rate may be as low as it likes, and a clock may not count that far.
const BETWEEN_MAX_SECS: f32 = 86_400.0;

impl Pace {
    fn new(qps: f32, burst: u32) -> Self {
        let between = Duration::from_secs_f32((1.0 / qps).min(BETWEEN_MAX_SECS));
        let early = between.saturating_mul(burst.saturating_sub(1)).min(Duration::from_secs_f32(BETWEEN_MAX_SECS));
        Self { between, early, due: Mutex::default() }
    }

    /// When a request that is made now may be sent.
    fn next(&self, now: Instant) -> Instant {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let at = due.map_or(now, |due| due.max(now));
        *due = Some(at + self.between);
        at.checked_sub(self.early).map_or(now, |at| at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_what_follows_keeps_the_rate() {
        let pace = Pace::new(10.0, 3);
        let begin = Instant::now();
        let waits = |at: Instant| pace.next(at).duration_since(at).as_millis();
        assert_eq!([waits(begin), waits(begin), waits(begin)], [0; 3]);
        assert_eq!([waits(begin), waits(begin)], [100, 200]);
        let later = begin + Duration::from_millis(450);
        assert_eq!([waits(later), waits(later), waits(later)], [0, 0, 50], "what was not used comes back at the rate");
        let rested = later + Duration::from_secs(60);
        assert_eq!(
            [waits(rested), waits(rested), waits(rested), waits(rested)],
            [0, 0, 0, 100],
            "but no more than a burst"
        );
    }

    #[test]
    fn extreme_rates_wait_no_longer_than_a_day() {
        let pace = Pace::new(f32::MIN_POSITIVE, 1);
        let begin = Instant::now();
        pace.next(begin);
        assert_eq!(pace.next(begin).duration_since(begin), Duration::from_secs(86_400));
        let pace = Pace::new(f32::MAX, u32::MAX);
        assert!((0..1000).all(|_| pace.next(begin) == begin));
    }
}
