//! `bind ADDRESS|INTERFACE... { except ADDRESS|INTERFACE... }`

use std::net::IpAddr;

use super::machine::Machine;
use super::reader::Reader;
use super::report::Report;
use crate::corefile::{Token, did_you_mean};

/// The addresses of all lines, in order, or `None` if there was an error.
pub(super) fn check(mut reader: Reader<'_>, machine: &dyn Machine, report: &mut Report) -> Option<Vec<IpAddr>> {
    let errors_before = report.errors.len();
    let mut interfaces = Interfaces::new(machine);
    let mut all = Vec::new();
    let mut directive = None;
    while reader.next_line(report) {
        let name = reader.current();
        directive = directive.or(Some(name));
        let addresses = reader.remaining_args();
        if addresses.is_empty() {
            report.error(reader.bare_error(name, "at least one address or interface name is expected"));
        }
        let mut except = Vec::new();
        while let Some(option) = reader.next_option() {
            if option.text != "except" {
                let error = reader.bare_error(option, format_args!("invalid option {:?}", option.text));
                report.error(error.hint("bind has the option except"));
                reader.give_up();
                continue;
            }
            // As in CoreDNS, the last such line holds.
            let names = reader.remaining_args();
            if names.is_empty() {
                let message = "at least one address or interface must be given to except subdirective";
                report.error(reader.bare_error(option, message));
            }
            except = names.iter().flat_map(|name| interfaces.resolve(name, &reader, report)).collect();
        }
        all.extend(
            addresses
                .iter()
                .flat_map(|address| interfaces.resolve(address, &reader, report))
                .filter(|address| !except.contains(address)),
        );
    }
    if report.errors.len() > errors_before {
        return None;
    }
    if let (true, Some(name)) = (all.is_empty(), directive) {
        // CoreDNS starts and listens nowhere; here no addresses would mean all of them.
        report.error(reader.bare_error(name, "no address is left to listen on"));
        return None;
    }
    Some(all)
}

/// The machine's interfaces, asked for when the first name is not an address.
struct Interfaces<'a> {
    machine: &'a dyn Machine,
    known: Option<Vec<(String, IpAddr)>>,
}

impl<'a> Interfaces<'a> {
    fn new(machine: &'a dyn Machine) -> Self {
        Self { machine, known: None }
    }

    /// The addresses that a word of `bind` stands for. A word that is both is an interface, as in CoreDNS, but no
    /// system lets an interface be named like an address.
    fn resolve(&mut self, word: &Token, reader: &Reader<'_>, report: &mut Report) -> Vec<IpAddr> {
        if let Ok(address) = word.text.parse::<IpAddr>() {
            return vec![address.to_canonical()];
        }
        let known = match self.known.take() {
            Some(known) => known,
            None => self.machine.interfaces().unwrap_or_else(|error| {
                report.warn(word, format_args!("cannot list the network interfaces: {error}"));
                Vec::new()
            }),
        };
        let (mut addresses, mut found) = (Vec::new(), false);
        for (_, address) in known.iter().filter(|(name, _)| *name == word.text) {
            found = true;
            match address {
                // To listen on one takes the interface's number, which an address alone does not carry.
                IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                    report.warn(word, format_args!("the link-local address {v6} of {} is left out", word.text));
                }
                _ => addresses.push(*address),
            }
        }
        if !found {
            let message = format_args!("not a valid IP address or interface name: {:?}", word.text);
            let mut error = reader.bare_error(word, message);
            if let Some(name) = did_you_mean(&word.text, known.iter().map(|(name, _)| name.as_str())) {
                error = error.hint(format!("did you mean '{name}'?"));
            }
            if word.text.parse::<std::net::SocketAddr>().is_ok() {
                error = error.hint("the port belongs to the keys of the server block, as in 'cluster.local:1053'");
            }
            report.error(error);
        }
        self.known = Some(known);
        addresses
    }
}
