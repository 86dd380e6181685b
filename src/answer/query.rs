//! Reading a query (RFC 1035 section 4), as leniently as CoreDNS's library does where clients could notice.

use super::edns::Edns;
use super::rcode::Rcode;
use crate::zone::name::NAME_OCTETS_MAX;

/// Octets of a message's header.
pub const HEADER_OCTETS: usize = 12;

/// Header bits (RFC 1035 section 4.1.1, RFC 4035 section 3.2).
pub mod bits {
    /// It is a response.
    pub const QR: u16 = 0x8000;
    /// The opcode's four bits.
    pub const OPCODE: u16 = 0x7800;
    /// The answer is authoritative.
    pub const AA: u16 = 0x0400;
    /// The answer is cut.
    pub const TC: u16 = 0x0200;
    /// Recursion is desired.
    pub const RD: u16 = 0x0100;
    /// Recursion is available.
    pub const RA: u16 = 0x0080;
    /// Authentic data.
    pub const AD: u16 = 0x0020;
    /// Checking disabled.
    pub const CD: u16 = 0x0010;
}

/// Opcodes that are looked at (RFC 1035 section 4.1.1, RFC 1996).
pub mod opcode {
    /// A standard query.
    pub const QUERY: u16 = 0;
    /// A zone has changed; answered like a query, as CoreDNS does.
    pub const NOTIFY: u16 = 4;
    /// An update (RFC 2136), which is refused.
    pub const UPDATE: u16 = 5;
}

/// Record types that the answers name (IANA "Resource Record (RR) TYPEs").
#[allow(missing_docs)]
pub mod rtype {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const HINFO: u16 = 13;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const OPT: u16 = 41;
    pub const DS: u16 = 43;
    pub const TSIG: u16 = 250;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
}

/// Class IN.
pub const CLASS_IN: u16 = 1;

/// A query whose form is sound.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// ID, to be given back.
    pub id: u16,
    /// The header's second word.
    pub flags: u16,
    /// The question; a message that ends after its header has none, whatever it counts.
    pub question: Option<Question<'a>>,
    /// EDNS, if the client speaks it.
    pub edns: Option<Edns<'a>>,
    /// Where its signature begins, if its last record is one (RFC 8945 section 5.1).
    pub tsig_at: Option<usize>,
    /// Octets of the message.
    pub octets: usize,
}

/// The question.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The question's octets as they came, to be given back letter for letter.
    pub raw: &'a [u8],
    /// The name's octets as they came, the root's included.
    pub name: &'a [u8],
    /// QTYPE.
    pub qtype: u16,
    /// QCLASS.
    pub qclass: u16,
}

/// What a packet is.
#[derive(Clone, Debug)]
pub enum Parsed<'a> {
    /// Not to be answered: a response, or less than a header. Any reply to such could be turned on others.
    Ignored,
    /// To be refused: what can be said of it, and why.
    Rejected(Query<'a>, Rcode),
    /// A query.
    Query(Query<'a>),
}

/// Reads a packet.
pub fn parse(packet: &[u8]) -> Parsed<'_> {
    let Some(header) = packet.first_chunk::<HEADER_OCTETS>() else { return Parsed::Ignored };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let flags = word(2);
    if flags & bits::QR != 0 {
        return Parsed::Ignored;
    }
    let mut query = Query { id: word(0), flags, question: None, edns: None, tsig_at: None, octets: packet.len() };
    let (questions, answers, authority, additional) = (word(4), word(6), word(8), word(10));
    if !matches!(query.opcode(), opcode::QUERY | opcode::NOTIFY) {
        return Parsed::Rejected(query, Rcode::NOTIMP);
    }
    // A NOTIFY may carry a SOA as an answer (RFC 1996 section 3.7), an IXFR one as authority (RFC 1995 section 3), and
    // OPT and TSIG stand in the additional section.
    if questions != 1 || answers > 1 || authority > 1 || additional > 2 {
        return Parsed::Rejected(query, Rcode::FORMERR);
    }
    if packet.len() == HEADER_OCTETS {
        return Parsed::Query(query);
    }
    let Some((question, mut at)) = parse_question(packet, HEADER_OCTETS) else {
        return Parsed::Rejected(query, Rcode::FORMERR);
    };
    query.question = Some(question);
    let records = answers + authority + additional;
    for index in 0..records {
        if at == packet.len() {
            break; // The counts promise more than there is; what there is is sound.
        }
        let Some(record) = parse_record(packet, at) else { return Parsed::Rejected(query, Rcode::FORMERR) };
        if record.rtype == rtype::TSIG && index + 1 == records && additional > 0 {
            query.tsig_at = Some(at);
        }
        at = record.end;
        if record.rtype == rtype::OPT && index >= answers + authority {
            let Some(edns) = Edns::parse(record.class, record.ttl, record.rdata, record.class_at) else {
                return Parsed::Rejected(query, Rcode::FORMERR);
            };
            query.edns = Some(edns);
        }
    }
    Parsed::Query(query)
}

impl Query<'_> {
    /// The opcode.
    pub fn opcode(&self) -> u16 {
        (self.flags & bits::OPCODE) >> 11
    }
}

/// The serial that an IXFR query says the client has: that of the SOA in its authority section (RFC 1995 section 3).
pub fn ixfr_serial(packet: &[u8]) -> Option<u32> {
    let header = packet.first_chunk::<HEADER_OCTETS>()?;
    if header[4..10] != [0, 1, 0, 0, 0, 1] {
        return None;
    }
    let at = skip_question(packet, HEADER_OCTETS)?;
    let record = parse_record(packet, at).filter(|record| record.rtype == rtype::SOA && record.class == CLASS_IN)?;
    let rdata_at = record.end - record.rdata.len();
    let serial_at = skip_name(packet, skip_name(packet, rdata_at)?)?;
    let serial = packet.get(serial_at..record.end).filter(|times| times.len() == 20)?.first_chunk()?;
    Some(u32::from_be_bytes(*serial))
}

/// Where the questions of a response end; it may have none.
pub fn reply_question_end(reply: &[u8]) -> Option<usize> {
    let questions = u16::from_be_bytes(*reply.get(4..)?.first_chunk()?);
    (0..questions).try_fold(HEADER_OCTETS, |at, _| skip_question(reply, at))
}

/// Where the last record of a response begins, if it has any.
pub fn last_record_at(reply: &[u8]) -> Option<usize> {
    let count = |at: usize| Some(usize::from(u16::from_be_bytes(*reply.get(at..)?.first_chunk()?)));
    let records = count(6)? + count(8)? + count(10)?;
    let mut at = reply_question_end(reply)?;
    for _ in 0..records.checked_sub(1)? {
        at = parse_record(reply, at)?.end;
    }
    Some(at)
}

fn parse_question(packet: &[u8], start: usize) -> Option<(Question<'_>, usize)> {
    let mut at = start;
    loop {
        let length = usize::from(*packet.get(at)?);
        // A pointer in the first name of a message points to no name.
        if length > 63 {
            return None;
        }
        at += 1 + length;
        if at - start > NAME_OCTETS_MAX {
            return None;
        }
        if length == 0 {
            break;
        }
    }
    let name = packet.get(start..at)?;
    // A message that ends early has type and class 0, which no zone serves.
    let mut word = || {
        if at == packet.len() {
            return Some(0);
        }
        let word = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
        at += 2;
        Some(word)
    };
    let (qtype, qclass) = (word()?, word()?);
    let raw = packet.get(start..at)?;
    Some((Question { raw, name, qtype, qclass }, at))
}

/// A record of any section, its names not read.
pub struct RawRecord<'a> {
    /// Its type.
    pub rtype: u16,
    /// Its class; the payload size of an OPT record.
    pub class: u16,
    /// Where the class stands.
    pub class_at: usize,
    /// Its TTL in seconds; the flags of an OPT record.
    pub ttl: u32,
    /// Its data.
    pub rdata: &'a [u8],
    /// Where the next begins.
    pub end: usize,
}

/// Where a name that may end in a pointer ends.
pub(super) fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            192..=255 => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Where the question that begins at `at` ends; `None` if it is not whole.
pub fn skip_question(packet: &[u8], at: usize) -> Option<usize> {
    let end = skip_name(packet, at)? + 4;
    (end <= packet.len()).then_some(end)
}

/// Reads the record that begins at `start`; `None` if it is not whole.
pub fn parse_record(packet: &[u8], start: usize) -> Option<RawRecord<'_>> {
    let at = skip_name(packet, start)?;
    let fixed = packet.get(at..)?.first_chunk::<10>()?;
    let octets = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
    let rdata = packet.get(at + 10..at + 10 + octets)?;
    Some(RawRecord {
        rtype: u16::from_be_bytes([fixed[0], fixed[1]]),
        class: u16::from_be_bytes([fixed[2], fixed[3]]),
        class_at: at + 2,
        ttl: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        rdata,
        end: at + 10 + octets,
    })
}
