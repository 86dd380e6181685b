//! Transfers over a connection: one at a time, message by message as the client takes them, and over all connections so
//! many at a time.
//!
//! What a transfer takes is a version that is held on to, which it shares with all that give the same, and the messages
//! of one turn. A client that does not read is cut off by the connection's own limit.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::answer::Rcode;
use crate::net::Service;
use crate::panics::contain;
use crate::transfer::{Kind, Outcome, Stream, Transfers};
use crate::tsig;

/// Transfers under way at a time. Each takes a turn among the connections, and none is done sooner for being one of many.
const TRANSFERS_MAX: usize = 16;
/// Those of one client: whoever never reads keeps places for nobody else.
const TRANSFERS_PER_CLIENT: usize = 4;
/// How long one may wait for a place. A secondary of many zones asks for all of them at once; to be refused, it would
/// wait for its retry time, half an hour.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The shortest time between two lines that say that somebody waited in vain.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

/// What a listener transfers, and to how many at a time.
#[derive(Debug, Default)]
pub struct Transferring {
    /// What.
    pub transfers: Transfers,
    /// To how many: shared by all listeners.
    pub slots: Arc<Slots>,
}

/// Places for transfers.
#[derive(Debug)]
pub struct Slots {
    all: Arc<Semaphore>,
    clients: DashMap<IpAddr, Arc<Semaphore>>,
    begun: Instant,
    /// When it was last said that somebody waited in vain, in milliseconds since `begun`, and one more; 0 is never.
    complained: AtomicU64,
}

impl Default for Slots {
    fn default() -> Self {
        let all = Arc::new(Semaphore::new(TRANSFERS_MAX));
        Self { all, clients: DashMap::new(), begun: Instant::now(), complained: AtomicU64::new(0) }
    }
}

/// A place that is taken; dropped, it is free.
struct Slot {
    slots: Arc<Slots>,
    client: IpAddr,
    of_client: Option<OwnedSemaphorePermit>,
    _of_all: OwnedSemaphorePermit,
}

impl Slots {
    /// Waits for a place; `None` if there is none for too long.
    async fn take(self: Arc<Self>, client: IpAddr) -> Option<Slot> {
        let take = async {
            let of_client = {
                let new = || Arc::new(Semaphore::new(TRANSFERS_PER_CLIENT));
                Arc::clone(&self.clients.entry(client).or_insert_with(new))
            };
            let of_client = of_client.acquire_owned().await.ok()?;
            let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some((of_client, of_all))
        };
        let taken = timeout(WAIT_MAX, take).await.ok().flatten();
        match taken {
            Some((of_client, of_all)) => {
                Some(Slot { slots: Arc::clone(&self), client, of_client: Some(of_client), _of_all: of_all })
            }
            None => {
                self.forget(client);
                self.complain(client);
                None
            }
        }
    }

    /// Lets go of what is kept of a client who has no place and waits for none.
    fn forget(&self, client: IpAddr) {
        self.clients.remove_if(&client, |_, places| Arc::strong_count(places) == 1);
    }

    fn complain(&self, client: IpAddr) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let last = self.complained.load(Ordering::Relaxed);
        let pause = u64::try_from(COMPLAINT_PAUSE.as_millis()).unwrap_or(u64::MAX);
        if last == 0 || now.saturating_sub(last) >= pause {
            self.complained.store(now, Ordering::Relaxed);
            tracing::warn!(
                target: "plugin/transfer",
                "{client} waited {WAIT_MAX:?} for a transfer and got none: {TRANSFERS_MAX} are under way, or \
                 {TRANSFERS_PER_CLIENT} to it"
            );
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.of_client = None;
        self.slots.forget(self.client);
    }
}

/// A transfer over a connection.
pub(super) struct UnderWay {
    /// What it was asked of, whatever takes its place meanwhile.
    pub(super) service: Arc<Service>,
    stream: Box<Stream>,
    place: Place,
    client: IpAddr,
    /// The query, for whoever is told of the first message.
    pub(super) packet: Vec<u8>,
    /// The server block.
    pub(super) block: usize,
    pub(super) begun: Instant,
}

enum Place {
    Waiting(BoxFuture<'static, Option<Slot>>),
    /// Held until the transfer ends.
    Taken(#[allow(dead_code, reason = "it is given back when it is dropped")] Slot),
    Ended,
}

/// What a transfer has to give.
pub(super) enum Next {
    /// Nothing before others have given their place.
    Wait,
    /// A message.
    Message {
        /// Whether it is the first.
        is_first: bool,
    },
    /// The end.
    End,
    /// No more, and nothing that says so: the connection is to be closed.
    Broken,
}

impl UnderWay {
    pub(super) fn new(service: &Arc<Service>, stream: Box<Stream>, client: IpAddr, asked: (Vec<u8>, usize)) -> Self {
        let slots = Arc::clone(&service.transferring.slots);
        let place = Place::Waiting(Box::pin(slots.take(client)));
        let service = Arc::clone(service);
        Self { service, stream, place, client, packet: asked.0, block: asked.1, begun: Instant::now() }
    }

    /// Whether it goes on without anything to wait for.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.place, Place::Taken(_))
    }

    /// Makes the next message.
    pub(super) fn poll_next(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Next {
        if let Place::Waiting(place) = &mut self.place {
            match place.as_mut().poll(cx) {
                Poll::Pending => return Next::Wait,
                Poll::Ready(Some(slot)) => self.place = Place::Taken(slot),
                Poll::Ready(None) => {
                    self.place = Place::Ended;
                    self.stream.fail(Rcode::SERVFAIL, out, tsig::now());
                    return Next::Message { is_first: true };
                }
            }
        }
        if matches!(self.place, Place::Ended) {
            return Next::End;
        }
        let is_first = self.stream.summary().octets == 0;
        // A panic costs this transfer.
        match contain(|| self.stream.next(out, tsig::now())) {
            Some(true) => Next::Message { is_first },
            Some(false) => {
                self.end();
                Next::End
            }
            None => Next::Broken,
        }
    }

    /// All was given, and taken as far as the kernel says.
    fn end(&mut self) {
        self.place = Place::Ended;
        let summary = self.stream.summary();
        self.stream.counters().ended(&summary);
        let (zone, client) = (self.stream.zone(), self.client);
        let (records, serial) = (summary.records, summary.serial);
        match summary.kind {
            Kind::Full => tracing::info!(
                target: "plugin/transfer",
                "Outgoing transfer of {records} records of zone \"{zone}\" to {client} for {serial} SOA serial"
            ),
            // One a second for each zone and secondary.
            Kind::Incremental | Kind::Soa => tracing::debug!(
                target: "plugin/transfer",
                "Outgoing incremental transfer of {records} records of zone \"{zone}\" to {client} for {serial} SOA serial"
            ),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !matches!(self.place, Place::Ended) {
            self.stream.counters().count(Outcome::CutOff);
            let (zone, client, records) = (self.stream.zone(), self.client, self.stream.summary().records);
            tracing::info!(
                target: "plugin/transfer",
                "Transfer of zone \"{zone}\" to {client} was cut off after {records} records"
            );
        }
    }
}
