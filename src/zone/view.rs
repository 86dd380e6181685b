//! What a view answers from: the index that published deltas are applied to.
//!
//! Readers look a Service, a namespace or an address up and hold an `Arc` of what they found; the one writer
//! replaces whole entries. Nothing that a reader holds changes under it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use dashmap::DashMap;

use super::delta::Delta;
use super::name::{Labels, Name};
use super::name_servers::NameServers;
use super::options::ViewOptions;
use super::records::ServiceRecords;

/// One view of one cluster, as it is answered from.
#[derive(Debug)]
pub struct View {
    options: ViewOptions,
    services: DashMap<Labels, Arc<ServiceRecords>>,
    namespaces: DashMap<Labels, ()>,
    pointers: DashMap<IpAddr, Arc<[Labels]>>,
    pods: DashMap<IpAddr, Arc<[Labels]>>,
    name_servers: RwLock<Arc<NameServers>>,
    synced: AtomicBool,
    serial: AtomicU32,
    version: AtomicU64,
}

impl View {
    /// An empty view, not synced. `serial` is its SOA's first.
    pub fn new(options: ViewOptions, serial: u32) -> Self {
        Self {
            options,
            services: DashMap::new(),
            namespaces: DashMap::new(),
            pointers: DashMap::new(),
            pods: DashMap::new(),
            name_servers: RwLock::default(),
            synced: AtomicBool::new(false),
            serial: AtomicU32::new(serial),
            version: AtomicU64::new(0),
        }
    }

    /// The view's options.
    pub fn options(&self) -> &ViewOptions {
        &self.options
    }

    /// The longest of the view's zones that a name (wire form, lower case) is in, with the offset at which the zone
    /// begins in it.
    pub fn zone_of(&self, wire: &[u8]) -> Option<(&Name, usize)> {
        super::name::suffixes(wire)
            .find_map(|at| self.options.zones.iter().find(|zone| zone.as_wire() == &wire[at..]).map(|zone| (zone, at)))
    }

    /// The records of the Service whose name and namespace stand in these labels.
    pub fn service(&self, key: &[u8]) -> Option<Arc<ServiceRecords>> {
        self.services.get(key).map(|records| Arc::clone(&records))
    }

    /// Whether a namespace exists and is exposed.
    pub fn has_namespace(&self, label: &[u8]) -> bool {
        self.namespaces.contains_key(label)
    }

    /// The names of an address, relative to the primary zone.
    pub fn pointers(&self, address: IpAddr) -> Option<Arc<[Labels]>> {
        self.pointers.get(&address).map(|names| Arc::clone(&names))
    }

    /// The namespaces of the pods that have an address, one for each pod.
    pub fn pod_namespaces(&self, address: IpAddr) -> Option<Arc<[Labels]>> {
        self.pods.get(&address).map(|namespaces| Arc::clone(&namespaces))
    }

    /// Who serves the zone.
    pub fn name_servers(&self) -> Arc<NameServers> {
        Arc::clone(&self.name_servers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether everything has been listed once. Until then what is not known may exist.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Marks everything as listed.
    pub fn set_synced(&self) {
        self.synced.store(true, Ordering::Release);
    }

    /// The SOA serial (RFC 1982 order): grows when, and only when, the content changes.
    pub fn serial(&self) -> u32 {
        self.serial.load(Ordering::Relaxed)
    }

    /// The number of the last delta applied.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// How many Services have records.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// Applies a delta. Only the one writer of a view calls this.
    ///
    /// Namespaces that come are entered before their Services and leave after them, so that no Service is advertised
    /// whose name does not resolve.
    pub fn apply(&self, delta: &Delta) {
        for (namespace, exists) in &delta.namespaces {
            if *exists {
                self.namespaces.insert(namespace.clone(), ());
            }
        }
        for change in &delta.services {
            replace(&self.services, &change.key, change.new.as_ref());
        }
        for change in &delta.pods {
            replace(&self.pods, &change.key, change.new.as_ref());
        }
        for change in &delta.pointers {
            replace(&self.pointers, &change.key, change.new.as_ref());
        }
        for (namespace, exists) in &delta.namespaces {
            if !exists {
                self.namespaces.remove(namespace);
            }
        }
        if let Some(servers) = &delta.name_servers {
            *self.name_servers.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(servers);
        }
        self.serial.store(delta.serial, Ordering::Relaxed);
        self.version.store(delta.version, Ordering::Relaxed);
    }
}

fn replace<K: Eq + std::hash::Hash + Clone, V: ?Sized>(map: &DashMap<K, Arc<V>>, key: &K, new: Option<&Arc<V>>) {
    match new {
        Some(new) => {
            map.insert(key.clone(), Arc::clone(new));
        }
        None => {
            map.remove(key);
        }
    }
}
