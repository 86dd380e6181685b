//! Messages of a transfer: many records, their names compressed against those right before.

use crate::answer::Rcode;
use crate::answer::query::{CLASS_IN, bits, rtype};
use crate::zone::contents::{SCHEMA_VERSION_TTL_SECS, SOA_NAMES, SOA_TIMES};
use crate::zone::name::suffixes;
use crate::zone::{Data, Name, Record, ZoneFilter};

/// Octets of a header.
const HEADER_OCTETS: usize = 12;
/// Offsets over this cannot be pointed to (RFC 1035 section 4.1.4).
const POINTER_MAX: usize = 0x3fff;
const POINTER: u16 = 0xc000;

/// What a message begins with.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) id: u16,
    /// The header's second word.
    pub(super) flags: u16,
    /// The question, letter for letter.
    pub(super) question: Vec<u8>,
}

impl Head {
    /// Writes an answer of a code and no records.
    pub(super) fn write_refusal(&self, rcode: Rcode, opt: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&(self.flags | bits::QR | rcode.0 & 0xf).to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(!opt.is_empty())]);
        out.extend_from_slice(&self.question);
        out.extend_from_slice(opt);
    }
}

/// A zone as its records are written.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    pub(super) filter: ZoneFilter,
    pub(super) primary: Name,
    pub(super) ttl_secs: u32,
    /// The SOA's own TTL,
    pub(super) soa_ttl_secs: u32,
    /// and its last field.
    pub(super) soa_minimum_secs: u32,
}

/// A message in the making, in room that the caller gives.
pub(super) struct Writer<'w> {
    out: &'w mut Vec<u8>,
    zone: &'w Zone,
    limit: usize,
    answers: u16,
    owners: Seen,
    targets: Seen,
    scratch: Vec<u8>,
}

/// The name that was written last, and where its labels stand in the message.
#[derive(Default)]
struct Seen {
    name: Vec<u8>,
    /// Where a label begins in the name, and in the message.
    places: Vec<(usize, u16)>,
}

impl<'w> Writer<'w> {
    /// Begins a message of `limit` octets at most.
    pub(super) fn new(out: &'w mut Vec<u8>, head: &Head, zone: &'w Zone, limit: usize) -> Self {
        out.clear();
        out.extend_from_slice(&head.id.to_be_bytes());
        out.extend_from_slice(&(head.flags | bits::QR | bits::AA).to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&head.question);
        let name = zone.filter.zone().as_wire();
        let owners = Seen::at(name, HEADER_OCTETS);
        let targets = Seen::at(name, HEADER_OCTETS);
        Self { out, zone, limit, answers: 0, owners, targets, scratch: Vec::new() }
    }

    /// Writes the zone's SOA; `false`, and nothing written, if it does not fit.
    pub(super) fn soa(&mut self, serial: u32) -> bool {
        let zone = self.zone;
        let start = self.out.len();
        self.owners.write(self.out, zone.filter.zone().as_wire());
        let ends = self.begin_data(rtype::SOA, zone.soa_ttl_secs);
        for labels in SOA_NAMES {
            self.out.extend_from_slice(labels);
            self.out.extend_from_slice(&(POINTER | HEADER_OCTETS as u16).to_be_bytes());
        }
        let [refresh, retry, expire] = SOA_TIMES;
        for word in [serial, refresh, retry, expire, zone.soa_minimum_secs] {
            self.out.extend_from_slice(&word.to_be_bytes());
        }
        self.end_data(start, ends)
    }

    /// Writes a record, if it is the zone's; `None` if it is not, `Some(false)` and nothing written if it does not fit.
    pub(super) fn record(&mut self, record: &Record) -> Option<bool> {
        let zone = self.zone;
        let mut owner = std::mem::take(&mut self.scratch);
        if !zone.filter.owner(record, &mut owner) {
            self.scratch = owner;
            return None;
        }
        let start = self.out.len();
        self.owners.write(self.out, &owner);
        self.scratch = owner;
        let ttl = record.ttl_secs.unwrap_or(zone.ttl_secs);
        let ends = match &record.data {
            Data::Address(std::net::IpAddr::V4(address)) => {
                let ends = self.begin_data(rtype::A, ttl);
                self.out.extend_from_slice(&address.octets());
                ends
            }
            Data::Address(std::net::IpAddr::V6(address)) => {
                let ends = self.begin_data(rtype::AAAA, ttl);
                self.out.extend_from_slice(&address.octets());
                ends
            }
            Data::Srv { weight, port, target } => {
                let ends = self.begin_data(rtype::SRV, ttl);
                for word in [0, *weight, *port] {
                    self.out.extend_from_slice(&word.to_be_bytes());
                }
                // Not compressed (RFC 2782).
                self.out.extend_from_slice(target.as_wire());
                self.out.extend_from_slice(zone.filter.zone().as_wire());
                ends
            }
            Data::Alias(target) => self.name_data(rtype::CNAME, ttl, target.as_wire()),
            Data::NameServer(target) => {
                let name = [target.as_wire(), zone.filter.zone().as_wire()].concat();
                self.name_data(rtype::NS, ttl, &name)
            }
            Data::Ptr { target, .. } => {
                let name = [target.as_wire(), zone.primary.as_wire()].concat();
                self.name_data(rtype::PTR, ttl, &name)
            }
            Data::SchemaVersion => {
                let version = zone.filter.schema_version();
                let ends = self.begin_data(rtype::TXT, SCHEMA_VERSION_TTL_SECS);
                self.out.push(version.len() as u8);
                self.out.extend_from_slice(version);
                ends
            }
        };
        Some(self.end_data(start, ends))
    }

    fn name_data(&mut self, rtype: u16, ttl_secs: u32, name: &[u8]) -> usize {
        let ends = self.begin_data(rtype, ttl_secs);
        self.targets.write(self.out, name);
        ends
    }

    /// Writes all between owner and data; where the data begin.
    fn begin_data(&mut self, rtype: u16, ttl_secs: u32) -> usize {
        self.out.extend_from_slice(&rtype.to_be_bytes());
        self.out.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.out.extend_from_slice(&ttl_secs.to_be_bytes());
        self.out.extend_from_slice(&[0, 0]);
        self.out.len()
    }

    /// Ends a record that began at `start`; takes it back if it is too much.
    fn end_data(&mut self, start: usize, data_at: usize) -> bool {
        if self.out.len() > self.limit {
            self.out.truncate(start);
            return false;
        }
        let octets = (self.out.len() - data_at) as u16;
        if let Some(length) = self.out.get_mut(data_at - 2..data_at) {
            length.copy_from_slice(&octets.to_be_bytes());
        }
        self.answers += 1;
        true
    }

    /// Ends the message; `opt` is its OPT record, empty if it has none.
    pub(super) fn finish(self, opt: &[u8]) {
        if let Some(count) = self.out.get_mut(6..8) {
            count.copy_from_slice(&self.answers.to_be_bytes());
        }
        if !opt.is_empty() {
            self.out.extend_from_slice(opt);
            if let Some(count) = self.out.get_mut(11) {
                *count = 1;
            }
        }
    }
}

impl Seen {
    /// A name that stands at an offset of the message.
    fn at(name: &[u8], offset: usize) -> Self {
        let places = suffixes(name).filter(|at| at + 1 < name.len());
        Self { name: name.to_vec(), places: places.map(|at| (at, (offset + at) as u16)).collect() }
    }

    /// Writes a name, with a pointer for what it shares with the last one. That is in the order of a transfer nearly all
    /// that it could share with any.
    fn write(&mut self, out: &mut Vec<u8>, name: &[u8]) {
        let here = out.len();
        let root = name.len().saturating_sub(1);
        let shared = suffixes(name).take_while(|at| *at < root).find_map(|at| {
            let of_last = (self.name.len() + at).checked_sub(name.len())?;
            let (_, place) = self.places.iter().find(|(label, _)| *label == of_last)?;
            (self.name.get(of_last..)? == name.get(at..)?).then_some((at, of_last, *place))
        });
        let (end, mut places) = match shared {
            Some((at, of_last, place)) => {
                out.extend_from_slice(&name[..at]);
                out.extend_from_slice(&(POINTER | place).to_be_bytes());
                let behind = self.places.iter().filter(|(label, _)| *label >= of_last);
                (at, behind.map(|(label, place)| (label - of_last + at, *place)).collect())
            }
            None => {
                out.extend_from_slice(name);
                (root, Vec::new())
            }
        };
        let fresh = suffixes(name).take_while(|at| *at < end).filter(|at| here + at <= POINTER_MAX);
        places.extend(fresh.map(|at| (at, (here + at) as u16)));
        self.name.clear();
        self.name.extend_from_slice(name);
        self.places = places;
    }
}
