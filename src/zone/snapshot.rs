//! One version of a view's content.

use std::net::IpAddr;
use std::sync::Arc;

use super::delta::Delta;
use super::name::Labels;
use super::name_servers::NameServers;
use super::options::ViewOptions;
use super::prepared::ServiceAnswers;
use super::records::ServiceRecords;
use super::shards::{Entry, Shards, keyed_hash};

/// A Service: its records, and the answers that are made of them.
#[derive(Clone, Debug)]
pub struct Service {
    /// The records.
    pub records: Arc<ServiceRecords>,
    /// The answers.
    pub answers: ServiceAnswers,
}

impl Entry for Service {
    type Key = [u8];

    fn hash_of(key: &[u8]) -> u32 {
        keyed_hash(key)
    }

    fn has_key(&self, key: &[u8]) -> bool {
        self.answers.key() == key
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

/// What an address has: names, or pods' namespaces.
#[derive(Clone, Debug)]
struct OfAddress {
    address: IpAddr,
    labels: Arc<[Labels]>,
}

impl Entry for OfAddress {
    type Key = IpAddr;

    fn hash_of(key: &IpAddr) -> u32 {
        match key {
            IpAddr::V4(address) => keyed_hash(&address.octets()),
            IpAddr::V6(address) => keyed_hash(&address.octets()),
        }
    }

    fn has_key(&self, key: &IpAddr) -> bool {
        self.address == *key
    }
}

/// All that a view answers from, at one moment. A clone is cheap, and is the next version's beginning.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    services: Shards<Service>,
    namespaces: Shards<Labels>,
    pointers: Shards<OfAddress>,
    pods: Shards<OfAddress>,
    name_servers: Arc<NameServers>,
    pub(super) is_synced: bool,
    pub(super) serial: u32,
    pub(super) version: u64,
}

impl Snapshot {
    /// Nothing yet; `serial` is the SOA's first.
    pub(super) fn new(serial: u32) -> Self {
        Self { serial, ..Self::default() }
    }

    /// The Service whose name and namespace stand in these labels.
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

    /// Touches its answers.
    pub fn touch_answers(&self, hash: u32) -> usize {
        self.services.first_with(hash).map_or(0, |service| service.answers.key().len())
    }

    /// All Services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter()
    }

    /// How many Services have records.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// Whether a namespace exists and is exposed.
    pub fn has_namespace(&self, label: &[u8]) -> bool {
        self.namespaces.get(label).is_some()
    }

    /// The names of an address, relative to the primary zone.
    pub fn pointers(&self, address: IpAddr) -> &[Labels] {
        self.pointers.get(&address).map_or(&[], |names| &names.labels)
    }

    /// The namespaces of the pods that have an address, one for each pod.
    pub fn pod_namespaces(&self, address: IpAddr) -> &[Labels] {
        self.pods.get(&address).map_or(&[], |pods| &pods.labels)
    }

    /// Who serves the zone.
    pub fn name_servers(&self) -> &NameServers {
        &self.name_servers
    }

    /// Whether everything has been listed once. Until then what is not known may exist.
    pub fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// The SOA serial (RFC 1982 order): grows when, and only when, the content changes.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// The number of the last delta applied.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Applies a delta, in a view with these options.
    pub(super) fn apply(&mut self, delta: &Delta, options: &ViewOptions) {
        for (namespace, exists) in &delta.namespaces {
            self.namespaces.set(namespace.as_wire(), exists.then(|| namespace.clone()));
        }
        for change in &delta.services {
            let service = change.new.as_ref().map(|records| {
                let answers = ServiceAnswers::encode(records, options.ttl_secs, &options.primary);
                Service { records: Arc::clone(records), answers }
            });
            self.services.set(change.key.as_wire(), service);
        }
        for (map, changes) in [(&mut self.pods, &delta.pods), (&mut self.pointers, &delta.pointers)] {
            for change in changes {
                let new =
                    change.new.as_ref().map(|labels| OfAddress { address: change.key, labels: Arc::clone(labels) });
                map.set(&change.key, new);
            }
        }
        if let Some(servers) = &delta.name_servers {
            self.name_servers = Arc::clone(servers);
        }
        self.serial = delta.serial;
        self.version = delta.version;
    }
}
