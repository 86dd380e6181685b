//! Counts of what other servers are asked, as CoreDNS's plugins forward and proxy tell them (plugin/forward/metrics.go,
//! plugin/pkg/proxy/metrics.go).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::histogram::{Distribution, Histogram, TIME_BOUNDS};

/// The counts of one `forward` directive.
#[derive(Debug, Default)]
pub struct ForwardCounts {
    /// Queries for which no upstream was up, so that one was asked at random.
    pub broken: Count,
    /// Queries that were refused because of `max_concurrent`.
    pub rejected: Count,
    /// FROM: the names that they are asked.
    pub from: String,
    /// The upstreams by their addresses, with ports.
    pub upstreams: Vec<(String, Arc<UpstreamCounts>)>,
}

/// The counts of one upstream.
#[derive(Debug, Default)]
pub struct UpstreamCounts {
    /// By the codes that are common,
    took: [OnceLock<Histogram>; COMMON_RCODES],
    /// and by others.
    took_rarely: Mutex<BTreeMap<u16, Histogram>>,
    /// Health checks that failed.
    pub check_failures: Count,
    /// Exchanges by [`Proto`], for which there was a connection, and for which one was made.
    pub cached: [Count; Proto::ALL.len()],
    /// See [`Self::cached`].
    pub fresh: [Count; Proto::ALL.len()],
    /// Times that it was found to send back what it is asked (`loop`).
    pub loops: Count,
    is_looping: AtomicBool,
    /// Whether a loop was looked for: [`NEVER`], [`AWAITED`] or [`DONE`].
    probed: AtomicU8,
}

/// Nobody looks for a loop; somebody does for the first time; somebody has.
const NEVER: u8 = 0;
const AWAITED: u8 = 1;
const DONE: u8 = 2;

/// Response codes below this are common: those with names (IANA "DNS RCODEs").
const COMMON_RCODES: usize = 24;

/// How an upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// Over UDP.
    Udp,
    /// Over TCP.
    Tcp,
    /// Over TLS.
    Tls,
}

impl Proto {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];

    /// As CoreDNS calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tcp-tls",
        }
    }
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
    /// An exchange begins.
    pub(super) fn exchange(&self, proto: Proto, is_cached: bool) {
        let counts = if is_cached { &self.cached } else { &self.fresh };
        if let Some(count) = counts.get(proto as usize) {
            count.add();
        }
    }

    /// An exchange was answered.
    pub(super) fn answered(&self, rcode: u16, took: Duration) {
        if let Some(histogram) = self.took.get(usize::from(rcode)) {
            return histogram.get_or_init(|| Histogram::new(&TIME_BOUNDS)).took(took);
        }
        let mut rare = self.took_rarely.lock().unwrap_or_else(PoisonError::into_inner);
        rare.entry(rcode).or_insert_with(|| Histogram::new(&TIME_BOUNDS)).took(took);
    }

    /// Whether it sends back what it is asked.
    pub fn is_looping(&self) -> bool {
        self.is_looping.load(Ordering::Acquire)
    }

    /// Whether it is not known yet if it does, and is looked for.
    pub fn is_awaited(&self) -> bool {
        self.probed.load(Ordering::Acquire) == AWAITED
    }

    /// Somebody begins to look whether it does.
    pub(super) fn await_probe(&self) {
        let _ = self.probed.compare_exchange(NEVER, AWAITED, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Nobody needs to wait for that any longer.
    pub(super) fn probed(&self) {
        self.probed.store(DONE, Ordering::Release);
    }

    /// Notes whether it does; what was known before.
    pub(super) fn set_looping(&self, is_looping: bool) -> bool {
        let before = self.is_looping.swap(is_looping, Ordering::AcqRel);
        if is_looping && !before {
            self.loops.add();
        }
        before
    }

    /// How long exchanges took that were answered, by the answers' codes.
    pub fn by_rcode(&self) -> BTreeMap<u16, Distribution> {
        let common = (0..).zip(&self.took).filter_map(|(rcode, histogram)| Some((rcode, histogram.get()?.read())));
        let rare = self.took_rarely.lock().unwrap_or_else(PoisonError::into_inner);
        common.chain(rare.iter().map(|(rcode, histogram)| (*rcode, histogram.read()))).collect()
    }
}
