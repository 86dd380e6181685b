//! Which zones are served on which sockets.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::workers::workers;
use crate::config::{Config, MaxTcpQueries, Multisocket, syntax_warning};
use crate::net::{Sockets, TcpTimes};
use crate::telemetry::server_label;

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
    /// Where.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The zones, each with the index of its server block.
    pub(super) fn zones(&self) -> impl Iterator<Item = (&str, usize)> {
        self.zones.iter().map(|(zone, index)| (&**zone, *index))
    }

    /// How many UDP sockets it has; `flag` is for a block that does not say.
    pub(super) fn workers(&self, flag: Option<u16>) -> usize {
        workers(self.multisocket, flag)
    }

    /// The address that log lines name. All of them are one socket in CoreDNS, which names them so.
    pub(super) fn local(&self) -> IpAddr {
        if self.bound { self.address.ip() } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) }
    }

    /// What its TCP clients may take: what the last of its blocks says that says something, as in CoreDNS
    /// (core/dnsserver/server.go, func NewServer).
    pub(super) fn tcp_times(&self, config: &Config) -> TcpTimes {
        let blocks: BTreeSet<usize> = self.zones.values().copied().collect();
        let mut times = TcpTimes::default();
        for timeouts in blocks.into_iter().filter_map(|index| config.blocks.get(index)).map(|block| block.timeouts) {
            times.first_read = timeouts.read.unwrap_or(times.first_read);
            times.write = timeouts.write.unwrap_or(times.write);
            times.idle = timeouts.idle.unwrap_or(times.idle);
            times.queries = match timeouts.max_tcp_queries {
                Some(MaxTcpQueries::Unlimited) => None,
                Some(MaxTcpQueries::Number(number)) => Some(number),
                None => times.queries,
            };
        }
        times
    }

    /// The name of the server that it is part of: both families of all addresses are one.
    pub(super) fn server(&self) -> String {
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
