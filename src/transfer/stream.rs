//! A transfer under way: the records of a version, or of the changes up to it, in messages.

use std::sync::Arc;

use super::counters::{Counters, Outcome};
use super::message::{Head, Writer, Zone};
use super::versions::Change;
use crate::answer::Rcode;
use crate::tsig::Signer;
use crate::zone::{Contents, Difference, Record};

/// Octets of a message, at most. RFC 5936 section 2.2 allows four times as many; but to a name further on nothing can
/// point, and others wait while a message is made.
const MESSAGE_OCTETS: usize = 16 * 1024;

/// What a transfer gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The SOA alone: there is nothing to be told, or no room to.
    Soa,
    /// Changes.
    Incremental,
    /// The whole zone.
    Full,
}

/// What became of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// What it gave.
    pub kind: Kind,
    /// The serial up to which.
    pub serial: u32,
    /// Records, SOAs among them.
    pub records: usize,
    /// Octets of all messages.
    pub octets: u64,
}

/// The messages of one transfer, made as they are asked for.
pub struct Stream {
    head: Head,
    zone: Zone,
    items: Box<dyn Iterator<Item = Item> + Send>,
    /// What did not fit into the last message.
    held: Option<Item>,
    signer: Option<Signer>,
    /// The OPT record of the first message.
    opt: Vec<u8>,
    summary: Summary,
    is_done: bool,
    counters: Arc<Counters>,
}

/// What stands in a transfer, one after the other.
enum Item {
    Soa(u32),
    Record(Record),
}

impl Stream {
    /// A transfer that gives the SOA alone.
    pub(super) fn soa(head: Head, zone: Zone, serial: u32) -> Self {
        Self::new(head, zone, Kind::Soa, serial, Box::new(std::iter::once(Item::Soa(serial))))
    }

    /// A transfer of all that a version holds, between two copies of its SOA (RFC 5936 section 2.2).
    pub(super) fn full(head: Head, zone: Zone, serial: u32, contents: Contents) -> Self {
        let ends = || std::iter::once(Item::Soa(serial));
        let items = ends().chain(contents.map(Item::Record)).chain(ends());
        Self::new(head, zone, Kind::Full, serial, Box::new(items))
    }

    /// A transfer of changes: of each the old SOA and what is gone, the new one and what came, between two copies of the
    /// last (RFC 1995 section 4).
    pub(super) fn incremental(head: Head, zone: Zone, serial: u32, changes: Vec<Arc<Change>>) -> Self {
        let filter = zone.filter.clone();
        let changes = changes.into_iter().flat_map(move |change| {
            let side = |serial: u32, side: fn(&Difference) -> &[Record]| {
                let mut items = vec![Item::Soa(serial)];
                items.extend(change.changes.of_zone(&filter, side).cloned().map(Item::Record));
                items
            };
            let gone = side(change.from, |difference| &difference.removed);
            gone.into_iter().chain(side(change.to, |difference| &difference.added))
        });
        let ends = || std::iter::once(Item::Soa(serial));
        Self::new(head, zone, Kind::Incremental, serial, Box::new(ends().chain(changes).chain(ends())))
    }

    fn new(head: Head, zone: Zone, kind: Kind, serial: u32, items: Box<dyn Iterator<Item = Item> + Send>) -> Self {
        let summary = Summary { kind, serial, records: 0, octets: 0 };
        let counters = Arc::default();
        Self { head, zone, items, held: None, signer: None, opt: Vec::new(), summary, is_done: false, counters }
    }

    /// The same under signatures, with an OPT record in its first message, and counted.
    pub(super) fn with(self, signer: Option<Signer>, opt: Vec<u8>, counters: &Arc<Counters>) -> Self {
        Self { signer, opt, counters: Arc::clone(counters), ..self }
    }

    /// Where it is counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Makes, in place of the first message, one that says that there are none.
    pub fn fail(&mut self, rcode: Rcode, out: &mut Vec<u8>, now: u64) {
        self.is_done = true;
        self.counters.count(if rcode == Rcode::SERVFAIL { Outcome::Failed } else { Outcome::Refused });
        self.head.write_refusal(rcode, &self.opt, out);
        if let Some(signer) = &mut self.signer {
            signer.sign(out, now);
        }
    }

    /// Makes the next message; `false`, and nothing made, if there is none.
    pub fn next(&mut self, out: &mut Vec<u8>, now: u64) -> bool {
        self.next_within(MESSAGE_OCTETS, out, now)
    }

    /// The same, of so many octets at most.
    pub(super) fn next_within(&mut self, limit: usize, out: &mut Vec<u8>, now: u64) -> bool {
        if self.is_done {
            return false;
        }
        let opt = std::mem::take(&mut self.opt);
        let reserved = opt.len() + self.signer.as_ref().map_or(0, Signer::octets);
        let mut writer = Writer::new(out, &self.head, &self.zone, limit.saturating_sub(reserved));
        let mut records = 0;
        self.is_done = true;
        while let Some(item) = self.held.take().or_else(|| self.items.next()) {
            let fits = match &item {
                Item::Soa(serial) => writer.soa(*serial),
                // What is no record of the zone is passed over.
                Item::Record(record) => match writer.record(record) {
                    Some(fits) => fits,
                    None => continue,
                },
            };
            if !fits {
                self.held = Some(item);
                self.is_done = false;
                break;
            }
            records += 1;
        }
        writer.finish(&opt);
        if let Some(signer) = &mut self.signer {
            signer.sign(out, now);
        }
        self.summary.records += records;
        self.summary.octets += out.len() as u64;
        true
    }

    /// Whether the last message was made.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// What was given so far.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// The zone's name.
    pub fn zone(&self) -> &crate::zone::Name {
        self.zone.filter.zone()
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("zone", self.zone()).field("summary", &self.summary).finish_non_exhaustive()
    }
}
