//! What is counted of a cache, by one server (plugin/cache/metrics.go).

use std::sync::atomic::{AtomicU64, Ordering};

use super::Side;
use crate::answer::shard;

/// The counts of one cache on one server.
#[derive(Debug, Default)]
pub struct CacheCounts {
    shards: [Shard; shard::COUNT],
    prefetches: AtomicU64,
    drops: AtomicU64,
    evictions: [AtomicU64; 2],
}

/// What each query adds to. No two shards share a cache line, nor the pair of lines that processors fetch at once.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    hits: [AtomicU64; 2],
    misses: AtomicU64,
    stale: AtomicU64,
}

impl CacheCounts {
    fn own(&self) -> &Shard {
        &self.shards[shard::own()]
    }

    pub(in crate::answer) fn hit(&self, side: Side) {
        self.own().hits[side as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::answer) fn missed(&self) {
        self.own().misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::answer) fn served_stale(&self) {
        self.own().stale.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::answer) fn prefetched(&self) {
        self.prefetches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evicted(&self, side: Side, count: usize) {
        self.evictions[side as usize].fetch_add(count as u64, Ordering::Relaxed);
    }

    fn sum(&self, of: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| of(shard).load(Ordering::Relaxed)).sum()
    }

    /// Queries that were answered from a store.
    pub fn hits(&self, side: Side) -> u64 {
        self.sum(|shard| &shard.hits[side as usize])
    }

    /// Queries that were not.
    pub fn misses(&self) -> u64 {
        self.sum(|shard| &shard.misses)
    }

    /// Queries that got an answer which had expired.
    pub fn stale(&self) -> u64 {
        self.sum(|shard| &shard.stale)
    }

    /// Answers that were asked for anew for no client.
    pub fn prefetches(&self) -> u64 {
        self.prefetches.load(Ordering::Relaxed)
    }

    /// Answers to another question than was asked, which are not kept.
    pub fn drops(&self) -> u64 {
        self.drops.load(Ordering::Relaxed)
    }

    /// Entries that went for others.
    pub fn evictions(&self, side: Side) -> u64 {
        self.evictions[side as usize].load(Ordering::Relaxed)
    }
}
