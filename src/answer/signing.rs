//! Signed queries (`tsig`, RFC 8945), as CoreDNS's plugin treats them (plugin/tsig/tsig.go): a query that is signed, or
//! must be, is checked before anything else, and its answer is signed.

use super::edns::Terms;
use super::folded::Folded;
use super::message::Message;
use super::query::{Query, Question};
use super::rcode::Rcode;
use super::responder::{Answered, By, Outcome, Received, Responder, answered, finish, reject};
use crate::tsig::{self, Failure, verify};
use crate::zone::Name;

/// Which queries of a block must be signed. Those that are signed are checked in any case.
#[derive(Clone, Debug, Default)]
pub struct Signing {
    /// The names that this is about are at or below these.
    pub zones: Vec<Name>,
    /// `require`
    pub types: Required,
    /// `require_opcode`
    pub opcodes: Required,
}

/// Codes that need a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Required {
    /// All of them.
    All,
    /// These.
    These(Vec<u16>),
}

impl Default for Required {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl Required {
    fn has(&self, code: u16) -> bool {
        match self {
            Self::All => true,
            Self::These(codes) => codes.contains(&code),
        }
    }
}

impl Signing {
    /// Whether a query is signed, or must be.
    pub(super) fn concerns(&self, query: &Query<'_>, question: &Question<'_>, name: &Folded) -> bool {
        let is_required = self.types.has(question.qtype) || self.opcodes.has(query.opcode());
        (query.tsig_at.is_some() || is_required) && self.zones.iter().any(|zone| name.within(zone.as_wire()).is_some())
    }
}

impl Responder {
    /// Answers a query that is signed, or must be.
    pub(super) fn compose_guarded<'p>(
        &self,
        packet: &[u8],
        received: &Received<'p, '_>,
        out: &mut Vec<u8>,
    ) -> Outcome<'p> {
        let &Received { query, block, client, .. } = received;
        let Some(start) = query.tsig_at else {
            let refused = self.fail(query, Some(block), Rcode::REFUSED, None, client.transport, out);
            return Outcome::Answered(Answered { by: By::Signing, ..refused });
        };
        let now = tsig::now();
        let mut signer = match verify(packet, start, &self.keys, now) {
            Ok(signer) => signer,
            Err(Failure::Malformed) => return Outcome::Answered(reject(query, Rcode::FORMERR, out)),
            Err(Failure::Refused(refusal)) => {
                let message = Message::reply(out, &query, usize::MAX);
                let flags = finish(message, &query, Rcode::NOTAUTH, Terms::unnamed(block.bufsize));
                tracing::trace!(reason = refusal.reason(), "a signature does not hold");
                refusal.append_to(out, now);
                let refused = answered(query, Some(block.id), Rcode::NOTAUTH, flags);
                return Outcome::Answered(Answered { by: By::Signing, ..refused });
            }
        };
        // Whoever comes next sees no signature: it ends here.
        let plain = tsig::strip(packet, start);
        let refused = block.ahead.as_ref().and_then(|ahead| ahead.refuse(received, out));
        match refused.unwrap_or_else(|| self.compose_within(&plain, received, signer.octets(), out)) {
            Outcome::Ignored => Outcome::Ignored,
            Outcome::Dropped(dropped) => Outcome::Dropped(dropped),
            Outcome::Answered(answered) => {
                signer.sign(out, now);
                Outcome::Answered(answered)
            }
            Outcome::Refreshing(answered, refreshes) => {
                signer.sign(out, now);
                Outcome::Refreshing(answered, refreshes)
            }
            Outcome::Deferred(mut deferred) => {
                deferred.signer = Some(Box::new(signer));
                Outcome::Deferred(deferred)
            }
            Outcome::Transfer(mut asked) => {
                asked.signer = Some(Box::new(signer));
                Outcome::Transfer(asked)
            }
        }
    }
}
