//! Errors that show the line they are about.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::source::Place;

/// What is wrong with a Corefile, where, and what to do about it.
///
/// The headline is CoreDNS's own wording wherever CoreDNS refuses the same thing, so that scripts and search engines
/// know it; the place and the hints are ours. `Display` gives the headline, then the line with a caret, then the
/// hints, in plain text without a final newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    headline: String,
    place: Option<Place>,
    hints: Vec<String>,
}

impl Diagnostic {
    /// An error with this headline alone.
    pub fn new(headline: impl Into<String>) -> Self {
        Self { headline: headline.into(), place: None, hints: Vec::new() }
    }

    /// `FILE:LINE - Error during parsing: MESSAGE`
    pub fn parsing(place: &Place, message: impl fmt::Display) -> Self {
        Self::new(format!("{}:{} - Error during parsing: {message}", place.source.name(), place.line)).at(place)
    }

    /// `FILE:LINE - Syntax error: Unexpected token 'FOUND', expecting 'EXPECTED'`
    pub fn syntax(place: &Place, found: &str, expected: &str) -> Self {
        let (file, line) = (place.source.name(), place.line);
        Self::new(format!("{file}:{line} - Syntax error: Unexpected token '{found}', expecting '{expected}'")).at(place)
    }

    /// The same error, which points at `place`.
    pub fn at(mut self, place: &Place) -> Self {
        self.place = Some(place.clone());
        self
    }

    /// The same error with one more hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same error as CoreDNS reports it from the plugin `name`.
    pub fn from_plugin(mut self, name: &str) -> Self {
        self.headline = format!("plugin/{name}: {}", self.headline);
        self
    }

    /// The first line: what is wrong.
    pub fn headline(&self) -> &str {
        &self.headline
    }

    /// The place it is about, if it is about one.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// What may help.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", harmless(&self.headline))?;
        match &self.place {
            Some(place) => write!(f, "\n{}", picture(place, Level::ERROR, &self.hints)),
            None => self.hints.iter().try_for_each(|hint| write!(f, "\n  = help: {hint}")),
        }
    }
}

/// Text with its control characters escaped: words of the file come back in it, and none of them may move the terminal's
/// cursor.
pub fn harmless(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        shown
    })
}

/// How many octets of a line are shown behind a place at most: more than the renderer has room for.
const SHOWN_BEHIND: usize = 1000;

/// The line of a place with a caret under it, and hints below.
pub(super) fn picture(place: &Place, level: Level<'_>, hints: &[String]) -> String {
    // The renderer panics on places that do not lie between characters.
    let text = place.source.text();
    let start = text.floor_char_boundary(place.start);
    let mut end = text.ceil_char_boundary(place.end.max(start));
    // A word that spans lines is shown by its first.
    if let Some(newline) = text.get(start..end).and_then(|word| word.find('\n')) {
        end = start + newline;
    }
    // The renderer reads all that it is given, each time: this line is enough, and of a very long one what stands around.
    let line = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let rest = text.get(end..).and_then(|behind| behind.find('\n')).unwrap_or(text.len() - end);
    let shown = text.get(line..text.floor_char_boundary(end + rest.min(SHOWN_BEHIND))).unwrap_or_default();
    let snippet = Snippet::source(shown)
        .line_start(usize::try_from(place.line).unwrap_or(usize::MAX))
        .path(place.source.name())
        .annotation(AnnotationKind::Primary.span(start - line..end - line));
    let mut group = Group::with_level(level).element(snippet);
    for hint in hints {
        group = group.element(Level::HELP.message(hint));
    }
    // The renderer shows the controls of ASCII as pictures, and passes those of Latin-1 (U+0080 to U+009F) on.
    let shown = Renderer::plain().render(&[group]).to_string();
    shown.chars().map(|shown| if shown.is_control() && shown != '\n' { '\u{fffd}' } else { shown }).collect()
}
