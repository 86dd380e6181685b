//! `health [ADDRESS] { lameduck DURATION }`

use std::time::Duration;

use super::admin_address::{self, AdminAddress};
use super::reader::Reader;
use super::report::Report;
use super::{Health, duration};

/// Where CoreDNS listens without an address (`plugin/health/health.go`).
const PORT_DEFAULT: u16 = 8080;

/// Reads all lines; as in CoreDNS, the last that names an address, or a duration, holds.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> Health {
    let mut address = AdminAddress { host: String::new(), port: PORT_DEFAULT };
    let mut lameduck = Duration::ZERO;
    while reader.next_line(report) {
        match reader.remaining_args() {
            [] => {}
            [word] => {
                if let Some(new) = admin_address::check(word, &reader, report) {
                    address = new;
                }
            }
            _ => report.error(reader.argument_error().hint("health takes one address, as in :8080")),
        }
        while let Some(option) = reader.next_option() {
            if option.text != "lameduck" {
                let error = reader.error(format_args!("unknown property '{}'", option.text));
                report.error(error.hint("health has the option lameduck DURATION"));
                reader.give_up();
                break;
            }
            let [word] = reader.remaining_args() else {
                report.error(reader.argument_error().hint("it is written: lameduck DURATION"));
                continue;
            };
            match duration::parse(&word.text) {
                Ok(duration) => lameduck = duration,
                Err(error) => {
                    let message = format_args!("unable to parse lameduck duration value: '{}' : {error}", word.text);
                    report.error(reader.bare_error(word, message).hint("durations are written 5s, 1m30s, 500ms"));
                }
            }
        }
    }
    Health { address, lameduck }
}
