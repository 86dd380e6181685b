//! The fast path: answers that were encoded when the zone changed.
//!
//! What is here and what [`kubernetes`](super::kubernetes) composes are the same records for the same question; a
//! property test and a fuzz target hold that. What is not here is composed: the names above Services, pods' addresses,
//! aliases, and types that only the zone itself has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::folded::Folded;
use super::kubernetes::{Asked, Verdict};
use super::locate::stripped;
use super::message::{Message, Owner, Section};
use super::query::{bits, parse_record, rtype};
use super::rcode::Rcode;
use crate::zone::faults::any_planted;
use crate::zone::name_servers;
use crate::zone::prepared::{Prepared, Records, Wanted};
use crate::zone::records::Below;

/// Labels of a name that exists below its zone, at most and at least: `port.protocol.service.namespace.svc`, and
/// without the first two.
const LABELS_MAX: usize = 5;
const LABELS_MIN: usize = 3;

/// Answers a question if its answer is prepared; otherwise nothing is written, and it is to be composed.
///
/// `turn` is where the addresses of a set begin, for those who want them to rotate.
pub(super) fn answer(
    asked: &Asked<'_>,
    name: &Folded,
    turn: Option<u32>,
    message: &mut Message<'_>,
) -> Option<Verdict> {
    if any_planted() || !asked.content.is_synced() {
        return None;
    }
    if asked.zone.is_reverse() {
        return pointers(asked, name, message);
    }
    let wanted = match asked.question.qtype {
        rtype::A => Wanted::A,
        rtype::AAAA => Wanted::Aaaa,
        rtype::SRV => Wanted::Srv,
        rtype::NS | rtype::CNAME | rtype::SOA | rtype::PTR | rtype::TXT | rtype::AXFR | rtype::IXFR => return None,
        _ => Wanted::Nothing,
    };
    let (prepared, service_at) = match Place::of(name, asked.zone_at)? {
        Place::Missing => (Prepared::Missing, 0),
        Place::Below { key, key_at, below } => {
            let service = asked.content.service(key);
            (service.map_or(Prepared::Missing, |service| service.answers.find(below, wanted)), key_at)
        }
    };
    match prepared {
        Prepared::Composed => return None,
        Prepared::Missing if asked.view.options().passes_on(asked.name) => return None,
        Prepared::Missing => return Some(Verdict::Answered(asked.deny(message, Rcode::NXDOMAIN))),
        Prepared::Records(records, _) if records.count == 0 => {
            return Some(Verdict::Answered(asked.deny(message, Rcode::NOERROR)));
        }
        Prepared::Records(records, glue) if wanted == Wanted::Srv => {
            message.whole(Section::Answer, records);
            for glue in turned(glue, turn) {
                message.glue(glue, service_at);
            }
        }
        Prepared::Records(records, _) => {
            for records in turned(records, turn) {
                message.whole(Section::Answer, records);
            }
        }
    }
    message.set(bits::AA);
    Some(Verdict::Answered(Rcode::NOERROR))
}

/// Records in two parts, the first beginning at a turn.
fn turned(records: Records<'_>, turn: Option<u32>) -> [Records<'_>; 2] {
    let count = turn.and_then(|turn| turn.checked_rem(records.count.into())).unwrap_or(0) as u16;
    let mut at = 0;
    for _ in 0..count {
        at = parse_record(records.octets, at).map_or(at, |record| record.end);
    }
    let (last, first) = records.octets.split_at_checked(at).unwrap_or((&[], records.octets));
    [Records { octets: first, count: records.count - count }, Records { octets: last, count }]
}

/// Where a name leads.
enum Place<'n> {
    /// To nothing, whatever the cluster holds.
    Missing,
    /// To a Service, or below it: the labels of Service and namespace, and where they begin in the name.
    Below { key: &'n [u8], key_at: usize, below: Below<'n> },
}

impl<'n> Place<'n> {
    /// Reads the labels of a name before its zone; `None` for names that are composed.
    fn of(name: &'n Folded, zone_at: usize) -> Option<Self> {
        let wire = name.as_wire();
        let starts = name.starts();
        let count = starts.iter().rposition(|start| usize::from(*start) < zone_at)? + 1;
        let start = |back: usize| starts.get(count - back).map(|start| usize::from(*start));
        let last = start(1)?;
        match wire.get(last..zone_at)? {
            b"\x03svc" => {}
            b"\x03pod" => return None,
            b"\x03dns" if wire.get(..zone_at)? == name_servers::DEFAULT => return None,
            _ => return Some(Self::Missing),
        }
        if count > LABELS_MAX {
            return Some(Self::Missing);
        }
        if count < LABELS_MIN {
            return None;
        }
        let label = |back: usize| {
            let at = start(back)?;
            wire.get(at + 1..at + 1 + usize::from(*wire.get(at)?))
        };
        let key_at = start(3)?;
        let key = wire.get(key_at..last)?;
        let below = match count {
            3 => Below::Service,
            4 => Below::Endpoint(label(4)?),
            _ => match (stripped(label(5)?), stripped(label(4)?)) {
                (Some(port), Some(protocol)) => Below::Port { port, protocol },
                _ => return Some(Self::Missing),
            },
        };
        Some(Self::Below { key, key_at, below })
    }
}

/// PTR of an address. Other questions of reverse zones are composed.
fn pointers(asked: &Asked<'_>, name: &Folded, message: &mut Message<'_>) -> Option<Verdict> {
    if asked.question.qtype != rtype::PTR {
        return None;
    }
    let names = asked.content.pointers(address_of(name)?);
    if names.is_empty() {
        let is_passed_on = asked.view.options().passes_on(asked.name);
        return (!is_passed_on).then(|| Verdict::Answered(asked.deny(message, Rcode::NXDOMAIN)));
    }
    let options = asked.view.options();
    for labels in names {
        message.record(Section::Answer, Owner::QUESTION, rtype::PTR, options.ttl_secs, |message| {
            message.octets(labels.as_wire());
            message.octets(options.primary.as_wire());
        });
    }
    message.set(bits::AA);
    Some(Verdict::Answered(Rcode::NOERROR))
}

/// The address that a name of the reverse trees spells in its plain form: four numbers, or 32 nibbles. `None` for all
/// else, which may be an address nonetheless.
fn address_of(name: &Folded) -> Option<IpAddr> {
    let wire = name.as_wire();
    let label = |index: usize| {
        let at = usize::from(*name.starts().get(index)?);
        wire.get(at + 1..at + 1 + usize::from(*wire.get(at)?))
    };
    if name.starts().len() == 4 + 2 && wire.ends_with(b"\x07in-addr\x04arpa\0") {
        let mut octets = [0; 4];
        for (index, octet) in octets.iter_mut().rev().enumerate() {
            let text = label(index)?;
            // Numbers have no leading zeros.
            if text.first() == Some(&b'0') && text.len() > 1 || !text.iter().all(u8::is_ascii_digit) {
                return None;
            }
            *octet = std::str::from_utf8(text).ok()?.parse().ok()?;
        }
        return Some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    if name.starts().len() != 32 + 2 || !wire.ends_with(b"\x03ip6\x04arpa\0") {
        return None;
    }
    let mut address = 0;
    for index in (0..32).rev() {
        let [digit] = label(index)? else { return None };
        address = address << 4 | u128::from(char::from(*digit).to_digit(16)?);
    }
    // An IPv4 address in IPv6's clothes is left to whoever composes.
    let address = Ipv6Addr::from(address);
    address.to_ipv4_mapped().is_none().then_some(IpAddr::V6(address))
}
