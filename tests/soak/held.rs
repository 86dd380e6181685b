//! What podzone's process holds: resident memory and file descriptors, which must not grow.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::held;

const EVERY: Duration = Duration::from_millis(500);
/// The second half's memory may be above the first's by this share, and by this much: what an allocator keeps for its
/// threads differs from minute to minute.
const MEMORY_SHARE: f64 = 0.03;
const MEMORY_KIB: f64 = 1536.0;
/// Connections to the API server, and of clients, that are about to be closed.
const DESCRIPTORS: usize = 8;

/// What is held at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) resident_kib: u64,
    pub(crate) descriptors: usize,
}

pub(crate) fn now(process: u32) -> Held {
    let (resident_kib, descriptors) = (held::resident_kib(process), held::descriptors(process));
    Held { resident_kib, descriptors }
}

pub(crate) fn sample_until(process: u32, over: &AtomicBool) -> Vec<Held> {
    let mut samples = vec![now(process)];
    while !over.load(Ordering::Relaxed) {
        thread::sleep(EVERY);
        samples.push(now(process));
    }
    samples
}

/// What was held from the beginning to the end.
pub(crate) struct Holdings {
    /// At regular times.
    pub(crate) sampled: Vec<Held>,
    /// After each phase, when nothing was being changed.
    pub(crate) quiet: Vec<Held>,
}

fn median<T: Copy + Ord>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort();
    values[values.len() / 2]
}

impl Holdings {
    /// The medians of each half: memory of all samples, descriptors of the quiet moments.
    fn halves(&self) -> [(u64, usize); 2] {
        let (memory, quiet) =
            (self.sampled.split_at(self.sampled.len() / 2), self.quiet.split_at(self.quiet.len() / 2));
        [(memory.0, quiet.0), (memory.1, quiet.1)].map(|(memory, quiet)| {
            (median(memory.iter().map(|held| held.resident_kib)), median(quiet.iter().map(|held| held.descriptors)))
        })
    }

    /// Whether the second half held more than the first: memory, descriptors.
    pub(crate) fn grew(&self) -> [bool; 2] {
        let [first, second] = self.halves();
        let most = first.0 as f64 * (1.0 + MEMORY_SHARE) + MEMORY_KIB;
        [second.0 as f64 > most, second.1 > first.1 + DESCRIPTORS]
    }
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.halves();
        let at = |samples: &[Held], part: usize| samples[(samples.len() - 1) * part / 2];
        let of_three = |value: &dyn Fn(usize) -> String| format!("{}, {}, {}", value(0), value(1), value(2));
        let memory = of_three(&|part| at(&self.sampled, part).resident_kib.to_string());
        let descriptors = of_three(&|part| at(&self.quiet, part).descriptors.to_string());
        writeln!(f, "memory      {memory} KiB at start, middle, end; medians {}, then {} KiB", first.0, second.0)?;
        write!(f, "descriptors {descriptors} at start, middle, end; medians {}, then {}", first.1, second.1)
    }
}

#[test]
fn what_grows_is_seen_and_what_wavers_is_not() {
    let grew = |memory: &dyn Fn(u64) -> u64, descriptors: &dyn Fn(u64) -> u64| {
        let sampled = (0..360).map(|at| Held { resident_kib: memory(at), descriptors: 25 }).collect();
        let quiet = (0..14).map(|at| Held { resident_kib: 30_000, descriptors: descriptors(at) as usize }).collect();
        Holdings { sampled, quiet }.grew()
    };
    // A first quarter that fills up, and what comes and goes.
    let wavers = |at: u64| 30_000 + at.min(90) * 20 + at % 7 * 300;
    assert_eq!(grew(&wavers, &|at| 25 + at % 5), [false, false]);
    // 40 KiB a second, and a descriptor for each reconnection.
    assert_eq!(grew(&|at| 30_000 + at * 20, &|_| 25), [true, false]);
    assert_eq!(grew(&wavers, &|at| 25 + at * 2), [false, true]);
}
