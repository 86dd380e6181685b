//! Any text as a Corefile: it is taken or refused with messages, never a panic; and formatted it says the same.

#![no_main]

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use podzone::config::Machine;
use podzone::corefile::{Files, Parsed, Source, Token, format, lex, parse};

/// A machine on which every file is the same, and imports more.
struct Fuzzed;

impl Files for Fuzzed {
    fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        if pattern.ends_with('*') { Ok(Vec::new()) } else { Ok(vec![pattern.into()]) }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path.ends_with("d") { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(b"log\nimport d".into()) }
    }
}

impl Machine for Fuzzed {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "A").then(|| "import".to_owned())
    }

    fn interfaces(&self) -> io::Result<Vec<(String, IpAddr)>> {
        Ok(vec![("lo".to_owned(), IpAddr::from([127, 0, 0, 1]))])
    }
}

/// Shown on a terminal, say, which must not obey what a Corefile says.
fn is_harmless(message: &str) {
    let obeyed = |c: char| c.is_control() && c != '\n';
    assert!(!message.is_empty() && !message.starts_with('\n') && !message.contains(obeyed), "{message:?}");
}

/// Words by lines.
fn by_lines(tokens: &[Token]) -> Vec<(bool, &str)> {
    let continues = |at: usize| at > 0 && tokens[at - 1].continues(&tokens[at]);
    tokens.iter().enumerate().map(|(at, token)| (continues(at), token.text.as_str())).collect()
}

/// What is read of a text, without the places.
fn read(text: &str) -> Parsed {
    parse(&Source::new("Corefile", text), &["log", "errors"], &|name| Fuzzed.variable(name), &Fuzzed)
}

fn is_formatted_well(text: &str) {
    let source = Source::new("Corefile", text);
    let Ok(formatted) = format(&source) else { return };
    let again = Source::new("Corefile", &formatted);
    assert_eq!(format(&again).as_ref(), Ok(&formatted));
    assert_eq!(by_lines(&lex(&source).tokens), by_lines(&lex(&again).tokens));
    assert_eq!(lex(&source).comments.len(), lex(&again).comments.len());
    // How reading goes on behind an error depends on where lines begin, so that only whether there is one stays the same.
    let (before, after) = (read(text), read(&formatted));
    assert_eq!(before.errors.is_empty(), after.errors.is_empty());
    if !before.errors.is_empty() {
        return;
    }
    assert_eq!(before.blocks.len(), after.blocks.len());
    for (before, after) in before.blocks.iter().zip(&after.blocks) {
        assert_eq!(by_lines(&before.keys), by_lines(&after.keys));
        assert_eq!(before.directives.len(), after.directives.len());
        for (before, after) in before.directives.iter().zip(&after.directives) {
            assert_eq!((&before.name, by_lines(&before.tokens)), (&after.name, by_lines(&after.tokens)));
        }
    }
}

fuzz_target!(|text: &str| {
    // A diagnostic's cut-out of the text is made only when it is shown.
    let warnings = match podzone::config::parse_for(&Fuzzed, "Corefile", text, 53) {
        Ok(loaded) => loaded.warnings,
        Err(error) => {
            is_harmless(&error.to_string());
            assert!(error.diagnostics().all(|error| error.place().is_none_or(|place| place.line >= 1)));
            error.warnings().to_vec()
        }
    };
    for warning in warnings {
        is_harmless(&warning.to_string());
        is_harmless(&warning.shown());
    }
    is_formatted_well(text);
});
