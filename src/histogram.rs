//! Histograms: how often something took how long. Each part counts its own, and whoever tells of them reads them.
//!
//! To count is two additions. Nothing is allocated, and no lock is taken.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds in nanoseconds of what CoreDNS measures with its TimeBuckets: 0.25 ms, doubled up to 8.192 s
/// (plugin/plugin.go).
pub const TIME_BOUNDS: [u64; 16] = exponential(250_000, 2);
/// Those of its SlimTimeBuckets: 0.25 ms, ten times as much each, up to 2.5 s.
pub const SLIM_BOUNDS: [u64; 5] = exponential(250_000, 10);
/// Those of its DNS programming latency: 1 ms, doubled up to nearly 9 minutes (plugin/kubernetes/object/metrics.go).
pub const PROGRAMMING_BOUNDS: [u64; 20] = exponential(1_000_000, 2);
/// Those of its requests to the API server, Prometheus's own: 5 ms to 10 s (DefBuckets of client_golang).
pub const REQUEST_BOUNDS: [u64; 11] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// Those of the time from a change to the answer, which begins well below a millisecond: 10 µs, four times as much each,
/// up to 10.5 s.
pub const CHANGE_BOUNDS: [u64; 11] = exponential(10_000, 4);

const fn exponential<const COUNT: usize>(first: u64, factor: u64) -> [u64; COUNT] {
    let mut bounds = [first; COUNT];
    let mut index = 1;
    while index < COUNT {
        bounds[index] = bounds[index - 1] * factor;
        index += 1;
    }
    bounds
}

/// A histogram that any thread may add to.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// An empty one with these upper bounds, which ascend. What is over the last belongs to no bound.
    pub fn new(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// Adds a value, in the unit of the bounds.
    pub fn observe(&self, value: u64) {
        if let Some(bucket) = self.buckets.get(bucket_of(self.bounds, value)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Adds a duration, where the bounds are nanoseconds.
    pub fn took(&self, duration: std::time::Duration) {
        self.observe(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Its upper bounds.
    pub fn bounds(&self) -> &'static [u64] {
        self.bounds
    }

    /// What there is so far.
    pub fn read(&self) -> Distribution {
        let buckets = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        Distribution { buckets, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// The bucket that a value belongs to: what is equal to a bound is below it.
pub fn bucket_of(bounds: &[u64], value: u64) -> usize {
    bounds.partition_point(|bound| *bound < value)
}

/// A histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How many are in each bucket; the last has no upper bound.
    pub buckets: Vec<u64>,
    /// The sum of all.
    pub sum: u64,
}

impl Distribution {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds those of another with the same bounds.
    pub fn add(&mut self, other: &Self) {
        self.buckets.resize(self.buckets.len().max(other.buckets.len()), 0);
        for (sum, bucket) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += bucket;
        }
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_equal_to_a_bound_is_below_it() {
        let histogram = Histogram::new(&SLIM_BOUNDS);
        for nanos in [0, 250_000, 250_001, 2_500_000_000, 2_500_000_001] {
            histogram.took(Duration::from_nanos(nanos));
        }
        let mut read = histogram.read();
        assert_eq!(read.buckets, [2, 1, 0, 0, 1, 1]);
        read.add(&histogram.read());
        assert_eq!((read.count(), read.sum), (10, 2 * 5_000_500_002));
    }

    #[test]
    fn bounds_end_where_coredns_ends_them() {
        assert_eq!(TIME_BOUNDS.last(), Some(&8_192_000_000));
        assert_eq!(PROGRAMMING_BOUNDS.last(), Some(&524_288_000_000));
        assert_eq!(CHANGE_BOUNDS.last(), Some(&10_485_760_000));
    }
}
