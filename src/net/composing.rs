//! The general path of UDP: what is not prepared is composed on a thread of its own, behind a queue.
//!
//! A worker never composes: however much there is of what is rare, or made to be costly, it takes nothing from the
//! queries that are answered at once. What does not fit into the queue is shed, and counted; the client asks again.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use super::deferred::{Waiting, refresh};
use super::mmsg::WayBack;
use super::{Exchange, Path, Service};
use crate::answer::query::{Parsed, parse};
use crate::answer::{Answered, By, Client, Outcome, Rcode};
use crate::panics::contain;
use crate::transfer::Begun;
use crate::tsig;

/// Queries that may wait to be composed: at some microseconds each, a client waits for some milliseconds at most.
const QUEUED_MAX: usize = 1024;

/// A query that is to be composed.
pub(super) struct Job {
    pub(super) service: Arc<Service>,
    pub(super) socket: Arc<UdpSocket>,
    pub(super) packet: Vec<u8>,
    pub(super) client: SocketAddr,
    pub(super) way_back: WayBack,
    pub(super) received: Instant,
}

/// The queue's end for workers. When all of them are gone the thread composes what is left, and ends.
#[derive(Clone, Debug)]
pub(super) struct Composer(SyncSender<Job>);

impl Composer {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<(Self, thread::JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(QUEUED_MAX);
        let thread = thread::Builder::new().name("composer".into()).spawn(move || run(&receiver))?;
        Ok((Self(sender), thread))
    }

    /// Puts a query into the queue, or sheds it.
    pub(super) fn compose(&self, job: Job) {
        if let Err(refused) = self.0.try_send(job) {
            let (std::sync::mpsc::TrySendError::Full(job) | std::sync::mpsc::TrySendError::Disconnected(job)) = refused;
            job.service.observer.shed();
        }
    }
}

fn run(jobs: &Receiver<Job>) {
    let mut answer = Vec::new();
    for job in jobs {
        contain(|| job.run(&mut answer));
        answer.shrink_to(QUEUED_MAX);
    }
}

impl Job {
    fn run(self, answer: &mut Vec<u8>) {
        let Self { service, socket, packet, client, way_back, received } = self;
        let asks = Client::udp(client);
        let transport = asks.transport;
        let answered = match service.responder.respond_composed(&packet, asks, answer) {
            Outcome::Ignored => return,
            Outcome::Answered(answered) => answered,
            Outcome::Refreshing(answered, refreshes) => {
                refresh(&service, refreshes);
                answered
            }
            Outcome::Dropped(dropped) => {
                let exchange = Exchange { client: &client, transport, took: received.elapsed(), response: &[] };
                return service.observer.answered(&exchange, &dropped);
            }
            Outcome::Deferred(deferred) => {
                let waiting = Waiting { packet, client, transport, received, deferred };
                let waits = waiting.start(&service, move |answer| send(&socket, way_back, &answer));
                if !waits {
                    service.observer.shed();
                }
                return;
            }
            Outcome::Transfer(mut asked) => {
                let transfers = &service.transferring.transfers;
                match transfers.begin(&mut asked, client.ip(), transport, answer, tsig::now()) {
                    Begun::Answered { rcode, flags } => match answered_transfer(&packet, asked.block, rcode, flags) {
                        Some(answered) => answered,
                        None => return,
                    },
                    // Over UDP there is none.
                    Begun::Stream(_) => return,
                }
            }
        };
        send(&socket, way_back, answer);
        if service.observer.is_watching() {
            let took = received.elapsed();
            let exchange = Exchange { client: &client, transport, took, response: answer };
            service.observer.answered(&exchange, &answered);
            service.observer.went(Path::Composed, 1);
        }
    }
}

/// What is told of an answer to a question for a transfer.
pub(super) fn answered_transfer(packet: &[u8], block: usize, rcode: Rcode, flags: u16) -> Option<Answered<'_>> {
    let Parsed::Query(query) = parse(packet) else { return None };
    Some(Answered { query, block: Some(block), rcode, flags, by: By::Transfers, is_by_path: false, failure: None })
}

/// A client that is gone, a full buffer, a filter: of one datagram, and nothing to do about it.
pub(super) fn send(socket: &UdpSocket, way_back: WayBack, answer: &[u8]) {
    if let Err(error) = way_back.send(socket, answer) {
        tracing::trace!(%error, "udp");
    }
}
