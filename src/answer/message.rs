//! Writing a response: header, question, records, and the cut where they do not fit.

use std::collections::HashMap;
use std::net::IpAddr;

use super::query::{CLASS_IN, HEADER_OCTETS, Query, bits, opcode, rtype};
use super::rcode::Rcode;

/// Offsets over this cannot be pointed to (RFC 1035 section 4.1.4).
pub(super) const POINTER_MAX: usize = 0x3fff;
/// The two bits that make a pointer of an offset.
const POINTER: u16 = 0xc000;

/// The sections that records stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Answers.
    Answer,
    /// Authority.
    Authority,
    /// Additional.
    Additional,
}

/// A response in the making. `out` is the caller's: it is cleared, and holds the message at the end.
#[derive(Debug)]
pub(super) struct Message<'o> {
    out: &'o mut Vec<u8>,
    limit: usize,
    flags: u16,
    counts: [u16; 3],
    full: bool,
    /// The class of records.
    class: u16,
    /// Whether additional records are left out (`minimal`).
    is_minimal: bool,
    suffixes: Option<HashMap<Vec<u8>, u16>>,
    question: (usize, usize),
}

impl<'o> Message<'o> {
    /// Begins the response to a query; records are cut off at `limit` octets.
    pub(super) fn reply(out: &'o mut Vec<u8>, query: &Query<'_>, limit: usize) -> Self {
        out.clear();
        out.extend_from_slice(&query.id.to_be_bytes());
        out.extend_from_slice(&[0; 10]);
        // RD and CD are given back, by a query alone (RFC 1035 section 4.1.1, RFC 4035 section 3.2.2).
        let copied = if query.opcode() == opcode::QUERY { bits::RD | bits::CD } else { 0 };
        let flags = bits::QR | query.flags & (bits::OPCODE | copied);
        let mut question = (HEADER_OCTETS, 0);
        if let Some(asked) = &query.question {
            out.extend_from_slice(asked.raw);
            // A question cut short is given back with the zeros that it was read as.
            out.resize(HEADER_OCTETS + asked.name.len() + 4, 0);
            if let Some(count) = out.get_mut(5) {
                *count = 1;
            }
            question.1 = asked.name.len();
        }
        Self {
            out,
            limit,
            flags,
            counts: [0; 3],
            full: false,
            class: CLASS_IN,
            is_minimal: false,
            suffixes: None,
            question,
        }
    }

    /// Gives records another class than IN.
    pub(super) fn with_class(self, class: u16) -> Self {
        Self { class, ..self }
    }

    /// Leaves additional records out, but for EDNS.
    pub(super) fn minimal(self, is_minimal: bool) -> Self {
        Self { is_minimal, ..self }
    }

    /// Sets header bits.
    pub(super) fn set(&mut self, bits: u16) {
        self.flags |= bits;
    }

    /// Writes a record; `false`, and nothing written but the TC bit, if it does not fit. Then none after it is
    /// written either (RFC 2181 section 9).
    pub(super) fn record(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: u16,
        ttl_secs: u32,
        rdata: impl FnOnce(&mut Self),
    ) -> bool {
        if self.is_minimal && section == Section::Additional {
            return true;
        }
        if self.full {
            return false;
        }
        let start = self.out.len();
        match owner {
            Owner::At(offset) => self.name_below(&[], offset),
            Owner::Below(labels, offset) => self.name_below(labels, offset),
            Owner::Name(name) => self.name(name),
        }
        self.out.extend_from_slice(&rtype.to_be_bytes());
        self.out.extend_from_slice(&self.class.to_be_bytes());
        self.out.extend_from_slice(&ttl_secs.to_be_bytes());
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        rdata(self);
        let octets = self.out.len() - length_at - 2;
        if self.out.len() > self.limit {
            self.out.truncate(start);
            self.cut();
            return false;
        }
        let octets = u16::try_from(octets).unwrap_or(u16::MAX).to_be_bytes();
        if let Some(length) = self.out.get_mut(length_at..length_at + 2) {
            length.copy_from_slice(&octets);
        }
        self.counts[section as usize] += 1;
        true
    }

    /// How many octets there are so far.
    pub(super) fn octets_so_far(&self) -> usize {
        self.out.len()
    }

    /// How many address records of the question's name it has room for.
    pub(super) fn room_for(&self, family: Family) -> usize {
        self.limit.saturating_sub(self.out.len()) / (HEAD_OCTETS + family.octets())
    }

    /// Writes address records of the question's name: addresses of one family, one after the other in as many octets as
    /// the family's have. Those before the first come last.
    pub(super) fn addresses(&mut self, ttl_secs: u32, family: Family, addresses: &[u8], first: usize) {
        let octets = family.octets();
        let count = addresses.len() / octets;
        if self.full || count == 0 {
            return;
        }
        let head = Head::new(POINTER | HEADER_OCTETS as u16, family.rtype(), ttl_secs, octets as u16);
        let room = self.room_for(family);
        let (last, first) = addresses.split_at((first % count) * octets);
        for address in first.chunks_exact(octets).chain(last.chunks_exact(octets)).take(room) {
            self.out.extend_from_slice(&head.0);
            self.out.extend_from_slice(address);
        }
        self.counts[Section::Answer as usize] += count.min(room) as u16;
        if count > room {
            self.cut();
        }
    }

    /// Writes an SRV record of the question's name, of priority 0, with the parts of its target; `false`, as
    /// [`Self::record`], if it does not fit.
    pub(super) fn srv(&mut self, ttl_secs: u32, weight: u16, port: u16, target: &[&[u8]]) -> bool {
        let octets = SRV_HEAD_OCTETS + target.iter().map(|part| part.len()).sum::<usize>();
        if self.full || self.out.len() + octets > self.limit {
            self.cut();
            return false;
        }
        let rdata = (octets - HEAD_OCTETS) as u16;
        self.out.extend_from_slice(&Head::new(POINTER | HEADER_OCTETS as u16, rtype::SRV, ttl_secs, rdata).0);
        let [w0, w1] = weight.to_be_bytes();
        let [p0, p1] = port.to_be_bytes();
        self.out.extend_from_slice(&[0, 0, w0, w1, p0, p1]);
        target.iter().for_each(|part| self.out.extend_from_slice(part));
        self.counts[Section::Answer as usize] += 1;
        true
    }

    /// Writes address records of a target: its name stands at an offset of the message, or is a label before what stands
    /// there. `false` if not all of them fit.
    pub(super) fn glue(&mut self, ttl_secs: u32, family: Family, owner: (&[u8], u16), addresses: &[u8]) -> bool {
        if self.is_minimal {
            return true;
        }
        let octets = family.octets();
        let head = Head::new(POINTER | owner.1, family.rtype(), ttl_secs, octets as u16);
        for address in addresses.chunks_exact(octets) {
            if self.full || self.out.len() + owner.0.len() + head.0.len() + octets > self.limit {
                self.cut();
                return false;
            }
            self.out.extend_from_slice(owner.0);
            self.out.extend_from_slice(&head.0);
            self.out.extend_from_slice(address);
            self.counts[Section::Additional as usize] += 1;
        }
        true
    }

    /// Nothing fits any more.
    fn cut(&mut self) {
        self.full = true;
        self.flags |= bits::TC;
    }

    /// Writes an address record.
    pub(super) fn address(&mut self, section: Section, owner: Owner<'_>, ttl_secs: u32, address: IpAddr) -> bool {
        let rtype = address_type(address);
        self.record(section, owner, rtype, ttl_secs, |message| match address {
            IpAddr::V4(address) => message.octets(&address.octets()),
            IpAddr::V6(address) => message.octets(&address.octets()),
        })
    }

    /// Writes octets as they are.
    pub(super) fn octets(&mut self, octets: &[u8]) {
        self.out.extend_from_slice(octets);
    }

    /// Writes labels and then, by a pointer, the name that stands at an offset of the message.
    pub(super) fn name_below(&mut self, labels: &[u8], offset: u16) {
        self.out.extend_from_slice(labels);
        self.out.extend_from_slice(&(POINTER | offset).to_be_bytes());
    }

    /// Writes a name in wire form, compressed against the question and what this function wrote before, letter case
    /// counting.
    pub(super) fn name(&mut self, name: &[u8]) {
        let (start, octets) = self.question;
        let out = &*self.out;
        let seen = self.suffixes.get_or_insert_with(|| {
            let mut seen = HashMap::new();
            if let Some(asked) = out.get(start..start + octets) {
                remember(&mut seen, asked, start);
            }
            seen
        });
        let known = crate::zone::name::suffixes(name).find_map(|at| Some((at, *seen.get(&name[at..])?)));
        let here = self.out.len();
        match known {
            Some((at, offset)) if at + 1 < name.len() => {
                remember_until(seen, name, here, at);
                self.out.extend_from_slice(&name[..at]);
                self.out.extend_from_slice(&(POINTER | offset).to_be_bytes());
            }
            _ => {
                remember(seen, name, here);
                self.out.extend_from_slice(name);
            }
        }
    }

    /// Where the next octet goes, if that can be pointed to.
    pub(super) fn position(&self) -> Option<u16> {
        u16::try_from(self.out.len()).ok().filter(|at| usize::from(*at) <= POINTER_MAX)
    }

    /// Ends the response: `opt` writes the OPT record, for which the limit left room.
    pub(super) fn finish(self, rcode: Rcode, opt: Option<impl FnOnce(&mut Vec<u8>)>) -> u16 {
        let mut counts = self.counts;
        if let Some(opt) = opt {
            opt(self.out);
            counts[Section::Additional as usize] += 1;
        }
        let flags = self.flags | rcode.0 & 0xf;
        if let Some(header) = self.out.first_chunk_mut::<HEADER_OCTETS>() {
            header[2..4].copy_from_slice(&flags.to_be_bytes());
            for (at, count) in [6, 8, 10].into_iter().zip(counts) {
                header[at..at + 2].copy_from_slice(&count.to_be_bytes());
            }
        }
        flags
    }
}

/// Octets of a record whose owner is a pointer, before its data, and of an SRV record before its target.
const HEAD_OCTETS: usize = 12;
pub(super) const SRV_HEAD_OCTETS: usize = HEAD_OCTETS + 6;

/// A record whose owner is a pointer, up to its data.
struct Head([u8; HEAD_OCTETS]);

impl Head {
    fn new(owner: u16, rtype: u16, ttl_secs: u32, rdata_octets: u16) -> Self {
        let ([o0, o1], [t0, t1], [c0, c1]) = (owner.to_be_bytes(), rtype.to_be_bytes(), CLASS_IN.to_be_bytes());
        let ([s0, s1, s2, s3], [l0, l1]) = (ttl_secs.to_be_bytes(), rdata_octets.to_be_bytes());
        Self([o0, o1, t0, t1, c0, c1, s0, s1, s2, s3, l0, l1])
    }
}

/// The families of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Octets of an address.
    pub(super) fn octets(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    fn rtype(self) -> u16 {
        match self {
            Self::V4 => rtype::A,
            Self::V6 => rtype::AAAA,
        }
    }
}

/// How a record's owner is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner<'a> {
    /// The name at this offset of the message.
    At(u16),
    /// These labels, then the name at this offset.
    Below(&'a [u8], u16),
    /// This name.
    Name(&'a [u8]),
}

impl Owner<'_> {
    /// The question's name.
    pub(super) const QUESTION: Self = Self::At(HEADER_OCTETS as u16);
}

/// The type of an address's record.
pub(super) fn address_type(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => rtype::A,
        IpAddr::V6(_) => rtype::AAAA,
    }
}

fn remember(seen: &mut HashMap<Vec<u8>, u16>, name: &[u8], at: usize) {
    remember_until(seen, name, at, name.len().saturating_sub(1));
}

/// Remembers the suffixes of a name that begin before `end`, which is written at `at`.
fn remember_until(seen: &mut HashMap<Vec<u8>, u16>, name: &[u8], at: usize, end: usize) {
    for suffix in crate::zone::name::suffixes(name).take_while(|suffix| *suffix < end) {
        if let Some(offset) = u16::try_from(at + suffix).ok().filter(|offset| usize::from(*offset) <= POINTER_MAX) {
            seen.entry(name[suffix..].to_vec()).or_insert(offset);
        }
    }
}
