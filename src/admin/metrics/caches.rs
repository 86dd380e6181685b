//! What is told of caches, under the names of CoreDNS's plugin cache.

use std::fmt;

use super::All;
use super::out::{Label, Out};
use crate::answer::{CacheCounts, CacheStore};
use crate::telemetry::CountedCache;

/// The labels of a cache.
fn labels(cache: &CountedCache) -> [Label<'_>; 3] {
    [("server", &cache.server), ("zones", &cache.zones), ("view", "")]
}

/// The labels of a store of it.
fn of_store(cache: &CountedCache, store: CacheStore) -> [Label<'_>; 4] {
    let [server, zones, view] = labels(cache);
    [server, ("type", store.name()), zones, view]
}

impl All {
    pub(super) fn caches(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let caches = self.caches.read();
        // All series of a cache appear with its first query.
        let asked = || caches.iter().filter(|cache| cache.counts.misses() > 0);
        let counted = |of: fn(&CacheCounts) -> u64| asked().map(move |cache| (labels(cache), of(&cache.counts)));
        let of_stores = |of: fn(&CacheCounts, CacheStore) -> u64| {
            let each = asked().flat_map(|cache| CacheStore::ALL.map(|store| (cache, store)));
            each.map(move |(cache, store)| (of_store(cache, store), of(&cache.counts, store)))
        };
        let entries = asked().flat_map(|cache| {
            let of = move |store| Some((of_store(cache, store), cache.cache()?.entries(store) as u64));
            CacheStore::ALL.into_iter().filter_map(of)
        });
        out.gauge("coredns_cache_entries", "Answers that a cache holds, those that have expired among them.", entries)?;
        let requests = counted(|counts| {
            counts.misses() + CacheStore::ALL.into_iter().map(|store| counts.hits(store)).sum::<u64>()
        });
        out.counter("coredns_cache_requests_total", "Queries that a cache was asked for.", requests)?;
        let hits = of_stores(CacheCounts::hits);
        out.counter("coredns_cache_hits_total", "Queries that were answered from a cache.", hits)?;
        out.counter("coredns_cache_misses_total", "Queries that were not.", counted(CacheCounts::misses))?;
        let prefetches = counted(CacheCounts::prefetches);
        let help = "Answers that were asked for anew before a client asked for them.";
        out.counter("coredns_cache_prefetch_total", help, prefetches)?;
        let help = "Answers to another question than was asked, which are not kept.";
        out.counter("coredns_cache_drops_total", help, counted(CacheCounts::drops))?;
        let stale = counted(CacheCounts::stale);
        out.counter("coredns_cache_served_stale_total", "Queries that got an answer which had expired.", stale)?;
        let evictions = of_stores(CacheCounts::evictions);
        out.counter("coredns_cache_evictions_total", "Answers that went for others.", evictions)
    }
}
