//! Questions that are answered elsewhere: names outside the views' zones, and aliases that leave them.
//!
//! Answering is a function and does not wait. Where it needs another server's word, it says what to ask of which
//! block's upstreams ([`Deferred`]), and goes on when the word has come ([`Responder::resume`]).

use std::time::Duration;

use super::alias;
use super::autopath::Walk;
use super::cache::{Keeping, Settled};
use super::cached;
use super::client::Transport;
use super::complete;
use super::edns::{self, Terms};
use super::folded::Folded;
use super::message::Message;
use super::query::{Query, bits};
use super::rcode::Rcode;
use super::relay;
use super::responder::{Answered, Block, By, Responder, finish};
use super::rotate;
use crate::tsig::{self, Signer};

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
    /// What is to be done with each answer, in their order; none where none is kept.
    keeping: Vec<Option<Keeping>>,
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
        let (signer, walk, keeping) = (None, None, Vec::new());
        Some(Self { lookups: vec![lookup], block: block.id, then: Then::Relay, signer, walk, keeping })
    }

    /// A chain of which some ends are elsewhere: what is asked of whom, and what is to be done with each answer.
    pub(super) fn complete(
        block: usize,
        lookups: Vec<Lookup>,
        keeping: Vec<Option<Keeping>>,
        chain: Vec<alias::Record>,
    ) -> Self {
        Self { lookups, block, then: Then::Complete(chain), signer: None, walk: None, keeping }
    }

    /// Has the one answer kept. What a resolver checked is told to those who come later, so that it is asked for with AD
    /// (RFC 6840 section 5.7; plugin/cache/handler.go, func authenticatedRefreshState).
    pub(super) fn keeping(mut self, keeping: Keeping) -> Self {
        self.lookups.iter_mut().for_each(Lookup::ask_for_ad);
        Self { keeping: vec![Some(keeping)], ..self }
    }

    /// The one question, for no client.
    pub(super) fn into_lookup(mut self) -> Option<Lookup> {
        self.lookups.iter_mut().for_each(Lookup::ask_for_ad);
        self.lookups.pop()
    }

    /// How long the client waits, if it is told what has expired then.
    pub fn patience(&self) -> Option<Duration> {
        match &self.keeping[..] {
            [Some(keeping)] if matches!(self.then, Then::Relay) => keeping.patience(),
            _ => None,
        }
    }

    /// Leaves to the caller what is to be done with the answer: it comes too late for the client, who is told what is known.
    pub fn give_up(&mut self) -> Option<Keeping> {
        self.keeping.first_mut()?.as_mut().map(Keeping::split)
    }
}

impl Lookup {
    pub(super) fn of(block: &Block, name: &[u8], query: impl FnOnce() -> Vec<u8>) -> Option<Self> {
        let mut forwards = block.forwards(name);
        let forward = forwards.next()?;
        let then = forwards.collect();
        Some(Self { block: block.id, forward, then, query: query(), is_signed: false })
    }

    /// Asks the upstream to say whether it checked its answer (RFC 6840 section 5.7).
    pub(super) fn ask_for_ad(&mut self) {
        if let Some(octet) = self.query.get_mut(3) {
            *octet |= bits::AD as u8;
        }
    }
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
        let mut by = if matches!(deferred.then, Then::Relay) { By::Elsewhere } else { By::Views };
        let mut keeping = deferred.keeping.into_iter();
        let mut told = responses.into_iter().map(|response| match keeping.next().flatten() {
            Some(keeping) => keeping.tell(response),
            None => Settled::Response(response),
        });
        let (rcode, flags, failure) = match deferred.then {
            Then::Relay => match told.next() {
                Some(Settled::Stale(entry, ttl_secs)) => {
                    by = By::Cache;
                    let (rcode, flags) = cached::write(&entry, &query, ttl_secs, (limit, terms), out);
                    (rcode, flags, None)
                }
                other => {
                    let response = match other {
                        Some(Settled::Response(response)) => response,
                        _ => Err(LookupError::servfail("no upstream was asked")),
                    };
                    let relayed =
                        response.and_then(|response| relay::relay(&query, &response, limit, (terms, is_minimal), out));
                    match relayed {
                        Ok((rcode, flags)) => (rcode, flags, None),
                        Err(error) => {
                            let message = Message::reply(out, &query, limit);
                            let flags = finish(message, &query, error.rcode, Terms::unnamed(bufsize));
                            (error.rcode, flags, Some(format!("plugin/forward: {}", error.reason)))
                        }
                    }
                }
            },
            Then::Complete(chain) => {
                let told = told.collect();
                (Rcode::NOERROR, complete::write_told(&query, chain, told, (limit, terms), out), None)
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
