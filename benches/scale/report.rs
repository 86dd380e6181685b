//! What is measured at scale, and what it must reach.

use crate::memory::Memory;
use crate::subject::Subject;
use crate::tables::Must::{self, AtMost};
use crate::tables::{Columns, Measures, Table};

/// Of whom something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    Podzone,
    Coredns,
    /// The bare download.
    List,
    Stream,
    /// podzone's library, with 154,704 endpoints and with a million.
    Full,
    Million,
}

impl Row {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Podzone => "podzone",
            Self::Coredns => "CoreDNS",
            Self::List => "bare download, lists",
            Self::Stream => "bare download, streamed lists",
            Self::Full => "podzone's library, 154,704 endpoints",
            Self::Million => "podzone's library, 1,000,000 endpoints",
        }
    }
}

impl From<Subject> for Row {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Podzone => Self::Podzone,
            Subject::Coredns => Self::Coredns,
        }
    }
}

/// When memory is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Ready,
    Steady,
    Restarted,
    BeforeDeletion,
    Deleted,
    PodsReady,
    PodsSteady,
    Library,
}

/// How memory is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Count {
    Held,
    HeldPeak,
    Usage,
    Resident,
    ResidentPeak,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    Ready,
    ReadyCpu,
    Octets,
    Memory(State, Count),
    ChangeP50,
    ChangeP99,
    LargeP50,
    LargeP99,
    FewP50,
    FewP99,
    BusyP50,
    BusyP99,
    UpdatesCpu,
    UpdatesCpuTogether,
    PodsReady,
    PodsReadyCpu,
    PodsOctets,
    LibraryReady,
    LibraryReadyCpu,
    LibraryCpu,
}

const fn memory(state: State) -> [(Column, &'static str, usize); 5] {
    [
        (Column::Memory(state, Count::Held), "group without files, MB", 1),
        (Column::Memory(state, Count::HeldPeak), "its peak, MB", 1),
        (Column::Memory(state, Count::Usage), "group with files, MB", 1),
        (Column::Memory(state, Count::Resident), "resident, MB", 1),
        (Column::Memory(state, Count::ResidentPeak), "its peak, MB", 1),
    ]
}

const TABLES: [(&str, Columns<Column>); 12] = [
    (
        "Start",
        &[
            (Column::Ready, "start to ready, s", 3),
            (Column::ReadyCpu, "CPU until ready, s", 2),
            (Column::Octets, "octets, MB", 1),
        ],
    ),
    ("Memory when ready", &memory(State::Ready)),
    ("Memory after every name was asked about", &memory(State::Steady)),
    ("Memory after a start of the API server, peaks since before it", &memory(State::Restarted)),
    (
        "From a change to the answer",
        &[
            (Column::ChangeP50, "idle: p50, ms", 2),
            (Column::ChangeP99, "p99, ms", 2),
            (Column::BusyP50, "300 updates a second: p50, ms", 2),
            (Column::BusyP99, "p99, ms", 2),
            (Column::LargeP50, "5,000 endpoints: p50, ms", 2),
            (Column::LargeP99, "p99, ms", 2),
            (Column::FewP50, "5 endpoints: p50, ms", 2),
            (Column::FewP99, "p99, ms", 2),
        ],
    ),
    (
        "300 slice updates a second",
        &[(Column::UpdatesCpu, "CPU, by itself, s", 2), (Column::UpdatesCpuTogether, "both at once, s", 2)],
    ),
    ("Memory before half of all slices are deleted", &memory(State::BeforeDeletion)),
    ("Memory after it, peaks since before it", &memory(State::Deleted)),
    (
        "Start with pods verified",
        &[
            (Column::PodsReady, "start to ready, s", 3),
            (Column::PodsReadyCpu, "CPU until ready, s", 2),
            (Column::PodsOctets, "octets, MB", 1),
        ],
    ),
    ("Memory when ready, pods verified", &memory(State::PodsReady)),
    ("Memory after every name was asked about, pods verified", &memory(State::PodsSteady)),
    (
        "Events made in process",
        &[
            (Column::LibraryReady, "start to ready, s", 2),
            (Column::LibraryReadyCpu, "CPU until ready, s", 2),
            (Column::Memory(State::Library, Count::Held), "group without files, MB", 1),
            (Column::Memory(State::Library, Count::HeldPeak), "its peak, MB", 1),
            (Column::Memory(State::Library, Count::Resident), "resident, MB", 1),
            (Column::Memory(State::Library, Count::ResidentPeak), "its peak, MB", 1),
            (Column::LibraryCpu, "CPU an answer, us", 2),
        ],
    ),
];

/// What must reach a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    Start,
    StartOverList,
    StartOverStream,
    Memory,
    MemoryAim,
    Restart,
    ChangeP50,
    ChangeP99,
    BusyP99,
    LargeP50,
    LargeP99,
    Updates,
    UpdatesTogether,
    Deletion,
    Pods,
    MillionReady,
    MillionMemory,
    MillionCpu,
}

const TARGETS: [(Measure, &str, Must); 18] = [
    (Measure::Start, "podzone / CoreDNS, start until all names answer", AtMost(0.4)),
    (Measure::StartOverList, "podzone's start / bare download, lists", AtMost(2.0)),
    (Measure::StartOverStream, "podzone's start / bare download, streamed lists", AtMost(2.0)),
    (Measure::Memory, "podzone / CoreDNS, memory after every name was asked about", AtMost(0.25)),
    (Measure::MemoryAim, "podzone, memory after every name was asked about, MB", AtMost(50.0)),
    (Measure::Restart, "podzone, peak when the API server starts anew / memory before", AtMost(1.25)),
    (Measure::ChangeP50, "podzone / CoreDNS, change to answer, idle, p50", AtMost(0.5)),
    (Measure::ChangeP99, "podzone / CoreDNS, change to answer, idle, p99", AtMost(0.5)),
    (Measure::BusyP99, "podzone / CoreDNS, change to answer under 300 slice updates a second, p99", AtMost(0.5)),
    (Measure::LargeP50, "podzone, change to answer, Service of 5,000 endpoints / of 5, p50", AtMost(2.0)),
    (Measure::LargeP99, "podzone, change to answer, Service of 5,000 endpoints / of 5, p99", AtMost(2.0)),
    (Measure::Updates, "podzone / CoreDNS, CPU of 300 slice updates a second", AtMost(0.5)),
    (Measure::UpdatesTogether, "the same, both at once on one core", AtMost(0.5)),
    (Measure::Deletion, "podzone, peak while half of all slices are deleted / memory before", AtMost(1.25)),
    (Measure::Pods, "podzone / CoreDNS, memory with pods verified after every name was asked about", AtMost(0.5)),
    (Measure::MillionReady, "1,000,000 endpoints: start to ready, s", AtMost(10.0)),
    (Measure::MillionMemory, "1,000,000 endpoints: peak of memory, MB", AtMost(400.0)),
    (Measure::MillionCpu, "1,000,000 endpoints / 154,704 endpoints, CPU an answer", AtMost(1.1)),
];

/// Samples of all rounds.
#[derive(Default)]
pub(crate) struct Sheet {
    rows: Table<Row, Column>,
    measures: Measures<Measure>,
}

impl Sheet {
    pub(crate) fn add(&mut self, row: Row, column: Column, value: f64) {
        self.rows.add(row, column, value);
    }

    /// Every count of memory in a state that there is.
    pub(crate) fn memory(&mut self, row: Row, state: State, memory: &Memory) {
        let group = memory.group;
        let counts = [
            (Count::Held, group.map(|group| group.held)),
            (Count::HeldPeak, group.and_then(|group| group.peak)),
            (Count::Usage, group.map(|group| group.usage)),
            (Count::Resident, Some(memory.resident)),
            (Count::ResidentPeak, Some(memory.resident_peak)),
        ];
        for (count, value) in counts {
            if let Some(value) = value {
                self.rows.add(row, Column::Memory(state, count), value);
            }
        }
    }

    pub(crate) fn measure(&mut self, measure: Measure, value: f64) {
        self.measures.measure(measure, value);
    }

    pub(crate) fn ratio(&mut self, measure: Measure, value: Option<f64>, reference: Option<f64>) {
        self.measures.ratio(measure, value, reference);
    }

    /// A ratio of latencies. One that is not above zero says that the bare watcher was told later, and is then
    /// no measure for another.
    pub(crate) fn latency_ratio(&mut self, measure: Measure, value: Option<f64>, reference: Option<f64>) {
        self.measures.ratio(measure, value.map(|value| value.max(0.0)), reference.filter(|reference| *reference > 0.0));
    }

    pub(crate) fn print(&self) {
        for (caption, columns) in TABLES {
            self.rows.print(caption, columns, Row::title);
        }
        self.measures.print(&TARGETS, |_| "no");
    }
}
