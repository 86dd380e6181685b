//! What was asked, what came of it, and what must have been asked at least.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::ask::{Answers, Outcome};
use crate::names::Shape;
use crate::questions::{Question, TYPES};
use crate::support::dns::{rcode_text, type_text};

/// So many mismatches are shown; more are only counted.
const SHOWN: usize = 20;
/// The listed differences may explain at most this part of the questions, in thousandths.
const EXPLAINED_PER_MILLE: usize = 5;

/// Counts of one run, or of a part of it.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) questions: usize,
    rcodes: BTreeMap<String, usize>,
    types: BTreeMap<String, usize>,
    shapes: BTreeMap<Shape, usize>,
    configurations: BTreeMap<&'static str, usize>,
    /// Questions that CoreDNS answered with records.
    with_data: BTreeMap<Shape, usize>,
    truncated: usize,
    /// Differences that went away when both were asked again.
    pub(crate) settled: usize,
    /// By the entry that allows them.
    pub(crate) explained: BTreeMap<String, usize>,
    /// Records of answers that were looked for in transfers.
    pub(crate) transferred: usize,
    mismatches: usize,
    shown: Vec<String>,
}

impl Tally {
    /// Counts a question with the reference's answers.
    pub(crate) fn count(&mut self, configuration: &'static str, question: &Question, theirs: &Answers) {
        self.questions += 1;
        let rcode = match &theirs.udp {
            Outcome::Answer(message) => rcode_text(message.rcode),
            _ => "no answer".to_owned(),
        };
        *self.rcodes.entry(rcode).or_default() += 1;
        *self.types.entry(type_text(question.query.rtype)).or_default() += 1;
        *self.shapes.entry(question.shape).or_default() += 1;
        *self.configurations.entry(configuration).or_default() += 1;
        if let Some(message) = theirs.udp.answer() {
            if !message.answers.is_empty() {
                *self.with_data.entry(question.shape).or_default() += 1;
            }
            self.truncated += usize::from(message.truncated());
        }
    }

    pub(crate) fn explain(&mut self, id: &str) {
        *self.explained.entry(id.to_owned()).or_default() += 1;
    }

    pub(crate) fn mismatch(&mut self, text: impl FnOnce() -> String) {
        self.mismatches += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(text());
        }
    }

    /// Whether enough was seen to stop looking closely.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.mismatches >= SHOWN
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.questions += other.questions;
        self.truncated += other.truncated;
        self.settled += other.settled;
        self.transferred += other.transferred;
        self.mismatches += other.mismatches;
        merge(&mut self.rcodes, other.rcodes);
        merge(&mut self.types, other.types);
        merge(&mut self.shapes, other.shapes);
        merge(&mut self.with_data, other.with_data);
        merge(&mut self.configurations, other.configurations);
        merge(&mut self.explained, other.explained);
        self.shown.extend(other.shown);
        self.shown.truncate(SHOWN);
    }

    /// Panics with the first mismatches if there were any.
    pub(crate) fn assert_agreement(&self) {
        let shown = self.shown.join("\n\n");
        assert!(self.mismatches == 0, "{} of {} questions differ:\n\n{shown}", self.mismatches, self.questions);
        let explained: usize = self.explained.values().sum();
        assert!(
            explained * 1000 <= self.questions * EXPLAINED_PER_MILLE,
            "{explained} of {} questions need docs/differences.md: {:?}",
            self.questions,
            self.explained
        );
    }

    /// Panics unless the run asked enough of everything: so that a change of the generator cannot empty the test.
    pub(crate) fn assert_floors(&self, questions: usize) {
        let mut missing = String::new();
        let mut need = |what: &str, count: usize, least: usize| {
            if count < least {
                let _ = write!(missing, "\n{what}: {count}, at least {least} expected");
            }
        };
        need("questions", self.questions, questions);
        need("with data", self.with_data.values().sum(), questions / 5);
        let data = [
            (Shape::Service, 25),
            (Shape::External, 10),
            (Shape::Port, 20),
            (Shape::Endpoint, 20),
            (Shape::Pod, 4),
            (Shape::Reverse, 15),
        ];
        for (shape, per_mille) in data {
            let count = self.with_data.get(&shape).copied().unwrap_or(0);
            need(&format!("{shape:?} with data"), count, questions * per_mille / 1000);
        }
        need("truncated", self.truncated, questions / 200);
        need("records looked for in transfers", self.transferred, questions / 10);
        let rcodes =
            [("NOERROR", 400), ("NXDOMAIN", 150), ("REFUSED", 15), ("SERVFAIL", 5), ("NOTIMP", 10), ("BADVERS", 10)];
        for (rcode, per_mille) in rcodes {
            need(rcode, self.rcodes.get(rcode).copied().unwrap_or(0), questions * per_mille / 1000);
        }
        for (_, rtype) in TYPES {
            let name = type_text(rtype);
            need(&name, self.types.get(&name).copied().unwrap_or(0), questions / 200);
        }
        for (weight, shape) in Shape::WEIGHTS {
            let least = questions * weight as usize / 200;
            need(&format!("{shape:?}"), self.shapes.get(&shape).copied().unwrap_or(0), least);
        }
        for configuration in crate::configurations::ALL {
            let count = self.configurations.get(configuration.name).copied().unwrap_or(0);
            need(configuration.name, count, questions / 14);
        }
        for configuration in crate::configurations::WITH_IMPORTS {
            let count = self.configurations.get(configuration.name).copied().unwrap_or(0);
            need(configuration.name, count, questions / 30);
        }
        assert!(missing.is_empty(), "the questions are not what they should be:{missing}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} questions, each over UDP and TCP; {} with data, {} truncated, {} settled late, {} mismatches",
            self.questions,
            self.with_data.values().sum::<usize>(),
            self.truncated,
            self.settled,
            self.mismatches
        )?;
        writeln!(f, "rcodes: {}", list(&self.rcodes))?;
        writeln!(f, "types: {}", list(&self.types))?;
        let named = |counts: &BTreeMap<Shape, usize>| {
            counts.iter().map(|(shape, count)| (format!("{shape:?}"), *count)).collect()
        };
        writeln!(f, "names: {}", list(&named(&self.shapes)))?;
        writeln!(f, "names with data: {}", list(&named(&self.with_data)))?;
        writeln!(f, "configurations: {}", list(&self.configurations))?;
        writeln!(f, "records looked for in transfers: {}", self.transferred)?;
        write!(f, "listed differences: {}", list(&self.explained))
    }
}

fn merge<K: Ord>(into: &mut BTreeMap<K, usize>, from: BTreeMap<K, usize>) {
    for (key, count) in from {
        *into.entry(key).or_default() += count;
    }
}

fn list<K: fmt::Display + Ord>(counts: &BTreeMap<K, usize>) -> String {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    counts.into_iter().map(|(key, count)| format!("{key} {count}")).collect::<Vec<_>>().join(", ")
}
