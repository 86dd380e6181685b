//! Writes a Service as [`Packed`].

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use ahash::HashSet;

use super::name::LABEL_OCTETS_MAX;
use super::packed::{
    ASIDE, EXTENDED, HEAD_OCTETS, LIMITED, MARK_SHIFT, MARKED, NO_PTR, OWN, OWN_TTL, PLACE_BITS, PLAIN, PORT_OCTETS,
    Packed, fold_hash, place_of,
};

/// The most addresses of a family that a message over TCP holds (RFC 1035 section 4.2.2: 65,535 octets, of which a
/// record takes 16 or 28). More of one name fit into no answer, and are left out.
const ADDRESSES_MAX: [usize; 2] = [4095, 2340];

/// So many addresses are compared one after the other; more are put into a set.
const FEW: usize = 32;

/// A port of a list, its texts in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PortName {
    pub(super) number: Option<u16>,
    pub(super) name: Box<[u8]>,
    pub(super) protocol: Box<[u8]>,
}

/// A list of ports: those of a slice, or the Service's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct List {
    /// Whether names of ports select from it. Those of a Service with cluster IPs select from its own ports alone.
    pub(super) is_selected: bool,
    /// The topology zone of its endpoints, as labels in wire form, where names are given to zones.
    pub(super) zone: Box<[u8]>,
    /// Its ports, sorted.
    pub(super) ports: Vec<PortName>,
}

/// What an item stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    V4([u8; 4]),
    V6([u8; 16]),
    /// A name in wire form.
    Alias(Box<[u8]>),
    /// Nothing: the name stands above another, and has no records (an empty non-terminal, RFC 8499 section 7).
    Nothing,
}

impl From<IpAddr> for Target {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => Self::V6(address.octets()),
        }
    }
}

/// One thing that an endpoint, or the Service itself, stands for under one list of ports.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Where its labels stand among those collected.
    pub(super) label: (u32, u8),
    /// Their keyed hash.
    pub(super) hash: u64,
    /// Index of its list of ports.
    pub(super) list: u16,
    /// What sets it apart: see [`ASIDE`].
    pub(super) marks: u8,
    pub(super) target: Target,
}

impl Member {
    pub(super) fn label<'l>(&self, labels: &'l [u8]) -> &'l [u8] {
        let (at, octets) = (self.label.0 as usize, usize::from(self.label.1));
        labels.get(at..at + octets).unwrap_or(&[])
    }
}

/// Puts members in the order of their labels, of one label in that of what they stand for. One that is set apart is left
/// out where it is there anyway, and one that nothing points back to where the label is told of another: a name that is
/// told of one pod does not lead to another. A name that is nothing but above others is left out where it is more.
pub(super) fn sort(members: &mut Vec<Member>, labels: &[u8]) {
    for member in members.iter_mut().filter(|member| member.target == Target::Nothing) {
        // Nothing has no ports, whatever slice it came from.
        member.list = 0;
    }
    members.sort_unstable_by(|one, other| {
        let by_label = one.label(labels).cmp(other.label(labels));
        let by_target = by_label.then_with(|| one.target.cmp(&other.target));
        by_target.then_with(|| (one.list, one.marks).cmp(&(other.list, other.marks)))
    });
    members.dedup_by(|again, known| {
        let is_same = || again.list == known.list && again.target == known.target;
        again.marks & ASIDE != 0 && is_same() && again.label(labels) == known.label(labels)
    });
    let is_told = |member: &Member| member.marks & NO_PTR == 0;
    if !members.iter().all(is_told) {
        let runs = members.chunk_by(|one, other| one.label(labels) == other.label(labels));
        let kept = runs.flat_map(|run| {
            let some_told = run.iter().any(is_told);
            let is_something = |member: &Member| member.target != Target::Nothing;
            let is_only_above = !run.iter().any(is_something);
            let is_kept =
                move |member: &&Member| (!some_told || is_told(member)) && (is_only_above || is_something(member));
            run.iter().filter(is_kept).cloned()
        });
        *members = kept.collect();
    }
}

/// What names of ports and protocols select: sorted, the first without either for the Service itself, each with its
/// number of pairs.
#[derive(Debug, Default)]
pub(super) struct Sets(Vec<SetName>);

/// A port's name and a protocol, either of which may be empty and stands for any then, and how many pairs they select.
type SetName = (Box<[u8]>, Box<[u8]>, u32);

impl Sets {
    /// The sets of some lists, of each of which so many addresses have the ports.
    pub(super) fn new(lists: &[List], addresses: &[u32]) -> Self {
        let mut sets = Self(vec![Default::default()]);
        let selected = || lists.iter().zip(addresses).filter(|(list, _)| list.is_selected);
        for port in selected().flat_map(|(list, _)| &list.ports) {
            // What is longer than a label is no name.
            let is_label = |text: &[u8]| text.len() <= LABEL_OCTETS_MAX;
            if is_label(&port.name) && is_label(&port.protocol) {
                let of = |name: &[u8], protocol: &[u8]| (name.into(), protocol.into(), 0);
                sets.0.extend([of(&port.name, &port.protocol), of(&port.name, &[]), of(&[], &port.protocol)]);
            }
        }
        sets.0.sort_unstable();
        sets.0.dedup();
        // So many ports that their names cannot be numbered: the rest have none.
        sets.0.truncate(usize::from(u16::MAX));
        for (list, addresses) in selected() {
            sets.0[0].2 += addresses * u32::try_from(list.ports.len()).unwrap_or(u32::MAX);
            for port in &list.ports {
                let mut of_port = sets.of(port);
                of_port.sort_unstable();
                let distinct =
                    of_port.iter().enumerate().filter(|(at, set)| **set != 0 && !of_port[..*at].contains(set));
                for (_, set) in distinct {
                    sets.0[usize::from(*set)].2 += addresses;
                }
            }
        }
        sets
    }

    /// The same names, of no pairs.
    pub(super) fn without_pairs(&self) -> Self {
        Self(self.0.iter().map(|(name, protocol, _)| (name.clone(), protocol.clone(), 0)).collect())
    }

    /// The sets that a port is in, beside the first; 0 is none.
    fn of(&self, port: &PortName) -> [u16; 3] {
        let find = |name: &[u8], protocol: &[u8]| {
            let found = self.0.binary_search_by(|(of, by, _)| (&**of, &**by).cmp(&(name, protocol)));
            found.map_or(0, |index| index as u16)
        };
        [find(&port.name, &port.protocol), find(&port.name, &[]), find(&[], &port.protocol)]
    }
}

/// What there is to pack.
pub(super) struct Parts<'a> {
    pub(super) key: &'a [u8],
    pub(super) flags: u8,
    pub(super) traits: u8,
    pub(super) ttl_secs: Option<u32>,
    pub(super) srv_limit: Option<NonZeroU16>,
    pub(super) lists: &'a [List],
    pub(super) sets: &'a Sets,
    /// The labels of all members.
    pub(super) labels: &'a [u8],
    /// The Service itself, and its endpoints: sorted by label, target and list.
    pub(super) own: &'a [Member],
    pub(super) endpoints: &'a [Member],
}

/// Packs into `octets`, whose room is used again, and from there into as much as is needed.
pub(super) fn pack(octets: &mut Vec<u8>, parts: &Parts<'_>) -> Packed {
    octets.clear();
    octets.resize(HEAD_OCTETS, 0);
    octets[0] = parts.key.len() as u8;
    octets[1] = parts.flags;
    let ttl = if parts.ttl_secs.is_some() { OWN_TTL } else { 0 };
    octets[7] = parts.traits | ttl | if parts.srv_limit.is_some() { LIMITED } else { 0 };
    octets.extend_from_slice(parts.key);
    octets.extend(parts.ttl_secs.iter().flat_map(|secs| secs.to_le_bytes()));
    octets.extend(parts.srv_limit.iter().flat_map(|limit| limit.get().to_le_bytes()));
    let mut packer = Packer { octets, parts };
    packer.addresses();
    packer.sets();
    packer.lists();
    packer.items();
    Packed(Arc::from(&**octets))
}

/// Members in runs of one label.
fn by_label<'m>(members: &'m [Member], labels: &'m [u8]) -> impl Iterator<Item = &'m [Member]> + Clone {
    members.chunk_by(|one, other| one.label(labels) == other.label(labels))
}

struct Packer<'p> {
    octets: &'p mut Vec<u8>,
    parts: &'p Parts<'p>,
}

impl Packer<'_> {
    /// The members that the Service's own name selects.
    fn selected(&self) -> impl Iterator<Item = &Member> + Clone {
        let members = if self.parts.flags & OWN == 0 { self.parts.endpoints } else { self.parts.own };
        members.iter().filter(|member| member.marks & ASIDE == 0)
    }

    fn addresses(&mut self) {
        let mut families = [Vec::new(), Vec::new()];
        let mut seen = HashSet::default();
        let is_few = self.selected().nth(FEW).is_none();
        for member in self.selected() {
            // One after the other, of few members; a set of many.
            let is_new = |known: &[&[u8]], octets: &[u8]| known.iter().all(|known| *known != octets);
            let (family, octets) = match &member.target {
                Target::V4(octets) => (0, &octets[..]),
                Target::V6(octets) => (1, &octets[..]),
                Target::Alias(_) | Target::Nothing => continue,
            };
            let is_new = if is_few { is_new(&families[family], octets) } else { seen.insert(octets) };
            if is_new && families[family].len() < ADDRESSES_MAX[family] {
                families[family].push(octets);
            }
        }
        let counts = families.each_ref().map(|family| family.len() as u16);
        let all = families.concat().concat();
        counts.into_iter().for_each(|count| self.word(count));
        self.octets.extend_from_slice(&all);
    }

    fn sets(&mut self) {
        let sets = &self.parts.sets.0;
        self.set_word(2, sets.len() as u16);
        self.mark(8);
        for (name, protocol, pairs) in sets {
            self.octets.extend_from_slice(&[name.len() as u8, protocol.len() as u8]);
            self.octets.extend_from_slice(&pairs.to_le_bytes());
            self.octets.extend_from_slice(name);
            self.octets.extend_from_slice(protocol);
        }
    }

    fn lists(&mut self) {
        let lists = self.parts.lists;
        self.set_word(4, lists.len() as u16);
        self.mark(12);
        let mut at = self.octets.len() + 4 * lists.len();
        for list in lists {
            self.octets.extend_from_slice(&(at as u32).to_le_bytes());
            at += 3 + list.zone.len() + PORT_OCTETS * list.ports.len();
        }
        for list in lists {
            // Labels of a name are no more than 255 octets.
            self.octets.push(list.zone.len() as u8);
            self.octets.extend_from_slice(&list.zone);
            self.word(list.ports.len() as u16);
            for port in &list.ports {
                self.word(port.number.unwrap_or_default());
                self.octets.push(u8::from(port.number.is_some()));
                let sets = if list.is_selected { self.parts.sets.of(port) } else { [0; 3] };
                sets.into_iter().for_each(|set| self.word(set));
            }
        }
    }

    fn items(&mut self) {
        let Parts { own, endpoints, labels, .. } = *self.parts;
        let labels_count = by_label(endpoints, labels).count();
        // Those that no set selects stand at the end: whoever looks for members ends there.
        let is_aside = |run: &&[Member]| run.iter().all(|member| member.marks & ASIDE != 0);
        let in_sets = by_label(endpoints, labels).filter(|run| !is_aside(run));
        let endpoints = || in_sets.clone().chain(by_label(endpoints, labels).filter(is_aside));
        // At most two thirds are taken, so that a search ends soon, and ends at all.
        let places = if labels_count == 0 { 0 } else { (labels_count + labels_count / 2 + 1).next_power_of_two() };
        self.octets[6] = places.checked_ilog2().unwrap_or(0) as u8;
        let table = self.mark(16);
        self.octets.resize(table + 4 * places, 0);
        self.mark(20);
        let mut is_plain = [true; 2];
        for (is_own, run) in by_label(own, labels).map(|run| (true, run)).chain(endpoints().map(|run| (false, run))) {
            let at = self.octets.len();
            // An item that no place of the table can point to is not written. It would take millions of addresses under
            // some dozens of names.
            if at >> PLACE_BITS != 0 {
                break;
            }
            is_plain[usize::from(is_own)] &= self.item(run) || is_aside(&run);
            if !is_own && let Some(member) = run.first() {
                let (first, tag) = place_of(fold_hash(member.hash));
                let mask = places - 1;
                let run = (0..places).map(|step| table + 4 * (first.wrapping_add(step) & mask));
                if let Some(free) = run.into_iter().find(|place| self.octets[*place..place + 4] == [0; 4]) {
                    let place = tag << PLACE_BITS | at as u32;
                    self.octets[free..free + 4].copy_from_slice(&place.to_le_bytes());
                }
            }
        }
        if is_plain[usize::from(self.parts.flags & OWN != 0)] {
            self.octets[1] |= PLAIN;
        }
    }

    /// Writes the item of a label; whether it is plain.
    fn item(&mut self, run: &[Member]) -> bool {
        let Some(first) = run.first() else { return true };
        let run = if first.target == Target::Nothing { &run[..0] } else { run };
        let label = first.label(self.parts.labels);
        self.octets.push(label.len() as u8);
        self.octets.extend_from_slice(label);
        let v4 = run.iter().take_while(|member| matches!(member.target, Target::V4(_))).count();
        let v6 = run[v4..].iter().take_while(|member| matches!(member.target, Target::V6(_))).count();
        let is_plain = v4 + v6 == run.len()
            && first.list < u16::from(MARKED)
            && run.iter().all(|member| member.list == first.list && member.marks == first.marks)
            && run.windows(2).all(|pair| pair[0].target != pair[1].target);
        match (is_plain, u8::try_from(v4), u8::try_from(v6)) {
            (true, Ok(v4), Ok(v6)) => {
                if first.marks != 0 {
                    self.octets.extend_from_slice(&[MARKED, first.marks]);
                }
                self.octets.extend_from_slice(&[first.list as u8, v4, v6]);
                for member in run {
                    self.target(&member.target);
                }
                true
            }
            _ => {
                // Where all have one mark, it is the item's.
                let marks = run.iter().fold(u8::MAX, |marks, member| marks & member.marks);
                if marks != 0 {
                    self.octets.extend_from_slice(&[MARKED, marks]);
                }
                self.octets.push(EXTENDED);
                let kept = run.len().min(ADDRESSES_MAX[0] + ADDRESSES_MAX[1]);
                self.word(kept as u16);
                for member in &run[..kept] {
                    self.word(member.list);
                    let kind = match &member.target {
                        Target::V4(_) => 4,
                        Target::V6(_) => 6,
                        Target::Alias(_) | Target::Nothing => 0,
                    };
                    self.octets.push(kind | member.marks << MARK_SHIFT);
                    self.target(&member.target);
                }
                false
            }
        }
    }

    fn target(&mut self, target: &Target) {
        match target {
            Target::V4(octets) => self.octets.extend_from_slice(octets),
            Target::V6(octets) => self.octets.extend_from_slice(octets),
            Target::Alias(name) => {
                self.octets.push(name.len() as u8);
                self.octets.extend_from_slice(name);
            }
            Target::Nothing => {}
        }
    }

    fn word(&mut self, word: u16) {
        self.octets.extend_from_slice(&word.to_le_bytes());
    }

    fn set_word(&mut self, at: usize, word: u16) {
        self.octets[at..at + 2].copy_from_slice(&word.to_le_bytes());
    }

    /// Notes in the head what begins here; where that is.
    fn mark(&mut self, at: usize) -> usize {
        let here = self.octets.len();
        self.octets[at..at + 4].copy_from_slice(&(here as u32).to_le_bytes());
        here
    }
}
