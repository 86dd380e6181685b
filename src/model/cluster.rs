//! The live objects and their joins.
//!
//! [`Cluster`] takes a source's [`Event`]s in, and says in [`Dirty`] what a reader of the joins must look at again.
//! An object that comes again unchanged (a relist, a status update that DNS does not see) makes nothing dirty.
//!
//! A relist is a mark-and-sweep: `Begin` opens an epoch for the kind, each `Apply` stamps its object with it, and
//! `End` removes what bears an older stamp. Until `End` nothing is missing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use super::event::{Event, Kind};
use super::objects::{EndpointAddress, EndpointSlice, Labels, Object, ObjectKey, Pod, Service, ServiceKind};
use super::selector::Selector;

/// Which of the filters that a cluster was made with let an object through: bit `i` stands for filter `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Visibility(u64);

impl Visibility {
    /// Whether filter `i` lets the object through.
    pub fn contains(self, filter: usize) -> bool {
        self.0 >> filter & 1 == 1
    }
}

/// What of a cluster one view sees, as far as labels decide it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Filter {
    /// Services, EndpointSlices and Pods must match; `None` lets all through.
    pub labels: Option<Selector>,
}

impl Filter {
    /// The largest number of filters that a cluster takes: one for each bit of [`Visibility`].
    pub const MAX: usize = u64::BITS as usize;
}

/// What changed since it was last taken.
#[derive(Debug, Default)]
pub struct Dirty {
    /// Services (by their own key) whose own data, endpoints or existence changed.
    pub services: HashSet<ObjectKey>,
    /// Addresses whose owners (Services, endpoints) changed.
    pub addresses: HashSet<IpAddr>,
    /// Namespaces that came or went.
    pub namespaces: HashSet<Box<str>>,
    /// Addresses whose pods changed.
    pub pod_addresses: HashSet<IpAddr>,
    /// A kind was listed in full for the first time.
    pub synced: bool,
}

impl Dirty {
    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.addresses.is_empty()
            && self.namespaces.is_empty()
            && self.pod_addresses.is_empty()
            && !self.synced
    }
}

/// An object with what the cluster knows of it.
#[derive(Debug)]
struct Live<T> {
    object: T,
    visible: Visibility,
    epoch: u64,
}

/// The objects of one kind.
#[derive(Debug)]
struct Table<T> {
    live: HashMap<ObjectKey, Live<T>>,
    epoch: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { live: HashMap::new(), epoch: 0 }
    }
}

impl<T: PartialEq> Table<T> {
    /// Puts an object in place; `Some(previous)` if that changed anything.
    fn put(&mut self, key: &ObjectKey, object: T, visible: Visibility) -> Option<Option<T>> {
        let epoch = self.epoch;
        if let Some(live) = self.live.get_mut(key) {
            live.epoch = epoch;
            if live.object == object && live.visible == visible {
                return None;
            }
            live.visible = visible;
            return Some(Some(std::mem::replace(&mut live.object, object)));
        }
        self.live.insert(key.clone(), Live { object, visible, epoch });
        Some(None)
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<T> {
        self.live.remove(key).map(|live| live.object)
    }

    /// Keys that the listing which now ends did not name.
    fn stale(&self) -> Vec<ObjectKey> {
        self.live.iter().filter(|(_, live)| live.epoch != self.epoch).map(|(key, _)| key.clone()).collect()
    }
}

/// A join from one key to its members. Nearly every address has one, so that one takes no set.
#[derive(Debug)]
struct Join<K>(HashMap<K, Members>);

#[derive(Debug)]
enum Members {
    One(ObjectKey),
    Many(BTreeSet<ObjectKey>),
}

impl Members {
    fn iter(&self) -> impl Iterator<Item = &ObjectKey> {
        let (one, many) = match self {
            Self::One(member) => (Some(member), None),
            Self::Many(members) => (None, Some(members)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl<K> Default for Join<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Join<K> {
    fn add(&mut self, key: K, member: &ObjectKey) {
        match self.0.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(Members::One(member.clone()));
            }
            Entry::Occupied(mut occupied) => match occupied.get_mut() {
                Members::One(known) if known == member => {}
                Members::One(known) => {
                    let members = BTreeSet::from([known.clone(), member.clone()]);
                    occupied.insert(Members::Many(members));
                }
                Members::Many(members) => {
                    members.insert(member.clone());
                }
            },
        }
    }

    fn drop_member(&mut self, key: &K, member: &ObjectKey) {
        let is_empty = match self.0.get_mut(key) {
            Some(Members::One(known)) => known == member,
            Some(Members::Many(members)) => {
                members.remove(member);
                members.is_empty()
            }
            None => false,
        };
        if is_empty {
            self.0.remove(key);
        }
    }

    fn get<'a>(&'a self, key: &K) -> impl Iterator<Item = &'a ObjectKey> + use<'a, K> {
        self.0.get(key).into_iter().flat_map(Members::iter)
    }
}

/// The live objects of one cluster.
#[derive(Debug, Default)]
pub struct Cluster {
    filters: Vec<Filter>,
    namespaces: Table<()>,
    services: Table<Service>,
    slices: Table<EndpointSlice>,
    pods: Table<Pod>,
    slices_by_service: Join<ObjectKey>,
    services_by_address: Join<IpAddr>,
    slices_by_address: Join<IpAddr>,
    pods_by_address: Join<IpAddr>,
    listed: HashSet<Kind>,
    dirty: Dirty,
}

impl Cluster {
    /// An empty cluster of which [`Filter::MAX`] filters at most are kept; the rest see nothing.
    pub fn new(filters: Vec<Filter>) -> Self {
        Self { filters, ..Self::default() }
    }

    /// Takes one event in.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Begin(kind) => match kind {
                Kind::Namespace => self.namespaces.epoch += 1,
                Kind::Service => self.services.epoch += 1,
                Kind::EndpointSlice => self.slices.epoch += 1,
                Kind::Pod => self.pods.epoch += 1,
            },
            Event::Apply(object) => self.apply(object),
            Event::Delete(kind, key) => self.delete(kind, &key),
            Event::End(kind) => self.end(kind),
        }
    }

    /// What changed since the last call.
    pub fn take_dirty(&mut self) -> Dirty {
        std::mem::take(&mut self.dirty)
    }

    /// Whether every one of these kinds has been listed in full.
    pub fn is_synced(&self, kinds: &[Kind]) -> bool {
        kinds.iter().all(|kind| self.listed.contains(kind))
    }

    /// Whether a namespace exists.
    pub fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.live.contains_key(&ObjectKey::new("", name))
    }

    /// The names of all namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.live.keys().map(|key| &*key.name)
    }

    /// The keys of all Services.
    pub fn service_keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.services.live.keys()
    }

    /// The cluster IPs and ready endpoints' addresses of the Services and slices of some namespaces.
    pub fn addresses_in(&self, namespaces: &HashSet<Box<str>>) -> impl Iterator<Item = IpAddr> {
        let services = self.services.live.values().filter(|live| namespaces.contains(&live.object.key.namespace));
        let slices = self.slices.live.values().filter(|live| namespaces.contains(&live.object.key.namespace));
        services
            .flat_map(|live| cluster_addresses(&live.object))
            .copied()
            .chain(slices.flat_map(|live| ready_addresses(&live.object)))
    }

    /// The Service of a key, if a view's filter lets it through.
    pub fn service(&self, key: &ObjectKey, filter: usize) -> Option<&Service> {
        self.services.live.get(key).filter(|live| live.visible.contains(filter)).map(|live| &live.object)
    }

    /// The slices that carry a Service's name, by their own names' order.
    pub fn slices_of<'a>(
        &'a self,
        service: &ObjectKey,
        filter: usize,
    ) -> impl Iterator<Item = &'a EndpointSlice> + use<'a> {
        self.visible_slices(self.slices_by_service.get(service), filter)
    }

    /// The slices that hold an address in a ready endpoint.
    pub fn slices_with<'a>(
        &'a self,
        address: IpAddr,
        filter: usize,
    ) -> impl Iterator<Item = &'a EndpointSlice> + use<'a> {
        self.visible_slices(self.slices_by_address.get(&address), filter)
    }

    fn visible_slices<'a, I: Iterator<Item = &'a ObjectKey>>(
        &'a self,
        keys: I,
        filter: usize,
    ) -> impl Iterator<Item = &'a EndpointSlice> + use<'a, I> {
        keys.filter_map(|key| self.slices.live.get(key))
            .filter(move |live| live.visible.contains(filter))
            .map(|live| &live.object)
    }

    /// The Services that have an address as a cluster IP.
    pub fn services_with<'a>(&'a self, address: IpAddr, filter: usize) -> impl Iterator<Item = &'a Service> + use<'a> {
        self.services_by_address.get(&address).filter_map(move |key| self.service(key, filter))
    }

    /// The namespaces of the pods that have an address, one for each pod.
    pub fn pod_namespaces<'a>(&'a self, address: IpAddr, filter: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        self.pods_by_address
            .get(&address)
            .filter(move |key| self.pods.live.get(*key).is_some_and(|live| live.visible.contains(filter)))
            .map(|key| &*key.namespace)
    }

    /// How many objects of a kind are held.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Namespace => self.namespaces.live.len(),
            Kind::Service => self.services.live.len(),
            Kind::EndpointSlice => self.slices.live.len(),
            Kind::Pod => self.pods.live.len(),
        }
    }

    fn apply(&mut self, object: Object) {
        match object {
            Object::Namespace(namespace) => {
                let key = ObjectKey::new("", namespace.name);
                if self.namespaces.put(&key, (), Visibility::default()).is_some() {
                    self.dirty.namespaces.insert(key.name);
                }
            }
            Object::Service(mut service) => {
                let visible = self.visibility(&std::mem::take(&mut service.labels));
                let key = service.key.clone();
                let addresses = cluster_addresses(&service).to_vec();
                if let Some(before) = self.services.put(&key, service, visible) {
                    if let Some(before) = before {
                        self.unlink_service(&before);
                    }
                    for address in addresses {
                        self.services_by_address.add(address, &key);
                        self.dirty.addresses.insert(address);
                    }
                    self.dirty.services.insert(key);
                }
            }
            Object::EndpointSlice(mut slice) => {
                let visible = self.visibility(&std::mem::take(&mut slice.labels));
                let key = slice.key.clone();
                let owner = owner(&slice);
                let addresses: Vec<IpAddr> = ready_addresses(&slice).collect();
                if let Some(before) = self.slices.put(&key, slice, visible) {
                    if let Some(before) = before {
                        self.unlink_slice(&before);
                    }
                    for address in addresses {
                        self.slices_by_address.add(address, &key);
                        self.dirty.addresses.insert(address);
                    }
                    if let Some(owner) = owner {
                        self.slices_by_service.add(owner.clone(), &key);
                        self.dirty.services.insert(owner);
                    }
                }
            }
            Object::Pod(mut pod) => {
                let key = pod.key.clone();
                if pod.terminating {
                    // CoreDNS ignores updates of a pod that is going: its address stays until the pod is gone, and
                    // one first seen while going is not taken in (plugin/kubernetes/object/pod.go).
                    let epoch = self.pods.epoch;
                    if let Some(live) = self.pods.live.get_mut(&key) {
                        live.epoch = epoch;
                    }
                    return;
                }
                let visible = self.visibility(&std::mem::take(&mut pod.labels));
                let address = pod.address;
                if let Some(before) = self.pods.put(&key, pod, visible) {
                    if let Some(before) = before {
                        self.unlink_pod(&before);
                    }
                    if let Some(address) = address {
                        self.pods_by_address.add(address, &key);
                        self.dirty.pod_addresses.insert(address);
                    }
                }
            }
        }
    }

    fn delete(&mut self, kind: Kind, key: &ObjectKey) {
        match kind {
            Kind::Namespace => {
                let key = ObjectKey::new("", key.name.clone());
                if self.namespaces.remove(&key).is_some() {
                    self.dirty.namespaces.insert(key.name);
                }
            }
            Kind::Service => {
                if let Some(service) = self.services.remove(key) {
                    self.unlink_service(&service);
                    self.dirty.services.insert(service.key);
                }
            }
            Kind::EndpointSlice => {
                if let Some(slice) = self.slices.remove(key) {
                    self.unlink_slice(&slice);
                }
            }
            Kind::Pod => {
                if let Some(pod) = self.pods.remove(key) {
                    self.unlink_pod(&pod);
                }
            }
        }
    }

    fn end(&mut self, kind: Kind) {
        let stale = match kind {
            Kind::Namespace => self.namespaces.stale(),
            Kind::Service => self.services.stale(),
            Kind::EndpointSlice => self.slices.stale(),
            Kind::Pod => self.pods.stale(),
        };
        for key in stale {
            self.delete(kind, &key);
        }
        self.dirty.synced |= self.listed.insert(kind);
    }

    fn unlink_service(&mut self, service: &Service) {
        for address in cluster_addresses(service) {
            self.services_by_address.drop_member(address, &service.key);
            self.dirty.addresses.insert(*address);
        }
    }

    fn unlink_slice(&mut self, slice: &EndpointSlice) {
        for address in ready_addresses(slice) {
            self.slices_by_address.drop_member(&address, &slice.key);
            self.dirty.addresses.insert(address);
        }
        if let Some(owner) = owner(slice) {
            self.slices_by_service.drop_member(&owner, &slice.key);
            self.dirty.services.insert(owner);
        }
    }

    fn unlink_pod(&mut self, pod: &Pod) {
        if let Some(address) = pod.address {
            self.pods_by_address.drop_member(&address, &pod.key);
            self.dirty.pod_addresses.insert(address);
        }
    }

    fn visibility(&self, labels: &Labels) -> Visibility {
        let mut bits = 0;
        for (bit, filter) in self.filters.iter().take(Filter::MAX).enumerate() {
            if filter.labels.as_ref().is_none_or(|selector| selector.matches(labels)) {
                bits |= 1 << bit;
            }
        }
        Visibility(bits)
    }
}

fn cluster_addresses(service: &Service) -> &[IpAddr] {
    match &service.kind {
        ServiceKind::ClusterIp(addresses) => addresses,
        ServiceKind::Headless | ServiceKind::ExternalName(_) => &[],
    }
}

/// The Service that a slice belongs to, by its label; a slice without one belongs to none.
fn owner(slice: &EndpointSlice) -> Option<ObjectKey> {
    slice.service.as_ref().map(|service| ObjectKey::new(slice.key.namespace.clone(), service.clone()))
}

fn ready_addresses(slice: &EndpointSlice) -> impl Iterator<Item = IpAddr> {
    slice.endpoints.iter().filter(|endpoint| endpoint.is_ready()).flat_map(|endpoint| &endpoint.addresses).filter_map(
        |address| match address {
            EndpointAddress::Ip(ip) => Some(*ip),
            EndpointAddress::Name(_) => None,
        },
    )
}
