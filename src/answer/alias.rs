//! Following aliases: an ExternalName, or an endpoint whose address is a name.
//!
//! CoreDNS gives an alias and what it leads to; one within the zone that leads nowhere is left out altogether
//! (plugin/backend_lookup.go, func A). One that leaves the zone is asked of the server itself, and stands whatever comes
//! back.

use std::net::IpAddr;

use super::locate::{Located, locate};
use super::message::{Message, Owner, Section, address_type};
use super::query::rtype;
use super::responder::Responder;
use crate::zone::faults::{Fault, planted};
use crate::zone::records::{Entry, Selected};
use crate::zone::{Name, Snapshot, View};

/// The most aliases in a row, as in CoreDNS (maxCnameChainLength).
const CHAIN_MAX: usize = 10;

/// The most aliases that one question follows, over all branches and zones. Endpoints whose addresses are names can make
/// a tree of aliases, and two zones a loop that no zone sees; CoreDNS follows either until it dies.
const STEPS_MAX: u32 = 256;

/// Where the aliases came by.
#[derive(Debug)]
pub(super) struct Trail {
    /// Targets on the way here. One that comes again closes a loop.
    path: Vec<Name>,
    /// How many of them lie before the zone was entered: the limit counts anew in each zone, as in CoreDNS.
    entered_at: usize,
    /// Aliases that may still be followed.
    steps_left: u32,
}

impl Default for Trail {
    fn default() -> Self {
        Self { path: Vec::new(), entered_at: 0, steps_left: STEPS_MAX }
    }
}

/// A record on the way.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Its owner in wire form; `None` is the question's name.
    pub(super) owner: Option<Box<[u8]>>,
    /// Its TTL in seconds.
    pub(super) ttl_secs: u32,
    /// Its data.
    pub(super) data: Data,
}

/// A record's data.
#[derive(Clone, Debug)]
pub(super) enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// CNAME.
    Alias(Name),
    /// A record that another server gave; its data holds no name that is compressed but a CNAME's target.
    Raw {
        /// Its type.
        rtype: u16,
        /// Its data in wire form.
        rdata: Box<[u8]>,
    },
    /// In the place of what the upstreams of a block say about the owner.
    Elsewhere {
        /// [`Block::id`](super::Block::id)
        block: usize,
    },
}

/// Writes records as answers. What is elsewhere must have been put in by now.
pub(super) fn write(chain: &[Record], message: &mut Message<'_>) {
    for record in chain {
        let owner = record.owner.as_deref().map_or(Owner::QUESTION, Owner::Name);
        let ttl = record.ttl_secs;
        match &record.data {
            Data::Address(address) => {
                message.address(Section::Answer, owner, ttl, *address);
            }
            Data::Alias(target) => {
                message.record(Section::Answer, owner, rtype::CNAME, ttl, |message| message.name(target.as_wire()));
            }
            Data::Raw { rtype: rtype::CNAME, rdata } => {
                message.record(Section::Answer, owner, rtype::CNAME, ttl, |message| message.name(rdata));
            }
            Data::Raw { rtype, rdata } => {
                message.record(Section::Answer, owner, *rtype, ttl, |message| message.octets(rdata));
            }
            Data::Elsewhere { .. } => {}
        }
    }
}

/// The answer to a question of addresses at a name with aliases.
pub(super) fn follow(
    responder: &Responder,
    seen: Seen<'_>,
    name: &[u8],
    qtype: u16,
    selected: &Selected<'_>,
) -> Vec<Record> {
    Chase { responder, qtype }.selected(seen, name, None, selected, &mut Trail::default())
}

/// The addresses of a name of a view's zone, asked for on behalf of an alias; `None` if the view has no such
/// name.
pub(super) fn resolve(
    responder: &Responder,
    view: &View,
    zone: &Name,
    name: &Name,
    qtype: u16,
    trail: &mut Trail,
) -> Option<Vec<Record>> {
    let seen = Seen { view, content: &view.current(), zone };
    Chase { responder, qtype }.name(seen, name, trail)
}

/// A view in which aliases are followed, at one moment, and the zone of it that they are in.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) view: &'a View,
    pub(super) content: &'a Snapshot,
    pub(super) zone: &'a Name,
}

struct Chase<'a> {
    responder: &'a Responder,
    qtype: u16,
}

impl Chase<'_> {
    /// What stands at a name; `None` if there is no such name.
    fn name(&self, seen: Seen<'_>, name: &Name, trail: &mut Trail) -> Option<Vec<Record>> {
        let wire = name.as_wire();
        let owner = Some(wire);
        let ttl_secs = seen.view.options().ttl_secs;
        let one = |address: IpAddr| self.addresses(ttl_secs, owner, std::iter::once(address));
        match locate(seen.view, seen.content, wire, wire.len() - seen.zone.as_wire().len()) {
            Located::Missing => None,
            Located::Empty | Located::Drained => Some(Vec::new()),
            Located::NameServer => Some(self.addresses(ttl_secs, owner, seen.content.name_servers().addresses())),
            Located::Pod(pod) => Some(one(pod.address)),
            Located::Service(selected) => Some(self.selected(seen, wire, owner, &selected, trail)),
        }
    }

    fn selected(
        &self,
        seen: Seen<'_>,
        name: &[u8],
        owner: Option<&[u8]>,
        selected: &Selected<'_>,
        trail: &mut Trail,
    ) -> Vec<Record> {
        let entries = selected.entries.iter().filter(|entry| entry.has(Entry::FIRST_ADDRESS));
        let ttl_secs = selected.ttl_secs.unwrap_or_else(|| seen.view.options().ttl_secs);
        let mut records = self.addresses(ttl_secs, owner, entries.map(|entry| entry.address));
        for alias in &selected.aliases {
            // An alias to itself, or below itself, is a loop; so is one that came before.
            if alias.is_at_or_below(name)
                || trail.steps_left == 0
                || trail.path.len() - trail.entered_at > CHAIN_MAX
                || trail.path.contains(alias)
                || planted(Fault::AliasNotFollowed)
            {
                continue;
            }
            trail.steps_left -= 1;
            trail.path.push(alias.clone());
            let next = if alias.is_within(seen.zone) {
                self.name(seen, alias, trail).filter(|next| !next.is_empty())
            } else {
                let entered_at = std::mem::replace(&mut trail.entered_at, trail.path.len());
                let next = self.responder.resolve(alias, self.qtype, trail);
                trail.entered_at = entered_at;
                Some(next)
            };
            trail.path.pop();
            if let Some(next) = next {
                let owner = owner.map(Into::into);
                records.push(Record { owner, ttl_secs, data: Data::Alias(alias.clone()) });
                records.extend(next);
            }
        }
        records
    }

    fn addresses(&self, ttl_secs: u32, owner: Option<&[u8]>, addresses: impl Iterator<Item = IpAddr>) -> Vec<Record> {
        addresses
            .filter(|address| address_type(*address) == self.qtype)
            .map(|address| Record { owner: owner.map(Into::into), ttl_secs, data: Data::Address(address) })
            .collect()
    }
}
