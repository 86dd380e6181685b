//! The fast path: answers that are written straight from what is packed.
//!
//! What is here and what [`kubernetes`](super::kubernetes) composes are the same records for the same question; a
//! property test and a fuzz target hold that. What is not here is composed: the names above Services, pods' addresses,
//! aliases, endpoints that several slices hold, and types that only the zone itself has.

use super::fall::Fall;
use super::folded::Folded;
use super::kubernetes::{Asked, Verdict};
use super::locate::{reverse_address, two_labels};
use super::message::{Family, Message, Owner, Section};
use super::query::{Question, bits, rtype};
use super::rcode::Rcode;
use super::service::{Found, Wanted, Writer};
use crate::zone::faults::any_planted;
use crate::zone::name::NAME_OCTETS_MAX;
use crate::zone::shards::keyed_hash;
use crate::zone::{Below, Service, Snapshot, View, name_servers};

/// Labels of a name that exists below its zone: at most, but for pods with dots in their names,
/// `port.protocol.service.namespace.svc`, and at least those without the first two.
const LABELS_MAX: usize = 5;
const LABELS_MIN: usize = 3;

/// Where in a view a name leads: found once, and used by all passes over a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'v> {
    fall: Fall<'v>,
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
    /// Finds a name that falls into a zone.
    pub(super) fn find(fall: Fall<'v>, name: &Folded) -> Self {
        if fall.zone.is_reverse() {
            return Self { fall, place: Place::Reverse };
        }
        let place = match Place::of(name, fall.zone_at) {
            // Names of topology zones are longer than others that exist.
            Some(Place::Service { labels, .. }) if labels > LABELS_MAX && fall.view.options().zonal => Place::Composed,
            Some(place) => place,
            None => Place::Composed,
        };
        Self { fall, place }
    }

    /// Where it falls.
    pub(super) fn fall(&self) -> Fall<'v> {
        self.fall
    }

    /// The keyed hash of the Service that will be looked up.
    pub(super) fn hash(&self) -> Option<u32> {
        match self.place {
            Place::Service { hash, .. } => Some(hash),
            _ => None,
        }
    }
}

/// Answers a question if what it asks for is packed; otherwise nothing is written, and it is to be composed.
///
/// `turn` is where the addresses of a set begin, for those who want them to rotate.
pub(super) fn answer(
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
    let Spot { fall: Fall { view, zone, zone_at }, place } = *spot;
    let asked = &Asked { view, content, zone, zone_at, question, name: name.as_wire() };
    let wanted = match question.qtype {
        rtype::A => Wanted::Addresses(Family::V4),
        rtype::AAAA => Wanted::Addresses(Family::V6),
        rtype::SRV => Wanted::Srv,
        rtype::PTR if matches!(place, Place::Reverse) => return pointers(asked, name, message),
        rtype::NS | rtype::CNAME | rtype::SOA | rtype::PTR | rtype::TXT | rtype::AXFR | rtype::IXFR => return None,
        _ => Wanted::Nothing,
    };
    let found = match place {
        Place::Composed | Place::Reverse => return None,
        Place::Missing => Found::Missing,
        Place::Service { key_at, key_end, hash, labels } => {
            let service = content.service_hashed(hash, asked.name.get(key_at..key_end)?);
            let below = |service| below(view, service, asked.name, name, labels, key_at);
            match service.map(|service| Some((service, below(service)?))) {
                // Only what is malformed has too few labels.
                Some(None) => return None,
                Some(Some((service, Some(below)))) => {
                    let writer = Writer {
                        message,
                        ttl_secs: service.ttl_secs().unwrap_or_else(|| view.options().ttl_secs),
                        zone: zone.as_wire(),
                        service,
                        service_at: key_at,
                        turn: turn.unwrap_or_default() as usize,
                    };
                    writer.write(below, wanted)
                }
                Some(Some((_, None))) | None => Found::Missing,
            }
        }
    };
    match found {
        Found::Composed => return None,
        Found::Missing if asked.view.options().passes_on(asked.name) => return Some(Verdict::PassedOn),
        Found::Missing => return Some(Verdict::Answered(asked.deny(message, Rcode::NXDOMAIN))),
        Found::NoData => return Some(Verdict::Answered(asked.deny(message, Rcode::NOERROR))),
        Found::Written => {}
    }
    message.set(bits::AA);
    Some(Verdict::Answered(Rcode::NOERROR))
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
fn below<'n>(
    view: &View,
    service: &Service,
    wire: &'n [u8],
    name: &'n Folded,
    labels: usize,
    key_at: usize,
) -> Option<Option<Below<'n>>> {
    Some(match labels {
        3 => Some(Below::Service),
        4 => Some(Below::Endpoint(wire.get(..key_at)?)),
        5 => two_labels(view, service, wire.get(..key_at)?, name.label(0)?, name.label(1)?),
        _ => Some(Below::Endpoint(wire.get(..key_at)?)).filter(|_| service.has_dotted(&wire[..key_at])),
    })
}

/// PTR of an address.
fn pointers(asked: &Asked<'_>, name: &Folded, message: &mut Message<'_>) -> Option<Verdict> {
    let address = reverse_address(name)?;
    let options = asked.view.options();
    let mut is_known = false;
    let ttl = asked.content.pointers_ttl_secs(address).unwrap_or(options.ttl_secs);
    asked.content.pointers(address, |pointed| {
        is_known = true;
        let parts = [pointed.label, pointed.key, b"\x03svc", options.primary.as_wire()];
        // A name that is too long is none, see Name::join.
        if parts.iter().map(|part| part.len()).sum::<usize>() <= NAME_OCTETS_MAX {
            message.record(Section::Answer, Owner::QUESTION, rtype::PTR, ttl, |message| {
                parts.iter().for_each(|part| message.octets(part));
            });
        }
    });
    if !is_known {
        let is_passed_on = asked.view.options().passes_on(asked.name);
        return Some(match is_passed_on {
            true => Verdict::PassedOn,
            false => Verdict::Answered(asked.deny(message, Rcode::NXDOMAIN)),
        });
    }
    message.set(bits::AA);
    Some(Verdict::Answered(Rcode::NOERROR))
}
