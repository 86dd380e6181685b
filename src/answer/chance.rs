//! Numbers for choices that nobody needs to be unable to foresee: the order of records.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

thread_local! {
    /// Each thread counts for itself, from a place of its own.
    static COUNT: Cell<u32> = Cell::new(RandomState::new().hash_one(()) as u32);
}

/// A number below a bound, of about the same chance each; 0 where there is none below it.
pub(super) fn below(bound: usize) -> usize {
    let bound = u64::try_from(bound).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
    usize::try_from((u64::from(mixed(next())) * bound) >> u32::BITS).unwrap_or(0)
}

/// What looks random, of what need not (the end of a round of SplitMix in 32 bits).
pub(super) fn mixed(number: u32) -> u32 {
    let mut mixed = number;
    mixed = (mixed ^ mixed >> 16).wrapping_mul(0x21f0_aaad);
    mixed = (mixed ^ mixed >> 15).wrapping_mul(0x735a_2d97);
    mixed ^ mixed >> 15
}

/// A number that this thread has not given for long. Neighbours follow each other: whoever wants them to look random
/// mixes them.
pub(super) fn next() -> u32 {
    COUNT.with(|count| count.replace(count.get().wrapping_add(1)))
}
