//! A million endpoints in 70,000 Services: a server made from the library, in a process of its own, told of them by events
//! that are made there one by one; beside one of 154,704 endpoints.

use crate::arguments::Arguments;
use crate::cluster::{Cluster, Shape};
use crate::load::{Client, Way};
use crate::queries::{self, Drawer, MIX};
use crate::report::{Column, Measure, Row, Sheet, State};
use crate::stage::Running;
use crate::support::process::Scratch;
use rand::rngs::StdRng;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const QUESTIONS: usize = 200_000;
const WARM_UP_SECONDS: u32 = 1;
const SECONDS: u32 = 3;
const OUTSTANDING: u32 = 200;
const SETTLING: Duration = Duration::from_secs(2);

/// A cluster and its questions.
struct Case {
    shape: Shape,
    questions: PathBuf,
    cluster: Cluster,
}

pub(crate) fn rounds(arguments: &Arguments, sheet: &mut Sheet, rng: &mut StdRng) {
    let folder = Scratch::new();
    let cases = [Shape::Full, Shape::Million].map(|shape| {
        let cluster = Cluster::generate(shape, arguments.cluster_seed);
        println!("{} Services with {} endpoints", cluster.services.len(), cluster.endpoints());
        let drawer = Drawer::new(&cluster);
        let drawn: Vec<_> = (0..QUESTIONS).map(|_| drawer.mixed(&MIX, rng)).collect();
        let questions = folder.path().join(format!("{shape:?}"));
        std::fs::write(&questions, queries::file(&drawn)).expect("a file of questions");
        Case { shape, questions, cluster }
    });
    // What of the time until ready is the making of the cluster and not podzone's; the events take it twice.
    let begin = Instant::now();
    let made: usize = Cluster::services(Shape::Million, arguments.cluster_seed).map(|service| service.pods.len()).sum();
    let making = begin.elapsed();
    println!("to make {made} endpoints takes {making:.2?}, and is done twice");
    for number in 1..=arguments.rounds {
        println!("round {number}");
        let [full, million] = cases.each_ref().map(|case| {
            let mut running = start(arguments, case.shape);
            let ready = running.server.wait_until_ready(&case.cluster);
            let spent = running.server.cpu();
            let memory = running.settled_memory(SETTLING);
            println!("  {:?}: ready after {ready:.2?}, {spent:.2?} of CPU, {}", case.shape, memory.describe());
            if case.shape == Shape::Million {
                sheet.measure(Measure::MillionReady, ready.as_secs_f64());
                sheet.measure(Measure::MillionMemory, memory.peak());
            }
            let cpu = ask(arguments, &running, &case.questions);
            let row = if case.shape == Shape::Million { Row::Million } else { Row::Full };
            sheet.add(row, Column::LibraryReady, ready.as_secs_f64());
            sheet.add(row, Column::LibraryReadyCpu, spent.as_secs_f64());
            sheet.memory(row, State::Library, &memory);
            if let Some(cpu) = cpu {
                sheet.add(row, Column::LibraryCpu, cpu);
            }
            cpu
        });
        sheet.ratio(Measure::MillionCpu, million, full);
    }
}

fn start(arguments: &Arguments, shape: Shape) -> Running {
    let shape = clap::ValueEnum::to_possible_value(&shape).expect("a name").get_name().to_owned();
    Running::start("podzone's library", Some(arguments.server_core), |command, _, port| {
        command
            .arg(std::env::current_exe().expect("this program's path"))
            .args(["library", "--port", &port.to_string(), "--shape", &shape])
            .args(["--cluster-seed", &arguments.cluster_seed.to_string()]);
    })
}

/// Microseconds of CPU an answer; nothing if queries were lost.
fn ask(arguments: &Arguments, running: &Running, questions: &Path) -> Option<f64> {
    let client = |seconds| Client { core: arguments.client_core, outstanding: OUTSTANDING, seconds };
    client(WARM_UP_SECONDS).ask(&running.server, questions, Way::Udp);
    let run = client(SECONDS).ask(&running.server, questions, Way::Udp);
    let verdict = if run.is_void() { format!("; void: {} of {} lost", run.lost(), run.sent) } else { String::new() };
    println!("   {:.2} us an answer, {:.0}/s{verdict}", run.cpu, run.queries_per_second);
    (!run.is_void()).then_some(run.cpu)
}
