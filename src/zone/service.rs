//! A Service of a view: all names at and below it, in one version.
//!
//! A large Service is in chunks, each of the endpoints whose labels' hashes fall to it: when one slice changes, only
//! the chunks of the labels that it touches are packed again, and the others are taken over. A chunk is a Service to
//! itself; what its own name selects is in the head.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use super::name::suffixes;
use super::packed::{
    CANONICAL, CLUSTERS, DOTTED, HOSTNAME, Item, NAMES, OWN, PLAIN, Packed, ROOT, Set, UNPOINTED, label_hash,
};

/// The most endpoints of a Service that is not in chunks.
pub(super) const WHOLE_MAX: usize = 128;

/// See the module. A clone shares all of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Service {
    /// All in one.
    Whole(Packed),
    /// In chunks.
    Chunked(Arc<Chunked>),
}

/// What is kept of Services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Endpoints, by their names; whether or not these can be asked for.
    pub endpoints: usize,
    /// Names of Services and of their endpoints that can be asked for. Those of ports are not counted.
    pub names: usize,
    /// Octets of the packed Services.
    pub octets: usize,
}

/// A large Service.
#[derive(Debug, PartialEq)]
pub struct Chunked {
    /// The Service's key, its sets with the pairs of all chunks, and itself if it has addresses of its own.
    pub(super) head: Packed,
    /// By the first bits of a label's hash; a power of two.
    pub(super) chunks: Box<[Chunk]>,
}

/// A part of a large Service.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// A keyed hash of what it is made of.
    pub(super) made_of: u64,
    pub(super) packed: Packed,
}

impl PartialEq for Chunk {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.packed.0, &other.packed.0) || self.packed == other.packed
    }
}

/// What is asked for at or below a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below<'a> {
    /// The Service itself.
    Service,
    /// One label, in wire form: an endpoint. Below an import two, with its cluster's.
    Endpoint(&'a [u8]),
    /// The labels of a topology zone: the endpoints of it, or, if it has none and this is wanted, all.
    Zone {
        /// In wire form, lower case.
        labels: &'a [u8],
        /// All endpoints stand in for a zone without any.
        prefer: bool,
    },
    /// Two labels: port and protocol, their leading underscores taken off; empty stands for any.
    Port {
        /// Port name in lower case.
        port: &'a [u8],
        /// Protocol in lower case.
        protocol: &'a [u8],
    },
}

impl Service {
    /// The labels of Service and namespace.
    pub fn key(&self) -> &[u8] {
        self.head().key()
    }

    fn head(&self) -> &Packed {
        match self {
            Self::Whole(packed) => packed,
            Self::Chunked(chunked) => &chunked.head,
        }
    }

    /// The TTL of its records in seconds, if it is not the view's.
    pub fn ttl_secs(&self) -> Option<u32> {
        self.head().ttl_secs()
    }

    /// How many SRV targets the answer for a set has at most.
    pub fn srv_limit(&self) -> Option<NonZeroU16> {
        self.head().srv_limit()
    }

    /// Whether the Service, or anything below it, has a name. One that does not exist has none; its endpoints are what
    /// their addresses point back to.
    pub fn has_names(&self) -> bool {
        self.head().has(ROOT) || self.head().has(NAMES)
    }

    /// Whether several pods may have one name in it, or one a name that was cut, where another version has not the same.
    pub(super) fn may_conflict(&self, old: Option<&Self>) -> bool {
        let new = self.parts().enumerate().filter(|(index, _)| !self.shares_part(*index, old)).map(|(_, part)| part);
        self.head().has(NAMES)
            && (self.head().has_trait(DOTTED) || new.flat_map(Packed::items).any(|item| item.is_of_several()))
    }

    /// Whether its own name selects endpoints, though there may be none.
    pub fn is_headless(&self) -> bool {
        self.head().has(NAMES) && !self.head().has(OWN)
    }

    /// The topology zones that have names of their own here, each once.
    pub fn topology_zones(&self) -> Vec<&[u8]> {
        let mut zones: Vec<&[u8]> =
            if self.is_headless() { self.head().topology_zones().collect() } else { Vec::new() };
        zones.sort_unstable();
        zones.dedup();
        zones
    }

    /// Its packed parts: the head first, if it has one.
    fn parts(&self) -> impl Iterator<Item = &Packed> {
        let chunks = match self {
            Self::Whole(_) => &[][..],
            Self::Chunked(chunked) => &chunked.chunks,
        };
        [self.head()].into_iter().chain(chunks.iter().map(|chunk| &chunk.packed))
    }

    /// All items: the Service itself, if it has addresses of its own, and the endpoints.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        self.parts().flat_map(Packed::items)
    }

    /// What it takes, as far as another version does not have the same parts.
    pub(super) fn size_beside(&self, other: Option<&Self>) -> Size {
        let mut size = Size::default();
        let has_names = self.head().has(NAMES);
        let other = other.filter(|other| other.head().has(NAMES) == has_names);
        for (_, part) in self.parts().enumerate().filter(|(index, _)| !self.shares_part(*index, other)) {
            let endpoints = part.endpoint_count();
            size.endpoints += endpoints;
            size.names += if has_names { endpoints } else { 0 };
            size.octets += part.octets();
        }
        size.names += usize::from(self.has_names());
        size
    }

    /// How many parts there are.
    pub(super) fn part_count(&self) -> usize {
        self.parts().count()
    }

    /// The items of a part, the first being the head.
    pub(super) fn items_of_part(&self, index: usize) -> Option<impl Iterator<Item = Item<'_>>> {
        self.parts().nth(index).map(Packed::items)
    }

    /// The parts of which the Service's own name and its ports select the members.
    pub fn selected(&self) -> impl Iterator<Item = &Packed> {
        let is_own = self.head().has(OWN);
        // A head without addresses of its own has no members.
        self.parts().take(if is_own { 1 } else { usize::MAX })
    }

    /// Whether no item that the Service's own name selects is extended.
    pub fn is_plain(&self) -> bool {
        self.selected().all(|packed| packed.has(PLAIN))
    }

    /// What a name of port and protocol selects; both empty are the Service itself. `None` if there is no such name.
    pub fn set(&self, port: &[u8], protocol: &[u8]) -> Option<Set> {
        self.head().set(port, protocol).filter(|_| self.head().has(ROOT))
    }

    /// The names that select from its ports, with their pairs, the Service itself not among them.
    pub fn port_names(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let named = self.head().sets().filter(|(set, ..)| set.index != 0 && self.head().has(ROOT));
        named.map(|(_, port, protocol)| (port, protocol))
    }

    /// The endpoint with a label in wire form, if endpoints have names.
    pub fn endpoint(&self, label: &[u8]) -> Option<(&Packed, Item<'_>)> {
        self.head().has(NAMES).then(|| self.item(label_hash(label), label)).flatten()
    }

    /// Whether labels are a name that has dots, or the end of one.
    pub fn has_dotted(&self, labels: &[u8]) -> bool {
        self.head().has_trait(DOTTED) && self.endpoint(labels).is_some()
    }

    /// Whether several labels are the name of an endpoint, as a pod's name with dots is, and not of a port.
    pub fn is_dotted(&self, labels: &[u8]) -> bool {
        self.head().has_trait(DOTTED) && self.endpoint(labels).is_some_and(|(_, item)| !item.is_empty())
    }

    /// Whether labels are the end of such a name, and no name of an endpoint themselves.
    pub fn is_above_dotted(&self, labels: &[u8]) -> bool {
        self.head().has_trait(DOTTED) && self.endpoint(labels).is_some_and(|(_, item)| item.is_empty())
    }

    /// Whether what is asked for below the Service can be these labels of an endpoint. Two labels are a port and its
    /// protocol, or, of a Service of many clusters, an endpoint and its cluster; or else a pod's name with dots, which is
    /// not answered unless that is wanted.
    pub(super) fn is_name(&self, labels: &[u8]) -> bool {
        let has_underscore = || suffixes(labels).any(|at| labels.get(at + 1) == Some(&b'_'));
        match suffixes(labels).count() {
            0 | 1 => true,
            _ if self.head().has_trait(DOTTED) => true,
            2 => self.head().has_trait(CLUSTERS) && !has_underscore(),
            _ => false,
        }
    }

    /// The item of a label, whether or not it is a name.
    fn item(&self, hash: NonZeroU32, label: &[u8]) -> Option<(&Packed, Item<'_>)> {
        let part = self.part(hash);
        let item = if label.is_empty() { part.own() } else { part.find(hash, label) };
        item.map(|item| (part, item))
    }

    /// The part that holds a label.
    fn part(&self, hash: NonZeroU32) -> &Packed {
        match self {
            Self::Whole(packed) => packed,
            Self::Chunked(chunked) if hash == label_hash(&[]) => &chunked.head,
            Self::Chunked(chunked) => {
                let chunk = chunked.chunks.get(chunk_of(hash, chunked.chunks.len()));
                chunk.map_or(&chunked.head, |chunk| &chunk.packed)
            }
        }
    }

    /// The label with a hash that an address points back to, and the marks of that.
    pub(super) fn label_of(&self, hash: NonZeroU32, address: IpAddr) -> Option<(&[u8], u8)> {
        let part = self.part(hash);
        let found = part.own().into_iter().chain(part.find_all(hash));
        let mut of_hash = found.filter(|item| label_hash(item.label) == hash);
        of_hash.find_map(|item| item.pointed_from(address).map(|marks| (item.label, marks)))
    }

    /// Whether an address points back to a label, in the same way.
    fn has(&self, hash: NonZeroU32, label: &[u8], address: IpAddr, marks: u8) -> bool {
        let pointed = self.item(hash, label).and_then(|(_, item)| item.pointed_from(address));
        pointed.is_some_and(|of| of & HOSTNAME == marks & HOSTNAME)
    }

    /// Whether its names are pointed to in the place of those of other Services.
    pub(super) fn is_canonical(&self) -> bool {
        self.head().has_trait(CANONICAL)
    }

    /// What decides how it is pointed to as a whole.
    fn pointed_by(&self) -> (Option<u32>, [bool; 2]) {
        (self.ttl_secs(), [CANONICAL, UNPOINTED].map(|of| self.head().has_trait(of)))
    }

    /// Whether another version has the same memory in the place of a part, so that it need not be looked at.
    pub(super) fn shares_part(&self, index: usize, other: Option<&Self>) -> bool {
        let (Self::Chunked(this), Some(Self::Chunked(other)), Some(index)) = (self, other, index.checked_sub(1)) else {
            return false;
        };
        let pair = this.chunks.get(index).zip(other.chunks.get(index));
        let is_same = pair.is_some_and(|(one, two)| Arc::ptr_eq(&one.packed.0, &two.packed.0));
        is_same && this.chunks.len() == other.chunks.len()
    }

    /// The addresses with the hashes of labels that they point back to, and did not in `other`. What both share of a large
    /// Service is not looked at.
    pub(super) fn beyond(&self, other: Option<&Self>) -> Vec<(IpAddr, NonZeroU32)> {
        let mut found = Vec::new();
        if self.head().has_trait(UNPOINTED) {
            return found;
        }
        // What points back has the TTL of what it points to, and goes with it.
        let other = other.filter(|other| other.pointed_by() == self.pointed_by());
        for (_, part) in self.parts().enumerate().filter(|(index, _)| !self.shares_part(*index, other)) {
            for item in part.items() {
                let hash = label_hash(item.label);
                let mut before = None;
                for (address, marks) in item.pointing() {
                    // One address under several lists of ports is one: they stand one after the other.
                    if before.replace(address) != Some(address)
                        && !other.is_some_and(|other| other.has(hash, item.label, address, marks))
                    {
                        found.push((address, hash));
                    }
                }
            }
        }
        found
    }
}

/// The chunk of a hash among so many.
pub(super) fn chunk_of(hash: NonZeroU32, count: usize) -> usize {
    // The table of a chunk uses the last bits.
    ((u64::from(hash.get()) * count as u64) >> u32::BITS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{self, Endpoint, EndpointAddress, EndpointPort, EndpointSlice, ObjectKey, ServiceKind};
    use crate::zone::Name;
    use crate::zone::options::ViewOptions;
    use crate::zone::rules::Rules;
    use crate::zone::schema::{For, Schema, service_key};
    use crate::zone::snapshot::Snapshot;
    use std::net::Ipv4Addr;

    fn options() -> ViewOptions {
        let zone = Name::parse("cluster.local").expect("a name");
        ViewOptions {
            endpoint_pod_names: vec![model::PodNames::default()],
            ..ViewOptions::new(vec![zone]).expect("a zone")
        }
    }

    /// Slices of a headless Service, each of these pods, given by numbers.
    #[test]
    fn what_is_kept_is_counted_as_it_comes_and_goes() {
        let versions = [
            vec![(0..3).collect::<Vec<u32>>()],
            vec![(0..3).collect(), (3..500).collect()],
            vec![(0..2).collect(), (3..500).collect()],
            vec![(0..2).collect(), (3..5).collect()],
        ];
        let mut snapshot = Snapshot::new(1, &options());
        let mut old: Option<Service> = None;
        for slices in versions {
            let new = service(&slices, old.as_ref());
            drop(snapshot.set_service(new.key(), old.as_ref(), Some(new.clone()), true));
            let endpoints: usize = slices.iter().map(Vec::len).sum();
            let size = snapshot.size();
            assert_eq!((size.endpoints, size.names), (endpoints, endpoints + 1));
            assert_eq!(size, new.size_beside(None));
            assert!(size.octets > 20 * endpoints && snapshot.table_octets() > 12 * endpoints);
            old = Some(new);
        }
        let key = old.as_ref().map(|old| old.key().to_vec()).unwrap_or_default();
        drop(snapshot.set_service(&key, old.as_ref(), None, true));
        assert_eq!(snapshot.size(), Size::default());
    }

    fn service(slices: &[Vec<u32>], old: Option<&Service>) -> Service {
        let slice = |(index, pods): (usize, &Vec<u32>)| EndpointSlice {
            key: ObjectKey::new("a", format!("web-{index}")),
            labels: Default::default(),
            service: Some("web".into()),
            import: None,
            endpoints: pods.iter().map(|pod| endpoint(*pod)).collect(),
            ports: [EndpointPort { name: "http".into(), protocol: "TCP".into(), port: Some(80) }].into(),
        };
        let slices: Vec<EndpointSlice> = slices.iter().enumerate().map(slice).collect();
        let object = model::Service {
            key: ObjectKey::new("a", "web"),
            labels: Default::default(),
            kind: ServiceKind::Headless,
            ports: [].into(),
            has_selector: true,
            settings: None,
        };
        let key = service_key("web", "a").expect("a key");
        let rules = Rules { names: model::EndpointNames::Pod, ..Rules::default() };
        let cluster = model::Cluster::default();
        let made_for = For { view: 0, options: &options(), is_named: true, rules, cluster: (&cluster, 0) };
        let packed = Schema::default().service(&key, Some(&object), slices.iter(), made_for, old);
        packed.expect("it has endpoints")
    }

    fn endpoint(pod: u32) -> Endpoint {
        Endpoint {
            addresses: vec![EndpointAddress::Ip(Ipv4Addr::from(0x0a00_0000 + pod).into())],
            hostname: None,
            target_name: Some(format!("web-{pod}").into()),
            ready: None,
            serving: None,
            terminating: None,
            zone: None,
        }
    }

    fn chunks(service: &Service) -> Vec<*const u8> {
        service.parts().skip(1).map(|part| part.0.as_ptr()).collect()
    }

    #[test]
    fn a_change_packs_again_only_the_chunks_that_it_touches() {
        let mut slices: Vec<Vec<u32>> = (0..20).map(|slice| (slice * 100..(slice + 1) * 100).collect()).collect();
        let before = service(&slices, None);
        slices[7][50] = 5000;
        let after = service(&slices, Some(&before));
        let (old, new) = (chunks(&before), chunks(&after));
        assert_eq!((old.len(), new.len()), (32, 32));
        let again = old.iter().zip(&new).filter(|(old, new)| old != new).count();
        assert!((1..=2).contains(&again), "{again} chunks were packed again");
        assert_eq!(after, service(&slices, None), "and yet it is what it would be without a past");
        let changed = |one: &Service, other: &Service| one.beyond(Some(other)).into_iter().map(|(address, _)| address);
        let address = |pod: u32| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + pod));
        assert_eq!(changed(&before, &after).collect::<Vec<_>>(), [address(750)]);
        assert_eq!(changed(&after, &before).collect::<Vec<_>>(), [address(5000)]);
    }

    #[test]
    fn what_moves_between_slices_stays_what_it_is() {
        for (from, to) in [(10, 200), (400, 900)] {
            let mut slices = vec![(0..from).collect::<Vec<u32>>(), (from..to).collect()];
            let before = service(&slices, None);
            let moved = slices[1].split_off(5);
            slices[0].extend(moved);
            slices.rotate_left(1);
            assert_eq!(service(&slices, Some(&before)), before);
        }
    }
}
