//! One listener's answers: from a packet to the server block that serves its name, and back.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::ahead::Ahead;
use super::alias;
use super::autopath::{Autopath, Walk};
use super::cache::{Cache, CacheCounts, Refresh};
use super::client::{Client, Transport};
use super::complete;
use super::edns::{self, Terms};
use super::elsewhere::Deferred;
use super::fall::{self, Fall};
use super::folded::Folded;
use super::kubernetes::{self, Verdict};
use super::message::Message;
use super::order::Order;
use super::prepared::Spot;
use super::probes::Probes;
use super::query::{CLASS_IN, Parsed, Query, Question, bits, parse, rtype};
use super::rcode::Rcode;
use super::rotate;
use super::routes::Routes;
use super::signing::Signing;
use super::transfers::Asked;
use super::whoami;
use crate::tsig::Keyring;
use crate::zone::name::is_at_or_below;
use crate::zone::{Name, View};

/// A server block, as far as answers need it.
#[derive(Debug, Default)]
pub struct Block {
    /// The view that it answers from, if it has one.
    pub view: Option<Arc<View>>,
    /// The view that its multicluster zones are answered from, if it has such.
    pub multicluster: Option<Arc<View>>,
    /// `bufsize`, in octets.
    pub bufsize: Option<u16>,
    /// `nsid`: what the server is called.
    pub nsid: Option<Box<[u8]>>,
    /// `minimal`: additional records are left out.
    pub minimal: bool,
    /// `local`, `any`, `chaos`, `acl`, where there is any of them.
    pub ahead: Option<Box<Ahead>>,
    /// `whoami`: who asks is told who that is, where nobody else has an answer.
    pub whoami: bool,
    /// `autopath`: search paths that are gone through here.
    pub autopath: Option<Autopath>,
    /// `loop`: what was sent out to see whether it comes back, if that is looked for.
    pub probes: Option<Arc<Probes>>,
    /// `forward`: which names go to whose upstreams, in order.
    pub forwards: Vec<Forwarded>,
    /// `cache`: what they answered is kept for a while.
    pub cache: Option<Arc<Cache>>,
    /// `tsig`: which queries must be signed.
    pub signing: Option<Signing>,
    /// `transfer`: the zones that it is about.
    pub transfers: Vec<Name>,
    /// `loadbalance`: addresses and mail exchangers change their order from answer to answer.
    pub rotates: bool,
    /// In which order, if not in any.
    pub order: Option<Order>,
    /// Whether any of its directives handles queries. A block without such refuses them all.
    pub handles: bool,
    /// An index by which the caller knows the block again.
    pub id: usize,
}

/// The names that a `forward` directive is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Names at or below this are forwarded,
    pub from: Name,
    /// unless they are at or below one of these. The name `from` itself is never excepted.
    pub except: Vec<Name>,
}

impl Block {
    /// Its views.
    pub(super) fn views(&self) -> impl Iterator<Item = &Arc<View>> + Clone {
        self.view.iter().chain(&self.multicluster)
    }

    /// Where a name falls in them, and the number of the view.
    pub(super) fn fall(&self, name: &Folded) -> Option<(usize, Fall<'_>)> {
        fall::find(self.views().map(|view| &**view), name)
    }

    /// What it says in OPT records.
    pub(super) fn terms(&self) -> Terms<'_> {
        Terms { bufsize: self.bufsize, nsid: self.nsid.as_deref() }
    }

    /// The `forward` directives, by number, that a name (wire form, lower case) is for.
    pub(super) fn forwards<'b>(&'b self, name: &'b [u8]) -> impl Iterator<Item = usize> + 'b {
        self.forwards.iter().enumerate().filter(|(_, forward)| forward.is_for(name)).map(|(number, _)| number)
    }
}

impl Forwarded {
    fn is_for(&self, name: &[u8]) -> bool {
        let excepted = || self.except.iter().any(|zone| is_at_or_below(name, zone.as_wire()));
        is_at_or_below(name, self.from.as_wire()) && (name == self.from.as_wire() || !excepted())
    }
}

/// The blocks that one listener serves, by zone.
#[derive(Debug, Default)]
pub struct Responder {
    pub(super) routes: Routes,
    blocks: HashMap<usize, Arc<Block>>,
    /// Whether other classes than IN are looked at: CoreDNS does so on a listener where something is forwarded, or
    /// `chaos` stands (core/dnsserver/server.go, EnableChaos).
    any_class: bool,
    /// The keys of all blocks: a block's queries may be signed with any of them.
    pub(super) keys: Keyring,
    /// What is counted of each block's cache, by [`Block::id`].
    pub(super) cache_counts: Vec<Option<Arc<CacheCounts>>>,
}

/// What becomes of a packet.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would be an allocation for every query")]
pub enum Outcome<'p> {
    /// It is passed over in silence.
    Ignored,
    /// The response is ready.
    Answered(Answered<'p>),
    /// The response is ready, and these are to be asked for, for whoever comes next.
    Refreshing(Answered<'p>, Vec<Refresh>),
    /// There is to be no response, which is told of as one without octets.
    Dropped(Answered<'p>),
    /// Others must be asked first.
    Deferred(Deferred),
    /// A transfer is asked for: whether it is given depends on who asks.
    Transfer(Asked),
}

/// A query, where it is served.
pub(super) struct Received<'p, 'n> {
    pub(super) query: Query<'p>,
    pub(super) question: Question<'p>,
    pub(super) name: &'n Folded,
    pub(super) block: &'n Block,
    pub(super) client: Client,
    /// The block's view that the name falls into, as an index into [`Routes::views`].
    pub(super) view: Option<usize>,
    /// Where in the view the name leads.
    pub(super) spot: Option<Spot<'n>>,
    /// Whether it is signed, or must be.
    pub(super) is_guarded: bool,
}

/// What a first look at a packet gives.
pub(super) enum Accepted<'p, 'n> {
    /// It is passed over in silence.
    Ignored,
    /// All that there is to say to it.
    Answered(Answered<'p>),
    /// Nothing is to be said to it.
    Dropped(Answered<'p>),
    /// A query of a block.
    Query(Received<'p, 'n>),
}

impl<'p> Outcome<'p> {
    /// The answer, if it is ready.
    pub fn answered(self) -> Option<Answered<'p>> {
        match self {
            Self::Answered(answered) | Self::Refreshing(answered, _) => Some(answered),
            Self::Ignored | Self::Dropped(_) | Self::Deferred(_) | Self::Transfer(_) => None,
        }
    }
}

/// Who made an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The views of a block, or the block itself.
    Views,
    /// Another server.
    Elsewhere,
    /// Another server, before.
    Cache,
    /// The transfers.
    Transfers,
    /// The check of signatures, which lets nothing through to the others.
    Signing,
    /// `local`
    Local,
    /// `any`
    Any,
    /// `chaos`
    Chaos,
    /// `acl`
    Acl,
    /// `whoami`
    Whoami,
    /// `loop`
    Loop,
}

/// What was answered, for logs and counters.
#[derive(Clone, Debug)]
pub struct Answered<'p> {
    /// The query, as far as it could be read.
    pub query: Query<'p>,
    /// [`Block::id`] of the block that served it, if one did.
    pub block: Option<usize>,
    /// The response code.
    pub rcode: Rcode,
    /// The response's header bits.
    pub flags: u16,
    /// Who made the answer.
    pub by: By,
    /// It is that of another name, which `autopath` found.
    pub is_by_path: bool,
    /// What failed, for the error log; the client was told by the response code.
    pub failure: Option<Cow<'static, str>>,
}

impl Responder {
    /// A responder for zones, each with its block.
    pub fn new(zones: impl IntoIterator<Item = (Name, Arc<Block>)>) -> Self {
        let routes = Routes::new(zones);
        let blocks: HashMap<usize, Arc<Block>> = routes.blocks().map(|block| (block.id, Arc::clone(block))).collect();
        let has_chaos = |block: &Block| block.ahead.as_ref().is_some_and(|ahead| ahead.chaos.is_some());
        let any_class = blocks.values().any(|block| !block.forwards.is_empty() || has_chaos(block));
        Self { routes, blocks, any_class, ..Self::default() }
    }

    /// The same with keys that queries may be signed with.
    pub fn with_keys(self, keys: Keyring) -> Self {
        Self { keys, ..self }
    }

    /// The same with counts of the blocks' caches, by [`Block::id`].
    pub fn with_cache_counts(self, cache_counts: Vec<Option<Arc<CacheCounts>>>) -> Self {
        Self { cache_counts, ..self }
    }

    /// Answers a packet into `out`, as far as that can be done here and now.
    pub fn respond<'p>(&self, packet: &'p [u8], client: Client, out: &mut Vec<u8>) -> Outcome<'p> {
        self.respond_telling(packet, client, out).0
    }

    /// The same, and whether the answer was prepared or short.
    pub fn respond_telling<'p>(&self, packet: &'p [u8], client: Client, out: &mut Vec<u8>) -> (Outcome<'p>, bool) {
        let (batch, mut name) = (self.batch(), Folded::EMPTY);
        match self.accept(packet, &mut name, client, out) {
            Accepted::Ignored => (Outcome::Ignored, true),
            Accepted::Answered(answered) => (Outcome::Answered(answered), true),
            Accepted::Dropped(answered) => (Outcome::Dropped(answered), true),
            Accepted::Query(query) => match batch.prepared(packet, &query, out) {
                Some(outcome) => (outcome, true),
                None => (self.compose(packet, &query, out), false),
            },
        }
    }

    /// Answers a packet into `out` if its answer is prepared or short. `None` leaves it to
    /// [`Responder::respond_composed`].
    pub fn respond_at_once<'p>(&self, packet: &'p [u8], client: Client, out: &mut Vec<u8>) -> Option<Outcome<'p>> {
        let (batch, mut name) = (self.batch(), Folded::EMPTY);
        let read = batch.read(packet, &mut name, client, out);
        batch.answer(&read, out)
    }

    /// Answers a packet like [`Responder::respond`], and uses nothing that is prepared: the same records, perhaps
    /// compressed in another way.
    pub fn respond_composed<'p>(&self, packet: &'p [u8], client: Client, out: &mut Vec<u8>) -> Outcome<'p> {
        let mut name = Folded::EMPTY;
        match self.accept(packet, &mut name, client, out) {
            Accepted::Ignored => Outcome::Ignored,
            Accepted::Answered(answered) => Outcome::Answered(answered),
            Accepted::Dropped(answered) => Outcome::Dropped(answered),
            Accepted::Query(query) => self.compose(packet, &query, out),
        }
    }

    /// Reads a packet, its name into a place of the caller's, finds the block that serves it, and answers what needs no
    /// more than that.
    pub(super) fn accept<'p, 'n>(
        &'n self,
        packet: &'p [u8],
        name: &'n mut Folded,
        client: Client,
        out: &mut Vec<u8>,
    ) -> Accepted<'p, 'n> {
        let transport = client.transport;
        let query = match parse(packet) {
            Parsed::Ignored => return Accepted::Ignored,
            Parsed::Rejected(query, rcode) => return Accepted::Answered(reject(query, rcode, out)),
            Parsed::Query(query) => query,
        };
        let Some(question) = query.question else {
            return Accepted::Answered(self.fail(query, None, Rcode::SERVFAIL, None, transport, out));
        };
        if question.qclass != CLASS_IN && !self.any_class {
            return Accepted::Answered(self.fail(query, None, Rcode::REFUSED, None, transport, out));
        }
        if query.edns.is_some_and(|edns| edns.version != 0) {
            let flags = Message::reply(out, &query, usize::MAX).finish(Rcode::BADVERS, Some(edns::write_badvers));
            return Accepted::Answered(answered(query, None, Rcode::BADVERS, flags));
        }
        name.fold(question.name);
        let name = &*name;
        match self.routes.find(name, question.qtype).filter(|route| route.block.handles) {
            Some(route) => {
                let fall = route.block.fall(name);
                let view = fall.and_then(|(number, _)| route.view(number));
                let spot = fall.map(|(_, fall)| Spot::find(fall, name));
                let signing = route.block.signing.as_ref();
                let is_guarded = signing.is_some_and(|signing| signing.concerns(&query, &question, name));
                let received = Received { query, question, name, block: &route.block, client, view, spot, is_guarded };
                match &route.block.ahead {
                    Some(ahead) => ahead.accept(received, out),
                    None => Accepted::Query(received),
                }
            }
            None => Accepted::Answered(self.fail(query, None, Rcode::REFUSED, None, transport, out)),
        }
    }

    /// An answer that is composed of records, or others' to give.
    fn compose<'p>(&self, packet: &[u8], received: &Received<'p, '_>, out: &mut Vec<u8>) -> Outcome<'p> {
        if received.is_guarded {
            return self.compose_guarded(packet, received, out);
        }
        self.compose_within(packet, received, 0, out)
    }

    /// The same, with room for a signature of so many octets.
    pub(super) fn compose_within<'p>(
        &self,
        packet: &[u8],
        received: &Received<'p, '_>,
        signature_octets: usize,
        out: &mut Vec<u8>,
    ) -> Outcome<'p> {
        let &Received { query, question, block, client, .. } = received;
        let transport = client.transport;
        if let Some(asked) = Asked::read(packet, received) {
            // A transfer is a stream of messages, but for an IXFR that fits into one (RFC 5936 section 4.2, RFC 1995
            // section 2).
            if transport == Transport::Udp && question.qtype == rtype::AXFR {
                return Outcome::Answered(self.fail(query, Some(block), Rcode::REFUSED, None, transport, out));
            }
            return Outcome::Transfer(asked);
        }
        if let Some(walk) = Walk::begin(packet, received, signature_octets) {
            return self.walk(query, block, walk, out);
        }
        self.compose_alone(packet, received, signature_octets, out)
    }

    /// The same for what is no transfer, and the name alone.
    pub(super) fn compose_alone<'p>(
        &self,
        packet: &[u8],
        received: &Received<'p, '_>,
        signature_octets: usize,
        out: &mut Vec<u8>,
    ) -> Outcome<'p> {
        let &Received { query, question, name, block, client, spot, .. } = received;
        let transport = client.transport;
        if let Some(spot) = spot {
            let mut message = begin(&query, block, transport, signature_octets, out);
            match kubernetes::answer(self, spot.fall(), &question, name, &mut message) {
                Verdict::Answered(rcode) => {
                    let flags = finish(message, &query, rcode, block.terms());
                    rotate::if_wanted(block, out);
                    return Outcome::Answered(answered(query, Some(block.id), rcode, flags));
                }
                Verdict::Elsewhere(chain) => {
                    return self.complete(received, chain, signature_octets, out);
                }
                Verdict::PassedOn => {}
            }
        }
        if let Some(probes) = block.probes.as_ref().filter(|probes| probes.has(&question, name)) {
            probes.note(name);
            // It goes round no more.
            let ended = self.fail(query, Some(block), Rcode::NXDOMAIN, None, transport, out);
            return Outcome::Answered(Answered { by: By::Loop, ..ended });
        }
        if let Some(outcome) = self.elsewhere(packet, received, (signature_octets, true), out) {
            return outcome;
        }
        if block.whoami {
            let mut message = begin(&query, block, transport, signature_octets, out).with_class(question.qclass);
            whoami::write(&mut message, client);
            let flags = finish(message, &query, Rcode::NOERROR, block.terms());
            let told = answered(query, Some(block.id), Rcode::NOERROR, flags);
            return Outcome::Answered(Answered { by: By::Whoami, ..told });
        }
        let failure = match &block.forwards[..] {
            [] => "plugin/kubernetes: no next plugin found",
            _ => "plugin/forward: no next plugin found",
        };
        Outcome::Answered(self.fail(query, Some(block), Rcode::SERVFAIL, Some(failure), transport, out))
    }

    /// A response without records.
    pub(super) fn fail<'p>(
        &self,
        query: Query<'p>,
        block: Option<&Block>,
        rcode: Rcode,
        failure: Option<&'static str>,
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Answered<'p> {
        let bufsize = block.and_then(|block| block.bufsize);
        let limit = edns::reply_limit(transport, query.edns.as_ref(), bufsize);
        let flags = finish(Message::reply(out, &query, limit), &query, rcode, Terms::unnamed(bufsize));
        let failure = failure.map(Cow::Borrowed);
        Answered { failure, ..answered(query, block.map(|block| block.id), rcode, flags) }
    }

    /// A query that was read before; `None` if the packet is none.
    pub(super) fn query<'p>(&self, packet: &'p [u8]) -> Option<Query<'p>> {
        match parse(packet) {
            Parsed::Query(query) => Some(query),
            Parsed::Ignored | Parsed::Rejected(..) => None,
        }
    }

    /// A block by its id.
    pub(super) fn block(&self, id: usize) -> Option<&Block> {
        self.blocks.get(&id).map(|block| &**block)
    }

    /// Records of a name asked for on behalf of an alias, as if a client asked for it here.
    pub(super) fn resolve(&self, name: &Name, qtype: u16, trail: &mut alias::Trail) -> Vec<alias::Record> {
        let wire = name.as_wire();
        let folded = Folded::new(wire);
        let Some(block) = self.routes.find(&folded, qtype).map(|route| &*route.block) else {
            return Vec::new();
        };
        if let Some((_, Fall { view, zone, .. })) = block.fall(&folded) {
            let found = alias::resolve(self, view, zone, name, qtype, trail);
            if found.is_some() || !view.options().passes_on(wire) {
                return found.unwrap_or_default();
            }
        }
        let is_forwarded = block.forwards(wire).next().is_some();
        if is_forwarded { vec![complete::placeholder(block.id, name)] } else { Vec::new() }
    }
}

/// Begins the response to a query of a block, with room for its OPT record, and for a signature.
pub(super) fn begin<'o>(
    query: &Query<'_>,
    block: &Block,
    transport: Transport,
    signature_octets: usize,
    out: &'o mut Vec<u8>,
) -> Message<'o> {
    let reserved = signature_octets + query.edns.map_or(0, |edns| edns.reply_octets(block.terms()));
    let limit = edns::reply_limit(transport, query.edns.as_ref(), block.bufsize);
    Message::reply(out, query, limit.saturating_sub(reserved)).minimal(block.minimal)
}

/// Ends a response with its OPT record, if the client speaks EDNS; its header bits.
pub(super) fn finish(message: Message<'_>, query: &Query<'_>, rcode: Rcode, terms: Terms<'_>) -> u16 {
    message.finish(rcode, query.edns.map(|edns| move |out: &mut Vec<u8>| edns.write_reply(out, terms)))
}

/// A refusal without looking at the rest: the header's other bits come back as they were, but for AA and Z.
/// A malformed message is not trusted with its opcode either.
pub(super) fn reject<'p>(mut query: Query<'p>, rcode: Rcode, out: &mut Vec<u8>) -> Answered<'p> {
    if rcode == Rcode::FORMERR {
        query.flags &= !bits::OPCODE;
    }
    let mut message = Message::reply(out, &query, usize::MAX);
    message.set(query.flags & (bits::TC | bits::RD | bits::RA | bits::AD | bits::CD));
    let flags = message.finish(rcode, None::<fn(&mut Vec<u8>)>);
    answered(query, None, rcode, flags)
}

/// An answer that is our own, and no failure.
pub(super) fn answered(query: Query<'_>, block: Option<usize>, rcode: Rcode, flags: u16) -> Answered<'_> {
    Answered { query, block, rcode, flags, by: By::Views, is_by_path: false, failure: None }
}
