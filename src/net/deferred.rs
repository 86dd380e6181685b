//! Queries that wait for other servers: on the runtime, off the threads that answer at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Exchange, Path, Service};
use crate::answer::{Deferred, Lookup, LookupError, Made, Outcome, Refresh, Transport};
use crate::tsig;

/// Queries that may wait at a time, over all clients of a listener. One more is dropped, as one that a full socket
/// buffer drops is: the client asks again.
const WAITING_MAX: usize = 10_000;
/// Answers that may be asked for anew at a time, for no client.
const REFRESHING_MAX: usize = 1000;

/// When a walk through a search path begins no further lookup, of which each may take as long (plugin/forward, func
/// ServeDNS): libcs wait for so long.
const WALK_MAX: Duration = Duration::from_secs(5);

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
        let transport = self.transport;
        let mut response = Vec::new();
        // A walk goes from lookup to lookup, and is signed at its end.
        let mut signer = self.deferred.signer.take_if(|_| self.deferred.walk.is_some());
        let answered = loop {
            let responses = look_up(&service, &mut self.deferred, transport).await;
            let (responder, block) = (&service.responder, self.deferred.block);
            let Some(mut walk) = self.deferred.walk.take() else {
                let made = responder.resume(&self.packet, transport, self.deferred, responses, &mut response);
                match made {
                    Some(made) => break made,
                    None => return,
                }
            };
            let made = responder.resume(walk.packet(), transport, self.deferred, responses, &mut response);
            let Some(made) = made.map(Made::of) else { return };
            if self.received.elapsed() >= WALK_MAX {
                walk.give_up();
            }
            match responder.walk_on(&self.packet, *walk, block, made, &mut response) {
                Some(Outcome::Answered(answered)) => break answered,
                Some(Outcome::Refreshing(answered, refreshes)) => {
                    refresh(&service, refreshes);
                    break answered;
                }
                Some(Outcome::Deferred(deferred)) => self.deferred = deferred,
                Some(Outcome::Dropped(dropped)) => {
                    let took = self.received.elapsed();
                    let exchange = Exchange { client: &self.client, transport, took, response: &[] };
                    return service.observer.answered(&exchange, &dropped);
                }
                Some(Outcome::Ignored | Outcome::Transfer(_)) | None => return,
            }
        };
        if let Some(signer) = &mut signer {
            signer.sign(&mut response, tsig::now());
        }
        if service.observer.is_watching() {
            let (client, took) = (&self.client, self.received.elapsed());
            service.observer.answered(&Exchange { client, transport, took, response: &response }, &answered);
            service.observer.went(Path::Elsewhere, 1);
        }
        reply(response);
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

async fn look_up(
    service: &Arc<Service>,
    deferred: &mut Deferred,
    transport: Transport,
) -> Vec<Result<Vec<u8>, LookupError>> {
    let mut lookups = std::mem::take(&mut deferred.lookups).into_iter();
    match (lookups.next(), lookups.len()) {
        // As a rule there is one.
        (Some(lookup), 0) => vec![match deferred.patience() {
            Some(patience) => ask_within(service, deferred, lookup, (transport, patience)).await,
            None => service.elsewhere.ask(lookup, transport).await,
        }],
        (first, _) => {
            let all = first.into_iter().chain(lookups);
            join_all(all.map(|lookup| service.elsewhere.ask(lookup, transport))).await
        }
    }
}

/// Asks, and waits so long for the answer; one that comes later is kept for others.
async fn ask_within(
    service: &Arc<Service>,
    deferred: &mut Deferred,
    lookup: Lookup,
    (transport, patience): (Transport, Duration),
) -> Result<Vec<u8>, LookupError> {
    let asking = Arc::clone(service);
    let mut asked = tokio::spawn(async move { asking.elsewhere.ask(lookup, transport).await });
    let lost = || LookupError::servfail("the upstream was not asked");
    match timeout(patience, &mut asked).await {
        Ok(answered) => answered.unwrap_or_else(|_| Err(lost())),
        Err(_) => {
            if let Some(keeping) = deferred.give_up() {
                tokio::spawn(async move { keeping.keep(asked.await.unwrap_or_else(|_| Err(lost()))) });
            }
            Err(LookupError::servfail("the upstream takes too long"))
        }
    }
}
