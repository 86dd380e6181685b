//! The run: servers are started, checked against each other, and measured in turns.

use crate::allocations;
use crate::alone::{self, Alone};
use crate::arguments::{Arguments, Part};
use crate::check;
use crate::cluster::{Cluster, Shape};
use crate::fill;
use crate::latency;
use crate::load::{Client, Measured, Way};
use crate::peers::{Peer, Stage};
use crate::queries::{self, Drawer, Kind, MIX, MOSTLY_NXDOMAIN, Question};
use crate::report::{Column, Measure, Sheet};
use crate::server::Server;
use crate::support::kube::{ControlPlane, Options};
use crate::support::process::Scratch;
use crate::targets::Targets;
use crate::wanted::Rule;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const CHECKED: usize = 1000;
/// So many that dnsperf repeats itself rarely.
const QUESTIONS: usize = 200_000;
const WARM_UP_SECONDS: u32 = 1;
/// Enough for what no target is set to.
const TARGETS_SECONDS: u32 = 1;
const TARGETS_ROUNDS: u32 = 3;
const MIB: f64 = 1024.0 * 1024.0;

/// What all rounds share.
struct Run {
    arguments: Arguments,
    client: Client,
    stage: Stage,
    peers: Vec<Peer>,
    folder: Scratch,
    sheet: Sheet,
}

pub(crate) fn run(arguments: Arguments) {
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("questions of seed {seed}");
    let cluster = Arc::new(Cluster::generate(Shape::Full, arguments.cluster_seed));
    println!("{} Services with {} endpoints", cluster.services.len(), cluster.endpoints());
    let plane = arguments.wants_api_server().then(|| ControlPlane::start(Options::default()));
    if let Some(plane) = &plane {
        println!("written to the API server in {:.1?}", fill::fill(plane, &cluster, arguments.connections));
    }
    let stage = Stage {
        core: arguments.server_core,
        cluster_seed: arguments.cluster_seed,
        cluster: Arc::clone(&cluster),
        plane,
        podzone: arguments.podzone.clone(),
        nsd_recvmmsg: arguments.nsd_recvmmsg(),
    };
    let (client, peers) = (arguments.client(), arguments.peers());
    println!("measured: {}", peers.iter().map(|peer| peer.title()).collect::<Vec<_>>().join("; "));
    if arguments.wants_everybody() && !peers.contains(&Peer::NsdRecvmmsg) {
        println!("left out: {}", Peer::NsdRecvmmsg.title());
    }
    let run = Run { arguments, client, stage, peers, folder: Scratch::new(), sheet: Sheet::default() };
    run.all(&Drawer::new(&cluster), &mut StdRng::seed_from_u64(seed));
}

impl Run {
    fn all(mut self, drawer: &Drawer<'_>, rng: &mut StdRng) {
        let mut servers = BTreeMap::new();
        for peer in self.peers.iter().copied().filter(|peer| !peer.is_echo()) {
            let mut server = self.stage.spawn(peer);
            server.wait_until_ready(&self.stage.cluster);
            servers.insert(peer, server);
        }
        self.check(&servers, drawer, rng);
        let padding = self.padding(&servers, drawer, rng);
        for (peer, is_batched) in [(Peer::Echo, true), (Peer::EchoUnbatched, false)] {
            if self.peers.contains(&peer) {
                servers.insert(peer, self.stage.echo(is_batched, padding));
            }
        }
        if let Some(seconds) = self.arguments.hold {
            self.hold(&servers, seconds, drawer, rng);
            return;
        }
        let alone = self.arguments.measures_any(Alone::is_measured_by);
        let alone = alone.then(|| Alone::start(&self.stage, self.client, |part| self.arguments.measures(part)));
        let mut targets = self.arguments.measures(Part::Targets).then(|| Targets::start(&self.stage));
        for number in 1..=self.arguments.rounds {
            println!("round {number}");
            self.round(&mut servers, drawer, rng);
            if let Some(alone) = &alone {
                self.alone(alone, drawer, rng);
            }
            if let Some(targets) = targets.as_mut().filter(|_| number <= TARGETS_ROUNDS) {
                targets.round(Client { seconds: TARGETS_SECONDS, ..self.client }, self.folder.path());
            }
        }
        if self.arguments.measures(Part::Allocations) {
            let questions = alone::wanted(drawer, Rule::Exact, rng);
            self.sheet.measure(Measure::Allocations, allocations::per_query(&self.stage.cluster, &questions));
        }
        self.sheet.print();
        if let Some(targets) = targets {
            targets.print();
        }
    }

    /// Checks that all servers give the same answers.
    fn check(&self, servers: &BTreeMap<Peer, Server>, drawer: &Drawer<'_>, rng: &mut StdRng) {
        let mut sample: Vec<_> = (0..CHECKED).map(|_| drawer.mixed(&MIX, rng)).collect();
        sample.extend((0..10).map(|_| drawer.draw(Kind::LargePodA, rng)));
        check::agree(servers, &sample);
    }

    /// By how many octets podzone's answers are longer than the queries on average, which the echo makes its own.
    fn padding(&self, servers: &BTreeMap<Peer, Server>, drawer: &Drawer<'_>, rng: &mut StdRng) -> usize {
        let Some(podzone) = servers.get(&Peer::Podzone) else { return 0 };
        let mix = self.questions("mix", || drawer.mixed(&MIX, rng));
        let run = Client { seconds: WARM_UP_SECONDS, ..self.client }.ask(podzone, &mix, Way::Udp);
        (run.mean_answer_octets - run.mean_query_octets) as usize
    }

    fn hold(&self, servers: &BTreeMap<Peer, Server>, seconds: u64, drawer: &Drawer<'_>, rng: &mut StdRng) {
        println!("questions: {}", self.questions("mix", || drawer.mixed(&MIX, rng)).display());
        for (peer, server) in servers {
            println!("{}: process {}, {}", peer.title(), server.id(), server.addr);
        }
        std::thread::sleep(Duration::from_secs(seconds));
    }

    fn questions(&self, name: &str, mut draw: impl FnMut() -> Question) -> PathBuf {
        let questions: Vec<_> = (0..QUESTIONS).map(|_| draw()).collect();
        let path = self.folder.path().join(name);
        std::fs::write(&path, queries::file(&questions)).expect("a file of questions");
        path
    }

    fn round(&mut self, servers: &mut BTreeMap<Peer, Server>, drawer: &Drawer<'_>, rng: &mut StdRng) {
        // All get the same, and nobody gets it twice.
        let mix = self.questions("mix", || drawer.mixed(&MIX, rng));
        self.start_afresh(servers);
        let rate = if self.arguments.measures(Part::Udp) { self.udp(servers, &mix) } else { None };
        if self.arguments.measures(Part::Tcp) {
            self.tcp(servers, &mix);
        }
        for peer in self.peers.iter().copied().filter(|peer| self.stage.follows(*peer)) {
            let memory = servers[&peer].memory();
            self.sheet.add(peer, Column::Loaded, memory.resident as f64 / MIB);
            self.sheet.add(peer, Column::LoadedPeak, memory.peak as f64 / MIB);
        }
        let Some(podzone) = servers.get(&Peer::Podzone) else { return };
        if self.arguments.measures(Part::Mixes) {
            self.mixes(podzone, &mix, drawer, rng);
        }
        if let Some(echo) = servers.get(&Peer::Echo).filter(|_| self.arguments.measures(Part::Latency)) {
            println!(" latency");
            let rate = rate.unwrap_or_else(|| self.client.ask(podzone, &mix, Way::Udp).queries_per_second) / 2.0;
            let [exact, echoed] = [Rule::Exact, Rule::Echoed].map(|rule| alone::wanted(drawer, rule, rng));
            let time = Duration::from_secs(self.client.seconds.into());
            let servers = [(podzone, &*exact), (echo, &*echoed)];
            latency::compare(&mut self.sheet, self.client.core, rate as u32, time, servers);
        }
    }

    fn alone(&mut self, alone: &Alone, drawer: &Drawer<'_>, rng: &mut StdRng) {
        let mix = self.questions("mix", || drawer.mixed(&MIX, rng));
        let rate = alone.half_load(&mix);
        if self.arguments.measures(Part::Size) {
            println!(" large and small cluster");
            alone.size(&mut self.sheet, &mix, self.folder.path(), rng);
        }
        if self.arguments.measures(Part::Counts) {
            println!(" counts");
            alone.counts(&mut self.sheet, &mix);
        }
        if self.arguments.measures(Part::Options) {
            println!(" options for names");
            alone.options(&mut self.sheet, &mix);
        }
        if self.arguments.measures(Part::Churn) {
            println!(" slice updates");
            alone.churn(&mut self.sheet, rate, drawer, rng);
        }
        if self.arguments.measures(Part::Floods) {
            println!(" floods");
            alone.floods(&mut self.sheet, rate, drawer, rng);
        }
    }

    /// Servers that follow the API server start in each round.
    fn start_afresh(&mut self, servers: &mut BTreeMap<Peer, Server>) {
        for peer in self.peers.iter().copied().filter(|peer| self.stage.follows(*peer)) {
            servers.remove(&peer);
            let mut server = self.stage.spawn(peer);
            let ready = server.wait_until_ready(&self.stage.cluster);
            let memory = server.memory();
            self.sheet.add(peer, Column::Ready, ready.as_secs_f64());
            self.sheet.add(peer, Column::ReadyCpu, server.cpu().as_secs_f64());
            self.sheet.add(peer, Column::Idle, memory.resident as f64 / MIB);
            self.sheet.add(peer, Column::IdlePeak, memory.peak as f64 / MIB);
            servers.insert(peer, server);
        }
    }

    /// Measures the standard mix over UDP; podzone's rate.
    fn udp(&mut self, servers: &BTreeMap<Peer, Server>, mix: &Path) -> Option<f64> {
        println!(" UDP");
        let (mut cpu, mut rate) = (BTreeMap::new(), None);
        for (peer, server) in servers {
            Client { seconds: WARM_UP_SECONDS, ..self.client }.ask(server, mix, Way::Udp);
            if let Some(run) = counting(peer.title(), self.client.ask(server, mix, Way::Udp)) {
                self.sheet.add(*peer, Column::UdpCpu, run.cpu);
                self.sheet.add(*peer, Column::UdpRate, run.queries_per_second);
                self.sheet.add(*peer, Column::UdpOctets, run.mean_answer_octets);
                cpu.insert(*peer, run.cpu);
                if *peer == Peer::Podzone {
                    rate = Some(run.queries_per_second);
                }
            }
        }
        let nsd = [Peer::Nsd, Peer::NsdRecvmmsg].into_iter().filter_map(|peer| cpu.get(&peer).copied());
        let best_nsd = nsd.reduce(f64::min);
        if [Peer::Podzone, Peer::Nsd].iter().all(|peer| servers.contains_key(peer)) {
            self.sheet.ratio(Measure::BestNsd, best_nsd, cpu.get(&Peer::Podzone).copied());
        }
        for (measure, peer, reference) in [
            (Measure::Sane, Peer::Nsd, Peer::Echo),
            (Measure::Echo, Peer::Podzone, Peer::Echo),
            (Measure::DebianNsd, Peer::Nsd, Peer::Podzone),
            (Measure::CoreDns, Peer::Coredns, Peer::Podzone),
        ] {
            self.between(servers, &cpu, measure, peer, reference);
        }
        rate
    }

    fn tcp(&mut self, servers: &BTreeMap<Peer, Server>, mix: &Path) {
        println!(" TCP");
        let mut cpu = BTreeMap::new();
        for (peer, server) in servers.iter().filter(|(peer, _)| !peer.is_echo()) {
            if let Some(run) = counting(peer.title(), self.client.ask(server, mix, Way::Tcp)) {
                self.sheet.add(*peer, Column::TcpCpu, run.cpu);
                self.sheet.add(*peer, Column::TcpRate, run.queries_per_second);
                cpu.insert(*peer, run.cpu);
            }
        }
        self.between(servers, &cpu, Measure::KnotTcp, Peer::Knot, Peer::Podzone);
    }

    /// A measure between two servers, if both take part.
    fn between(
        &mut self,
        servers: &BTreeMap<Peer, Server>,
        cpu: &BTreeMap<Peer, f64>,
        measure: Measure,
        peer: Peer,
        reference: Peer,
    ) {
        if servers.contains_key(&peer) && servers.contains_key(&reference) {
            self.sheet.ratio(measure, cpu.get(&peer).copied(), cpu.get(&reference).copied());
        }
    }

    /// podzone on what makes its work harder, beside the standard mix.
    fn mixes(&mut self, podzone: &Server, mix: &Path, drawer: &Drawer<'_>, rng: &mut StdRng) {
        println!(" mixes");
        let mostly_nxdomain = self.questions("mostly-nxdomain", || drawer.mixed(&MOSTLY_NXDOMAIN, rng));
        let any_case = self.questions("any-case", || queries::in_random_case(drawer.mixed(&MIX, rng), rng));
        let runs = [
            ("standard", mix, Way::Udp),
            ("70 % NXDOMAIN", &*mostly_nxdomain, Way::Udp),
            ("random case, unknown option", &*any_case, Way::UdpUnknownOption),
        ];
        let [standard, mostly_nxdomain, any_case] = runs.map(|(title, questions, way)| {
            counting(title, self.client.ask(podzone, questions, way)).map(|run| run.cpu)
        });
        self.sheet.ratio(Measure::MostlyNxDomain, mostly_nxdomain, standard);
        self.sheet.ratio(Measure::CaseAndOption, any_case, standard);
    }
}

/// Says what was measured; nothing if it does not count.
fn counting(title: &str, run: Measured) -> Option<Measured> {
    let verdict = if run.is_void() { format!("; void: {} of {} lost", run.lost(), run.sent) } else { String::new() };
    println!(
        "  {title}: {:.2} us an answer, {:.0}/s, {:.0} octets{verdict}",
        run.cpu, run.queries_per_second, run.mean_answer_octets
    );
    (!run.is_void()).then_some(run)
}
