//! Counting without touching what others touch: threads have numbers, and what is counted has a place for each.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads that count beside each other without touching the same memory; further ones share.
pub const COUNT: usize = 16;

/// The place of this thread, below [`COUNT`].
pub fn own() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
    }
    // A thread that ends has counted for the last time; any place is right.
    OWN.try_with(|own| *own).unwrap_or(0)
}
