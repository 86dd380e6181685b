//! Caches, from one configuration to the next.

use std::sync::Arc;

use crate::answer::{Cache, CacheOptions, CacheSide, Clock, Prefetch, ServeStale};
use crate::config::{self, Config, ServerBlock};
use crate::forward::{Forwarder, Forwarders};
use crate::zone::Name;

/// The caches of all server blocks, in the configuration's order.
#[derive(Default)]
pub(super) struct Caches(Vec<Option<Kept>>);

struct Kept {
    cache: Arc<Cache>,
    /// Who gave what it keeps.
    forwarders: Vec<Arc<Forwarder>>,
}

impl Kept {
    fn is_for(&self, options: &CacheOptions, forwarders: &[Arc<Forwarder>]) -> bool {
        let is_same = |(one, other): (&Arc<Forwarder>, &Arc<Forwarder>)| Arc::ptr_eq(one, other);
        self.cache.options() == options
            && self.forwarders.len() == forwarders.len()
            && self.forwarders.iter().zip(forwarders).all(is_same)
    }
}

impl Caches {
    /// Those of another configuration. One that says the same, and asks the same upstreams, goes on with what it keeps.
    pub(super) fn next(&self, config: &Config, forwarders: &Forwarders) -> Self {
        let mut before: Vec<&Kept> = self.0.iter().flatten().collect();
        let blocks = config.blocks.iter().zip(forwarders.0.iter().map(Some).chain(std::iter::repeat(None)));
        let next = blocks.map(|(block, forwarders)| {
            let forwarders = forwarders.map_or(&[][..], |forwarders| forwarders);
            let options = options(block)?;
            let known = before.iter().position(|kept| kept.is_for(&options, forwarders));
            let cache = match known.map(|at| before.swap_remove(at)) {
                Some(kept) => Arc::clone(&kept.cache),
                None => Arc::new(Cache::new(options, Clock::default())),
            };
            Some(Kept { cache, forwarders: forwarders.to_vec() })
        });
        Self(next.collect())
    }

    /// That of a block.
    pub(super) fn of(&self, block: usize) -> Option<&Arc<Cache>> {
        self.0.get(block)?.as_ref().map(|kept| &kept.cache)
    }
}

fn options(block: &ServerBlock) -> Option<CacheOptions> {
    let cache = block.cache.as_ref()?;
    let names = |zones: &[String]| zones.iter().filter_map(|zone| Name::parse(zone)).collect();
    let side = |side: &config::CacheSide| CacheSide {
        capacity: side.capacity,
        max_ttl_secs: side.max_ttl_secs,
        min_ttl_secs: side.min_ttl_secs,
    };
    Some(CacheOptions {
        zones: names(&cache.zones),
        success: side(&cache.success),
        denial: side(&cache.denial),
        servfail: cache.servfail,
        prefetch: cache.prefetch.map(|of| Prefetch { amount: of.amount, within: of.within, percent: of.percent }),
        // For no time is not at all.
        stale: cache.stale.filter(|stale| !stale.up_to.is_zero()).map(|stale| ServeStale {
            up_to: stale.up_to,
            verify: stale.verify,
            timeout: stale.timeout,
            ttl_secs: stale.ttl_secs,
            recheck: stale.recheck,
            prefer_positive: stale.prefer_positive,
        }),
        success_disabled: names(&cache.success_disabled),
        denial_disabled: names(&cache.denial_disabled),
        keep_ttl: cache.keep_ttl,
        minimal: block.minimal,
    })
}
