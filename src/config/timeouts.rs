//! `timeouts { read|write|idle DURATION; maxtcpqueries NUMBER }`

use std::time::Duration;

use super::reader::Reader;
use super::report::Report;
use super::{MaxTcpQueries, Timeouts, duration, number};
use crate::corefile::Token;

/// What a timeout may be (plugin/timeouts/timeouts.go).
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the directive; of each option the last line holds.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> Timeouts {
    let mut timeouts = Timeouts::default();
    while reader.next_line(report) {
        if !reader.remaining_args().is_empty() {
            let error = reader.argument_error().from_plugin("timeouts");
            report.error(error.hint("its options stand in a block: timeouts { read 3s }"));
            reader.give_up();
            break;
        }
        let mut options = 0;
        while let Some(option) = reader.next_option() {
            options += 1;
            let [word] = reader.remaining_args() else {
                report.error(reader.argument_error().hint("it is written: read 3s, or maxtcpqueries 100"));
                continue;
            };
            if option.text == "maxtcpqueries" {
                timeouts.max_tcp_queries = max_tcp_queries(word, &reader, report);
                continue;
            }
            let Some(timeout) = timeout(word, &reader, report) else { continue };
            match option.text.as_str() {
                "read" => timeouts.read = Some(timeout),
                "write" => timeouts.write = Some(timeout),
                "idle" => timeouts.idle = Some(timeout),
                other => {
                    let error = reader.error_at(option, format_args!("unknown option: '{other}'"));
                    report.error(error.hint("timeouts has the options read, write, idle, maxtcpqueries"));
                }
            }
        }
        if options == 0 {
            // CoreDNS names the plugin twice here.
            report.error(reader.error("timeouts block with no timeouts specified").from_plugin("timeouts"));
        }
    }
    timeouts
}

fn timeout(word: &Token, reader: &Reader<'_>, report: &mut Report) -> Option<Duration> {
    match duration::parse_argument(&word.text) {
        Ok(timeout) if (LEAST..=MOST).contains(&timeout) => return Some(timeout),
        Ok(_) => {
            let message = format_args!("timeout provided '{}' needs to be between 1 second and 24 hours", word.text);
            report.error(reader.error_at(word, message));
        }
        Err(error) => report.error(reader.error_at(word, error).hint("durations are written 5s, 1m30s, or in seconds")),
    }
    None
}

fn max_tcp_queries(word: &Token, reader: &Reader<'_>, report: &mut Report) -> Option<MaxTcpQueries> {
    let message = match number::parse(&word.text) {
        Ok(-1) => return Some(MaxTcpQueries::Unlimited),
        Ok(number) => match u64::try_from(number).ok().filter(|number| *number > 0) {
            Some(number) => return Some(MaxTcpQueries::Number(number)),
            None => format!("maxtcpqueries provided '{number}' needs to be -1 (unlimited) or a positive integer"),
        },
        Err(error) => format!("invalid value for maxtcpqueries '{}': {error}", word.text),
    };
    report.error(reader.error_at(word, message));
    None
}
