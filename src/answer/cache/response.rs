//! An upstream's response: where its records stand, and the changes that a cache makes to it.

use crate::answer::query::{HEADER_OCTETS, parse_record, rtype, skip_name, skip_question};

/// The section of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Answer,
    Authority,
    Additional,
}

/// A record's place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) section: Section,
    pub(super) rtype: u16,
    pub(super) class: u16,
    pub(super) ttl_secs: u32,
    /// Where it begins,
    pub(super) start: usize,
    /// where its TTL stands,
    pub(super) ttl_at: usize,
    /// and where it ends.
    pub(super) end: usize,
}

impl Place {
    /// Where its data begins.
    pub(super) fn data_at(&self) -> usize {
        self.ttl_at + 6
    }
}

/// A response that can be read.
#[derive(Clone, Debug)]
pub(super) struct Response {
    /// The header's second word.
    pub(super) flags: u16,
    /// Its code, the upper bits of EDNS included.
    pub(super) rcode: u16,
    /// Where its one question ends.
    pub(super) question_end: usize,
    pub(super) records: Vec<Place>,
}

impl Response {
    /// Reads a message with one question; `None` if it has another number of them, or is not whole.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let header = message.first_chunk::<HEADER_OCTETS>()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if word(4) != 1 {
            return None;
        }
        let question_end = skip_question(message, HEADER_OCTETS)?;
        let mut at = question_end;
        let mut records = Vec::new();
        let counts = [(Section::Answer, word(6)), (Section::Authority, word(8)), (Section::Additional, word(10))];
        for (section, count) in counts {
            for _ in 0..count {
                let record = parse_record(message, at)?;
                let ttl_at = record.class_at + 2;
                let (start, end) = (at, record.end);
                let (rtype, class, ttl_secs) = (record.rtype, record.class, record.ttl);
                records.push(Place { section, rtype, class, ttl_secs, start, ttl_at, end });
                at = end;
            }
        }
        let mut response = Self { flags: word(2), rcode: word(2) & 0xf, question_end, records };
        if let Some(opt) = response.opt() {
            response.rcode |= u16::try_from(opt.ttl_secs >> 24).unwrap_or_default() << 4;
        }
        Some(response)
    }

    /// Its OPT record.
    pub(super) fn opt(&self) -> Option<&Place> {
        self.records.iter().find(|record| record.section == Section::Additional && record.rtype == rtype::OPT)
    }

    /// The type that was asked for, the class, and the name, of the message that this was read of.
    pub(super) fn question<'m>(&self, message: &'m [u8]) -> Option<(&'m [u8], u16, u16)> {
        let (name, kind) = message.get(HEADER_OCTETS..self.question_end)?.split_last_chunk::<4>()?;
        Some((name, u16::from_be_bytes([kind[0], kind[1]]), u16::from_be_bytes([kind[2], kind[3]])))
    }

    /// The records of a section.
    pub(super) fn of(&self, section: Section) -> impl Iterator<Item = &Place> {
        self.records.iter().filter(move |record| record.section == section)
    }

    /// Whether a section has records of a type.
    pub(super) fn has(&self, section: Section, rtype: u16) -> bool {
        self.of(section).any(|record| record.rtype == rtype)
    }

    /// Whether it has answers.
    pub(super) fn has_answers(&self) -> bool {
        self.of(Section::Answer).next().is_some()
    }

    /// Whether it says that there is nothing, or who knows.
    pub(super) fn is_denial_or_referral(&self) -> bool {
        [rtype::SOA, rtype::NS].iter().any(|rtype| self.has(Section::Authority, *rtype))
    }

    /// Where TTLs stand: an OPT record has none.
    pub(super) fn ttls(&self) -> impl Iterator<Item = usize> {
        self.records.iter().filter(|record| record.rtype != rtype::OPT).map(|record| record.ttl_at)
    }

    /// The TTL of a denial that its SOA record allows: its own, or its last field if that is less (RFC 2308 section 5).
    pub(super) fn denial_ttl_secs(&self, message: &[u8]) -> Option<u32> {
        let soa = self.of(Section::Authority).find(|record| record.rtype == rtype::SOA)?;
        let times = skip_name(message, skip_name(message, soa.data_at())?)?;
        let minimum = message.get(times..soa.end)?.last_chunk::<4>()?;
        Some(u32::from_be_bytes(*minimum).min(soa.ttl_secs))
    }

    /// Leaves out all but the answers, in the message too.
    pub(super) fn keep_answers(&mut self, message: &mut Vec<u8>) {
        self.records.retain(|record| record.section == Section::Answer);
        message.truncate(self.end());
        if let Some(counts) = message.get_mut(8..12) {
            counts.fill(0);
        }
    }

    /// Leaves the OPT record out, in the message too, if no other record stands behind it: it is between two servers
    /// alone (RFC 6891 section 6.2.1). Whether there is none now.
    pub(super) fn drop_opt(&mut self, message: &mut Vec<u8>) -> bool {
        match (self.opt(), self.records.last()) {
            (None, _) => true,
            (Some(opt), Some(last)) if opt.start == last.start => {
                self.records.pop();
                let additional = self.of(Section::Additional).count();
                if let Some(count) = message.get_mut(10..12) {
                    count.copy_from_slice(&u16::try_from(additional).unwrap_or_default().to_be_bytes());
                }
                message.truncate(self.end());
                // Two of them are against RFC 6891 section 6.1.1.
                self.opt().is_none()
            }
            _ => false,
        }
    }

    /// Where it ends.
    pub(super) fn end(&self) -> usize {
        self.records.last().map_or(self.question_end, |record| record.end)
    }

    /// Gives all records one TTL, in the message too.
    pub(super) fn set_ttls(&mut self, message: &mut [u8], ttl_secs: u32) {
        for record in self.records.iter_mut().filter(|record| record.rtype != rtype::OPT) {
            record.ttl_secs = ttl_secs;
            if let Some(octets) = message.get_mut(record.ttl_at..record.ttl_at + 4) {
                octets.copy_from_slice(&ttl_secs.to_be_bytes());
            }
        }
    }
}
