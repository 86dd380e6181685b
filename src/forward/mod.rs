//! Asking other servers (`forward`): which upstream, how often, and what a failure becomes.
//!
//! ```text
//!  Lookup ──▶ forwarder ──▶ upstream ──▶ udp      (a socket and port for each, letters by chance)
//!   (which      (order,       (up or     └──▶ stream ──▶ pool   (TCP, TLS; kept for a while)
//!  directive)   attempts)      down)
//! ```
//!
//! The order of upstreams, the health checks and the limits are CoreDNS's (plugin/forward). Messages are handed on as they
//! are, but for the ID and the case of letters: nothing is decoded that does not have to be. Ports, IDs and letters are of
//! a generator that nobody can foresee, and no answer is taken that does not match them (docs/security.md).

mod counts;
mod forwarder;
mod hosts;
mod letters;
mod loops;
mod policy;
mod pool;
mod reply;
mod stream;
mod tls;
mod udp;
mod upstream;

use std::sync::Arc;

use futures::future::BoxFuture;

pub use self::counts::{Count, ForwardCounts, Proto, UpstreamCounts};
pub use self::forwarder::Forwarder;
use self::forwarder::Given;
pub use self::hosts::{ResolveError, Target, targets};
pub use self::loops::LoopWatch;
use self::reply::Question;
use crate::answer::{Lookup, LookupError, Rcode, Transport};
use crate::net::Elsewhere;

/// The forwarders of all server blocks, by [`Block::id`](crate::answer::Block::id), each block's in their order.
#[derive(Default)]
pub struct Forwarders(pub Vec<Vec<Arc<Forwarder>>>);

impl Forwarders {
    /// What is counted of each.
    pub fn counts(&self) -> Vec<Arc<ForwardCounts>> {
        self.0.iter().flatten().map(|forwarder| forwarder.counts()).collect()
    }

    async fn ask(&self, lookup: Lookup, transport: Transport) -> Result<Vec<u8>, LookupError> {
        let Some(question) = Question::of(&lookup.query, lookup.is_signed) else {
            return Err(LookupError { rcode: Rcode::FORMERR, reason: "the query cannot be read".into() });
        };
        let block = self.0.get(lookup.block).map_or(&[][..], |block| block);
        // One that leaves a query to the next is busy with it until that one is done.
        let mut places = Vec::new();
        for number in std::iter::once(lookup.forward).chain(lookup.then) {
            let Some(forwarder) = block.get(number) else { break };
            let place = forwarder.enter()?;
            match forwarder.ask(question, transport, number + 1 >= block.len()).await? {
                Given::Answer(message) => return Ok(message),
                Given::Next => places.push(place),
            }
        }
        Err(LookupError::servfail("no next plugin found"))
    }
}

impl Elsewhere for Forwarders {
    fn ask(&self, lookup: Lookup, transport: Transport) -> BoxFuture<'_, Result<Vec<u8>, LookupError>> {
        Box::pin(self.ask(lookup, transport))
    }
}
