//! `acl [ZONES...] { ACTION [type QTYPE...] [net SOURCE...] }`

use std::net::IpAddr;

use super::reader::Reader;
use super::record_types::{TYPES, number_of};
use super::report::Report;
use super::zone::zones;
use super::{AclAction, AclPolicy, AclRule, ZoneKey};
use crate::corefile::{Diagnostic, Token, did_you_mean};

const ACTIONS: [(&str, AclAction); 4] = [
    ("allow", AclAction::Allow),
    ("block", AclAction::Block),
    ("filter", AclAction::Filter),
    ("drop", AclAction::Drop),
];
const SECTIONS: [&str; 2] = ["type", "net"];

/// Reads all lines; each is a rule.
pub(super) fn check(mut reader: Reader<'_>, keys: &[ZoneKey], report: &mut Report) -> Vec<AclRule> {
    let mut rules = Vec::new();
    while reader.next_line(report) {
        let zones = zones(&mut reader, keys, report);
        let mut policies = Vec::new();
        while let Some(word) = reader.next_option() {
            let action = ACTIONS.iter().find(|(name, _)| word.text.eq_ignore_ascii_case(name));
            let Some((_, action)) = action else {
                let message =
                    format_args!("unexpected token {:?}; expect 'allow', 'block', 'filter' or 'drop'", word.text);
                let error = reader.error_at(word, message);
                report.error(match did_you_mean(&word.text, ACTIONS.map(|(name, _)| name)) {
                    Some(known) => error.hint(format!("did you mean '{known}'?")),
                    None => error,
                });
                reader.give_up();
                break;
            };
            match policy(*action, reader.remaining_args(), &reader) {
                Ok(policy) => policies.push(policy),
                Err(error) => report.error(*error),
            }
        }
        rules.push(AclRule { zones, policies });
    }
    rules
}

fn policy(action: AclAction, mut words: &[Token], reader: &Reader<'_>) -> Result<AclPolicy, Box<Diagnostic>> {
    let (mut types, mut networks) = (Named::NONE, Named::NONE);
    while let [section, rest @ ..] = words {
        if !is_section(section) {
            let message = format_args!("unexpected token {:?}; expect 'type | net'", section.text);
            return Err(reader.error_at(section, message).hint("it is written: block type A net 10.0.0.0/8").into());
        }
        let end = rest.iter().position(is_section).unwrap_or(rest.len());
        let (own, next) = rest.split_at(end);
        words = next;
        if own.is_empty() {
            let name = section.text.to_lowercase();
            return Err(reader.error_at(section, format_args!("no token specified in {name:?} section")).into());
        }
        if section.text.eq_ignore_ascii_case("type") {
            types.add(own, |word| record_type(word, reader))?;
        } else {
            networks.add(own, |word| network(word, reader))?;
        }
    }
    Ok(AclPolicy { action, types: types.some(), networks: networks.some() })
}

/// What a line names of one sort, over all of its sections.
struct Named<T> {
    each: Option<Vec<T>>,
    /// `*` is among them.
    all: bool,
}

impl<T> Named<T> {
    const NONE: Self = Self { each: None, all: false };

    /// What stands behind a `*` is not read.
    fn add<E>(&mut self, words: &[Token], read: impl Fn(&Token) -> Result<T, E>) -> Result<(), E> {
        let each = self.each.get_or_insert_default();
        for word in words {
            if word.text == "*" {
                self.all = true;
                break;
            }
            each.push(read(word)?);
        }
        Ok(())
    }

    /// Those that it is about; `None` is all.
    fn some(self) -> Option<Vec<T>> {
        self.each.filter(|_| !self.all)
    }
}

fn is_section(word: &Token) -> bool {
    SECTIONS.iter().any(|section| word.text.eq_ignore_ascii_case(section))
}

fn record_type(word: &Token, reader: &Reader<'_>) -> Result<u16, Box<Diagnostic>> {
    let find = |text: &str| number_of(&TYPES, text);
    find(&word.text).ok_or_else(|| {
        let error = reader.error_at(word, format_args!("unexpected token {:?}; expect legal QTYPE", word.text));
        let upper = word.text.to_uppercase();
        match find(&upper) {
            Some(_) => error.hint(format!("it is written in capitals: {upper}")).into(),
            None => error.into(),
        }
    })
}

/// An address, or a range of them.
fn network(word: &Token, reader: &Reader<'_>) -> Result<(IpAddr, u8), Box<Diagnostic>> {
    let (address, prefix) = word.text.split_once('/').map_or((word.text.as_str(), None), |(a, p)| (a, Some(p)));
    let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match prefix {
            None => most,
            Some(prefix) if prefix.bytes().all(|octet| octet.is_ascii_digit()) => prefix.parse().ok()?,
            Some(_) => return None,
        };
        (bits <= most).then_some((address, bits))
    });
    // CoreDNS writes the prefix of a single address itself.
    let written = match prefix {
        Some(_) => word.text.clone(),
        None if address.contains(':') => format!("{address}/128"),
        None => format!("{address}/32"),
    };
    parsed.ok_or_else(|| {
        let error = reader.error_at(word, format_args!("illegal CIDR notation {written:?}"));
        error.hint("it is written: 10.0.0.0/8, 2001:db8::/32, or an address").into()
    })
}
