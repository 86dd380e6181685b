//! Why a Corefile is refused.

use std::fmt;

use crate::corefile::Diagnostic;

/// How many errors are shown at once.
const SHOWN_MAX: usize = 20;

/// Everything that is wrong with a Corefile; at least one error.
///
/// `Display` gives the full diagnostics: CoreDNS's wording in the first line, then the lines of the file and hints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    first: Box<Diagnostic>,
    rest: Vec<Diagnostic>,
    is_missing: bool,
}

impl ConfigError {
    pub(super) fn one(error: Diagnostic) -> Self {
        Self { first: Box::new(error), rest: Vec::new(), is_missing: false }
    }

    pub(super) fn missing(error: Diagnostic) -> Self {
        Self { is_missing: true, ..Self::one(error) }
    }

    /// All of `errors`, if there is one.
    pub(super) fn all(errors: Vec<Diagnostic>) -> Option<Self> {
        let mut errors = errors.into_iter();
        let first = Box::new(errors.next()?);
        Some(Self { first, rest: errors.collect(), is_missing: false })
    }

    /// The errors; the first is the one that CoreDNS would report.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        std::iter::once(&*self.first).chain(&self.rest)
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
