//! What a publication changes: the one account that the index, and whatever else follows the zone, consumes.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::name::{Labels, Name};
use super::name_servers::NameServers;
use super::records::{Entry, Selected};
use super::service::{Below, Service};

/// An entry that was replaced: absent before, absent after, or changed.
#[derive(Debug)]
pub struct Replaced<K, V> {
    /// What it is the entry of.
    pub key: K,
    /// What stood there.
    pub old: Option<V>,
    /// What stands there now.
    pub new: Option<V>,
}

/// One publication, or all between two cuts.
#[derive(Debug, Default)]
pub struct Delta {
    /// The number of the publication, or of the last before the cut; each is one more than the last.
    pub version: u64,
    /// Services, by the labels of name and namespace.
    pub services: Vec<Replaced<Labels, Service>>,
    /// Names of addresses, sorted, relative to the primary zone.
    pub pointers: Vec<Replaced<IpAddr, Names>>,
    /// By how many the pods of a namespace that have an address became more, or fewer.
    pub pods: Vec<(IpAddr, Arc<Labels>, i64)>,
    /// Namespaces that came (`true`) or went.
    pub namespaces: Vec<(Labels, bool)>,
    /// Who serves the zone, where that changed.
    pub name_servers: Option<Arc<NameServers>>,
}

/// The names of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The names, sorted.
    pub names: Box<[Labels]>,
    /// The TTL of its PTR records in seconds, if it is not the view's.
    pub ttl_secs: Option<u32>,
}

impl std::ops::Deref for Names {
    type Target = [Labels];

    fn deref(&self) -> &[Labels] {
        &self.names
    }
}

/// One record, relative to a zone of the view: its owner, type and data.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// Its owner, relative to each forward zone; for [`Data::Ptr`] the address stands for the owner.
    pub owner: Labels,
    /// Its TTL in seconds, if it is not the view's.
    pub ttl_secs: Option<u32>,
    /// Its data.
    pub data: Data,
}

/// A record's data.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// SRV, priority 0.
    Srv {
        /// Weight.
        weight: u16,
        /// Port.
        port: u16,
        /// Target, relative to the zone.
        target: Labels,
    },
    /// CNAME.
    Alias(Name),
    /// PTR of an address.
    Ptr {
        /// The address.
        address: IpAddr,
        /// The name, relative to the primary zone.
        target: Labels,
    },
    /// NS of the apex.
    NameServer(Labels),
    /// TXT with the version of the schema.
    SchemaVersion,
}

impl Delta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.pointers.is_empty()
            && self.pods.is_empty()
            && self.namespaces.is_empty()
            && self.name_servers.is_none()
    }

    /// Records that are gone.
    pub fn removed(&self) -> Vec<Record> {
        self.sides().flat_map(|(old, new)| difference(old, new)).collect()
    }

    /// Records that came.
    pub fn added(&self) -> Vec<Record> {
        self.sides().flat_map(|(old, new)| difference(new, old)).collect()
    }

    /// The records of each entry, before and after.
    fn sides(&self) -> impl Iterator<Item = (Vec<Record>, Vec<Record>)> {
        let services = self.services.iter().map(|change| (records_of(&change.old), records_of(&change.new)));
        let pointers = self
            .pointers
            .iter()
            .map(|change| (pointer_records(change.key, &change.old), pointer_records(change.key, &change.new)));
        services.chain(pointers)
    }
}

/// What the first list has and the second lacks.
fn difference(these: Vec<Record>, others: Vec<Record>) -> Vec<Record> {
    let others: HashSet<Record> = others.into_iter().collect();
    these.into_iter().filter(|record| !others.contains(record)).collect()
}

fn records_of(service: &Option<Service>) -> Vec<Record> {
    service.as_ref().map(service_records).unwrap_or_default()
}

fn pointer_records(address: IpAddr, names: &Option<Names>) -> Vec<Record> {
    let record = |target: &Labels, ttl_secs| Record {
        owner: Labels::default(),
        ttl_secs,
        data: Data::Ptr { address, target: target.clone() },
    };
    names.iter().flat_map(|names| names.iter().map(|target| record(target, names.ttl_secs))).collect()
}

/// Every record of a Service: of its own name, its ports', its topology zones' and its endpoints'. Names with `_` for any port or protocol
/// are ways to ask, not names of the zone.
pub fn service_records(service: &Service) -> Vec<Record> {
    records_beyond(service, None)
}

/// Those of which another version does not hold the same memory: all that differ are among them, on either side.
pub(super) fn records_beyond(service: &Service, other: Option<&Service>) -> Vec<Record> {
    let first = first_part(service);
    let is_looked_at = |index: &usize| index.checked_sub(first).is_none_or(|part| !service.shares_part(part, other));
    let portions = (0..).take_while(|index| *index < first + service.part_count()).filter(is_looked_at);
    portions.filter_map(|index| service_portion(service, index)).flatten().collect()
}

/// The first portion that is of a part: before it stand those of the Service's own name, its ports and its zones.
fn first_part(service: &Service) -> usize {
    1 + named_ports(service).len() + service.topology_zones().len()
}

/// Port and protocol of the names that select ports.
fn named_ports(service: &Service) -> Vec<(&[u8], &[u8])> {
    service.port_names().filter(|(port, protocol)| !port.is_empty() && !protocol.is_empty()).collect()
}

/// A portion of them, of which a large Service has many; `None` behind the last.
pub(super) fn service_portion(service: &Service, index: usize) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    let own = [service.key(), b"\x03svc"].concat();
    let mut select = |owner: Vec<u8>, below: Below<'_>| {
        if let Some(selected) = service.select(below) {
            push_records(&mut records, &Labels::from_wire(owner), &selected);
        }
    };
    let Some(index) = index.checked_sub(1) else {
        select(own, Below::Service);
        return Some(records);
    };
    let ports = named_ports(service);
    if let Some(&(port, protocol)) = ports.get(index) {
        let mut owner = Vec::new();
        for part in [port, protocol] {
            owner.push(u8::try_from(part.len() + 1).unwrap_or_default());
            owner.push(b'_');
            owner.extend_from_slice(part);
        }
        select([owner, own].concat(), Below::Port { port, protocol });
        return Some(records);
    }
    let (index, zones) = (index - ports.len(), service.topology_zones());
    if let Some(zone) = zones.get(index) {
        for (way, prefer) in [(&b"\x03pin\x05_zone"[..], false), (b"\x06prefer\x05_zone", true)] {
            select([zone, way, &own].concat(), Below::Zone { labels: zone, prefer });
        }
        return Some(records);
    }
    let items = service.items_of_part(index - zones.len())?;
    for label in items.map(|item| item.label).filter(|label| !label.is_empty() && service.is_name(label)) {
        select([label, &own].concat(), Below::Endpoint(label));
    }
    Some(records)
}

/// Where there is an alias there is nothing else (RFC 2181 section 10.1): it stands only where no address does, and of
/// several the first, which is what a question for it is answered with.
fn push_records(records: &mut Vec<Record>, owner: &Labels, selected: &Selected<'_>) {
    let ttl_secs = selected.ttl_secs;
    if let Some(alias) = selected.aliases.first().filter(|_| selected.entries.is_empty()) {
        records.push(Record { owner: owner.clone(), ttl_secs, data: Data::Alias(alias.clone()) });
    }
    for entry in &selected.entries {
        if entry.has(Entry::FIRST_ADDRESS) {
            records.push(Record { owner: owner.clone(), ttl_secs, data: Data::Address(entry.address) });
        }
        if entry.has(Entry::FIRST_SRV) {
            let target = Labels::concat(&[selected.target(entry), selected.key, b"\x03svc"]);
            let data = Data::Srv { weight: selected.weight(), port: entry.port, target };
            records.push(Record { owner: owner.clone(), ttl_secs, data });
        }
    }
}
