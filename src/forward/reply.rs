//! What comes back, and whether it is an answer to what was asked (RFC 5452 section 9.1).

use super::letters::Letters;
use crate::answer::query::{HEADER_OCTETS, bits, parse_record, rtype, skip_question};

/// A question, as it stands in the query of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'q> {
    /// The query. The ID that it is sent with is another.
    pub(super) query: &'q [u8],
    /// Where its question ends.
    end: usize,
    /// Its letters may be written in either case.
    pub(super) may_turn: bool,
    /// Any answer will do.
    is_check: bool,
}

/// What a message is to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// The answer.
    Right,
    /// An answer, but for the case of letters.
    OtherLetters,
    /// Nothing.
    Wrong,
}

/// An answer that can be read.
#[derive(Debug)]
pub(super) struct Reply {
    /// The message, with the client's letters.
    pub(super) message: Vec<u8>,
    /// Its code, the upper bits of EDNS included.
    pub(super) rcode: u16,
}

impl<'q> Question<'q> {
    /// That of a query; `None` if it has none.
    pub(super) fn of(query: &'q [u8], is_signed: bool) -> Option<Self> {
        let end = skip_question(query, HEADER_OCTETS)?;
        Some(Self { query, end, may_turn: !is_signed, is_check: false })
    }

    /// That of a health check, which asks whether somebody is there.
    pub(super) fn of_check(query: &'q [u8]) -> Option<Self> {
        Some(Self { may_turn: false, is_check: true, ..Self::of(query, false)? })
    }

    /// Where its name ends.
    pub(super) fn name_end(&self) -> usize {
        self.end - 4
    }

    /// Whether a message answers what was sent with this ID and these letters. Where they were kept, any case will do.
    pub(super) fn fits(&self, id: u16, letters: Letters, message: &[u8]) -> Fit {
        let Some(header) = message.first_chunk::<HEADER_OCTETS>() else { return Fit::Wrong };
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let opcode = self.query.get(2..4).map_or(0, |flags| u16::from_be_bytes([flags[0], flags[1]])) & bits::OPCODE;
        if word(0) != id || word(2) & bits::QR == 0 {
            return Fit::Wrong;
        }
        if self.is_check {
            return Fit::Right;
        }
        if word(2) & bits::OPCODE != opcode || word(4) != 1 {
            return Fit::Wrong;
        }
        let Some(theirs) = message.get(HEADER_OCTETS..self.end) else { return Fit::Wrong };
        let ours = self.query.get(HEADER_OCTETS..self.end).unwrap_or_default();
        let (name, kind) = ours.split_at(ours.len() - 4);
        let (their_name, their_kind) = theirs.split_at(name.len());
        if kind != their_kind || !name.eq_ignore_ascii_case(their_name) {
            return Fit::Wrong;
        }
        let mut sent = name.iter().enumerate().map(|(at, octet)| letters.turned(at, *octet));
        let is_same = letters == Letters::KEPT || their_name.iter().all(|octet| sent.next() == Some(*octet));
        if is_same { Fit::Right } else { Fit::OtherLetters }
    }

    /// Reads a message that fits, and gives the client's letters back to it; `None` if it cannot be read.
    pub(super) fn read(&self, mut message: Vec<u8>, letters: Letters) -> Option<Reply> {
        let header = message.first_chunk::<HEADER_OCTETS>()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (answers, authority, additional) = (word(6), word(8), word(10));
        let mut rcode = word(2) & 0xf;
        let name_octets = self.name_end() - HEADER_OCTETS;
        let mut at = self.end;
        for index in 0..u32::from(answers) + u32::from(authority) + u32::from(additional) {
            let record = parse_record(&message, at)?;
            let (end, class_at) = (record.end, record.class_at);
            if record.rtype == rtype::OPT && index >= u32::from(answers) + u32::from(authority) {
                rcode |= u16::try_from(record.ttl >> 24).unwrap_or_default() << 4;
            }
            // A server that does not compress repeats the name as it was asked.
            if letters != Letters::KEPT && class_at - 2 - at == name_octets {
                let (question, records) = message.split_at_mut(at);
                let owner = records.get_mut(..name_octets)?;
                if question.get(HEADER_OCTETS..self.name_end()) == Some(&*owner) {
                    owner.copy_from_slice(self.query.get(HEADER_OCTETS..self.name_end())?);
                }
            }
            at = end;
        }
        message.get_mut(HEADER_OCTETS..self.end)?.copy_from_slice(self.query.get(HEADER_OCTETS..self.end)?);
        Some(Reply { message, rcode })
    }
}

impl Reply {
    /// Whether it says that it is cut.
    pub(super) fn is_cut(&self) -> bool {
        self.message.get(2).is_some_and(|flags| flags & 0x02 != 0)
    }

    /// Whether it has no answer, and no code that says why.
    pub(super) fn is_empty(&self) -> bool {
        self.rcode == 0 && self.message.get(6..8) == Some(&[0, 0])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ID: u16 = 0x1234;

    fn message(flags: u16, counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
        let words = [ID, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes);
        words.chain(rest.iter().copied()).collect()
    }

    fn query() -> Vec<u8> {
        message(0x0100, [1, 0, 0, 0], b"\x03wWw\x07example\0\0\x01\0\x01")
    }

    #[test]
    fn what_differs_in_anything_does_not_fit() {
        let query = query();
        let question = Question::of(&query, false).unwrap();
        let letters = Letters::KEPT;
        let right = b"\x03www\x07EXAMPLE\0\0\x01\0\x01";
        let cases = [
            (message(0x8180, [1, 0, 0, 0], right), Fit::Right),
            (message(0x8583, [1, 0, 0, 0], right), Fit::Right),
            // A query, another opcode, no question, two questions.
            (message(0x0180, [1, 0, 0, 0], right), Fit::Wrong),
            (message(0xa180, [1, 0, 0, 0], right), Fit::Wrong),
            (message(0x8180, [0, 0, 0, 0], right), Fit::Wrong),
            (message(0x8180, [2, 0, 0, 0], right), Fit::Wrong),
            // Another name, a longer one, another type, another class, less than a question.
            (message(0x8180, [1, 0, 0, 0], b"\x03wwx\x07example\0\0\x01\0\x01"), Fit::Wrong),
            (message(0x8180, [1, 0, 0, 0], b"\x03www\x07example\x01x\0\0\x01\0\x01"), Fit::Wrong),
            (message(0x8180, [1, 0, 0, 0], b"\x03www\x07example\0\0\x1c\0\x01"), Fit::Wrong),
            (message(0x8180, [1, 0, 0, 0], b"\x03www\x07example\0\0\x01\0\x03"), Fit::Wrong),
            (message(0x8180, [1, 0, 0, 0], &right[..12]), Fit::Wrong),
            (message(0x8180, [1, 0, 0, 0], &[]), Fit::Wrong),
            (Vec::new(), Fit::Wrong),
        ];
        for (message, fit) in cases {
            assert_eq!(question.fits(ID, letters, &message), fit, "{message:02x?}");
            assert_eq!(question.fits(ID ^ 1, letters, &message), Fit::Wrong, "{message:02x?}");
        }
        let check = Question::of_check(&query).unwrap();
        assert_eq!(check.fits(ID, letters, &message(0x8185, [0; 4], &[])), Fit::Right, "a check is content with less");
        assert_eq!(check.fits(ID ^ 1, letters, &message(0x8185, [0; 4], &[])), Fit::Wrong);
    }

    #[test]
    fn letters_must_be_those_that_were_sent_and_come_back_as_they_were() {
        let query = query();
        let question = Question::of(&query, false).unwrap();
        let letters = std::iter::repeat_with(Letters::random)
            .find(|letters| (1..4).any(|at| letters.turned(at, b'w') != b'w'))
            .unwrap();
        let mut sent = query.clone();
        letters.turn(&mut sent, question.name_end());
        // An answer that repeats the name, one that points to it, and one of another owner in its own letters.
        let (name, data) = (&sent[12..25], [0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        let own = b"\x03WWW\x07EXAMPLE\0";
        let records = [name, &data, &[0xc0, 12], &data, own, &data].concat();
        let answer = message(0x8180, [1, 3, 0, 0], &[&sent[12..], &records[..]].concat());
        assert_eq!(question.fits(ID, letters, &answer), Fit::Right);
        let mut other = answer.clone();
        other[13] ^= 0x20;
        assert_eq!(question.fits(ID, letters, &other), Fit::OtherLetters);
        let reply = question.read(answer, letters).unwrap();
        assert_eq!(reply.message[12..29], query[12..]);
        assert_eq!(reply.message[29..42], query[12..25]);
        assert!(reply.message.windows(own.len()).any(|octets| octets == own));
        assert!(!reply.is_empty() && !reply.is_cut());
    }

    #[test]
    fn what_ends_early_cannot_be_read() {
        let query = query();
        let question = Question::of(&query, false).unwrap();
        let opt = [0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0];
        let whole = message(0x8186, [1, 0, 0, 1], &[&query[12..], &opt].concat());
        let reply = question.read(whole.clone(), Letters::KEPT).unwrap();
        assert_eq!((reply.rcode, reply.is_empty()), (22, false), "six, and sixteen of EDNS");
        assert!((HEADER_OCTETS..whole.len()).all(|end| question.read(whole[..end].to_vec(), Letters::KEPT).is_none()));
    }
}
