//! From the checked configuration to what listeners answer with.

use std::sync::Arc;

use anyhow::anyhow;

use super::ahead::ahead;
use super::caches::Caches;
use super::listeners::Listener;
use super::serve::Failure;
use super::sources::BlockViews;
use super::transfers::{keys, signing, transfers, zones};
use super::weights::WeightFiles;
use crate::answer::{self, Block, Cache, Forwarded, Network, Order, Probes, Responder};
use crate::config::{Autopath, Config, Forward, LoadBalance, SearchPath, ServerBlock};
use crate::forward::{Forwarder, Forwarders, targets};
use crate::net::{Elsewhere, Service, Slots, Transferring, WaitingRoom};
use crate::telemetry::{BlockLog, CacheTally, Counters, KubernetesMetadata, Metadata, QueryLog, Witness};
use crate::transfer::Transfers;
use crate::tsig::Keyring;
use crate::zone::Name;

/// What outlives configurations.
#[derive(Default)]
pub(super) struct Lasting {
    /// What was counted of queries.
    pub(super) counters: Arc<Counters>,
    /// What was counted of caches.
    pub(super) cache_tally: Arc<CacheTally>,
    /// Places for transfers.
    slots: Arc<Slots>,
}

/// What one configuration answers with.
pub(super) struct Services<'c> {
    config: &'c Config,
    lasting: &'c Lasting,
    blocks: Vec<Arc<Block>>,
    keys: Keyring,
    transfers: Transfers,
    caches: Vec<Option<Arc<Cache>>>,
    elsewhere: Arc<dyn Elsewhere>,
    logs: Arc<[BlockLog]>,
}

impl<'c> Services<'c> {
    pub(super) fn new(
        config: &'c Config,
        views: &[Option<BlockViews>],
        forwarders: Arc<Forwarders>,
        (caches, weights, probes): (&Caches, &WeightFiles, &[Option<Arc<Probes>>]),
        lasting: &'c Lasting,
    ) -> Self {
        let blocks = config.blocks.iter().zip(views).zip(probes).enumerate();
        Self {
            config,
            lasting,
            blocks: blocks
                .map(|(id, ((block, views), probes))| {
                    let (cache, probes) = (caches.of(id).map(Arc::clone), probes.clone());
                    Arc::new(Block { cache, probes, ..self::block(id, block, views.as_ref(), weights) })
                })
                .collect(),
            keys: keys(config),
            transfers: transfers(config, views),
            caches: (0..config.blocks.len()).map(|id| caches.of(id).map(Arc::clone)).collect(),
            elsewhere: forwarders,
            logs: config.blocks.iter().zip(views).map(|(block, views)| log(block, views.as_ref())).collect(),
        }
    }

    /// What a listener answers with; queries that must wait do so in its room.
    pub(super) fn of(&self, listener: &Listener, waiting: WaitingRoom) -> Service {
        let zones = listener.zones().filter_map(|(zone, index)| {
            let block = self.blocks.get(index).map(Arc::clone)?;
            Some((Name::parse(zone)?, block))
        });
        let blocks = &self.config.blocks;
        // Queries of blocks that have `prometheus` are counted, and those of no block, if any has it.
        let counters = blocks.iter().any(|block| block.prometheus.is_some()).then(|| {
            let zones = blocks.iter().map(|block| {
                let keys = block.keys.iter().filter(|_| block.prometheus.is_some());
                keys.filter_map(|key| Name::parse(&key.zone)).collect()
            });
            let ahead = self.blocks.iter().map(|block| block.ahead.as_deref().cloned()).collect();
            self.lasting.counters.server(listener.server(), zones, ahead)
        });
        let server = listener.server();
        let cache_counts = self.caches.iter().zip(blocks).map(|(cache, block)| {
            let zones = block.cache.as_ref()?.zones.join(",");
            Some(self.lasting.cache_tally.of(&server, &zones, cache.as_ref()?))
        });
        let log = QueryLog { blocks: Arc::clone(&self.logs), local: listener.local() };
        Service {
            responder: Responder::new(zones).with_keys(self.keys.clone()).with_cache_counts(cache_counts.collect()),
            observer: Box::new(Witness { log, counters }),
            elsewhere: Arc::clone(&self.elsewhere),
            waiting,
            transferring: Transferring { transfers: self.transfers.clone(), slots: Arc::clone(&self.lasting.slots) },
            tcp: listener.tcp_times(self.config),
        }
    }
}

/// The upstreams of all blocks. Those that are as before go on, with what they know of which is up and with their
/// connections.
///
/// # Errors
/// If the name of an upstream has no address now, or TLS cannot be had.
pub(super) async fn forwarders(config: &Config, before: &Forwarders) -> Result<Forwarders, Failure> {
    let mut all = Vec::with_capacity(config.blocks.len());
    for block in &config.blocks {
        let mut of_block = Vec::with_capacity(block.forwards.len());
        for options in &block.forwards {
            let targets = targets(options).await.map_err(|error| Failure::Runtime(error.into()))?;
            let known = before.0.iter().flatten().find(|known| known.is_for(options, block.cancel, &targets));
            of_block.push(match known {
                Some(known) => Arc::clone(known),
                None => {
                    let new = Forwarder::new(options.clone(), block.cancel, targets);
                    Arc::new(new.map_err(|error| Failure::Runtime(anyhow!("plugin/forward: {error}")))?)
                }
            });
        }
        all.push(of_block);
    }
    Ok(Forwarders(all))
}

fn log(block: &ServerBlock, views: Option<&BlockViews>) -> BlockLog {
    let names = |zones: &[String]| zones.iter().filter_map(|zone| Name::parse(zone)).collect();
    let metadata = block.metadata.as_ref().map(|metadata| Metadata {
        zones: names(&metadata.zones),
        kubernetes: block.kubernetes.as_ref().map(|kubernetes| KubernetesMetadata {
            zones: names(&kubernetes.zones),
            zonal: kubernetes.zonal,
            view: views.and_then(|views| views.view.clone()),
        }),
    });
    BlockLog::new(block.errors.as_ref(), &block.log, metadata)
}

fn order(balance: &LoadBalance, files: &WeightFiles) -> Option<Order> {
    if let Some(file) = &balance.weights {
        return Some(Order::Weighted(files.of(file)));
    }
    let networks: Vec<Network> =
        balance.prefer.iter().filter_map(|(address, bits)| Network::new(*address, *bits)).collect();
    (!networks.is_empty()).then_some(Order::Preferred(networks))
}

fn block(id: usize, block: &ServerBlock, views: Option<&BlockViews>, weights: &WeightFiles) -> Block {
    let (view, multicluster) = views.map_or((None, None), |views| (views.view.clone(), views.multicluster.clone()));
    Block {
        view,
        multicluster,
        forwards: block.forwards.iter().filter_map(forwarded).collect(),
        signing: block.tsig.as_ref().map(signing),
        autopath: block.autopath.as_ref().map(autopath),
        transfers: zones(block),
        bufsize: block.bufsize,
        nsid: block.nsid.as_ref().map(|name| name.as_bytes().into()),
        cache: None,
        minimal: block.minimal,
        ahead: ahead(block).map(Box::new),
        probes: None,
        whoami: block.whoami,
        rotates: block.loadbalance.is_some(),
        order: block.loadbalance.as_ref().and_then(|balance| order(balance, weights)),
        handles: !handlers(block).is_empty(),
        id,
    }
}

fn autopath(autopath: &Autopath) -> answer::Autopath {
    let names = |names: &[String]| names.iter().filter_map(|name| Name::parse(name)).collect();
    let search = match &autopath.search {
        SearchPath::OfPods { host } => answer::SearchPath::OfPods(names(host)),
        SearchPath::These(path) => answer::SearchPath::These(names(path)),
    };
    answer::Autopath { zones: names(&autopath.zones), search }
}

/// The names that go to a directive's upstreams.
fn forwarded(forward: &Forward) -> Option<Forwarded> {
    let except = forward.except.iter().filter_map(|zone| Name::parse(zone)).collect();
    Some(Forwarded { from: Name::parse(&forward.from)?, except })
}

/// The directives of a block that CoreDNS would hand a query to. A block without any refuses what it is asked.
pub(super) fn handlers(block: &ServerBlock) -> Vec<&'static str> {
    let all = [
        ("metadata", block.metadata.is_some()),
        ("cancel", block.cancel.is_some()),
        ("nsid", block.nsid.is_some()),
        ("bufsize", block.bufsize.is_some()),
        ("prometheus", block.prometheus.is_some()),
        ("errors", block.errors.is_some()),
        ("log", !block.log.is_empty()),
        ("local", block.local.is_some()),
        ("any", block.any),
        ("chaos", block.chaos.is_some()),
        ("loadbalance", block.loadbalance.is_some()),
        ("tsig", block.tsig.is_some()),
        ("autopath", block.autopath.is_some()),
        ("acl", !block.acl.is_empty()),
        ("cache", block.cache.is_some()),
        ("minimal", block.minimal),
        ("transfer", !block.transfers.is_empty()),
        ("kubernetes", block.kubernetes.is_some()),
        ("loop", block.finds_loops),
        ("forward", !block.forwards.is_empty()),
        ("whoami", block.whoami),
    ];
    all.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
}
