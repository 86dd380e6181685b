//! A Service's answers, encoded when the Service changes, so that a query only copies them.
//!
//! What is kept is whole records in wire form. Their owner is a pointer to the question (RFC 1035 section 4.1.4), which
//! stands at the same place in every response, so that its letters are the client's. Glue points to where its target
//! stands in an SRV record, counted as if the question had no octets: who copies it adds the question's length.
//!
//! ```text
//! octets:  key | label, counts, A records, AAAA records | ... | A | AAAA | SRV | glue | ...
//!                └──────────── an endpoint ────────────┘       └─────── a set ──────┘
//! ```
//!
//! What is rarely asked for is not prepared, and [`Prepared::Composed`] says so: aliases, and SRV records of an
//! endpoint's own name.

use std::net::IpAddr;

use super::name::Name;
use super::records::{Below, Entry, RecordSet, Selected, ServiceRecords};
use super::trie::keyed_hash;

/// Octets of an A record whose owner is a pointer.
const A_OCTETS: usize = 16;
/// Octets of an AAAA record whose owner is a pointer.
const AAAA_OCTETS: usize = 28;

/// Octets of a message's header, behind which the question stands.
const HEADER_OCTETS: usize = 12;
/// The most octets of a message over TCP (RFC 1035 section 4.2.2). Records beyond it fit into no response.
const MESSAGE_OCTETS_MAX: usize = 65_535;
/// The greatest offset that a pointer can name, and the most octets of a question, which move what stands behind it.
const POINTER_MAX: usize = 0x3fff;
const QUESTION_OCTETS_MAX: usize = 259;
/// The two bits that make a pointer.
const POINTER: u16 = 0xc000;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_SRV: u16 = 33;
const CLASS_IN: u16 = 1;

/// Whole records of one section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Records<'a> {
    /// The records in wire form.
    pub octets: &'a [u8],
    /// How many.
    pub count: u16,
}

/// What is prepared for a name and a type.
#[derive(Clone, Copy, Debug)]
pub enum Prepared<'a> {
    /// There is no such name.
    Missing,
    /// The name exists. These are its records of the type, perhaps none, and their glue.
    Records(Records<'a>, Records<'a>),
    /// It is to be composed from [`ServiceRecords`].
    Composed,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A records.
    A,
    /// AAAA records.
    Aaaa,
    /// SRV records.
    Srv,
    /// Records of a type that a Service has none of.
    Nothing,
}

/// All answers of a Service in one view.
#[derive(Debug)]
pub struct ServiceAnswers {
    octets: Box<[u8]>,
    key_octets: u8,
    endpoints: Box<[Slot]>,
    sets: Box<[Set]>,
}

/// A place of the hash table of endpoints: the hash of a label and where its endpoint stands, 0 where none does.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u32,
    at: u32,
}

/// What a name two labels below the Service is answered with, or, without port and protocol, the Service's own.
#[derive(Debug)]
struct Set {
    port: Box<[u8]>,
    protocol: Box<[u8]>,
    answers: SetAnswers,
}

#[derive(Clone, Copy, Debug, Default)]
struct SetAnswers {
    has_aliases: bool,
    a: Span,
    aaaa: Span,
    srv: Span,
    glue: Span,
}

/// A run of records.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    at: u32,
    octets: u32,
    count: u16,
}

impl ServiceAnswers {
    /// Encodes the answers of a Service: records with a TTL in seconds, SRV targets in a zone.
    pub fn encode(records: &ServiceRecords, ttl_secs: u32, zone: &Name) -> Self {
        let mut encoder = Encoder { octets: records.key.as_wire().to_vec(), ttl_secs, zone };
        let endpoints = encoder.endpoints(records);
        let own = records.root.iter().map(|set| (&[][..], &[][..], set));
        let ports = records.ports.iter().map(|ports| (&*ports.port, &*ports.protocol, &ports.set));
        let mut sets: Vec<Set> = Vec::new();
        let mut encoded: Vec<(&RecordSet, SetAnswers)> = Vec::new();
        for (port, protocol, set) in own.chain(ports) {
            // Names that select the same share it: a Service with one port has four.
            let known = encoded.iter().find(|(known, _)| *known == set).map(|(_, answers)| *answers);
            let Some(answers) =
                known.or_else(|| records.select(Below::Port { port, protocol }).map(|selected| encoder.set(&selected)))
            else {
                continue;
            };
            encoded.push((set, answers));
            sets.push(Set { port: port.into(), protocol: protocol.into(), answers });
        }
        Self {
            octets: encoder.octets.into(),
            key_octets: u8::try_from(records.key.as_wire().len()).unwrap_or(u8::MAX),
            endpoints,
            sets: sets.into(),
        }
    }

    /// The labels of Service and namespace.
    pub fn key(&self) -> &[u8] {
        self.octets.get(..usize::from(self.key_octets)).unwrap_or(&[])
    }

    /// What a name has of a type.
    pub fn find(&self, below: Below<'_>, wanted: Wanted) -> Prepared<'_> {
        let (port, protocol) = match below {
            Below::Endpoint(label) => return self.find_endpoint(label, wanted),
            Below::Service => (&[][..], &[][..]),
            Below::Port { port, protocol } => (port, protocol),
        };
        let Some(set) = self.sets.iter().find(|set| *set.port == *port && *set.protocol == *protocol) else {
            return Prepared::Missing;
        };
        let SetAnswers { has_aliases, a, aaaa, srv, glue } = set.answers;
        match wanted {
            Wanted::A if !has_aliases => Prepared::Records(self.records(a), Records::default()),
            Wanted::Aaaa if !has_aliases => Prepared::Records(self.records(aaaa), Records::default()),
            Wanted::A | Wanted::Aaaa => Prepared::Composed,
            Wanted::Srv => Prepared::Records(self.records(srv), self.records(glue)),
            Wanted::Nothing => Prepared::Records(Records::default(), Records::default()),
        }
    }

    fn find_endpoint(&self, label: &[u8], wanted: Wanted) -> Prepared<'_> {
        let hash = keyed_hash(label);
        let mask = self.endpoints.len().wrapping_sub(1);
        let mut place = hash as usize;
        loop {
            let Some(slot) = self.endpoints.get(place & mask).filter(|slot| slot.at != 0) else {
                return Prepared::Missing;
            };
            if slot.hash == hash
                && let Some(found) = self.endpoint_at(slot.at as usize, label)
            {
                return match (wanted, found) {
                    (Wanted::Nothing, _) => Prepared::Records(Records::default(), Records::default()),
                    (Wanted::A, Some((a, _))) => Prepared::Records(a, Records::default()),
                    (Wanted::Aaaa, Some((_, aaaa))) => Prepared::Records(aaaa, Records::default()),
                    (Wanted::Srv, _) | (_, None) => Prepared::Composed,
                };
            }
            place += 1;
        }
    }

    /// The addresses of the endpoint that stands at a place, if that is its label; they are `None` if it has aliases.
    #[allow(clippy::type_complexity)]
    fn endpoint_at(&self, at: usize, label: &[u8]) -> Option<Option<(Records<'_>, Records<'_>)>> {
        let (length, rest) = self.octets.get(at..)?.split_first()?;
        let (found, rest) = rest.split_at_checked(usize::from(*length))?;
        if found != label {
            return None;
        }
        let (counts, rest) = rest.split_first_chunk::<4>()?;
        if *counts == ALIASES {
            return Some(None);
        }
        let [a, aaaa] = [u16::from_be_bytes([counts[0], counts[1]]), u16::from_be_bytes([counts[2], counts[3]])];
        let (a_octets, rest) = rest.split_at_checked(usize::from(a) * A_OCTETS)?;
        let (aaaa_octets, _) = rest.split_at_checked(usize::from(aaaa) * AAAA_OCTETS)?;
        Some(Some((Records { octets: a_octets, count: a }, Records { octets: aaaa_octets, count: aaaa })))
    }

    fn records(&self, span: Span) -> Records<'_> {
        let at = span.at as usize;
        Records { octets: self.octets.get(at..at + span.octets as usize).unwrap_or(&[]), count: span.count }
    }
}

/// In the place of an endpoint's counts: it has aliases. So many addresses fit into no message.
const ALIASES: [u8; 4] = [0xff; 4];

struct Encoder<'a> {
    octets: Vec<u8>,
    ttl_secs: u32,
    zone: &'a Name,
}

impl Encoder<'_> {
    /// Encodes the endpoints, and gives the table by which they are found.
    fn endpoints(&mut self, records: &ServiceRecords) -> Box<[Slot]> {
        let labels = &records.endpoints.labels;
        if labels.is_empty() {
            return Box::default();
        }
        // At most two thirds are taken, so that a search ends soon, and ends at all.
        let mut slots = vec![Slot::default(); (labels.len() + labels.len() / 2 + 1).next_power_of_two()];
        let mask = slots.len() - 1;
        for (index, label) in labels.iter().enumerate() {
            let wire = label.labels.as_wire();
            let Some((&length, text)) = wire.split_first() else { continue };
            let (Some(selected), Ok(at)) = (records.at(index), u32::try_from(self.octets.len())) else { continue };
            // A pod's name with a dot in it is several labels, which no name of one label is.
            if usize::from(length) != text.len() {
                continue;
            }
            self.octets.extend_from_slice(wire);
            if selected.aliases().next().is_some() {
                self.octets.extend_from_slice(&ALIASES);
            } else {
                let counts_at = self.octets.len();
                self.octets.extend_from_slice(&[0; 4]);
                for (family, is_family) in FAMILIES.into_iter().enumerate() {
                    let count = self.addresses(&selected, is_family).count;
                    let place = counts_at + 2 * family;
                    self.octets[place..place + 2].copy_from_slice(&count.to_be_bytes());
                }
            }
            let hash = keyed_hash(text);
            let mut place = hash as usize;
            while slots[place & mask].at != 0 {
                place += 1;
            }
            slots[place & mask] = Slot { hash, at };
        }
        slots.into()
    }

    fn set(&mut self, selected: &Selected<'_>) -> SetAnswers {
        let has_aliases = selected.aliases().next().is_some();
        let [a, aaaa] = match has_aliases {
            true => [Span::default(); 2],
            false => FAMILIES.map(|is_family| self.addresses(selected, is_family)),
        };
        let (srv, glue) = self.srv(selected);
        SetAnswers { has_aliases, a, aaaa, srv, glue }
    }

    /// The addresses of a family, as long as they fit into a message.
    fn addresses(&mut self, selected: &Selected<'_>, is_family: fn(&IpAddr) -> bool) -> Span {
        let mut span = self.begin();
        let own = selected.entries.iter().filter(|entry| entry.has(selected.address_mark));
        for address in own.map(|entry| entry.address).filter(is_family) {
            self.address(POINTER | HEADER_OCTETS as u16, address);
            if !self.end_of_record(&mut span) {
                break;
            }
        }
        span
    }

    /// The SRV records and their glue. What the glue of a target beyond the reach of pointers is owned by is written as
    /// the target's labels and a pointer to the Service's name, which ends the question.
    fn srv(&mut self, selected: &Selected<'_>) -> (Span, Span) {
        let mut span = self.begin();
        let weight = selected.weight();
        let key = selected.service.key.as_wire();
        let mut targets: Vec<(u32, Option<u16>)> = Vec::new();
        for entry in selected.entries.iter().filter(|entry| entry.has(Entry::FIRST_SRV)) {
            let labels = selected.target(entry);
            self.head(POINTER | HEADER_OCTETS as u16, TYPE_SRV);
            let parts = [labels, key, b"\x03svc", self.zone.as_wire()];
            let target_octets: usize = parts.iter().map(|part| part.len()).sum();
            self.word(u16::try_from(6 + target_octets).unwrap_or(u16::MAX));
            for word in [0, weight, entry.port] {
                self.word(word);
            }
            let at = HEADER_OCTETS + self.octets.len() - span.at as usize;
            for part in parts {
                self.octets.extend_from_slice(part);
            }
            if targets.last().is_none_or(|(target, _)| *target != entry.target) {
                let reachable = at + QUESTION_OCTETS_MAX <= POINTER_MAX;
                targets.push((entry.target, reachable.then_some(at as u16)));
            }
            if !self.end_of_record(&mut span) {
                return (span, Span::default());
            }
        }
        let mut glue = self.begin();
        let mut targets = targets.into_iter().peekable();
        for entry in selected.entries.iter().filter(|entry| entry.has(Entry::FIRST_GLUE)) {
            while targets.peek().is_some_and(|(target, _)| *target != entry.target) {
                targets.next();
            }
            match targets.peek().and_then(|(_, at)| *at) {
                Some(at) => self.address(POINTER | at, entry.address),
                None => {
                    let labels = selected.target(entry);
                    self.octets.extend_from_slice(labels);
                    self.address(POINTER, entry.address);
                }
            }
            if !self.end_of_record(&mut glue) {
                break;
            }
        }
        (span, glue)
    }

    fn begin(&self) -> Span {
        Span { at: u32::try_from(self.octets.len()).unwrap_or(u32::MAX), octets: 0, count: 0 }
    }

    /// Counts a record that was written; whether another may fit.
    fn end_of_record(&self, span: &mut Span) -> bool {
        let octets = self.octets.len() - span.at as usize;
        span.octets = u32::try_from(octets).unwrap_or(u32::MAX);
        span.count += 1;
        octets <= MESSAGE_OCTETS_MAX
    }

    fn address(&mut self, owner: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.head(owner, TYPE_A);
                self.word(4);
                self.octets.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                self.head(owner, TYPE_AAAA);
                self.word(16);
                self.octets.extend_from_slice(&address.octets());
            }
        }
    }

    /// A record up to the length of its data.
    fn head(&mut self, owner: u16, rtype: u16) {
        for word in [owner, rtype, CLASS_IN] {
            self.word(word);
        }
        self.octets.extend_from_slice(&self.ttl_secs.to_be_bytes());
    }

    fn word(&mut self, word: u16) {
        self.octets.extend_from_slice(&word.to_be_bytes());
    }
}

const FAMILIES: [fn(&IpAddr) -> bool; 2] = [IpAddr::is_ipv4, IpAddr::is_ipv6];
