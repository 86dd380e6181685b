//! `podzone check`: all that is wrong with a Corefile.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use super::args::{CheckArgs, Format};
use super::plan::plan;
use super::{EXIT_CONFIGURATION, EXIT_OK};
use crate::config;
use crate::corefile::{Diagnostic, Place, Warning};

/// Checks a Corefile as a start would, tells what it found on standard output, and says by the exit code whether podzone
/// would serve it.
pub(super) fn check(args: &CheckArgs) -> ExitCode {
    let name = args.corefile().to_string_lossy().into_owned();
    let (errors, warnings) = match config::load(&args.corefile(), args.port) {
        Ok(loaded) => {
            let unplanned = plan(&loaded.config).err().map(|error| Diagnostic::new(error.to_string()));
            (unplanned.into_iter().collect(), loaded.warnings)
        }
        Err(error) => (error.diagnostics().cloned().collect::<Vec<_>>(), error.warnings().to_vec()),
    };
    let found = match args.format {
        Format::Text => text(&name, &errors, &warnings),
        Format::Json => json(&name, &errors, &warnings),
    };
    // Whoever reads only the beginning has read enough.
    let _ = std::io::stdout().lock().write_all(found.as_bytes());
    ExitCode::from(if errors.is_empty() { EXIT_OK } else { EXIT_CONFIGURATION })
}

/// Each with its line and hints, then how many there are.
fn text(name: &str, errors: &[Diagnostic], warnings: &[Warning]) -> String {
    let found = errors.iter().map(ToString::to_string).chain(warnings.iter().map(Warning::shown));
    let found: String = found.map(|found| found + "\n\n").collect();
    let counted = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let sum = match (errors.len(), warnings.len()) {
        (0, 0) => "nothing is wrong".to_owned(),
        (0, warnings) => counted(warnings, "warning"),
        (errors, 0) => counted(errors, "error"),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    };
    format!("{found}{name}: {sum}\n")
}

/// What `-format json` prints.
#[derive(Serialize)]
struct Found<'a> {
    /// The Corefile.
    file: &'a str,
    /// What podzone refuses.
    errors: Vec<Finding>,
    /// What it takes, and the operator hardly meant.
    warnings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    /// The file that it is in, which may be one that the Corefile imports.
    file: String,
    /// From 1; none if it is about no place.
    line: Option<u32>,
    /// In characters, from 1.
    column: Option<u32>,
    /// In CoreDNS's words where CoreDNS has some.
    message: String,
    /// How to mend it.
    hint: Option<String>,
}

impl Finding {
    fn new(name: &str, place: Option<&Place>, message: &str, hints: &[String]) -> Self {
        Self {
            file: place.map_or(name, |place| place.source.name()).to_owned(),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            message: message.to_owned(),
            hint: (!hints.is_empty()).then(|| hints.join("\n")),
        }
    }
}

fn json(name: &str, errors: &[Diagnostic], warnings: &[Warning]) -> String {
    let found = Found {
        file: name,
        errors: errors.iter().map(|error| Finding::new(name, error.place(), error.headline(), error.hints())).collect(),
        warnings: warnings.iter().map(|odd| Finding::new(name, Some(odd.place()), odd.message(), &[])).collect(),
    };
    // Texts and numbers always have a form in JSON.
    serde_json::to_string_pretty(&found).unwrap_or_default() + "\n"
}
