//! What is compared, and what it must reach.

use crate::peers::Peer;
use crate::tables::Must::{self, AtLeast, AtMost, Zero};
use crate::tables::{Columns, Measures, NONE, Table, cell};
use std::collections::BTreeMap;

/// What is said of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    UdpCpu,
    UdpRate,
    UdpOctets,
    TcpCpu,
    TcpRate,
    Ready,
    ReadyCpu,
    Idle,
    IdlePeak,
    Loaded,
    LoadedPeak,
    P50,
    P99,
    P999,
}

const TABLES: [Columns<Column>; 3] = [
    &[
        (Column::UdpCpu, "UDP: CPU an answer, us", 2),
        (Column::UdpRate, "UDP: answers/s", 0),
        (Column::UdpOctets, "UDP: octets an answer", 0),
        (Column::TcpCpu, "TCP: CPU an answer, us", 2),
        (Column::TcpRate, "TCP: answers/s", 0),
    ],
    &[
        (Column::Ready, "start to ready, s", 2),
        (Column::ReadyCpu, "CPU until ready, s", 2),
        (Column::Idle, "resident when ready, MiB", 1),
        (Column::IdlePeak, "peak until ready, MiB", 1),
        (Column::Loaded, "resident after load, MiB", 1),
        (Column::LoadedPeak, "peak after load, MiB", 1),
    ],
    &[(Column::P50, "latency at half load: p50, us", 1), (Column::P99, "p99, us", 1), (Column::P999, "p99.9, us", 1)],
];

/// What must reach a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    Sane,
    Echo,
    BestNsd,
    DebianNsd,
    CoreDns,
    KnotTcp,
    MostlyNxDomain,
    CaseAndOption,
    Size,
    Counts,
    Options,
    Latency,
    Churn,
    ChurnWrong,
    Allocations,
    Malformed,
    RandomNames,
    HalfFrames,
}

const TARGETS: [(Measure, &str, Must); 18] = [
    (Measure::Sane, "the machine is sane: unbatched NSD / batched echo, CPU an answer, UDP", AtLeast(1.4)),
    (Measure::Echo, "podzone / echo, CPU an answer, UDP", AtMost(1.2)),
    (Measure::BestNsd, "the better NSD / podzone, CPU an answer, UDP", AtLeast(1.2)),
    (Measure::DebianNsd, "Debian's NSD / podzone, CPU an answer, UDP", AtLeast(1.3)),
    (Measure::CoreDns, "CoreDNS / podzone, CPU an answer, UDP", AtLeast(12.0)),
    (Measure::KnotTcp, "Knot / podzone, CPU an answer, TCP, 100 connections", AtLeast(1.25)),
    (Measure::MostlyNxDomain, "70 % NXDOMAIN / standard mix, CPU an answer", AtMost(1.05)),
    (Measure::CaseAndOption, "random case and an unknown EDNS option / standard mix, CPU an answer", AtMost(1.05)),
    (Measure::Size, "154,704 endpoints / 1,500 endpoints, CPU an answer", AtMost(1.1)),
    (Measure::Counts, "queries counted and timed / not, CPU an answer", AtMost(1.02)),
    (Measure::Options, "all options for names / endpoint_pod_names alone, CPU an answer", AtMost(1.05)),
    (Measure::Latency, "podzone / echo, p99 latency at half load", AtMost(1.5)),
    (Measure::Churn, "1,000 slice updates a second / idle, CPU an answer, the updates' own taken off", AtMost(1.1)),
    (Measure::ChurnWrong, "wrong or lost answers during the updates", Zero),
    (Measure::Allocations, "heap allocations a query", Zero),
    (
        Measure::Malformed,
        "flood of malformed packets / none, CPU a good answer, the flood's own taken off",
        AtMost(1.1),
    ),
    (Measure::RandomNames, "flood of random names / none, CPU a good answer, the flood's own taken off", AtMost(1.1)),
    (
        Measure::HalfFrames,
        "flood of half-sent TCP frames / none, CPU a good answer, the flood's own taken off",
        AtMost(1.1),
    ),
];

/// Samples of all rounds.
#[derive(Default)]
pub(crate) struct Sheet {
    servers: Table<Peer, Column>,
    measures: Measures<Measure>,
    floods: BTreeMap<&'static str, Beside>,
}

/// Good queries while something else goes on: what that costs by itself, in microseconds a packet, and what a good
/// answer then costs and takes, in microseconds.
#[derive(Default)]
struct Beside {
    own: Vec<f64>,
    cpu: Vec<f64>,
    p99: Vec<f64>,
}

impl Sheet {
    pub(crate) fn add(&mut self, peer: Peer, column: Column, value: f64) {
        self.servers.add(peer, column, value);
    }

    pub(crate) fn measure(&mut self, measure: Measure, value: f64) {
        self.measures.measure(measure, value);
    }

    pub(crate) fn ratio(&mut self, measure: Measure, value: Option<f64>, reference: Option<f64>) {
        self.measures.ratio(measure, value, reference);
    }

    /// Good queries beside a flood that costs so much by itself.
    pub(crate) fn flood(&mut self, title: &'static str, own: Option<f64>, cpu: f64, p99: f64) {
        let beside = self.floods.entry(title).or_default();
        beside.own.extend(own);
        beside.cpu.push(cpu);
        beside.p99.push(p99);
    }

    /// Prints everything as Markdown: medians, and in parentheses the least and the greatest.
    pub(crate) fn print(&self) {
        for columns in TABLES {
            self.servers.print("", columns, Peer::title);
        }
        self.print_floods();
        self.measures.print(&TARGETS, |measure| if measure == Measure::Sane { "no: the run is void" } else { "no" });
    }

    fn print_floods(&self) {
        if self.floods.is_empty() {
            return;
        }
        println!("\n| beside good queries | its CPU a packet, us | CPU a good answer, us | p99 of good answers, us |");
        println!("|---|---|---|---|");
        for (title, Beside { own, cpu, p99 }) in &self.floods {
            let own = if own.is_empty() { NONE.to_owned() } else { cell(Some(own), 2) };
            println!("| {title} | {own} | {} | {} |", cell(Some(cpu), 2), cell(Some(p99), 0));
        }
    }
}
