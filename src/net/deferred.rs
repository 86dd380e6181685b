//! Queries that wait for other servers: on the runtime, off the threads that answer at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Exchange, Path, Service};
use crate::answer::{Deferred, Lookup, LookupError, Refresh, Transport};

/// Queries that may wait at a time, over all clients of a listener. One more is dropped, as one that a full socket
/// buffer drops is: the client asks again.
const WAITING_MAX: usize = 10_000;
/// Answers that may be asked for anew at a time, for no client.
const REFRESHING_MAX: usize = 1000;

/// Asks other servers.
pub trait Elsewhere: Send + Sync {
    /// The response to a lookup, in wire form; `transport` is how the client came.
    fn ask(&self, lookup: Lookup, transport: Transport) -> BoxFuture<'_, Result<Vec<u8>, LookupError>>;
}

/// Where deferred queries wait.
#[derive(Clone, Debug)]
pub struct WaitingRoom {
    runtime: Handle,
    places: Arc<Semaphore>,
    /// Places of questions for which no client waits. Nobody waits for them at the end.
    refreshing: Arc<Semaphore>,
}

impl WaitingRoom {
    /// A room whose queries wait on this runtime.
    pub fn new(runtime: Handle) -> Self {
        let room = |places| Arc::new(Semaphore::new(places));
        Self { runtime, places: room(WAITING_MAX), refreshing: room(REFRESHING_MAX) }
    }

    /// Where they wait.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Waits until nobody waits here any more.
    pub(super) async fn emptied(&self) {
        // The semaphore is never closed.
        let _ = self.places.acquire_many(u32::try_from(WAITING_MAX).unwrap_or(u32::MAX)).await;
    }
}

/// A query that waits.
pub(super) struct Waiting {
    pub(super) packet: Vec<u8>,
    pub(super) client: SocketAddr,
    pub(super) transport: Transport,
    pub(super) received: Instant,
    pub(super) deferred: Deferred,
}

impl Waiting {
    /// Lets the query wait, and hands its answer over; `false` if the room is full and it does not wait.
    pub(super) fn start(self, service: &Arc<Service>, reply: impl FnOnce(Vec<u8>) + Send + 'static) -> bool {
        let Ok(place) = Arc::clone(&service.waiting.places).try_acquire_owned() else { return false };
        let shared = Arc::clone(service);
        service.waiting.runtime.spawn(async move { self.wait(shared, place, reply).await });
        true
    }

    async fn wait(mut self, service: Arc<Service>, _place: OwnedSemaphorePermit, reply: impl FnOnce(Vec<u8>)) {
        let lookups = std::mem::take(&mut self.deferred.lookups);
        let transport = self.transport;
        let mut lookups = lookups.into_iter();
        let responses = match (lookups.next(), lookups.len()) {
            // As a rule there is one.
            (Some(lookup), 0) => vec![match self.deferred.patience() {
                Some(patience) => self.ask_within(&service, lookup, patience).await,
                None => service.elsewhere.ask(lookup, transport).await,
            }],
            (first, _) => {
                let all = first.into_iter().chain(lookups);
                join_all(all.map(|lookup| service.elsewhere.ask(lookup, transport))).await
            }
        };
        let mut response = Vec::new();
        let answered = service.responder.resume(&self.packet, transport, self.deferred, responses, &mut response);
        let Some(answered) = answered else { return };
        if service.observer.is_watching() {
            let (client, took) = (&self.client, self.received.elapsed());
            service.observer.answered(&Exchange { client, transport, took, response: &response }, &answered);
            service.observer.went(Path::Elsewhere, 1);
        }
        reply(response);
    }

    /// Asks, and waits so long for the answer; one that comes later is kept for others.
    async fn ask_within(
        &mut self,
        service: &Arc<Service>,
        lookup: Lookup,
        patience: Duration,
    ) -> Result<Vec<u8>, LookupError> {
        let (asking, transport) = (Arc::clone(service), self.transport);
        let mut asked = tokio::spawn(async move { asking.elsewhere.ask(lookup, transport).await });
        let lost = || LookupError::servfail("the upstream was not asked");
        match timeout(patience, &mut asked).await {
            Ok(answered) => answered.unwrap_or_else(|_| Err(lost())),
            Err(_) => {
                if let Some(keeping) = self.deferred.give_up() {
                    tokio::spawn(async move { keeping.keep(asked.await.unwrap_or_else(|_| Err(lost()))) });
                }
                Err(LookupError::servfail("the upstream takes too long"))
            }
        }
    }
}

/// Asks for what is kept anew, for no client. What there is no room for is not asked for.
pub(super) fn refresh(service: &Arc<Service>, refreshes: Vec<Refresh>) {
    for Refresh { lookup, keeping } in refreshes {
        let Ok(place) = Arc::clone(&service.waiting.refreshing).try_acquire_owned() else { return };
        let asking = Arc::clone(service);
        service.waiting.runtime.spawn(async move {
            let _place = place;
            // TCP cuts nothing (plugin/cache/cache.go, prefetchAddr).
            keeping.keep(asking.elsewhere.ask(lookup, Transport::Tcp).await);
        });
    }
}
