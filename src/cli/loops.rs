//! `loop`: whose queries are looked for.

use std::sync::Arc;

use crate::answer::Probes;
use crate::config::{Config, Forward, ServerBlock};
use crate::forward::{Forwarders, LoopWatch};
use crate::zone::Name;

/// The names under way of each block; none of a block without `loop`.
pub(super) fn probes(config: &Config) -> Vec<Option<Arc<Probes>>> {
    config.blocks.iter().map(|block| block.finds_loops.then(Arc::default)).collect()
}

/// Looks for loops through the upstreams of all blocks that want it.
pub(super) fn watch(config: &Config, forwarders: &Forwarders, probes: &[Option<Arc<Probes>>]) -> Vec<LoopWatch> {
    let mut watches = Vec::new();
    for ((block, forwarders), probes) in config.blocks.iter().zip(&forwarders.0).zip(probes) {
        for (forward, forwarder) in block.forwards.iter().zip(forwarders) {
            match (probes, zone(block, forward)) {
                (Some(probes), Some(zone)) => watches.push(forwarder.watch_loops(zone, probes)),
                // Nobody would see that a loop has ended.
                _ => forwarder.forget_loops(),
            }
        }
    }
    watches
}

/// The zone below which a directive's upstreams are asked: its own where the block serves that, else the block's first,
/// which is the only one that CoreDNS looks at (plugin/loop/setup.go, func parse).
fn zone<'c>(block: &'c ServerBlock, forward: &'c Forward) -> Option<&'c str> {
    let is_within = |zone: &str, other: &str| {
        Name::parse(zone).zip(Name::parse(other)).is_some_and(|(zone, other)| zone.is_within(&other))
    };
    let from = forward.from.as_str();
    let keys = || block.keys.iter().map(|key| key.zone.as_str());
    if keys().any(|key| is_within(from, key)) {
        return Some(from);
    }
    keys().find(|key| is_within(key, from))
}
