//! Writes what a Service has of a type, straight from what is packed.

use std::num::NonZeroU16;

use super::message::{Family, Message, POINTER_MAX, SRV_HEAD_OCTETS};
use super::query::HEADER_OCTETS;
use super::window::Window;
use crate::zone::packed::{Item, Packed, Plain, Set, addresses};
use crate::zone::records::weight;
use crate::zone::{Below, Service};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A or AAAA records.
    Addresses(Family),
    /// SRV records.
    Srv,
    /// Records of a type that a Service has none of.
    Nothing,
}

/// What there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is no such name.
    Missing,
    /// The name exists, and has no such records.
    NoData,
    /// It has, and they are written.
    Written,
    /// They are to be composed.
    Composed,
}

/// Writes into a message.
pub(super) struct Writer<'w, 'o> {
    pub(super) message: &'w mut Message<'o>,
    pub(super) ttl_secs: u32,
    /// The zone that SRV targets are in.
    pub(super) zone: &'w [u8],
    pub(super) service: &'w Service,
    /// Where the Service's name stands in the question's.
    pub(super) service_at: usize,
    /// Which address comes first, counted in a circle.
    pub(super) turn: usize,
}

/// An item that is not extended, and the part that it is in.
type Member<'w> = (&'w Packed, Item<'w>, Plain<'w>);

impl<'w> Writer<'w, '_> {
    pub(super) fn write(self, below: Below<'_>, wanted: Wanted) -> Found {
        match below {
            Below::Endpoint(label) => self.endpoint(label, wanted),
            Below::Service => self.set(&[], &[], wanted),
            Below::Port { port, protocol } => self.set(port, protocol, wanted),
            Below::Zone { .. } => Found::Composed,
        }
    }

    fn endpoint(self, label: &[u8], wanted: Wanted) -> Found {
        let Some((part, item)) = self.service.endpoint(label) else { return Found::Missing };
        match (wanted, item.plain()) {
            (Wanted::Nothing, _) => Found::NoData,
            (_, None) => Found::Composed,
            // It is there for the names below it.
            (_, Some(plain)) if plain.v4.is_empty() && plain.v6.is_empty() => Found::NoData,
            (Wanted::Addresses(Family::V4), Some(plain)) => self.addresses(Family::V4, plain.v4),
            (Wanted::Addresses(Family::V6), Some(plain)) => self.addresses(Family::V6, plain.v6),
            (Wanted::Srv, Some(plain)) => {
                let addresses = addresses(plain.v4, plain.v6).count();
                let pairs = u32::try_from(addresses * part.ports(plain.list).count()).unwrap_or(u32::MAX);
                self.srv(Set { index: 0, pairs }, || std::iter::once((part, item, plain)))
            }
        }
    }

    fn set(self, port: &[u8], protocol: &[u8], wanted: Wanted) -> Found {
        let service = self.service;
        let Some(set) = service.set(port, protocol) else { return Found::Missing };
        match wanted {
            Wanted::Nothing => Found::NoData,
            _ if !service.is_plain() => Found::Composed,
            Wanted::Srv => {
                let members = || {
                    let items = service.selected().flat_map(|part| part.members().map(move |item| (part, item)));
                    items.filter_map(|(part, item)| Some((part, item, item.plain()?)))
                };
                match service.srv_limit() {
                    None => self.srv(set, members),
                    Some(limit) => self.some_srv(set, limit, members),
                }
            }
            // Addresses are kept for the Service as a whole. A set with as many pairs is the same.
            Wanted::Addresses(_) if service.set(&[], &[]).map(|all| all.pairs) != Some(set.pairs) => Found::Composed,
            Wanted::Addresses(family) => {
                let mut parts = service.selected();
                match (parts.next(), parts.next()) {
                    (Some(whole), None) => self.addresses(family, whole.addresses(family == Family::V4)),
                    _ => self.addresses_of_parts(family),
                }
            }
        }
    }

    fn addresses(self, family: Family, addresses: &[u8]) -> Found {
        self.message.addresses(self.ttl_secs, family, addresses, self.turn);
        if addresses.is_empty() { Found::NoData } else { Found::Written }
    }

    /// The addresses of all chunks. A chunk holds each address once, but two chunks may hold one under two names.
    fn addresses_of_parts(self, family: Family) -> Found {
        let octets = family.octets();
        let parts = || self.service.selected().map(|part| part.addresses(family == Family::V4));
        let count = parts().map(|addresses| addresses.len() / octets).sum::<usize>().max(1);
        let first = self.turn % count;
        let all = || parts().flat_map(|addresses| addresses.chunks_exact(octets));
        // As many as a message can hold, and one more, which says that it is cut.
        let room = self.message.room_for(family) + 1;
        let mut chosen: Vec<u8> = Vec::with_capacity(count.min(room) * octets);
        let mut seen = ahash::HashSet::default();
        for address in all().skip(first).chain(all().take(first)) {
            if chosen.len() >= room * octets {
                break;
            }
            if seen.insert(address) {
                chosen.extend_from_slice(address);
            }
        }
        let turned = Writer { turn: 0, ..self };
        turned.addresses(family, &chosen)
    }

    /// Writes the SRV records of so many members at most, and their glue.
    fn some_srv<I: Iterator<Item = Member<'w>>>(self, set: Set, limit: NonZeroU16, members: impl Fn() -> I) -> Found {
        let records = |(part, _, plain): &Member<'w>| numbers(part, plain.list, set.index).count();
        let targets = || members().filter(|member| records(member) > 0);
        let window = Window::any(targets().count(), limit);
        if window.is_all() {
            return self.srv(set, members);
        }
        let kept = || targets().enumerate().filter(|(place, _)| window.has(*place)).map(|(_, member)| member);
        // What is left out weighs nothing.
        let pairs = kept().map(|member| records(&member)).sum::<usize>();
        self.srv(Set { pairs: u32::try_from(pairs).unwrap_or(u32::MAX), ..set }, kept)
    }

    /// Writes the SRV records of members and their glue.
    fn srv<I: Iterator<Item = Member<'w>>>(self, set: Set, members: impl Fn() -> I) -> Found {
        let [key, svc, zone] = [self.service.key(), b"\x03svc", self.zone];
        let weight = weight(set.pairs);
        let begin = self.message.octets_so_far();
        for (part, item, plain) in members() {
            for port in numbers(part, plain.list, set.index) {
                if !self.message.srv(self.ttl_secs, weight, port, &[item.label, key, svc, zone]) {
                    return Found::Written;
                }
            }
        }
        if self.message.octets_so_far() == begin {
            return Found::NoData;
        }
        self.glue(set, begin, key.len() + svc.len() + zone.len(), members);
        Found::Written
    }

    /// Writes the addresses of SRV targets, whose records begin at an offset and have so many octets behind each label: each owner points to its target there, or,
    /// out of the reach of pointers, is written as a label before the Service's name in the question.
    fn glue<I: Iterator<Item = Member<'w>>>(self, set: Set, begin: usize, behind: usize, members: impl Fn() -> I) {
        let first = match self.turn {
            0 => 0,
            turn => turn % members().count().max(1),
        };
        let service_at = (HEADER_OCTETS + self.service_at) as u16;
        for is_first_round in [true, false] {
            let mut at = begin;
            for (index, (part, item, plain)) in members().enumerate() {
                let records = numbers(part, plain.list, set.index).count();
                let target_at = at + SRV_HEAD_OCTETS;
                at += records * (SRV_HEAD_OCTETS + item.label.len() + behind);
                if records == 0 || (index >= first) != is_first_round {
                    continue;
                }
                let owner = match u16::try_from(target_at) {
                    Ok(target_at) if usize::from(target_at) <= POINTER_MAX => (&[][..], target_at),
                    _ => (item.label, service_at),
                };
                let is_written = self.message.glue(self.ttl_secs, Family::V4, owner, plain.v4)
                    && self.message.glue(self.ttl_secs, Family::V6, owner, plain.v6);
                if !is_written {
                    return;
                }
            }
            if first == 0 {
                return;
            }
        }
    }
}

/// The distinct numbers of a list's ports that a set selects. They stand in their order.
fn numbers(part: &Packed, list: u16, set: u16) -> impl Iterator<Item = u16> {
    let mut before = None;
    let selected = part.ports(list).filter(move |port| port.is_in(set));
    selected.filter_map(move |port| port.number.filter(|number| before.replace(*number) != Some(*number)))
}
