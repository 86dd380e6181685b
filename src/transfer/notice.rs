//! NOTIFY: that a zone has a new version (RFC 1996).

use std::sync::Arc;

use super::message::{Head, Writer};
use super::request::Served;
use crate::answer::query::{CLASS_IN, HEADER_OCTETS, bits, opcode, rtype};
use crate::tsig::{self, Key, Signer};
use crate::zone::Name;

/// What a secondary is told of.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What is transferred.
    pub served: Served,
    /// The zones that it is told of.
    pub zones: Vec<Name>,
    /// The key that this is signed with.
    pub key: Option<Arc<Key>>,
}

impl Subject {
    /// A NOTIFY that one of the zones has the version of a serial; `None` if there is no such zone.
    pub fn notice(&self, zone: usize, serial: u32, id: u16) -> Option<Notice> {
        let zone = self.zones.get(zone)?;
        Some(Notice::new(&self.served, zone, serial, id, self.key.as_ref()))
    }
}

/// A NOTIFY on its way.
#[derive(Debug)]
pub struct Notice {
    /// Its octets.
    pub message: Vec<u8>,
    question_end: usize,
    signer: Option<Signer>,
}

/// What an answer to a NOTIFY says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is no answer to it, or not from whom it should be.
    Foreign,
    /// It was taken.
    Taken,
    /// It was not, for this reason.
    Refused(u16),
}

impl Notice {
    /// Says that a zone has the version of a serial. The SOA goes along, so that who has it already need not ask
    /// (RFC 1996 section 3.7).
    fn new(served: &Served, zone: &Name, serial: u32, id: u16, key: Option<&Arc<Key>>) -> Self {
        let mut question = zone.as_wire().to_vec();
        question.extend_from_slice(&rtype::SOA.to_be_bytes());
        question.extend_from_slice(&CLASS_IN.to_be_bytes());
        let question_end = HEADER_OCTETS + question.len();
        let head = Head { id, flags: opcode::NOTIFY << 11, question };
        let (mut message, zone) = (Vec::new(), served.zone(zone));
        let mut writer = Writer::new(&mut message, &head, &zone, usize::from(u16::MAX));
        writer.soa(serial);
        writer.finish(&[]);
        // It is no answer.
        message[2] &= !((bits::QR >> 8) as u8);
        let mut signer = key.map(Signer::new);
        if let Some(signer) = &mut signer {
            signer.sign(&mut message, tsig::now());
        }
        Self { message, question_end, signer }
    }

    /// Reads what came back. Some leave the question out.
    pub fn read(&self, reply: &[u8]) -> Reply {
        use crate::answer::query::{last_record_at, reply_question_end};
        let Some(header) = reply.first_chunk::<HEADER_OCTETS>() else { return Reply::Foreign };
        let is_answer = header[..2] == self.message[..2] && header[2] & 0xf8 == self.message[2] & 0x78 | 0x80;
        let asked = self.message.get(HEADER_OCTETS..self.question_end).unwrap_or(&[]);
        let end = reply_question_end(reply);
        let is_same = end.is_some_and(|end| {
            let question = reply.get(HEADER_OCTETS..end).unwrap_or(&[]);
            question.is_empty() || question.eq_ignore_ascii_case(asked)
        });
        if !is_answer || !is_same {
            return Reply::Foreign;
        }
        let is_signed_well = self.signer.as_ref().is_none_or(|signer| {
            last_record_at(reply).is_some_and(|at| tsig::verify_reply(reply, at, signer, tsig::now()))
        });
        match u16::from(header[3] & 0xf) {
            0 if is_signed_well => Reply::Taken,
            0 => Reply::Foreign,
            rcode => Reply::Refused(rcode),
        }
    }
}
