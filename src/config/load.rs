//! Files and texts to configurations.

use std::io::{self, IsTerminal, Read};
use std::path::Path;

use super::Config;
use super::check;
use super::error::ConfigError;
use super::known::DIRECTIVES;
use super::machine::{Machine, ThisMachine};
use super::report::Report;
use crate::corefile::{self, BYTES_MAX, Diagnostic, Files as _, Place, Source};

/// A configuration, and what the operator should be told about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration; without blocks where the text has none.
    pub config: Config,
    /// What is legal and probably not meant, each with its file and line.
    pub warnings: Vec<String>,
}

/// Reads a Corefile; `stdin` reads a pipe, as in CoreDNS. Keys without a port get `default_port`.
///
/// # Errors
/// If the file cannot be read, is not text, or is refused as by [`parse`].
pub fn load(path: &Path, default_port: u16) -> Result<Loaded, ConfigError> {
    let name = path.to_string_lossy();
    let bytes = read(path).map_err(|error| refuse_file(&name, &error))?;
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
    parse(&name, &text, default_port)
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
    if let Some(at) = source.text().find('\0') {
        return Err(refuse_binary(&source, at, "a NUL byte"));
    }
    let parsed = match corefile::parse(&source, &DIRECTIVES, &|name| machine.variable(name), machine) {
        Ok(parsed) => parsed,
        Err(errors) => {
            // The parser never fails without an error.
            let none = || ConfigError::one(Diagnostic::new(format!("{file_name}: cannot be read")));
            return Err(ConfigError::all(errors).unwrap_or_else(none));
        }
    };
    let mut report = Report { warnings: parsed.warnings, ..Report::default() };
    let config = check::check(&parsed.blocks, default_port, machine, &mut report);
    // CoreDNS has no order for these; the file's reads best.
    report.not_served.sort_by_key(|error| error.place().map(|place| place.start));
    report.errors.append(&mut report.not_served);
    match ConfigError::all(report.errors) {
        Some(error) => Err(error),
        None => Ok(Loaded { config, warnings: report.warnings }),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new("stdin") {
        return ThisMachine.read(path);
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
        _ => ConfigError::one(diagnostic),
    }
}

/// The system's words without Rust's "(os error 2)".
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn refuse_binary(source: &std::sync::Arc<Source>, at: usize, what: &str) -> ConfigError {
    let place = Place::of_bytes(source, at, source.text().ceil_char_boundary(at + 1));
    let message = format!("this is not text: {what} at column {}", place.column);
    ConfigError::one(Diagnostic::parsing(&place, message).hint("a Corefile is UTF-8 text; is this the right file?"))
}
