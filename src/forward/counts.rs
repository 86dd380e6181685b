//! Counts of what other servers are asked, as CoreDNS's plugins forward and proxy tell them (plugin/forward/metrics.go,
//! plugin/pkg/proxy/metrics.go).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::histogram::{Distribution, Histogram, TIME_BOUNDS};

/// The counts of one `forward` directive.
#[derive(Debug, Default)]
pub struct ForwardCounts {
    /// Queries for which no upstream was up, so that one was asked at random.
    pub broken: Count,
    /// Queries that were refused because of `max_concurrent`.
    pub rejected: Count,
    /// The upstreams by their addresses, with ports.
    pub upstreams: Vec<(String, Arc<UpstreamCounts>)>,
}

/// The counts of one upstream.
#[derive(Debug, Default)]
pub struct UpstreamCounts {
    took: Mutex<BTreeMap<u16, Arc<Histogram>>>,
    /// Health checks that failed.
    pub check_failures: Count,
    /// Exchanges over UDP and over TCP. Each has a socket of its own: none is kept.
    pub exchanges: [Count; 2],
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How much it is.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl UpstreamCounts {
    /// The histogram of answers with a code.
    pub(super) fn took(&self, rcode: u16) -> Arc<Histogram> {
        let mut all = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(rcode).or_insert_with(|| Arc::new(Histogram::new(&TIME_BOUNDS))))
    }

    /// How long exchanges took that were answered, by the answers' codes.
    pub fn by_rcode(&self) -> BTreeMap<u16, Distribution> {
        let all = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(rcode, histogram)| (*rcode, histogram.read())).collect()
    }
}
