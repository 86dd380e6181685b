//! Files and texts to configurations.

use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;

use super::Config;
use super::check;
use super::error::ConfigError;
use super::known::DIRECTIVES;
use super::machine::{Machine, ThisMachine};
use super::recorded::{Fingerprint, Recorded};
use super::report::Report;
use super::version::Version;
use crate::corefile::{self, BYTES_MAX, Diagnostic, Place, Source, Warning};

/// The name of standard input, where a file is expected.
pub const STDIN: &str = "stdin";

/// A configuration, and what the operator should be told about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration; without blocks where the text has none.
    pub config: Config,
    /// What is legal and probably not meant.
    pub warnings: Vec<Warning>,
    /// Its version.
    pub version: Version,
}

/// Reads a Corefile; `stdin` reads a pipe, as in CoreDNS. Keys without a port get `default_port`.
///
/// # Errors
/// If the file cannot be read, is not text, or is refused as by [`parse`].
pub fn load(path: &Path, default_port: u16) -> Result<Loaded, ConfigError> {
    load_recorded(path, default_port).0
}

/// As [`load`], and what was read of files for it: as long as that stays, so does the result, errors too.
pub fn load_recorded(path: &Path, default_port: u16) -> (Result<Loaded, ConfigError>, Fingerprint) {
    let machine = Recorded::new(&ThisMachine);
    let loaded = read_source_of(&machine, path).and_then(|source| parse_source(&machine, &source, default_port));
    (loaded, machine.fingerprint())
}

/// Reads the text of a Corefile; `stdin` reads a pipe.
///
/// # Errors
/// If the file cannot be read, or is not text.
pub fn read_source(path: &Path) -> Result<Arc<Source>, ConfigError> {
    read_source_of(&ThisMachine, path)
}

fn read_source_of(machine: &dyn Machine, path: &Path) -> Result<Arc<Source>, ConfigError> {
    let name = path.to_string_lossy();
    let bytes = read(machine, path).map_err(|error| refuse_file(&name, &error))?;
    if bytes.len() as u64 > BYTES_MAX {
        let error = Diagnostic::new(format!("loading Corefile: {name} is larger than {BYTES_MAX} bytes"));
        return Err(ConfigError::one(error.hint("is this a Corefile?")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        // What is before the place is sound, so it is as long in the text that is shown; a byte order mark is not.
        let at = if text.starts_with('\u{feff}') { at.saturating_sub(3) } else { at };
        refuse_binary(&Source::new(&name, &text), at, "not UTF-8")
    })?;
    let source = Source::new(&name, &text);
    match source.text().find('\0') {
        Some(at) => Err(refuse_binary(&source, at, "a NUL byte")),
        None => Ok(source),
    }
}

/// Reads the text of a Corefile that errors call `file_name`. Keys without a port get `default_port`.
///
/// # Errors
/// Everything that is wrong with it, in CoreDNS's words and order where CoreDNS refuses it too.
pub fn parse(file_name: &str, text: &str, default_port: u16) -> Result<Loaded, ConfigError> {
    parse_for(&ThisMachine, file_name, text, default_port)
}

/// As [`parse`], with the environment and the interfaces of `machine`.
///
/// # Errors
/// As for [`parse`].
pub fn parse_for(machine: &dyn Machine, file_name: &str, text: &str, default_port: u16) -> Result<Loaded, ConfigError> {
    let source = Source::new(file_name, text);
    match source.text().find('\0') {
        Some(at) => Err(refuse_binary(&source, at, "a NUL byte")),
        None => parse_source(machine, &source, default_port),
    }
}

fn parse_source(machine: &dyn Machine, source: &Arc<Source>, default_port: u16) -> Result<Loaded, ConfigError> {
    let parsed = corefile::parse(source, &DIRECTIVES, &|name| machine.variable(name), machine);
    let version = Version::of(source, &parsed.blocks);
    let mut report = Report { errors: parsed.errors, warnings: parsed.warnings, ..Report::default() };
    let config = check::check(&parsed.blocks, default_port, machine, &mut report);
    // CoreDNS has no order for these; the file's reads best.
    report.not_served.sort_by_key(|error| error.place().map(|place| place.start));
    report.errors.append(&mut report.not_served);
    let warnings = ConfigError::all(report.errors, report.warnings)?;
    Ok(Loaded { config, warnings, version })
}

fn read(machine: &dyn Machine, path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new(STDIN) {
        return machine.read(path);
    }
    if io::stdin().is_terminal() {
        return Err(io::Error::other("it is a terminal"));
    }
    let mut bytes = Vec::new();
    io::stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn refuse_file(name: &str, error: &io::Error) -> ConfigError {
    let diagnostic = Diagnostic::new(format!("loading Corefile: {name}: {}", reason(error)));
    match error.kind() {
        io::ErrorKind::NotFound => {
            ConfigError::missing(diagnostic.hint("name the file with -conf FILE, or start where a Corefile is"))
        }
        io::ErrorKind::IsADirectory => {
            ConfigError::one(diagnostic.hint("name the file in it: -conf FILE, often DIR/Corefile"))
        }
        io::ErrorKind::PermissionDenied => {
            ConfigError::one(diagnostic.hint("the user that podzone runs as must be allowed to read it"))
        }
        _ => ConfigError::one(diagnostic.hint("name a file with -conf FILE, or 'stdin' and give it a pipe")),
    }
}

/// The system's words without Rust's "(os error 2)".
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn refuse_binary(source: &Arc<Source>, at: usize, what: &str) -> ConfigError {
    let place = Place::of_bytes(source, at, source.text().ceil_char_boundary(at + 1));
    let message = format!("this is not text: {what} at column {}", place.column);
    ConfigError::one(Diagnostic::parsing(&place, message).hint("a Corefile is UTF-8 text; is this the right file?"))
}
