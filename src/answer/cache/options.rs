//! What a cache goes by.

use std::time::Duration;

use crate::answer::folded::Folded;
use crate::zone::Name;

/// What a cache goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// The names that it is about are at or below these.
    pub zones: Vec<Name>,
    /// Answers with records, and referrals.
    pub success: CacheSide,
    /// NXDOMAIN and NODATA; failures have its room too.
    pub denial: CacheSide,
    /// How long failures are kept; zero is not at all.
    pub servfail: Duration,
    /// What is asked for often is asked again before it expires.
    pub prefetch: Option<Prefetch>,
    /// What has expired is served.
    pub stale: Option<ServeStale>,
    /// Successes for names at or below these are not kept,
    pub success_disabled: Vec<Name>,
    /// and denials for these.
    pub denial_disabled: Vec<Name>,
    /// TTLs do not run down.
    pub keep_ttl: bool,
    /// `minimal` of the block: of answers with records nothing else is kept.
    pub minimal: bool,
}

/// One of the stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSide {
    /// How many answers it holds, at least 1,024. One of more than 2,048 octets takes the room of several.
    pub capacity: usize,
    /// How long they are kept at most, in seconds,
    pub max_ttl_secs: u32,
    /// and at least, in seconds.
    pub min_ttl_secs: u32,
}

impl CacheSide {
    /// How long an answer with this TTL is kept, in seconds.
    pub(super) fn clamp(&self, ttl_secs: u32) -> u32 {
        ttl_secs.max(self.min_ttl_secs).min(self.max_ttl_secs)
    }
}

/// Which answers are asked for again before they expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// Those that were asked for so often,
    pub amount: u32,
    /// with no gap of this or more.
    pub within: Duration,
    /// When this much of the TTL is left, in hundredths.
    pub percent: u32,
}

/// How answers that have expired are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeStale {
    /// For how long.
    pub up_to: Duration,
    /// Only if the upstream does not answer.
    pub verify: bool,
    /// How long is waited for it then; zero is as long as it takes.
    pub timeout: Duration,
    /// The TTL that they are sent with, in seconds.
    pub ttl_secs: u32,
    /// How long nobody is asked again after an upstream failed.
    pub recheck: Duration,
    /// An answer with records is served though there is a newer denial.
    pub prefer_positive: bool,
}

impl CacheOptions {
    /// Whether it is about a name.
    pub(super) fn has(&self, name: &Folded) -> bool {
        self.zones.iter().any(|zone| name.within(zone.as_wire()).is_some())
    }
}
