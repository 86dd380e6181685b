//! One upstream: exchanges with it, its connections, and whether it is up.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::counts::{Proto, UpstreamCounts};
use super::hosts::{Target, query};
use super::letters::Letters;
use super::pool::{Keeping, Pool};
use super::reply::{Question, Reply};
use super::stream::{Connection, Tls};
use super::udp::{Received, Sockets};
use crate::answer::query::rtype;
use crate::config::Forward;

/// How long a health check waits (plugin/pkg/proxy/health.go, setDefaultTimeout).
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// The least time between checks, whatever is configured: a refusal comes back at once.
const CHECK_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// How long a connection may take to be made, by what it took before (plugin/pkg/proxy/persistent.go).
const DIAL_MIN: Duration = Duration::from_secs(1);
const DIAL_MAX: Duration = Duration::from_secs(30);
/// What the last one weighs in their average is one in this many (plugin/pkg/proxy/connect.go, cumulativeAvgWeight).
const DIAL_WEIGHT: u64 = 4;
/// So many answers in a row with other letters, and the upstream is taken for one that does not keep them: to come so far,
/// a forger needs luck with ID and port as often, and then gains no more than the letters.
const DOUBTS_MAX: u8 = 3;

/// An upstream.
pub(super) struct Upstream {
    target: Target,
    source: Option<IpAddr>,
    tls: Option<Tls>,
    /// Whether it is checked over TCP, as it is asked.
    checks_over_tcp: bool,
    check_interval: Duration,
    check_query: Vec<u8>,
    /// Health checks that failed in a row.
    fails: AtomicU32,
    /// A check goes on.
    checking: AtomicBool,
    sockets: Sockets,
    pool: Arc<Pool>,
    /// How long connections took to be made, on average, in nanoseconds.
    dial_average: AtomicU64,
    /// Answers in a row whose letters were others.
    doubts: AtomicU8,
    counts: Arc<UpstreamCounts>,
}

/// How an exchange over a connection failed.
enum Broken {
    /// Others may have been told of this connection's end: it was an old one.
    Stale,
    /// For this reason.
    For(String),
}

impl Upstream {
    pub(super) fn new(target: Target, tls: Option<Tls>, options: &Forward) -> Self {
        let check = &options.health_check;
        // A name that was checked is one that can be asked for.
        let mut check_query = query(&check.domain, rtype::NS).unwrap_or_default();
        if let Some(flags) = check_query.get_mut(2).filter(|_| !check.recursion) {
            *flags = 0;
        }
        let keeping = Keeping { expire: options.expire, max_age: options.max_age, most: options.max_idle_conns };
        Self {
            source: options.source_address,
            checks_over_tcp: options.force_tcp || tls.is_some(),
            check_interval: check.interval.max(CHECK_INTERVAL_MIN),
            check_query,
            fails: AtomicU32::new(0),
            checking: AtomicBool::new(false),
            sockets: Sockets::new(target.address, options.source_address),
            pool: Pool::new(keeping),
            dial_average: AtomicU64::new(nanos(DIAL_MAX / 2)),
            doubts: AtomicU8::new(0),
            counts: Arc::default(),
            target,
            tls,
        }
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.target.address
    }

    /// What is counted of it.
    pub(super) fn counts(&self) -> Arc<UpstreamCounts> {
        Arc::clone(&self.counts)
    }

    /// Whether it sends back what it is asked.
    pub(super) fn is_looping(&self) -> bool {
        self.counts.is_looping()
    }

    /// Whether more checks than `max_fails` failed in a row; with 0 it is never down.
    pub(super) fn is_down(&self, max_fails: u32) -> bool {
        max_fails > 0 && self.fails.load(Ordering::Relaxed) > max_fails
    }

    /// Asks once, on behalf of a client, and counts that. Reading may take `read`, and all of it no longer than `left`.
    ///
    /// # Errors
    /// If there is no answer, in words for the log.
    pub(super) async fn exchange(
        &self,
        question: Question<'_>,
        over_tcp: bool,
        read: Duration,
        left: Duration,
    ) -> Result<Reply, String> {
        let begun = Instant::now();
        let reply = if over_tcp || self.tls.is_some() {
            self.over_stream(question, read, left).await?
        } else {
            self.over_udp(question, read, left).await?
        };
        self.counts.answered(reply.rcode, begun.elapsed());
        Ok(reply)
    }

    async fn over_udp(&self, question: Question<'_>, read: Duration, left: Duration) -> Result<Reply, String> {
        let begun = Instant::now();
        let turns = question.may_turn && self.doubts.load(Ordering::Relaxed) < DOUBTS_MAX;
        let letters = if turns { Letters::random() } else { Letters::KEPT };
        self.counts.exchange(Proto::Udp, false);
        let exchange = self.sockets.exchange(question, letters);
        let received = match timeout(read.min(left), exchange).await {
            Ok(received) => received.map_err(|error| self.failed(&error))?,
            Err(_) => return Err(self.timed_out()),
        };
        match received {
            Received::Answer(message) => {
                // What is right once was not doubted for a reason.
                if turns && self.doubts.load(Ordering::Relaxed) != 0 {
                    self.doubts.store(0, Ordering::Relaxed);
                }
                question.read(message, letters).ok_or_else(|| self.malformed())
            }
            // Over TCP nobody else can answer.
            Received::OtherLetters => {
                if self.doubts.fetch_add(1, Ordering::Relaxed) + 1 == DOUBTS_MAX {
                    tracing::warn!(
                        target: "plugin/forward",
                        "{} does not repeat the letters of a question as they were written: its answers are taken \
                         in any case of letters",
                        self.target.address
                    );
                }
                self.over_stream(question, read, left.saturating_sub(begun.elapsed())).await
            }
        }
    }

    async fn over_stream(&self, question: Question<'_>, read: Duration, left: Duration) -> Result<Reply, String> {
        let begun = Instant::now();
        loop {
            let left = left.saturating_sub(begun.elapsed());
            match self.over_connection(question, read, left).await {
                Ok(message) => return question.read(message, Letters::KEPT).ok_or_else(|| self.malformed()),
                // There are only so many old ones.
                Err(Broken::Stale) => {}
                Err(Broken::For(reason)) => return Err(reason),
            }
        }
    }

    async fn over_connection(&self, question: Question<'_>, read: Duration, left: Duration) -> Result<Vec<u8>, Broken> {
        let begun = Instant::now();
        let proto = if self.tls.is_some() { Proto::Tls } else { Proto::Tcp };
        let cached = self.pool.take();
        let is_cached = cached.is_some();
        self.counts.exchange(proto, is_cached);
        let mut connection = match cached {
            Some(connection) => connection,
            None => self.connect(left).await.map_err(Broken::For)?,
        };
        let patience = read.min(left.saturating_sub(begun.elapsed()));
        match timeout(patience, connection.exchange(question)).await {
            Ok(Ok((message, can_go_on))) => {
                if can_go_on {
                    self.pool.give(connection);
                }
                Ok(message)
            }
            Ok(Err(error)) if is_cached && is_end(&error) => Err(Broken::Stale),
            Ok(Err(error)) => Err(Broken::For(self.failed(&error))),
            Err(_) => Err(Broken::For(self.timed_out())),
        }
    }

    async fn connect(&self, left: Duration) -> Result<Connection, String> {
        let average = Duration::from_nanos(self.dial_average.load(Ordering::Relaxed));
        let patience = if average < DIAL_MIN { DIAL_MIN } else { (2 * average).min(DIAL_MAX) };
        let begun = Instant::now();
        let opening = Connection::open(self.target.address, self.source, self.tls.as_ref());
        let opened = timeout(patience.min(left), opening).await;
        self.note_dial(begun.elapsed());
        match opened {
            Ok(connection) => connection.map_err(|error| self.failed(&error)),
            Err(_) => Err(self.timed_out()),
        }
    }

    fn note_dial(&self, took: Duration) {
        let average = self.dial_average.load(Ordering::Relaxed);
        let moved = average - average / DIAL_WEIGHT + nanos(took.min(DIAL_MAX)) / DIAL_WEIGHT;
        // Two at a time may lose one: it is an average.
        self.dial_average.store(moved, Ordering::Relaxed);
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.target.address)
    }

    fn timed_out(&self) -> String {
        format!("{}: i/o timeout", self.target.address)
    }

    fn malformed(&self) -> String {
        format!("{}: the response is malformed", self.target.address)
    }

    /// Begins to check whether it is up, unless that goes on already: until a check succeeds, or nobody asks it any more.
    pub(super) fn doubt(self: &Arc<Self>, max_fails: u32) {
        if max_fails == 0 || self.checking.swap(true, Ordering::AcqRel) {
            return;
        }
        let upstream = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(upstream) = upstream.upgrade() {
                if upstream.check().await {
                    upstream.fails.store(0, Ordering::Relaxed);
                    upstream.checking.store(false, Ordering::Release);
                    return;
                }
                let fails = upstream.fails.load(Ordering::Relaxed).saturating_add(1);
                upstream.fails.store(fails, Ordering::Relaxed);
                upstream.counts.check_failures.add();
                let interval = upstream.check_interval;
                drop(upstream);
                tokio::time::sleep(interval).await;
            }
        });
    }

    /// Asks for the name servers of a zone; any answer at all is a good one.
    async fn check(&self) -> bool {
        let Some(question) = Question::of_check(&self.check_query) else { return true };
        let check = async {
            if self.checks_over_tcp {
                let mut connection = Connection::open(self.target.address, self.source, self.tls.as_ref()).await?;
                connection.exchange(question).await.map(|_| ())
            } else {
                self.sockets.exchange(question, Letters::KEPT).await.map(|_| ())
            }
        };
        matches!(timeout(CHECK_TIMEOUT, check).await, Ok(Ok(())))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether an error is how the other side's end of a connection shows.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}
