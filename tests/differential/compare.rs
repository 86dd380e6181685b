//! What has to be equal in two servers' answers, and what differs.

use std::collections::BTreeSet;

use crate::ask::{Answers, Outcome};
use crate::questions::Question;
use crate::support::dns::{self, Message, Opt, Record};
use crate::support::dns_text::wire_name_text;

/// A part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Aspect {
    /// One answered and the other did not, or gave bytes that are no message.
    Outcome,
    Rcode,
    /// Every flag but TC, and the opcode.
    Flags,
    Tc,
    Question,
    Opt,
    Answer,
    Authority,
    Additional,
    /// Records of the answer under the question's name keep the question's case.
    Case,
    /// Counts of the header, bytes after the message, a second OPT.
    Form,
}

impl Aspect {
    pub(crate) const ALL: [(&'static str, Self); 11] = [
        ("outcome", Self::Outcome),
        ("rcode", Self::Rcode),
        ("flags", Self::Flags),
        ("tc", Self::Tc),
        ("question", Self::Question),
        ("opt", Self::Opt),
        ("answer", Self::Answer),
        ("authority", Self::Authority),
        ("additional", Self::Additional),
        ("case", Self::Case),
        ("form", Self::Form),
    ];
}

/// Over which transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// What differs over each transport where something does.
pub(crate) fn differences(question: &Question, ours: &Answers, theirs: &Answers) -> Vec<(Transport, BTreeSet<Aspect>)> {
    let udp = outcomes(question, &ours.udp, &theirs.udp, theirs.tcp.answer());
    let tcp = outcomes(question, &ours.tcp, &theirs.tcp, None);
    let both = [(Transport::Udp, udp), (Transport::Tcp, tcp)];
    both.into_iter().filter(|(_, aspects)| !aspects.is_empty()).collect()
}

fn outcomes(question: &Question, ours: &Outcome, theirs: &Outcome, full: Option<&Message>) -> BTreeSet<Aspect> {
    match (ours, theirs) {
        (Outcome::Answer(ours), Outcome::Answer(theirs)) => messages(question, ours, theirs, full),
        (Outcome::Silence, Outcome::Silence) => BTreeSet::new(),
        _ => BTreeSet::from([Aspect::Outcome]),
    }
}

/// `full` is what the reference gives without a limit of size.
fn messages(question: &Question, ours: &Message, theirs: &Message, full: Option<&Message>) -> BTreeSet<Aspect> {
    const TC: u16 = 1 << 9;
    const RCODE: u16 = 0xf;
    let mut different = BTreeSet::new();
    let mut check = |aspect, same: bool| {
        if !same {
            different.insert(aspect);
        }
    };
    check(Aspect::Rcode, ours.rcode == theirs.rcode);
    check(Aspect::Flags, ours.flags & !(TC | RCODE) == theirs.flags & !(TC | RCODE));
    check(Aspect::Tc, ours.truncated() == theirs.truncated());
    check(Aspect::Question, ours.questions == theirs.questions);
    check(Aspect::Opt, options(ours) == options(theirs));
    check(Aspect::Form, ours.trailing == theirs.trailing && ours.opt_count == theirs.opt_count);
    check(Aspect::Case, case_is_kept(question, ours) || !case_is_kept(question, theirs));
    let sections = |it: &Message| [section(&it.answers), section(&it.authorities), section(&it.additionals)];
    let aspects = [Aspect::Answer, Aspect::Authority, Aspect::Additional];
    if ours.truncated() && theirs.truncated() {
        // Each may have chosen what to leave out, but has to say nothing else than the whole answer.
        if let Some(full) = full.filter(|it| !it.truncated()) {
            for ((aspect, ours), full) in aspects.into_iter().zip(sections(ours)).zip(sections(full)) {
                check(aspect, is_part(&ours, &full));
            }
        }
    } else {
        for ((aspect, ours), theirs) in aspects.into_iter().zip(sections(ours)).zip(sections(theirs)) {
            check(aspect, same_set(&ours, &theirs));
        }
    }
    different
}

/// The OPT record, with its options in one order.
fn options(message: &Message) -> Option<Opt> {
    let mut opt = message.opt.clone()?;
    // The rcode's upper bits are compared with the rcode.
    opt.extended_rcode = 0;
    opt.options.sort();
    Some(opt)
}

/// The records of a section in an order and form that does not depend on the server: names in lower case, as names
/// are compared without regard to case, and no serial, which is a time.
fn section(records: &[Record]) -> Vec<Record> {
    let mut records: Vec<Record> = records.iter().map(canonical).collect();
    records.sort();
    records
}

pub(crate) fn canonical(record: &Record) -> Record {
    let mut record = record.clone();
    record.owner.make_ascii_lowercase();
    if matches!(record.rtype, dns::NS | dns::CNAME | dns::SOA | dns::PTR | dns::MX | dns::SRV) {
        // Lengths of labels are below 64, thus no letters; the numbers in front and behind are left alone.
        let fixed = match record.rtype {
            dns::SRV => 6,
            dns::MX => 2,
            _ => 0,
        };
        let end = if record.rtype == dns::SOA { record.rdata.len().saturating_sub(20) } else { record.rdata.len() };
        if let Some(names) = record.rdata.get_mut(fixed..end) {
            names.make_ascii_lowercase();
        }
        if record.rtype == dns::SOA
            && let Some(serial) = record.rdata.get_mut(end..end + 4)
        {
            serial.fill(0);
        }
    }
    record
}

/// CoreDNS repeats some records (an endpoint's name, once for each port); nothing has to be repeated, nor may it be
/// where CoreDNS does not.
fn same_set(ours: &[Record], theirs: &[Record]) -> bool {
    is_part(ours, theirs) && theirs.iter().all(|it| ours.binary_search(it).is_ok())
}

fn is_part(part: &[Record], full: &[Record]) -> bool {
    let mut rest = full.iter();
    part.iter().all(|record| rest.any(|it| it == record))
}

/// Whether every answer under the question's name has it in the case that was asked.
fn case_is_kept(question: &Question, message: &Message) -> bool {
    let asked = wire_name_text(&dns_name(question));
    message.answers.iter().all(|it| !it.owner.eq_ignore_ascii_case(&asked) || it.owner == asked)
}

fn dns_name(question: &Question) -> Vec<u8> {
    crate::support::dns_text::parse_name(&question.query.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Shape;
    use crate::support::dns::Query;

    fn question() -> Question {
        Question { query: Query::new("Web.example.", dns::A), shape: Shape::Service }
    }

    fn message(flags: u16, addresses: &[u8]) -> Message {
        let question = question().query.to_bytes();
        let mut bytes = vec![0, 0];
        bytes.extend((0x8400 | flags).to_be_bytes());
        bytes.extend([0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
        bytes.extend(&question[12..]);
        for address in addresses {
            bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, *address]);
        }
        Message::decode(&bytes).expect("a message")
    }

    fn aspects(ours: &Message, theirs: &Message, full: Option<&Message>) -> Vec<Aspect> {
        messages(&question(), ours, theirs, full).into_iter().collect()
    }

    #[test]
    fn order_does_not_matter_but_records_do() {
        assert_eq!(aspects(&message(0, &[1, 2]), &message(0, &[2, 1]), None), []);
        assert_eq!(aspects(&message(0, &[1]), &message(0, &[2]), None), [Aspect::Answer]);
        assert_eq!(aspects(&message(0, &[1, 1]), &message(0, &[1]), None), [Aspect::Answer]);
        assert_eq!(aspects(&message(0, &[1]), &message(0, &[1, 1]), None), []);
        assert_eq!(aspects(&message(3, &[1]), &message(0, &[1]), None), [Aspect::Rcode]);
        assert_eq!(aspects(&message(0x80, &[1]), &message(0, &[1]), None), [Aspect::Flags]);
    }

    #[test]
    fn a_truncated_answer_is_a_part_of_the_whole_one() {
        let full = message(0, &[1, 2, 3]);
        assert_eq!(aspects(&message(0x200, &[3]), &message(0x200, &[1, 2]), Some(&full)), []);
        assert_eq!(aspects(&message(0x200, &[4]), &message(0x200, &[1]), Some(&full)), [Aspect::Answer]);
        assert_eq!(aspects(&message(0x200, &[3]), &full, Some(&full)), [Aspect::Tc, Aspect::Answer]);
    }

    #[test]
    fn an_owner_that_lost_the_questions_case_is_seen() {
        let mut ours = message(0, &[1]);
        ours.answers[0].owner = "web.example.".into();
        assert_eq!(aspects(&ours, &message(0, &[1]), None), [Aspect::Case]);
        assert_eq!(aspects(&message(0, &[1]), &ours, None), []);
    }

    #[test]
    fn targets_differ_by_more_than_case_and_weight() {
        let srv = |data: &[u8]| Record { owner: "a.".into(), rtype: dns::SRV, class: 1, ttl: 5, rdata: data.into() };
        assert_eq!(canonical(&srv(&[0, 0, 0, b'A', 0, 80, 1, b'W', 0])), srv(&[0, 0, 0, b'A', 0, 80, 1, b'w', 0]));
        assert_ne!(canonical(&srv(&[0, 0, 0, 1, 0, 80, 1, b'w', 0])), srv(&[0, 0, 0, 2, 0, 80, 1, b'w', 0]));
    }
}
