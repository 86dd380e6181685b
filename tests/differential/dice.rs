//! The seeded source of every choice, so that a run can be replayed from its seed.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

/// A stream of choices.
pub(crate) struct Dice(StdRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A stream of its own for one part of the run: parts may then change without moving each other's choices.
    pub(crate) fn part(seed: u64, part: u64) -> Self {
        Self::new(seed ^ part.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }

    /// One of `0..limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0.random_range(0..limit)
    }

    /// One of `from..=to`.
    pub(crate) fn between(&mut self, from: usize, to: usize) -> usize {
        self.0.random_range(from..=to)
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        of.choose(&mut self.0).expect("something to choose from")
    }

    /// One of these, as often as its weight says.
    pub(crate) fn weighted<T: Copy>(&mut self, of: &[(u32, T)]) -> T {
        let mut point = self.below(of.iter().map(|(weight, _)| *weight as usize).sum());
        for (weight, value) in of {
            match point.checked_sub(*weight as usize) {
                Some(rest) => point = rest,
                None => return *value,
            }
        }
        unreachable!("the point is below the weights' sum")
    }

    pub(crate) fn shuffle<T>(&mut self, of: &mut [T]) {
        of.shuffle(&mut self.0);
    }

    /// Lower-case letters and digits, as in generated names.
    pub(crate) fn suffix(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(*self.pick(b"bcdfghjklmnpqrstvwxz2456789"))).collect()
    }
}
