//! `cache`: what other servers answered is kept for a while (plugin/cache).
//!
//! ```text
//!  query ──▶ Wanted ──▶ find ──▶ Entry ──▶ written with the TTL that is left
//!                        │
//!                        └─▶ Keeping ──▶ (the upstream's response) ──▶ take: what it is, how long, kept
//! ```
//!
//! Which answers are kept, for how long, and which of several is served is CoreDNS's way. There are two stores, of
//! successes and of denials, and a denial is looked for first. A zone of `kubernetes` is never looked up here: it is in
//! memory, and a copy could only be older.

mod chain;
mod counts;
mod entry;
mod keeping;
mod kind;
mod options;
mod response;

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache as Store;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

pub use self::counts::CacheCounts;
pub(super) use self::entry::Entry;
pub use self::keeping::{Keeping, Refresh};
pub(super) use self::keeping::{Refreshing, Settled};
pub use self::options::{CacheOptions, CacheSide, Prefetch, ServeStale};
use super::folded::Folded;
use super::query::{Query, Question, bits, opcode, rtype};

/// Octets of an answer that count as one entry of a store's capacity. As a rule an answer has fewer; one that has more
/// takes the room of several, so that a store of 9,984 holds 20 MB at most.
pub(super) const OCTETS_OF_PLACE: usize = 2048;
/// Shards of a store, at most; with the least capacity each has room for the longest answer.
const SHARDS: usize = 16;

/// Bits of a query that change its answer, beside name, type and class. CoreDNS looks at the first two; without the
/// third, whoever asks a resolver for what it knows already could have others told just that.
const DO: u8 = 1;
const CD: u8 = 2;
const RD: u8 = 4;

/// A clock: how long it has run.
pub struct Clock(Box<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// A clock of the caller's; it never goes back.
    pub fn new(read: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Box::new(read))
    }
}

impl Default for Clock {
    /// The system's.
    fn default() -> Self {
        let begun = Instant::now();
        Self::new(move || begun.elapsed())
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({:?})", (self.0)())
    }
}

/// The two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Of answers with records, and referrals.
    Success,
    /// Of NXDOMAIN, NODATA, and failures.
    Denial,
}

impl Side {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Success, Self::Denial];

    /// As CoreDNS calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denial => "denial",
        }
    }
}

/// What one `cache` directive keeps.
pub struct Cache {
    options: CacheOptions,
    stores: [Store<u64, Arc<Entry>, Places, ahash::RandomState, Tally>; 2],
    /// Keyed anew in each process: nobody can make two names fall together.
    hasher: ahash::RandomState,
    clock: Clock,
}

/// What an answer is looked for by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'q> {
    hash: u64,
    bits: u8,
    /// The question as it stands in a message, its letters in any case.
    question: &'q [u8],
    /// The client may be told that an answer was checked: it sent DO or AD (RFC 6840 section 5.8).
    takes_ad: bool,
}

/// What is there.
pub(super) enum Found {
    /// An answer that is served, or may be.
    Entry(Arc<Entry>, Side),
    /// Nothing.
    Missing,
    /// Somebody writes just there.
    Contended,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Cache {
    /// An empty one.
    pub fn new(options: CacheOptions, clock: Clock) -> Self {
        let store = |side: &CacheSide| {
            let mut builder = OptionsBuilder::new();
            // Half as many, so that no shard has fewer places than 64.
            builder.shards(SHARDS).estimated_items_capacity(side.capacity / 2).weight_capacity(side.capacity as u64);
            let built = builder.build();
            match built {
                Ok(options) => Store::with_options(options, Places, ahash::RandomState::new(), Tally),
                // It says no only to what is not set.
                Err(_) => Store::with(side.capacity, side.capacity as u64, Places, ahash::RandomState::new(), Tally),
            }
        };
        let stores = [store(&options.success), store(&options.denial)];
        Self { options, stores, hasher: ahash::RandomState::new(), clock }
    }

    /// What it goes by.
    pub fn options(&self) -> &CacheOptions {
        &self.options
    }

    /// How many answers a store holds, those that have expired among them.
    pub fn entries(&self, side: Side) -> usize {
        self.stores[side as usize].len()
    }

    /// Milliseconds on its clock.
    pub(super) fn now(&self) -> u64 {
        u64::try_from((self.clock.0)().as_millis()).unwrap_or(u64::MAX)
    }

    /// What a client's query is looked for by; `None` if its answer is nobody else's, or its zone none of this cache's.
    /// `is_verified` says that its signature holds and was taken off.
    pub(super) fn wanted<'q>(
        &self,
        query: &Query<'q>,
        question: &Question<'q>,
        name: &Folded,
        is_verified: bool,
    ) -> Option<Wanted<'q>> {
        let is_own = query.opcode() != opcode::QUERY
            // Whoever signs a query wants an answer to just that one.
            || query.tsig_at.is_some() && !is_verified
            // An upstream may answer each subnet otherwise (RFC 7871).
            || query.edns.is_some_and(|edns| edns.has_subnet())
            // A question that ends early.
            || question.raw.len() != question.name.len() + 4;
        if is_own {
            return None;
        }
        self.wanted_of(query, question.raw, name)
    }

    /// The same for another question on behalf of a query.
    pub(super) fn wanted_of<'q>(&self, query: &Query<'_>, question: &'q [u8], name: &Folded) -> Option<Wanted<'q>> {
        let kind = question.last_chunk::<4>()?;
        let qtype = u16::from_be_bytes([kind[0], kind[1]]);
        if matches!(qtype, rtype::AXFR | rtype::IXFR) || !self.options.has(name) {
            return None;
        }
        let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
        let bit = |bit: u16, own: u8| if query.flags & bit != 0 { own } else { 0 };
        let bits = if dnssec_ok { DO } else { 0 } | bit(bits::CD, CD) | bit(bits::RD, RD);
        let takes_ad = dnssec_ok || query.flags & self::bits::AD != 0;
        Some(Wanted { hash: self.hasher.hash_one((name.as_wire(), kind, bits)), bits, question, takes_ad })
    }

    /// The answer that is served, or may be if the upstream does not answer (plugin/cache/handler.go, func
    /// getIfNotStale). Only who `may_wait` waits for somebody who writes.
    pub(super) fn find(&self, wanted: &Wanted<'_>, now: u64, may_wait: bool) -> Found {
        let [success, denial] = &self.stores;
        let prefers_positive = self.options.stale.is_some_and(|stale| stale.prefer_positive);
        let get = |store: &Store<u64, Arc<Entry>, Places, ahash::RandomState, Tally>| match may_wait {
            true => Ok(store.get(&wanted.hash)),
            false => store.try_get(&wanted.hash),
        };
        let Ok(success) = get(success) else { return Found::Contended };
        // As a rule there is either, and a second look costs as much as the first.
        let denial = match success.as_ref().is_none_or(|entry| entry.is_denied()) {
            true => get(denial),
            false => Ok(None),
        };
        let Ok(denial) = denial else { return Found::Contended };
        if prefers_positive
            && let Some(entry) = success.as_ref().and_then(|entry| entry.answering(wanted))
            && self.is_served(&entry, now)
        {
            return Found::Entry(entry, Side::Success);
        }
        let served = |entry: &Arc<Entry>| entry.answers(wanted) && self.is_served(entry, now);
        let (success, denial) = (success.filter(served), denial.filter(served));
        match (success, denial) {
            // A failure passes: what was known before is better.
            (Some(success), Some(denial)) if denial.is_failure() => Found::Entry(success, Side::Success),
            (_, Some(denial)) => Found::Entry(denial, Side::Denial),
            (Some(success), None) => Found::Entry(success, Side::Success),
            (None, None) => Found::Missing,
        }
    }

    fn is_served(&self, entry: &Entry, now: u64) -> bool {
        let left = entry.left_secs(now);
        let stale_secs = self.options.stale.map_or(0, |stale| stale.up_to.as_secs());
        left > 0 || -left < i64::try_from(stale_secs).unwrap_or(i64::MAX)
    }

    /// The TTL that an entry is sent with, in seconds.
    pub(super) fn sent_ttl_secs(&self, entry: &Entry, now: u64) -> u32 {
        match (entry.left_secs(now), self.options.stale) {
            (..=0, Some(stale)) if stale.ttl_secs > 0 => stale.ttl_secs,
            _ if self.options.keep_ttl => entry.ttl_secs(),
            (left, _) => u32::try_from(left).unwrap_or(0),
        }
    }

    /// Counts a use of an entry that has not expired; whether it is to be asked for again (func shouldPrefetch).
    pub(super) fn wants_prefetch(&self, entry: &Entry, now: u64) -> bool {
        let Some(Prefetch { amount, within, percent }) = self.options.prefetch else { return false };
        let hits = entry.used(now, u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let threshold = (u64::from(entry.ttl_secs()) * u64::from(percent)).div_ceil(100);
        hits >= amount && u64::try_from(entry.left_secs(now)).unwrap_or(0) <= threshold
    }

    /// Keeps an entry; how many others went for it. Where there are a success and a denial, the success says so.
    fn insert(&self, side: Side, hash: u64, entry: Arc<Entry>) -> usize {
        let mut gone = Vec::new();
        self.stores[side as usize].insert_with_lifecycle(hash, entry, &mut gone);
        if let (Side::Denial, Some(success)) = (side, self.peek(Side::Success, hash)) {
            success.deny();
        }
        // What it replaces is none of them.
        gone.iter().filter(|key| **key != hash).count()
    }

    fn remove(&self, side: Side, hash: u64) {
        self.stores[side as usize].remove(&hash);
    }

    fn peek(&self, side: Side, hash: u64) -> Option<Arc<Entry>> {
        self.stores[side as usize].peek(&hash)
    }
}

/// How much room an entry takes.
#[derive(Clone, Debug)]
struct Places;

impl Weighter<u64, Arc<Entry>> for Places {
    fn weight(&self, _: &u64, entry: &Arc<Entry>) -> u64 {
        entry.places()
    }
}

/// Notes what is evicted.
#[derive(Clone, Debug)]
struct Tally;

impl Lifecycle<u64, Arc<Entry>> for Tally {
    type RequestState = Vec<u64>;

    fn on_evict(&self, gone: &mut Vec<u64>, hash: u64, _: Arc<Entry>) {
        gone.push(hash);
    }
}
