//! The last cut of a view, and what led to it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::zone::{Changes, Cut, Snapshot, ViewOptions};

/// The most records of the journal, in all its changes: some 20 MB. Whoever is further behind gets the whole zone.
pub const JOURNAL_RECORDS_MAX: usize = 1 << 17;
/// The most changes: with one a second, more than an hour.
const CHANGES_MAX: usize = 1 << 12;

/// What one cut changed.
#[derive(Debug)]
pub struct Change {
    /// The serial before.
    pub from: u32,
    /// The serial since.
    pub to: u32,
    /// The records.
    pub changes: Changes,
}

/// The last cut of a view and its journal; empty until everything was listed once.
#[derive(Debug, Default)]
pub struct Versions(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    latest: Option<Snapshot>,
    journal: VecDeque<Arc<Change>>,
    /// Records in the journal.
    records: usize,
}

/// What a client lacks who has a version.
#[derive(Debug)]
pub enum Since {
    /// Nothing: it has this version, or one that is still to come.
    Nothing,
    /// These changes, one after the other.
    Changes(Vec<Arc<Change>>),
    /// More than is known.
    Everything,
}

impl Versions {
    /// Takes a cut in.
    pub fn cut(&self, options: &ViewOptions, cut: &Cut<'_>) {
        // Before the lock: nobody waits for this.
        let changes = Changes::of(options, cut);
        let mut held = self.held();
        if let Some(before) = cut.before {
            held.records += changes.len();
            let change = Change { from: before.serial(), to: cut.after.serial(), changes };
            held.journal.push_back(Arc::new(change));
            while held.journal.len() > CHANGES_MAX || held.records > JOURNAL_RECORDS_MAX {
                let Some(oldest) = held.journal.pop_front() else { break };
                held.records -= oldest.changes.len();
            }
        }
        held.latest = Some(cut.after.clone());
    }

    /// The last cut, whose serial is the version's, and what a client lacks who has the version of a serial.
    pub fn since(&self, serial: Option<u32>) -> Option<(Snapshot, Since)> {
        let held = self.held();
        let content = held.latest.clone()?;
        let since = match serial {
            None => Since::Everything,
            // In the order of serials (RFC 1982 section 3.2): newer than ours is for us nothing to tell of.
            Some(serial) if content.serial().wrapping_sub(serial).cast_signed() <= 0 => Since::Nothing,
            Some(serial) => match held.journal.iter().position(|change| change.from == serial) {
                Some(first) => Since::Changes(held.journal.range(first..).map(Arc::clone).collect()),
                None => Since::Everything,
            },
        };
        Some((content, since))
    }

    /// The serial of the last cut.
    pub fn serial(&self) -> Option<u32> {
        self.held().latest.as_ref().map(Snapshot::serial)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
