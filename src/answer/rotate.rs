//! `loadbalance`: addresses and mail exchangers of a response in another order each time
//! (plugin/loadbalance/loadbalance.go).
//!
//! A response is written anew record by record, because a record's names may point into another record that moves. On
//! any doubt (a record that cannot be read, a signature over the whole, a response that would grow) it stays as it is.

use std::net::IpAddr;

use super::acl::Network;
use super::chance;
use super::order::{self, Order, Weights};
use super::query::{CLASS_IN, HEADER_OCTETS, parse_record, rtype, skip_name, skip_question};
use super::responder::Block;
use crate::zone::Name;

/// Offsets over this cannot be pointed to (RFC 1035 section 4.1.4).
const POINTER_MAX: usize = 0x3fff;
/// Octets between a record's owner and its data.
const FIXED_OCTETS: usize = 10;
/// Labels and pointers that a name is read through: more than a name has that somebody means.
const NAME_STEPS_MAX: usize = 255;

/// Types that keep a response as it is: SIG and TSIG sign the message and must be its last record (RFC 2931 section 3,
/// RFC 8945 section 5.1); the names of NXT, NAPTR and A6 may be compressed and are not found here.
const LEFT_ALONE: [u16; 5] = [24, 250, 30, 35, 38];

/// Changes the order of a response, if the block has `loadbalance`.
pub(super) fn if_wanted(block: &Block, response: &mut Vec<u8>) {
    if block.rotates
        && let Some(rotated) = rotated(response, block.order.as_ref(), chance::next())
    {
        response.clear();
        response.extend_from_slice(&rotated);
    }
}

/// How a response that is sent often may change its order, found out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has one order.
    Settled,
    /// These records in a row, each of so many octets, are all that changes places, and nothing points into them.
    Row { start: usize, octets: usize, count: usize },
    /// As [`rotated`] finds out.
    Any,
}

impl Turn {
    /// That of a response without OPT.
    pub(super) fn of(response: &[u8]) -> Self {
        let Some((sections, _)) = read(response) else { return Self::Settled };
        if sections.iter().all(|records| is_settled(records)) {
            return Self::Settled;
        }
        let [answers, authority, additional] = &sections;
        let at = answers.iter().position(|record| record.kind == Kind::Address).unwrap_or(answers.len());
        let (aliases, row) = answers.split_at(at);
        let Some(first) = row.first() else { return Self::Any };
        let octets = first.end - first.start;
        // A name before them may not point forward (RFC 1035 section 4.1.4), and behind them there is none.
        let is_alike = |record: &Record| {
            let owner = response.get(record.start..record.start + 2);
            let target = owner.map_or(0, |owner| u16::from_be_bytes([owner[0], owner[1]]));
            let is_pointer = target & 0xc000 == 0xc000 && usize::from(target & 0x3fff) < first.start;
            record.rtype == first.rtype && record.end - record.start == octets && is_pointer
        };
        let is_row = authority.is_empty()
            && additional.is_empty()
            && aliases.iter().all(|record| record.kind == Kind::Alias)
            && row.iter().all(is_alike);
        if is_row { Self::Row { start: first.start, octets, count: row.len() } } else { Self::Any }
    }
}

/// Changes the order of a response, if the block has `loadbalance`, without another buffer where a row is all that
/// changes.
pub(super) fn kept(block: &Block, turn: Turn, response: &mut Vec<u8>) {
    match (&block.order, turn) {
        _ if !block.rotates => {}
        (None, Turn::Settled) => {}
        (None, Turn::Row { start, octets, count }) => {
            let Some(row) = response.get_mut(start..start + octets * count) else { return };
            let mut dice = Dice(chance::next());
            dice.pairs(count, |one, other| {
                for at in 0..octets {
                    row.swap(one * octets + at, other * octets + at);
                }
            });
        }
        _ => if_wanted(block, response),
    }
}

/// The response in an order that `choice` decides: in each section the aliases first, as they were, since some stub
/// resolvers stop at an address, then all else, then addresses and then mail exchangers in any order, or in that which is
/// wanted. `None` if it is to stay as it is.
fn rotated(response: &[u8], order: Option<&Order>, choice: u32) -> Option<Vec<u8>> {
    let (mut sections, qtype) = read(response)?;
    let mut dice = Dice(choice);
    match order {
        Some(Order::Weighted(weights)) => {
            if !matches!(qtype, rtype::A | rtype::AAAA | rtype::SRV) {
                return None;
            }
            let [answers, _, additionals] = &mut sections;
            weigh(response, answers, weights, &mut dice);
            weigh(response, additionals, weights, &mut dice);
        }
        Some(Order::Preferred(networks)) => {
            shuffle(&mut sections, &mut dice);
            let [answers, _, additionals] = &mut sections;
            prefer(response, answers, networks);
            prefer(response, additionals, networks);
        }
        None if sections.iter().all(|records| is_settled(records)) => return None,
        None => shuffle(&mut sections, &mut dice),
    }
    let records: Vec<&Record> = sections.iter().flatten().collect();
    if records.is_sorted_by_key(|record| record.start) {
        return None;
    }
    Writer::new(response).write(&records)
}

fn shuffle(sections: &mut [Vec<Record>; 3], dice: &mut Dice) {
    for records in sections {
        // The sort is stable.
        records.sort_by_key(|record| record.kind);
        for group in records.chunk_by_mut(|a, b| a.kind == b.kind).filter(|group| group[0].kind.moves()) {
            dice.shuffle(group);
        }
    }
}

/// Puts a section's addresses in the order of the networks that they are in, and all else where CoreDNS has it then.
fn prefer(response: &[u8], records: &mut [Record], networks: &[Network]) {
    records.sort_by_cached_key(|record| match record.kind {
        Kind::Alias => (0, 0),
        Kind::Address => (1, address(response, record).map_or(usize::MAX, |address| order::rank(networks, address))),
        Kind::Exchanger => (2, 0),
        Kind::Other => (3, 0),
        Kind::Edns => (4, 0),
    });
}

/// Puts one of a section's addresses before the others.
fn weigh(response: &[u8], records: &mut [Record], weights: &Weights, dice: &mut Dice) {
    if records.iter().all(|record| record.kind != Kind::Address) {
        return;
    }
    records.sort_by_key(|record| record.kind);
    let addresses = records.chunk_by_mut(|a, b| a.kind == b.kind).find(|group| group[0].kind == Kind::Address);
    let Some(addresses) = addresses else { return };
    let weighed: Option<Vec<_>> =
        addresses.iter().map(|record| Some((owner(response, record.start), address(response, record)?))).collect();
    if let Some(first) = weighed.and_then(|weighed| weights.choose(&weighed, dice.next())) {
        addresses.swap(0, first);
    }
}

/// The address of a record that is one.
fn address(response: &[u8], record: &Record) -> Option<IpAddr> {
    let data = response.get(..record.end)?;
    match record.rtype {
        rtype::A => data.last_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        _ => data.last_chunk::<16>().map(|octets| IpAddr::from(*octets)),
    }
}

/// The name that stands at a place, if it is one of letters, digits and the like.
fn owner(response: &[u8], mut at: usize) -> Option<Name> {
    let mut text = String::new();
    for _ in 0..NAME_STEPS_MAX {
        match *response.get(at)? {
            0 => return Name::parse(if text.is_empty() { "." } else { &text }),
            length @ 1..=63 => {
                let label = response.get(at + 1..at + 1 + usize::from(length))?;
                text.push_str(str::from_utf8(label).ok()?);
                text.push('.');
                at += 1 + usize::from(length);
            }
            high @ 192..=255 => {
                let target = usize::from(u16::from_be_bytes([high & 0x3f, *response.get(at + 1)?]));
                at = (target < at).then_some(target)?;
            }
            _ => return None,
        }
    }
    None
}

/// What a record is for its place; in the order in which they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Alias,
    Other,
    Address,
    Exchanger,
    /// EDNS is of the message and not of a name: it stays at the end.
    Edns,
}

impl Kind {
    fn of(kind: u16) -> Self {
        match kind {
            rtype::CNAME => Self::Alias,
            rtype::A | rtype::AAAA => Self::Address,
            rtype::MX => Self::Exchanger,
            rtype::OPT => Self::Edns,
            _ => Self::Other,
        }
    }

    fn moves(self) -> bool {
        matches!(self, Self::Address | Self::Exchanger)
    }
}

/// A record of the response as it stands.
#[derive(Clone, Copy, Debug)]
struct Record {
    kind: Kind,
    rtype: u16,
    start: usize,
    end: usize,
}

/// The records of the three sections, and the type that was asked for.
fn read(response: &[u8]) -> Option<([Vec<Record>; 3], u16)> {
    let header = response.first_chunk::<HEADER_OCTETS>()?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    // As in CoreDNS, only what succeeded is changed, and no transfer, whose order says something.
    if word(2) & 0xf != 0 || word(4) != 1 {
        return None;
    }
    let mut at = skip_question(response, HEADER_OCTETS)?;
    let qtype = u16::from_be_bytes(*response.get(..at - 2)?.last_chunk::<2>()?);
    if matches!(qtype, rtype::AXFR | rtype::IXFR) {
        return None;
    }
    let mut sections = [const { Vec::new() }; 3];
    for (records, count) in sections.iter_mut().zip([word(6), word(8), word(10)]) {
        for _ in 0..count {
            let record = parse_record(response, at)?;
            let (start, end, rtype) = (at, record.end, record.rtype);
            // The class of OPT is a size; in any other class, types may mean something else.
            if LEFT_ALONE.contains(&rtype) || record.class != CLASS_IN && rtype != rtype::OPT {
                return None;
            }
            records.push(Record { kind: Kind::of(rtype), rtype, start, end });
            at = end;
        }
    }
    (at == response.len()).then_some((sections, qtype))
}

/// Whether no other order is wanted.
fn is_settled(records: &[Record]) -> bool {
    let few = |kind: Kind| records.iter().filter(|record| record.kind == kind).count() < 2;
    records.is_sorted_by_key(|record| record.kind) && few(Kind::Address) && few(Kind::Exchanger)
}

/// Writes records of a message in another order.
///
/// What holds: for every place that `moved` knows, the name that is read there in `old` is the name that is read at its
/// new place in `out`. So each name, which is either written out or points to such a place, stays what it is.
struct Writer<'m> {
    old: &'m [u8],
    out: Vec<u8>,
    /// Where a label of `old` stands in `out`, by its place; 0 says that it does not stand there yet.
    moved: Vec<u16>,
}

impl<'m> Writer<'m> {
    fn new(old: &'m [u8]) -> Self {
        Self { old, out: Vec::with_capacity(old.len()), moved: vec![0; old.len().min(POINTER_MAX + 1)] }
    }

    fn write(mut self, records: &[&Record]) -> Option<Vec<u8>> {
        self.copy(0, HEADER_OCTETS)?;
        let end = self.name(HEADER_OCTETS, true)?;
        self.copy(end, end + 4)?;
        for record in records {
            self.record(record)?;
        }
        Some(self.out)
    }

    fn record(&mut self, record: &Record) -> Option<()> {
        let data = self.name(record.start, true)? + FIXED_OCTETS;
        self.copy(data - FIXED_OCTETS, data)?;
        let begin = self.out.len();
        let mut at = data;
        if let Some(shape) = Shape::of(record.rtype) {
            self.copy(at, at + shape.before)?;
            at += shape.before;
            for _ in 0..shape.names {
                at = self.name(at, shape.compressed)?;
            }
        }
        self.copy(at, record.end)?;
        let octets = u16::try_from(self.out.len() - begin).ok()?;
        self.out.get_mut(begin - 2..begin)?.copy_from_slice(&octets.to_be_bytes());
        Some(())
    }

    fn copy(&mut self, from: usize, to: usize) -> Option<()> {
        self.put(self.old.get(from..to)?)
    }

    /// Writes octets; `None` if the message would be longer than it was.
    fn put(&mut self, octets: &[u8]) -> Option<()> {
        self.out.extend_from_slice(octets);
        (self.out.len() <= self.old.len()).then_some(())
    }

    /// Writes the name that begins at `at`, by a pointer as soon as the rest of it stands somewhere; where it ends in
    /// `old`. One that was not compressed and may not be (RFC 3597 section 4) is written out.
    fn name(&mut self, mut at: usize, mut may_point: bool) -> Option<usize> {
        let begin = self.out.len();
        let mut end = None;
        for _ in 0..NAME_STEPS_MAX {
            let length = *self.old.get(at)?;
            match length {
                0 => {
                    self.put(&[0])?;
                    return Some(end.unwrap_or(at + 1));
                }
                1..=63 => {
                    let next = at + 1 + usize::from(length);
                    match self.moved.get(at).copied().filter(|place| *place != 0) {
                        // A name that has no end.
                        Some(place) if usize::from(place) >= begin => return None,
                        Some(place) if may_point => {
                            self.put(&(0xc000 | place).to_be_bytes())?;
                            return end.or_else(|| skip_name(self.old, next));
                        }
                        Some(_) => {}
                        None => self.remember(at),
                    }
                    self.copy(at, next)?;
                    at = next;
                }
                192..=255 => {
                    let target = usize::from(u16::from_be_bytes([length & 0x3f, *self.old.get(at + 1)?]));
                    // To a name that stands before (RFC 1035 section 4.1.4).
                    if target >= at {
                        return None;
                    }
                    end = end.or(Some(at + 2));
                    may_point = true;
                    at = target;
                }
                _ => return None,
            }
        }
        None
    }

    fn remember(&mut self, at: usize) {
        let here = u16::try_from(self.out.len()).ok().filter(|here| usize::from(*here) <= POINTER_MAX);
        if let (Some(place), Some(here)) = (self.moved.get_mut(at), here) {
            *place = here;
        }
    }
}

/// Where the names of a type's data are.
struct Shape {
    /// Octets before the first name.
    before: usize,
    /// Names, one behind the other.
    names: usize,
    /// Whether they may be compressed (RFC 3597 section 4); those of other types are, here and there, all the same.
    compressed: bool,
}

impl Shape {
    /// `None` if the data is octets that mean the same everywhere.
    fn of(kind: u16) -> Option<Self> {
        let (before, names, compressed) = match kind {
            rtype::NS | rtype::CNAME | rtype::PTR => (0, 1, true),
            rtype::SOA => (0, 2, true),
            rtype::MX => (2, 1, true),
            // MD, MF, MB, MG, MR; MINFO.
            3 | 4 | 7..=9 => (0, 1, true),
            14 => (0, 2, true),
            // DNAME, NSEC; RP.
            39 | 47 => (0, 1, false),
            17 => (0, 2, false),
            // AFSDB, RT, KX, SVCB, HTTPS; PX.
            18 | 21 | 36 | 64 | 65 => (2, 1, false),
            26 => (2, 2, false),
            rtype::SRV => (6, 1, false),
            // RRSIG.
            46 => (18, 1, false),
            _ => return None,
        };
        Some(Self { before, names, compressed })
    }
}

/// Numbers that look random, from one that need not (a round of SplitMix in 32 bits).
struct Dice(u32);

impl Dice {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9);
        chance::mixed(self.0)
    }

    /// Every order with about the same chance (Fisher and Yates).
    fn shuffle<T>(&mut self, items: &mut [T]) {
        self.pairs(items.len(), |one, other| items.swap(one, other));
    }

    /// The pairs of places that are to be swapped for that.
    fn pairs(&mut self, count: usize, mut swap: impl FnMut(usize, usize)) {
        for last in (1..count).rev() {
            let span = u64::try_from(last).unwrap_or(0) + 1;
            let other = usize::try_from((u64::from(self.next()) * span) >> 32).unwrap_or(0);
            swap(last, other);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use hickory_proto::op::Message;

    use super::*;

    fn rotated(response: &[u8], choice: u32) -> Option<Vec<u8>> {
        super::rotated(response, None, choice)
    }

    /// A response to `www.test. TYPE`, whose name stands at 12 and `test.` at 16.
    fn response(qtype: u16, counts: [u8; 3], records: &[&[u8]]) -> Vec<u8> {
        let head = [0, 1, 0x84, 0, 0, 1, 0, counts[0], 0, counts[1], 0, counts[2]];
        let question = [b"\x03www\x04test\0", &qtype.to_be_bytes()[..], &[0, 1]].concat();
        [&head[..], &question, &records.concat()].concat()
    }

    /// A record of `owner`, in wire form.
    fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
        let octets = u16::try_from(data.len()).unwrap().to_be_bytes();
        [owner, &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 5], &octets, data].concat()
    }

    const WWW: &[u8] = &[0xc0, 12];

    fn addresses(count: u8) -> Vec<u8> {
        (1..=count).flat_map(|last| record(WWW, rtype::A, &[10, 0, 0, last])).collect()
    }

    fn answers(wire: &[u8]) -> Vec<String> {
        Message::from_vec(wire).unwrap().answers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_order_depends_on_the_choice_alone() {
        let response = response(rtype::A, [5, 0, 0], &[&addresses(5)]);
        let first = |choice| rotated(&response, choice).map_or(1, |wire| wire[12 + 14 + 15]);
        assert!((0..100).all(|choice| rotated(&response, choice) == rotated(&response, choice)));
        let mut seen = [0; 6];
        (0..5000).for_each(|choice| seen[usize::from(first(choice))] += 1);
        // A fair choice strays further than this from 1000 once in 10^11 times.
        assert!(seen[1..].iter().all(|times| (800..1200).contains(times)), "{seen:?}");
    }

    #[test]
    fn all_orders_come() {
        let response = response(rtype::A, [3, 0, 0], &[&addresses(3)]);
        let orders: BTreeSet<_> =
            (0..100).map(|choice| answers(&rotated(&response, choice).unwrap_or_else(|| response.clone()))).collect();
        assert_eq!(orders.len(), 6);
    }

    #[test]
    fn one_record_stays() {
        assert_eq!(rotated(&response(rtype::A, [1, 0, 0], &[&addresses(1)]), 1), None);
        assert_eq!(rotated(&response(rtype::A, [0, 0, 0], &[]), 1), None);
    }

    /// The second exchanger's name ends in the first's, an address's owner is the second's, all by pointers.
    #[test]
    fn pointers_follow_what_they_point_to() {
        let first = record(WWW, rtype::MX, b"\0\x0a\x01a\x04mail\xc0\x10");
        let mail = u8::try_from(12 + 14 + first.len() - 7).unwrap();
        let second = record(WWW, rtype::MX, &[0, 10, 1, b'b', 0xc0, mail]);
        let name = u8::try_from(12 + 14 + first.len() + second.len() - 4).unwrap();
        let address = record(&[0xc0, name], rtype::A, &[10, 0, 0, 1]);
        let response = response(rtype::MX, [2, 0, 1], &[&first, &second, &address]);
        let before = Message::from_vec(&response).unwrap();
        assert_eq!(before.additionals[0].name.to_string(), "b.mail.test.");
        let turned = (0..50).find_map(|choice| rotated(&response, choice)).unwrap();
        let after = Message::from_vec(&turned).unwrap();
        assert_eq!(turned.len(), response.len());
        assert_eq!(after.answers, [before.answers[1].clone(), before.answers[0].clone()]);
        assert_eq!(after.additionals, before.additionals);
    }

    #[test]
    fn aliases_come_first_and_edns_last() {
        let alias = record(WWW, rtype::CNAME, b"\x01a\xc0\x10");
        let target = record(b"\x01a\xc0\x10", rtype::A, &[10, 0, 0, 9]);
        let signature = record(b"\x01a\xc0\x10", 46, &[&[0; 18][..], b"\x04test\0", &[7; 8]].concat());
        let opt = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0];
        let response = response(rtype::A, [3, 0, 3], &[&target, &signature, &alias, &opt, &addresses(2)]);
        let turned = rotated(&response, 1).unwrap();
        let kinds: Vec<u16> =
            Message::from_vec(&turned).unwrap().answers.iter().map(|it| it.record_type().into()).collect();
        assert_eq!(kinds, [rtype::CNAME, 46, rtype::A]);
        assert!(turned.ends_with(&opt));
    }

    /// RFC 2782: a target is not compressed. An alias that points into it, and would stand before it, stays behind.
    #[test]
    fn targets_of_srv_stay_written_out() {
        let target = record(WWW, rtype::SRV, b"\0\0\0\0\0\x35\x01a\x04test\0");
        let at = u8::try_from(12 + 14 + target.len() - 8).unwrap();
        let alias = record(&[0xc0, at], rtype::CNAME, WWW);
        let response = response(rtype::SRV, [2, 0, 0], &[&target, &alias]);
        assert_eq!(answers(&response)[1], "a.test. 5 IN CNAME www.test.");
        assert_eq!(rotated(&response, 1), None);
    }

    #[test]
    fn on_any_doubt_it_stays() {
        let five = addresses(5);
        let doubtful: [(&str, Vec<u8>); 9] = [
            ("a failure", {
                let mut wire = response(rtype::A, [5, 0, 0], &[&five]);
                wire[3] = 2;
                wire
            }),
            ("a transfer", response(rtype::AXFR, [5, 0, 0], &[&five])),
            ("a signature over the message", response(rtype::A, [5, 0, 1], &[&five, &record(b"\0", 250, &[0; 30])])),
            ("another class", response(rtype::A, [6, 0, 0], &[&five, &[0xc0, 12, 0, 1, 0, 3, 0, 0, 0, 5, 0, 0]])),
            ("octets behind the end", response(rtype::A, [5, 0, 0], &[&five, &[0]])),
            ("fewer records than counted", response(rtype::A, [6, 0, 0], &[&five])),
            ("a pointer forward", response(rtype::A, [6, 0, 0], &[&record(&[0xc0, 60], rtype::A, &[1; 4]), &five])),
            ("a name in itself", response(rtype::A, [6, 0, 0], &[&record(b"\x01a\xc0\x1a", rtype::A, &[1; 4]), &five])),
            ("a label that is none", response(rtype::A, [6, 0, 0], &[&five, &record(WWW, rtype::CNAME, &[0x80, 1])])),
        ];
        for (what, wire) in doubtful {
            assert!((0..50).all(|choice| rotated(&wire, choice).is_none()), "{what}");
        }
        assert!((0..50).any(|choice| rotated(&response(rtype::A, [5, 0, 0], &[&five]), choice).is_some()));
    }

    /// A response may be made to take long to read.
    #[test]
    fn long_ways_are_not_gone() {
        let begin = 12 + 14 + 12;
        let response = |hops: u16| {
            let pointers: Vec<u8> = (0..hops).flat_map(|hop| (0xc000 | (begin - 2 + 2 * hop)).to_be_bytes()).collect();
            let text = record(WWW, rtype::TXT, &[WWW, &pointers[2..]].concat());
            let last = record(&(0xc000 | (begin + 2 * (hops - 1))).to_be_bytes(), rtype::A, &[1; 4]);
            response(rtype::A, [6, 0, 0], &[&text, &last, &addresses(4)])
        };
        let moves = |response: Vec<u8>| (0..50).any(|choice| rotated(&response, choice).is_some());
        assert!(moves(response(100)) && !moves(response(300)));
    }
}
