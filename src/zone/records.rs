//! What a name of a Service selects, drawn up from what is packed.
//!
//! CoreDNS answers a name from the list of all (address, port) pairs that the name selects, and drops duplicates as
//! it goes: A by address, SRV by target and port, glue by target and address, with the SRV weight taken from the
//! list before (plugin/backend_lookup.go). Here the list is made for those who compose an answer or enumerate a zone;
//! each [`Entry`] carries the marks that say in which records it is the first of its kind. What is asked for most is
//! written without it.

use std::net::IpAddr;
use std::num::NonZeroU16;

use ahash::HashSet;

use super::faults::{Fault, planted};
use super::name::Name;
use super::packed::{Item, Packed, Port, Set, Target};
use super::service::{Below, Service};

/// One (address, port) pair that a name selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The SRV target: see [`Selected::target`].
    pub target: u32,
    /// The address.
    pub address: IpAddr,
    /// The port; meaningless without [`Entry::FIRST_SRV`].
    pub port: u16,
    /// The marks below.
    pub marks: u8,
}

impl Entry {
    /// First with this address: the A or AAAA record of the name.
    pub const FIRST_ADDRESS: u8 = 1;
    /// First with this target and port, and has a port: an SRV record.
    pub const FIRST_SRV: u8 = 2;
    /// First with this address under this target among those with a port: a glue record.
    pub const FIRST_GLUE: u8 = 4;

    /// Whether a mark is set.
    pub fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }
}

/// What a name selects.
#[derive(Debug)]
pub struct Selected<'a> {
    /// The labels of Service and namespace.
    pub key: &'a [u8],
    /// The TTL of its records in seconds, if it is not the view's.
    pub ttl_secs: Option<u32>,
    /// How many SRV targets an answer has at most.
    pub srv_limit: Option<NonZeroU16>,
    /// The pairs, sorted by target; duplicates that no record shows are left out.
    pub entries: Vec<Entry>,
    /// How many pairs there were before: the SRV weight is 100 over this.
    pub pairs: u32,
    /// Targets of CNAME records: an ExternalName, or endpoints whose address is a name.
    pub aliases: Vec<Name>,
    targets: Vec<&'a [u8]>,
}

/// What was seen of each kind of record.
#[derive(Default)]
struct Drawing {
    addresses: HashSet<IpAddr>,
    srv: HashSet<(u32, u16)>,
    glue: HashSet<(u32, IpAddr)>,
    aliases: HashSet<Vec<u8>>,
}

impl Service {
    /// What a name selects; `None` if there is no such name.
    pub fn select(&self, below: Below<'_>) -> Option<Selected<'_>> {
        match below {
            Below::Service => self.select_set(&[], &[]),
            Below::Port { port, protocol } => self.select_set(port, protocol),
            Below::Endpoint(label) => {
                let (part, item) = self.endpoint(label)?;
                Some(self.draw([(part, item)].into_iter(), Item::targets, |_, _, _| true))
            }
            Below::Zone { labels, prefer } => self.is_headless().then(|| self.select_zone(labels, prefer)),
        }
    }

    /// The endpoints of a topology zone. There are such names for every zone, whether it has any or not
    /// (plugin/kubernetes/kubernetes.go, func findServices).
    fn select_zone(&self, labels: &[u8], prefer: bool) -> Selected<'_> {
        let in_zone = self.draw(self.selected_items(), Item::members, |part, list, _| {
            part.topology_zone(list) == labels || planted(Fault::TopologyZoneUnchecked)
        });
        if prefer && in_zone.is_empty() && !planted(Fault::PreferMeansPin) {
            self.draw(self.selected_items(), Item::members, |_, _, _| true)
        } else {
            in_zone
        }
    }

    fn selected_items(&self) -> impl Iterator<Item = (&Packed, Item<'_>)> {
        self.selected().flat_map(|part| part.members().map(move |item| (part, item)))
    }

    fn select_set(&self, port: &[u8], protocol: &[u8]) -> Option<Selected<'_>> {
        let Set { index, .. } = self.set(port, protocol)?;
        Some(self.draw(self.selected_items(), Item::members, |part, _, of| {
            let any = planted(Fault::AnyPortMatches) || planted(Fault::AnyProtocolMatches);
            of.is_in(index) || any && matches_but_for_faults(part, of, port, protocol)
        }))
    }

    /// `targets` are those of an item that count.
    fn draw<'a, I: Iterator<Item = (u16, Target<'a>)>>(
        &'a self,
        items: impl Iterator<Item = (&'a Packed, Item<'a>)>,
        targets: impl Fn(&Item<'a>) -> I,
        is_selected: impl Fn(&Packed, u16, &Port) -> bool,
    ) -> Selected<'a> {
        let mut drawing = Drawing::default();
        let mut selected = Selected {
            key: self.key(),
            ttl_secs: self.ttl_secs(),
            srv_limit: self.srv_limit(),
            entries: Vec::new(),
            pairs: 0,
            aliases: Vec::new(),
            targets: Vec::new(),
        };
        for (target, (part, item)) in (0u32..).zip(items) {
            selected.targets.push(item.label);
            for (list, of_list) in targets(&item) {
                for port in part.ports(list).filter(|port| is_selected(part, list, port)) {
                    selected.add(&mut drawing, target, of_list, port.number);
                }
                // An alias has no ports of its own.
                if let Target::Alias(_) = of_list
                    && item.label.is_empty()
                {
                    selected.add(&mut drawing, target, of_list, None);
                }
            }
        }
        if planted(Fault::WeightOverDistinct) {
            selected.pairs = u32::try_from(selected.entries.len()).unwrap_or(u32::MAX);
        }
        selected
    }
}

/// Whether a port would be selected if one of its texts were not looked at.
fn matches_but_for_faults(part: &Packed, of: &Port, port: &[u8], protocol: &[u8]) -> bool {
    let [exact, ..] = of.sets;
    part.sets().filter(|(set, ..)| set.index == exact).any(|(_, its_port, its_protocol)| {
        (port.is_empty() || its_port == port || planted(Fault::AnyPortMatches))
            && (protocol.is_empty() || its_protocol == protocol || planted(Fault::AnyProtocolMatches))
    })
}

impl<'a> Selected<'a> {
    fn add(&mut self, drawing: &mut Drawing, target: u32, of_list: Target<'_>, port: Option<u16>) {
        let address = match of_list {
            Target::Address(address) => address,
            Target::Alias(name) => {
                if drawing.aliases.insert(name.to_vec()) {
                    self.aliases.extend(Name::from_wire(name));
                }
                return;
            }
        };
        self.pairs += 1;
        let mut marks = 0;
        if drawing.addresses.insert(address) || planted(Fault::DuplicateAddresses) {
            marks |= Entry::FIRST_ADDRESS;
        }
        if let Some(port) = port {
            if drawing.srv.insert((target, port)) {
                marks |= Entry::FIRST_SRV;
            }
            if drawing.glue.insert((target, address)) {
                marks |= Entry::FIRST_GLUE;
            }
        }
        if marks != 0 {
            self.entries.push(Entry { target, address, port: port.unwrap_or_default(), marks });
        }
    }

    /// Whether it selects anything at all. A Service that the API server has given no address yet selects nothing,
    /// though its name exists.
    pub fn is_empty(&self) -> bool {
        self.pairs == 0 && self.aliases.is_empty()
    }

    /// The labels of an entry's target, which stand before the Service's own; none where it is the Service.
    pub fn target(&self, entry: &Entry) -> &'a [u8] {
        self.targets.get(entry.target as usize).copied().unwrap_or(&[])
    }

    /// The weight of each SRV record; see [`weight`].
    pub fn weight(&self) -> u16 {
        weight(self.pairs)
    }
}

/// The weight of each of this many pairs' SRV records: 100 over their number, rounded down, at least 1. The arithmetic
/// is CoreDNS's (plugin/backend_lookup.go, func SRV), floating point included, so that it rounds the same.
pub fn weight(pairs: u32) -> u16 {
    let share = 100.0 / (100.0 * f64::from(pairs.max(1))) * 100.0;
    (share.floor() as u16).max(1)
}
