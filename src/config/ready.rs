//! `ready [ADDRESS] { monitor until-ready|continuously }`

use super::admin_address::{self, AdminAddress};
use super::reader::{ONCE, Reader};
use super::report::Report;
use super::{Monitor, Ready};
use crate::corefile::did_you_mean;

/// Where CoreDNS listens without an address (`plugin/ready/setup.go`).
const PORT_DEFAULT: u16 = 8181;

/// Reads the one line that a block may have.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> Ready {
    let mut ready =
        Ready { address: AdminAddress { host: String::new(), port: PORT_DEFAULT }, monitor: Monitor::default() };
    let mut lines = 0;
    while reader.next_line(report) {
        lines += 1;
        if lines > 1 {
            report.error(reader.bare_error(reader.current(), ONCE));
            break;
        }
        match reader.remaining_args() {
            [] => {}
            [word] => {
                if let Some(address) = admin_address::check(word, &reader, report) {
                    ready.address = address;
                }
            }
            _ => report.error(reader.argument_error().hint("ready takes one address, as in :8181")),
        }
        while let Some(option) = reader.next_option() {
            if option.text != "monitor" {
                let error = reader.error(format_args!("unknown property '{}'", option.text));
                report.error(error.hint("ready has the option monitor until-ready|continuously"));
                reader.give_up();
                break;
            }
            match reader.remaining_args() {
                [word] => match word.text.as_str() {
                    "until-ready" => ready.monitor = Monitor::UntilReady,
                    "continuously" => ready.monitor = Monitor::Continuously,
                    other => {
                        let error = reader.error_at(word, format_args!("monitor type '{other}' not supported"));
                        report.error(match did_you_mean(other, ["until-ready", "continuously"]) {
                            Some(known) => error.hint(format!("did you mean '{known}'?")),
                            None => error.hint("the types are until-ready and continuously"),
                        });
                    }
                },
                _ => report.error(reader.argument_error().hint("it is written: monitor until-ready|continuously")),
            }
        }
    }
    ready
}
