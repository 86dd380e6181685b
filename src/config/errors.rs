//! `errors [stdout] { stacktrace; consolidate DURATION REGEXP [LEVEL] [show_first] }`

use regex::Regex;

use super::reader::{ONCE, Reader};
use super::report::Report;
use super::{Consolidate, Errors, LogLevel, duration};
use crate::corefile::{Diagnostic, Token};

/// The longest expression, in octets (plugin/errors/setup.go).
const PATTERN_OCTETS_MAX: usize = 10_000;

const LEVELS: [(&str, LogLevel); 4] =
    [("warning", LogLevel::Warning), ("error", LogLevel::Error), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];

/// Reads the directive.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> Errors {
    let mut errors = Errors::default();
    let mut lines = 0;
    while reader.next_line(report) {
        lines += 1;
        if lines > 1 {
            report.error(reader.bare_error(reader.current(), ONCE));
            return errors;
        }
        match reader.remaining_args() {
            [] => {}
            [file] if file.text == "stdout" => {}
            [file] => report.error(reader.error(format_args!("invalid log file: {}", file.text))),
            _ => report.error(reader.argument_error()),
        }
        while let Some(option) = reader.next_option() {
            match option.text.as_str() {
                "stacktrace" => {}
                "consolidate" => match consolidate(&mut reader) {
                    Ok(consolidate) => errors.consolidate.push(consolidate),
                    Err(error) => report.error(*error),
                },
                unknown => {
                    let error = Diagnostic::syntax(&option.place, unknown, &format!("Unknown field {unknown}"));
                    report.error(error.from_plugin("errors").hint("errors has the options stacktrace, consolidate"));
                    reader.give_up();
                }
            }
        }
    }
    errors
}

fn consolidate(reader: &mut Reader<'_>) -> Result<Consolidate, Box<Diagnostic>> {
    let [period, pattern, options @ ..] = reader.remaining_args() else { return Err(reader.argument_error().into()) };
    if options.len() > 2 {
        return Err(reader.argument_error().into());
    }
    let gathered = duration::parse(&period.text).map_err(|error| reader.error_at(period, error))?;
    let (level, show_first) = levels(options, reader)?;
    let octets = pattern.text.len();
    if octets > PATTERN_OCTETS_MAX {
        let message = format_args!("regex pattern too long: {octets} > {PATTERN_OCTETS_MAX}");
        return Err(reader.error_at(pattern, message).into());
    }
    let pattern = Regex::new(&pattern.text).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        reader.error_at(pattern, format_args!("error parsing regexp: {reason}"))
    })?;
    Ok(Consolidate { period: gathered, pattern, level, show_first })
}

/// A level, and behind it `show_first`; both may be missing.
fn levels(options: &[Token], reader: &Reader<'_>) -> Result<(LogLevel, bool), Box<Diagnostic>> {
    let (mut level, mut show_first) = (None, false);
    for option in options {
        let known = LEVELS.iter().find(|(name, _)| *name == option.text);
        let refuse = |message: &str| Err(reader.error_at(option, message).into());
        match known {
            Some(_) if level.is_some() => return refuse("multiple log levels specified in consolidate"),
            Some(_) if show_first => return refuse("log level must come before show_first in consolidate"),
            Some((_, known)) => level = Some(*known),
            None if option.text == "show_first" => show_first = true,
            None => return refuse(&format!("unknown option in consolidate: {}", option.text)),
        }
    }
    Ok((level.unwrap_or(LogLevel::Error), show_first))
}
