//! The test tests itself: with any one fault planted in podzone's rules, it must see a difference.
//!
//! Faults are rules of the zone made wrong in one way each (`PODZONE_FAULT=<name>`, only in builds with the feature
//! `planted-faults`). CoreDNS is asked once; each fault's process only until its first difference.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::ask::{Answers, Asker};
use crate::changes;
use crate::cluster::{Cluster, Markers, Scale};
use crate::configurations::{self, Configuration};
use crate::dice::Dice;
use crate::differences;
use crate::names::Names;
use crate::pair::{Verdict, verdict, wait_for_name};
use crate::questions::Question;
use crate::support::ports;
use crate::support::process::{Process, Scratch};
use crate::support::server::{Program, Server};
use crate::{Run, support};
use podzone::zone::faults::Fault;

const SEED: u64 = 7;
/// As clusters of the main run are numbered; these are on an API server of their own. The second has ServiceImports.
const NUMBERS: [usize; 2] = [0, 1];
/// Asked of each configuration.
const QUESTIONS: usize = 2500;
/// Fewer faults than this would say little about the test.
const LEAST: usize = 20;
/// Under these everything that a fault may touch can be seen: the first serves reverse zones, pods and pod names and
/// has name servers, the others filter, verify, share an API among zones, and have names of topology zones or no endpoints.
const CONFIGURATIONS: [usize; 6] = [0, 2, 3, 5, 10, 11];
/// The same of zones of ServiceImports.
const CONFIGURATIONS_WITH_IMPORTS: [usize; 1] = [0];
const THREADS: usize = 4;

#[test]
fn every_planted_fault_is_seen() {
    let faults = Fault::ALL;
    assert!(faults.len() >= LEAST, "only {} faults are planted", faults.len());
    let run = Run::start(Program::Podzone, differences::entries());
    let ordinary = CONFIGURATIONS.map(|index| (index, &configurations::ALL as &'static [Configuration]));
    let with_imports = CONFIGURATIONS_WITH_IMPORTS.map(|index| (index, &configurations::WITH_IMPORTS as &'static [_]));
    let stages = [Stage::build(&run, NUMBERS[0], &ordinary), Stage::build(&run, NUMBERS[1], &with_imports)];
    let first_difference = |fault| stages.iter().find_map(|stage| stage.first_difference(fault));
    assert_eq!(first_difference(None), None, "without a fault there is no difference");
    let mut unseen = BTreeSet::new();
    for (_, fault) in faults {
        let begin = std::time::Instant::now();
        match first_difference(Some(fault)) {
            Some(seen) => eprintln!("{fault}: seen after {:?} by {seen}", begin.elapsed()),
            None => drop(unseen.insert(*fault)),
        }
    }
    assert!(unseen.is_empty(), "the test does not see these faults: {unseen:?}");
}

/// A written cluster, and what CoreDNS answers there.
struct Stage<'r> {
    run: &'r Run,
    cluster: Cluster,
    asked: Vec<(&'static Configuration, Vec<(Question, Answers)>)>,
}

impl<'r> Stage<'r> {
    /// A cluster of this number, under configurations by their places in a list.
    fn build(run: &'r Run, number: usize, configurations: &[(usize, &'static [Configuration])]) -> Self {
        let mut dice = Dice::part(SEED, 0);
        let mut cluster = Cluster::random(&mut dice, number, Scale { services_per_namespace: 7, largest: 0 });
        if number != NUMBERS[0] {
            cluster.add_imports(&mut dice);
        }
        // Also names of what is not there.
        let [_, other] = changes::random(&mut dice, &cluster);
        let names = Names::of(&[&cluster, &other]);
        run.write(&Cluster::default(), &cluster);
        run.write(&cluster, &cluster.with_markers(0));
        let mut stage = Self { run, cluster, asked: Vec::new() };
        for (index, of) in configurations {
            let configuration = &of[*index];
            let server = Program::CoreDns.start(&stage.corefile(configuration));
            stage.wait_for_markers(configuration, server.addr());
            let mut dice = Dice::part(SEED, 1 + *index as u64);
            // Few addresses have several names: whether all are given is left to no chance.
            let random = std::iter::repeat_with(|| Question::random(&mut dice, &names, configuration));
            let questions: Vec<_> = random.take(QUESTIONS).chain(Question::all_pointers(&names)).collect();
            stage.asked.push((configuration, reference(&server, questions)));
        }
        stage
    }

    fn corefile(&self, configuration: &Configuration) -> String {
        configuration.corefile(&self.run.plane.kubeconfig().to_string_lossy(), &self.cluster)
    }

    fn wait_for_markers(&self, configuration: &Configuration, server: std::net::SocketAddr) {
        for name in configuration.marker_names(&Markers::new(&self.cluster, 0)) {
            wait_for_name(server, configuration.name, &name);
        }
    }

    /// The first question to which podzone with this fault answers otherwise than CoreDNS.
    fn first_difference(&self, fault: Option<&str>) -> Option<String> {
        self.asked.iter().find_map(|(configuration, asked)| {
            let faulty = Faulty::start(fault, &self.corefile(configuration));
            // A fault may keep the markers from ever being there: that is a difference too.
            let limit = Duration::from_secs(if fault.is_none() { 30 } else { 3 });
            faulty.settle(configuration, &Markers::new(&self.cluster, 0), limit);
            self.difference(configuration, asked, faulty.addr)
        })
    }

    fn difference(
        &self,
        configuration: &'static Configuration,
        asked: &[(Question, Answers)],
        server: std::net::SocketAddr,
    ) -> Option<String> {
        let (next, seen) = (AtomicUsize::new(0), AtomicBool::new(false));
        let first = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let mut asker = Asker::new(server);
                    while let Some((question, theirs)) = asked.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if seen.load(Ordering::Relaxed) {
                            return;
                        }
                        let mut different = || {
                            asker.start(question);
                            let ours = asker.finish(question);
                            match verdict(question, configuration, &ours, theirs, &self.run.entries) {
                                Verdict::Different(found) => Some(found),
                                _ => None,
                            }
                        };
                        if different().is_none() {
                            continue;
                        }
                        // Not if it was only late.
                        std::thread::sleep(Duration::from_millis(300));
                        if let Some(found) = different() {
                            seen.store(true, Ordering::Relaxed);
                            let text = format!("{} {:?} ({})", question.query.name, found, configuration.name);
                            first.lock().unwrap().get_or_insert(text);
                        }
                    }
                });
            }
        });
        first.into_inner().unwrap()
    }
}

/// Names of unlabelled addresses are not among the questions: CoreDNS's silence would cost most of the time.
fn reference(server: &Server, questions: Vec<Question>) -> Vec<(Question, Answers)> {
    let chunk = questions.len().div_ceil(THREADS);
    std::thread::scope(|scope| {
        let running: Vec<_> = questions
            .chunks(chunk)
            .map(|part| {
                scope.spawn(|| {
                    let mut asker = Asker::new(server.addr());
                    let mut ask = |it: &Question| {
                        asker.start(it);
                        (it.clone(), asker.finish(it))
                    };
                    part.iter().map(&mut ask).collect::<Vec<_>>()
                })
            })
            .collect();
        running.into_iter().flat_map(|it| it.join().unwrap()).collect()
    })
}

/// podzone with a fault.
struct Faulty {
    addr: std::net::SocketAddr,
    _process: Process,
    _scratch: Scratch,
}

impl Faulty {
    fn start(fault: Option<&str>, corefile: &str) -> Self {
        let scratch = Scratch::new();
        let port = ports::free();
        let path = scratch.path().join("Corefile");
        std::fs::write(&path, corefile.replace("{port}", &port.to_string())).expect("a Corefile");
        let mut command = Command::new(Program::Podzone.path());
        command.arg("-conf").arg(&path).current_dir(scratch.path());
        if let Some(fault) = fault {
            command.env("PODZONE_FAULT", fault);
        }
        let process = Process::spawn("podzone", command, &scratch.path().join("log"));
        Self { addr: ([127, 0, 0, 1], port).into(), _process: process, _scratch: scratch }
    }

    fn settle(&self, configuration: &Configuration, markers: &Markers, limit: Duration) {
        use support::dns::{A, NOERROR, Query, ask};
        let begin = std::time::Instant::now();
        for name in configuration.marker_names(markers) {
            while !ask(self.addr, &Query::new(&name, A)).is_ok_and(|it| it.rcode == NOERROR) && begin.elapsed() < limit
            {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
