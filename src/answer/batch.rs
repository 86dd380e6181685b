//! Many queries at a time.
//!
//! What costs most of an answer is the first touch of the zone's memory, which no cache holds. A batch is therefore read
//! in a first pass, and all that it will look up is touched in a second, one right after the other, so that the
//! processor waits for many lines of memory at once; the answers are made in a third.

use std::hint::black_box;

use super::chance;
use super::client::Client;
use super::folded::Folded;
use super::kubernetes::Verdict;
use super::order::Order;
use super::prepared::{self, Spot};
use super::rcode::Rcode;
use super::responder::{Accepted, Outcome, Received, Responder, answered, begin, finish};
use super::rotate;
use crate::zone::{Current, Snapshot};

/// Views of a listener that a batch holds one version of; of others each query takes the version that stands.
const VIEWS_HELD: usize = 4;

/// A batch in the making. What it answers from is of one version, and is held for as long as the batch is.
pub struct Batch<'r> {
    responder: &'r Responder,
    contents: [Option<Current>; VIEWS_HELD],
}

/// A packet that was read.
pub struct Read<'p, 'n> {
    packet: &'p [u8],
    accepted: Accepted<'p, 'n>,
}

impl Responder {
    /// Begins a batch.
    pub fn batch(&self) -> Batch<'_> {
        let mut views = self.routes.views().iter();
        Batch { responder: self, contents: std::array::from_fn(|_| views.next().map(|view| view.current())) }
    }
}

impl<'r> Batch<'r> {
    /// Reads a packet, its name into a place that is kept as long. What is no query, or refused, is answered into `out`
    /// already.
    pub fn read<'p, 'n>(
        &self,
        packet: &'p [u8],
        name: &'n mut Folded,
        client: Client,
        out: &mut Vec<u8>,
    ) -> Read<'p, 'n>
    where
        'r: 'n,
    {
        Read { packet, accepted: self.responder.accept(packet, name, client, out) }
    }

    /// Touches what the answers to packets will be made of.
    pub fn touch<'b, 'p: 'b, 'n: 'b>(&self, read: impl Iterator<Item = &'b Read<'p, 'n>> + Clone) {
        let services = read.filter_map(|Read { accepted, .. }| match accepted {
            Accepted::Query(Received { view: Some(view), spot: Some(spot), .. }) => {
                Some((self.contents.get(*view)?.as_deref()?, spot.hash()?))
            }
            _ => None,
        });
        black_box(services.clone().filter(|(content, hash)| content.touch_place(*hash)).count());
        black_box(services.map(|(content, hash)| content.touch_packed(hash)).sum::<usize>());
    }

    /// Answers a packet into `out`, if its answer is prepared or given already; `None` leaves it to
    /// [`Responder::respond_composed`].
    pub fn answer<'p>(&self, read: &Read<'p, '_>, out: &mut Vec<u8>) -> Option<Outcome<'p>> {
        match &read.accepted {
            Accepted::Ignored => Some(Outcome::Ignored),
            Accepted::Answered(answered) => Some(Outcome::Answered(answered.clone())),
            Accepted::Dropped(answered) => Some(Outcome::Dropped(answered.clone())),
            Accepted::Query(received) => self.prepared(read.packet, received, out),
        }
    }

    /// An answer that is prepared, or others' to give: of a name that is in none of the block's zones that is known at
    /// once.
    pub(super) fn prepared<'p>(
        &self,
        packet: &[u8],
        received: &Received<'p, '_>,
        out: &mut Vec<u8>,
    ) -> Option<Outcome<'p>> {
        if received.is_guarded {
            return None;
        }
        let Some(spot) = received.spot.as_ref() else { return self.elsewhere(packet, received, out) };
        match self.contents.get(received.view?) {
            Some(Some(content)) => self.prepared_from(spot, content, (packet, received), out),
            _ => self.prepared_from(spot, &spot.fall().view.current(), (packet, received), out),
        }
    }

    /// What others have to say to a name, or have said.
    fn elsewhere<'p>(&self, packet: &[u8], received: &Received<'p, '_>, out: &mut Vec<u8>) -> Option<Outcome<'p>> {
        let Received { question, name, block, .. } = received;
        if block.probes.as_ref().is_some_and(|probes| probes.has(question, name)) {
            return None;
        }
        if block.autopath.as_ref().is_some_and(|autopath| autopath.concerns(received)) {
            return None;
        }
        self.responder.elsewhere(packet, received, (0, false), out)
    }

    fn prepared_from<'p>(
        &self,
        spot: &Spot<'_>,
        content: &Snapshot,
        (packet, received): (&[u8], &Received<'p, '_>),
        out: &mut Vec<u8>,
    ) -> Option<Outcome<'p>> {
        let Received { query, question, name, block, client, .. } = received;
        let mut message = begin(query, block, client.transport, 0, out);
        let turn = (block.rotates && !matches!(block.order, Some(Order::Weighted(_)))).then(chance::next);
        match prepared::answer(content, spot, question, name, turn, &mut message)? {
            Verdict::Answered(Rcode::NXDOMAIN)
                if block.autopath.as_ref().is_some_and(|autopath| autopath.concerns(received)) =>
            {
                None
            }
            Verdict::Answered(rcode) => {
                let flags = finish(message, query, rcode, block.terms());
                if block.order.is_some() {
                    rotate::if_wanted(block, out);
                }
                Some(Outcome::Answered(answered(*query, Some(block.id), rcode, flags)))
            }
            Verdict::PassedOn => self.elsewhere(packet, received, out),
            Verdict::Elsewhere(_) => None,
        }
    }
}
