//! `prometheus [ADDRESS]`

use super::admin_address::{self, AdminAddress};
use super::reader::{ONCE, Reader};
use super::report::Report;

/// Where CoreDNS listens without an address (`plugin/metrics/setup.go`).
const HOST_DEFAULT: &str = "localhost";
const PORT_DEFAULT: u16 = 9153;

/// Reads the one line that a block may have.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> AdminAddress {
    let mut address = AdminAddress { host: HOST_DEFAULT.to_owned(), port: PORT_DEFAULT };
    let (mut lines, mut has_tls) = (0, false);
    while reader.next_line(report) {
        lines += 1;
        if lines > 1 {
            report.error(reader.bare_error(reader.current(), ONCE));
            break;
        }
        match reader.remaining_args() {
            [] => {}
            [word] => {
                if let Some(new) = admin_address::check(word, &reader, report) {
                    address = new;
                }
            }
            _ => report.error(reader.argument_error().hint("prometheus takes one address, as in :9153")),
        }
        while let Some(option) = reader.next_option() {
            match option.text.as_str() {
                "tls" if has_tls => {
                    report.error(reader.error("tls block already specified"));
                    reader.remaining_args();
                }
                // What CoreDNS would refuse is told in its words before what is not served.
                name @ ("runtime_metrics" | "tls") => {
                    has_tls |= name == "tls";
                    if reader.remaining_args().len() == usize::from(name == "tls") {
                        report.not_served_but(option, format_args!("option '{name}' of prometheus"), advice(name));
                    } else {
                        report.error(reader.argument_error());
                    }
                }
                unknown => {
                    let error = reader.error(format_args!("unknown option: {unknown}"));
                    report.error(error.hint("prometheus takes an address and, here, no options"));
                    reader.give_up();
                }
            }
        }
    }
    address
}

/// What to do without an option.
fn advice(option: &str) -> &'static str {
    match option {
        "tls" => {
            "listen where nobody else reads it, as on localhost:9153, and put a proxy that speaks TLS in front of it"
        }
        _ => "it is about the runtime of Go, which is not here: remove it; process_* is always told",
    }
}
