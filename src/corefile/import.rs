//! `import` of files.

use std::io;
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostic;
use super::lexer::{Token, lex};
use super::source::{Place, Source};
use super::suggest::did_you_mean;
use super::warning::Warning;

/// The largest Corefile, or file that it imports, that is read, in bytes: four times what a ConfigMap can hold.
pub const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The files that a Corefile may import.
pub trait Files {
    /// Those whose paths a pattern of a shell matches, in order; a path without wildcards matches itself where it exists.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, String>;

    /// The bytes of a file, as far as one more than [`BYTES_MAX`].
    ///
    /// # Errors
    /// If it cannot be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// How often something was imported: texts that import each other would never end.
#[derive(Debug, Default)]
pub(super) struct Expansions {
    snippets: usize,
    files: usize,
    words: usize,
}

impl Expansions {
    /// CoreDNS's words for it, and its number.
    pub(super) const TOO_MANY_SNIPPETS: &str = "maximum snippet import depth (10000) exceeded";
    const SNIPPETS_MAX: usize = 10_000;
    /// CoreDNS has 100,000, each of which it opens.
    const FILES_MAX: usize = 1000;
    /// What few imports of much can make of a file.
    const WORDS_MAX: usize = 1_000_000;

    /// One more of a snippet.
    pub(super) fn snippet(&mut self, import: &Token) -> Result<(), Diagnostic> {
        self.snippets += 1;
        if self.snippets <= Self::SNIPPETS_MAX {
            return Ok(());
        }
        Err(Diagnostic::parsing(&import.place, Self::TOO_MANY_SNIPPETS).hint("do snippets import each other?"))
    }

    /// One more of files.
    pub(super) fn file(&mut self, import: &Token) -> Result<(), Diagnostic> {
        self.files += 1;
        if self.files <= Self::FILES_MAX {
            return Ok(());
        }
        let message = format_args!("maximum file import depth ({}) exceeded", Self::FILES_MAX);
        Err(Diagnostic::parsing(&import.place, message).hint("do files import each other?"))
    }

    /// So many words more.
    pub(super) fn words(&mut self, import: &Token, words: usize) -> Result<(), Diagnostic> {
        self.words += words;
        if self.words <= Self::WORDS_MAX {
            return Ok(());
        }
        let message = format_args!("imports make more than {} words of this file", Self::WORDS_MAX);
        Err(Diagnostic::parsing(&import.place, message).hint("do snippets or files import each other?"))
    }
}

/// What files have, put one behind the other.
#[derive(Default)]
pub(super) struct Imported {
    pub(super) tokens: Vec<Token>,
    /// Quotes that are never closed, in those files.
    pub(super) errors: Vec<Diagnostic>,
    pub(super) warning: Option<Warning>,
}

/// The words of the files that `pattern` names, from the folder of the file that it stands in. `snippets` are the names
/// that it might have been.
pub(super) fn import_files<'s>(
    pattern: &Token,
    files: &dyn Files,
    snippets: impl Iterator<Item = &'s String>,
) -> Result<Imported, Diagnostic> {
    let (text, place) = (&pattern.text, &pattern.place);
    let refuse = |message: String| Diagnostic::parsing(place, message);
    let folder = Path::new(place.source.name()).parent().unwrap_or_else(|| Path::new(""));
    let path = folder.join(text).to_string_lossy().into_owned();
    let count = |wildcard: char| path.matches(wildcard).count();
    if count('*') > 1 || count('?') > 1 || path.contains('[') && path.contains(']') {
        let message = format!("Glob pattern may only contain one wildcard (*), but has others: {path}");
        return Err(refuse(message).hint("write a line for each import"));
    }
    let matches = files.matching(&path).map_err(|error| {
        refuse(format!("Failed to use import pattern {text}: {error}")).hint("a pattern has one * or ?, and no [ ]")
    })?;
    let mut imported = Imported::default();
    if matches.is_empty() {
        if path.contains(['*', '?', '[', ']']) {
            imported.warning = Some(Warning::new(place, format!("No files matching import glob pattern: {text}")));
            return Ok(imported);
        }
        let error = refuse(format!("File to import not found: {text}"));
        return Err(match did_you_mean(text, snippets.map(String::as_str)) {
            Some(snippet) => error.hint(format!("did you mean the snippet '{snippet}'?")),
            None => error.hint(format!("neither a file {path} nor a snippet ({text}) above this line")),
        });
    }
    for file in matches {
        let mut lexed = lex(&read(&file, place, files)?);
        if let Some(first) = lexed.tokens.first_mut() {
            first.begins_line = true;
        }
        imported.tokens.append(&mut lexed.tokens);
        imported.errors.extend(lexed.error);
    }
    Ok(imported)
}

fn read(file: &Path, place: &Place, files: &dyn Files) -> Result<std::sync::Arc<Source>, Diagnostic> {
    let name = file.to_string_lossy();
    let refuse = |why: &str| Diagnostic::parsing(place, format_args!("Could not import {name}: {why}"));
    let bytes = files.read(file).map_err(|error| match error.kind() {
        io::ErrorKind::IsADirectory => refuse("is a directory").hint(format!("import the files in it: {name}/*")),
        _ => refuse(&error.to_string()).hint("the user that podzone runs as must be allowed to read it"),
    })?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(refuse(&format!("larger than {BYTES_MAX} bytes")).hint("is this a Corefile?"));
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(Source::new(&name, &text)),
        _ => Err(refuse("not text").hint("a Corefile is UTF-8 text; is this the right file?")),
    }
}
