//! `autopath`: going through a client's search path in its stead (plugin/autopath, plugin/kubernetes/autopath.go).
//!
//! A client that looks `www.example.org` up asks first for `www.example.org.default.svc.cluster.local`, which is not
//! there, and then for four names more. With `autopath` the first question gets the answer of the first of these names that
//! exists, by way of an alias. Which names those are depends on who asks, so that such an answer is nobody else's: it is
//! never kept.
//!
//! Unlike in CoreDNS, who has an address is a set: while two pods have one (an old one that is still listed, or all that
//! use their node's network), the question itself says whose search path it is of.

use std::borrow::Cow;

use hickory_proto::op::Message as ParsedMessage;
use hickory_proto::rr::Record as ParsedRecord;
use hickory_proto::serialize::binary::BinEncodable as _;

use super::cache::Refresh;
use super::client::Client;
use super::complete::{question_of, wire_of};
use super::elsewhere::Deferred;
use super::folded::Folded;
use super::message::{Message, Owner, Section};
use super::prepared::Spot;
use super::query::{CLASS_IN, Parsed, Query, bits, opcode, parse, rtype};
use super::rcode::Rcode;
use super::responder::{Answered, Block, By, Outcome, Received, Responder, answered, begin, finish};
use crate::zone::Name;
use crate::zone::name::NAME_OCTETS_MAX;

/// An `autopath` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autopath {
    /// The names that it is about are at or below these.
    pub zones: Vec<Name>,
    /// Whose search path it goes through.
    pub search: SearchPath,
}

/// A search path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchPath {
    /// That of the pod which asks: its namespace, all Services, the cluster, and then these.
    OfPods(Vec<Name>),
    /// This one, whoever asks.
    These(Vec<Name>),
}

/// A query whose search path is gone through.
#[derive(Debug)]
pub struct Walk {
    /// What the client looks up: the labels before the path's first name, as they came, without the root.
    base: Box<[u8]>,
    /// The names behind the first, the next one last.
    left: Vec<Name>,
    /// The query for the name that is tried now.
    packet: Vec<u8>,
    /// The answer to the client's own name, which it gets if no other exists either.
    first: Option<(Vec<u8>, Made)>,
    client: Client,
    signature_octets: usize,
    /// What is to be asked for anew of what was found on the way.
    refreshes: Vec<Refresh>,
}

/// What was made of a name that a walk tried.
#[derive(Clone, Debug)]
pub struct Made {
    rcode: Rcode,
    flags: u16,
    by: By,
    failure: Option<Cow<'static, str>>,
}

impl Made {
    /// What an answer to [`Walk::packet`] says.
    pub fn of(answered: Answered<'_>) -> Self {
        let Answered { rcode, flags, by, failure, .. } = answered;
        Self { rcode, flags, by, failure }
    }

    /// Whether the search goes on: the name does not exist, or nobody here is for it. The latter ends it in CoreDNS, with
    /// SERVFAIL.
    fn is_missing(&self) -> bool {
        let is_nobodys = self.failure.as_ref().is_some_and(|failure| failure.ends_with(NOBODYS));
        self.rcode == Rcode::NXDOMAIN || is_nobodys
    }
}

/// How the failure of a name ends that no directive is for.
const NOBODYS: &str = "no next plugin found";

impl Autopath {
    /// The search path that a query's name is of, where it is below the path's first name, and where that begins in it.
    fn path_of(&self, received: &Received<'_, '_>) -> Option<(usize, Vec<Name>)> {
        let Received { query, question, name, client, spot, .. } = received;
        let is_plain = query.opcode() == opcode::QUERY && question.qclass == CLASS_IN;
        if !is_plain || matches!(question.qtype, rtype::AXFR | rtype::IXFR) {
            return None;
        }
        if !self.zones.iter().any(|zone| name.within(zone.as_wire()).is_some()) {
            return None;
        }
        match &self.search {
            SearchPath::These(path) => {
                let (first, rest) = path.split_first()?;
                let at = name.within(first.as_wire()).filter(|at| *at > 0)?;
                Some((at, rest.to_vec()))
            }
            SearchPath::OfPods(host) => {
                let fall = spot.as_ref()?.fall();
                if fall.view.options().multicluster || fall.zone.is_reverse() {
                    return None;
                }
                // Something, a namespace, `svc`, and the zone.
                let wire = name.as_wire();
                let below = name.starts().iter().rposition(|start| usize::from(*start) < fall.zone_at)?;
                let start = |back: usize| below.checked_sub(back).and_then(|index| name.starts().get(index));
                let (svc_at, at) = (usize::from(*start(0)?), usize::from(*start(1)?));
                if at == 0 || wire.get(svc_at..fall.zone_at)? != SVC {
                    return None;
                }
                let namespace = wire.get(at..svc_at)?;
                let content = fall.view.current();
                let address = client.address.ip().to_canonical();
                if !content.pod_namespaces(address).any(|(labels, _)| labels.as_wire() == namespace) {
                    return None;
                }
                let of_cluster = [wire.get(svc_at..)?, wire.get(fall.zone_at..)?];
                let of_cluster = of_cluster.into_iter().filter_map(Name::of_wire);
                Some((at, of_cluster.chain(host.iter().cloned()).collect()))
            }
        }
    }

    /// Whether a query's name is of a search path.
    pub(super) fn concerns(&self, received: &Received<'_, '_>) -> bool {
        self.path_of(received).is_some()
    }
}

const SVC: &[u8] = b"\x03svc";

impl Walk {
    /// Begins to go through a search path, if a query's name is of one.
    pub(super) fn begin(packet: &[u8], received: &Received<'_, '_>, signature_octets: usize) -> Option<Self> {
        let (at, path) = received.block.autopath.as_ref()?.path_of(received)?;
        let base: Box<[u8]> = received.question.name.get(..at)?.into();
        // What was looked up itself is the last.
        let root = Name::of_wire(b"\0");
        let left = root.into_iter().chain(path.into_iter().rev()).collect();
        let client = received.client;
        let packet = packet.to_vec();
        Some(Self { base, left, packet, first: None, client, signature_octets, refreshes: Vec::new() })
    }

    /// The query for the name that is tried now.
    pub fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// Tries no further name: its client does not wait any longer.
    pub fn give_up(&mut self) {
        self.left.clear();
    }

    /// Goes on to the next name; `false` if there is none.
    fn advance(&mut self, query: &Query<'_>) -> bool {
        let Some(question) = query.question else { return false };
        while let Some(next) = self.left.pop() {
            let name = [&self.base, next.as_wire()].concat();
            // A name that is too long is none.
            if name.len() <= NAME_OCTETS_MAX {
                self.packet = question_of(query, &name, question.qtype);
                return true;
            }
        }
        false
    }
}

impl Walk {
    fn end<'p>(&mut self, answered: Answered<'p>) -> Outcome<'p> {
        match std::mem::take(&mut self.refreshes) {
            none if none.is_empty() => Outcome::Answered(answered),
            refreshes => Outcome::Refreshing(answered, refreshes),
        }
    }
}

/// What a step of a walk comes to.
enum Step {
    Made(Made),
    Deferred(Deferred),
    Dropped,
}

impl Responder {
    /// Answers a query with the first name of its search path that exists.
    pub(super) fn walk<'p>(&self, query: Query<'p>, block: &Block, mut walk: Walk, out: &mut Vec<u8>) -> Outcome<'p> {
        loop {
            let made = match self.step(block, &mut walk, out) {
                Step::Made(made) => made,
                Step::Deferred(mut deferred) => {
                    deferred.walk = Some(Box::new(walk));
                    return Outcome::Deferred(deferred);
                }
                Step::Dropped => {
                    let dropped = answered(query, Some(block.id), Rcode::NOERROR, 0);
                    return Outcome::Dropped(Answered { by: By::Acl, ..dropped });
                }
            };
            if let Some(answered) = self.judge(query, block, &mut walk, made, out) {
                return walk.end(answered);
            }
        }
    }

    /// Goes on with a walk whose lookup is done: `made` is what became of [`Walk::packet`], and is in `out`.
    pub fn walk_on<'p>(
        &self,
        packet: &'p [u8],
        mut walk: Walk,
        block: usize,
        made: Made,
        out: &mut Vec<u8>,
    ) -> Option<Outcome<'p>> {
        let (query, block) = (self.query(packet)?, self.block(block)?);
        match self.judge(query, block, &mut walk, made, out) {
            Some(answered) => Some(walk.end(answered)),
            None => Some(self.walk(query, block, walk, out)),
        }
    }

    /// Answers the name that is tried, as if somebody asked this block for it. What `acl` says of it counts, too: else
    /// every name could be had by way of another (coredns/coredns#8290).
    fn step(&self, block: &Block, walk: &mut Walk, out: &mut Vec<u8>) -> Step {
        let packet = walk.packet();
        let Parsed::Query(query) = parse(packet) else { return Step::Dropped };
        let Some(question) = query.question else { return Step::Dropped };
        let name = &Folded::new(question.name);
        let spot = block.fall(name).map(|(_, fall)| Spot::find(fall, name));
        let client = walk.client;
        let received = Received { query, question, name, block, client, view: None, spot, is_guarded: false };
        let refused = block.ahead.as_ref().filter(|_| walk.first.is_some());
        let refused = refused.and_then(|ahead| ahead.refuse(&received, out));
        let outcome = refused.unwrap_or_else(|| self.compose_alone(packet, &received, walk.signature_octets, out));
        match outcome {
            Outcome::Answered(answered) => Step::Made(Made::of(answered)),
            Outcome::Refreshing(answered, refreshes) => {
                let made = Made::of(answered);
                walk.refreshes.extend(refreshes);
                Step::Made(made)
            }
            Outcome::Deferred(deferred) => Step::Deferred(deferred),
            Outcome::Dropped(_) | Outcome::Ignored | Outcome::Transfer(_) => Step::Dropped,
        }
    }

    /// What the client is told, if the search ends with what was made.
    fn judge<'p>(
        &self,
        query: Query<'p>,
        block: &Block,
        walk: &mut Walk,
        made: Made,
        out: &mut Vec<u8>,
    ) -> Option<Answered<'p>> {
        let is_first = walk.first.is_none();
        if made.is_missing() {
            if is_first {
                walk.first = Some((std::mem::take(out), made));
            }
            if walk.advance(&query) {
                return None;
            }
            let (message, made) = walk.first.take()?;
            *out = message;
            return Some(told(query, block, made));
        }
        if is_first {
            return Some(told(query, block, made));
        }
        let response = std::mem::take(out);
        let (rcode, flags) = match readdressed(&query, block, walk, &made, &response, out) {
            Some(flags) => (made.rcode, flags),
            None => {
                let failure = Some("plugin/autopath: the response cannot be read");
                let transport = walk.client.transport;
                return Some(self.fail(query, Some(block), Rcode::SERVFAIL, failure, transport, out));
            }
        };
        Some(Answered { is_by_path: true, ..told(query, block, Made { rcode, flags, ..made }) })
    }
}

fn told<'p>(query: Query<'p>, block: &Block, made: Made) -> Answered<'p> {
    let Made { rcode, flags, by, failure } = made;
    Answered { by, failure, ..answered(query, Some(block.id), rcode, flags) }
}

/// Makes of the response for another name that for the client's: an alias leads to it. Its header bits.
fn readdressed(
    query: &Query<'_>,
    block: &Block,
    walk: &Walk,
    made: &Made,
    response: &[u8],
    out: &mut Vec<u8>,
) -> Option<u16> {
    let parsed = ParsedMessage::from_vec(response).ok()?;
    let mut message = begin(query, block, walk.client.transport, walk.signature_octets, out);
    message.set(made.flags & (bits::AA | bits::TC | bits::RA | bits::AD));
    if let Some(first) = parsed.answers.first() {
        let target = wire_of(|encoder| first.name.emit(encoder))?;
        message.record(Section::Answer, Owner::QUESTION, rtype::CNAME, first.ttl, |message| message.name(&target));
    }
    let sections = [
        (Section::Answer, &parsed.answers),
        (Section::Authority, &parsed.authorities),
        (Section::Additional, &parsed.additionals),
    ];
    for (section, records) in sections {
        for record in records {
            write(&mut message, section, record)?;
        }
    }
    Some(finish(message, query, made.rcode, block.terms()))
}

fn write(message: &mut Message<'_>, section: Section, record: &ParsedRecord) -> Option<()> {
    let kind = u16::from(record.record_type());
    if kind == rtype::OPT || kind == rtype::TSIG {
        return Some(());
    }
    let owner = wire_of(|encoder| record.name.emit(encoder))?;
    let rdata = wire_of(|encoder| record.data.emit(encoder))?;
    message.record(section, Owner::Name(&owner), kind, record.ttl, |message| match kind {
        rtype::CNAME => message.name(&rdata),
        _ => message.octets(&rdata),
    });
    Some(())
}
