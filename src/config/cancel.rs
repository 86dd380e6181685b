//! `cancel [TIMEOUT]`

use std::time::Duration;

use super::duration;
use super::reader::Reader;
use super::report::Report;

/// How long a query may wait without a word on it (plugin/cancel/cancel.go).
const DEFAULT: Duration = Duration::from_millis(5001);

/// Reads how long a query may wait; the last line holds.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> Option<Duration> {
    let mut timeout = None;
    while reader.next_line(report) {
        timeout = match reader.remaining_args() {
            [] => Some(DEFAULT),
            [word] => match duration::parse(&word.text) {
                Ok(duration) if !duration.is_zero() => Some(duration),
                result => {
                    // CoreDNS says these without a place.
                    let sign = if result.is_ok() { "negative " } else { "" };
                    let error = reader.bare_error(word, format_args!("invalid {sign}duration: {:?}", word.text));
                    report.error(error.hint("durations are written 5s, 1m30s, 500ms, and are more than 0"));
                    None
                }
            },
            _ => {
                report.error(reader.argument_error().hint("cancel takes one duration, or nothing for 5001ms"));
                None
            }
        };
    }
    timeout
}
