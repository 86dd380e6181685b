//! The run: both servers in turns, each started anew in each round.

use crate::arguments::{Arguments, Part};
use crate::load::{Client, Measured, Way};
use crate::questions::Questions;
use crate::report::{Column, Measure, Sheet};
use crate::server::Server;
use crate::stage::Stage;
use crate::subject::{SUBJECTS, Subject};
use std::path::Path;

/// The parts, in the order in which a server is asked: what was never asked about fills a cache.
const LOADS: [(Part, Column, Measure); 3] = [
    (Part::Cached, Column::Cached, Measure::Cached),
    (Part::Search, Column::Search, Measure::Search),
    (Part::Uncached, Column::Uncached, Measure::Uncached),
];
/// At this rate the upstream, which has the client's core, gives what is to be cached.
const FILLING_RATE: u32 = 4000;

pub(crate) fn run(arguments: &Arguments) {
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("questions of seed {seed}");
    let stage = Stage::start(arguments);
    let mut questions = Questions::new(seed);
    let mut sheet = Sheet::default();
    for number in 1..=arguments.rounds {
        println!("round {number}");
        let mut subjects = SUBJECTS;
        // Neither is always the first.
        subjects.rotate_left(number as usize % 2);
        let mut found = subjects.map(|subject| (subject, measure(&stage, arguments, &mut questions, subject)));
        found.sort_by_key(|(subject, _)| *subject);
        let [(_, ours), (_, theirs)] = found;
        for ((column, measure, ours), (_, _, theirs)) in ours.into_iter().zip(theirs) {
            sheet.add(column, measure, [ours, theirs]);
        }
    }
    sheet.print();
}

/// What one round finds of a server: the same things in the same order for both.
fn measure(
    stage: &Stage,
    arguments: &Arguments,
    questions: &mut Questions,
    subject: Subject,
) -> Vec<(Column, Option<Measure>, Option<f64>)> {
    println!("  {}", subject.title());
    let server = stage.start_server(subject);
    let mut found = Vec::new();
    if arguments.measures(Part::Memory) {
        found.push((Column::Empty, None, Some(resident(&server))));
        fill(arguments, &server, questions);
        found.push((Column::Full, Some(Measure::Full), Some(resident(&server))));
    }
    for (part, column, measure) in LOADS.into_iter().filter(|(part, ..)| arguments.measures(*part)) {
        let run = load(arguments, &server, questions, part);
        let void = if run.is_void() { "; void" } else { "" };
        println!(
            "   {part:?}: {} answers, {:.0} a second, {} lost, {:.1} us each{void}",
            run.answers,
            run.queries_per_second,
            run.lost(),
            run.cpu
        );
        found.push((column, Some(measure), (!run.is_void()).then_some(run.cpu)));
    }
    found
}

fn load(arguments: &Arguments, server: &Server, questions: &mut Questions, part: Part) -> Measured {
    let client = Client { core: arguments.client_core, outstanding: arguments.outstanding, seconds: arguments.seconds };
    match part {
        Part::Cached | Part::Memory => {
            fill(arguments, server, questions);
            client.ask(server, &questions.cached(), Way::Udp)
        }
        Part::Search => {
            once(client, server, &questions.searches_once(), Some(FILLING_RATE));
            client.ask(server, &questions.searches(), Way::Udp)
        }
        Part::Uncached => once(client, server, &questions.unheard_of(arguments.forwarded as usize), arguments.rate),
    }
}

/// Has all names cached.
fn fill(arguments: &Arguments, server: &Server, questions: &mut Questions) {
    let client = Client { core: arguments.client_core, outstanding: arguments.outstanding, seconds: 0 };
    let run = once(client, server, &questions.all_once(), Some(FILLING_RATE));
    assert!(!run.is_void(), "{} of {} queries were lost while the cache was filled", run.lost(), run.sent);
}

/// Asks each question of a file once, so many a second, or as many as are answered.
fn once(client: Client, server: &Server, queries: &Path, per_second: Option<u32>) -> Measured {
    let rate = per_second.map(|per_second| format!("-Q{per_second}"));
    client.run(server, queries, Way::Udp, ["-n1".to_owned()].into_iter().chain(rate))
}

fn resident(server: &Server) -> f64 {
    server.memory().resident as f64 / f64::from(1 << 20)
}
