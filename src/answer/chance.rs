//! Numbers for choices that nobody needs to be unable to foresee: the order of records.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

thread_local! {
    /// Each thread counts for itself, from a place of its own.
    static COUNT: Cell<u32> = Cell::new(RandomState::new().hash_one(()) as u32);
}

/// A number that this thread has not given for long. Neighbours follow each other: whoever wants them to look random
/// mixes them.
pub(super) fn next() -> u32 {
    COUNT.with(|count| count.replace(count.get().wrapping_add(1)))
}
