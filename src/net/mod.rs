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

use crate::answer::{Answered, Responder, Transport};

pub use deferred::{Elsewhere, WaitingRoom};
pub use listen::{ListenError, Sockets};
pub use notify::{Secondary, notify};
pub use serving::Serving;
pub use tcp::{Slots, TcpLimits, Transferring};

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

/// A service shared by its sockets.
pub type SharedService = Arc<Service>;
