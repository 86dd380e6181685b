//! One listener's answers: from a packet to the server block that serves its name, and back.

use std::collections::HashMap;
use std::sync::Arc;

use super::alias;
use super::edns::{self, PAYLOAD_OCTETS_MIN};
use super::kubernetes;
use super::message::Message;
use super::query::{CLASS_IN, Parsed, Query, bits, parse, rtype};
use super::rcode::Rcode;
use crate::zone::name::suffixes;
use crate::zone::{Name, View};

/// How a query came, which decides how long its answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP: up to what the client takes.
    Udp,
    /// TCP: up to 65,535 octets, which is what its length prefix can say (RFC 1035 section 4.2.2).
    Tcp,
}

/// A server block, as far as answers need it.
#[derive(Debug, Default)]
pub struct Block {
    /// The view that it answers from, if it has one.
    pub view: Option<Arc<View>>,
    /// `bufsize`, in octets.
    pub bufsize: Option<u16>,
    /// Whether any of its directives handles queries. A block without such refuses them all.
    pub handles: bool,
    /// An index by which the caller knows the block again.
    pub id: usize,
}

/// The blocks that one listener serves, by zone.
#[derive(Debug, Default)]
pub struct Responder {
    zones: HashMap<Name, Arc<Block>>,
}

/// What was answered, for logs and counters.
#[derive(Debug)]
pub struct Answered<'p> {
    /// The query, as far as it could be read.
    pub query: Query<'p>,
    /// [`Block::id`] of the block that served it, if one did.
    pub block: Option<usize>,
    /// The response code.
    pub rcode: Rcode,
    /// The response's header bits.
    pub flags: u16,
    /// What failed, for the error log; the client was told by the response code.
    pub failure: Option<&'static str>,
}

/// What the block made of a query.
struct Verdict {
    block: Option<usize>,
    rcode: Rcode,
    failure: Option<&'static str>,
}

impl Responder {
    /// A responder for zones, each with its block.
    pub fn new(zones: impl IntoIterator<Item = (Name, Arc<Block>)>) -> Self {
        Self { zones: zones.into_iter().collect() }
    }

    /// Answers a packet into `out`; `None` if it is to be passed over in silence.
    pub fn respond<'p>(&self, packet: &'p [u8], transport: Transport, out: &mut Vec<u8>) -> Option<Answered<'p>> {
        let query = match parse(packet) {
            Parsed::Ignored => return None,
            Parsed::Rejected(query, rcode) => return Some(reject(query, rcode, out)),
            Parsed::Query(query) => query,
        };
        let class_served = query.question.as_ref().is_none_or(|question| question.qclass == CLASS_IN);
        if class_served && query.question.is_some() && query.edns.is_some_and(|edns| edns.version != 0) {
            let message = Message::reply(out, &query, usize::MAX);
            let flags = message.finish(Rcode::BADVERS, Some(edns::write_badvers));
            return Some(Answered { query, block: None, rcode: Rcode::BADVERS, flags, failure: None });
        }
        let block = query
            .question
            .as_ref()
            .filter(|_| class_served)
            .and_then(|question| self.route(question.folded(), question.qtype).filter(|block| block.handles));
        let bufsize = block.and_then(|block| block.bufsize);
        let limit = match (transport, &query.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, Some(edns)) => edns.limit(bufsize),
            (Transport::Udp, None) => usize::from(PAYLOAD_OCTETS_MIN),
        };
        let reserved = query.edns.map_or(0, |edns| edns.reply_octets());
        let mut message = Message::reply(out, &query, limit.saturating_sub(reserved));
        let verdict = self.decide(&query, block, &mut message);
        let opt = query.edns.map(|edns| move |out: &mut Vec<u8>| edns.write_reply(out, bufsize));
        let flags = message.finish(verdict.rcode, opt);
        Some(Answered { query, block: verdict.block, rcode: verdict.rcode, flags, failure: verdict.failure })
    }

    fn decide(&self, query: &Query<'_>, block: Option<&Block>, message: &mut Message<'_>) -> Verdict {
        let Some(question) = &query.question else {
            return Verdict { block: None, rcode: Rcode::SERVFAIL, failure: None };
        };
        let Some(block) = block else {
            return Verdict { block: None, rcode: Rcode::REFUSED, failure: None };
        };
        let rcode = block.view.as_deref().and_then(|view| kubernetes::answer(self, view, question, message));
        Verdict {
            block: Some(block.id),
            rcode: rcode.unwrap_or(Rcode::SERVFAIL),
            failure: rcode.is_none().then_some("no next plugin found"),
        }
    }

    /// Records of a name asked for on behalf of an alias, as if a client asked for it here.
    pub(super) fn resolve(&self, name: &Name, qtype: u16, trail: &mut alias::Trail) -> Vec<alias::Record> {
        match self.route(name.as_wire(), qtype).and_then(|block| block.view.as_deref()) {
            Some(view) => alias::resolve(self, view, name, qtype, trail),
            None => Vec::new(),
        }
    }

    /// The block of the longest zone that a name is in. DS stands on the parent's side of a cut, so that its question
    /// goes to the shortest (core/dnsserver/server.go, func ServeDNS), the root's only if there is no other.
    fn route(&self, name: &[u8], qtype: u16) -> Option<&Block> {
        let mut blocks = suffixes(name).filter_map(|at| self.zones.get(&name[at..])).map(|block| &**block);
        if qtype != rtype::DS {
            return blocks.next();
        }
        let root = self.zones.get(&b"\0"[..]).map(|block| &**block);
        blocks.filter(|block| root.is_none_or(|root| !std::ptr::eq(*block, root))).last().or(root)
    }
}

/// A refusal without looking at the rest: the header's other bits come back as they were, but for AA and Z.
/// A malformed message is not trusted with its opcode either.
fn reject<'p>(mut query: Query<'p>, rcode: Rcode, out: &mut Vec<u8>) -> Answered<'p> {
    if rcode == Rcode::FORMERR {
        query.flags &= !bits::OPCODE;
    }
    let mut message = Message::reply(out, &query, usize::MAX);
    message.set(query.flags & (bits::TC | bits::RD | bits::RA | bits::AD | bits::CD));
    let flags = message.finish(rcode, None::<fn(&mut Vec<u8>)>);
    Answered { query, block: None, rcode, flags, failure: None }
}
