//! What stands at and below a Service's name, packed for look-ups: one piece of memory that holds each fact once.
//!
//! Answers are written straight from it. It is in the order in which a look-up reads it, since it is the first touch of
//! a line of memory that costs; numbers have their lowest octet first:
//!
//! ```text
//! head | key | TTL, if the Service has its own | limit of SRV targets, if there is one
//!      | addresses of the Service's own name: how many of each family, IPv4, IPv6
//!      | sets: what a name of port and protocol selects, the first is the Service itself: lengths, pairs, texts
//!      | where each list of ports begins
//!      | lists of ports: their endpoints' topology zone, how many, numbers, the sets that each is in
//!      | table of endpoints' labels | items: label, list of ports, addresses
//! ```
//!
//! An item is an endpoint, or, if it has no label, the Service itself with its cluster IPs. Items stand in the order of
//! their labels, and all else in an order of its own: two clusters of one meaning have the same octets, however they
//! came about.
//!
//! A *pair* is an address with a port of its slice (see [`super::records`]). An item whose addresses all have one list
//! of ports, and each once, says so in few octets. Any other is *extended*, and lists its pairs' sides one by one.
//!
//! What is rare is *marked*: see [`ASIDE`]. Items of which all is set aside stand behind the others.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use super::shards::keyed_hash_of;

/// Octets of the head.
pub(super) const HEAD_OCTETS: usize = 24;
/// Octets of a set before its texts, and of a port of a list.
pub(super) const SET_OCTETS: usize = 6;
pub(super) const PORT_OCTETS: usize = 9;
/// In the place of an item's list of ports: the item is extended.
pub(super) const EXTENDED: u8 = 0xff;
/// In the same place: the item's marks follow, and then that list.
pub(super) const MARKED: u8 = 0xfe;
/// Where the marks of a member of an extended item stand, above its kind.
pub(super) const MARK_SHIFT: u8 = 4;
/// Bits of a place of the table that say where the item stands; those above compare hashes.
pub(super) const PLACE_BITS: u32 = 24;

/// The Service has a name.
pub(super) const ROOT: u8 = 1;
/// Its endpoints have names.
pub(super) const NAMES: u8 = 2;
/// What its own name and its ports select is the first item, and not the endpoints.
pub(super) const OWN: u8 = 4;
/// No item that its own name selects is extended.
pub(super) const PLAIN: u8 = 8;

/// A mark: the name resolves, and no name of the Service selects it.
pub(super) const ASIDE: u8 = 1;
/// A mark: the address does not point back to the name.
pub(super) const NO_PTR: u8 = 2;

/// A mark: the label is a hostname, which is the pod's own name. Set only where that is asked for.
pub(super) const HOSTNAME: u8 = 4;

/// A trait of a Service: names of several labels before its own are endpoints' names.
pub(super) const DOTTED: u8 = 1;
/// A trait: two labels that are no port and protocol are an endpoint and its cluster.
pub(super) const CLUSTERS: u8 = 2;
/// A trait: its records have a TTL of their own.
pub(super) const OWN_TTL: u8 = 4;
/// A trait: what points back to it points to no other Service.
pub(super) const CANONICAL: u8 = 8;
/// A trait: nothing points back to it.
pub(super) const UNPOINTED: u8 = 16;
/// A trait: answers have so many SRV targets at most.
pub(super) const LIMITED: u8 = 32;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed(pub(super) Arc<[u8]>);

/// An endpoint, or the Service itself.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its labels in wire form: one, below an import two with its cluster's, or more of a dotted pod name or cluster's id,
    /// which no query finds. The Service itself has none.
    pub label: &'a [u8],
    /// The marks of all of it.
    marks: u8,
    body: Body<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Body<'a> {
    Plain { list: u8, v4: &'a [u8], v6: &'a [u8] },
    Extended { count: u16, members: &'a [u8] },
}

/// What an item stands for under one list of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// An address.
    Address(IpAddr),
    /// A name, in wire form, where an endpoint's address is one, or the Service is an alias.
    Alias(&'a [u8]),
}

/// The addresses of an item that is not extended, one after the other as records hold them.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    /// Its list of ports.
    pub list: u16,
    /// IPv4 addresses of 4 octets each.
    pub v4: &'a [u8],
    /// IPv6 addresses of 16 octets each.
    pub v6: &'a [u8],
}

/// What a name selects of the Service's ports: the index of a set, and how many pairs it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    /// 0 is the Service itself.
    pub index: u16,
    /// The pairs' number, duplicates counted.
    pub pairs: u32,
}

/// A port of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its number, if it has one.
    pub number: Option<u16>,
    /// The sets that it is in beside the first: by name and protocol, by name, by protocol; 0 is none.
    pub sets: [u16; 3],
}

impl Port {
    /// Whether a set selects it.
    pub fn is_in(&self, set: u16) -> bool {
        set == 0 || self.sets.contains(&set)
    }
}

/// The keyed hash of an endpoint's labels. It is never 0, so that there is room for none.
pub fn label_hash(label: &[u8]) -> NonZeroU32 {
    fold_hash(keyed_hash_of(label))
}

/// The [`label_hash`] of labels whose keyed hash is known in all its bits.
pub(super) fn fold_hash(hash: u64) -> NonZeroU32 {
    NonZeroU32::new((hash >> 32) as u32).unwrap_or(NonZeroU32::MIN)
}

/// Where the search for a hash begins in a table, and what a place holds of the hash.
pub(super) fn place_of(hash: NonZeroU32) -> (usize, u32) {
    (hash.get() as usize, hash.get() >> 8 & 0xff)
}

fn word(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*octets.get(at..)?.first_chunk()?))
}

fn long(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*octets.get(at..)?.first_chunk()?))
}

impl Packed {
    /// The labels of Service and namespace.
    pub fn key(&self) -> &[u8] {
        let octets = self.0.first().map_or(0, |octets| usize::from(*octets));
        self.0.get(HEAD_OCTETS..HEAD_OCTETS + octets).unwrap_or(&[])
    }

    fn flags(&self) -> u8 {
        self.0.get(1).copied().unwrap_or_default()
    }

    /// Whether one of these traits is the Service's.
    pub(super) fn has_trait(&self, traits: u8) -> bool {
        self.0.get(7).is_some_and(|of| of & traits != 0)
    }

    /// Whether all of these flags are set.
    pub(super) fn has(&self, flags: u8) -> bool {
        self.flags() & flags == flags
    }

    /// The TTL of the Service's records in seconds, if it is not the view's.
    pub fn ttl_secs(&self) -> Option<u32> {
        self.has_trait(OWN_TTL).then(|| long(&self.0, HEAD_OCTETS + self.key().len())).flatten()
    }

    /// How many SRV targets an answer has at most.
    pub fn srv_limit(&self) -> Option<NonZeroU16> {
        let at = || HEAD_OCTETS + self.key().len() + if self.has_trait(OWN_TTL) { 4 } else { 0 };
        self.has_trait(LIMITED).then(|| NonZeroU16::new(word(&self.0, at())?)).flatten()
    }

    /// The distinct addresses of the Service's own name, one after the other as records hold them.
    pub fn addresses(&self, is_ipv4: bool) -> &[u8] {
        self.find_addresses(is_ipv4).unwrap_or(&[])
    }

    fn find_addresses(&self, is_ipv4: bool) -> Option<&[u8]> {
        let of_trait = |of: u8, octets: usize| if self.has_trait(of) { octets } else { 0 };
        let at = HEAD_OCTETS + self.key().len() + of_trait(OWN_TTL, 4) + of_trait(LIMITED, 2);
        let [v4, v6] = [usize::from(word(&self.0, at)?), usize::from(word(&self.0, at + 2)?)];
        let (v4, rest) = self.0.get(at + 4..)?.split_at_checked(v4 * 4)?;
        if is_ipv4 { Some(v4) } else { rest.get(..v6 * 16) }
    }

    /// What a name of port and protocol, in lower case and without underscores, selects. Both empty are the Service.
    pub fn set(&self, port: &[u8], protocol: &[u8]) -> Option<Set> {
        self.sets().find(|(_, of, by)| *of == port && *by == protocol).map(|(set, ..)| set)
    }

    /// All sets, with port and protocol.
    pub fn sets(&self) -> impl Iterator<Item = (Set, &[u8], &[u8])> {
        let count = word(&self.0, 2).unwrap_or_default();
        let mut rest = long(&self.0, 8).and_then(|at| self.0.get(at as usize..)).unwrap_or(&[]);
        (0..count).map_while(move |index| {
            let (head, texts) = rest.split_first_chunk::<SET_OCTETS>()?;
            let (port, texts) = texts.split_at_checked(usize::from(head[0]))?;
            let (protocol, texts) = texts.split_at_checked(usize::from(head[1]))?;
            rest = texts;
            let pairs = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
            Some((Set { index, pairs }, port, protocol))
        })
    }

    /// The ports of a list, by their numbers; those without one come first.
    pub fn ports(&self, list: u16) -> impl Iterator<Item = Port> + use<'_> {
        let ports = self.list(list).and_then(|(_, rest)| {
            let (count, ports) = rest.split_first_chunk()?;
            ports.get(..usize::from(u16::from_le_bytes(*count)) * PORT_OCTETS)
        });
        ports.unwrap_or(&[]).chunks_exact(PORT_OCTETS).map(|port| {
            let set = |at: usize| word(port, at).unwrap_or_default();
            Port { number: (port[2] != 0).then(|| set(0)), sets: [set(3), set(5), set(7)] }
        })
    }

    /// The topology zone of a list's endpoints, as labels in wire form; empty if it has none, or none is asked for.
    pub fn topology_zone(&self, list: u16) -> &[u8] {
        self.list(list).map_or(&[], |(zone, _)| zone)
    }

    /// The topology zones of all lists.
    pub fn topology_zones(&self) -> impl Iterator<Item = &[u8]> {
        let lists = word(&self.0, 4).unwrap_or_default();
        (0..lists).map(|list| self.topology_zone(list)).filter(|zone| !zone.is_empty())
    }

    /// A list's zone, and what stands behind it.
    fn list(&self, list: u16) -> Option<(&[u8], &[u8])> {
        if list >= word(&self.0, 4)? {
            return None;
        }
        let lists_at = long(&self.0, 12)? as usize;
        let at = long(&self.0, lists_at + 4 * usize::from(list))? as usize;
        let (&octets, rest) = self.0.get(at..)?.split_first()?;
        rest.split_at_checked(usize::from(octets))
    }

    /// All items: the Service itself, if it has addresses of its own, and the endpoints.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let mut rest = long(&self.0, 20).and_then(|at| self.0.get(at as usize..)).unwrap_or(&[]);
        std::iter::from_fn(move || take_item(&mut rest))
    }

    /// The items that the Service's own name and its ports select from.
    pub fn members(&self) -> impl Iterator<Item = Item<'_>> {
        let is_own = self.has(OWN);
        self.items().take_while(move |item| item.marks & ASIDE == 0 && (!is_own || item.label.is_empty()))
    }

    /// The Service itself, if it has addresses of its own.
    pub fn own(&self) -> Option<Item<'_>> {
        self.items().next().filter(|item| item.label.is_empty())
    }

    /// The item of a label in wire form, whose [`label_hash`] is known.
    pub fn find(&self, hash: NonZeroU32, label: &[u8]) -> Option<Item<'_>> {
        self.find_all(hash).find(|item| item.label == label)
    }

    /// How many endpoints it has, told by their table.
    pub(super) fn endpoint_count(&self) -> usize {
        self.table().chunks_exact(4).filter(|place| **place != [0; 4]).count()
    }

    /// How many octets it takes.
    pub(super) fn octets(&self) -> usize {
        self.0.len()
    }

    fn table(&self) -> &[u8] {
        let places = self.0.get(6).map_or(0, |bits| 1usize.checked_shl(u32::from(*bits)).unwrap_or(0) & !1);
        let table = long(&self.0, 16).and_then(|at| self.0.get(at as usize..at as usize + 4 * places));
        table.unwrap_or(&[])
    }

    /// Items that may have a hash.
    pub(super) fn find_all(&self, hash: NonZeroU32) -> impl Iterator<Item = Item<'_>> {
        let table = self.table();
        let (first, tag) = place_of(hash);
        let mask = (table.len() / 4).wrapping_sub(1);
        let run = (0..table.len() / 4)
            .map_while(move |step| long(table, 4 * (first.wrapping_add(step) & mask)).filter(|place| *place != 0));
        run.filter(move |place| place >> PLACE_BITS == tag)
            .filter_map(|place| take_item(&mut self.0.get((place & ((1 << PLACE_BITS) - 1)) as usize..)?))
    }
}

fn take_item<'a>(rest: &mut &'a [u8]) -> Option<Item<'a>> {
    let (&octets, tail) = rest.split_first()?;
    let (label, tail) = tail.split_at_checked(usize::from(octets))?;
    let (&list, tail) = tail.split_first()?;
    let (marks, list, tail) = match list {
        MARKED => tail.split_first_chunk::<2>().map(|(&[marks, list], tail)| (marks, list, tail))?,
        list => (0, list, tail),
    };
    let (&[one, other], tail) = tail.split_first_chunk::<2>()?;
    if list != EXTENDED {
        let (v4, tail) = tail.split_at_checked(usize::from(one) * 4)?;
        let (v6, tail) = tail.split_at_checked(usize::from(other) * 16)?;
        *rest = tail;
        return Some(Item { label, marks, body: Body::Plain { list, v4, v6 } });
    }
    let count = u16::from_le_bytes([one, other]);
    *rest = tail;
    for _ in 0..count {
        take_member(rest)?;
    }
    let members = tail.get(..tail.len() - rest.len())?;
    Some(Item { label, marks, body: Body::Extended { count, members } })
}

fn take_member<'a>(rest: &mut &'a [u8]) -> Option<(u16, Target<'a>, u8)> {
    let (head, tail) = rest.split_first_chunk::<3>()?;
    let list = u16::from_le_bytes([head[0], head[1]]);
    let (target, tail) = match head[2] & ((1 << MARK_SHIFT) - 1) {
        4 => tail.split_first_chunk::<4>().map(|(octets, tail)| (Target::Address((*octets).into()), tail))?,
        6 => tail.split_first_chunk::<16>().map(|(octets, tail)| (Target::Address((*octets).into()), tail))?,
        _ => {
            let (&octets, tail) = tail.split_first()?;
            let (name, tail) = tail.split_at_checked(usize::from(octets))?;
            (Target::Alias(name), tail)
        }
    };
    *rest = tail;
    Some((list, target, head[2] >> MARK_SHIFT))
}

impl<'a> Item<'a> {
    /// Whether its name stands above others, and has no records itself.
    pub(super) fn is_empty(&self) -> bool {
        self.plain().is_some_and(|plain| plain.v4.is_empty() && plain.v6.is_empty())
    }

    /// Whether it is an endpoint of more than one address of a family.
    pub(super) fn is_of_several(&self) -> bool {
        !self.label.is_empty() && self.plain().is_none_or(|plain| plain.v4.len() > 4 || plain.v6.len() > 16)
    }

    /// Its addresses, if it is not extended.
    pub fn plain(&self) -> Option<Plain<'a>> {
        match self.body {
            Body::Plain { list, v4, v6 } => Some(Plain { list: list.into(), v4, v6 }),
            Body::Extended { .. } => None,
        }
    }

    /// What it stands for, each with its list of ports.
    pub fn targets(&self) -> impl Iterator<Item = (u16, Target<'a>)> + use<'a> {
        self.marked_targets().map(|(list, target, _)| (list, target))
    }

    /// What of it the Service's own name and its ports select from.
    pub fn members(&self) -> impl Iterator<Item = (u16, Target<'a>)> + use<'a> {
        self.marked_targets().filter(|(.., marks)| marks & ASIDE == 0).map(|(list, target, _)| (list, target))
    }

    /// The addresses that point back to it, each with its marks.
    pub(super) fn pointing(&self) -> impl Iterator<Item = (IpAddr, u8)> + use<'a> {
        self.marked_targets().filter_map(|(_, target, marks)| match target {
            Target::Address(address) if marks & NO_PTR == 0 => Some((address, marks)),
            _ => None,
        })
    }

    fn marked_targets(&self) -> impl Iterator<Item = (u16, Target<'a>, u8)> + use<'a> {
        let of_all = self.marks;
        let (plain, mut extended, count) = match self.body {
            Body::Plain { list, v4, v6 } => (Some((u16::from(list), v4, v6)), &[][..], 0),
            Body::Extended { count, members } => (None, members, count),
        };
        let plain = plain
            .into_iter()
            .flat_map(|(list, v4, v6)| addresses(v4, v6).map(move |address| (list, Target::Address(address), 0)));
        let all = plain.chain((0..count).map_while(move |_| take_member(&mut extended)));
        all.map(move |(list, target, marks)| (list, target, marks | of_all))
    }

    /// The marks of an address that points back to it.
    pub(super) fn pointed_from(&self, address: IpAddr) -> Option<u8> {
        self.pointing().find(|(pointing, _)| *pointing == address).map(|(_, marks)| marks)
    }
}

/// Addresses that stand one after the other as records hold them.
pub fn addresses<'a>(v4: &'a [u8], v6: &'a [u8]) -> impl Iterator<Item = IpAddr> + use<'a> {
    let v4 = v4.as_chunks::<4>().0.iter().map(|octets| IpAddr::from(*octets));
    v4.chain(v6.as_chunks::<16>().0.iter().map(|octets| IpAddr::from(*octets)))
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sets: Vec<_> = self.sets().map(|(set, port, protocol)| (set, port.to_vec(), protocol.to_vec())).collect();
        let items: Vec<_> =
            self.items().map(|item| (item.label.to_vec(), item.targets().collect::<Vec<_>>())).collect();
        let mut debug = f.debug_struct("Packed");
        debug.field("key", &String::from_utf8_lossy(self.key())).field("flags", &self.flags());
        debug.field("sets", &sets).field("items", &items).finish()
    }
}
