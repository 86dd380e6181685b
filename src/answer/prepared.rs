//! The fast path: answers that were encoded when the zone changed.
//!
//! What is here and what [`kubernetes`](super::kubernetes) composes are the same records for the same question; a
//! property test and a fuzz target hold that. What is not here is composed: the names above Services, pods' addresses,
//! aliases, and types that only the zone itself has.

use super::folded::Folded;
use super::kubernetes::{Asked, Verdict, zone_of};
use super::locate::{reverse_address, stripped};
use super::message::{Message, Owner, Section};
use super::query::{Question, bits, parse_record, rtype};
use super::rcode::Rcode;
use crate::zone::faults::any_planted;
use crate::zone::name::NAME_OCTETS_MAX;
use crate::zone::prepared::{Prepared, Records, Wanted};
use crate::zone::records::Below;
use crate::zone::shards::keyed_hash;
use crate::zone::{Name, Snapshot, View, name_servers};

/// Labels of a name that exists below its zone, at most and at least: `port.protocol.service.namespace.svc`, and
/// without the first two.
const LABELS_MAX: usize = 5;
const LABELS_MIN: usize = 3;

/// Where in a view a name leads: found once, and used by all passes over a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'v> {
    zone: &'v Name,
    zone_at: usize,
    place: Place,
}

/// Where a name leads.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// To nothing, whatever the cluster holds.
    Missing,
    /// To a Service, or below it: where the labels of Service and namespace begin and end in the name, their keyed hash,
    /// and how many labels the name has before its zone.
    Service { key_at: usize, key_end: usize, hash: u32, labels: usize },
    /// To an address, perhaps.
    Reverse,
    /// Elsewhere: what stands there is composed.
    Composed,
}

impl<'v> Spot<'v> {
    /// Finds a name; `None` if it is in none of the view's zones.
    pub(super) fn find(view: &'v View, name: &Folded) -> Option<Self> {
        let (zone, zone_at) = zone_of(view, name)?;
        let place =
            if zone.is_reverse() { Place::Reverse } else { Place::of(name, zone_at).unwrap_or(Place::Composed) };
        Some(Self { zone, zone_at, place })
    }

    /// The keyed hash of the Service that will be looked up.
    pub(super) fn hash(&self) -> Option<u32> {
        match self.place {
            Place::Service { hash, .. } => Some(hash),
            _ => None,
        }
    }
}

/// Answers a question if its answer is prepared; otherwise nothing is written, and it is to be composed.
///
/// `turn` is where the addresses of a set begin, for those who want them to rotate.
pub(super) fn answer(
    view: &View,
    content: &Snapshot,
    spot: &Spot<'_>,
    question: &Question<'_>,
    name: &Folded,
    turn: Option<u32>,
    message: &mut Message<'_>,
) -> Option<Verdict> {
    if any_planted() || !content.is_synced() {
        return None;
    }
    let Spot { zone, zone_at, place } = *spot;
    let asked = &Asked { view, content, zone, zone_at, question, name: name.as_wire() };
    let wanted = match question.qtype {
        rtype::A => Wanted::A,
        rtype::AAAA => Wanted::Aaaa,
        // Targets are encoded in the primary zone.
        rtype::SRV if *zone != view.options().primary => return None,
        rtype::SRV => Wanted::Srv,
        rtype::PTR if matches!(place, Place::Reverse) => return pointers(asked, name, message),
        rtype::NS | rtype::CNAME | rtype::SOA | rtype::PTR | rtype::TXT | rtype::AXFR | rtype::IXFR => return None,
        _ => Wanted::Nothing,
    };
    let (prepared, service_at) = match place {
        Place::Composed | Place::Reverse => return None,
        Place::Missing => (Prepared::Missing, 0),
        Place::Service { key_at, key_end, hash, labels } => {
            let service = content.service_hashed(hash, asked.name.get(key_at..key_end)?);
            let prepared = match (service, below(name, labels)?) {
                (Some(service), Some(below)) => service.answers.find(below, wanted),
                _ => Prepared::Missing,
            };
            (prepared, key_at)
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

impl Place {
    /// Reads the labels of a name before its zone; `None` for names that are composed.
    fn of(name: &Folded, zone_at: usize) -> Option<Self> {
        let wire = name.as_wire();
        let starts = name.starts();
        let labels = starts.iter().rposition(|start| usize::from(*start) < zone_at)? + 1;
        let start = |back: usize| starts.get(labels - back).map(|start| usize::from(*start));
        let last = start(1)?;
        match wire.get(last..zone_at)? {
            b"\x03svc" => {}
            b"\x03pod" => return None,
            b"\x03dns" if wire.get(..zone_at)? == name_servers::DEFAULT => return None,
            _ => return Some(Self::Missing),
        }
        if labels > LABELS_MAX {
            return Some(Self::Missing);
        }
        if labels < LABELS_MIN {
            return None;
        }
        let key_at = start(3)?;
        let hash = keyed_hash(wire.get(key_at..last)?);
        Some(Self::Service { key_at, key_end: last, hash, labels })
    }
}

/// What stands before Service and namespace in a name of so many labels before its zone; `Some(None)` if there is no such
/// name.
fn below(name: &Folded, labels: usize) -> Option<Option<Below<'_>>> {
    Some(match labels {
        3 => Some(Below::Service),
        4 => Some(Below::Endpoint(name.label(0)?)),
        _ => match (stripped(name.label(0)?), stripped(name.label(1)?)) {
            (Some(port), Some(protocol)) => Some(Below::Port { port, protocol }),
            _ => None,
        },
    })
}

/// PTR of an address.
fn pointers(asked: &Asked<'_>, name: &Folded, message: &mut Message<'_>) -> Option<Verdict> {
    let names = asked.content.pointers(reverse_address(name)?);
    if names.is_empty() {
        let is_passed_on = asked.view.options().passes_on(asked.name);
        return (!is_passed_on).then(|| Verdict::Answered(asked.deny(message, Rcode::NXDOMAIN)));
    }
    let options = asked.view.options();
    // A name that is too long is none, see Name::join.
    let room = NAME_OCTETS_MAX - options.primary.as_wire().len();
    for labels in names.iter().filter(|labels| labels.as_wire().len() <= room) {
        message.record(Section::Answer, Owner::QUESTION, rtype::PTR, options.ttl_secs, |message| {
            message.octets(labels.as_wire());
            message.octets(options.primary.as_wire());
        });
    }
    message.set(bits::AA);
    Some(Verdict::Answered(Rcode::NOERROR))
}
