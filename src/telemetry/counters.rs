//! Counts of queries and answers, as CoreDNS's `prometheus` tells them apart (plugin/metrics).
//!
//! To count is a few additions to numbers that only this thread, or few others, touch: each thread has a shard, and
//! the shards are added up when somebody asks. Nothing is allocated but a shard's room when a thread first counts for
//! a zone, and no lock is taken.

use std::array::from_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::access::AccessCounts;
use crate::answer::{Ahead, Answered, By, Folded, Rcode, Transport, shard};
use crate::histogram::{Distribution, TIME_BOUNDS, bucket_of};
use crate::net::{Exchange, Path};
use crate::zone::Name;

/// Types that are told apart, by number; all others are one (plugin/metrics/vars/monitor.go).
const TYPES: [(u16, &str); 19] = [
    (1, "A"),
    (28, "AAAA"),
    (33, "SRV"),
    (12, "PTR"),
    (16, "TXT"),
    (6, "SOA"),
    (2, "NS"),
    (5, "CNAME"),
    (15, "MX"),
    (65, "HTTPS"),
    (64, "SVCB"),
    (43, "DS"),
    (48, "DNSKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (50, "NSEC3"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
];
const OTHER_TYPE: &str = "other";

/// Response codes by number, as CoreDNS's library calls them; those between 11 and 16 and from 24 have no names.
const RCODES: [&str; 24] = [
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "YXRRSET",
    "NXRRSET",
    "NOTAUTH",
    "NOTZONE",
    "DSOTYPENI",
    "RCODE12",
    "RCODE13",
    "RCODE14",
    "RCODE15",
    "BADVERS",
    "BADKEY",
    "BADTIME",
    "BADMODE",
    "BADNAME",
    "BADALG",
    "BADTRUNC",
    "BADCOOKIE",
];
const OTHER_RCODE: &str = "other";

/// A response code as CoreDNS's library calls it; `None` for one without a name.
pub fn rcode_name(rcode: u16) -> Option<&'static str> {
    RCODES.get(usize::from(rcode)).copied().filter(|name| !name.starts_with("RCODE"))
}

/// What may have made an answer; the first stands for a query that nothing took.
const PLUGINS: [&str; 12] =
    ["", "kubernetes", "forward", "transfer", "tsig", "local", "any", "chaos", "acl", "whoami", "loop", "cache"];

/// Codes with which one of them says that it has no answer.
const REFUSALS: [Rcode; 4] = [Rcode::FORMERR, Rcode::SERVFAIL, Rcode::NOTIMP, Rcode::REFUSED];

/// Transports and address families, in the order of their cells.
const PROTOS: [&str; 2] = ["udp", "tcp"];
const FAMILIES: [&str; 2] = ["1", "2"];

/// Upper bounds of messages' sizes, in octets (plugin/metrics/vars/vars.go).
const SIZE_BOUNDS: [u64; 14] = [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000];

/// See [`shard`].
const SHARDS: usize = shard::COUNT;

/// The zone of queries that no server block takes. It has no final dot, so that it is no zone's name.
const DROPPED: &str = "dropped";

/// The name of a server in labels: where it listens, without an address where that is all of them.
pub fn server_label(address: Option<IpAddr>, port: u16) -> String {
    match address {
        Some(address) => format!("dns://{}", SocketAddr::new(address, port)),
        None => format!("dns://:{port}"),
    }
}

/// The counts of one server: everything that listens at one address and port, or ever did.
#[derive(Debug)]
pub struct ServerCounts {
    /// [`server_label`]
    pub label: String,
    dropped: ZoneCounters,
    shed: AtomicU64,
    by_path: AtomicU64,
    paths: [PathCells; SHARDS],
    zones: Mutex<Vec<(Name, Arc<ZoneCounters>)>>,
    access: AccessCounts,
}

/// The counters of a server under one configuration.
#[derive(Debug)]
pub struct ServerCounters {
    counts: Arc<ServerCounts>,
    blocks: Vec<Vec<(Name, Arc<ZoneCounters>)>>,
    /// What is answered ahead of the zones of each block.
    ahead: Vec<Option<Ahead>>,
}

impl ServerCounts {
    fn new(label: String) -> Self {
        Self {
            label,
            dropped: ZoneCounters::default(),
            shed: AtomicU64::new(0),
            by_path: AtomicU64::new(0),
            paths: Default::default(),
            zones: Mutex::default(),
            access: AccessCounts::default(),
        }
    }

    fn zones(&self) -> MutexGuard<'_, Vec<(Name, Arc<ZoneCounters>)>> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn zone(&self, zone: Name) -> (Name, Arc<ZoneCounters>) {
        let mut zones = self.zones();
        if let Some(known) = zones.iter().find(|(known, _)| *known == zone) {
            return known.clone();
        }
        let new = (zone, Arc::default());
        zones.push(new.clone());
        new
    }

    /// What `acl` made of queries.
    pub fn access(&self) -> &AccessCounts {
        &self.access
    }

    /// How many queries were dropped for want of room.
    pub fn shed_count(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// How many queries `autopath` answered by another name.
    pub fn autopath_count(&self) -> u64 {
        self.by_path.load(Ordering::Relaxed)
    }

    /// How many answers went which way.
    pub fn paths(&self) -> [(&'static str, u64); Path::ALL.len()] {
        Path::ALL.map(|path| {
            let cells = self.paths.iter().filter_map(|PathCells(cells)| cells.get(path as usize));
            (path.name(), cells.map(|cell| cell.load(Ordering::Relaxed)).sum())
        })
    }

    /// The counts so far of each zone that was asked for, by its name in labels.
    pub fn read(&self) -> Vec<(String, Counts)> {
        let zones = self.zones().clone();
        let zones = zones.iter().map(|(name, counters)| (name.to_string(), &**counters));
        std::iter::once((DROPPED.to_owned(), &self.dropped))
            .chain(zones)
            .filter_map(|(name, counters)| Some((name, counters.read()?)))
            .collect()
    }
}

impl ServerCounters {
    /// Counts a query that was dropped for want of room.
    pub fn shed(&self) {
        self.counts.shed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts answers by how they were made.
    pub fn went(&self, path: Path, answers: u64) {
        if let Some(PathCells(cells)) = self.counts.paths.get(shard::own()) {
            add(cells.get(path as usize), answers);
        }
    }

    /// Counts an answer.
    pub fn count(&self, exchange: &Exchange<'_>, answered: &Answered<'_>) {
        if let Some(zone) = self.zone(answered) {
            zone.shard().count(exchange, answered);
        }
        if answered.is_by_path {
            self.counts.by_path.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(Some(ahead)) = answered.block.and_then(|block| self.ahead.get(block)) {
            self.counts.access.count(ahead, exchange, answered);
        }
    }

    fn zone(&self, answered: &Answered<'_>) -> Option<&ZoneCounters> {
        let Some(block) = answered.block else {
            // What is malformed, or of another EDNS version, is answered before CoreDNS counts.
            return matches!(answered.rcode, Rcode::REFUSED | Rcode::SERVFAIL).then_some(&self.counts.dropped);
        };
        match self.blocks.get(block)?.as_slice() {
            [] => None,
            [(_, zone)] => Some(zone.as_ref()),
            zones => {
                // The longest that the name is in, which is not always the one that led to the block.
                let name = Folded::new(answered.query.question.map_or(b"\0", |question| question.name));
                let found = zones.iter().filter_map(|(zone, counters)| Some((name.within(zone.as_wire())?, counters)));
                let longest = found.min_by_key(|(at, _)| *at).map(|(_, counters)| counters);
                longest.or_else(|| zones.first().map(|(_, counters)| counters)).map(|counters| &**counters)
            }
        }
    }
}

/// Answers by [`Path`], of one shard.
#[derive(Debug, Default)]
#[repr(align(128))]
struct PathCells([AtomicU64; Path::ALL.len()]);

#[derive(Debug, Default)]
struct ZoneCounters {
    shards: [OnceLock<Box<Cells>>; SHARDS],
}

impl ZoneCounters {
    fn shard(&self) -> &Cells {
        self.shards[shard::own()].get_or_init(Box::default)
    }

    /// The sum of the shards; `None` if nothing was counted.
    fn read(&self) -> Option<Counts> {
        let mut shards = self.shards.iter().filter_map(OnceLock::get).peekable();
        shards.peek()?;
        let mut sum = Counts::default();
        for shard in shards {
            shard.add_to(&mut sum);
        }
        Some(sum)
    }
}

/// How often, and how much of it.
#[derive(Debug)]
struct Histogram<const BUCKETS: usize> {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl<const BUCKETS: usize> Default for Histogram<BUCKETS> {
    fn default() -> Self {
        Self { buckets: from_fn(|_| AtomicU64::new(0)), sum: AtomicU64::new(0) }
    }
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    /// `bounds` are one less than the buckets: what is over the last belongs to no bound.
    fn observe(&self, bounds: &[u64], value: u64) {
        add(self.buckets.get(bucket_of(bounds, value)), 1);
        add(Some(&self.sum), value);
    }

    fn add_to(&self, sum: &mut Distribution) {
        sum.buckets.resize(BUCKETS, 0);
        for (sum, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        sum.sum += self.sum.load(Ordering::Relaxed);
    }
}

fn add(cell: Option<&AtomicU64>, count: u64) {
    if let Some(cell) = cell {
        cell.fetch_add(count, Ordering::Relaxed);
    }
}

const REQUEST_CELLS: usize = (TYPES.len() + 1) * PROTOS.len() * FAMILIES.len();
const RESPONSE_CELLS: usize = (RCODES.len() + 1) * PLUGINS.len();

/// One shard. No two share a cache line, nor the pair of lines that processors fetch at once.
#[derive(Debug)]
#[repr(align(128))]
struct Cells {
    requests: [AtomicU64; REQUEST_CELLS],
    responses: [AtomicU64; RESPONSE_CELLS],
    dnssec_ok: AtomicU64,
    nanos: Histogram<{ TIME_BOUNDS.len() + 1 }>,
    request_octets: [Histogram<{ SIZE_BOUNDS.len() + 1 }>; PROTOS.len()],
    response_octets: [Histogram<{ SIZE_BOUNDS.len() + 1 }>; PROTOS.len()],
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            requests: from_fn(|_| AtomicU64::new(0)),
            responses: from_fn(|_| AtomicU64::new(0)),
            dnssec_ok: AtomicU64::new(0),
            nanos: Histogram::default(),
            request_octets: Default::default(),
            response_octets: Default::default(),
        }
    }
}

impl Cells {
    fn count(&self, exchange: &Exchange<'_>, answered: &Answered<'_>) {
        let proto = match exchange.transport {
            Transport::Udp => 0,
            Transport::Tcp => 1,
        };
        let family = usize::from(!exchange.client.ip().to_canonical().is_ipv4());
        let qtype = answered.query.question.as_ref().map_or(0, |question| question.qtype);
        let rtype = TYPES.iter().position(|(known, _)| *known == qtype).unwrap_or(TYPES.len());
        add(self.requests.get((rtype * PROTOS.len() + proto) * FAMILIES.len() + family), 1);
        let rcode = usize::from(answered.rcode.0).min(RCODES.len());
        add(self.responses.get(rcode * PLUGINS.len() + plugin(answered)), 1);
        if answered.query.edns.is_some_and(|edns| edns.dnssec_ok) {
            add(Some(&self.dnssec_ok), 1);
        }
        let nanos = u64::try_from(exchange.took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.observe(&TIME_BOUNDS, nanos);
        self.request_octets[proto].observe(&SIZE_BOUNDS, answered.query.octets as u64);
        self.response_octets[proto].observe(&SIZE_BOUNDS, exchange.response.len() as u64);
    }

    fn add_to(&self, sum: &mut Counts) {
        let cells = self.requests.iter().chain(&self.responses).chain([&self.dnssec_ok]);
        sum.cells.resize(REQUEST_CELLS + RESPONSE_CELLS + 1, 0);
        for (sum, cell) in sum.cells.iter_mut().zip(cells) {
            *sum += cell.load(Ordering::Relaxed);
        }
        self.nanos.add_to(&mut sum.nanos);
        for proto in 0..PROTOS.len() {
            self.request_octets[proto].add_to(&mut sum.request_octets[proto]);
            self.response_octets[proto].add_to(&mut sum.response_octets[proto]);
        }
    }
}

/// The place in [`PLUGINS`] of what made the answer.
fn plugin(answered: &Answered<'_>) -> usize {
    match answered.block {
        Some(_) if answered.failure.is_none() => match answered.by {
            // CoreDNS's plugins leave these to the server, which bears no name (plugin/plugin.go, func ClientWrite).
            By::Views | By::Transfers if REFUSALS.contains(&answered.rcode) => 0,
            By::Views => 1,
            By::Elsewhere => 2,
            By::Transfers => 3,
            By::Signing => 4,
            By::Local => 5,
            By::Any => 6,
            By::Chaos => 7,
            By::Acl => 8,
            By::Whoami => 9,
            By::Loop => 10,
            By::Cache => 11,
        },
        _ => 0,
    }
}

/// The counts of one zone at one moment.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    cells: Vec<u64>,
    nanos: Distribution,
    request_octets: [Distribution; PROTOS.len()],
    response_octets: [Distribution; PROTOS.len()],
}

impl Counts {
    /// Requests by transport, family and type; those that there were.
    pub fn requests(&self) -> impl Iterator<Item = ([&'static str; 3], u64)> + '_ {
        let counted = self.cells.iter().take(REQUEST_CELLS).enumerate().filter(|(_, count)| **count > 0);
        counted.map(|(cell, count)| {
            let rtype = TYPES.get(cell / FAMILIES.len() / PROTOS.len()).map_or(OTHER_TYPE, |(_, name)| name);
            let proto = PROTOS[cell / FAMILIES.len() % PROTOS.len()];
            ([proto, FAMILIES[cell % FAMILIES.len()], rtype], *count)
        })
    }

    /// Responses by code and by what made them; those that there were.
    pub fn responses(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> + '_ {
        let cells = self.cells.iter().skip(REQUEST_CELLS).take(RESPONSE_CELLS);
        cells.enumerate().filter(|(_, count)| **count > 0).map(|(cell, count)| {
            let rcode = RCODES.get(cell / PLUGINS.len()).copied().unwrap_or(OTHER_RCODE);
            ([rcode, PLUGINS[cell % PLUGINS.len()]], *count)
        })
    }

    /// Requests with the DO bit.
    pub fn dnssec_ok(&self) -> u64 {
        self.cells.last().copied().unwrap_or_default()
    }

    /// How long answers took in nanoseconds, with the buckets' upper bounds.
    pub fn nanos(&self) -> (&'static [u64], &Distribution) {
        (&TIME_BOUNDS, &self.nanos)
    }

    /// Octets of requests by transport, with the buckets' upper bounds; of transports that were used.
    pub fn request_octets(&self) -> impl Iterator<Item = (&'static str, &'static [u64], &Distribution)> {
        by_proto(&self.request_octets)
    }

    /// Octets of responses by transport, with the buckets' upper bounds; of transports that were used.
    pub fn response_octets(&self) -> impl Iterator<Item = (&'static str, &'static [u64], &Distribution)> {
        by_proto(&self.response_octets)
    }
}

fn by_proto(
    sizes: &[Distribution; PROTOS.len()],
) -> impl Iterator<Item = (&'static str, &'static [u64], &Distribution)> {
    let used = PROTOS.iter().zip(sizes).filter(|(_, sizes)| sizes.count() > 0);
    used.map(|(proto, sizes)| (*proto, &SIZE_BOUNDS[..], sizes))
}

/// The counts of all servers, for as long as the process lives: a configuration that is put to work goes on with those of
/// the one before.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Vec<Arc<ServerCounts>>>);

impl Counters {
    /// The counters of a server for the zones of each block, by [`Block::id`](crate::answer::Block::id); a block without
    /// zones is not counted.
    pub fn server(
        &self,
        label: String,
        blocks: impl IntoIterator<Item = Vec<Name>>,
        ahead: Vec<Option<Ahead>>,
    ) -> ServerCounters {
        let counts = self.counts(label);
        let zones = |zones: Vec<Name>| zones.into_iter().map(|zone| counts.zone(zone)).collect();
        let blocks = blocks.into_iter().map(zones).collect();
        ServerCounters { blocks, counts, ahead }
    }

    fn counts(&self, label: String) -> Arc<ServerCounts> {
        let mut servers = self.servers();
        if let Some(known) = servers.iter().find(|known| known.label == label) {
            return Arc::clone(known);
        }
        let new = Arc::new(ServerCounts::new(label));
        servers.push(Arc::clone(&new));
        new
    }

    fn servers(&self) -> MutexGuard<'_, Vec<Arc<ServerCounts>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts of all servers.
    pub fn read(&self) -> Vec<Arc<ServerCounts>> {
        self.servers().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_to_a_bound_is_below_it() {
        let histogram = Histogram::<15>::default();
        for value in [0, 1, 100, 101, 64_000, 64_001] {
            histogram.observe(&SIZE_BOUNDS, value);
        }
        let mut sum = Distribution::default();
        histogram.add_to(&mut sum);
        histogram.add_to(&mut sum);
        assert_eq!(sum.buckets, [2, 4, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2]);
        assert_eq!((sum.sum, sum.count()), (2 * 128_203, 12));
    }

    #[test]
    fn servers_are_named_by_where_they_listen() {
        assert_eq!(server_label(None, 53), "dns://:53");
        assert_eq!(server_label(Some(IpAddr::from([127, 0, 0, 1])), 53), "dns://127.0.0.1:53");
        assert_eq!(server_label(Some(std::net::Ipv6Addr::LOCALHOST.into()), 53), "dns://[::1]:53");
    }
}
