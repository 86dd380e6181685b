//! How long to wait before the next attempt.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Jittered exponential backoff.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first }
    }

    /// The time to wait now: between half and all of a span that doubles up to the maximum.
    ///
    /// Half of it is certain, so that no server is asked in a tight loop; the other half is random, so that the
    /// replicas that one outage stopped do not come back in step.
    pub(super) fn wait(&mut self) -> Duration {
        let span = self.next;
        self.next = (span * 2).min(self.max);
        span / 2 + (span / 2).mul_f64(random_fraction())
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random number from 0 up to but not including 1. The standard library's hash seeds are random enough to spread
/// waits; nothing here is a secret.
pub(super) fn random_fraction() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    bits as f64 / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_maximum_and_start_over() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(200), ms(1000));
        for span in [200, 400, 800, 1000, 1000] {
            let wait = backoff.wait();
            assert!(wait >= ms(span) / 2 && wait <= ms(span), "{wait:?} for {span}");
        }
        backoff.reset();
        assert!(backoff.wait() <= ms(200));
    }

    #[test]
    fn fractions_stay_below_one() {
        for _ in 0..1000 {
            assert!((0.0..1.0).contains(&random_fraction()));
        }
    }
}
