//! `loadbalance [round_robin | weighted FILE { reload DURATION }] { prefer CIDR... }`

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::machine::Machine;
use super::reader::Reader;
use super::report::Report;
use super::weights::parse_weights;
use super::{LoadBalance, WeightFile, duration};
use crate::corefile::{Token, did_you_mean};

/// The policies of CoreDNS (`plugin/loadbalance/loadbalance.go`).
const POLICIES: [&str; 2] = ["round_robin", "weighted"];

/// How often a file of weights is looked at, without a word on it.
const RELOAD_DEFAULT: Duration = Duration::from_secs(30);

/// Reads the directive: the last policy holds, and all subnets behind the last `weighted`.
pub(super) fn check(mut reader: Reader<'_>, machine: &dyn Machine, report: &mut Report) -> LoadBalance {
    let mut balance = LoadBalance::default();
    while reader.next_line(report) {
        match reader.remaining_args() {
            [] => balance.weights = None,
            [policy] if policy.text == "round_robin" => balance.weights = None,
            [policy, ..] if policy.text == "round_robin" => {
                let error = reader.error("unknown property for round_robin");
                report.error(error.hint("round_robin takes no arguments"));
            }
            [policy, rest @ ..] if policy.text == "weighted" => {
                let weights = check_weighted(rest, &mut reader, machine, report);
                balance = LoadBalance { weights, prefer: Vec::new() };
            }
            [policy, ..] => {
                let error = reader.bare_error(policy, format_args!("unknown policy: {}", policy.text));
                report.error(match did_you_mean(&policy.text, POLICIES) {
                    Some(known) => error.hint(format!("did you mean '{known}'?")),
                    None => {
                        error.hint("loadbalance has the policies round_robin, which is also that of none, and weighted")
                    }
                });
            }
        }
        while let Some(option) = reader.next_option() {
            if option.text != "prefer" {
                unknown(option, &mut reader, report);
                break;
            }
            // Without a subnet it prefers none, in CoreDNS too.
            for word in reader.remaining_args() {
                match subnet(&word.text) {
                    Some(subnet) => balance.prefer.push(subnet),
                    None => {
                        let message = format_args!("invalid CIDR {:?}: invalid CIDR address: {}", word.text, word.text);
                        report.error(reader.error_at(word, message).hint("a subnet is written 10.0.0.0/8 or fd00::/8"));
                    }
                }
            }
        }
    }
    balance
}

fn check_weighted(
    rest: &[Token],
    reader: &mut Reader<'_>,
    machine: &dyn Machine,
    report: &mut Report,
) -> Option<WeightFile> {
    match rest {
        [] => report.error(reader.error("missing weight file argument")),
        [_] => {}
        _ => report.error(reader.error("unexpected argument(s)")),
    }
    let mut reload = RELOAD_DEFAULT;
    while let Some(option) = reader.next_option() {
        if option.text != "reload" {
            unknown(option, reader, report);
            break;
        }
        match reader.remaining_args() {
            [] => report.error(reader.error("reload duration value is missing")),
            [word] => match duration::parse(&word.text) {
                Ok(duration) => reload = duration,
                Err(_) => {
                    let error = reader.error(format_args!("invalid reload duration '{}'", word.text));
                    report.error(error.hint("durations are written 5s, 1m30s, 500ms"));
                }
            },
            _ => report.error(reader.error("unexpected argument")),
        }
    }
    let [word] = rest else { return None };
    let file = WeightFile { path: PathBuf::from(&word.text), reload };
    let refuse = |message: String| reader.bare_error(word, message);
    match machine.read(Path::new(&word.text)) {
        Ok(octets) => {
            if let Err(reason) = parse_weights(&word.text, &String::from_utf8_lossy(&octets)) {
                report.error(refuse(reason).hint("a line is a name, or an address of it with its weight, 1 to 255"));
            }
        }
        Err(error) if file.reload.is_zero() => {
            report.error(refuse("weight file open error".into()).hint(error.to_string()));
        }
        Err(error) => {
            let again = format_args!("weight file open error: {}; all weigh the same until it is there", error);
            report.warn(word, again);
        }
    }
    Some(file)
}

fn unknown(option: &Token, reader: &mut Reader<'_>, report: &mut Report) {
    report.error(reader.error_at(option, format_args!("unknown property '{}'", option.text)));
    reader.give_up();
}

/// What Go's `net.ParseCIDR` takes.
fn subnet(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let is_number = bits.bytes().all(|octet| octet.is_ascii_digit());
    let bits = bits.parse::<u32>().ok().filter(|bits| is_number && *bits <= most)?;
    Some((address, u8::try_from(bits).ok()?))
}
