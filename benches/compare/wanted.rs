//! A question in wire form with what is right to answer, made so that the check of an answer costs little.

use crate::queries::{Expected, Question};
use crate::support::dns;
use std::net::Ipv4Addr;

const HEADER_OCTETS: usize = 12;
const QUESTION_TAIL_OCTETS: usize = 4;
const ADDRESSES_MAX: usize = 16;

/// How closely answers are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// ID and question come back: all that an echo can do.
    Echoed,
    /// The answer of the cluster as it was made.
    Exact,
    /// That, or the answer after the slice in question was updated; nothing between.
    OldOrNew,
}

#[derive(Debug)]
pub(crate) struct Wanted {
    /// The query; its ID is any.
    pub(crate) query: Vec<u8>,
    /// Where the question ends.
    end: usize,
    /// Any of these is right; all are, if there is none.
    right: Vec<Right>,
}

#[derive(Debug, PartialEq, Eq)]
struct Right {
    rcode: u8,
    /// Records in the answer section.
    answers: u16,
    /// The A records' addresses, of all sections, sorted.
    addresses: Vec<Ipv4Addr>,
}

impl Wanted {
    pub(crate) fn new(question: &Question, rule: Rule) -> Self {
        let query = question.query().to_bytes();
        let end = HEADER_OCTETS + name_octets(&query[HEADER_OCTETS..]) + QUESTION_TAIL_OCTETS;
        let mut right: Vec<_> = match rule {
            Rule::Echoed => vec![],
            Rule::Exact => vec![Right::of(&question.expected)],
            Rule::OldOrNew => [&question.expected, &question.churned].map(Right::of).into(),
        };
        right.dedup();
        Self { query, end, right }
    }

    /// Whether an answer is a response to the question, and a right one. Its ID was looked at before.
    pub(crate) fn is_met_by(&self, answer: &[u8]) -> bool {
        let is_response = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
        if !is_response || answer.get(HEADER_OCTETS..self.end) != self.query.get(HEADER_OCTETS..self.end) {
            return false;
        }
        if self.right.is_empty() {
            return true;
        }
        let mut room = [Ipv4Addr::UNSPECIFIED; ADDRESSES_MAX];
        let Some(count) = addresses(answer, self.end, &mut room) else { return false };
        let addresses = &mut room[..count];
        addresses.sort_unstable();
        let (rcode, answers) = (answer[3] & 0xf, word(answer, 6));
        self.right
            .iter()
            .any(|right| right.rcode == rcode && Some(right.answers) == answers && right.addresses == *addresses)
    }
}

impl Right {
    fn of(expected: &Expected) -> Self {
        let rcode = if *expected == Expected::NxDomain { dns::NXDOMAIN } else { dns::NOERROR };
        let addresses = match expected {
            Expected::Addresses(addresses) | Expected::Targets(addresses) => addresses.clone(),
            Expected::NxDomain | Expected::NoData => Vec::new(),
        };
        Self { rcode: rcode as u8, answers: addresses.len() as u16, addresses }
    }
}

/// Reads the A records of a message whose question ends at `at`; how many there are, if the message is whole.
fn addresses(message: &[u8], mut at: usize, found: &mut [Ipv4Addr]) -> Option<usize> {
    let mut count = 0;
    for _ in 0..word(message, 6)? + word(message, 8)? + word(message, 10)? {
        at += name_octets(message.get(at..)?);
        let rtype = word(message, at)?;
        let octets = usize::from(word(message, at + 8)?);
        let data = message.get(at + 10..at + 10 + octets)?;
        if rtype == dns::A {
            *found.get_mut(count)? = Ipv4Addr::from(*data.first_chunk::<4>()?);
            count += 1;
        }
        at += 10 + octets;
    }
    (at == message.len()).then_some(count)
}

/// Octets of a name that may end in a pointer.
fn name_octets(octets: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match octets.get(at) {
            Some(0) | None => return at + 1,
            Some(192..) => return at + 2,
            Some(length) => at += 1 + usize::from(*length),
        }
    }
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}
