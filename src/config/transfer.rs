//! `transfer [ZONES...] { to ADDRESS... | * ; source ADDRESS ; notify_key NAME }`

use std::net::IpAddr;

use super::reader::Reader;
use super::report::Report;
use super::zone::{self, zones};
use super::{ServerBlock, Transfer, TransferTo, ZoneKey};
use crate::corefile::{self, Diagnostic, Token, did_you_mean};

const NAME: &str = "transfer";
const OPTIONS: [&str; 3] = ["to", "source", "notify_key"];
const PORT_DEFAULT: u16 = 53;

/// Reads all directives of a block; without zones of its own one is about those of its block's `keys`.
pub(super) fn check(mut reader: Reader<'_>, keys: &[ZoneKey], report: &mut Report) -> Vec<Transfer> {
    let mut transfers = Vec::new();
    while reader.next_line(report) {
        let zones = zones(&mut reader, keys, report);
        let mut transfer = Transfer { zones, to: Vec::new(), source: None, notify_key: None };
        let errors_before = report.errors.len();
        while let Some(option) = reader.next_option() {
            check_option(&mut transfer, option, &mut reader, report);
        }
        if transfer.to.is_empty() && report.errors.len() == errors_before {
            let error = twice(reader.error("'to' is required"));
            report.error(
                error.hint("to * lets everybody have the zone, to ADDRESS... these, who are told of changes too"),
            );
        }
        transfers.push(transfer);
    }
    transfers
}

fn check_option<'a>(transfer: &mut Transfer, option: &'a Token, reader: &mut Reader<'a>, report: &mut Report) {
    match option.text.as_str() {
        "to" => {
            let hosts = reader.remaining_args();
            if hosts.is_empty() {
                report.error(reader.argument_error().hint("it is written: to ADDRESS... or to *"));
            }
            for host in hosts {
                match parse_host(&host.text) {
                    Ok(to) => transfer.to.push(to),
                    Err(message) => {
                        let error = reader.bare_error(host, message);
                        report.error(error.hint("a port stands behind a colon: 192.0.2.1:5300, [2001:db8::1]:5300"));
                    }
                }
            }
        }
        "source" => {
            let [address] = reader.remaining_args() else {
                report.error(reader.argument_error().hint("it is written: source ADDRESS"));
                return;
            };
            if transfer.source.is_some() {
                report.error(twice(reader.error_at(address, "source already specified")));
            }
            match address.text.parse() {
                Ok(address) => transfer.source = Some(address),
                Err(_) => {
                    let message = format_args!("invalid source address {:?}", address.text);
                    report.error(twice(reader.error_at(address, message)));
                }
            }
        }
        "notify_key" => {
            let [name] = reader.remaining_args() else {
                report.error(reader.argument_error().hint("it is written: notify_key NAME, of a secret of tsig"));
                return;
            };
            match zone::normalize(&name.text) {
                Ok(name) => transfer.notify_key = Some(name),
                Err(_) => report.error(reader.error_at(name, format_args!("not the name of a key: {}", name.text))),
            }
        }
        other => {
            let mut error = twice(reader.error(format_args!("unknown property {other:?}")));
            if let Some(known) = did_you_mean(other, OPTIONS) {
                error = error.hint(format!("did you mean '{known}'?"));
            }
            report.error(error);
            if other == "{" {
                reader.give_up();
            }
            reader.remaining_args();
        }
    }
}

/// CoreDNS names the plugin twice in some of its errors.
fn twice(error: Diagnostic) -> Diagnostic {
    error.from_plugin(NAME)
}

/// An address with a port or without, an interface behind a percent sign perhaps (plugin/pkg/parse/host.go, HostPort).
fn parse_host(text: &str) -> Result<TransferTo, String> {
    if text == "*" {
        return Ok(TransferTo::Everybody);
    }
    let refuse = |host: &str| format!("must specify an IP address: `{host}'");
    let address = |host: &str| -> Option<(IpAddr, Option<String>)> {
        let (bare, interface) =
            host.rsplit_once('%').map_or((host, None), |(bare, zone)| (bare, Some(zone.to_owned())));
        Some((bare.parse().ok()?, interface))
    };
    if let Some((address, interface)) = address(text) {
        return Ok(TransferTo::Address { address: address.to_canonical(), interface, port: PORT_DEFAULT });
    }
    let split = match text.strip_prefix('[') {
        Some(rest) => rest.rsplit_once("]:").or_else(|| rest.strip_suffix(']').map(|host| (host, ""))),
        None => text.rsplit_once(':').filter(|(host, _)| !host.contains(':')),
    };
    let Some((host, port)) = split else { return Err(refuse(text)) };
    let (address, interface) = address(host).ok_or_else(|| refuse(host))?;
    // What is no port, Go finds out when it sends.
    let port = if port.is_empty() { Ok(PORT_DEFAULT) } else { port.parse() };
    let port = port.map_err(|_| format!("not a port: `{text}'"))?;
    Ok(TransferTo::Address { address: address.to_canonical(), interface, port })
}

/// What only all blocks together say: whether there is something to transfer, and the keys that are named. The secrets
/// of all blocks are shared.
pub(super) fn check_all(written: &[corefile::ServerBlock], blocks: &[ServerBlock], report: &mut Report) {
    let has_key = |name: &str| {
        blocks.iter().filter_map(|block| block.tsig.as_ref()).any(|tsig| tsig.keys.iter().any(|key| key.name == name))
    };
    for (written, block) in written.iter().zip(blocks) {
        let Some(directive) = written.directives.iter().find(|directive| directive.name == NAME) else { continue };
        let [word, ..] = directive.tokens.as_slice() else { continue };
        let names = block.transfers.iter().filter_map(|transfer| transfer.notify_key.as_deref());
        for name in names.filter(|name| !has_key(name)) {
            let token =
                directive.tokens.iter().find(|token| zone::normalize(&token.text).is_ok_and(|text| text == name));
            let error =
                Diagnostic::parsing(&token.unwrap_or(word).place, format_args!("no secret of tsig is named {name}"));
            report.error(error.from_plugin(NAME).hint("it is written in a server block: tsig { secret NAME KEY }"));
        }
        let served = block.kubernetes.as_ref().map_or(&[][..], |view| &view.zones);
        for transfer in &block.transfers {
            let meets = |zone: &String| transfer.zones.iter().any(|of| zone::is_below(zone, of));
            if !served.iter().any(meets) && report.errors.is_empty() {
                report.warn(word, "transfer names no zone of this block's kubernetes: there is nothing to transfer");
            }
        }
    }
}
