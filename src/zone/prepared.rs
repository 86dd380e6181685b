//! A Service's answers, encoded when the Service changes, so that a query only copies them.
//!
//! What is kept is whole records in wire form. Their owner is a pointer to the question (RFC 1035 section 4.1.4), which
//! stands at the same place in every response, so that its letters are the client's. Glue points to where its target
//! stands in an SRV record, counted as if the question had no octets: who copies it adds the question's length.
//!
//! All of it is one piece of memory, in the order in which a look-up reads it, since it is the first touch of a line of
//! memory that costs:
//!
//! ```text
//! head | key | sets: port, protocol, where their records are | table of endpoints
//!      | endpoints: label, counts, A records, AAAA records   | sets' A, AAAA, SRV records, glue
//! ```
//!
//! What is rarely asked for is not prepared, and [`Prepared::Composed`] says so: aliases, and SRV records of an
//! endpoint's own name.

use std::net::IpAddr;
use std::sync::Arc;

use super::name::{LABEL_OCTETS_MAX, Name};
use super::records::{Below, Entry, RecordSet, Selected, ServiceRecords};
use super::shards::keyed_hash;

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
#[derive(Clone, Debug)]
pub struct ServiceAnswers(Arc<[u8]>);

/// Octets of the head: of the key, how many sets, how many places the table of endpoints has, and where it begins.
const HEAD_OCTETS: usize = 12;
/// Octets of a place of the table: the hash of a label and where its endpoint stands, 0 where none does.
const PLACE_OCTETS: usize = 8;
/// Octets of a span, and of a set's spans behind port and protocol.
const SPAN_OCTETS: usize = 10;
const SPANS_OCTETS: usize = 4 * SPAN_OCTETS;

/// What a name two labels below the Service is answered with, or, without port and protocol, the Service's own.
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
        let key = records.key.as_wire();
        let own = records.root.iter().map(|set| (&[][..], &[][..], set));
        let ports = records.ports.iter().map(|ports| (&*ports.port, &*ports.protocol, &ports.set));
        // What is longer than a label is no name.
        let is_label = |name: &[u8]| name.len() <= LABEL_OCTETS_MAX;
        let sets: Vec<(&[u8], &[u8], &RecordSet)> =
            own.chain(ports).filter(|(port, protocol, _)| is_label(port) && is_label(protocol)).collect();
        let sets_octets: usize =
            sets.iter().map(|(port, protocol, _)| 3 + port.len() + protocol.len() + SPANS_OCTETS).sum();
        let labels = records.endpoints.labels.len();
        // At most two thirds are taken, so that a search ends soon, and ends at all.
        let places = if labels == 0 { 0 } else { (labels + labels / 2 + 1).next_power_of_two() };
        let table_at = HEAD_OCTETS + key.len() + sets_octets;

        let mut encoder = Encoder { octets: Vec::new(), ttl_secs, zone };
        encoder.octets.push(key.len() as u8);
        encoder.octets.push(0);
        encoder.word(u16::try_from(sets.len()).unwrap_or(u16::MAX));
        for long in [places, table_at] {
            encoder.octets.extend_from_slice(&u32::try_from(long).unwrap_or(u32::MAX).to_be_bytes());
        }
        encoder.octets.extend_from_slice(key);
        encoder.octets.resize(table_at + places * PLACE_OCTETS, 0);
        encoder.endpoints(records, table_at, places);

        let mut at = HEAD_OCTETS + key.len();
        let mut encoded: Vec<(&RecordSet, SetAnswers)> = Vec::new();
        for (port, protocol, set) in sets {
            // Names that select the same share it: a Service with one port has four.
            let known = encoded.iter().find(|(known, _)| *known == set).map(|(_, answers)| *answers);
            let selected = records.select(Below::Port { port, protocol });
            let answers = known.or_else(|| selected.map(|selected| encoder.set(&selected))).unwrap_or_default();
            encoded.push((set, answers));
            at = encoder.describe(at, port, protocol, &answers);
        }
        Self(encoder.octets.into())
    }

    /// The labels of Service and namespace.
    pub fn key(&self) -> &[u8] {
        let octets = self.0.first().map_or(0, |octets| usize::from(*octets));
        self.0.get(HEAD_OCTETS..HEAD_OCTETS + octets).unwrap_or(&[])
    }

    /// What a name has of a type.
    pub fn find(&self, below: Below<'_>, wanted: Wanted) -> Prepared<'_> {
        let found = match below {
            Below::Endpoint(label) => self.find_endpoint(label, wanted),
            Below::Service => self.find_set(&[], &[], wanted),
            Below::Port { port, protocol } => self.find_set(port, protocol, wanted),
        };
        found.unwrap_or(Prepared::Missing)
    }

    fn find_set(&self, port: &[u8], protocol: &[u8], wanted: Wanted) -> Option<Prepared<'_>> {
        let count = u16::from_be_bytes(*self.0.get(2..)?.first_chunk()?);
        let mut rest = self.0.get(HEAD_OCTETS + self.key().len()..)?;
        for _ in 0..count {
            let ([port_octets, protocol_octets, has_aliases], names) = rest.split_first_chunk()?;
            let (this_port, behind) = names.split_at_checked(usize::from(*port_octets))?;
            let (this_protocol, behind) = behind.split_at_checked(usize::from(*protocol_octets))?;
            let (spans, behind) = behind.split_first_chunk::<SPANS_OCTETS>()?;
            if this_port != port || this_protocol != protocol {
                rest = behind;
                continue;
            }
            let span = |index: usize| self.records(spans.get(index * SPAN_OCTETS..)?);
            return Some(match wanted {
                Wanted::A | Wanted::Aaaa if *has_aliases != 0 => Prepared::Composed,
                Wanted::A => Prepared::Records(span(0)?, Records::default()),
                Wanted::Aaaa => Prepared::Records(span(1)?, Records::default()),
                Wanted::Srv => Prepared::Records(span(2)?, span(3)?),
                Wanted::Nothing => Prepared::Records(Records::default(), Records::default()),
            });
        }
        None
    }

    fn records(&self, span: &[u8]) -> Option<Records<'_>> {
        let (at, rest) = span.split_first_chunk::<4>()?;
        let (octets, rest) = rest.split_first_chunk::<4>()?;
        let at = u32::from_be_bytes(*at) as usize;
        let octets = self.0.get(at..at + u32::from_be_bytes(*octets) as usize)?;
        Some(Records { octets, count: u16::from_be_bytes(*rest.first_chunk()?) })
    }

    fn find_endpoint(&self, label: &[u8], wanted: Wanted) -> Option<Prepared<'_>> {
        let hash = keyed_hash(label);
        let [places, table_at] = [self.long(4)?, self.long(8)?];
        let table = self.0.get(table_at..table_at + places * PLACE_OCTETS)?;
        let mask = places.checked_sub(1)?;
        let mut place = hash as usize & mask;
        loop {
            let slot = table.get(place * PLACE_OCTETS..)?.first_chunk::<PLACE_OCTETS>()?;
            let [of, at] = [[slot[0], slot[1], slot[2], slot[3]], [slot[4], slot[5], slot[6], slot[7]]];
            let at = u32::from_be_bytes(at) as usize;
            if at == 0 {
                return None;
            }
            if u32::from_be_bytes(of) == hash
                && let Some(found) = self.endpoint_at(at, label, wanted)
            {
                return Some(found);
            }
            place = (place + 1) & mask;
        }
    }

    /// A number of the head.
    fn long(&self, at: usize) -> Option<usize> {
        Some(u32::from_be_bytes(*self.0.get(at..)?.first_chunk()?) as usize)
    }

    /// What the endpoint that stands at a place has of a type, if that is its label.
    fn endpoint_at(&self, at: usize, label: &[u8], wanted: Wanted) -> Option<Prepared<'_>> {
        let (length, rest) = self.0.get(at..)?.split_first()?;
        let (found, rest) = rest.split_at_checked(usize::from(*length))?;
        if found != label {
            return None;
        }
        let (counts, rest) = rest.split_first_chunk::<4>()?;
        let [a, aaaa] = [u16::from_be_bytes([counts[0], counts[1]]), u16::from_be_bytes([counts[2], counts[3]])];
        let (skipped, count, record_octets) = match wanted {
            Wanted::Nothing => return Some(Prepared::Records(Records::default(), Records::default())),
            Wanted::Srv => return Some(Prepared::Composed),
            _ if *counts == ALIASES => return Some(Prepared::Composed),
            Wanted::A => (0, a, A_OCTETS),
            Wanted::Aaaa => (usize::from(a) * A_OCTETS, aaaa, AAAA_OCTETS),
        };
        let octets = rest.get(skipped..skipped + usize::from(count) * record_octets)?;
        Some(Prepared::Records(Records { octets, count }, Records::default()))
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
    /// Writes a set's description at a place that was kept free for it; where the next one goes.
    fn describe(&mut self, at: usize, port: &[u8], protocol: &[u8], answers: &SetAnswers) -> usize {
        let SetAnswers { has_aliases, a, aaaa, srv, glue } = answers;
        let mut set = vec![port.len() as u8, protocol.len() as u8, u8::from(*has_aliases)];
        set.extend_from_slice(port);
        set.extend_from_slice(protocol);
        for span in [a, aaaa, srv, glue] {
            set.extend_from_slice(&span.at.to_be_bytes());
            set.extend_from_slice(&span.octets.to_be_bytes());
            set.extend_from_slice(&span.count.to_be_bytes());
        }
        let end = at + set.len();
        if let Some(place) = self.octets.get_mut(at..end) {
            place.copy_from_slice(&set);
        }
        end
    }

    /// Encodes the endpoints, and fills the table by which they are found.
    fn endpoints(&mut self, records: &ServiceRecords, table_at: usize, places: usize) {
        for (index, label) in records.endpoints.labels.iter().enumerate() {
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
            let mut place = hash as usize & (places - 1);
            let free = loop {
                let at = table_at + place * PLACE_OCTETS;
                match self.octets.get(at + 4..at + PLACE_OCTETS) {
                    Some([0, 0, 0, 0]) => break at,
                    Some(_) => place = (place + 1) & (places - 1),
                    None => return,
                }
            };
            self.octets[free..free + 4].copy_from_slice(&hash.to_be_bytes());
            self.octets[free + 4..free + PLACE_OCTETS].copy_from_slice(&at.to_be_bytes());
        }
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
