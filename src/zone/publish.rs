//! From the cluster's changes to the views' content.
//!
//! [`Publisher`] owns the cluster and is its views' only writer. It takes events in, and in steps of its own choosing
//! makes records of what became dirty, compares them with what is published, and publishes the difference as a
//! [`Delta`]. The cost of a step is that of the Services, addresses and namespaces that it touches.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::delta::{Delta, Replaced};
use super::faults::{Fault, planted};
use super::name::Labels;
use super::name_servers::name_servers;
use super::options::ViewOptions;
use super::pointers::pointers;
use super::schema::{service_key, service_records};
use super::serial::next_serial;
use super::snapshot::Snapshot;
use super::view::View;
use crate::model::{Cluster, Dirty, Event, Filter, Kind, ObjectKey};

/// Who follows the publications of a view.
pub type Follower = Box<dyn FnMut(&Delta) + Send>;

/// A cluster and the views of it.
pub struct Publisher {
    cluster: Cluster,
    kinds: Vec<Kind>,
    views: Vec<Published>,
}

struct Published {
    view: Arc<View>,
    followers: Vec<Follower>,
}

impl Publisher {
    /// Views of one cluster, with the filter that each sees it through; synced when all of `kinds` were listed.
    pub fn new(views: Vec<(Arc<View>, Filter)>, kinds: Vec<Kind>) -> Self {
        let (views, filters) =
            views.into_iter().map(|(view, filter)| (Published { view, followers: Vec::new() }, filter)).unzip();
        Self { cluster: Cluster::new(filters), kinds, views }
    }

    /// Calls a function with each delta of a view after it was applied.
    pub fn follow(&mut self, view: usize, follower: Follower) {
        if let Some(published) = self.views.get_mut(view) {
            published.followers.push(follower);
        }
    }

    /// The cluster as it stands.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Takes an event in; nothing is published yet.
    pub fn handle(&mut self, event: Event) {
        self.cluster.handle(event);
    }

    /// Whether everything was listed once.
    pub fn is_synced(&self) -> bool {
        self.cluster.is_synced(&self.kinds)
    }

    /// Publishes what changed since the last call.
    pub fn publish(&mut self) {
        let dirty = self.cluster.take_dirty();
        if dirty.is_empty() {
            return;
        }
        let is_listed = self.is_synced();
        for (filter, published) in self.views.iter_mut().enumerate() {
            let view = &published.view;
            let mut next = view.next();
            let mut delta = delta(&self.cluster, filter, view.options(), &next, &dirty);
            let is_synced = next.is_synced || is_listed;
            if delta.is_empty() && is_synced == next.is_synced {
                continue;
            }
            next.is_synced = is_synced;
            if !delta.is_empty() {
                delta.version = next.version() + 1;
                delta.serial = next_serial(next.serial(), unix_now());
                next.apply(&delta, view.options());
            }
            view.publish(&next);
            drop(next);
            if !delta.is_empty() {
                for follower in &mut published.followers {
                    follower(&delta);
                }
            }
        }
    }
}

/// The time as a serial counts it: seconds since 1970, wrapping in 2106 as serials do (RFC 1982).
pub fn unix_now() -> u32 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (elapsed.as_secs() & u64::from(u32::MAX)) as u32
}

fn delta(cluster: &Cluster, filter: usize, options: &ViewOptions, last: &Snapshot, dirty: &Dirty) -> Delta {
    let mut delta = Delta::default();
    let mut services = dirty.services.clone();
    let mut addresses = dirty.addresses.clone();
    for namespace in &dirty.namespaces {
        let Some(label) = Labels::parse(namespace).filter(|_| !namespace.contains('.')) else { continue };
        let exists = cluster.has_namespace(namespace) && options.exposes(namespace);
        if exists != last.has_namespace(label.as_wire()) {
            delta.namespaces.push((label, exists));
        }
    }
    if !delta.namespaces.is_empty() {
        // Names exist below namespaces that do, and come and go with them.
        let touched = |key: &ObjectKey| dirty.namespaces.contains(&key.namespace);
        services.extend(cluster.service_keys().filter(|key| touched(key)).cloned());
        if !options.namespaces.is_empty() {
            addresses.extend(cluster.addresses_in(&dirty.namespaces));
        }
    }
    for key in services {
        let Some(labels) = service_key(&key.name, &key.namespace) else { continue };
        let exposed = options.exposes(&key.namespace)
            && (cluster.has_namespace(&key.namespace) || planted(Fault::NamespaceUnchecked));
        let new = cluster
            .service(&key, filter)
            .filter(|_| exposed)
            .and_then(|service| service_records(service, cluster.slices_of(&key, filter), options));
        let old = last.service(labels.as_wire()).map(|service| Arc::clone(&service.records));
        if old.as_deref() != new.as_ref() {
            delta.services.push(Replaced { key: labels, old, new: new.map(Arc::new) });
        }
    }
    for address in addresses {
        let new = pointers(cluster, filter, options, address);
        let old = last.pointers(address);
        if old != &*new {
            delta.pointers.push(Replaced { key: address, old: some(old), new: some(&new) });
        }
    }
    for address in &dirty.pod_addresses {
        let new: Box<[Labels]> = cluster.pod_namespaces(*address, filter).filter_map(Labels::parse).collect();
        let old = last.pod_namespaces(*address);
        if old != &*new {
            delta.pods.push(Replaced { key: *address, old: some(old), new: some(&new) });
        }
    }
    let servers = name_servers(cluster, filter, options);
    if *last.name_servers() != servers {
        delta.name_servers = Some(Arc::new(servers));
    }
    delta
}

/// Labels as a delta holds them: none at all rather than an empty list.
fn some(labels: &[Labels]) -> Option<Arc<[Labels]>> {
    (!labels.is_empty()).then(|| labels.into())
}
