//! Handing another server's response on: the client's ID, EDNS after what the client offered, and the cut where it does
//! not fit (request/request.go, func SizeAndDo and Scrub).

use super::edns::{Edns, Terms, with_name, write_opt};
use super::elsewhere::LookupError;
use super::query::{
    HEADER_OCTETS, Query, RawRecord, bits, opcode, parse_record, reply_question_end, rtype, skip_question,
};
use super::rcode::Rcode;

/// Writes the response to a query into `out`; its code and header bits.
///
/// # Errors
/// If it is no response to this question, or cannot be read.
pub(super) fn relay(
    query: &Query<'_>,
    response: &[u8],
    limit: usize,
    (terms, is_minimal): (Terms<'_>, bool),
    out: &mut Vec<u8>,
) -> Result<(Rcode, u16), LookupError> {
    let malformed = || LookupError::servfail("the upstream's response is malformed");
    let header = response.first_chunk::<HEADER_OCTETS>().ok_or_else(malformed)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let flags = word(2);
    let (questions, answers, authority, additional) = (word(4), word(6), word(8), word(10));
    let mut at = HEADER_OCTETS;
    for _ in 0..questions {
        at = skip_question(response, at).ok_or_else(malformed)?;
    }
    let asked = query.question.as_ref().map_or(&[][..], |question| question.raw);
    let theirs = response.get(HEADER_OCTETS..at).unwrap_or(&[]);
    if questions != 1 || flags & bits::QR == 0 || !theirs.eq_ignore_ascii_case(asked) {
        // CoreDNS tells the client that it was its fault (plugin/forward/forward.go, func ServeDNS).
        return Err(LookupError { rcode: Rcode::FORMERR, reason: "the upstream answered another question".into() });
    }
    let mut opt: Option<(usize, RawRecord<'_>)> = None;
    let (mut answers_end, mut is_denial_or_referral) = (at, false);
    for index in 0..u32::from(answers) + u32::from(authority) + u32::from(additional) {
        let record = parse_record(response, at).ok_or_else(malformed)?;
        let end = record.end;
        if record.rtype == rtype::OPT && index >= u32::from(answers) + u32::from(authority) {
            opt = Some((at, record));
        } else if index >= u32::from(answers) && index < u32::from(answers) + u32::from(authority) {
            is_denial_or_referral |= matches!(record.rtype, rtype::SOA | rtype::NS);
        }
        at = end;
        if index < u32::from(answers) {
            answers_end = at;
        }
    }
    let extended = opt.as_ref().map_or(0, |(_, record)| (record.ttl >> 24) << 4);
    let rcode = Rcode(u16::try_from(extended).unwrap_or_default() | flags & 0xf);
    // What `minimal` leaves out: all but the answer, of what is neither a denial nor a referral (plugin/minimal).
    let is_bare = is_minimal && is_plain(query) && rcode == Rcode::NOERROR && (answers > 0 || !is_denial_or_referral);
    if is_bare {
        (at, opt) = (answers_end, None);
    }
    let additional = if is_bare { 0 } else { additional };
    out.clear();
    out.extend_from_slice(response.get(..at).unwrap_or(response));
    if is_bare && let Some(counts) = out.get_mut(8..12) {
        counts.fill(0);
    }
    if let Some(id) = out.first_chunk_mut::<2>() {
        *id = query.id.to_be_bytes();
    }
    // The question's letters are the client's, whatever the upstream made of them.
    if let Some(question) = out.get_mut(HEADER_OCTETS..HEADER_OCTETS + asked.len()) {
        question.copy_from_slice(asked);
    }
    match (&query.edns, opt) {
        (Some(edns), Some((at, record))) => match edns.wanted_name(terms) {
            // It stands last as a rule; elsewhere it is left as it is.
            Some(name) if record.end == out.len() => {
                out.truncate(at);
                let options = with_name(record.rdata, name);
                write_opt(out, 0, 0, options.len());
                out.extend_from_slice(&options);
                edns.rewrite_reply(out, at, record.ttl, terms.bufsize);
            }
            _ => edns.rewrite_reply(out, at, record.ttl, terms.bufsize),
        },
        (Some(edns), None) => append_opt(out, edns, additional, terms),
        (None, _) => {}
    }
    if out.len() <= limit {
        return Ok((rcode, flags));
    }
    Ok((rcode, cut(query, flags, rcode, (limit, terms), out)))
}

/// Cuts a response in `out` that does not fit: the answers that do are left, for resolvers that never come over TCP (musl
/// before 1.2.4 takes what it gets), and TC tells all others to. Names point only backwards, so that what is left stands
/// by itself. Its header bits.
pub(super) fn cut(
    query: &Query<'_>,
    flags: u16,
    rcode: Rcode,
    (limit, terms): (usize, Terms<'_>),
    out: &mut Vec<u8>,
) -> u16 {
    let room = limit.saturating_sub(query.edns.map_or(0, |edns| edns.reply_octets(terms)));
    let (end, answers) = fitting(out, room);
    let kept = bits::QR | flags & (bits::AA | bits::RA | bits::AD) | bits::TC;
    let copied = query.flags & (bits::OPCODE | bits::RD | bits::CD);
    let flags = kept | copied | rcode.0 & 0xf;
    out.truncate(end);
    if let Some(header) = out.first_chunk_mut::<HEADER_OCTETS>() {
        header[2..4].copy_from_slice(&flags.to_be_bytes());
        header[6..8].copy_from_slice(&answers.to_be_bytes());
        header[8..12].fill(0);
    }
    if let Some(edns) = &query.edns {
        append_opt(out, edns, 0, terms);
    }
    flags
}

/// Where the last answer ends that is within so many octets, and how many there are until then.
fn fitting(message: &[u8], room: usize) -> (usize, u16) {
    let answers = message.get(6..8).map_or(0, |count| u16::from_be_bytes([count[0], count[1]]));
    let mut end = reply_question_end(message).unwrap_or(HEADER_OCTETS);
    for number in 0..answers {
        match parse_record(message, end).filter(|record| record.end <= room) {
            Some(record) => end = record.end,
            None => return (end, number),
        }
    }
    (end, answers)
}

/// Whether a query is neither for a transfer nor a NOTIFY.
fn is_plain(query: &Query<'_>) -> bool {
    let asks_for_zone = query.question.is_some_and(|question| matches!(question.qtype, rtype::AXFR | rtype::IXFR));
    query.opcode() == opcode::QUERY && !asks_for_zone
}

/// Writes our OPT record behind a message with so many additional records.
pub(super) fn append_opt(out: &mut Vec<u8>, edns: &Edns<'_>, additional: u16, terms: Terms<'_>) {
    edns.write_reply(out, terms);
    if let Some(count) = out.get_mut(10..12) {
        count.copy_from_slice(&additional.saturating_add(1).to_be_bytes());
    }
}
