//! The live objects and their joins.
//!
//! [`Cluster`] takes a source's [`Event`]s in, and says in [`Dirty`] what a reader of the joins must look at again.
//! An object that comes again unchanged (a relist, a status update that DNS does not see) makes nothing dirty.
//!
//! A relist is a mark-and-sweep: `Begin` opens an epoch for the kind, each `Apply` stamps its object with it, and
//! `End` removes what bears an older stamp. Until `End` nothing is missing.

mod hold;
mod kept;

use std::borrow::Borrow;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ahash::{HashMap, HashSet};

use self::hold::Hold;
use super::dirty::{Dirty, PodBefore};
use super::endpoints::AddressRef;
use super::event::{Event, Kind};
use super::interned::Interned;
use super::join::{Join, shrink};
use super::objects::{EndpointPort, EndpointSlice, Labels, Object, ObjectKey, Pod, PodAddresses, Service, ServicePort};
use super::selector::Selector;

pub use hold::{HoldNote, Lost, MassRemoval};
pub use kept::Kept;

/// Which of the filters that a cluster was made with let an object through: bit `i` stands for filter `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Visibility(u64);

impl Visibility {
    /// Whether filter `i` lets the object through.
    pub fn contains(self, filter: usize) -> bool {
        self.0 >> filter & 1 == 1
    }

    /// The bits, one for each filter.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// What [`Self::bits`] gave.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// What of a cluster one view sees, as far as labels decide it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Filter {
    /// Services, ServiceImports, EndpointSlices and Pods must match; `None` lets all through.
    pub labels: Option<Selector>,
    /// Namespaces must match; `None` lets all through.
    pub namespace_labels: Option<Selector>,
    /// No EndpointSlice is seen, but for those of ServiceImports: CoreDNS keeps them apart from the cluster's own
    /// (plugin/kubernetes/controller.go, func newdnsController).
    pub no_endpoints: bool,
}

impl Filter {
    /// The largest number of filters that a cluster takes: one for each bit of [`Visibility`].
    pub const MAX: usize = u64::BITS as usize;
}

/// An object with what the cluster knows of it.
#[derive(Debug)]
struct Live<T> {
    object: T,
    visible: Visibility,
    epoch: u32,
}

/// The objects of one kind.
#[derive(Debug)]
struct Table<K, T> {
    live: HashMap<K, Live<T>>,
    /// The number of the last listing, counted in a circle.
    epoch: u32,
}

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Self { live: HashMap::default(), epoch: 0 }
    }
}

impl<K: Clone + Eq + Hash, T: PartialEq> Table<K, T> {
    fn begin(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Puts an object in place; what stood there, `Some(None)` if nothing did, `None` if that changed nothing.
    fn put(&mut self, key: &K, object: T, visible: Visibility) -> Option<Option<(T, Visibility)>> {
        let epoch = self.epoch;
        if let Some(live) = self.live.get_mut(key) {
            live.epoch = epoch;
            if live.object == object && live.visible == visible {
                return None;
            }
            let before = std::mem::replace(&mut live.visible, visible);
            return Some(Some((std::mem::replace(&mut live.object, object), before)));
        }
        self.live.insert(key.clone(), Live { object, visible, epoch });
        Some(None)
    }

    fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<(K, T, Visibility)>
    where
        K: Borrow<Q>,
    {
        let (key, live) = self.live.remove_entry(key)?;
        shrink(&mut self.live);
        Some((key, live.object, live.visible))
    }

    /// Keys that the listing which now ends did not name.
    fn stale(&self) -> Vec<K> {
        self.live.iter().filter(|(_, live)| live.epoch != self.epoch).map(|(key, _)| key.clone()).collect()
    }
}

/// The live objects of one cluster.
#[derive(Debug, Default)]
pub struct Cluster {
    filters: Vec<Filter>,
    namespaces: Table<Arc<str>, ()>,
    services: Table<ObjectKey, Service>,
    slices: Table<ObjectKey, EndpointSlice>,
    pods: Table<ObjectKey, Pod>,
    imports: Table<ObjectKey, Service>,
    /// Whether anybody asks for imports: where nobody does, slices do not keep what they belong to.
    has_imports: bool,
    slices_by_service: Join<ObjectKey>,
    slices_by_import: Join<ObjectKey>,
    /// Slices that hold one of the addresses that are looked for.
    slices_by_address: Join<IpAddr>,
    looked_for: Vec<IpAddr>,
    /// Selectors that Services can be asked about; see [`Cluster::is_selected`].
    selectors: Vec<Selector>,
    listed: HashSet<Kind>,
    /// Kinds whose objects were restored, and not listed since.
    restored: HashSet<Kind>,
    /// Kinds that are being listed.
    under_way: HashSet<Kind>,
    /// Kinds that the API server does not know.
    unknown: HashSet<Kind>,
    dirty: Dirty,
    /// How often an object came, changed or went.
    revision: u64,
    /// Those that did, where somebody wants to know.
    touched: Option<HashSet<(Kind, ObjectKey)>>,
    /// Objects that a listing left out, and that are not removed yet.
    hold: Hold,
    texts: Interned<str>,
    service_ports: Interned<[ServicePort]>,
    endpoint_ports: Interned<[EndpointPort]>,
}

impl Cluster {
    /// An empty cluster of which [`Filter::MAX`] filters at most are kept; the rest see nothing. `looked_for` are the
    /// addresses that [`Cluster::slices_with`] can be asked of.
    pub fn new(filters: Vec<Filter>, looked_for: Vec<IpAddr>) -> Self {
        Self { filters, looked_for, ..Self::default() }
    }

    /// The same cluster, with ServiceImports and their slices.
    pub fn with_imports(self) -> Self {
        Self { has_imports: true, ..self }
    }

    /// The same cluster, of whose Services [`Cluster::is_selected`] can be asked with these selectors: [`Filter::MAX`]
    /// at most, the rest select nothing.
    pub fn with_selectors(self, selectors: Vec<Selector>) -> Self {
        Self { selectors, ..self }
    }

    /// Takes one event in.
    pub fn handle(&mut self, event: Event) {
        self.handle_at(event, Instant::now());
    }

    /// [`Self::handle`] at a moment: what a listing leaves out may be held back from then on.
    pub fn handle_at(&mut self, event: Event, now: Instant) {
        match event {
            Event::Begin(kind) => {
                self.under_way.insert(kind);
                match kind {
                    Kind::Namespace => self.namespaces.begin(),
                    Kind::Service => self.services.begin(),
                    Kind::EndpointSlice => self.slices.begin(),
                    Kind::Pod => self.pods.begin(),
                    Kind::ServiceImport => self.imports.begin(),
                }
                self.dirty.synced |= self.unknown.remove(&kind);
            }
            Event::Apply(object) => self.apply(object),
            Event::Delete(kind, key) => self.remove(kind, &key),
            Event::End(kind) => self.end(kind, now),
            // When something happened changes nothing.
            Event::Triggered(..) => {}
            Event::Unknown(kind) => {
                self.under_way.remove(&kind);
                self.dirty.synced |= self.unknown.insert(kind);
            }
        }
    }

    /// What changed since the last call.
    pub fn take_dirty(&mut self) -> Dirty {
        std::mem::take(&mut self.dirty)
    }

    /// All that there is, as if it had come since the last call: for who has seen nothing yet.
    pub fn everything(&self) -> Dirty {
        Dirty {
            services: self.services.live.keys().chain(self.slices_by_service.keys()).cloned().collect(),
            imports: self.imports.live.keys().cloned().collect(),
            namespaces: self.namespaces.live.keys().cloned().collect(),
            pods: self.pods.live.keys().map(|key| (key.clone(), PodBefore::default())).collect(),
            synced: true,
        }
    }

    /// Whether every one of these kinds has been listed in full, or restored.
    pub fn is_synced(&self, kinds: &[Kind]) -> bool {
        kinds.iter().all(|kind| self.listed.contains(kind) || self.restored.contains(kind))
    }

    /// Whether every one of these kinds has been listed in full.
    pub fn is_listed(&self, kinds: &[Kind]) -> bool {
        kinds.iter().all(|kind| self.listed.contains(kind))
    }

    /// Whether one of these kinds is not known to the API server, so that it is not listed any time soon.
    pub fn is_unknown(&self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| self.unknown.contains(kind))
    }

    /// Whether a kind is being listed. Its objects are then of two moments, some as they were and some as they are.
    pub fn is_listing(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Whether a namespace exists that a view's filter lets through.
    pub fn has_namespace(&self, name: &str, filter: usize) -> bool {
        self.namespaces.live.get(name).is_some_and(|live| live.visible.contains(filter))
    }

    /// The keys of the Services of some namespaces, and of those that slices name though they do not exist.
    pub fn service_keys(&self, namespaces: &HashSet<Arc<str>>) -> impl Iterator<Item = &ObjectKey> {
        let keys = self.services.live.keys().chain(self.slices_by_service.keys());
        keys.filter(|key| namespaces.contains(&key.namespace))
    }

    /// The same of ServiceImports.
    pub fn import_keys(&self, namespaces: &HashSet<Arc<str>>) -> impl Iterator<Item = &ObjectKey> {
        self.imports.live.keys().filter(|key| namespaces.contains(&key.namespace))
    }

    /// The Service of a key, if a view's filter lets it through.
    pub fn service(&self, key: &ObjectKey, filter: usize) -> Option<&Service> {
        self.services.live.get(key).filter(|live| live.visible.contains(filter)).map(|live| &live.object)
    }

    /// Whether one of the selectors that the cluster was made with selects a Service or a ServiceImport.
    pub fn is_selected(&self, service: &Service, selector: &Selector) -> bool {
        let selected = service.settings.as_ref().map_or(0, |settings| settings.selected);
        let bit = self.selectors.iter().take(Filter::MAX).position(|known| known == selector);
        bit.is_some_and(|bit| selected >> bit & 1 == 1)
    }

    /// The Service that a slice belongs to, whoever sees it.
    pub fn service_of(&self, slice: &ObjectKey) -> Option<&Service> {
        let owner = owner(&self.slices.live.get(slice)?.object)?;
        self.services.live.get(&owner).map(|live| &live.object)
    }

    /// The ServiceImport of a key, if a view's filter lets it through.
    pub fn import(&self, key: &ObjectKey, filter: usize) -> Option<&Service> {
        self.imports.live.get(key).filter(|live| live.visible.contains(filter)).map(|live| &live.object)
    }

    /// The slices that carry a Service's name, by their own names' order.
    pub fn slices_of<'a>(
        &'a self,
        service: &ObjectKey,
        filter: usize,
    ) -> impl Iterator<Item = &'a EndpointSlice> + use<'a> {
        self.visible_slices(self.slices_by_service.get(service), filter)
    }

    /// The slices that carry a ServiceImport's name, by their own names' order.
    pub fn slices_of_import<'a>(
        &'a self,
        import: &ObjectKey,
        filter: usize,
    ) -> impl Iterator<Item = &'a EndpointSlice> + use<'a> {
        let slices = self.slices_by_import.get(import).filter_map(|key| self.slices.live.get(key));
        slices.filter(move |live| live.visible.contains(filter)).map(|live| &live.object)
    }

    /// The slices that hold an address in a ready endpoint, if it is one of those that are looked for.
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
        let seen = self.filters.get(filter).is_some_and(|filter| !filter.no_endpoints);
        keys.filter_map(|key| self.slices.live.get(key))
            .filter(move |live| seen && live.visible.contains(filter))
            .map(|live| &live.object)
    }

    /// The addresses of a pod that a view's filter lets through.
    pub fn pod_addresses(&self, key: &ObjectKey, filter: usize) -> PodAddresses {
        let visible = self.pods.live.get(key).filter(|live| live.visible.contains(filter));
        visible.map(|live| live.object.addresses).unwrap_or_default()
    }

    /// How many objects of a kind are held.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Namespace => self.namespaces.live.len(),
            Kind::Service => self.services.live.len(),
            Kind::EndpointSlice => self.slices.live.len(),
            Kind::Pod => self.pods.live.len(),
            Kind::ServiceImport => self.imports.live.len(),
        }
    }

    fn apply(&mut self, object: Object) {
        match object {
            Object::Namespace(namespace) => {
                let visible = self.visibility(|filter| &filter.namespace_labels, &namespace.labels);
                self.put_namespace(namespace.name, visible);
            }
            Object::Service(mut service) => {
                let visible = self.take_labels(&mut service);
                self.put_service(service, visible);
            }
            Object::EndpointSlice(mut slice) => {
                let visible = self.visibility(|filter| &filter.labels, &std::mem::take(&mut slice.labels));
                self.put_slice(slice, visible);
            }
            Object::Pod(mut pod) => {
                let visible = self.visibility(|filter| &filter.labels, &std::mem::take(&mut pod.labels));
                self.put_pod(pod, visible);
            }
            Object::ServiceImport(mut import) => {
                let visible = self.take_labels(&mut import);
                self.put_import(import, visible);
            }
        }
    }

    /// Looks at the labels of a Service or a ServiceImport for the last time: who sees it, and what selects it.
    fn take_labels(&self, service: &mut Service) -> Visibility {
        let labels = std::mem::take(&mut service.labels);
        let mut selected = 0;
        for (bit, selector) in self.selectors.iter().take(Filter::MAX).enumerate() {
            selected |= u64::from(selector.matches(&labels)) << bit;
        }
        if selected != 0 {
            service.settings.get_or_insert_default().selected = selected;
        }
        self.visibility(|filter| &filter.labels, &labels)
    }

    fn put_namespace(&mut self, name: Arc<str>, visible: Visibility) {
        let key = ObjectKey::new("", Arc::clone(&name));
        self.hold.forget(Kind::Namespace, &key);
        if self.namespaces.put(&name, (), visible).is_some() {
            self.touch(Kind::Namespace, &key);
            self.dirty.namespaces.insert(name);
        }
    }

    fn put_service(&mut self, mut service: Service, visible: Visibility) {
        self.texts.share(&mut service.key.namespace);
        self.service_ports.share(&mut service.ports);
        let key = service.key.clone();
        self.hold.forget(Kind::Service, &key);
        if self.services.put(&key, service, visible).is_some() {
            self.touch(Kind::Service, &key);
            self.dirty.services.insert(key);
        }
    }

    fn put_import(&mut self, mut import: Service, visible: Visibility) {
        self.texts.share(&mut import.key.namespace);
        self.service_ports.share(&mut import.ports);
        let key = import.key.clone();
        self.hold.forget(Kind::ServiceImport, &key);
        if self.imports.put(&key, import, visible).is_some() {
            self.touch(Kind::ServiceImport, &key);
            self.dirty.imports.insert(key);
        }
    }

    fn put_slice(&mut self, mut slice: EndpointSlice, visible: Visibility) {
        self.texts.share(&mut slice.key.namespace);
        self.endpoint_ports.share(&mut slice.ports);
        slice.import = slice.import.filter(|_| self.has_imports);
        if let Some(import) = &mut slice.import {
            self.texts.share(&mut import.cluster);
        }
        let key = slice.key.clone();
        let (owner, importer) = (owner(&slice), importer(&slice));
        let addresses = self.found_in(&slice);
        self.hold.forget(Kind::EndpointSlice, &key);
        let Some(before) = self.slices.put(&key, slice, visible) else { return };
        self.touch(Kind::EndpointSlice, &key);
        // What stays joined is neither taken apart nor looked up: to a Service of many slices it is a search less for each.
        let mut stays = false;
        if let Some((before, _)) = before {
            self.unlink_slice(&before, owner.as_ref(), importer.as_ref());
            stays = self::owner(&before) == owner;
        }
        for address in addresses {
            self.slices_by_address.add(address, &key);
        }
        if let Some(owner) = owner {
            if !stays {
                self.slices_by_service.add(owner.clone(), &key);
            }
            self.dirty.services.insert(owner);
        }
        if let Some(importer) = importer {
            self.slices_by_import.add(importer.clone(), &key);
            self.dirty.imports.insert(importer);
        }
    }

    fn put_pod(&mut self, mut pod: Pod, visible: Visibility) {
        self.hold.forget(Kind::Pod, &pod.key);
        if pod.terminating {
            // CoreDNS ignores updates of a pod that is going: its address stays until the pod is gone, and one first
            // seen while going is not taken in (plugin/kubernetes/object/pod.go).
            let epoch = self.pods.epoch;
            if let Some(live) = self.pods.live.get_mut(&pod.key) {
                live.epoch = epoch;
            }
            return;
        }
        self.texts.share(&mut pod.key.namespace);
        let key = pod.key.clone();
        if let Some(before) = self.pods.put(&key, pod, visible) {
            self.touch(Kind::Pod, &key);
            self.pod_changed(key, before);
        }
    }

    /// Notes what a pod was before its first change.
    fn pod_changed(&mut self, key: ObjectKey, before: Option<(Pod, Visibility)>) {
        let before = before.map(|(pod, visible)| PodBefore { addresses: pod.addresses, visible });
        self.dirty.pods.entry(key).or_insert_with(|| before.unwrap_or_default());
    }

    fn remove(&mut self, kind: Kind, key: &ObjectKey) {
        self.hold.forget(kind, key);
        let is_gone = match kind {
            Kind::Namespace => {
                let gone = self.namespaces.remove(&key.name);
                gone.map(|(name, ..)| self.dirty.namespaces.insert(name)).is_some()
            }
            Kind::Service => self.services.remove(key).map(|(key, ..)| self.dirty.services.insert(key)).is_some(),
            Kind::EndpointSlice => {
                let gone = self.slices.remove(key);
                gone.map(|(_, slice, _)| self.unlink_slice(&slice, None, None)).is_some()
            }
            Kind::Pod => {
                let gone = self.pods.remove(key);
                gone.map(|(key, pod, visible)| self.pod_changed(key, Some((pod, visible)))).is_some()
            }
            Kind::ServiceImport => self.imports.remove(key).map(|(key, ..)| self.dirty.imports.insert(key)).is_some(),
        };
        if is_gone {
            self.touch(kind, key);
        }
    }

    fn end(&mut self, kind: Kind, now: Instant) {
        let stale = match kind {
            Kind::Namespace => self.namespaces.stale().into_iter().map(|name| ObjectKey::new("", name)).collect(),
            Kind::Service => self.services.stale(),
            Kind::EndpointSlice => self.slices.stale(),
            Kind::Pod => self.pods.stale(),
            Kind::ServiceImport => self.imports.stale(),
        };
        for key in self.sift(kind, stale, now) {
            self.remove(kind, &key);
        }
        self.under_way.remove(&kind);
        self.restored.remove(&kind);
        self.texts.tidy();
        self.service_ports.tidy();
        self.endpoint_ports.tidy();
        self.dirty.synced |= self.listed.insert(kind) | self.unknown.remove(&kind);
    }

    /// Takes a slice out of its joins, but for those to a Service and a ServiceImport to which it will still belong.
    fn unlink_slice(
        &mut self,
        slice: &EndpointSlice,
        owner_from_now: Option<&ObjectKey>,
        importer_from_now: Option<&ObjectKey>,
    ) {
        for address in self.found_in(slice) {
            self.slices_by_address.drop_member(&address, &slice.key);
        }
        if let Some(owner) = owner(slice) {
            if owner_from_now != Some(&owner) {
                self.slices_by_service.drop_member(&owner, &slice.key);
            }
            self.dirty.services.insert(owner);
        }
        if let Some(importer) = importer(slice) {
            if importer_from_now != Some(&importer) {
                self.slices_by_import.drop_member(&importer, &slice.key);
            }
            self.dirty.imports.insert(importer);
        }
    }

    /// The addresses that are looked for and stand in a slice's ready endpoints.
    fn found_in(&self, slice: &EndpointSlice) -> Vec<IpAddr> {
        if self.looked_for.is_empty() {
            return Vec::new();
        }
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.conditions.is_ready());
        let addresses = ready.flat_map(|endpoint| endpoint.addresses()).filter_map(|address| match address {
            AddressRef::Ip(address) => Some(address),
            AddressRef::Name(_) => None,
        });
        addresses.filter(|address| self.looked_for.contains(address)).collect()
    }

    /// Which filters let an object with these labels through, by the one of their selectors that is for its kind.
    fn visibility(&self, selector: impl Fn(&Filter) -> &Option<Selector>, labels: &Labels) -> Visibility {
        let mut bits = 0;
        for (bit, filter) in self.filters.iter().take(Filter::MAX).enumerate() {
            if selector(filter).as_ref().is_none_or(|selector| selector.matches(labels)) {
                bits |= 1 << bit;
            }
        }
        Visibility(bits)
    }
}

/// The Service that a slice belongs to, by its label; a slice without one belongs to none.
fn owner(slice: &EndpointSlice) -> Option<ObjectKey> {
    slice.service.as_ref().map(|service| ObjectKey::new(Arc::clone(&slice.key.namespace), Arc::clone(service)))
}

/// The ServiceImport that a slice belongs to, in the same way.
fn importer(slice: &EndpointSlice) -> Option<ObjectKey> {
    let import = slice.import.as_ref()?;
    Some(ObjectKey::new(Arc::clone(&slice.key.namespace), Arc::clone(&import.service)))
}
