//! What is counted of a view's transfers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::stream::{Kind, Summary};

/// How a question for a transfer, or a NOTIFY, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The SOA alone was given.
    Soa,
    /// Changes were given.
    Incremental,
    /// The whole zone was given.
    Full,
    /// It was refused: who asked may not have it, or what was asked for is no zone.
    Refused,
    /// It could not be given: not everything was listed yet, or too many were under way.
    Failed,
    /// It was cut off: the client went, or did not read.
    CutOff,
    /// A NOTIFY was taken.
    Notified,
    /// A NOTIFY was not taken, however often it was sent.
    Unheard,
}

/// The counts of a view.
#[derive(Debug, Default)]
pub struct Counters {
    outcomes: [AtomicU64; 8],
    records: AtomicU64,
    octets: AtomicU64,
}

impl Counters {
    /// Counts one.
    pub fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a transfer that was given.
    pub fn ended(&self, summary: &Summary) {
        self.count(match summary.kind {
            Kind::Soa => Outcome::Soa,
            Kind::Incremental => Outcome::Incremental,
            Kind::Full => Outcome::Full,
        });
        self.records.fetch_add(summary.records as u64, Ordering::Relaxed);
        self.octets.fetch_add(summary.octets, Ordering::Relaxed);
    }

    /// How many ended so.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }

    /// Records of all transfers that were given.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Octets of them.
    pub fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }
}
