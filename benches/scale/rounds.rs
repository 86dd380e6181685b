//! The run: the cluster is written once, then the servers are measured in turns.

use crate::arguments::{Arguments, Part};
use crate::cgroup::Group;
use crate::changes;
use crate::cluster::{Cluster, Shape};
use crate::deletion;
use crate::fill;
use crate::million;
use crate::pods;
use crate::report::Sheet;
use crate::stage::Stage;
use crate::starts;
use crate::subject::SUBJECTS;
use crate::support::kube::{ControlPlane, Options};
use crate::sustained;
use crate::updates::Slices;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;

/// What is measured behind the rounds.
const ONCE: [Part; 3] = [Part::Updates, Part::Delete, Part::Pods];

/// Slices that are updated in turns.
const UPDATED: usize = 1000;

pub(crate) fn run(arguments: &Arguments) {
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("changes of seed {seed}");
    match Group::new() {
        Some(group) => println!("memory is {}; file pages are taken off", group.version().title()),
        None => println!("memory is VmRSS and VmHWM: no control group can be made here"),
    }
    let mut sheet = Sheet::default();
    if arguments.measures(Part::Million) {
        million::rounds(arguments, &mut sheet, &mut StdRng::seed_from_u64(seed));
    }
    if arguments.measures_any(&[&starts::PARTS[..], &changes::PARTS, &ONCE].concat()) {
        followers(arguments, &mut sheet, seed);
    }
    sheet.print();
}

/// What is measured of servers that follow an API server.
fn followers(arguments: &Arguments, sheet: &mut Sheet, seed: u64) {
    let cluster = Arc::new(Cluster::generate(Shape::Full, arguments.cluster_seed));
    println!("{} Services with {} endpoints", cluster.services.len(), cluster.endpoints());
    let mut stage = Stage::new(arguments, ControlPlane::start(Options::default()), cluster);
    let time = fill::fill(&stage.plane, &stage.cluster, stage.connections);
    println!("written to the API server in {time:.1?}");
    let mut rng = StdRng::seed_from_u64(seed);
    let slices = arguments.measures_any(&[Part::Busy, Part::Updates]).then(|| {
        let drawn = changes::draw(&stage.cluster, changes::Purpose::Updated, UPDATED, &mut rng);
        Slices::prepare(&stage, drawn)
    });
    let rounds = || {
        (1..=arguments.rounds).map(|number| {
            println!("round {number}");
            let mut subjects = SUBJECTS;
            // Neither is always the first.
            subjects.rotate_left(number as usize % 2);
            subjects
        })
    };
    let in_rounds = arguments.measures_any(&[starts::PARTS, changes::PARTS].concat());
    for subjects in in_rounds.then(rounds).into_iter().flatten() {
        if arguments.measures_any(&starts::PARTS) {
            starts::round(&mut stage, arguments, sheet, subjects);
        }
        if arguments.measures_any(&changes::PARTS) {
            let slices = slices.as_ref().filter(|_| arguments.measures(Part::Busy));
            changes::round(&stage, arguments, sheet, subjects, slices, &mut rng);
        }
    }
    if let Some(slices) = slices.filter(|_| arguments.measures(Part::Updates)) {
        sustained::compare(&stage, arguments, sheet, &slices);
    }
    if arguments.measures(Part::Delete) {
        deletion::compare(&stage, sheet);
    }
    // Last: from then on the API server holds ten times as much.
    if arguments.measures(Part::Pods) {
        pods::fill(&mut stage);
        for subjects in rounds() {
            pods::round(&stage, sheet, subjects);
        }
    }
}
