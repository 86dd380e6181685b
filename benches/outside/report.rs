//! What is compared, and what it must reach.

use crate::subject::Subject;
use crate::tables::Must::{self, AtMost};
use crate::tables::{Columns, Measures, Table};

/// What is said of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    Cached,
    Uncached,
    Search,
    Empty,
    Full,
}

const COLUMNS: Columns<Column> = &[
    (Column::Cached, "CPU an answer, cached, us", 1),
    (Column::Uncached, "forwarded", 1),
    (Column::Search, "on a search path", 1),
    (Column::Empty, "resident at start, MiB", 1),
    (Column::Full, "with 10,000 names cached", 1),
];

/// podzone over CoreDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    Cached,
    Uncached,
    Search,
    Full,
}

const TARGETS: [(Measure, &str, Must); 4] = [
    (Measure::Cached, "podzone / CoreDNS, CPU an answer, cached outside names", AtMost(0.167)),
    (Measure::Uncached, "podzone / CoreDNS, CPU an answer, forwarded names that were never asked about", AtMost(0.5)),
    (Measure::Search, "podzone / CoreDNS, CPU an answer, five queries for an outside name", AtMost(0.125)),
    (Measure::Full, "podzone / CoreDNS, resident memory with 10,000 names cached", AtMost(0.5)),
];

/// Samples of all rounds.
#[derive(Default)]
pub(crate) struct Sheet {
    servers: Table<Subject, Column>,
    measures: Measures<Measure>,
}

impl Sheet {
    /// What was measured of both in one round, podzone's first; what is void is said of neither.
    pub(crate) fn add(&mut self, column: Column, measure: Option<Measure>, values: [Option<f64>; 2]) {
        for (subject, value) in crate::subject::SUBJECTS.into_iter().zip(values) {
            if let Some(value) = value {
                self.servers.add(subject, column, value);
            }
        }
        if let Some(measure) = measure {
            let [ours, theirs] = values;
            self.measures.ratio(measure, ours, theirs);
        }
    }

    /// Prints everything as Markdown: medians, and in parentheses the least and the greatest.
    pub(crate) fn print(&self) {
        self.servers.print("", COLUMNS, Subject::title);
        self.measures.print(&TARGETS, |_| "no");
    }
}
