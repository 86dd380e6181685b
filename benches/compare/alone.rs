//! podzone against itself, as a server made from the library: on a large cluster and a small one, while the cluster
//! changes, and while it is flooded.

use crate::arguments::Part;
use crate::churn;
use crate::cluster::{Cluster, Shape};
use crate::flood::{self, Flood};
use crate::generator::{Outcome, Plan, on_core};
use crate::latency::describe;
use crate::load::{Client, Way};
use crate::peers::{LibraryServer, Stage};
use crate::queries::{self, Drawer, MIX};
use crate::report::{Measure, Sheet};
use crate::server::Server;
use crate::wanted::{Rule, Wanted};
use rand::rngs::StdRng;
use std::path::Path;
use std::time::Duration;

const UPDATES_PER_SECOND: u32 = 1000;
/// Of a flood, packets or pieces of them a second.
const FLOOD_PER_SECOND: u32 = 20_000;
const QUESTIONS: usize = 50_000;
/// Pairs of runs in a round.
const TURNS: usize = 3;
/// Of the updates that were to be made, so many at least must have been.
const UPDATES_SHARE_MIN: f64 = 0.95;

pub(crate) struct Alone {
    full: LibraryServer,
    /// The same, counting; only where that is measured.
    counting: Option<LibraryServer>,
    /// The same with all options for names; only where that is measured.
    everything: Option<LibraryServer>,
    small: LibraryServer,
    small_cluster: Cluster,
    client: Client,
}

/// What a span of time took of the server.
struct Span {
    /// Good queries a second.
    rate: u32,
    /// Seconds of the server's.
    cpu: f64,
    outcome: Outcome,
}

impl Alone {
    pub(crate) fn is_measured_by(part: Part) -> bool {
        matches!(part, Part::Size | Part::Counts | Part::Options | Part::Churn | Part::Floods)
    }

    pub(crate) fn start(stage: &Stage, client: Client, is_measured: impl Fn(Part) -> bool) -> Self {
        Self {
            full: stage.library(Shape::Full, &[]),
            counting: is_measured(Part::Counts).then(|| stage.library(Shape::Full, &["--count"])),
            everything: is_measured(Part::Options).then(|| stage.library(Shape::Full, &["--everything"])),
            small: stage.library(Shape::Small, &[]),
            small_cluster: Cluster::generate(Shape::Small, stage.cluster_seed),
            client,
        }
    }

    /// The same mix on both clusters.
    pub(crate) fn size(&self, sheet: &mut Sheet, mix: &Path, folder: &Path, rng: &mut StdRng) {
        let drawer = Drawer::new(&self.small_cluster);
        let questions: Vec<_> = (0..QUESTIONS).map(|_| drawer.mixed(&MIX, rng)).collect();
        let file = folder.join("small");
        std::fs::write(&file, queries::file(&questions)).expect("a file of questions");
        let cpu = [(&self.full, mix), (&self.small, &file)].map(|(library, questions)| {
            let run = self.client.ask(&library.server, questions, Way::Udp);
            println!("  {:.2} us an answer of {:.0} octets", run.cpu, run.mean_answer_octets);
            (!run.is_void()).then_some(run.cpu)
        });
        let [full, small] = cpu;
        sheet.ratio(Measure::Size, full, small);
    }

    /// The same mix with and without counts.
    pub(crate) fn counts(&self, sheet: &mut Sheet, mix: &Path) {
        self.by_turns(sheet, mix, self.counting.as_ref(), Measure::Counts);
    }

    /// The same mix with and without all options for names.
    pub(crate) fn options(&self, sheet: &mut Sheet, mix: &Path) {
        self.by_turns(sheet, mix, self.everything.as_ref(), Measure::Options);
    }

    /// With something and without, by turns: the difference is far less than what a run differs from the next by.
    fn by_turns(&self, sheet: &mut Sheet, mix: &Path, more: Option<&LibraryServer>, measure: Measure) {
        let Some(more) = more else { return };
        for _ in 0..TURNS {
            let cpu = [more, &self.full].map(|library| {
                let run = self.client.ask(&library.server, mix, Way::Udp);
                (!run.is_void()).then_some(run.cpu)
            });
            println!("  {cpu:.2?} us an answer, with it and without");
            let [with, without] = cpu;
            sheet.ratio(measure, with, without);
        }
    }

    /// Half of the queries a second that the server can answer, which leaves CPU on its core.
    pub(crate) fn half_load(&self, mix: &Path) -> u32 {
        let client = Client { seconds: 1, ..self.client };
        (client.ask(&self.full.server, mix, Way::Udp).queries_per_second / 2.0) as u32
    }

    /// Queries alone, updates alone, and both.
    pub(crate) fn churn(&self, sheet: &mut Sheet, rate: u32, drawer: &Drawer<'_>, rng: &mut StdRng) {
        // A slice that was updated in an earlier round may have stayed so.
        let questions = wanted(drawer, Rule::OldOrNew, rng);
        let idle = self.span(&questions, rate, None);
        let updates = churn::set(self.full.control, UPDATES_PER_SECOND);
        let alone = self.span(&questions, 0, None);
        let both = self.span(&questions, rate, None);
        let updates = churn::set(self.full.control, 0) - updates;
        let wanted = 2.0 * self.time().as_secs_f64() * f64::from(UPDATES_PER_SECOND);
        println!("  idle: {}", idle.describe());
        println!("  {updates} slice updates: {:.2} s of CPU; beside them: {}", alone.cpu, both.describe());
        if (updates as f64) < wanted * UPDATES_SHARE_MIN {
            println!("  void: fewer updates than {wanted:.0}");
            return;
        }
        sheet.measure(Measure::ChurnWrong, both.outcome.lost_or_wrong() as f64);
        sheet.ratio(Measure::Churn, both.cost(alone.cpu), idle.cost(0.0));
    }

    /// Queries alone, each flood alone, and both.
    ///
    /// A server that wakes for each packet pays more for it than one that finds several. So that this does not count
    /// for or against a flood, as many packets come in each of the three: the flood takes the place of good queries.
    pub(crate) fn floods(&self, sheet: &mut Sheet, rate: u32, drawer: &Drawer<'_>, rng: &mut StdRng) {
        let questions = wanted(drawer, Rule::OldOrNew, rng);
        let calm = self.span(&questions, rate, None);
        println!("  calm: {}", calm.describe());
        calm.tell(sheet, "nothing", 0.0, None);
        for kind in flood::KINDS {
            let (alone_rate, good_rate) = match kind {
                // Other threads than those that good queries come to.
                flood::Kind::HalfFrames => (FLOOD_PER_SECOND, rate),
                _ => (rate, rate.saturating_sub(FLOOD_PER_SECOND)),
            };
            let alone = self.span(&questions, 0, Some((kind, alone_rate)));
            let both = self.span(&questions, good_rate, Some((kind, FLOOD_PER_SECOND)));
            let own = alone.cpu * f64::from(FLOOD_PER_SECOND) / f64::from(alone_rate.max(1));
            println!("  {kind:?}: {own:.2} s of CPU; beside it: {}", both.describe());
            let (measure, title) = match kind {
                flood::Kind::Malformed => (Measure::Malformed, "malformed packets"),
                flood::Kind::RandomNames => (Measure::RandomNames, "random names"),
                flood::Kind::HalfFrames => (Measure::HalfFrames, "half-sent TCP frames"),
            };
            let packets = self.time().as_secs_f64() * f64::from(FLOOD_PER_SECOND);
            both.tell(sheet, title, own, Some(own * 1e6 / packets));
            sheet.ratio(measure, both.cost(own), calm.cost(0.0));
        }
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.client.seconds.into())
    }

    fn span(&self, questions: &[Wanted], rate: u32, flood: Option<(flood::Kind, u32)>) -> Span {
        let server: &Server = &self.full.server;
        let flood = flood.map(|(kind, rate)| Flood::new(kind, rate, server.addr));
        let plan = Plan { server: server.addr, questions, rate, time: self.time(), flood };
        let before = server.cpu();
        let outcome = on_core(self.client.core, plan);
        Span { rate, cpu: (server.cpu() - before).as_secs_f64(), outcome }
    }
}

impl Span {
    /// Microseconds of CPU for each answer, something else's seconds taken off; nothing if the span does not count.
    fn cost(&self, taken_off: f64) -> Option<f64> {
        self.outcome.void().is_none().then(|| (self.cpu - taken_off) * 1e6 / self.outcome.answers as f64)
    }

    /// Puts what counts into the table of floods.
    fn tell(&self, sheet: &mut Sheet, title: &'static str, taken_off: f64, a_packet: Option<f64>) {
        if let Some(cost) = self.cost(taken_off) {
            sheet.flood(title, a_packet, cost, self.outcome.percentile(0.99));
        }
    }

    fn describe(&self) -> String {
        format!("{:.2} s of CPU, {}", self.cpu, describe(&self.outcome, self.rate))
    }
}

pub(crate) fn wanted(drawer: &Drawer<'_>, rule: Rule, rng: &mut StdRng) -> Vec<Wanted> {
    (0..QUESTIONS).map(|_| Wanted::new(&drawer.mixed(&MIX, rng), rule)).collect()
}
