//! A Service's records: every name at and below it, in one piece.
//!
//! CoreDNS answers a name from the list of all (address, port) pairs that the name selects, and drops duplicates as
//! it goes: A by address, SRV by target and port, glue by target and address, with the SRV weight taken from the
//! list before (plugin/backend_lookup.go). Here the list is made once, when the Service changes; each [`Entry`]
//! carries the marks that say in which answers it is the first of its kind, so that a query needs no set.
//!
//! The whole is replaced at once: an SRV target and its addresses are never of two ages.

use std::net::IpAddr;
use std::sync::Arc;

use super::name::{Labels, Name};

/// One (address, port) pair that a name selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The SRV target: an index into the Service's endpoint labels, or [`Entry::SERVICE`].
    pub target: u32,
    /// The address.
    pub address: IpAddr,
    /// The port; meaningless without [`Entry::HAS_PORT`].
    pub port: u16,
    /// The marks below.
    pub marks: u8,
}

impl Entry {
    /// The target is the Service's own name.
    pub const SERVICE: u32 = u32::MAX;
    /// The entry has a port, and so an SRV record. Services and slices without ports have addresses only.
    pub const HAS_PORT: u8 = 1;
    /// First with this address in its set: the A or AAAA record of the set's name.
    pub const FIRST_ADDRESS: u8 = 2;
    /// First with this address under this target: the A or AAAA record of the target's own name.
    pub const FIRST_OF_TARGET: u8 = 4;
    /// First with this target and port, and has a port: an SRV record.
    pub const FIRST_SRV: u8 = 8;
    /// First with this address under this target among those with a port: a glue record.
    pub const FIRST_GLUE: u8 = 16;

    /// Whether a mark is set.
    pub fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }
}

/// What one name selects.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RecordSet {
    /// The pairs, duplicates that no answer shows left out.
    pub entries: Arc<[Entry]>,
    /// How many pairs there were before: the SRV weight is 100 over this.
    pub pairs: u32,
    /// Targets of CNAME records: an ExternalName, or endpoints whose address is a name.
    pub aliases: Box<[Name]>,
}

/// A `_port._protocol` name and what it selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRecords {
    /// Port name in lower case; empty stands for any (`_`).
    pub port: Box<[u8]>,
    /// Protocol in lower case; empty stands for any (`_`).
    pub protocol: Box<[u8]>,
    /// What it selects.
    pub set: RecordSet,
}

/// An endpoint's label and the run of [`Endpoints::entries`] that bears it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointLabel {
    /// The label, in wire form; a dotted pod name makes several, which no query of one label finds.
    pub labels: Labels,
    /// Its first entry.
    pub first: u32,
    /// How many pairs bear it, duplicates counted.
    pub pairs: u32,
}

/// The endpoints below a Service, sorted by label.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Endpoints {
    /// The labels, sorted, each once.
    pub labels: Box<[EndpointLabel]>,
    /// The pairs, sorted by label.
    pub entries: Arc<[Entry]>,
    /// Endpoints whose address is a name: label index and name.
    pub aliases: Box<[(u32, Name)]>,
}

/// All records of one Service in one view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecords {
    /// Labels of Service and namespace: the key of the Service in a view.
    pub key: Labels,
    /// The Service's own name; `None` where it has no endpoint that it needs (a headless one) or no address.
    pub root: Option<RecordSet>,
    /// Names one label below: the endpoints.
    pub endpoints: Endpoints,
    /// Names two labels below: ports and protocols.
    pub ports: Box<[PortRecords]>,
}

/// What a query selects below a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below<'a> {
    /// The Service itself.
    Service,
    /// One label: an endpoint.
    Endpoint(&'a [u8]),
    /// Two labels: port and protocol, their leading underscores taken off; empty stands for any.
    Port {
        /// Port name in lower case.
        port: &'a [u8],
        /// Protocol in lower case.
        protocol: &'a [u8],
    },
}

/// What was selected.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// The Service that it belongs to.
    pub service: &'a ServiceRecords,
    /// Its pairs.
    pub entries: &'a [Entry],
    /// The pairs' number before duplicates were dropped.
    pub pairs: u32,
    /// The mark of the pairs that give the name's own addresses.
    pub address_mark: u8,
    /// Aliases of a set,
    aliases: &'a [Name],
    /// or of the endpoint with this label's index.
    endpoint_aliases: (u32, &'a [(u32, Name)]),
}

impl<'a> Selected<'a> {
    fn of_set(service: &'a ServiceRecords, set: &'a RecordSet) -> Self {
        Self {
            service,
            entries: &set.entries,
            pairs: set.pairs,
            address_mark: Entry::FIRST_ADDRESS,
            aliases: &set.aliases,
            endpoint_aliases: (Entry::SERVICE, &[]),
        }
    }

    /// Targets of CNAME records.
    pub fn aliases(&self) -> impl Iterator<Item = &'a Name> + use<'a> {
        let (endpoint, of_endpoints) = self.endpoint_aliases;
        let of_endpoint = of_endpoints.iter().filter(move |(of, _)| *of == endpoint).map(|(_, name)| name);
        self.aliases.iter().chain(of_endpoint)
    }

    /// Whether it selects anything at all. A Service that the API server has given no address yet selects nothing,
    /// though its name exists.
    pub fn is_empty(&self) -> bool {
        self.pairs == 0 && self.aliases().next().is_none()
    }

    /// The labels of an entry's target, which stand before the Service's own; none where it is the Service.
    pub fn target(&self, entry: &Entry) -> &'a [u8] {
        self.service.endpoints.labels.get(entry.target as usize).map_or(&[], |label| label.labels.as_wire())
    }

    /// The weight of each SRV record: 100 over the number of pairs, rounded down, at least 1. The arithmetic is
    /// CoreDNS's (plugin/backend_lookup.go, func SRV), floating point included, so that it rounds the same.
    pub fn weight(&self) -> u16 {
        Self::weight_of(self.pairs)
    }

    /// The weight of each of this many pairs.
    pub fn weight_of(pairs: u32) -> u16 {
        let share = 100.0 / (100.0 * f64::from(pairs.max(1))) * 100.0;
        (share.floor() as u16).max(1)
    }
}

impl ServiceRecords {
    /// What a query selects; `None` if there is no such name.
    pub fn select<'a>(&'a self, below: Below<'_>) -> Option<Selected<'a>> {
        match below {
            Below::Service | Below::Port { port: [], protocol: [] } => {
                self.root.as_ref().map(|set| Selected::of_set(self, set))
            }
            Below::Endpoint(label) => self.endpoint(label),
            Below::Port { port, protocol } => self
                .ports
                .iter()
                .find(|records| *records.port == *port && *records.protocol == *protocol)
                .map(|records| Selected::of_set(self, &records.set)),
        }
    }

    fn endpoint(&self, label: &[u8]) -> Option<Selected<'_>> {
        let labels = &self.endpoints.labels;
        let index = labels
            .binary_search_by(|candidate| {
                let wire = candidate.labels.as_wire();
                let (&length, rest) = wire.split_first().unwrap_or((&0, &[]));
                (usize::from(length), rest).cmp(&(label.len(), label))
            })
            .ok()?;
        self.at(index)
    }

    /// The endpoint at an index of [`Endpoints::labels`].
    pub fn at(&self, index: usize) -> Option<Selected<'_>> {
        let labels = &self.endpoints.labels;
        let label = labels.get(index)?;
        let end = labels.get(index + 1).map_or(self.endpoints.entries.len(), |next| next.first as usize);
        Some(Selected {
            service: self,
            entries: self.endpoints.entries.get(label.first as usize..end).unwrap_or(&[]),
            pairs: label.pairs,
            address_mark: Entry::FIRST_OF_TARGET,
            aliases: &[],
            endpoint_aliases: (u32::try_from(index).unwrap_or(Entry::SERVICE), &self.endpoints.aliases),
        })
    }
}
