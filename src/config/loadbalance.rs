//! `loadbalance [round_robin | weighted FILE { reload DURATION }] { prefer CIDR... }`

use std::net::IpAddr;

use super::duration;
use super::reader::Reader;
use super::report::Report;
use crate::corefile::{Token, did_you_mean};

/// The policies of CoreDNS (`plugin/loadbalance/loadbalance.go`); the first is served.
const POLICIES: [&str; 2] = ["round_robin", "weighted"];

/// What to write in the place of what is not served.
const INSTEAD: &str = "podzone changes the order at random, each record as likely as another to be first: \
                       write 'loadbalance' alone, or keep CoreDNS in front";

/// Checks the directive; there is nothing to keep but that it is there.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) {
    while reader.next_line(report) {
        match reader.remaining_args() {
            [] => {}
            [policy] if policy.text == "round_robin" => {}
            [policy, ..] if policy.text == "round_robin" => {
                let error = reader.error("unknown property for round_robin");
                report.error(error.hint("round_robin takes no arguments"));
            }
            [policy, rest @ ..] if policy.text == "weighted" => check_weighted(policy, rest, &mut reader, report),
            [policy, ..] => {
                let error = reader.bare_error(policy, format_args!("unknown policy: {}", policy.text));
                report.error(match did_you_mean(&policy.text, POLICIES) {
                    Some(known) => error.hint(format!("did you mean '{known}'?")),
                    None => error.hint("loadbalance has the policy round_robin, which is also that of none"),
                });
            }
        }
        while let Some(option) = reader.next_option() {
            if option.text != "prefer" {
                unknown(option, &mut reader, report);
                break;
            }
            let subnets = reader.remaining_args();
            for word in subnets.iter().filter(|word| !is_subnet(&word.text)) {
                let message = format_args!("invalid CIDR {:?}: invalid CIDR address: {}", word.text, word.text);
                report.error(reader.error_at(word, message).hint("a subnet is written 10.0.0.0/8 or fd00::/8"));
            }
            // Without a subnet it prefers none, in CoreDNS too.
            if !subnets.is_empty() {
                report.not_served_but(option, "option 'prefer' of loadbalance", INSTEAD);
            }
        }
    }
}

fn check_weighted(policy: &Token, rest: &[Token], reader: &mut Reader<'_>, report: &mut Report) {
    match rest {
        [] => report.error(reader.error("missing weight file argument")),
        [_] => {}
        _ => report.error(reader.error("unexpected argument(s)")),
    }
    while let Some(option) = reader.next_option() {
        if option.text != "reload" {
            unknown(option, reader, report);
            break;
        }
        match reader.remaining_args() {
            [] => report.error(reader.error("reload duration value is missing")),
            [word] if duration::parse(&word.text).is_err() => {
                let error = reader.error(format_args!("invalid reload duration '{}'", word.text));
                report.error(error.hint("durations are written 5s, 1m30s, 500ms"));
            }
            [_] => {}
            _ => report.error(reader.error("unexpected argument")),
        }
    }
    report.not_served_but(policy, "policy 'weighted' of loadbalance", INSTEAD);
}

fn unknown(option: &Token, reader: &mut Reader<'_>, report: &mut Report) {
    report.error(reader.error_at(option, format_args!("unknown property '{}'", option.text)));
    reader.give_up();
}

/// What Go's `net.ParseCIDR` takes.
fn is_subnet(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.bytes().all(|octet| octet.is_ascii_digit()) && bits.parse::<u32>().is_ok_and(|bits| bits <= most)
}
