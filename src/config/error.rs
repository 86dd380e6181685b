//! Why a Corefile is refused.

use std::collections::HashSet;
use std::fmt;

use crate::corefile::{Diagnostic, Warning};

/// How many errors are shown at once.
const SHOWN_MAX: usize = 100;

/// Everything that is wrong with a Corefile; at least one error.
///
/// `Display` gives the full diagnostics of the first 100: CoreDNS's wording in the first line, then the lines of the file
/// and hints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    first: Box<Diagnostic>,
    rest: Vec<Diagnostic>,
    warnings: Vec<Warning>,
    is_missing: bool,
}

impl ConfigError {
    pub(super) fn one(error: Diagnostic) -> Self {
        Self { first: Box::new(error), rest: Vec::new(), warnings: Vec::new(), is_missing: false }
    }

    pub(super) fn missing(error: Diagnostic) -> Self {
        Self { is_missing: true, ..Self::one(error) }
    }

    /// All of `errors`, each once: a snippet brings its own wherever it is imported. Without errors, `warnings`.
    pub(super) fn all(errors: Vec<Diagnostic>, warnings: Vec<Warning>) -> Result<Vec<Warning>, Self> {
        let mut seen = HashSet::new();
        let mut errors = errors.into_iter().filter(|error| {
            let place = error.place().map(|place| (place.source.name().to_owned(), place.start));
            seen.insert((error.headline().to_owned(), place))
        });
        match errors.next() {
            None => Ok(warnings),
            Some(first) => Err(Self { first: Box::new(first), rest: errors.collect(), warnings, is_missing: false }),
        }
    }

    /// The errors; the first is the one that CoreDNS would report.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        std::iter::once(&*self.first).chain(&self.rest)
    }

    /// What is odd besides.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The first error's first line.
    pub fn headline(&self) -> &str {
        self.first.headline()
    }

    /// The first error's line, from 1, if it is about a place in the file.
    pub fn line(&self) -> Option<u32> {
        self.first.place().map(|place| place.line)
    }

    /// The first error's column in characters, from 1, if it is about a place in the file.
    pub fn column(&self) -> Option<u32> {
        self.first.place().map(|place| place.column)
    }

    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        self.is_missing
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        for error in self.rest.iter().take(SHOWN_MAX - 1) {
            write!(f, "\n\n{error}")?;
        }
        match self.rest.len().saturating_sub(SHOWN_MAX - 1) {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

impl std::error::Error for ConfigError {}
