//! Any text as a Corefile: it is taken or refused with a message, never a panic.

#![no_main]

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use podzone::config::Machine;
use podzone::corefile::Files;

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

fuzz_target!(|text: &str| {
    // Both are shown on a terminal, say, which must not obey what a Corefile says. A diagnostic's cut-out of the text is
    // made only when it is shown.
    let shown = match podzone::config::parse_for(&Fuzzed, "Corefile", text, 53) {
        Ok(loaded) => loaded.warnings,
        Err(error) => vec![error.to_string()],
    };
    for message in shown {
        let obeyed = |c: char| c.is_control() && c != '\n';
        assert!(!message.is_empty() && !message.starts_with('\n') && !message.contains(obeyed), "{message:?}");
    }
});
