//! Query lines (`log`) and failures (`errors`), as CoreDNS writes them (plugin/log, plugin/pkg/replacer).

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::{DNSClass, RecordType};

use super::failures::Failures;
use super::kind::Kind;
use super::lines::{QUERY_TARGET, is_json};
use super::metadata::Metadata;
use crate::answer::query::bits;
use crate::answer::{Answered, Folded, Rcode, Transport};
use crate::config::{Errors, LogClasses, LogRule};
use crate::net::Exchange;
use crate::zone::Name;
use crate::zone::name::write_text;

/// What stands where a line has nothing to say.
const EMPTY: &str = "-";
/// The payload limit of TCP, as CoreDNS reports it.
const TCP_OCTETS: u16 = u16::MAX;

/// What one server block logs.
#[derive(Debug, Default)]
pub struct BlockLog {
    /// `errors`
    failures: Option<Failures>,
    rules: Vec<Rule>,
    /// `metadata`
    metadata: Option<Metadata>,
}

#[derive(Debug)]
struct Rule {
    below: Name,
    classes: LogClasses,
    format: Vec<Piece>,
}

/// The log of all blocks that a listener serves, by [`Block::id`](crate::answer::Block::id).
#[derive(Debug)]
pub struct QueryLog {
    /// By their ids. All listeners share them, so that what is gathered of a block is gathered once.
    pub blocks: Arc<[BlockLog]>,
    /// The address that it listens on.
    pub local: IpAddr,
}

impl BlockLog {
    /// A block's log; a rule whose name is no name logs nothing, as nothing is below it.
    pub fn new(errors: Option<&Errors>, rules: &[LogRule], metadata: Option<Metadata>) -> Self {
        let rule = |rule: &LogRule| {
            let below = Name::parse(&rule.name)?;
            Some(Rule { below, classes: rule.classes, format: pieces(&rule.format) })
        };
        Self { failures: errors.map(Failures::new), rules: rules.iter().filter_map(rule).collect(), metadata }
    }
}

impl QueryLog {
    /// Whether anything may be logged.
    pub fn is_watching(&self) -> bool {
        self.blocks.iter().any(|block| block.failures.is_some() || !block.rules.is_empty())
    }

    /// Logs an answer, where its block wants that.
    pub fn answered(&self, exchange: &Exchange<'_>, answered: &Answered<'_>) {
        let Some(block) = answered.block.and_then(|block| self.blocks.get(block)) else { return };
        // Most blocks log failures only, and most queries do not fail.
        if block.rules.is_empty() && !(block.failures.is_some() && answered.failure.is_some()) {
            return;
        }
        let Some(question) = &answered.query.question else { return };
        let Some(name) = text_of(Folded::new(question.name).as_wire()) else { return };
        if let (Some(failure), Some(failures)) = (&answered.failure, &block.failures) {
            let (rcode, rtype) = (answered.rcode.0, type_name(question.qtype));
            failures.tell(&format!("{rcode} {name} {rtype}: {failure}"), failure);
        }
        let Some(parsed) = Name::parse(name.trim_end_matches('.')).or_else(|| Name::parse(".")) else { return };
        let Some(rule) = block.rules.iter().find(|rule| parsed.is_within(&rule.below)) else { return };
        let kind = Kind::of(exchange, answered);
        if is_logged(rule.classes, kind) {
            let metadata = block.metadata.as_ref();
            let line = Line { exchange, answered, name: &name, parsed: &parsed, kind, metadata, local: self.local };
            let mut text = String::new();
            if is_json() {
                text = line.to_json().to_string();
            } else {
                // Writing to a string cannot fail.
                let _ = line.write(&mut text, &rule.format);
            }
            tracing::info!(target: QUERY_TARGET, "{text}");
        }
    }
}

fn text_of(wire: &[u8]) -> Option<String> {
    let mut text = String::new();
    write_text(&mut text, wire).ok()?;
    text.push('.');
    Some(text)
}

/// Whether answers of a kind are logged.
fn is_logged(classes: LogClasses, kind: Kind) -> bool {
    classes.all
        || match kind.class() {
            "success" => classes.success,
            "denial" => classes.denial,
            _ => classes.error,
        }
}

/// A piece of a line's format.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Value),
    /// What `metadata` knows under a label.
    Metadata(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Type,
    Name,
    Class,
    Proto,
    Size,
    Remote,
    Port,
    Id,
    Opcode,
    Do,
    Bufsize,
    Rcode,
    Rsize,
    Duration,
    Rflags,
    Local,
}

/// Cuts a format at its `{placeholders}`; what is none stays as it stands.
fn pieces(format: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(end) = rest.find('}') {
        let (head, tail) = rest.split_at(end + 1);
        let found = head.rfind('{').and_then(|start| Some((start, placeholder(head.get(start..)?)?)));
        match found {
            Some((start, piece)) => {
                pieces.push(Piece::Text(head[..start].to_owned()));
                pieces.push(piece);
            }
            None => pieces.push(Piece::Text(head.to_owned())),
        }
        rest = tail;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    pieces
}

fn placeholder(text: &str) -> Option<Piece> {
    if let Some(label) = text.strip_prefix("{/").and_then(|rest| rest.strip_suffix('}')) {
        return Some(Piece::Metadata(label.to_owned()));
    }
    Some(Piece::Value(match text {
        "{type}" => Value::Type,
        "{name}" => Value::Name,
        "{class}" => Value::Class,
        "{proto}" => Value::Proto,
        "{size}" => Value::Size,
        "{remote}" => Value::Remote,
        "{port}" => Value::Port,
        "{>id}" => Value::Id,
        "{>opcode}" => Value::Opcode,
        "{>do}" => Value::Do,
        "{>bufsize}" => Value::Bufsize,
        "{rcode}" => Value::Rcode,
        "{rsize}" => Value::Rsize,
        "{duration}" => Value::Duration,
        "{>rflags}" => Value::Rflags,
        "{local}" => Value::Local,
        _ => return None,
    }))
}

struct Line<'a> {
    exchange: &'a Exchange<'a>,
    answered: &'a Answered<'a>,
    name: &'a str,
    parsed: &'a Name,
    kind: Kind,
    metadata: Option<&'a Metadata>,
    local: IpAddr,
}

/// Every value, under CoreDNS's name for it.
const JSON_NAMES: [(&str, Value); 16] = [
    ("local", Value::Local),
    ("remote", Value::Remote),
    ("port", Value::Port),
    ("id", Value::Id),
    ("opcode", Value::Opcode),
    ("type", Value::Type),
    ("class", Value::Class),
    ("name", Value::Name),
    ("proto", Value::Proto),
    ("size", Value::Size),
    ("do", Value::Do),
    ("bufsize", Value::Bufsize),
    ("rcode", Value::Rcode),
    ("rflags", Value::Rflags),
    ("rsize", Value::Rsize),
    ("duration", Value::Duration),
];

impl Line<'_> {
    /// All values, whatever the format says; the duration in seconds.
    fn to_json(&self) -> serde_json::Value {
        let value = |value: Value| {
            let mut text = String::new();
            let _ = self.write_value(&mut text, value);
            match value {
                Value::Duration => self.exchange.took.as_secs_f64().into(),
                Value::Do => (text == "true").into(),
                Value::Port | Value::Id | Value::Opcode | Value::Size | Value::Bufsize | Value::Rsize => {
                    text.parse::<u64>().map_or(serde_json::Value::Null, Into::into)
                }
                _ => text.into(),
            }
        };
        JSON_NAMES.into_iter().map(|(name, of)| (name.to_owned(), value(of))).collect::<serde_json::Map<_, _>>().into()
    }

    fn write(&self, out: &mut String, format: &[Piece]) -> fmt::Result {
        for piece in format {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value(value) => self.write_value(out, *value)?,
                Piece::Metadata(label) => {
                    let (name, client) = ((self.name, self.parsed), self.exchange.client.ip());
                    let value = self.metadata.and_then(|known| known.value(label, name, client, self.kind));
                    out.push_str(value.as_deref().unwrap_or(EMPTY));
                }
            }
        }
        Ok(())
    }

    fn write_value(&self, out: &mut String, value: Value) -> fmt::Result {
        let query = &self.answered.query;
        let question = query.question.as_ref();
        match value {
            Value::Type => out.write_str(&type_name(question.map_or(0, |question| question.qtype))),
            Value::Name => out.write_str(self.name),
            Value::Class => out.write_str(&class_name(question.map_or(0, |question| question.qclass))),
            Value::Proto => out.write_str(match self.exchange.transport {
                Transport::Udp => "udp",
                Transport::Tcp => "tcp",
            }),
            Value::Size => write!(out, "{}", query.octets),
            Value::Remote => write_address(out, self.exchange.client.ip()),
            Value::Local => write_address(out, self.local),
            Value::Port => write!(out, "{}", self.exchange.client.port()),
            Value::Id => write!(out, "{}", query.id),
            Value::Opcode => write!(out, "{}", query.opcode()),
            Value::Do => write!(out, "{}", query.edns.is_some_and(|edns| edns.dnssec_ok)),
            Value::Bufsize => write!(
                out,
                "{}",
                match self.exchange.transport {
                    Transport::Tcp => TCP_OCTETS,
                    Transport::Udp => query.edns.map_or(0, |edns| edns.payload_octets).max(512),
                }
            ),
            Value::Rcode => out.write_str(&rcode_name(self.answered.rcode)),
            Value::Rsize => write!(out, "{}", self.exchange.response.len()),
            Value::Duration => write!(out, "{}s", self.exchange.took.as_secs_f64()),
            Value::Rflags if self.exchange.response.is_empty() => out.write_str(EMPTY),
            Value::Rflags => out.write_str(&flag_names(self.answered.flags)),
        }
    }
}

/// An address as it stands in a URL (RFC 3986 section 3.2.2).
fn write_address(out: &mut String, address: IpAddr) -> fmt::Result {
    match address {
        IpAddr::V4(address) => write!(out, "{address}"),
        IpAddr::V6(address) => write!(out, "[{address}]"),
    }
}

fn type_name(rtype: u16) -> String {
    match RecordType::from(rtype) {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        known => known.to_string(),
    }
}

fn class_name(class: u16) -> String {
    match DNSClass::from(class) {
        DNSClass::IN => "IN".into(),
        DNSClass::CH => "CH".into(),
        DNSClass::HS => "HS".into(),
        DNSClass::NONE => "NONE".into(),
        DNSClass::ANY => "ANY".into(),
        _ => format!("CLASS{class}"),
    }
}

fn rcode_name(rcode: Rcode) -> String {
    match rcode {
        Rcode::NOERROR => "NOERROR".into(),
        Rcode::FORMERR => "FORMERR".into(),
        Rcode::SERVFAIL => "SERVFAIL".into(),
        Rcode::NXDOMAIN => "NXDOMAIN".into(),
        Rcode::NOTIMP => "NOTIMP".into(),
        Rcode::REFUSED => "REFUSED".into(),
        Rcode::BADVERS => "BADVERS".into(),
        Rcode(other) => other.to_string(),
    }
}

fn flag_names(flags: u16) -> String {
    let names = [
        (bits::QR, "qr"),
        (bits::AA, "aa"),
        (bits::TC, "tc"),
        (bits::RD, "rd"),
        (bits::RA, "ra"),
        (bits::AD, "ad"),
        (bits::CD, "cd"),
    ];
    let set: Vec<&str> = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    set.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_cut_at_its_placeholders_and_keeps_what_is_none() {
        let text = |text: &str| Piece::Text(text.into());
        assert_eq!(
            pieces("a {type} { b} {name}!"),
            vec![text("a "), Piece::Value(Value::Type), text(" { b}"), text(" "), Piece::Value(Value::Name), text("!")]
        );
    }

    #[test]
    fn flags_and_unknown_types_have_coredns_names() {
        assert_eq!(flag_names(bits::QR | bits::AA | bits::RD), "qr,aa,rd");
        assert_eq!(type_name(65_400), "TYPE65400");
        assert_eq!(type_name(33), "SRV");
    }
}
