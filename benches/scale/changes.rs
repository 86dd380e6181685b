//! From a change to the answer, the server on one core, the API server and the bench on the other.

use crate::api;
use crate::arguments::{Arguments, Part};
use crate::cluster::{Cluster, Size};
use crate::cores;
use crate::prober::Prober;
use crate::report::{Column, Measure, Row, Sheet};
use crate::stage::{How, Running, Stage};
use crate::subject::Subject;
use crate::swap::Swap;
use crate::updates::{Slices, Updates};
use crate::watcher::Watcher;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::runtime::Runtime;

pub(crate) const PARTS: [Part; 3] = [Part::Change, Part::Busy, Part::Large];

/// Between one change and the next, so that one is over before the next begins.
const PAUSE: Duration = Duration::from_millis(10);
/// What the start left to be done.
const SETTLING: Duration = Duration::from_secs(2);
/// Updates before anything counts, so that the API server has found its pace.
const WARM_UP: Duration = Duration::from_secs(2);
/// How many endpoints a small Service has, beside the large ones.
const FEW: usize = 5;

/// What slices are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Asked,
    Updated,
}

/// Milliseconds, sorted.
struct Latencies(Vec<f64>);

impl Latencies {
    fn new(mut latencies: Vec<f64>) -> Self {
        latencies.sort_by(f64::total_cmp);
        Self(latencies)
    }

    fn percentile(&self, share: f64) -> f64 {
        let place = (self.0.len() as f64 * share) as usize;
        self.0[place.min(self.0.len() - 1)]
    }

    /// Puts both percentiles into their columns and says them; gives both.
    fn tell(&self, sheet: &mut Sheet, row: Row, what: &str, columns: [Column; 2]) -> [f64; 2] {
        let percentiles = [0.5, 0.99].map(|share| self.percentile(share));
        println!("   {what}: p50 {:.2} ms, p99 {:.2} ms, of {}", percentiles[0], percentiles[1], self.0.len());
        for (column, value) in columns.into_iter().zip(percentiles) {
            sheet.add(row, column, value);
        }
        percentiles
    }
}

/// What was found of one server; nothing of what does not count.
#[derive(Default)]
struct Found {
    idle: Option<[f64; 2]>,
    busy: Option<[f64; 2]>,
}

pub(crate) fn round(
    stage: &Stage,
    arguments: &Arguments,
    sheet: &mut Sheet,
    subjects: [Subject; 2],
    slices: Option<&Slices>,
    rng: &mut StdRng,
) {
    let everything = cores::own();
    let processes = stage.plane.ids();
    cores::bind(&processes, &cores::one(stage.client_core));
    // The same changes for both.
    let seed = rand::Rng::next_u64(rng);
    let found: BTreeMap<_, _> = cores::bound_to(stage.client_core, || {
        let runtime = api::runtime();
        let of = |subject: Subject| {
            println!("  {}", subject.title());
            let mut running = stage.start(subject, How { is_bound: true, ..How::default() });
            running.server.wait_until_known(stage.sample());
            std::thread::sleep(SETTLING);
            let mut probes = Probes { stage, runtime: &runtime, arguments, slices, rng: StdRng::seed_from_u64(seed) };
            (subject, probes.all(sheet, subject, &running))
        };
        subjects.map(of).into_iter().collect()
    });
    cores::bind(&processes, &everything);
    let of = |subject, get: fn(&Found) -> Option<[f64; 2]>| found.get(&subject).and_then(get);
    let idle = |subject| of(subject, |found| found.idle);
    let busy = |subject| of(subject, |found| found.busy);
    if arguments.measures(Part::Change) {
        for (index, measure) in [Measure::ChangeP50, Measure::ChangeP99].into_iter().enumerate() {
            let [ours, theirs] = [Subject::Podzone, Subject::Coredns].map(|it| idle(it).map(|both| both[index]));
            sheet.latency_ratio(measure, ours, theirs);
        }
    }
    if arguments.measures(Part::Busy) {
        let [ours, theirs] = [Subject::Podzone, Subject::Coredns].map(|it| busy(it).map(|both| both[1]));
        sheet.latency_ratio(Measure::BusyP99, ours, theirs);
    }
}

struct Probes<'p> {
    stage: &'p Stage,
    runtime: &'p Runtime,
    arguments: &'p Arguments,
    /// What is updated meanwhile, if anything is to be.
    slices: Option<&'p Slices>,
    rng: StdRng,
}

impl Probes<'_> {
    fn all(&mut self, sheet: &mut Sheet, subject: Subject, running: &Running) -> Found {
        let row = Row::from(subject);
        let watchers = [Watcher::start(&self.stage.plane), Watcher::start(&self.stage.plane)];
        let client = self.runtime.block_on(async { self.stage.plane.client() });
        let mut prober = Prober::new(self.runtime.handle().clone(), client, watchers.each_ref(), running.server.addr);
        let mut found = Found::default();
        if self.arguments.measures(Part::Change) {
            let latencies = self.idle(&mut prober);
            let mut apart = std::mem::take(&mut prober.apart);
            apart.sort_by(f64::total_cmp);
            let at = |share: f64| apart.get((apart.len() as f64 * share) as usize).copied().unwrap_or_default();
            println!("   two bare watchers were told p50 {:.2} ms, p90 {:.2} ms apart", at(0.5), at(0.9));
            found.idle = Some(latencies.tell(sheet, row, "idle", [Column::ChangeP50, Column::ChangeP99]));
        }
        if self.arguments.measures(Part::Large) {
            let [large, few] = self.large_and_few(&mut prober);
            let large = large.tell(sheet, row, "of 5,000 endpoints", [Column::LargeP50, Column::LargeP99]);
            let few = few.tell(sheet, row, "of 5 endpoints", [Column::FewP50, Column::FewP99]);
            if subject == Subject::Podzone {
                for (index, measure) in [Measure::LargeP50, Measure::LargeP99].into_iter().enumerate() {
                    sheet.latency_ratio(measure, Some(large[index]), Some(few[index]));
                }
            }
        }
        if let Some(slices) = self.slices {
            found.busy = self
                .busy(&mut prober, slices)
                .map(|latencies| latencies.tell(sheet, row, "under updates", [Column::BusyP50, Column::BusyP99]));
        }
        found
    }

    /// How many slices are changed, to and fro.
    fn count(&self) -> usize {
        self.arguments.changes as usize / 2
    }

    fn idle(&mut self, prober: &mut Prober<'_>) -> Latencies {
        let mut swaps = draw(&self.stage.cluster, Purpose::Asked, self.count(), &mut self.rng);
        to_and_fro(prober, &mut swaps)
    }

    /// Changes of large and small Services by turns, so that both meet the same machine.
    fn large_and_few(&mut self, prober: &mut Prober<'_>) -> [Latencies; 2] {
        let services = &self.stage.cluster.services;
        let large = services.iter().filter(|service| service.size() == Size::Large);
        let mut large: Vec<_> =
            large.flat_map(|service| (0..service.slice_names.len()).map(move |slice| (service, slice))).collect();
        large.shuffle(&mut self.rng);
        let few: Vec<_> = services.iter().filter(|service| service.pods.len() == FEW).collect();
        let count = self.count();
        let few = few.sample(&mut self.rng, count);
        let mut swaps: Vec<_> = large
            .into_iter()
            .zip(few)
            .flat_map(|((large, slice), few)| [Swap::new(large, slice), Swap::new(few, 0)])
            .collect();
        let latencies = one_by_one(prober, &mut swaps);
        [0, 1].map(|first| Latencies::new(latencies.iter().copied().skip(first).step_by(2).collect()))
    }

    /// Nothing if the updates were too few.
    fn busy(&mut self, prober: &mut Prober<'_>, slices: &Slices) -> Option<Latencies> {
        let mut probed = draw(&self.stage.cluster, Purpose::Asked, self.count(), &mut self.rng);
        let updates = Updates::start(self.runtime, &self.stage.plane, slices.clone());
        std::thread::sleep(WARM_UP);
        let latencies = to_and_fro(prober, &mut probed);
        updates.end().then_some(latencies)
    }
}

/// Slices for one purpose, none twice: those that are asked about are never those that are updated meanwhile. No large
/// Service is among them.
pub(crate) fn draw(cluster: &Cluster, purpose: Purpose, count: usize, rng: &mut StdRng) -> Vec<Swap> {
    let others = cluster.services.iter().filter(|service| service.size() != Size::Large);
    let its: Vec<_> = others.skip(purpose as usize).step_by(2).collect();
    its.sample(rng, count).map(|service| Swap::new(service, 0)).collect()
}

fn to_and_fro(prober: &mut Prober<'_>, swaps: &mut [Swap]) -> Latencies {
    Latencies::new(one_by_one(prober, swaps))
}

/// Milliseconds of each change, in the order of the slices, twice.
fn one_by_one(prober: &mut Prober<'_>, swaps: &mut [Swap]) -> Vec<f64> {
    let mut latencies = Vec::with_capacity(2 * swaps.len());
    for _ in 0..2 {
        for swap in &mut *swaps {
            std::thread::sleep(PAUSE);
            latencies.push(prober.change(swap));
        }
    }
    latencies
}
