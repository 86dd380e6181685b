//! Samples of all rounds, and Markdown of them: medians, spreads, targets.

use std::collections::BTreeMap;

/// What a measure must reach.
#[derive(Clone, Copy)]
pub(crate) enum Must {
    AtMost(f64),
    AtLeast(f64),
    /// In every round.
    Zero,
}

impl Must {
    fn bound(self) -> String {
        match self {
            Self::AtMost(bound) => format!("at most {bound}"),
            Self::AtLeast(bound) => format!("at least {bound}"),
            Self::Zero => "0".to_owned(),
        }
    }

    fn is_reached(self, samples: &[f64]) -> bool {
        match self {
            Self::AtMost(bound) => median(samples).is_some_and(|value| value <= bound),
            Self::AtLeast(bound) => median(samples).is_some_and(|value| value >= bound),
            Self::Zero => !samples.is_empty() && samples.iter().all(|value| *value == 0.0),
        }
    }
}

/// What must reach a target, in the order of its printing.
pub(crate) struct Measures<M>(BTreeMap<M, Vec<f64>>);

impl<M> Default for Measures<M> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<M: Copy + Ord> Measures<M> {
    pub(crate) fn measure(&mut self, measure: M, value: f64) {
        self.0.entry(measure).or_default().push(value);
    }

    /// A measure that is one value over another. A run that does not count has none.
    pub(crate) fn ratio(&mut self, measure: M, value: Option<f64>, reference: Option<f64>) {
        let samples = self.0.entry(measure).or_default();
        samples.extend(value.zip(reference).map(|(value, reference)| value / reference));
    }

    /// Prints those that were measured; `no` says what it means to miss one.
    pub(crate) fn print(&self, targets: &[(M, &str, Must)], no: impl Fn(M) -> &'static str) {
        if self.0.is_empty() {
            return;
        }
        println!("\n| measure | value (least to greatest) | must reach | reached? |\n|---|---|---|---|");
        for (measure, title, must) in targets {
            let Some(samples) = self.0.get(measure) else { continue };
            let verdict = if must.is_reached(samples) { "yes" } else { no(*measure) };
            println!("| {title} | {} | {} | {verdict} |", cell(Some(samples), 3), must.bound());
        }
    }
}

/// What is said of each of some rows, in columns.
pub(crate) struct Table<R, C>(BTreeMap<R, BTreeMap<C, Vec<f64>>>);

/// A table's columns, with titles and decimal places.
pub(crate) type Columns<C> = &'static [(C, &'static str, usize)];

impl<R, C> Default for Table<R, C> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<R: Copy + Ord, C: Copy + Ord> Table<R, C> {
    pub(crate) fn add(&mut self, row: R, column: C, value: f64) {
        self.0.entry(row).or_default().entry(column).or_default().push(value);
    }

    /// Prints those of these columns, and those rows, of which something is said.
    pub(crate) fn print(&self, caption: &str, columns: Columns<C>, title: impl Fn(R) -> &'static str) {
        let said = |column| self.0.values().any(|samples| samples.contains_key(column));
        let columns: Vec<_> = columns.iter().filter(|(column, ..)| said(column)).collect();
        if columns.is_empty() {
            return;
        }
        let titles: Vec<_> = columns.iter().map(|(_, title, _)| *title).collect();
        println!("\n| {caption} | {} |\n|---{}|", titles.join(" | "), "|---".repeat(titles.len()));
        for (row, samples) in &self.0 {
            let cells = columns.iter().map(|(column, _, digits)| cell(samples.get(column), *digits));
            let cells: Vec<_> = cells.collect();
            if cells.iter().any(|cell| cell != NONE) {
                println!("| {} | {} |", title(*row), cells.join(" | "));
            }
        }
    }
}

pub(crate) const NONE: &str = "-";

/// The median, and in parentheses the least and the greatest.
pub(crate) fn cell(samples: Option<&Vec<f64>>, digits: usize) -> String {
    let Some(samples) = samples else { return NONE.to_owned() };
    let least = samples.iter().copied().reduce(f64::min);
    let greatest = samples.iter().copied().reduce(f64::max);
    match (median(samples), least, greatest) {
        (Some(median), Some(least), Some(greatest)) => {
            format!("{median:.digits$} ({least:.digits$} to {greatest:.digits$})")
        }
        _ => "no round counts".to_owned(),
    }
}

pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted.get(middle).copied(),
        _ => Some((sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0),
    }
}
