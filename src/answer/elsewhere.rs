//! Questions that are answered elsewhere: names outside the views' zones, and aliases that leave them.
//!
//! Answering is a function and does not wait. Where it needs another server's word, it says what to ask of which
//! block's upstreams ([`Deferred`]), and goes on when the word has come ([`Responder::resume`]).

use hickory_proto::op::Message as ParsedMessage;
use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder, NameEncoding};

use super::alias::{self, Data};
use super::autopath::Walk;
use super::client::Transport;
use super::edns::{self, Terms};
use super::folded::Folded;
use super::message::Message;
use super::query::{CLASS_IN, HEADER_OCTETS, Query, bits};
use super::rcode::Rcode;
use super::relay;
use super::responder::{Answered, Block, By, Responder, finish};
use super::rotate;
use crate::tsig::{self, Signer};
use crate::zone::Name;

/// A query that cannot be answered here and now.
#[derive(Debug)]
pub struct Deferred {
    /// What to ask. The answers are given back in the same order.
    pub lookups: Vec<Lookup>,
    /// [`Block::id`](super::Block::id) of the block that serves the query.
    pub block: usize,
    then: Then,
    /// Signs the answer, where the query was signed. In a box: what a query gives is moved, and few are signed.
    pub signer: Option<Box<Signer>>,
    /// The search path that this is a name of: what becomes of it is for [`Responder::walk_on`] to say.
    pub walk: Option<Box<Walk>>,
}

/// A question to a block's upstreams.
#[derive(Debug)]
pub struct Lookup {
    /// [`Block::id`](super::Block::id) of the block.
    pub block: usize,
    /// The number of the block's `forward` directive that the name is for,
    pub forward: usize,
    /// and those that it is left to if that one leaves it to the next.
    pub then: Vec<usize>,
    /// The query in wire form; its ID is for the sender to choose.
    pub query: Vec<u8>,
    /// The query is signed, so that no octet of it may change but the ID (RFC 8945 section 5.5).
    pub is_signed: bool,
}

/// Why a lookup has no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupError {
    /// What the client is told.
    pub rcode: Rcode,
    /// What the log is told.
    pub reason: String,
}

/// What to do with the responses.
#[derive(Debug)]
enum Then {
    /// Give the one response to the client.
    Relay,
    /// Put each response's records in the place of its alias's target.
    Complete(Vec<alias::Record>),
}

impl Deferred {
    /// The whole query is for others, if one of the block's `forward` directives is about its name. `bufsize` holds for
    /// them too.
    pub(super) fn relay(block: &Block, name: &Folded, packet: &[u8], query: &Query<'_>) -> Option<Self> {
        let mut lookup = Lookup::of(block, name.as_wire(), || packet.to_vec())?;
        if let (Some(edns), Some(bufsize)) = (&query.edns, block.bufsize) {
            edns.limit_in(&mut lookup.query, bufsize);
        }
        lookup.is_signed = query.tsig_at.is_some();
        Some(Self { lookups: vec![lookup], block: block.id, then: Then::Relay, signer: None, walk: None })
    }

    /// An alias chain, of which some ends are elsewhere.
    pub(super) fn complete(
        responder: &Responder,
        block: usize,
        query: &Query<'_>,
        qtype: u16,
        chain: Vec<alias::Record>,
    ) -> Self {
        let lookups = chain
            .iter()
            .filter_map(|record| match (&record.data, &record.owner) {
                (Data::Elsewhere { block }, Some(name)) => {
                    Lookup::of(responder.block(*block)?, name, || question_of(query, name, qtype))
                }
                _ => None,
            })
            .collect();
        Self { lookups, block, then: Then::Complete(chain), signer: None, walk: None }
    }
}

impl Lookup {
    fn of(block: &Block, name: &[u8], query: impl FnOnce() -> Vec<u8>) -> Option<Self> {
        let mut forwards = block.forwards(name);
        let forward = forwards.next()?;
        let then = forwards.collect();
        Some(Self { block: block.id, forward, then, query: query(), is_signed: false })
    }
}

/// A query like the client's for another name: its flags and EDNS stay (plugin/pkg/upstream, request.NewWithQuestion).
pub(super) fn question_of(query: &Query<'_>, name: &[u8], qtype: u16) -> Vec<u8> {
    let mut wire = Vec::with_capacity(HEADER_OCTETS + name.len() + 15);
    wire.extend_from_slice(&[0, 0]);
    wire.extend_from_slice(&(query.flags & (bits::OPCODE | bits::RD | bits::AD | bits::CD)).to_be_bytes());
    wire.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(query.edns.is_some())]);
    wire.extend_from_slice(name);
    wire.extend_from_slice(&qtype.to_be_bytes());
    wire.extend_from_slice(&CLASS_IN.to_be_bytes());
    if let Some(edns) = &query.edns {
        edns.write_query(&mut wire);
    }
    wire
}

impl Responder {
    /// Goes on with a query when its lookups are done.
    pub fn resume<'p>(
        &self,
        packet: &'p [u8],
        transport: Transport,
        deferred: Deferred,
        responses: Vec<Result<Vec<u8>, LookupError>>,
        out: &mut Vec<u8>,
    ) -> Option<Answered<'p>> {
        let query = self.query(packet)?;
        let block = self.block(deferred.block);
        let bufsize = block.and_then(|block| block.bufsize);
        let terms = block.map(Block::terms).unwrap_or_default();
        let is_minimal = block.is_some_and(|block| block.minimal);
        let signature_octets = deferred.signer.as_ref().map_or(0, |signer| signer.octets());
        let limit = edns::reply_limit(transport, query.edns.as_ref(), bufsize).saturating_sub(signature_octets);
        let by = if matches!(deferred.then, Then::Relay) { By::Elsewhere } else { By::Views };
        let (rcode, flags, failure) = match deferred.then {
            Then::Relay => {
                let response = responses.into_iter().next();
                let response = response.unwrap_or_else(|| Err(LookupError::servfail("no upstream was asked")));
                match response.and_then(|response| relay::relay(&query, &response, limit, (terms, is_minimal), out)) {
                    Ok((rcode, flags)) => (rcode, flags, None),
                    Err(error) => {
                        let flags =
                            finish(Message::reply(out, &query, limit), &query, error.rcode, Terms::unnamed(bufsize));
                        (error.rcode, flags, Some(format!("plugin/forward: {}", error.reason)))
                    }
                }
            }
            Then::Complete(chain) => {
                let reserved = query.edns.map_or(0, |edns| edns.reply_octets(terms));
                let mut message = Message::reply(out, &query, limit.saturating_sub(reserved));
                // An end that was cut, and whose client may have more of it over TCP.
                let cut =
                    responses.iter().flatten().any(|response| response.get(2).is_some_and(|octet| octet & 0x02 != 0));
                message.set(if cut { bits::AA | bits::TC } else { bits::AA });
                let chain = fill(chain, responses);
                alias::write(&chain, &mut message);
                (Rcode::NOERROR, finish(message, &query, Rcode::NOERROR, terms), None)
            }
        };
        if let Some(block) = block {
            rotate::if_wanted(block, out);
        }
        if let Some(mut signer) = deferred.signer {
            signer.sign(out, tsig::now());
        }
        Some(Answered {
            query,
            block: Some(deferred.block),
            rcode,
            flags,
            by,
            is_by_path: false,
            failure: failure.map(Into::into),
        })
    }
}

impl LookupError {
    /// An upstream that gave no answer that can be used.
    pub fn servfail(reason: impl Into<String>) -> Self {
        Self { rcode: Rcode::SERVFAIL, reason: reason.into() }
    }
}

/// Puts the responses' answers where the chain leaves. A lookup that failed leaves the alias without an end, as in
/// CoreDNS (plugin/backend_lookup.go, func A).
fn fill(chain: Vec<alias::Record>, responses: Vec<Result<Vec<u8>, LookupError>>) -> Vec<alias::Record> {
    let mut responses = responses.into_iter();
    let mut filled = Vec::with_capacity(chain.len());
    for record in chain {
        match record.data {
            Data::Elsewhere { .. } => {
                if let Some(Ok(response)) = responses.next() {
                    filled.extend(answer_records(&response));
                }
            }
            _ => filled.push(record),
        }
    }
    filled
}

/// The records of a response's answer section; none if it cannot be read.
fn answer_records(response: &[u8]) -> Vec<alias::Record> {
    let Ok(message) = ParsedMessage::from_vec(response) else { return Vec::new() };
    let records = message.answers.iter().filter_map(|record| {
        let owner = wire_of(|encoder| record.name.emit(encoder))?;
        let kind = u16::from(record.record_type());
        let data = Data::Raw { rtype: kind, rdata: wire_of(|encoder| record.data.emit(encoder))?.into() };
        Some(alias::Record { owner: Some(owner.into()), ttl_secs: record.ttl, data })
    });
    records.collect()
}

/// The octets that something encodes itself to, alone: there is nothing that it could point back to.
pub(super) fn wire_of(
    emit: impl FnOnce(&mut BinEncoder<'_>) -> Result<(), hickory_proto::ProtoError>,
) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    let mut encoder = BinEncoder::new(&mut wire);
    // The second name of a SOA would point into the first, which will stand elsewhere.
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    emit(&mut encoder).ok()?;
    Some(wire)
}

/// The records of a name that an alias leads to outside all views: a question to the block's upstreams.
pub(super) fn placeholder(block: usize, name: &Name) -> alias::Record {
    alias::Record { owner: Some(name.as_wire().into()), ttl_secs: 0, data: Data::Elsewhere { block } }
}
