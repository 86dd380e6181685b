//! One `forward` directive: which upstream is asked, how often, and what a failure becomes (plugin/forward/forward.go,
//! func ServeDNS).

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::counts::ForwardCounts;
use super::hosts::Target;
use super::policy::Order;
use super::reply::{Question, Reply};
use super::tls;
use super::upstream::Upstream;
use crate::answer::{LookupError, Rcode, Transport};
use crate::config::Forward;

/// How long a query may take over all attempts (defaultTimeout).
const DEADLINE: Duration = Duration::from_secs(5);
/// Attempts for each upstream, on average (defaultConnectAttemptsPerUpstream).
const ATTEMPTS_PER_UPSTREAM: u64 = 2;
/// Where attempts are not counted, all upstreams are asked once more no sooner than after this: a refusal comes at once.
const ROUND_MIN: Duration = Duration::from_millis(20);

/// The upstreams of one `forward` directive.
pub struct Forwarder {
    options: Forward,
    /// `cancel`: how long a query may take over all attempts, if that is less than [`DEADLINE`].
    cancel: Option<Duration>,
    targets: Vec<Target>,
    upstreams: Vec<Arc<Upstream>>,
    turn: AtomicU32,
    in_flight: AtomicUsize,
    counts: Arc<ForwardCounts>,
}

/// What a directive makes of a query.
pub(super) enum Given {
    /// An answer.
    Answer(Vec<u8>),
    /// The next `forward` of the block is to be asked.
    Next,
}

/// One more query under way, for as long as this lives.
pub(super) struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Forwarder {
    /// A forwarder; its upstreams are taken for healthy until one fails.
    ///
    /// # Errors
    /// If TLS cannot be had as the directive says.
    pub fn new(options: Forward, cancel: Option<Duration>, targets: Vec<Target>) -> Result<Self, String> {
        let config = match targets.iter().any(|target| target.tls) {
            true => Some(tls::config(&options.tls)?),
            false => None,
        };
        let mut upstreams = Vec::new();
        for target in &targets {
            let tls = match (&config, target.tls) {
                (Some(config), true) => {
                    Some(tls::for_upstream(config, target.server_name.as_deref(), target.address.ip())?)
                }
                _ => None,
            };
            upstreams.push(Arc::new(Upstream::new(target.clone(), tls, &options)));
        }
        let counts = upstreams.iter().map(|upstream| (upstream.address().to_string(), upstream.counts())).collect();
        let from = options.from.clone();
        let counts = Arc::new(ForwardCounts { from, upstreams: counts, ..ForwardCounts::default() });
        let (turn, in_flight) = (AtomicU32::new(0), AtomicUsize::new(0));
        Ok(Self { options, cancel, targets, upstreams, turn, in_flight, counts })
    }

    /// Whether it was made of these.
    pub fn is_for(&self, options: &Forward, cancel: Option<Duration>, targets: &[Target]) -> bool {
        (&self.options, self.cancel, &self.targets[..]) == (options, cancel, targets)
    }

    /// All upstreams.
    pub(super) fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// Whether they are asked over TCP, however the client came.
    pub(super) fn asks_over_tcp(&self) -> bool {
        self.options.force_tcp
    }

    /// The upstreams that do not send back what they are asked.
    fn sound(&self) -> Cow<'_, [Arc<Upstream>]> {
        if !self.upstreams.iter().any(|upstream| upstream.is_looping()) {
            return Cow::Borrowed(&self.upstreams);
        }
        self.upstreams.iter().filter(|upstream| !upstream.is_looping()).cloned().collect()
    }

    /// What is counted of it.
    pub fn counts(&self) -> Arc<ForwardCounts> {
        Arc::clone(&self.counts)
    }

    /// A place for a query, or the refusal of `max_concurrent`.
    pub(super) fn enter(&self) -> Result<InFlight<'_>, LookupError> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = InFlight(&self.in_flight);
        match self.options.max_concurrent {
            Some(most) if before >= most => {
                self.counts.rejected.add();
                let reason = format!("concurrent queries exceeded maximum {most}");
                Err(LookupError { rcode: Rcode::REFUSED, reason })
            }
            _ => Ok(place),
        }
    }

    /// Asks; `is_last` says that no other `forward` of the block stands behind this one.
    pub(super) async fn ask(
        &self,
        question: Question<'_>,
        transport: Transport,
        is_last: bool,
    ) -> Result<Given, LookupError> {
        let options = &self.options;
        let over_tcp = options.force_tcp || transport == Transport::Tcp && !options.prefer_udp;
        let begun = Instant::now();
        let deadline = self.cancel.unwrap_or(DEADLINE).min(DEADLINE);
        let upstreams = self.sound();
        let count = upstreams.len();
        if count == 0 {
            return Err(LookupError::servfail("all upstreams send queries back here (plugin/loop)"));
        }
        let order = Order::new(options.policy, count, &self.turn);
        let attempts_max = match options.max_connect_attempts {
            None => ATTEMPTS_PER_UPSTREAM * count as u64,
            Some(0) => u64::MAX,
            Some(most) => u64::from(most),
        };
        let (mut place, mut down, mut attempts, mut failovers) = (0, 0, 0, 0);
        let mut failure = None;
        while attempts < attempts_max {
            let left = deadline.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break;
            }
            if place >= count {
                (place, down) = (0, 0);
                if attempts >= ATTEMPTS_PER_UPSTREAM * count as u64 {
                    tokio::time::sleep(ROUND_MIN.min(left)).await;
                }
            }
            let Some(mut upstream) = upstreams.get(order.at(place)) else { break };
            place += 1;
            if upstream.is_down(options.max_fails) {
                down += 1;
                if down < count {
                    continue;
                }
                self.counts.broken.add();
                if options.failfast {
                    break;
                }
                // The health checks themselves are doubted, and any is tried.
                let Some(any) = upstreams.get(rand::rng().random_range(0..count)) else { break };
                upstream = any;
            }
            let reply = match self.attempt(upstream, question, over_tcp, left).await {
                Ok(reply) => reply,
                Err(error) => {
                    failure = Some(error);
                    upstream.doubt(options.max_fails);
                    attempts += 1;
                    if down < count {
                        continue;
                    }
                    break;
                }
            };
            failure = None;
            if options.failover.contains(&reply.rcode) {
                failovers += 1;
                if failovers < count {
                    continue;
                }
            }
            let is_left = options.next.contains(&reply.rcode) || options.next_on_nodata && reply.is_empty();
            return Ok(if is_left && !is_last { Given::Next } else { Given::Answer(reply.message) });
        }
        Err(LookupError::servfail(failure.unwrap_or_else(|| "no healthy proxies".into())))
    }

    /// Asks one upstream. A cut answer goes to the client as it is, who then comes over TCP; with `prefer_udp` we go
    /// ourselves.
    async fn attempt(
        &self,
        upstream: &Upstream,
        question: Question<'_>,
        over_tcp: bool,
        left: Duration,
    ) -> Result<Reply, String> {
        let begun = Instant::now();
        let read = self.options.read_timeout;
        let reply = upstream.exchange(question, over_tcp, read, left).await?;
        if over_tcp || !self.options.prefer_udp || !reply.is_cut() {
            return Ok(reply);
        }
        upstream.exchange(question, true, read, left.saturating_sub(begun.elapsed())).await
    }
}
