//! Asking other servers (`forward`): which upstream, how often, and what a failure becomes.
//!
//! The order of upstreams, the health checks and the limits are CoreDNS's (plugin/forward); the exchange itself is
//! hickory's, which chooses ports and IDs that cannot be foreseen and takes no answer that does not match.

mod counts;
mod sockets;
mod upstream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use hickory_proto::op::Message;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

pub use self::counts::{Count, ForwardCounts, UpstreamCounts};
use self::upstream::Upstream;
use crate::answer::{Lookup, LookupError, Rcode, Transport};
use crate::config::{Forward, Policy};
use crate::net::Elsewhere;

/// How long a query may take over all attempts (plugin/forward, defaultTimeout).
const DEADLINE: Duration = Duration::from_secs(5);
/// Attempts for each upstream, on average (defaultConnectAttemptsPerUpstream).
const ATTEMPTS_PER_UPSTREAM: usize = 2;

/// The upstreams of one `forward` directive.
pub struct Forwarder {
    options: Forward,
    /// `cancel`: how long a query may take over all attempts, if that is less than [`DEADLINE`].
    cancel: Option<Duration>,
    upstreams: Vec<Arc<Upstream>>,
    turn: AtomicU32,
    in_flight: AtomicUsize,
    counts: Arc<ForwardCounts>,
}

/// The forwarders of all server blocks, by [`Block::id`](crate::answer::Block::id).
#[derive(Default)]
pub struct Forwarders(pub Vec<Option<Arc<Forwarder>>>);

impl Forwarders {
    /// What is counted of each.
    pub fn counts(&self) -> Vec<Arc<ForwardCounts>> {
        self.0.iter().flatten().map(|forwarder| forwarder.counts()).collect()
    }
}

impl Elsewhere for Forwarders {
    fn ask(&self, lookup: Lookup, transport: Transport) -> BoxFuture<'_, Result<Vec<u8>, LookupError>> {
        Box::pin(async move {
            match self.0.get(lookup.block).and_then(Option::as_deref) {
                Some(forwarder) => forwarder.ask(&lookup.query, transport).await,
                None => Err(LookupError::servfail("no next plugin found")),
            }
        })
    }
}

/// One more query under way, for as long as this lives.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Forwarder {
    /// A forwarder; its upstreams are taken for healthy until one fails.
    pub fn new(options: Forward, cancel: Option<Duration>) -> Self {
        let upstreams: Vec<_> = options.to.iter().map(|address| Arc::new(Upstream::new(*address, &options))).collect();
        let counts = upstreams.iter().map(|upstream| (upstream.address().to_string(), upstream.counts())).collect();
        let counts = Arc::new(ForwardCounts { upstreams: counts, ..ForwardCounts::default() });
        Self { options, cancel, upstreams, turn: AtomicU32::new(0), in_flight: AtomicUsize::new(0), counts }
    }

    /// Whether it was made of these.
    pub fn is_for(&self, options: &Forward, cancel: Option<Duration>) -> bool {
        (&self.options, self.cancel) == (options, cancel)
    }

    /// What is counted of it.
    pub fn counts(&self) -> Arc<ForwardCounts> {
        Arc::clone(&self.counts)
    }

    async fn ask(&self, query: &[u8], transport: Transport) -> Result<Vec<u8>, LookupError> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let _in_flight = InFlight(&self.in_flight);
        if self.options.max_concurrent.is_some_and(|most| before >= most) {
            self.counts.rejected.add();
            let most = self.options.max_concurrent.unwrap_or_default();
            let reason = format!("concurrent queries exceeded maximum {most}");
            return Err(LookupError { rcode: Rcode::REFUSED, reason });
        }
        let Ok(query) = Message::from_vec(query) else {
            return Err(LookupError { rcode: Rcode::FORMERR, reason: "the query cannot be read".into() });
        };
        let over_tcp = self.options.force_tcp || transport == Transport::Tcp && !self.options.prefer_udp;
        let begun = Instant::now();
        let deadline = self.cancel.unwrap_or(DEADLINE).min(DEADLINE);
        let order = self.order();
        let mut at = 0;
        let mut failure = None;
        for _ in 0..order.len() * ATTEMPTS_PER_UPSTREAM {
            let left = deadline.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break;
            }
            let up = self.next_up(&order, at);
            at = up.map_or(at, |up| up + 1);
            if up.is_none() {
                self.counts.broken.add();
            }
            // Where none is up, the health checks themselves are doubted, and any is tried, once.
            let upstream = up.map_or_else(|| order.choose(&mut rand::rng()), |up| order.get(up));
            let Some(upstream) = upstream else { break };
            match self.attempt(upstream, &query, over_tcp, left).await {
                Ok(response) => return Ok(response),
                Err(error) => {
                    failure = Some(error);
                    upstream.doubt(&self.options);
                }
            }
            if up.is_none() {
                break;
            }
        }
        Err(LookupError::servfail(failure.unwrap_or_else(|| "no healthy proxies".into())))
    }

    /// Asks one upstream. A cut answer goes to the client as it is, who then comes over TCP; with `prefer_udp` we go
    /// ourselves.
    async fn attempt(
        &self,
        upstream: &Upstream,
        query: &Message,
        over_tcp: bool,
        left: Duration,
    ) -> Result<Vec<u8>, String> {
        let begun = Instant::now();
        let response = upstream.exchange(query, over_tcp, left.min(self.options.read_timeout)).await?;
        if over_tcp || !self.options.prefer_udp || !is_truncated(&response) {
            return Ok(response);
        }
        let left = left.saturating_sub(begun.elapsed());
        upstream.exchange(query, true, left.min(self.options.read_timeout)).await
    }

    /// The next upstream that is up, round about from a place in the order. Checks go on meanwhile: which ones are up may
    /// be another answer each time.
    fn next_up(&self, order: &[Arc<Upstream>], from: usize) -> Option<usize> {
        let places = (0..order.len()).map(|step| (from + step) % order.len());
        places.into_iter().find(|at| order.get(*at).is_some_and(|upstream| !upstream.is_down(self.options.max_fails)))
    }

    fn order(&self) -> Vec<Arc<Upstream>> {
        let mut order = self.upstreams.clone();
        match self.options.policy {
            Policy::Random => order.shuffle(&mut rand::rng()),
            Policy::RoundRobin => {
                // The one whose turn it is, then the others as they stand.
                let turn = self.turn.fetch_add(1, Ordering::Relaxed).wrapping_add(1) as usize;
                let first = order.remove(turn % order.len());
                order.insert(0, first);
            }
            Policy::Sequential => {}
        }
        order
    }
}

fn is_truncated(response: &[u8]) -> bool {
    response.get(2).is_some_and(|flags| flags & 0x02 != 0)
}
