//! The differences that are meant, as `docs/differences.md` lists them.
//!
//! Each entry has a block that says exactly when it holds, in lines of `field = value | value` or `field != value`,
//! all of which must be true. The document is the list: the test reads it, so that neither can be without the other.

use std::collections::BTreeSet;

use crate::ask::Outcome;
use crate::cluster::{self, NAMED};
use crate::compare::{Aspect, Transport};
use crate::configurations::Configuration;
use crate::imports::HIDDEN;
use crate::questions::Question;
use crate::support::dns::{rcode_text, type_text};

const DOCUMENT: &str = include_str!("../../docs/differences.md");

/// One difference between two outcomes.
pub(crate) struct Difference<'a> {
    pub(crate) question: &'a Question,
    pub(crate) configuration: &'a Configuration,
    pub(crate) transport: Transport,
    pub(crate) aspects: &'a BTreeSet<Aspect>,
    pub(crate) ours: &'a Outcome,
    pub(crate) theirs: &'a Outcome,
}

/// An entry of the document.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    conditions: Vec<Condition>,
}

#[derive(Debug)]
struct Condition {
    field: String,
    negated: bool,
    values: Vec<String>,
}

/// The entries of the document.
pub(crate) fn entries() -> Vec<Entry> {
    parse(DOCUMENT).unwrap_or_else(|error| panic!("docs/differences.md: {error}"))
}

fn parse(document: &str) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut heading = None;
    let mut inside = false;
    for (number, line) in document.lines().enumerate() {
        let line = line.trim();
        match (inside, line) {
            (false, "```difference") => {
                let id: String =
                    heading.take().ok_or_else(|| format!("line {}: a block without a heading", number + 1))?;
                if entries.iter().any(|it| it.id == id) {
                    return Err(format!("line {}: {id} for the second time", number + 1));
                }
                entries.push(Entry { id, conditions: Vec::new() });
                inside = true;
            }
            (true, "```") => inside = false,
            (true, _) => {
                let condition = condition(line).ok_or_else(|| format!("line {}: {line}", number + 1))?;
                entries.last_mut().expect("an entry").conditions.push(condition);
            }
            (false, _) => {
                if let Some(id) = line.strip_prefix("## ") {
                    heading = Some(id.to_owned());
                }
            }
        }
    }
    match entries.iter().find(|it| it.conditions.iter().all(|condition| condition.field != "differs")) {
        Some(vague) => Err(format!("{} does not say what differs", vague.id)),
        None => Ok(entries),
    }
}

const FIELDS: [&str; 15] = [
    "qtype",
    "qname",
    "zone",
    "transport",
    "configuration",
    "multicluster",
    "differs",
    "coredns",
    "coredns.rcode",
    "coredns.answer",
    "podzone",
    "podzone.rcode",
    "podzone.answer",
    "edns",
    "tc",
];

fn condition(line: &str) -> Option<Condition> {
    let (field, values) = line.split_once('=')?;
    let negated = field.ends_with('!');
    let field = field.trim_end_matches('!').trim().to_owned();
    let values = values.split('|').map(|it| it.trim().to_owned()).collect();
    FIELDS.contains(&&*field).then_some(Condition { field, negated, values })
}

impl Entry {
    /// Whether this difference is the one that the entry describes.
    pub(crate) fn allows(&self, difference: &Difference<'_>) -> bool {
        self.conditions.iter().all(|it| it.holds(difference))
    }
}

impl Condition {
    fn holds(&self, difference: &Difference<'_>) -> bool {
        if self.field == "differs" {
            // Everything that differs is named.
            let named = |aspect: &Aspect| {
                Aspect::ALL.iter().any(|(name, it)| it == aspect && self.values.iter().any(|value| value == name))
            };
            return difference.aspects.iter().all(named);
        }
        let value = value(&self.field, difference);
        self.values.contains(&value) != self.negated
    }
}

fn value(field: &str, difference: &Difference<'_>) -> String {
    let (server, part) = match field.split_once('.') {
        Some((server, part)) => (server, part),
        None => (field, "outcome"),
    };
    match field {
        "qtype" => type_text(difference.question.query.rtype),
        "qname" => kind_of_name(difference).to_owned(),
        "zone" => {
            if split(difference).1.chars().any(|it| it.is_ascii_uppercase()) { "mixed case" } else { "lower case" }
                .to_owned()
        }
        "transport" => if difference.transport == Transport::Udp { "udp" } else { "tcp" }.to_owned(),
        "configuration" => difference.configuration.name.to_owned(),
        "multicluster" => {
            let zone = split(difference).1.to_ascii_lowercase();
            if difference.configuration.is_multicluster(&zone) { "yes" } else { "no" }.to_owned()
        }
        "edns" => if difference.question.query.edns.is_some() { "yes" } else { "no" }.to_owned(),
        "tc" => {
            let truncated = |it: &Outcome| it.answer().is_some_and(|it| it.truncated());
            if truncated(difference.ours) || truncated(difference.theirs) { "yes" } else { "no" }.to_owned()
        }
        _ => {
            let outcome = if server == "coredns" { difference.theirs } else { difference.ours };
            match (part, outcome) {
                ("outcome", Outcome::Answer(_)) => "answer".to_owned(),
                ("outcome", Outcome::Silence) => "silence".to_owned(),
                ("rcode", Outcome::Answer(message)) => rcode_text(message.rcode),
                ("answer", Outcome::Answer(message)) if message.answers.is_empty() => "empty".to_owned(),
                ("answer", Outcome::Answer(_)) => "some".to_owned(),
                _ => "none".to_owned(),
            }
        }
    }
}

/// The question's name in lower case, split before its zone, and the zone as asked.
fn split<'a>(difference: &'a Difference<'_>) -> (String, &'a str) {
    let name = difference.question.query.name.as_str();
    let lower = name.to_ascii_lowercase();
    let zones = difference.configuration.zones.iter().filter(|zone| lower.ends_with(*zone));
    let length = zones.map(|it| it.len()).max().unwrap_or(0);
    let (relative, zone) = name.split_at(name.len() - length);
    (relative.to_ascii_lowercase(), zone)
}

fn kind_of_name(difference: &Difference<'_>) -> &'static str {
    let (relative, zone) = split(difference);
    let ours = difference.ours.answer().map(|it| it.answers.as_slice()).unwrap_or_default();
    match &*relative {
        "" => "apex",
        "ns.dns." => "ns.dns",
        "dns-version." => "dns-version",
        _ if is_second_address_of_a_pod(&relative) => "second address of a pod",
        _ if relative.contains(&format!("{HIDDEN}.")) => "of an import that labels hide",
        _ if relative.contains(&format!("{NAMED}.")) => "of a service whose endpoints are names",
        _ if ours.iter().any(|it| it.owner.starts_with("ns.dns.")) => "alias of ns.dns",
        _ if zone.is_empty() && (relative.ends_with(".in-addr.arpa") || relative.ends_with(".ip6.arpa")) => "reverse",
        _ => "other",
    }
}

/// Whether a name below a zone is that of an address which a pod of its namespace has beside its first.
fn is_second_address_of_a_pod(relative: &str) -> bool {
    let mut labels = relative.trim_end_matches('.').rsplit('.');
    let (Some("pod"), Some(namespace), Some(label)) = (labels.next(), labels.next(), labels.next()) else {
        return false;
    };
    let separator = if label.matches('-').count() == 3 && !label.contains("--") { "." } else { ":" };
    let address = label.replace('-', separator).parse();
    address.is_ok_and(|address| cluster::is_second_address(address, namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_can_be_read() {
        assert!(!entries().is_empty());
    }

    #[test]
    fn an_entry_must_say_what_differs_in_known_words() {
        let block = |lines: &str| parse(&format!("## id\n\n```difference\n{lines}\n```\n")).map(|it| it.len());
        assert_eq!(block("qtype = NS | SOA\ndiffers = answer"), Ok(1));
        assert!(block("qtype = NS").is_err());
        assert!(block("colour = blue").is_err());
        assert!(block("no condition").is_err());
    }
}
