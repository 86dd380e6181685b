//! What is told of a cluster's snapshot.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// What became of a cluster's snapshot: whether answers come from one, and how writing it goes.
#[derive(Debug, Default)]
pub struct State {
    taken: Mutex<Option<Taken>>,
    written: Mutex<Option<Written>>,
    writes: AtomicU64,
    failures: AtomicU64,
}

/// A snapshot that answers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// When it was written.
    pub written: SystemTime,
    /// How many objects it had.
    pub objects: u64,
}

impl Taken {
    /// How old it is.
    pub fn age(&self) -> Duration {
        // A clock that was set back makes it no older.
        self.written.elapsed().unwrap_or_default()
    }
}

/// The last one that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// When.
    pub at: SystemTime,
    /// Its size.
    pub octets: u64,
    /// How long that took.
    pub took: Duration,
}

impl State {
    /// Answers come from this one, or from none any more; gives the one before.
    pub fn take(&self, taken: Option<Taken>) -> Option<Taken> {
        std::mem::replace(&mut *lock(&self.taken), taken)
    }

    /// The one that answers come from, until all was listed.
    pub fn taken(&self) -> Option<Taken> {
        lock(&self.taken).clone()
    }

    /// One was written.
    pub fn succeeded(&self, written: Written) {
        *lock(&self.written) = Some(written);
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// One could not be.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The last one that this process wrote.
    pub fn written(&self) -> Option<Written> {
        *lock(&self.written)
    }

    /// How often one was written.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// How often one could not be.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

// Nothing that holds the lock can panic.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
