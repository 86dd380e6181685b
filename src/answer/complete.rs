//! Alias chains that leave the views: what stands at their ends is what others say.

use hickory_proto::op::Message as ParsedMessage;
use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder, NameEncoding};

use super::alias::{self, Data};
use super::cache::{Keeping, Refresh, Settled};
use super::cached::Known;
use super::client::Client;
use super::edns::{self, Terms};
use super::elsewhere::{Deferred, Lookup, LookupError};
use super::folded::Folded;
use super::message::Message;
use super::query::{CLASS_IN, HEADER_OCTETS, Query, bits};
use super::rcode::Rcode;
use super::responder::{Outcome, Received, Responder, answered, finish};
use super::rotate;
use crate::zone::Name;

/// What is known of an end.
enum End {
    /// A message that says it, and what is to be asked for anew.
    Kept(Vec<u8>, Option<Refresh>),
    /// Others are to be asked.
    Asked(Lookup, Option<Keeping>),
}

impl Responder {
    /// Answers with a chain of which some ends are elsewhere, or says who has to be asked first.
    pub(super) fn complete<'p>(
        &self,
        received: &Received<'p, '_>,
        chain: Vec<alias::Record>,
        signature_octets: usize,
        out: &mut Vec<u8>,
    ) -> Outcome<'p> {
        let &Received { query, question, block, client: Client { transport, .. }, .. } = received;
        let (mut lookups, mut keeping, mut refreshes) = (Vec::new(), Vec::new(), Vec::new());
        let mut filled = Vec::with_capacity(chain.len());
        for record in chain {
            let (Data::Elsewhere { block }, Some(owner)) = (&record.data, &record.owner) else {
                filled.push(record);
                continue;
            };
            match self.end(*block, owner, &query, question.qtype) {
                None => {}
                Some(End::Kept(message, refresh)) => {
                    filled.extend(answer_records(&message));
                    refreshes.extend(refresh);
                }
                Some(End::Asked(lookup, kept)) => {
                    lookups.push(lookup);
                    keeping.push(kept);
                    filled.push(record);
                }
            }
        }
        if !lookups.is_empty() {
            // What could be asked for anew besides is left to a query that has to wait for nobody.
            return Outcome::Deferred(Deferred::complete(block.id, lookups, keeping, filled));
        }
        let limit = edns::reply_limit(transport, query.edns.as_ref(), block.bufsize).saturating_sub(signature_octets);
        let flags = write(&query, &filled, false, (limit, block.terms()), out);
        rotate::if_wanted(block, out);
        let made = answered(query, Some(block.id), Rcode::NOERROR, flags);
        if refreshes.is_empty() { Outcome::Answered(made) } else { Outcome::Refreshing(made, refreshes) }
    }

    fn end(&self, block: usize, name: &[u8], query: &Query<'_>, qtype: u16) -> Option<End> {
        let block = self.block(block)?;
        let mut lookup = Lookup::of(block, name, || question_of(query, name, qtype))?;
        let Some(cache) = &block.cache else { return Some(End::Asked(lookup, None)) };
        let question = [name, &qtype.to_be_bytes(), &CLASS_IN.to_be_bytes()].concat();
        let Some(wanted) = cache.wanted_of(query, &question, &Folded::new(name)) else {
            return Some(End::Asked(lookup, None));
        };
        lookup.ask_for_ad();
        match self.known(block, cache, &wanted, true) {
            // Whoever may wait meets nobody who writes.
            Known::Contended => Some(End::Asked(lookup, None)),
            Known::Asked(keeping) => Some(End::Asked(lookup, Some(keeping))),
            Known::Kept(entry, ttl_secs, again) => {
                let refresh = again.map(|keeping| {
                    keeping.begun();
                    Refresh { lookup, keeping }
                });
                Some(End::Kept(entry.to_message(ttl_secs), refresh))
            }
        }
    }
}

/// Writes a chain with what others said of its ends; the header bits.
pub(super) fn write_told(
    query: &Query<'_>,
    chain: Vec<alias::Record>,
    told: Vec<Settled>,
    room: (usize, Terms<'_>),
    out: &mut Vec<u8>,
) -> u16 {
    let responses = told.into_iter().map(|told| match told {
        Settled::Response(response) => response,
        Settled::Stale(entry, ttl_secs) => Ok(entry.to_message(ttl_secs)),
    });
    let responses: Vec<Result<Vec<u8>, LookupError>> = responses.collect();
    // An end that was cut, and whose client may have more of it over TCP.
    let is_cut = responses.iter().flatten().any(|response| response.get(2).is_some_and(|octet| octet & 0x02 != 0));
    write(query, &fill(chain, responses), is_cut, room, out)
}

fn write(
    query: &Query<'_>,
    chain: &[alias::Record],
    is_cut: bool,
    (limit, terms): (usize, Terms<'_>),
    out: &mut Vec<u8>,
) -> u16 {
    let reserved = query.edns.map_or(0, |edns| edns.reply_octets(terms));
    let mut message = Message::reply(out, query, limit.saturating_sub(reserved));
    message.set(if is_cut { bits::AA | bits::TC } else { bits::AA });
    alias::write(chain, &mut message);
    finish(message, query, Rcode::NOERROR, terms)
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
