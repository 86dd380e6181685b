//! In which order upstreams are asked (plugin/forward/policy.go).

use std::sync::atomic::{AtomicU32, Ordering};

use rand::RngExt as _;
use rand::seq::SliceRandom as _;

use crate::config::Policy;

/// The order for one query.
#[derive(Debug)]
pub(super) enum Order {
    /// As they stand, but this one first.
    First(usize),
    /// As these numbers say.
    Shuffled(Vec<usize>),
}

impl Order {
    /// An order of so many upstreams. `turn` counts those of `round_robin`.
    pub(super) fn new(policy: Policy, count: usize, turn: &AtomicU32) -> Self {
        match policy {
            _ if count < 2 => Self::First(0),
            Policy::Sequential => Self::First(0),
            Policy::RoundRobin => Self::First(turn.fetch_add(1, Ordering::Relaxed).wrapping_add(1) as usize % count),
            Policy::Random if count == 2 => Self::First(rand::rng().random_range(0..2)),
            Policy::Random => {
                let mut numbers: Vec<usize> = (0..count).collect();
                numbers.shuffle(&mut rand::rng());
                Self::Shuffled(numbers)
            }
        }
    }

    /// The number of the upstream at a place.
    pub(super) fn at(&self, place: usize) -> usize {
        match self {
            Self::First(first) if place == 0 => *first,
            // The others follow as they stand.
            Self::First(first) => place - usize::from(place <= *first),
            Self::Shuffled(numbers) => numbers.get(place).copied().unwrap_or(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(policy: Policy, count: usize, turn: &AtomicU32) -> Vec<usize> {
        let order = Order::new(policy, count, turn);
        (0..count).map(|place| order.at(place)).collect()
    }

    #[test]
    fn the_one_whose_turn_it_is_comes_first_and_the_others_as_they_stand() {
        let turn = AtomicU32::new(0);
        let orders: Vec<_> = (0..4).map(|_| order(Policy::RoundRobin, 3, &turn)).collect();
        assert_eq!(orders, [[1, 0, 2], [2, 0, 1], [0, 1, 2], [1, 0, 2]]);
        assert_eq!(order(Policy::Sequential, 3, &turn), [0, 1, 2]);
    }

    #[test]
    fn chance_leaves_none_out() {
        let turn = AtomicU32::new(0);
        for count in 1..=5 {
            let mut first = vec![0; count];
            for _ in 0..400 {
                let mut numbers = order(Policy::Random, count, &turn);
                first[numbers[0]] += 1;
                numbers.sort_unstable();
                assert!(numbers.into_iter().eq(0..count));
            }
            assert!(first.iter().all(|times| *times > 20), "{first:?}");
        }
    }
}
