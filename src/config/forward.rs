//! `forward FROM TO... { ... }`

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::forward_tls::{self, ForwardTls};
use super::forward_to::{self, ForwardTo};
use super::machine::Machine;
use super::reader::Reader;
use super::report::Report;
use super::zone::{self, ZoneError};
use super::{duration, number, rcodes};
use crate::corefile::{Token, did_you_mean};

/// Defaults of `plugin/forward` in CoreDNS.
const MAX_FAILS_DEFAULT: u32 = 2;
const HEALTH_CHECK_DEFAULT: Duration = Duration::from_millis(500);
const READ_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
const EXPIRE_DEFAULT: Duration = Duration::from_secs(10);
/// The port of resolvers that are said without one.
const RESOLVER_PORT: u16 = 53;

/// Options that are served.
const SERVED: [&str; 20] = [
    "except",
    "force_tcp",
    "prefer_udp",
    "max_fails",
    "max_connect_attempts",
    "health_check",
    "read_timeout",
    "expire",
    "max_age",
    "max_idle_conns",
    "max_concurrent",
    "policy",
    "tls",
    "tls_servername",
    "next",
    "next_on_nodata",
    "failfast_all_unhealthy_upstreams",
    "failover",
    "source_address",
    "resolver",
];

/// Options that only CoreDNS serves (`plugin/forward/setup.go`): it is about upstreams over HTTPS.
const NOT_SERVED: [&str; 1] = ["doh_method"];

/// A `forward` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Names at or below this zone are forwarded (lower case, trailing dot),
    pub from: String,
    /// `except` those at or below these.
    pub except: Vec<String>,
    /// The upstreams, each once.
    pub to: Vec<ForwardTo>,
    /// `resolver`: who is asked for the addresses of upstreams' names, in order; empty is the system.
    pub resolvers: Vec<SocketAddr>,
    /// `force_tcp`: always ask over TCP.
    pub force_tcp: bool,
    /// `prefer_udp`: ask over UDP even for a client that came over TCP.
    pub prefer_udp: bool,
    /// `max_fails`: failed checks in a row after which an upstream is down; 0 means never. Default 2.
    pub max_fails: u32,
    /// `max_connect_attempts`: attempts for one query, 0 for as many as there is time for. Default two for each upstream.
    pub max_connect_attempts: Option<u32>,
    /// `health_check`: how an upstream that failed is looked at.
    pub health_check: HealthCheck,
    /// `read_timeout`: how long an upstream may take, default 2 s.
    pub read_timeout: Duration,
    /// `expire`: how long a connection is kept that nobody uses, default 10 s.
    pub expire: Duration,
    /// `max_age`: how long a connection is used at all, default for ever.
    pub max_age: Option<Duration>,
    /// `max_idle_conns`: how many connections to one upstream are kept that nobody uses; 0, the default, is all.
    pub max_idle_conns: usize,
    /// `max_concurrent`: queries at a time; more are refused.
    pub max_concurrent: Option<usize>,
    /// `policy`
    pub policy: Policy,
    /// `tls`: what TLS goes by.
    pub tls: ForwardTls,
    /// `next`: codes with which an answer is left to the next `forward` of the block.
    pub next: Vec<u16>,
    /// `next_on_nodata`: so is an answer without records.
    pub next_on_nodata: bool,
    /// `failfast_all_unhealthy_upstreams`: where all upstreams are down, none is asked.
    pub failfast: bool,
    /// `failover`: codes with which the next upstream is asked.
    pub failover: Vec<u16>,
    /// `source_address`: the address to ask from.
    pub source_address: Option<IpAddr>,
}

/// How an upstream that failed is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The time between checks, default 0.5 s.
    pub interval: Duration,
    /// Whether it is asked to recurse; `no_rec` says that it is not.
    pub recursion: bool,
    /// `domain`: the name whose name servers it is asked for, default the root's.
    pub domain: String,
}

/// Which upstream is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// Any: the default.
    #[default]
    Random,
    /// Each in turn.
    RoundRobin,
    /// Always the first that is up.
    Sequential,
}

/// A directive that was read, and what may have no effect in it.
struct Stanza<'t> {
    from: &'t Token,
    forward: Forward,
    /// The last `next` or `next_on_nodata`.
    next: Option<&'t Token>,
}

/// Reads the directives of a block.
pub(super) fn check(mut reader: Reader<'_>, machine: &dyn Machine, report: &mut Report) -> Vec<Forward> {
    let errors_before = report.errors.len() + report.not_served.len();
    let mut stanzas: Vec<Stanza<'_>> = Vec::new();
    while reader.next_line(report) {
        stanzas.extend(check_stanza(&mut reader, machine, report));
    }
    if report.errors.len() + report.not_served.len() > errors_before {
        return Vec::new();
    }
    for (number, stanza) in stanzas.iter().enumerate() {
        let hides = |before: &&Stanza<'_>| {
            let leaves = !before.forward.next.is_empty() || before.forward.next_on_nodata;
            zone::is_below(&stanza.forward.from, &before.forward.from) && before.forward.except.is_empty() && !leaves
        };
        if let Some(before) = stanzas.iter().take(number).find(hides) {
            let line = before.from.place.line;
            report.warn(
                stanza.from,
                format_args!("the forward of line {line} comes first, and takes all of these names"),
            );
        }
    }
    if let Some(word) = stanzas.last().and_then(|last| last.next) {
        report.warn(word, format_args!("{} has no effect without another forward behind this one", word.text));
    }
    stanzas.into_iter().map(|stanza| stanza.forward).collect()
}

fn check_stanza<'t>(reader: &mut Reader<'t>, machine: &dyn Machine, report: &mut Report) -> Option<Stanza<'t>> {
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
    let mut options = Options { forward: Forward::new(from_zone), server_name: None, tls: None, next: None };
    while let Some(option) = reader.next_option() {
        options.check(option, reader, machine, report);
    }
    let Options { mut forward, server_name, tls, next } = options;
    if let Some(max_age) = forward.max_age.filter(|max_age| *max_age < forward.expire) {
        let (max_age, expire) = (duration::text(max_age), duration::text(forward.expire));
        let message = format_args!("max_age ({max_age}) must not be less than expire ({expire})");
        report.error(reader.bare_error(from, message));
    }
    if let Some((word, name)) = server_name {
        forward_to::check_server_name(word, name, reader, report);
    }
    forward_to::check(&mut forward, to, server_name.map(|(_, name)| name), (reader, machine), report);
    if forward.to.is_empty() && report.errors.is_empty() && report.not_served.is_empty() {
        let error = reader.bare_error(from, "no valid upstream addresses found");
        report.error(error.hint("the files name no name server"));
    }
    if let Some(word) = tls.filter(|_| !forward.to.iter().any(|to| to.tls)) {
        report.warn(word, format_args!("{} has no effect without an upstream over tls://", word.text));
    }
    Some(Stanza { from, forward, next })
}

fn zones(word: &Token) -> Result<Vec<String>, String> {
    match zone::parse(&word.text) {
        Ok(written) => Ok(written.zones),
        Err(ZoneError::Invalid(..) | ZoneError::Scheme(_)) => Err(format!("unable to normalize '{}'", word.text)),
    }
}

impl Forward {
    fn new(from: String) -> Self {
        Self {
            from,
            except: Vec::new(),
            to: Vec::new(),
            resolvers: Vec::new(),
            force_tcp: false,
            prefer_udp: false,
            max_fails: MAX_FAILS_DEFAULT,
            max_connect_attempts: None,
            health_check: HealthCheck { interval: HEALTH_CHECK_DEFAULT, recursion: true, domain: ".".into() },
            read_timeout: READ_TIMEOUT_DEFAULT,
            expire: EXPIRE_DEFAULT,
            max_age: None,
            max_idle_conns: 0,
            max_concurrent: None,
            policy: Policy::Random,
            tls: ForwardTls::default(),
            next: Vec::new(),
            next_on_nodata: false,
            failfast: false,
            failover: Vec::new(),
            source_address: None,
        }
    }
}

/// What an option's words are told to be wrong by: an error that names its line, or one that does not, as in CoreDNS.
enum Wrong<'t> {
    Placed(&'t Token, String),
    Bare(&'t Token, String),
}

/// What is read of a stanza's block.
struct Options<'t> {
    forward: Forward,
    /// `tls_servername`, with its word.
    server_name: Option<(&'t Token, &'t str)>,
    /// The last option about TLS.
    tls: Option<&'t Token>,
    /// See [`Stanza::next`].
    next: Option<&'t Token>,
}

impl<'t> Options<'t> {
    fn check(&mut self, option: &'t Token, reader: &mut Reader<'t>, machine: &dyn Machine, report: &mut Report) {
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
        match name {
            "tls" | "tls_servername" => self.tls = Some(option),
            "next" | "next_on_nodata" => self.next = Some(option),
            _ => {}
        }
        let words = reader.remaining_args();
        let fits = match name {
            "force_tcp" | "prefer_udp" | "next_on_nodata" | "failfast_all_unhealthy_upstreams" => words.is_empty(),
            "tls" => words.len() <= 3,
            _ => !words.is_empty(),
        };
        if !fits {
            report.error(reader.argument_error());
            return;
        }
        let read = match words {
            [] => self.set(name, machine, words),
            _ if TAKES_SEVERAL.contains(&name) => self.set(name, machine, words),
            [first, rest @ ..] => {
                let read = self.set_to(name, first);
                // CoreDNS takes what follows for the next option.
                if let (Ok(()), [next, ..]) = (&read, rest) {
                    Err(Wrong::Placed(next, format!("unknown property '{}'", next.text)))
                } else {
                    read
                }
            }
        };
        match read {
            Ok(()) => {}
            Err(Wrong::Placed(word, message)) => report.error(reader.error_at(word, message)),
            Err(Wrong::Bare(word, message)) => report.error(reader.bare_error(word, message)),
        }
    }

    /// Options without words, and with any number of them.
    fn set(&mut self, name: &str, machine: &dyn Machine, words: &'t [Token]) -> Result<(), Wrong<'t>> {
        let forward = &mut self.forward;
        match name {
            "force_tcp" => forward.force_tcp = true,
            "prefer_udp" => forward.prefer_udp = true,
            "next_on_nodata" => forward.next_on_nodata = true,
            "failfast_all_unhealthy_upstreams" => forward.failfast = true,
            "tls" => forward.tls = forward_tls::read(words, machine).map_err(|(word, text)| Wrong::Bare(word, text))?,
            "health_check" => forward.health_check = health_check(&forward.health_check, words)?,
            "resolver" => {
                forward.resolvers = words.iter().map(resolver).collect::<Result<_, _>>()?;
            }
            "except" => {
                for word in words {
                    forward.except.extend(zones(word).map_err(|message| Wrong::Bare(word, message))?);
                }
            }
            "next" | "failover" => {
                for word in words {
                    let code = rcodes::number_of(&word.text)
                        .ok_or_else(|| Wrong::Bare(word, format!("{} is not a valid rcode", word.text)))?;
                    if name == "next" {
                        forward.next.push(code);
                    } else if code == 0 {
                        return Err(Wrong::Bare(word, "NoError cannot be used in failover".into()));
                    } else {
                        forward.failover.push(code);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Options with one word.
    fn set_to(&mut self, name: &str, word: &'t Token) -> Result<(), Wrong<'t>> {
        let (forward, text) = (&mut self.forward, word.text.as_str());
        let bare = |message: String| Wrong::Bare(word, message);
        match name {
            "max_fails" => forward.max_fails = number::parse_unsigned(text).map_err(bare)?,
            "max_connect_attempts" => {
                forward.max_connect_attempts = Some(number::parse_unsigned(text).map_err(bare)?);
            }
            // 0 is no limit.
            "max_concurrent" => {
                forward.max_concurrent = Some(count(name, text).map_err(bare)?).filter(|most| *most > 0)
            }
            "max_idle_conns" => forward.max_idle_conns = count(name, text).map_err(bare)?,
            "expire" => forward.expire = not_negative(name, text).map_err(bare)?,
            "max_age" => forward.max_age = Some(not_negative(name, text).map_err(bare)?).filter(|age| !age.is_zero()),
            "read_timeout" => forward.read_timeout = positive(name, text).map_err(bare)?,
            "tls_servername" => self.server_name = Some((word, text)).filter(|_| !text.is_empty()),
            "source_address" => {
                let address = text.parse().map_err(|_| Wrong::Placed(word, format!("invalid IP address: {text}")))?;
                forward.source_address = Some(address);
            }
            "policy" => {
                forward.policy = match text {
                    "random" => Policy::Random,
                    "round_robin" => Policy::RoundRobin,
                    "sequential" => Policy::Sequential,
                    other => return Err(Wrong::Placed(word, format!("unknown policy '{other}'"))),
                };
            }
            _ => {}
        }
        Ok(())
    }
}

/// Options that take all words of their line.
const TAKES_SEVERAL: [&str; 6] = ["except", "tls", "next", "failover", "resolver", "health_check"];

fn health_check<'t>(before: &HealthCheck, words: &'t [Token]) -> Result<HealthCheck, Wrong<'t>> {
    let [first, rest @ ..] = words else { return Ok(before.clone()) };
    let interval = duration::parse(&first.text).map_err(|error| Wrong::Bare(first, error.to_string()))?;
    if let Some(negative) = negative(&first.text) {
        return Err(Wrong::Bare(first, format!("health_check can't be negative: -{}", negative.as_nanos())));
    }
    let mut check = HealthCheck { interval, domain: ".".into(), recursion: before.recursion };
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match word.text.as_str() {
            "no_rec" => check.recursion = false,
            "domain" => {
                let Some(name) = rest.next() else {
                    let message = "Wrong argument count or unexpected line ending after 'domain'";
                    return Err(Wrong::Placed(word, message.into()));
                };
                check.domain = zone::normalize(&name.text)
                    .map_err(|_| Wrong::Bare(name, format!("health_check: invalid domain name {}", name.text)))?;
            }
            other => return Err(Wrong::Bare(word, format!("health_check: unknown option {other}"))),
        }
    }
    Ok(check)
}

fn resolver(word: &Token) -> Result<SocketAddr, Wrong<'_>> {
    let text = word.text.as_str();
    let alone = text.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, RESOLVER_PORT));
    alone
        .or_else(|| text.parse().ok())
        .ok_or_else(|| Wrong::Bare(word, format!("resolver must be an IP address or IP:port: {text:?}")))
}

/// A number that is not negative.
fn count(name: &str, text: &str) -> Result<usize, String> {
    let value = number::parse(text)?;
    usize::try_from(value).map_err(|_| format!("{name} can't be negative: {value}"))
}

/// How far a duration is below zero, if it is.
fn negative(text: &str) -> Option<Duration> {
    let positive = text.strip_prefix('-').and_then(|text| duration::parse(text).ok());
    positive.filter(|duration| !duration.is_zero())
}

fn not_negative(name: &str, text: &str) -> Result<Duration, String> {
    let value = duration::parse(text).map_err(|error| error.to_string())?;
    match negative(text) {
        Some(negative) => Err(format!("{name} can't be negative: -{}", duration::text(negative))),
        None => Ok(value),
    }
}

fn positive(name: &str, text: &str) -> Result<Duration, String> {
    let value = duration::parse(text).map_err(|error| error.to_string())?;
    match negative(text) {
        Some(negative) => Err(format!("{name} must be positive: -{}", duration::text(negative))),
        None if value.is_zero() => Err(format!("{name} must be positive: 0s")),
        None => Ok(value),
    }
}
