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
                (Some(probes), Some(zone)) => watches.push(forwarder.watch_loops(&zone, probes)),
                // Nobody would see that a loop has ended.
                _ => forwarder.forget_loops(),
            }
        }
    }
    watches
}

/// The zone below which a directive's upstreams are asked: its own where the block serves that, else the block's first,
/// which is the only one that CoreDNS looks at (plugin/loop/setup.go, func parse).
fn zone(block: &ServerBlock, forward: &Forward) -> Option<Name> {
    let from = Name::parse(&forward.from)?;
    let mut keys = block.keys.iter().filter_map(|key| Name::parse(&key.zone));
    if keys.any(|key| from.is_within(&key)) {
        return Some(from);
    }
    block.keys.iter().filter_map(|key| Name::parse(&key.zone)).find(|key| key.is_within(&from))
}
