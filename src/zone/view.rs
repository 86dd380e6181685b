//! What a view answers from: the last published version of its content.
//!
//! Readers take the version that stands and hold it for as long as they look at it, an answer or a batch of them; nothing
//! in it changes. The one writer makes the next beside it and puts it in its place in one step. Neither waits for the
//! other, and nobody sees half a change: an SRV target and its addresses come and go together.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::conflicts::Conflicts;
use super::options::ViewOptions;
use super::snapshot::Snapshot;

/// One view of one cluster, as it is answered from.
#[derive(Debug)]
pub struct View {
    options: ViewOptions,
    current: ArcSwap<Snapshot>,
    /// The version that is being made; only the writer takes it.
    next: Mutex<Snapshot>,
    conflicts: Conflicts,
}

/// A version of a view's content that is being looked at. To be held for moments: as long as it is, what was replaced
/// since is not freed.
pub struct Current(Guard<Arc<Snapshot>>);

impl Deref for Current {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

impl View {
    /// An empty view, not synced. `serial` is its SOA's first.
    pub fn new(options: ViewOptions, serial: u32) -> Self {
        let first = Snapshot::new(serial, &options);
        Self {
            options,
            current: ArcSwap::from_pointee(first.clone()),
            next: Mutex::new(first),
            conflicts: Conflicts::default(),
        }
    }

    /// The view's options.
    pub fn options(&self) -> &ViewOptions {
        &self.options
    }

    /// Its names that several pods claim, or that were cut. They may be a second behind.
    pub fn conflicts(&self) -> &Conflicts {
        &self.conflicts
    }

    /// The content as it was last published.
    pub fn current(&self) -> Current {
        Current(self.current.load())
    }

    /// Publishes that everything was listed once.
    pub fn set_synced(&self) {
        let mut next = self.next();
        next.is_synced = true;
        self.publish(&next);
    }

    /// The version that is being made. Only the one writer of a view calls this.
    pub(super) fn next(&self) -> MutexGuard<'_, Snapshot> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes a version.
    pub(super) fn publish(&self, next: &Snapshot) {
        self.current.store(Arc::new(next.clone()));
    }
}
