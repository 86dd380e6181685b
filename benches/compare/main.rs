//! podzone beside CoreDNS on a large synthetic cluster in a real API server: `make bench`, or
//! `cargo bench --bench compare -- --help`. What is measured and how is in `docs/performance.md`.
// A benchmark ends at what it did not expect.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod check;
mod cluster;
mod fill;
mod load;
mod queries;
mod report;
mod server;
#[path = "../../tests/support/mod.rs"]
mod support;

use clap::Parser;
use cluster::Cluster;
use load::{Client, Measured, Transport};
use queries::{Drawer, Kind, MIX, Question};
use rand::SeedableRng;
use rand::rngs::StdRng;
use report::Row;
use server::{Memory, Server};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support::kube::{ControlPlane, Options};
use support::server::Program;

const PROGRAMS: [Program; 2] = [Program::Podzone, Program::CoreDns];
const CHECKED: usize = 1000;
/// So many that dnsperf repeats itself rarely.
const QUESTIONS: usize = 200_000;
const WARM_UP_SECONDS: u32 = 1;
const MIB: f64 = 1024.0 * 1024.0;

/// Compares podzone with CoreDNS.
#[derive(Parser)]
struct Arguments {
    /// Rounds; each starts both servers afresh, one after the other.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of load over UDP in each round, for each server.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Seconds of load over TCP.
    #[arg(long, default_value_t = 5)]
    tcp_seconds: u32,
    /// Times each kind of question alone too, so many seconds in each round.
    #[arg(long)]
    kind_seconds: Option<u32>,
    /// Seed of the questions; drawn if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Seed of the cluster.
    #[arg(long, default_value_t = 1)]
    cluster_seed: u64,
    /// The core of the servers.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core of dnsperf.
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// The most queries that dnsperf leaves without an answer at one time.
    #[arg(long, default_value_t = 200)]
    outstanding: u32,
    /// Connections over which the cluster is written.
    #[arg(long, default_value_t = 14)]
    connections: usize,
    /// Another podzone than the one that was built with this.
    #[arg(long)]
    podzone: Option<PathBuf>,
    /// Measures nothing: starts both servers on the cluster, says where they are, and ends after so many seconds.
    #[arg(long)]
    hold: Option<u64>,
    /// Given by `cargo bench`, and not by `cargo test`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What one server showed in one round.
struct Round {
    ready: Duration,
    ready_cpu: Duration,
    idle: Memory,
    loaded: Memory,
    udp: Measured,
    tcp: Measured,
    kinds: Vec<(Kind, Measured)>,
}

/// What all rounds share.
struct Bench {
    arguments: Arguments,
    plane: ControlPlane,
    cluster: Arc<Cluster>,
}

fn main() {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("a benchmark: run it with `make bench`");
        return;
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("questions of seed {seed}");
    let cluster = Arc::new(Cluster::generate(arguments.cluster_seed));
    let plane = ControlPlane::start(Options::default());
    let took = fill::fill(&plane, &cluster, arguments.connections);
    let endpoints: usize = cluster.services.iter().map(|service| service.pods.len()).sum();
    println!("{} Services with {endpoints} endpoints written in {took:.1?}", cluster.services.len());
    Bench { arguments, plane, cluster }.run(&mut StdRng::seed_from_u64(seed));
}

impl Bench {
    fn run(&self, rng: &mut StdRng) {
        let drawer = Drawer::new(&self.cluster);
        self.check(&drawer, rng);
        let mut rounds = [Vec::new(), Vec::new()];
        for number in 1..=self.arguments.rounds {
            // Both get the same, and nobody gets it twice.
            let mix = self.questions("mix", || drawer.mixed(rng));
            let mut kinds = Vec::new();
            if self.arguments.kind_seconds.is_some() {
                for kind in MIX.map(|(kind, _)| kind).into_iter().chain([Kind::LargePodA]) {
                    kinds.push((kind, self.questions(&format!("{kind:?}"), || drawer.draw(kind, rng))));
                }
            }
            for (program, rounds) in PROGRAMS.into_iter().zip(&mut rounds) {
                let round = self.round(program, &mix, &kinds);
                announce(number, program, &round);
                rounds.push(round);
            }
        }
        report::print(&rows(&rounds));
    }

    fn path(&self, program: Program) -> PathBuf {
        match (program, &self.arguments.podzone) {
            (Program::Podzone, Some(path)) => path.clone(),
            _ => program.path(),
        }
    }

    fn spawn(&self, program: Program) -> Server {
        Server::spawn(&self.path(program), self.arguments.server_core, self.plane.kubeconfig())
    }

    fn check(&self, drawer: &Drawer<'_>, rng: &mut StdRng) {
        let servers = PROGRAMS.map(|program| {
            let mut server = self.spawn(program);
            server.wait_until_ready(&self.cluster);
            server
        });
        let mut sample: Vec<_> = (0..CHECKED).map(|_| drawer.mixed(rng)).collect();
        sample.extend((0..10).map(|_| drawer.draw(Kind::LargePodA, rng)));
        check::agree(&servers[0], &servers[1], &sample);
        println!("both answer {} questions rightly and alike, over UDP and TCP", sample.len());
        if let Some(seconds) = self.arguments.hold {
            let mix = self.questions("mix", || drawer.mixed(rng));
            println!("questions: {}", mix.display());
            for (program, server) in PROGRAMS.into_iter().zip(&servers) {
                println!("{program:?}: process {}, {}", server.id(), server.addr);
            }
            std::thread::sleep(Duration::from_secs(seconds));
            std::process::exit(0);
        }
    }

    fn questions(&self, name: &str, mut draw: impl FnMut() -> Question) -> PathBuf {
        let questions: Vec<_> = (0..QUESTIONS).map(|_| draw()).collect();
        let path = self.plane.folder().join(format!("questions-{name}"));
        std::fs::write(&path, queries::file(&questions)).expect("a file of questions");
        path
    }

    fn round(&self, program: Program, mix: &Path, kinds: &[(Kind, PathBuf)]) -> Round {
        let mut server = self.spawn(program);
        let ready = server.wait_until_ready(&self.cluster);
        let (ready_cpu, idle) = (server.cpu(), server.memory());
        let client = Client { core: self.arguments.client_core, outstanding: self.arguments.outstanding };
        load::run(&server, mix, Transport::Udp, client, WARM_UP_SECONDS);
        let udp = load::run(&server, mix, Transport::Udp, client, self.arguments.seconds);
        let tcp = load::run(&server, mix, Transport::Tcp, client, self.arguments.tcp_seconds);
        let loaded = server.memory();
        let seconds = self.arguments.kind_seconds.unwrap_or_default();
        let kinds = kinds.iter().map(|(kind, file)| (*kind, load::run(&server, file, Transport::Udp, client, seconds)));
        Round { ready, ready_cpu, idle, loaded, udp, tcp, kinds: kinds.collect() }
    }
}

fn announce(number: u32, program: Program, round: &Round) {
    let Round { ready, udp, tcp, .. } = round;
    println!(
        "round {number} {program:?}: ready after {ready:.2?}; UDP {:.0}/s, {:.2?} CPU an answer; TCP {:.0}/s, {:.2?}",
        udp.queries_per_second, udp.cpu, tcp.queries_per_second, tcp.cpu,
    );
    let kinds = round.kinds.iter().map(|(kind, measured)| (format!("{kind:?}"), measured));
    for (what, run) in [("UDP".to_owned(), udp), ("TCP".to_owned(), tcp)].into_iter().chain(kinds) {
        if run.lost() > 0 {
            let verdict = if run.is_void() { ": void" } else { "" };
            println!("round {number} {program:?} {what}: {} of {} lost{verdict}", run.lost(), run.sent);
        }
    }
}

fn rows(rounds: &[Vec<Round>; 2]) -> Vec<Row> {
    let every =
        |value: &dyn Fn(&Round) -> f64| [0, 1].map(|program| rounds[program].iter().map(value).collect::<Vec<_>>());
    // Of rounds that count.
    let measured = |run: &dyn Fn(&Round) -> Measured, value: &dyn Fn(&Measured) -> f64| {
        [0, 1].map(|program: usize| {
            let runs = rounds[program].iter().map(run).filter(|run| !run.is_void());
            runs.map(|run| value(&run)).collect::<Vec<_>>()
        })
    };
    let cpu = |run: &Measured| run.cpu.as_secs_f64() * 1e6;
    let mib = |bytes: u64| bytes as f64 / MIB;
    let mut rows = vec![
        Row::new("UDP: CPU per answer", "us", 2, measured(&|it| it.udp, &cpu)),
        Row::new("UDP: rate", "queries/s", 0, measured(&|it| it.udp, &|run| run.queries_per_second)),
        Row::new("TCP: CPU per answer", "us", 2, measured(&|it| it.tcp, &cpu)),
        Row::new("TCP: rate", "queries/s", 0, measured(&|it| it.tcp, &|run| run.queries_per_second)),
        // Of all rounds, also those that do not count above.
        Row::new("UDP: lost", "per million", 1, every(&|it| it.udp.lost_per_million())),
        Row::new("TCP: lost", "per million", 1, every(&|it| it.tcp.lost_per_million())),
        Row::new("mean answer over UDP", "octets", 0, measured(&|it| it.udp, &|run| run.mean_answer_octets)),
        Row::new("start to ready", "s", 2, every(&|it| it.ready.as_secs_f64())),
        Row::new("CPU until ready", "s", 2, every(&|it| it.ready_cpu.as_secs_f64())),
        Row::new("resident when ready", "MiB", 1, every(&|it| mib(it.idle.resident))),
        Row::new("peak until ready", "MiB", 1, every(&|it| mib(it.idle.peak))),
        Row::new("resident after load", "MiB", 1, every(&|it| mib(it.loaded.resident))),
        Row::new("peak after load", "MiB", 1, every(&|it| mib(it.loaded.peak))),
    ];
    let kinds = rounds[0].first().map_or(0, |round| round.kinds.len());
    for index in 0..kinds {
        let kind = rounds[0][0].kinds[index].0;
        rows.push(Row::new(
            format!("{kind:?} alone: CPU per answer"),
            "us",
            2,
            measured(&|it| it.kinds[index].1, &cpu),
        ));
    }
    rows
}
