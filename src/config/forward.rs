//! `forward FROM TO... { ... }`

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::reader::Reader;
use super::report::Report;
use super::zone::{self, ZoneError};
use super::{Forward, Policy, duration, number};
use crate::corefile::{Token, did_you_mean};

/// Defaults of `plugin/forward` in CoreDNS.
const PORT_DEFAULT: u16 = 53;
const MAX_FAILS_DEFAULT: u32 = 2;
const HEALTH_CHECK_DEFAULT: Duration = Duration::from_millis(500);
const READ_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// Options that are served.
const SERVED: [&str; 8] =
    ["except", "force_tcp", "prefer_udp", "max_fails", "health_check", "max_concurrent", "policy", "read_timeout"];

/// Options that only CoreDNS serves (`plugin/forward/setup.go`).
const NOT_SERVED: [&str; 13] = [
    "expire",
    "max_age",
    "max_idle_conns",
    "max_connect_attempts",
    "tls",
    "tls_servername",
    "next",
    "next_on_nodata",
    "failfast_all_unhealthy_upstreams",
    "failover",
    "source_address",
    "resolver",
    "doh_method",
];

/// Options of `health_check` that only CoreDNS serves.
const CHECK_OPTIONS_NOT_SERVED: [&str; 2] = ["no_rec", "domain"];

/// Schemes of upstreams that only CoreDNS serves.
const SCHEMES_NOT_SERVED: [&str; 2] = ["tls", "https"];

/// Schemes that CoreDNS knows and refuses here, with the port that it names in its refusal.
const SCHEMES_REFUSED: [(&str, &str); 3] = [("quic", ":853"), ("grpc", ":443"), ("unix", "")];

/// The most words that name upstreams (plugin/forward/setup.go, max).
const TO_MAX: usize = 15;

/// Reads the directive.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> Option<Forward> {
    let errors_before = report.errors.len() + report.not_served.len();
    let mut forward = None;
    while reader.next_line(report) {
        if forward.is_some() {
            // CoreDNS chains several; one that forwards all else would hide the others here.
            report.not_served(reader.current(), "a second 'forward' in a server block");
            reader.give_up();
            break;
        }
        forward = check_stanza(&mut reader, report);
    }
    forward.filter(|_| report.errors.len() + report.not_served.len() == errors_before)
}

fn check_stanza(reader: &mut Reader<'_>, report: &mut Report) -> Option<Forward> {
    let words = reader.remaining_args();
    let Some((from, to)) = words.split_first().filter(|(_, to)| !to.is_empty()) else {
        report.error(reader.argument_error().hint("forward FROM TO..., as in: forward . /etc/resolv.conf"));
        reader.give_up();
        return None;
    };
    let from_zone = match zones(from) {
        Ok(mut zones) => {
            if zones.len() > 1 {
                let used = &zones[0];
                report.warn(from, format_args!("{} is several zones, only {used} is forwarded", from.text));
            }
            zones.swap_remove(0)
        }
        Err(message) => {
            report.error(reader.bare_error(from, message));
            String::new()
        }
    };
    let mut forward = Forward {
        from: from_zone,
        except: Vec::new(),
        to: Vec::new(),
        force_tcp: false,
        prefer_udp: false,
        max_fails: MAX_FAILS_DEFAULT,
        health_check: HEALTH_CHECK_DEFAULT,
        read_timeout: READ_TIMEOUT_DEFAULT,
        max_concurrent: None,
        policy: Policy::Random,
    };
    while let Some(option) = reader.next_option() {
        check_option(&mut forward, option, reader, report);
    }
    for word in to {
        check_upstream(&mut forward, word, reader, report);
    }
    if to.len() > TO_MAX {
        report.error(reader.bare_error(&to[TO_MAX], format_args!("more than {TO_MAX} TOs configured: {}", to.len())));
    }
    if forward.to.is_empty() && report.errors.is_empty() && report.not_served.is_empty() {
        let error = reader.bare_error(from, "no valid upstream addresses found");
        report.error(error.hint("the files name no name server"));
    }
    Some(forward)
}

fn zones(word: &Token) -> Result<Vec<String>, String> {
    match zone::parse(&word.text) {
        Ok(written) => Ok(written.zones),
        Err(ZoneError::Invalid(..) | ZoneError::Scheme(_)) => Err(format!("unable to normalize '{}'", word.text)),
    }
}

fn check_option(forward: &mut Forward, option: &Token, reader: &mut Reader<'_>, report: &mut Report) {
    let name = option.text.as_str();
    if NOT_SERVED.contains(&name) {
        reader.remaining_args();
        report.not_served(option, format_args!("option '{name}' of forward"));
        return;
    }
    if !SERVED.contains(&name) {
        let mut error = reader.error_at(option, format_args!("unknown property '{name}'"));
        if let Some(known) = did_you_mean(name, SERVED.into_iter().chain(NOT_SERVED)) {
            error = error.hint(format!("did you mean '{known}'?"));
        }
        report.error(error);
        reader.remaining_args();
        return;
    }
    let args = reader.remaining_args();
    let fits = match name {
        "force_tcp" | "prefer_udp" => args.is_empty(),
        _ => !args.is_empty(),
    };
    if !fits {
        report.error(reader.argument_error());
        return;
    }
    let result = match (name, args.first()) {
        ("except", _) => args.iter().try_for_each(|word| {
            forward.except.extend(zones(word)?);
            Ok(())
        }),
        ("force_tcp", _) => {
            forward.force_tcp = true;
            Ok(())
        }
        ("prefer_udp", _) => {
            forward.prefer_udp = true;
            Ok(())
        }
        ("max_fails", Some(word)) => number::parse_unsigned(&word.text).map(|value| forward.max_fails = value),
        ("max_concurrent", Some(word)) => number::parse(&word.text).and_then(|value| {
            if value < 0 {
                return Err(format!("max_concurrent can't be negative: {value}"));
            }
            // 0 is no limit.
            forward.max_concurrent = usize::try_from(value).ok().filter(|value| *value > 0);
            Ok(())
        }),
        ("health_check", Some(word)) => check_interval(&word.text).map(|value| forward.health_check = value),
        ("read_timeout", Some(word)) => check_timeout(&word.text).map(|value| forward.read_timeout = value),
        ("policy", Some(word)) => {
            match word.text.as_str() {
                "random" => forward.policy = Policy::Random,
                "round_robin" => forward.policy = Policy::RoundRobin,
                "sequential" => forward.policy = Policy::Sequential,
                other => report.error(reader.error_at(word, format_args!("unknown policy '{other}'"))),
            }
            Ok(())
        }
        _ => Ok(()),
    };
    if let Err(message) = result {
        report.error(reader.bare_error(args.first().unwrap_or(option), message));
    }
    check_rest(name, args, reader, report);
}

/// Words behind an option's one argument. CoreDNS takes them for options.
fn check_rest(name: &str, args: &[Token], reader: &Reader<'_>, report: &mut Report) {
    let Some(word) = args.get(1).filter(|_| name != "except") else { return };
    let text = word.text.as_str();
    if name != "health_check" {
        report.error(reader.error_at(word, format_args!("unknown property '{text}'")));
    } else if CHECK_OPTIONS_NOT_SERVED.contains(&text) {
        report.not_served(word, format_args!("option '{text}' of health_check"));
    } else {
        report.error(reader.bare_error(word, format_args!("health_check: unknown option {text}")));
    }
}

fn check_interval(text: &str) -> Result<Duration, String> {
    let value = duration::parse(text).map_err(|error| error.to_string())?;
    match text.strip_prefix('-').and_then(|text| duration::parse(text).ok()) {
        Some(negative) if !negative.is_zero() => {
            Err(format!("health_check can't be negative: -{}", negative.as_nanos()))
        }
        _ => Ok(value),
    }
}

fn check_timeout(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        // Go writes a zero with its unit.
        Ok(value) if value.is_zero() && !text.contains(|c: char| ('1'..='9').contains(&c)) => {
            Err("read_timeout must be positive: 0s".into())
        }
        Ok(value) if value.is_zero() => Err(format!("read_timeout must be positive: {text}")),
        Ok(value) => Ok(value),
        Err(error) => Err(error.to_string()),
    }
}

/// An address with a port or without, or a file in the form of resolv.conf.
fn check_upstream(forward: &mut Forward, word: &Token, reader: &Reader<'_>, report: &mut Report) {
    let text = match word.text.split_once("://") {
        Some(("dns", rest)) => rest,
        Some((scheme, _)) if SCHEMES_NOT_SERVED.contains(&scheme) => {
            report.not_served(word, format_args!("an upstream over {scheme}://"));
            return;
        }
        _ => word.text.as_str(),
    };
    if let Some(message) = refusal_of_scheme(&word.text) {
        report.error(reader.bare_error(word, message));
        return;
    }
    if let Some(address) = parse_address(text) {
        forward.add(address);
        return;
    }
    match std::fs::read_to_string(text) {
        Ok(content) => {
            let servers: Vec<SocketAddr> = name_servers(&content);
            if servers.is_empty() {
                report.warn(word, format_args!("{text} names no name server"));
            }
            for server in servers {
                forward.add(server);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_host(text) => {
            report.not_served(word, "a host name as an upstream of forward");
        }
        Err(error) => {
            let message = format!("not an IP address, file, or valid domain: {text:?}");
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "TO is an address, with :PORT or without, or a file like /etc/resolv.conf",
                _ => "the file cannot be read",
            };
            report.error(reader.bare_error(word, message).hint(hint));
        }
    }
}

fn refusal_of_scheme(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (_, port) = SCHEMES_REFUSED.iter().find(|(known, _)| *known == scheme)?;
    let port = if rest.parse::<IpAddr>().is_ok() { port } else { "" };
    Some(format!("'{scheme}' is not supported as a destination protocol in forward: {text}{port}"))
}

/// Whether a word may be a host's name, with a port or without, rather than a file that is not there.
fn is_host(text: &str) -> bool {
    let name = text.rsplit_once(':').map_or(text, |(name, _)| name);
    !name.is_empty() && !name.contains(['/', ':']) && zone::parse(name).is_ok()
}

fn parse_address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let alone = bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, PORT_DEFAULT));
    alone.or_else(|| text.parse().ok())
}

/// The `nameserver` lines of resolv.conf(5).
fn name_servers(content: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        // A zone (fe80::1%eth0) cannot be kept; CoreDNS drops it too.
        let address = address.split_once('%').map_or(address, |(address, _)| address);
        address.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, PORT_DEFAULT))
    };
    content.lines().filter_map(address).collect()
}

impl Forward {
    fn add(&mut self, address: SocketAddr) {
        if !self.to.contains(&address) {
            self.to.push(address);
        }
    }
}
