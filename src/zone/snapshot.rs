//! One version of a view's content.

use std::net::IpAddr;
use std::sync::Arc;

use super::name::Labels;
use super::name_servers::NameServers;
use super::options::ViewOptions;
use super::pointers::{Choice, Pointed, PointerCursor, Pointers};
use super::service::{Service, Size};
use super::shards::{Cursor, Entry, Shards, keyed_hash};

impl Entry for Service {
    type Key = [u8];

    fn hash_of(key: &[u8]) -> u32 {
        keyed_hash(key)
    }

    fn has_key(&self, key: &[u8]) -> bool {
        self.key() == key
    }
}

/// A namespace that exists and is exposed, by its label.
impl Entry for Labels {
    type Key = [u8];

    fn hash_of(key: &[u8]) -> u32 {
        keyed_hash(key)
    }

    fn has_key(&self, key: &[u8]) -> bool {
        self.as_wire() == key
    }
}

/// The pods of a namespace that have an address.
#[derive(Clone, Debug)]
pub(super) struct PodsOfAddress {
    pub(super) address: IpAddr,
    pub(super) namespace: Arc<Labels>,
    pub(super) pods: u32,
}

impl Entry for PodsOfAddress {
    type Key = (IpAddr, Arc<Labels>);

    fn hash_of((address, _): &Self::Key) -> u32 {
        hash_of_address(*address)
    }

    fn has_key(&self, (address, namespace): &Self::Key) -> bool {
        self.address == *address && self.namespace == *namespace
    }
}

fn hash_of_address(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => keyed_hash(&address.octets()),
        IpAddr::V6(address) => keyed_hash(&address.octets()),
    }
}

/// All that a view answers from, at one moment. A clone is cheap, and is the next version's beginning.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    services: Shards<Service>,
    /// How many of them have names.
    named: usize,
    size: Size,
    namespaces: Shards<Labels>,
    pointers: Pointers,
    /// The TTL of the view's records in seconds,
    ttl_secs: u32,
    /// and how many Services have another.
    with_ttl: usize,
    /// An address points back to one name only.
    canonical_ptr: bool,
    /// How many Services say that their names are pointed to.
    with_canonical: usize,
    pods: Shards<PodsOfAddress>,
    name_servers: Arc<NameServers>,
    pub(super) is_synced: bool,
    pub(super) is_unknown: bool,
    pub(super) serial: u32,
    pub(super) version: u64,
}

impl Snapshot {
    /// Nothing yet, of a view with these options; `serial` is the SOA's first.
    pub(super) fn new(serial: u32, options: &ViewOptions) -> Self {
        Self { serial, ttl_secs: options.ttl_secs, canonical_ptr: options.canonical_ptr, ..Self::default() }
    }

    /// The Service whose name and namespace stand in these labels. Its endpoints may be known where it does not exist.
    pub fn service(&self, key: &[u8]) -> Option<&Service> {
        self.services.get(key)
    }

    /// The Service of a key whose [`keyed_hash`] is known.
    pub fn service_hashed(&self, hash: u32, key: &[u8]) -> Option<&Service> {
        self.services.get_hashed(hash, key)
    }

    /// Touches the place of a Service whose [`keyed_hash`] is known, so that it is near when it is looked up.
    pub fn touch_place(&self, hash: u32) -> bool {
        self.services.first_with(hash).is_some()
    }

    /// Touches what it has packed.
    pub fn touch_packed(&self, hash: u32) -> usize {
        self.services.first_with(hash).map_or(0, |service| service.key().len())
    }

    /// All Services, in no order; see [`Self::service`].
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter()
    }

    /// How many Services have records.
    pub fn service_count(&self) -> usize {
        self.named
    }

    /// What is kept of all Services.
    pub fn size(&self) -> Size {
        self.size
    }

    /// How much memory the tables take in which Services and addresses are looked up, in octets.
    pub fn table_octets(&self) -> usize {
        self.services.octets() + self.pointers.octets() + self.pods.octets()
    }

    /// Whether a namespace exists and is exposed.
    pub fn has_namespace(&self, label: &[u8]) -> bool {
        self.namespaces.get(label).is_some()
    }

    /// Gives the names of an address to `each`, relative to the primary zone, each once and in no order.
    pub fn pointers<'s>(&'s self, address: IpAddr, each: impl FnMut(Pointed<'s>)) {
        let choice = match (self.canonical_ptr, self.with_canonical) {
            (true, _) => Choice::One,
            (false, 0) => Choice::All,
            (false, _) => Choice::AllBut,
        };
        self.pointers.names(&self.services, address, choice, each);
    }

    /// The TTL of an address's PTR records in seconds, if it is not the view's: one for all of them (RFC 2181 section
    /// 5.2), the shortest of the Services' that they point to.
    pub fn pointers_ttl_secs(&self, address: IpAddr) -> Option<u32> {
        if self.with_ttl == 0 {
            return None;
        }
        let mut shortest = None;
        self.pointers(address, |pointed| {
            let secs = pointed.ttl_secs.unwrap_or(self.ttl_secs);
            shortest = Some(shortest.map_or(secs, |shortest: u32| shortest.min(secs)));
        });
        shortest.filter(|secs| *secs != self.ttl_secs)
    }

    /// The namespaces of the pods that have an address, each with their number.
    pub fn pod_namespaces(&self, address: IpAddr) -> impl Iterator<Item = (&Labels, u32)> {
        let pods = self.pods.all_with(hash_of_address(address)).filter(move |pods| pods.address == address);
        pods.map(|pods| (&*pods.namespace, pods.pods))
    }

    /// The namespaces of the pods that have an address, as text, where pods are known.
    pub fn namespaces_of_pods_at(&self, address: IpAddr) -> impl Iterator<Item = String> {
        self.pod_namespaces(address).map(|(namespace, _)| namespace.to_string())
    }

    /// How many pods of a namespace have an address.
    pub(super) fn pods_of(&self, address: IpAddr, namespace: &Labels) -> u32 {
        let found = self.pod_namespaces(address).find(|(candidate, _)| *candidate == namespace);
        found.map_or(0, |(_, pods)| pods)
    }

    /// The next Service behind a place, in no order.
    pub(super) fn next_service(&self, cursor: &mut Cursor) -> Option<&Service> {
        self.services.next(cursor)
    }

    /// The next pods behind a place, in no order.
    pub(super) fn next_pods(&self, cursor: &mut Cursor) -> Option<&PodsOfAddress> {
        self.pods.next(cursor)
    }

    /// The next address behind a place that has a name, in no order.
    pub(super) fn next_pointer(&self, cursor: &mut PointerCursor) -> Option<IpAddr> {
        self.pointers.next(cursor)
    }

    /// Who serves the zone.
    pub fn name_servers(&self) -> &NameServers {
        &self.name_servers
    }

    /// Whether everything has been listed once. Until then what is not known may exist.
    pub fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// Whether all that misses is what the API server does not have: ServiceImports, whose custom resource may never come.
    pub fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    /// Whether it is worth to wait for it: it is not synced, and nothing is known that keeps it from that.
    pub fn is_awaited(&self) -> bool {
        !self.is_synced && !self.is_unknown
    }

    /// The SOA serial (RFC 1982 order), that of the last cut: see [`super::cut`].
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// The number of the last change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Puts a Service in place, or takes it away; the addresses that point to something else from now on, if any are to
    /// point back.
    pub(super) fn set_service(
        &mut self,
        key: &[u8],
        old: Option<&Service>,
        new: Option<Service>,
        points_back: bool,
    ) -> impl Iterator<Item = IpAddr> + use<> {
        let has_names = |service: Option<&Service>| usize::from(service.is_some_and(Service::has_names));
        self.named = self.named + has_names(new.as_ref()) - has_names(old);
        let has_ttl = |service: Option<&Service>| usize::from(service.is_some_and(|it| it.ttl_secs().is_some()));
        let says = |service: Option<&Service>| usize::from(service.is_some_and(Service::is_canonical));
        self.with_canonical = self.with_canonical + says(new.as_ref()) - says(old);
        self.with_ttl = self.with_ttl + has_ttl(new.as_ref()) - has_ttl(old);
        let come = new.as_ref().map(|new| new.size_beside(old)).unwrap_or_default();
        let gone = old.map(|old| old.size_beside(new.as_ref())).unwrap_or_default();
        self.size.endpoints = self.size.endpoints + come.endpoints - gone.endpoints;
        self.size.names = self.size.names + come.names - gone.names;
        self.size.octets = self.size.octets + come.octets - gone.octets;
        let touched = points_back.then(|| self.pointers.replace(old, new.as_ref()));
        self.services.set(key, new);
        touched.into_iter().flatten()
    }

    /// Notes that a namespace exists, or does not.
    pub(super) fn set_namespace(&mut self, namespace: &Labels, exists: bool) {
        self.namespaces.set(namespace.as_wire(), exists.then(|| namespace.clone()));
    }

    /// So many pods of a namespace came to have an address, or went.
    pub(super) fn count_pods(&mut self, address: IpAddr, namespace: &Arc<Labels>, change: i64) {
        let key = (address, Arc::clone(namespace));
        let known = self.pods.get(&key).map_or(0, |pods| pods.pods);
        let pods = u32::try_from(i64::from(known) + change).unwrap_or_default();
        let namespace = Arc::clone(namespace);
        self.pods.set(&key, (pods > 0).then_some(PodsOfAddress { address, namespace, pods }));
    }

    pub(super) fn set_name_servers(&mut self, servers: Arc<NameServers>) {
        self.name_servers = servers;
    }
}
