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

/// One publication.
#[derive(Debug, Default)]
pub struct Delta {
    /// Its number; each is one more than the last.
    pub version: u64,
    /// The SOA serial from now on.
    pub serial: u32,
    /// Services, by the labels of name and namespace.
    pub services: Vec<Replaced<Labels, Service>>,
    /// Names of addresses, sorted, relative to the primary zone.
    pub pointers: Vec<Replaced<IpAddr, Box<[Labels]>>>,
    /// By how many the pods of a namespace that have an address became more, or fewer.
    pub pods: Vec<(IpAddr, Arc<Labels>, i64)>,
    /// Namespaces that came (`true`) or went.
    pub namespaces: Vec<(Labels, bool)>,
    /// Who serves the zone, where that changed.
    pub name_servers: Option<Arc<NameServers>>,
}

/// One record, relative to a zone of the view: its owner, type and data.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// Its owner, relative to each forward zone; for [`Data::Ptr`] the address stands for the owner.
    pub owner: Labels,
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

fn pointer_records(address: IpAddr, targets: &Option<Box<[Labels]>>) -> Vec<Record> {
    let record =
        |target: &Labels| Record { owner: Labels::default(), data: Data::Ptr { address, target: target.clone() } };
    targets.iter().flat_map(|targets| targets.iter().map(record)).collect()
}

/// Every record of a Service: of its own name, its ports' and its endpoints'. Names with `_` for any port or protocol
/// are ways to ask, not names of the zone.
pub fn service_records(service: &Service) -> Vec<Record> {
    let mut records = Vec::new();
    let own = [service.key(), b"\x03svc"].concat();
    if let Some(selected) = service.select(Below::Service) {
        push_records(&mut records, &Labels::from_wire(own.clone()), &selected);
    }
    for (port, protocol) in service.port_names() {
        if port.is_empty() || protocol.is_empty() {
            continue;
        }
        if let Some(selected) = service.select(Below::Port { port, protocol }) {
            let mut owner = Vec::new();
            for part in [port, protocol] {
                owner.push(u8::try_from(part.len() + 1).unwrap_or_default());
                owner.push(b'_');
                owner.extend_from_slice(part);
            }
            owner.extend_from_slice(&own);
            push_records(&mut records, &Labels::from_wire(owner), &selected);
        }
    }
    for label in service.items().map(|item| item.label).filter(|label| !label.is_empty()) {
        if let Some(selected) = service.select(Below::Endpoint(label)) {
            push_records(&mut records, &Labels::concat(&[label, &own]), &selected);
        }
    }
    records
}

fn push_records(records: &mut Vec<Record>, owner: &Labels, selected: &Selected<'_>) {
    for alias in &selected.aliases {
        records.push(Record { owner: owner.clone(), data: Data::Alias(alias.clone()) });
    }
    for entry in &selected.entries {
        if entry.has(Entry::FIRST_ADDRESS) {
            records.push(Record { owner: owner.clone(), data: Data::Address(entry.address) });
        }
        if entry.has(Entry::FIRST_SRV) {
            let target = Labels::concat(&[selected.target(entry), selected.key, b"\x03svc"]);
            let data = Data::Srv { weight: selected.weight(), port: entry.port, target };
            records.push(Record { owner: owner.clone(), data });
        }
    }
}
