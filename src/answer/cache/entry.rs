//! An answer that is kept: the message once, as it goes out, and where its TTLs stand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::response::Response;
use super::{OCTETS_OF_PLACE, Wanted};
use crate::answer::query::{HEADER_OCTETS, Query, bits};
use crate::answer::rcode::Rcode;
use crate::answer::rotate::Turn;

/// An answer that is kept.
#[derive(Debug)]
pub(in crate::answer) struct Entry {
    /// The message, without OPT; behind it, where the TTLs of its records stand, two octets each.
    octets: Box<[u8]>,
    /// Where the message ends,
    message_end: usize,
    /// and its question.
    question_end: usize,
    bits: u8,
    rcode: Rcode,
    ttl_secs: u32,
    /// When it was stored, in milliseconds of the cache's clock.
    stored: u64,
    /// It has records of the type that was asked for, or leads to such.
    is_answering: bool,
    /// The last that had, where this one has none (`prefer_positive`).
    last_good: Option<Arc<Self>>,
    /// It is a success, and a denial may stand beside it.
    is_denied: AtomicBool,
    turn: Turn,
    last_used: AtomicU64,
    used: AtomicU32,
    /// Somebody asks for it anew.
    is_refreshing: AtomicBool,
    /// Until when nobody does, since that failed.
    retry_at: AtomicU64,
}

/// What an entry is made of, beside its message.
pub(super) struct Made {
    pub(super) bits: u8,
    pub(super) ttl_secs: u32,
    pub(super) now: u64,
    pub(super) is_answering: bool,
    pub(super) last_good: Option<Arc<Entry>>,
}

impl Entry {
    /// Takes a copy of a message that has no OPT record any more.
    pub(super) fn new(message: &[u8], response: &Response, made: Made) -> Self {
        let Made { bits, ttl_secs, now, is_answering, last_good } = made;
        let places = response.ttls().filter_map(|at| u16::try_from(at).ok());
        let octets: Vec<u8> = message.iter().copied().chain(places.flat_map(u16::to_be_bytes)).collect();
        Self {
            octets: octets.into_boxed_slice(),
            message_end: message.len(),
            question_end: response.question_end,
            bits,
            rcode: Rcode(response.rcode),
            ttl_secs,
            stored: now,
            is_answering,
            last_good,
            is_denied: AtomicBool::new(false),
            turn: Turn::of(message),
            last_used: AtomicU64::new(0),
            used: AtomicU32::new(0),
            is_refreshing: AtomicBool::new(false),
            retry_at: AtomicU64::new(0),
        }
    }

    /// The room that it takes.
    pub(super) fn places(&self) -> u64 {
        let more = self.last_good.as_ref().map_or(0, |entry| entry.octets.len());
        (self.octets.len() + more).div_ceil(OCTETS_OF_PLACE).max(1) as u64
    }

    /// The TTL that it was stored with, in seconds.
    pub(super) fn ttl_secs(&self) -> u32 {
        self.ttl_secs
    }

    /// How much of it is left, in seconds; not above zero once it has expired.
    pub(in crate::answer) fn left_secs(&self, now: u64) -> i64 {
        let age_secs = now.saturating_sub(self.stored) / 1000;
        i64::from(self.ttl_secs) - i64::try_from(age_secs).unwrap_or(i64::MAX)
    }

    /// Whether it says that the upstream failed.
    pub(super) fn is_failure(&self) -> bool {
        self.rcode == Rcode::SERVFAIL
    }

    /// A denial is kept as well.
    pub(super) fn deny(&self) {
        self.is_denied.store(true, Ordering::Release);
    }

    /// Whether there may be a denial as well.
    pub(super) fn is_denied(&self) -> bool {
        self.is_denied.load(Ordering::Acquire)
    }

    /// Its response code.
    pub(in crate::answer) fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// How its records may change their order.
    pub(in crate::answer) fn turn(&self) -> Turn {
        self.turn
    }

    fn message(&self) -> &[u8] {
        self.octets.get(..self.message_end).unwrap_or(&[])
    }

    /// Whether it is an answer to this question: two may have one hash.
    pub(super) fn answers(&self, wanted: &Wanted<'_>) -> bool {
        let own = self.octets.get(HEADER_OCTETS..self.question_end).unwrap_or(&[]);
        self.bits == wanted.bits && is_same_question(own, wanted.question)
    }

    /// It, or the last before it, that has the records that are asked for.
    pub(super) fn answering(self: &Arc<Self>, wanted: &Wanted<'_>) -> Option<Arc<Self>> {
        if !self.answers(wanted) {
            return None;
        }
        self.good()
    }

    /// The same, of an entry that is known to be about the question.
    pub(super) fn good(self: &Arc<Self>) -> Option<Arc<Self>> {
        if self.is_answering { Some(Arc::clone(self)) } else { self.last_good.clone() }
    }

    /// Counts a use; how many there were without a gap of so many milliseconds (plugin/cache/freq).
    pub(super) fn used(&self, now: u64, gap: u64) -> u32 {
        let last = self.last_used.swap(now.max(1), Ordering::Relaxed);
        if last == 0 || last < now.saturating_sub(gap) {
            self.used.store(1, Ordering::Relaxed);
            return 1;
        }
        self.used.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Goes on counting where another entry was: that which it takes the place of.
    pub(super) fn goes_on(&self, before: &Self, now: u64) {
        self.last_used.store(now.max(1), Ordering::Relaxed);
        self.used.store(before.used.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether the caller is to ask for it anew, and nobody else until [`Self::end_refresh`].
    pub(super) fn begin_refresh(&self, now: u64) -> bool {
        now >= self.retry_at.load(Ordering::Acquire)
            && self.is_refreshing.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The caller has asked; if in vain, nobody asks before `retry_at`.
    pub(super) fn end_refresh(&self, retry_at: u64) {
        self.retry_at.store(retry_at, Ordering::Release);
        self.is_refreshing.store(false, Ordering::Release);
    }

    /// Writes it as the answer to a query, without OPT; its header bits. AA is set, as CoreDNS does for clients that
    /// take no other answers (plugin/cache/item.go, func toMsg).
    pub(in crate::answer) fn write(&self, query: &Query<'_>, takes_ad: bool, ttl_secs: u32, out: &mut Vec<u8>) -> u16 {
        let message = self.message();
        out.clear();
        out.extend_from_slice(message);
        let own = out.get(2..4).map_or(0, |flags| u16::from_be_bytes([flags[0], flags[1]]));
        let kept = if takes_ad { bits::RA | bits::AD } else { bits::RA };
        let flags = bits::QR | bits::AA | query.flags & (bits::RD | bits::CD) | own & kept | self.rcode.0 & 0xf;
        if let Some(head) = out.first_chunk_mut::<4>() {
            let ([i0, i1], [f0, f1]) = (query.id.to_be_bytes(), flags.to_be_bytes());
            *head = [i0, i1, f0, f1];
        }
        // The letters are the client's.
        if let (Some(question), Some(asked)) = (out.get_mut(HEADER_OCTETS..self.question_end), &query.question)
            && question.len() == asked.raw.len()
        {
            question.copy_from_slice(asked.raw);
        }
        self.patch(ttl_secs, out);
        flags
    }

    /// It as a message of its upstream, with this TTL.
    pub(in crate::answer) fn to_message(&self, ttl_secs: u32) -> Vec<u8> {
        let mut out = self.message().to_vec();
        self.patch(ttl_secs, &mut out);
        out
    }

    fn patch(&self, ttl_secs: u32, out: &mut [u8]) {
        let ttl = ttl_secs.to_be_bytes();
        for place in self.octets.get(self.message_end..).unwrap_or(&[]).chunks_exact(2) {
            let at = usize::from(u16::from_be_bytes([place[0], place[1]]));
            if let Some(octets) = out.get_mut(at..at + 4) {
                octets.copy_from_slice(&ttl);
            }
        }
    }
}

/// Whether two questions are one, but for the case of letters.
pub(super) fn is_same_question(one: &[u8], other: &[u8]) -> bool {
    match (one.split_last_chunk::<4>(), other.split_last_chunk::<4>()) {
        // Length octets are below any letter; type and class are not letters.
        (Some((name, kind)), Some((other_name, other_kind))) => {
            kind == other_kind && name.eq_ignore_ascii_case(other_name)
        }
        _ => false,
    }
}
