//! Which zones are served on which sockets.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;

use super::transfers::{keys, signing, transfers, zones};
use super::views::ViewPlan;
use super::workers::workers;
use crate::answer::{Action, Ahead, Block, Chaos, Forwarded, Local, Network, Policy, Responder, Rule};
use crate::config::{
    self, AclAction, AclPolicy, AclRule, Config, Forward, MaxTcpQueries, Multisocket, ServerBlock, syntax_warning,
};
use crate::forward::{Forwarder, Forwarders};
use crate::net::{Elsewhere, Service, Serving, Slots, Sockets, TcpLimits, Transferring, WaitingRoom};
use crate::telemetry::{BlockLog, Counters, QueryLog, ServerCounters, Witness, server_label};
use crate::zone::Name;

/// An address and port, and the zones that are served there, each with the index of its server block.
pub(super) struct Listener {
    address: SocketAddr,
    /// Whether it was named by `bind`.
    bound: bool,
    /// `multisocket` of the first block that is served here; what the others say does not count, as in CoreDNS
    /// (core/dnsserver/register.go, func makeServersForGroup).
    multisocket: Option<Multisocket>,
    zones: BTreeMap<String, usize>,
}

impl Listener {
    /// The address that log lines name. All of them are one socket in CoreDNS, which names them so.
    fn local(&self) -> IpAddr {
        if self.bound { self.address.ip() } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) }
    }

    /// What its TCP clients may take: what the last of its blocks says that says something, as in CoreDNS
    /// (core/dnsserver/server.go, func NewServer).
    fn tcp_limits(&self, config: &Config) -> TcpLimits {
        let blocks: BTreeSet<usize> = self.zones.values().copied().collect();
        let mut limits = TcpLimits::default();
        for timeouts in blocks.into_iter().filter_map(|index| config.blocks.get(index)).map(|block| block.timeouts) {
            limits.first_read = timeouts.read.unwrap_or(limits.first_read);
            limits.write = timeouts.write.unwrap_or(limits.write);
            limits.idle = timeouts.idle.unwrap_or(limits.idle);
            limits.queries = match timeouts.max_tcp_queries {
                Some(MaxTcpQueries::Unlimited) => None,
                Some(MaxTcpQueries::Number(number)) => Some(number),
                None => limits.queries,
            };
        }
        limits
    }

    /// The name of the server that it is part of: both families of all addresses are one.
    fn server(&self) -> String {
        server_label(self.bound.then(|| self.address.ip()), self.address.port())
    }
}

/// The listeners of a configuration, sorted by address.
pub(super) fn plan(config: &Config) -> Vec<Listener> {
    let mut listeners: BTreeMap<SocketAddr, Listener> = BTreeMap::new();
    for (index, block) in config.blocks.iter().enumerate() {
        for key in &block.keys {
            for address in Sockets::addresses(&block.bind, key.port) {
                let listener = listeners.entry(address).or_insert_with(|| Listener {
                    address,
                    bound: !block.bind.is_empty(),
                    multisocket: block.multisocket,
                    zones: BTreeMap::new(),
                });
                listener.zones.insert(key.zone.clone(), index);
            }
        }
    }
    listeners.into_values().collect()
}

/// Counters of all servers, if any block has `prometheus`: queries of blocks that have it, and those of no block.
pub(super) fn counters(listeners: &[Listener], config: &Config) -> Option<Arc<Counters>> {
    config.blocks.iter().find(|block| block.prometheus.is_some())?;
    let mut counters = Counters::default();
    for label in listeners.iter().map(Listener::server) {
        if counters.server(&label).is_none() {
            let zones = config.blocks.iter().map(|block| {
                let keys = block.keys.iter().filter(|_| block.prometheus.is_some());
                keys.filter_map(|key| Name::parse(&key.zone)).collect()
            });
            counters.0.push(Arc::new(ServerCounters::new(label, zones)));
        }
    }
    Some(Arc::new(counters))
}

/// The upstreams of all blocks.
pub(super) fn forwarders(config: &Config) -> Forwarders {
    let forwarder = |block: &ServerBlock| Some(Forwarder::new(block.forward.clone()?, block.cancel));
    Forwarders(config.blocks.iter().map(forwarder).collect())
}

/// Opens the sockets of all listeners, and serves them; to be called on the runtime. `workers_flag` is how many UDP
/// sockets a listener has whose block does not say.
pub(super) fn open(
    listeners: &[Listener],
    config: &Config,
    views: &[Option<ViewPlan>],
    counters: Option<&Counters>,
    forwarders: Forwarders,
    workers_flag: Option<u16>,
) -> anyhow::Result<Serving> {
    let blocks: Vec<Arc<Block>> = config
        .blocks
        .iter()
        .zip(views)
        .enumerate()
        .map(|(id, (block, plan))| {
            let (view, multicluster) =
                plan.as_ref().map_or((None, None), |plan| (plan.view.clone(), plan.multicluster.clone()));
            let forward = block.forward.as_ref().and_then(forwarded);
            let (bufsize, rotates) = (block.bufsize, block.loadbalance);
            let (signing, transfers) = (block.tsig.as_ref().map(signing), zones(block));
            let handles = !handlers(block).is_empty();
            Arc::new(Block {
                view,
                multicluster,
                forward,
                signing,
                transfers,
                bufsize,
                nsid: block.nsid.as_ref().map(|name| name.as_bytes().into()),
                minimal: block.minimal,
                ahead: ahead(block).map(Box::new),
                whoami: block.whoami,
                rotates,
                handles,
                id,
            })
        })
        .collect();
    let elsewhere: Arc<dyn Elsewhere> = Arc::new(forwarders);
    let (keys, transfers, slots) = (keys(config), transfers(config, views), Arc::<Slots>::default());
    let logs: Arc<[BlockLog]> =
        config.blocks.iter().map(|block| BlockLog::new(block.errors.as_ref(), &block.log)).collect();
    // All sockets are opened before one is served: a server that cannot open all of them serves none.
    let mut opened = Vec::new();
    for listener in listeners {
        let sockets = workers(listener.multisocket, workers_flag);
        opened.push((listener, Sockets::open(listener.address, sockets)?));
    }
    let mut serving = Serving::default();
    for (listener, sockets) in opened {
        let zones = listener.zones.iter().filter_map(|(zone, index)| {
            let block = blocks.get(*index).map(Arc::clone)?;
            Some((Name::parse(zone)?, block))
        });
        let counters = counters.and_then(|counters| counters.server(&listener.server()));
        let service = Arc::new(Service {
            responder: Responder::new(zones).with_keys(keys.clone()),
            observer: Box::new(Witness {
                log: QueryLog { blocks: Arc::clone(&logs), local: listener.local() },
                counters,
            }),
            elsewhere: Arc::clone(&elsewhere),
            waiting: WaitingRoom::new(tokio::runtime::Handle::current()),
            transferring: Transferring { transfers: transfers.clone(), slots: Arc::clone(&slots) },
        });
        for socket in sockets.udp {
            serving.udp(socket, Arc::clone(&service)).context("cannot start a UDP worker")?;
        }
        serving.tcp(sockets.tcp, service, listener.tcp_limits(config));
    }
    Ok(serving)
}

/// What is answered ahead of a block's zones, if anything is.
fn ahead(block: &ServerBlock) -> Option<Ahead> {
    let rule = |rule: &AclRule| Rule {
        zones: rule.zones.iter().filter_map(|zone| Name::parse(zone)).collect(),
        policies: rule.policies.iter().map(policy).collect(),
    };
    let chaos = |chaos: &config::Chaos| {
        let authors = if chaos.authors.is_empty() { vec![AUTHORS.to_owned()] } else { chaos.authors.clone() };
        let version = chaos.version.clone().unwrap_or_else(|| concat!("podzone-", env!("CARGO_PKG_VERSION")).into());
        Chaos { version, authors, host: chaos.host.clone() }
    };
    let ahead = Ahead {
        local: block.local.map(|local| Local { prefix: local.prefix }),
        any: block.any,
        chaos: block.chaos.as_ref().map(chaos),
        acl: block.acl.iter().map(rule).collect(),
    };
    let is_empty = ahead.local.is_none() && !ahead.any && ahead.chaos.is_none() && ahead.acl.is_empty();
    (!is_empty).then_some(ahead)
}

fn policy(policy: &AclPolicy) -> Policy {
    let action = match policy.action {
        AclAction::Allow => Action::Allow,
        AclAction::Block => Action::Block,
        AclAction::Filter => Action::Filter,
        AclAction::Drop => Action::Drop,
    };
    let network = |(address, bits): &(IpAddr, u8)| Network::new(*address, *bits);
    let networks = policy.networks.as_ref().map(|networks| networks.iter().filter_map(network).collect());
    Policy { action, types: policy.types.clone(), networks }
}

/// Who `authors.bind` names if `chaos` names nobody.
const AUTHORS: &str = "The podzone authors";

/// The names that go to a block's upstreams.
fn forwarded(forward: &Forward) -> Option<Forwarded> {
    let except = forward.except.iter().filter_map(|zone| Name::parse(zone)).collect();
    Some(Forwarded { from: Name::parse(&forward.from)?, except })
}

/// The directives of a block that CoreDNS would hand a query to. A block without any refuses what it is asked.
pub(super) fn handlers(block: &ServerBlock) -> Vec<&'static str> {
    let all = [
        ("cancel", block.cancel.is_some()),
        ("nsid", block.nsid.is_some()),
        ("bufsize", block.bufsize.is_some()),
        ("prometheus", block.prometheus.is_some()),
        ("errors", block.errors.is_some()),
        ("log", !block.log.is_empty()),
        ("local", block.local.is_some()),
        ("any", block.any),
        ("chaos", block.chaos.is_some()),
        ("loadbalance", block.loadbalance),
        ("tsig", block.tsig.is_some()),
        ("acl", !block.acl.is_empty()),
        ("minimal", block.minimal),
        ("transfer", !block.transfers.is_empty()),
        ("kubernetes", block.kubernetes.is_some()),
        ("forward", block.forward.is_some()),
        ("whoami", block.whoami),
    ];
    all.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
}

/// What is served where, in CoreDNS's form (core/dnsserver/onstartup.go): `zone:port`, and ` on ADDRESS` where an
/// address was given.
pub(super) fn startup_lines(listeners: &[Listener]) -> String {
    let (mut lines, mut shown) = (String::new(), HashSet::new());
    for listener in listeners {
        for zone in listener.zones.keys() {
            let port = listener.address.port();
            let line = match listener.bound {
                true => format!("{zone}:{port} on {}\n", listener.address.ip()),
                false => format!("{zone}:{port}\n"),
            };
            if shown.contains(&line) {
                continue; // Both families of an address that stands for all.
            }
            if let Some(warning) = syntax_warning(zone) {
                lines.push_str(&format!("Warning: {warning}\n"));
            }
            lines.push_str(&line);
            shown.insert(line);
        }
    }
    lines
}
