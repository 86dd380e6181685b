//! The tree of a Corefile to its meaning.

use std::net::IpAddr;

use super::known::DIRECTIVES;
use super::machine::Machine;
use super::reader::Reader;
use super::report::Report;
use super::zone::{self, ZoneError};
use super::{
    Config, ServerBlock, ZoneKey, acl, admin_overlaps, autopath, bind, bufsize, cache, cancel, chaos, errors, forward,
};
use super::{
    health, instead, kubernetes, loadbalance, local, log, loops, metadata, multisocket, nsid, plain, prometheus,
};
use super::{outages, ready, reload, timeouts, transfer, tsig, usage};
use crate::corefile::{self, Diagnostic, Directive, Token};

/// Directives that podzone serves, in the order in which CoreDNS sets them up.
pub const SERVED: [&str; 28] = [
    "metadata",
    "cancel",
    "timeouts",
    "multisocket",
    "reload",
    "nsid",
    "bufsize",
    "bind",
    "debug",
    "ready",
    "health",
    "prometheus",
    "errors",
    "log",
    "local",
    "any",
    "chaos",
    "loadbalance",
    "tsig",
    "autopath",
    "acl",
    "cache",
    "minimal",
    "transfer",
    "kubernetes",
    "loop",
    "forward",
    "whoami",
];

/// Checks all blocks.
///
/// CoreDNS checks all keys first, then directive by directive over all blocks, then what is served twice, and stops at
/// its first error. The order here is the same, so that the first error is the same; only that the others follow.
pub(super) fn check(
    blocks: &[corefile::ServerBlock],
    default_port: u16,
    machine: &dyn Machine,
    report: &mut Report,
) -> Config {
    // With a word misread, what is left would seem to collide where it does not.
    let mut misread = Misread { parts: Vec::new(), all: !report.errors.is_empty() };
    let before = report.errors.len();
    let keys: Vec<_> = blocks.iter().map(|block| check_keys(block, default_port, report)).collect();
    misread.note(KEYS, before, report);
    let mut checked: Vec<ServerBlock> = keys
        .iter()
        .map(|keys| ServerBlock { keys: keys.iter().map(|(key, _)| key.clone()).collect(), ..ServerBlock::default() })
        .collect();
    for name in SERVED {
        let before = report.errors.len();
        for (block, checked) in blocks.iter().zip(&mut checked) {
            if let Some(directive) = block.directives.iter().find(|directive| directive.name == name) {
                check_directive(directive, checked, machine, report);
            }
        }
        misread.note(name, before, report);
    }
    for directive in blocks.iter().flat_map(|block| &block.directives) {
        if !SERVED.contains(&directive.name.as_str()) && DIRECTIVES.contains(&directive.name.as_str()) {
            let what = format_args!("directive '{}'", directive.name);
            report.not_served_but(&directive.tokens[0], what, instead::of_directive(&directive.name));
        }
    }
    if misread.none_of(&["cache", "forward"]) {
        cache::check_all(blocks, &checked, report);
    }
    if misread.none_of(&[KEYS, "tsig", "transfer", "kubernetes"]) {
        transfer::check_all(blocks, &checked, report);
    }
    if misread.none_of(&["autopath", "kubernetes"]) {
        autopath::check_all(blocks, &checked, report);
    }
    if misread.none_of(&["kubernetes"]) {
        outages::check_all(blocks, &checked, report);
    }
    if misread.none_of(&[KEYS, "bind"]) {
        check_overlaps(&keys, &checked, report);
    }
    if misread.none_of(&[KEYS, "bind", "ready", "health", "prometheus"]) {
        admin_overlaps::check(blocks, &checked, report);
    }
    Config { blocks: checked }
}

/// The part of a server block that is no directive.
const KEYS: &str = "keys";

/// Which parts of the file have errors.
struct Misread {
    parts: Vec<&'static str>,
    /// The file is not well formed, so that any may be missing.
    all: bool,
}

impl Misread {
    /// Keeps `part` if it has brought errors since there were `before`.
    fn note(&mut self, part: &'static str, before: usize, report: &Report) {
        if report.errors.len() > before {
            self.parts.push(part);
        }
    }

    fn none_of(&self, parts: &[&str]) -> bool {
        !self.all && !self.parts.iter().any(|part| parts.contains(part))
    }
}

/// How a key is written.
const KEY_FORM: &str = "a key is written: [dns://]ZONE[:PORT], where ZONE is a name or a range like 10.0.0.0/8";

fn check_keys<'a>(
    block: &'a corefile::ServerBlock,
    default_port: u16,
    report: &mut Report,
) -> Vec<(ZoneKey, &'a Token)> {
    let mut keys = Vec::new();
    for word in &block.keys {
        match zone::parse_key(&word.text, default_port) {
            Ok(expanded) => keys.extend(expanded.into_iter().map(|key| (key, word))),
            Err(ZoneError::Scheme(scheme)) => {
                let what = format_args!("transport {scheme}://");
                report.not_served_but(word, what, instead::of_scheme(scheme));
            }
            Err(ZoneError::Invalid(message, hint)) => {
                // A port is first looked at when CoreDNS opens its sockets.
                let prefix = if message.ends_with("invalid port") { "" } else { "error inspecting server blocks: " };
                let error = Diagnostic::new(format!("{prefix}{message}")).at(&word.place);
                report.error(error.hint(hint.unwrap_or(KEY_FORM)));
            }
        }
    }
    for (key, word) in &keys {
        if let Some(warning) = zone::syntax_warning(&key.zone) {
            report.warn(word, warning);
        }
    }
    keys
}

/// Checks a directive; whatever is wrong with it, and does not say how to mend it, gets the form of its line.
fn check_directive(directive: &Directive, block: &mut ServerBlock, machine: &dyn Machine, report: &mut Report) {
    let before = report.errors.len();
    read_directive(directive, block, machine, report);
    let found = report.errors.split_off(before);
    report.errors.extend(found.into_iter().map(|error| match usage::of(directive, &error) {
        Some(form) if error.hints().is_empty() => error.hint(format!("it is written: {form}")),
        _ => error,
    }));
}

fn read_directive(directive: &Directive, block: &mut ServerBlock, machine: &dyn Machine, report: &mut Report) {
    let reader = Reader::new(directive);
    match directive.name.as_str() {
        "any" => block.any = plain::check(reader, report),
        "minimal" => block.minimal = plain::check(reader, report),
        "whoami" => block.whoami = plain::check(reader, report),
        "debug" => block.debug = plain::check(reader, report),
        "metadata" => block.metadata = Some(metadata::check(reader, &block.keys, report)),
        "reload" => block.reload = reload::check(reader, report),
        "cancel" => block.cancel = cancel::check(reader, report),
        "timeouts" => block.timeouts = timeouts::check(reader, report),
        "nsid" => block.nsid = nsid::check(reader, &machine.host_name(), report),
        "local" => block.local = Some(local::check(reader, report)),
        "chaos" => block.chaos = chaos::check(reader, &machine.host_name(), report),
        "acl" => block.acl = acl::check(reader, &block.keys, report),
        "cache" => block.cache = cache::check(reader, &block.keys, report),
        "multisocket" => block.multisocket = multisocket::check(reader, report),
        "bufsize" => block.bufsize = bufsize::check(reader, report),
        "bind" => block.bind = bind::check(reader, machine, report).unwrap_or_default(),
        "ready" => block.ready = Some(ready::check(reader, report)),
        "health" => block.health = Some(health::check(reader, report)),
        "prometheus" => block.prometheus = Some(prometheus::check(reader, report)),
        "errors" => block.errors = Some(errors::check(reader, report)),
        "log" => block.log = log::check(reader, report),
        "loadbalance" => {
            block.loadbalance = Some(loadbalance::check(reader, machine, report));
        }
        "tsig" => block.tsig = tsig::check(reader, &block.keys, report),
        "autopath" => block.autopath = autopath::check(reader, &block.keys, machine, report),
        "transfer" => block.transfers = transfer::check(reader, &block.keys, report),
        "kubernetes" => block.kubernetes = kubernetes::check(reader, &block.keys, report),
        "loop" => block.finds_loops = loops::check(reader, report),
        "forward" => block.forwards = forward::check(reader, machine, report),
        _ => {}
    }
}

/// A zone on a port and, where the block binds, an address.
struct Served<'a> {
    key: &'a ZoneKey,
    address: Option<IpAddr>,
    word: &'a Token,
}

impl std::fmt::Display for Served<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "dns://{}:{}", self.key.zone, self.key.port)?;
        self.address.map_or(Ok(()), |address| write!(f, " on {address}"))
    }
}

/// Refuses what is served twice: the same zone and port at the same address, or at one address and at all of them.
fn check_overlaps(keys: &[Vec<(ZoneKey, &Token)>], blocks: &[ServerBlock], report: &mut Report) {
    use std::collections::HashMap;
    let mut served: HashMap<&ZoneKey, Vec<Served<'_>>> = HashMap::new();
    for (keys, block) in keys.iter().zip(blocks) {
        for (key, word) in keys {
            let bound: Vec<_> =
                if block.bind.is_empty() { vec![None] } else { block.bind.iter().copied().map(Some).collect() };
            let before = served.entry(key).or_default();
            for address in bound {
                let new = Served { key, address, word };
                let same = before.iter().find(|old| old.address == address);
                let overlap = before.iter().find(|old| old.address.is_none() != address.is_none());
                let (message, old) = match (same, overlap) {
                    (Some(old), _) => (format!("cannot serve {new} - it is already defined"), old),
                    (None, Some(old)) => {
                        (format!("cannot serve {new} - zone overlap listener capacity with {old}"), old)
                    }
                    (None, None) => {
                        before.push(new);
                        continue;
                    }
                };
                let hint = if same.is_some() && address.is_some() && old.word == *word {
                    "bind names this address twice".to_owned()
                } else {
                    format!("it is first served by line {}", old.word.place.line)
                };
                report.error(Diagnostic::new(message).at(&word.place).hint(hint));
                break;
            }
        }
    }
}
