//! `reload [INTERVAL] [JITTER]`

use std::time::Duration;

use super::reader::Reader;
use super::report::Report;
use super::{Reload, duration};
use crate::corefile::Token;

/// The interval without a word on it, and the jitter (plugin/reload/setup.go).
const INTERVAL_DEFAULT: Duration = Duration::from_secs(30);
const JITTER_DEFAULT: Duration = Duration::from_secs(15);
/// The least that each may be; the jitter may also be nothing.
const INTERVAL_MIN: Duration = Duration::from_secs(2);
const JITTER_MIN: Duration = Duration::from_secs(1);

/// Reads how often files are looked at. CoreDNS reads the first line of a block, and nothing below it.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> Option<Reload> {
    reader.next_word();
    let line = reader.current();
    let words = reader.remaining_args();
    if reader.next_word() {
        report.warn(reader.current(), "nothing is read of reload but its first line");
        reader.give_up();
    }
    let [interval, jitter] = match words {
        [] => [None, None],
        [interval] => [Some(interval), None],
        [interval, jitter] => [Some(interval), Some(jitter)],
        [.., last] => {
            let message = format_args!("Wrong argument count or unexpected line ending after '{}'", last.text);
            report.error(reader.error_at(last, message));
            return None;
        }
    };
    let interval = interval.map_or(Some(INTERVAL_DEFAULT), |word| read(word, &reader, report))?;
    if interval < INTERVAL_MIN {
        let message = "interval value must be greater or equal to 2s";
        report.error(reader.bare_error(words.first().unwrap_or(line), message));
        return None;
    }
    let jitter = jitter.map_or(Some(JITTER_DEFAULT), |word| read(word, &reader, report))?;
    if !jitter.is_zero() && jitter < JITTER_MIN {
        let message = "jitter value must be 0 or greater or equal to 1s";
        report.error(reader.bare_error(words.get(1).unwrap_or(line), message));
        return None;
    }
    Some(Reload { interval, jitter: jitter.min(interval / 2) })
}

fn read(word: &Token, reader: &Reader<'_>, report: &mut Report) -> Option<Duration> {
    match duration::parse(&word.text) {
        Ok(duration) => Some(duration),
        Err(reason) => {
            report.error(reader.bare_error(word, reason).hint("durations are written 30s, 1m30s, 1h"));
            None
        }
    }
}
