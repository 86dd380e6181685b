//! What dnsperf asks.

use crate::internet::{ANY, MACHINES, NAMES, name};
use crate::support::process::Scratch;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Domains in which a pod's resolver looks for a name with fewer than five dots, before it asks for the name itself.
const SEARCH: [&str; 4] = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", MACHINES];
/// Outside names of the search: more would not be cached in time.
const SEARCHED: usize = 1000;

/// Files of questions.
pub(crate) struct Questions {
    scratch: Scratch,
    rng: StdRng,
    files: usize,
}

impl Questions {
    pub(crate) fn new(seed: u64) -> Self {
        Self { scratch: Scratch::new(), rng: StdRng::seed_from_u64(seed), files: 0 }
    }

    /// Each name once, to have it cached.
    pub(crate) fn all_once(&mut self) -> PathBuf {
        let names = (0..NAMES).map(name).collect();
        self.write(names)
    }

    /// The same names at random.
    pub(crate) fn cached(&mut self) -> PathBuf {
        let names = (0..NAMES * 10).map(|_| name(self.rng.random_range(0..NAMES))).collect();
        self.write(names)
    }

    /// So many names that nobody has asked about.
    pub(crate) fn unheard_of(&mut self, count: usize) -> PathBuf {
        let names = (0..count).map(|_| format!("x{:016x}.{ANY}", self.rng.random::<u64>())).collect();
        self.write(names)
    }

    /// Five questions for each of some names, each name once: to have all of that cached.
    pub(crate) fn searches_once(&mut self) -> PathBuf {
        let names = (0..SEARCHED).flat_map(searched).collect();
        self.write(names)
    }

    /// The same, the names at random.
    pub(crate) fn searches(&mut self) -> PathBuf {
        let mut names: Vec<usize> = (0..SEARCHED * 10).map(|number| number % SEARCHED).collect();
        names.shuffle(&mut self.rng);
        self.write(names.into_iter().flat_map(searched).collect())
    }

    fn write(&mut self, names: Vec<String>) -> PathBuf {
        self.files += 1;
        let path = Path::new(self.scratch.path()).join(format!("questions-{}", self.files));
        let text = names.iter().fold(String::new(), |mut text, name| {
            writeln!(text, "{name} A").expect("a string");
            text
        });
        std::fs::write(&path, text).expect("questions");
        path
    }
}

fn searched(number: usize) -> impl Iterator<Item = String> {
    let name = name(number);
    let below = SEARCH.map(|domain| format!("{name}.{domain}"));
    below.into_iter().chain([name])
}
