//! What is legal and probably not meant.

use std::fmt;

use super::diagnostic::{harmless, picture};
use super::source::Place;

/// Something that a Corefile may say, and that its writer hardly meant.
///
/// `Display` gives one line, `FILE:LINE: MESSAGE`, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    place: Place,
    message: String,
}

impl Warning {
    /// A warning about a place.
    pub fn new(place: &Place, message: impl fmt::Display) -> Self {
        Self { place: place.clone(), message: harmless(&message.to_string()) }
    }

    /// The place that it is about.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What is odd.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The message and the line with a caret, in plain text without a final newline.
    pub fn shown(&self) -> String {
        format!("warning: {self}\n{}", picture(&self.place, annotate_snippets::Level::WARNING, &[]))
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", harmless(self.place.source.name()), self.place.line, self.message)
    }
}
