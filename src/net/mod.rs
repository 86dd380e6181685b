//! Sockets: the loops that bring packets to a [`Responder`](crate::answer::Responder) and its answers back.

mod composing;
mod deferred;
mod listen;
mod mmsg;
mod notify;
mod serving;
mod tcp;
mod udp;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::answer::{Answered, Responder, Transport};

pub use deferred::{Elsewhere, WaitingRoom};
pub use listen::{ListenError, Sockets};
pub(crate) use listen::{ListenFailure, beside, listen};
pub use notify::{Secondary, notify};
pub use serving::Serving;
pub use tcp::{Slots, TcpPlaces, TcpTimes, Transferring};

/// What a listener serves, and who is told of each answer.
pub struct Service {
    /// The answers.
    pub responder: Responder,
    /// Told of every answer after it was sent. It must not wait.
    pub observer: Box<dyn Observer>,
    /// Asked about what is not answered here.
    pub elsewhere: Arc<dyn Elsewhere>,
    /// Where queries wait for it.
    pub waiting: WaitingRoom,
    /// What is transferred, and to whom.
    pub transferring: Transferring,
    /// What TCP clients may take.
    pub tcp: TcpTimes,
}

/// Told of answers.
pub trait Observer: Send + Sync {
    /// Whether it wants to hear at all: otherwise the clock is not read.
    fn is_watching(&self) -> bool;
    /// An answer was sent.
    fn answered(&self, exchange: &Exchange<'_>, answered: &Answered<'_>);
    /// A query was dropped for want of room.
    fn shed(&self);
    /// So many answers were made in this way.
    fn went(&self, _path: Path, _answers: u64) {}
}

/// How an answer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// At once, from what is prepared.
    Prepared,
    /// By composing it: what is rare. Transfers count here.
    Composed,
    /// With the word of another server.
    Elsewhere,
}

impl Path {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Prepared, Self::Composed, Self::Elsewhere];

    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Composed => "composed",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// Where and when a query came, and how large its answer was.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The client.
    pub client: &'a std::net::SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// How long it took from reading the query to having sent the answer; of a batch, the whole batch's time.
    pub took: std::time::Duration,
    /// The answer.
    pub response: &'a [u8],
}

/// A service shared by its sockets, which may be replaced while they are served: whoever looks at it takes it anew for
/// each batch of datagrams, and for each turn of a connection.
#[derive(Clone)]
pub struct SharedService(Arc<ArcSwap<Service>>);

impl SharedService {
    /// A service that is the first.
    pub fn new(service: Service) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(service)))
    }

    /// Where its queries wait for other servers.
    pub fn waiting(&self) -> WaitingRoom {
        self.now().waiting.clone()
    }

    /// The service as it is now, to be held for moments.
    fn now(&self) -> Guard<Arc<Service>> {
        self.0.load()
    }

    /// The service as it is now, for as long as somebody waits.
    fn held(&self) -> Arc<Service> {
        self.0.load_full()
    }

    /// Answers what comes from now on with another one.
    pub fn replace(&self, service: Service) {
        self.0.store(Arc::new(service));
    }
}
