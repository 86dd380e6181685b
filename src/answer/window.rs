//! `srv_limit`: of a set with more targets than an answer is to have, those that stand side by side from any place on, a
//! new one for each answer, in a circle. Each has the same chance, and each answer is a part of one set.

use std::num::NonZeroU16;

use super::chance;

/// Which of so many things are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    count: usize,
    first: usize,
    limit: usize,
}

impl Window {
    /// Any window over so many.
    pub(super) fn any(count: usize, limit: NonZeroU16) -> Self {
        Self { count, first: chance::below(count), limit: limit.get().into() }
    }

    /// Whether all are kept.
    pub(super) fn is_all(&self) -> bool {
        self.count <= self.limit
    }

    /// Whether one of them is kept, by its place.
    pub(super) fn has(&self, place: usize) -> bool {
        let behind = if place < self.first { place + self.count - self.first } else { place - self.first };
        behind < self.limit
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_so_many_side_by_side_and_each_has_its_turn() {
        for (count, limit) in [(1, 1), (2, 1), (7, 3), (3, 7), (1000, 5), (0, 1)] {
            let mut kept = vec![0_u32; count];
            for _ in 0..count * 40 {
                let window = Window::any(count, NonZeroU16::new(limit).unwrap());
                let of: Vec<usize> = (0..count).filter(|place| window.has(*place)).collect();
                assert_eq!(of.len(), count.min(limit.into()), "{window:?}");
                let gaps = of.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
                assert!(gaps == 0 || gaps == 1 && of.contains(&0) && of.contains(&(count - 1)), "{window:?}: {of:?}");
                of.iter().for_each(|place| kept[*place] += 1);
                assert_eq!(window.is_all(), of.len() == count);
            }
            assert!(kept.iter().all(|times| *times > 0), "{count}, {limit}");
        }
    }
}
