//! The whole for a longer while: a real API server that restarts, forgets and goes away, a cluster that changes all the
//! time, and clients that ask all the time. No answer is ever wrong, and nothing grows.
//!
//! It takes three minutes, or the seconds in `SOAK_SECONDS`; `make soak` shows what was done.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ask;
mod churn;
mod cluster;
mod gate;
mod held;
mod incidents;
mod model;
#[path = "../support/mod.rs"]
mod support;
mod write;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ask::Findings;
use cluster::Cluster;
use held::Holdings;
use incidents::{Incident, Incidents};
use support::dnsperf::{self, Load};
use support::kube::{ControlPlane, Options};
use support::server::{Program, Server};

const SECONDS_BY_DEFAULT: u64 = 180;
/// All incidents once, and again, so that the second half can be compared with the first.
const SECONDS_MIN: u64 = 120;
const CHANGERS: usize = 3;
const ASKERS: u64 = 2;
const LOAD_PER_SECOND: u32 = 1000;
const LOAD_SECONDS: u64 = 5;
/// Of dnsperf's queries, which it does not repeat, one in so many may be lost on a machine with more to do.
const LOST_OF: u64 = 10_000;

/// About hourly podzone lists everything beside its watches.
const CHECKS_BEGIN: Duration = Duration::from_secs(3000);

const COREFILE: &str = "
cluster.local in-addr.arpa {
    errors
    prometheus 127.0.0.1:{port:metrics}
    kubernetes cluster.local in-addr.arpa {
        kubeconfig {kubeconfig}
        endpoint_pod_names
        startup_timeout 1m
    }
}
";

/// Is set when this is dropped, by a panic too: who waits for it would otherwise wait for ever.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn seconds() -> u64 {
    let Ok(text) = std::env::var("SOAK_SECONDS") else { return SECONDS_BY_DEFAULT };
    let seconds = text.parse().ok().filter(|seconds| *seconds >= SECONDS_MIN);
    seconds.unwrap_or_else(|| panic!("SOAK_SECONDS is {text:?}, expected a number from {SECONDS_MIN}"))
}

#[test]
fn whatever_happens_to_the_api_server_no_answer_is_wrong_and_nothing_grows() {
    let length = Duration::from_secs(seconds());
    let plane = ControlPlane::start(Options::default());
    let cluster = Cluster::create(&plane);
    let mut incidents = Incidents::new(plane);
    let mut server =
        Program::Podzone.start(&COREFILE.replace("{kubeconfig}", &incidents.kubeconfig().to_string_lossy()));
    let process = server.process().id();
    let addr = server.addr();
    let (findings, over, begun) = (Findings::default(), AtomicBool::new(false), Instant::now());

    // The first convergence is that of the first listing.
    cluster.converge(addr, &findings);
    let (holdings, load) = thread::scope(|scope| {
        let at_end = SetAtEnd(&over);
        for seed in 0..ASKERS {
            let (units, over, findings) = (&cluster.units, &over, &findings);
            scope.spawn(move || ask::keep_asking(addr, units, seed, over, findings));
        }
        let load = scope.spawn(|| load_until(&over, &server, &cluster));
        let holdings = scope.spawn(|| held::sample_until(process, &over));
        let mut quiet = Vec::new();
        for (phase, incident) in Incident::ALL.into_iter().cycle().enumerate() {
            // On a machine with more to do, each has happened once all the same.
            if begun.elapsed() >= length && phase >= Incident::ALL.len() {
                break;
            }
            phase_of(incident, phase, begun, &cluster, &mut incidents, &server, &findings);
            quiet.push(held::now(process));
        }
        drop(at_end);
        let holdings = Holdings { sampled: holdings.join().unwrap(), quiet };
        (holdings, load.join().unwrap())
    });

    println!("{}", summary(begun.elapsed(), &cluster, &incidents, &findings, load, &holdings));
    findings.assert_none_wrong(&server.log());
    // Each was asked for a while in each of its states, or the answers prove nothing.
    assert!(findings.asked.load(Ordering::Relaxed) > 50 * length.as_secs(), "few questions were asked");
    assert!(findings.in_flight.load(Ordering::Relaxed) > 0, "no question met a change");
    assert!(cluster.changes() > length.as_secs(), "few changes were made");
    assert_eq!(load.failed, 0, "{load:?}");
    assert!(load.answered > 0 && load.sent - load.answered <= load.sent / LOST_OF, "{load:?}");
    assert_eq!(holdings.grew(), [false, false], "memory, descriptors: {holdings}");
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0), "{}", server.log());
}

/// Changes the cluster while something happens; then everything must come to what the cluster is.
fn phase_of(
    incident: Incident,
    phase: usize,
    begun: Instant,
    cluster: &Cluster,
    incidents: &mut Incidents,
    server: &Server,
    findings: &Findings,
) {
    let over = AtomicBool::new(false);
    let lists = incident != Incident::Calm || begun.elapsed() > CHECKS_BEGIN;
    findings.lists.store(lists, Ordering::SeqCst);
    thread::scope(|scope| {
        let _at_end = SetAtEnd(&over);
        for changer in 0..CHANGERS {
            let (over, addr) = (&over, server.addr());
            scope.spawn(move || cluster.keep_changing(changer, CHANGERS, phase, addr, over, findings));
        }
        incidents.happens(incident, server);
    });
    cluster.converge(server.addr(), findings);
    findings.assert_none_wrong(&format!("in phase {phase}, {incident:?}\n{}", server.log()));
    cluster.assert_objects_are_held(server.addr_of("metrics"));
}

/// Names that never change, and some that never are.
fn load_until(over: &AtomicBool, server: &Server, cluster: &Cluster) -> Load {
    let names = server.folder().join("names");
    std::fs::write(&names, cluster.still_names()).expect("a file of names");
    let mut sum = Load::default();
    while !over.load(Ordering::Relaxed) {
        let load = dnsperf::load(server.addr(), &names, LOAD_PER_SECOND, LOAD_SECONDS);
        sum.sent += load.sent;
        sum.answered += load.answered;
        sum.failed += load.failed;
    }
    sum
}

fn summary(
    took: Duration,
    cluster: &Cluster,
    incidents: &Incidents,
    findings: &Findings,
    load: Load,
    holdings: &Holdings,
) -> String {
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    format!(
        "soak of {} s\n\
         changes     {} in {} writes; the API server restarted {} times, was shut off {} times, stood still {} times\n\
         410s        {} (a list after each)\n\
         compared    {} answers, {} of them during a change of what was asked; {} asked again; {} wrong\n\
         dnsperf     {} queries, {} lost, {} failed\n\
         {holdings}",
        took.as_secs(),
        cluster.changes(),
        cluster.writes(),
        incidents.restarts,
        incidents.shut,
        incidents.stalls,
        incidents.expired,
        of(&findings.asked),
        of(&findings.in_flight),
        of(&findings.repeated),
        of(&findings.wrong),
        load.sent,
        load.sent - load.answered,
        load.failed,
    )
}
