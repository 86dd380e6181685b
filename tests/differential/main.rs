//! podzone answers as CoreDNS does: both read the same clusters from a real API server, and are asked the same
//! questions before and after changes. Every difference is listed in `docs/differences.md`.
//!
//! The clusters of fixed seeds are the same in each run; one more has a fresh seed. Each seed is printed, and
//! `PODZONE_SEED=<seed>` runs its cluster alone. CoreDNS is compared with itself too: what the test sees there is a fault
//! of the test.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod ask;
mod changes;
mod cluster;
mod compare;
mod configurations;
mod dice;
mod differences;
#[cfg(feature = "planted-faults")]
mod faults;
mod imports;
mod names;
mod outside;
mod pair;
mod questions;
mod report;
mod transferred;
mod write;

use std::time::Instant;

use cluster::{Cluster, Markers, Scale};
use configurations::Configuration;
use dice::Dice;
use differences::Entry;
use names::Names;
use pair::Pair;
use questions::Question;
use report::Tally;
use support::kube::{ControlPlane, Options};
use support::mcs;
use support::server::Program;
use transferred::Transferred;

/// Every run has the clusters of these seeds,
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];
/// and one of this seed with ServiceImports.
const SEED_OF_IMPORTS: u64 = 11;
/// Pairs of servers at once.
const PAIRS: usize = 4;
/// Questions to each pair, before the changes and again after them.
const QUESTIONS: usize = 2000;
/// The least number of questions of a whole run.
const FLOOR: usize = 90_000;

#[test]
fn podzone_answers_as_coredns_does() {
    let entries = differences::entries();
    let tally = Run::start(Program::Podzone, entries).all();
    if std::env::var_os("PODZONE_SEED").is_some() {
        return;
    }
    tally.assert_floors(FLOOR);
    for entry in differences::entries() {
        assert!(tally.explained.contains_key(&entry.id), "nothing needed the difference {}", entry.id);
    }
}

/// Tests the test: CoreDNS has no difference from itself. One cluster of each kind is enough, since each has every kind of
/// name.
#[test]
fn coredns_answers_as_itself() {
    let run = Run::start(Program::CoreDns, Vec::new());
    let mut tally = run.cluster(0, SEEDS[0], &configurations::ALL);
    tally.add(run.cluster(1, SEED_OF_IMPORTS, &configurations::WITH_IMPORTS));
    eprintln!("{tally}");
    tally.assert_agreement();
}

/// A control plane with what is needed to compare on it.
struct Run {
    plane: ControlPlane,
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
    ours: Program,
    entries: Vec<Entry>,
}

impl Run {
    fn start(ours: Program, entries: Vec<Entry>) -> Self {
        let plane = ControlPlane::start(Options::default());
        // Without it CoreDNS waits for it under multicluster configurations, in all zones.
        mcs::install(&plane);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let client = {
            let _entered = runtime.enter();
            plane.client()
        };
        Self { plane, runtime, client, ours, entries }
    }

    /// All clusters, or the one that was asked for. Panics when one has a mismatch.
    fn all(&self) -> Tally {
        let begin = Instant::now();
        let replayed =
            std::env::var("PODZONE_SEED").ok().map(|it| it.parse::<u64>().expect("PODZONE_SEED is a number"));
        let fresh = replayed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        eprintln!("fresh seed: PODZONE_SEED={fresh}");
        // The number is a part of what makes a cluster.
        let ordinary = SEEDS.into_iter().chain(Some(fresh).filter(|it| !SEEDS.contains(it)));
        let ordinary = ordinary.map(|seed| (seed, &configurations::ALL as &'static [Configuration]));
        let with_imports = [SEED_OF_IMPORTS, fresh].map(|seed| (seed, &configurations::WITH_IMPORTS as &'static [_]));
        let all = ordinary.chain(with_imports).enumerate();
        let seeds = all.filter(|(_, (seed, _))| replayed.is_none_or(|it| it == *seed));
        let mut tally = Tally::default();
        for (number, (seed, configurations)) in seeds {
            tally.add(self.cluster(number, seed, configurations));
            eprintln!("seed {seed}: {} questions after {:?}", tally.questions, begin.elapsed());
            if tally.is_hopeless() {
                break;
            }
        }
        eprintln!("{tally}\n{:?}", begin.elapsed());
        tally.assert_agreement();
        tally
    }

    /// One cluster, before and after changes, served under four of these configurations. Those with zones of ServiceImports
    /// have a cluster with such.
    fn cluster(&self, number: usize, seed: u64, configurations: &'static [Configuration]) -> Tally {
        let mut dice = Dice::part(seed, 0);
        let largest = if number.is_multiple_of(3) { 1000 } else { 0 };
        let mut before = Cluster::random(&mut dice, number, Scale { services_per_namespace: 6, largest });
        if configurations.iter().any(|it| it.zones.iter().any(|zone| it.is_multicluster(zone))) {
            before.add_imports(&mut dice);
        }
        let [between, after] = changes::random(&mut dice, &before);
        let names = Names::of(&[&before, &after]);
        let empty = Cluster::default();

        // Servers that list everything at first, and servers that watch it come.
        let watch = number % 2 == 1;
        if !watch {
            self.write(&empty, &before);
        }
        let pairs = self.pairs(number, configurations, &before);
        if watch {
            self.write(&empty, &before);
        }
        let first = before.with_markers(0);
        self.write(&before, &first);
        let mut tally = self.ask(&pairs, &names, &before, [seed, 0]);

        self.write(&first, &between);
        self.write(&between, &after);
        let second = after.with_markers(1);
        self.write(&after, &second);
        tally.add(self.ask(&pairs, &names, &before, [seed, 1]));
        drop(pairs);
        self.write(&second, &empty);
        tally
    }

    fn write(&self, old: &Cluster, new: &Cluster) {
        self.runtime.block_on(write::change(&self.client, old, new));
    }

    fn pairs(&self, number: usize, configurations: &'static [Configuration], cluster: &Cluster) -> Vec<Pair> {
        let spawn = |index: usize| {
            let of = &configurations[(number * PAIRS + index) % configurations.len()];
            Pair::spawn(self.ours, of, &self.corefile(of, cluster))
        };
        let mut pairs: Vec<Pair> = (0..PAIRS).map(spawn).collect();
        pairs.iter_mut().for_each(Pair::wait_until_they_answer);
        pairs
    }

    fn corefile(&self, configuration: &Configuration, cluster: &Cluster) -> String {
        configuration.corefile(&self.plane.kubeconfig().to_string_lossy(), cluster)
    }

    fn ask(&self, pairs: &[Pair], names: &Names, cluster: &Cluster, [seed, round]: [u64; 2]) -> Tally {
        let mut tally = Tally::default();
        std::thread::scope(|scope| {
            let running: Vec<_> = pairs
                .iter()
                .enumerate()
                .map(|(index, pair)| {
                    scope.spawn(move || {
                        pair.wait_for_markers(cluster, round as usize);
                        // By now the changes have come to rest. What CoreDNS would transfer is not asked.
                        let transferred = (round == 1 && self.ours == Program::Podzone).then(|| {
                            let corefile = self.corefile(pair.configuration, cluster);
                            let markers = pair.configuration.marker_names(&Markers::new(cluster, round as usize));
                            Transferred::start(pair.configuration, &corefile, &markers)
                        });
                        let mut dice = Dice::part(seed, 1 + 2 * index as u64 + round);
                        let apart = Question::unlabelled(&mut dice, names);
                        let random = || Question::random(&mut dice, names, pair.configuration);
                        let questions: Vec<_> =
                            apart.into_iter().chain(std::iter::repeat_with(random).take(QUESTIONS)).collect();
                        pair.compare(&questions, &self.entries, transferred)
                    })
                })
                .collect();
            for one in running {
                tally.add(one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
        });
        tally
    }
}
