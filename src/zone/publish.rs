//! From the cluster's changes to the views' content.
//!
//! [`Publisher`] owns the cluster and is its views' only writer. It takes events in, and in steps of its own choosing
//! makes records of what became dirty, compares them with what is published, and publishes the difference as a
//! [`Delta`]. The cost of a step is that of the Services, addresses and namespaces that it touches.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ahash::{HashMap, HashSet};

use super::cut::{CutFollower, Cutter};
use super::delta::{Delta, Names, Replaced};
use super::faults::{Fault, planted};
use super::name::Labels;
use super::name_servers::name_servers;
use super::options::{Pods, ViewOptions};
use super::rules::Rules;
use super::schema::{For, Schema, service_key};
use super::service::Service;
use super::snapshot::Snapshot;
use super::view::View;
use crate::model::{Cluster, Dirty, Event, Filter, Kind, ObjectKey, Selector};

/// Who follows the publications of a view.
pub type Follower = Box<dyn FnMut(&Delta) + Send>;

/// A view that a publisher is to have: the number of its filter, and who is to follow its cuts if it is new.
pub type Wanted = (Arc<View>, usize, Option<CutFollower>);

/// A cluster and the views of it.
pub struct Publisher {
    cluster: Cluster,
    /// What objects are looked at through. Each is matched once, when its object comes.
    filters: Vec<Filter>,
    views: Vec<Published>,
    /// The number of the next view.
    next_number: usize,
    maker: Maker,
    /// Slices that came, and when what they were written for happened.
    triggered: Vec<(ObjectKey, SystemTime)>,
}

/// What versions of views are made with.
struct Maker {
    kinds: Vec<Kind>,
    /// Those of them that views of the cluster's own Services are made of.
    own_kinds: Vec<Kind>,
    schema: Schema,
    /// Labels of the namespaces that pods are in, shared by all who name them.
    pod_namespaces: HashMap<Arc<str>, Arc<Labels>>,
}

struct Published {
    view: Arc<View>,
    /// No other view of the publisher ever has it.
    number: usize,
    /// Its filter's number.
    filter: usize,
    followers: Vec<Follower>,
    cutter: Cutter,
    /// Something is to be published.
    is_prepared: bool,
}

impl Publisher {
    /// Views of one cluster, with the filter that each sees it through; a view is synced when all of `kinds` were listed
    /// that it is made of.
    pub fn new(views: Vec<(Arc<View>, Filter)>, kinds: Vec<Kind>) -> Self {
        let mut looked_for: Vec<IpAddr> =
            views.iter().flat_map(|(view, _)| view.options().local_addresses.iter().copied()).collect();
        looked_for.sort_unstable();
        looked_for.dedup();
        let mut filters: Vec<Filter> = Vec::new();
        let mut number_of = |filter: Filter| {
            filters.iter().position(|known| *known == filter).unwrap_or_else(|| {
                filters.push(filter);
                filters.len() - 1
            })
        };
        let views: Vec<(Arc<View>, usize)> =
            views.into_iter().map(|(view, filter)| (view, number_of(filter))).collect();
        let mut cluster = Cluster::new(filters.clone(), looked_for);
        cluster = cluster.with_selectors(selectors(views.iter().map(|(view, _)| view.options())));
        if views.iter().any(|(view, _)| view.options().multicluster) {
            cluster = cluster.with_imports();
        }
        let next_number = views.len();
        let published = |(number, (view, filter))| Published::new(view, number, filter);
        let views = views.into_iter().enumerate().map(published).collect();
        let own_kinds = kinds.iter().copied().filter(|kind| *kind != Kind::ServiceImport).collect();
        let maker = Maker { kinds, own_kinds, schema: Schema::default(), pod_namespaces: HashMap::default() };
        Self { cluster, filters, views, next_number, maker, triggered: Vec::new() }
    }

    /// Calls a function with each delta of a view after it was applied.
    pub fn follow(&mut self, view: usize, follower: Follower) {
        if let Some(published) = self.views.get_mut(view) {
            published.followers.push(follower);
        }
    }

    /// Calls a function with each cut of a view, before its serial is answered.
    pub fn follow_cuts(&mut self, view: usize, follower: CutFollower) {
        if let Some(published) = self.views.get_mut(view) {
            published.cutter.follow(follower);
        }
    }

    /// What objects are looked at through; a filter's number is its place.
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// Has these views from now on. Those that it has already go on as they are; new ones are made of what is held, and are
    /// published when this returns.
    pub fn set_views(&mut self, views: Vec<Wanted>) {
        // What is new sees all of it, and is not to see the last of it twice.
        self.publish();
        let mut before = std::mem::take(&mut self.views);
        let first_new = self.next_number;
        for (view, filter, follower) in views {
            if let Some(at) = before.iter().position(|published| Arc::ptr_eq(&published.view, &view)) {
                self.views.push(before.swap_remove(at));
                continue;
            }
            let mut published = Published::new(view, self.next_number, filter);
            self.next_number += 1;
            if let Some(follower) = follower {
                published.cutter.follow(follower);
            }
            self.views.push(published);
        }
        for gone in before {
            self.maker.schema.forget_view(gone.number);
        }
        if self.next_number > first_new {
            let everything = self.cluster.everything();
            for published in self.views.iter_mut().filter(|published| published.number >= first_new) {
                self.maker.step(&self.cluster, published, &everything);
            }
            self.cut();
        }
    }

    /// The views.
    pub fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.views.iter().map(|published| &published.view)
    }

    /// The cluster as it stands.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The same, to be changed beside its events: what is restored, and what is held back.
    pub fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// The kinds of objects that its views are made of.
    pub fn kinds(&self) -> &[Kind] {
        &self.maker.kinds
    }

    /// Whether everything was listed once, which [`Self::is_synced`] says of what was restored too.
    pub fn is_listed(&self) -> bool {
        self.cluster.is_listed(&self.maker.own_kinds)
    }

    /// Takes an event in; nothing is published yet.
    pub fn handle(&mut self, event: Event) {
        self.handle_at(event, Instant::now());
    }

    /// [`Self::handle`] at a moment.
    pub fn handle_at(&mut self, event: Event, now: Instant) {
        match event {
            Event::Triggered(slice, at) => self.triggered.push((slice, at)),
            event => self.cluster.handle_at(event, now),
        }
    }

    /// Gives to `each` the Services of the slices that came since the last call, with the times at which what those were
    /// written for happened. To be called after what came is published.
    pub fn take_triggered(&mut self, mut each: impl FnMut(&crate::model::Service, SystemTime)) {
        for (slice, at) in self.triggered.drain(..) {
            if let Some(service) = self.cluster.service_of(&slice) {
                each(service, at);
            }
        }
    }

    /// Whether everything was listed once, but for what other clusters give, which an API server may never have.
    pub fn is_synced(&self) -> bool {
        self.cluster.is_synced(&self.maker.own_kinds)
    }

    /// Whether what would be published is of two moments: something is being listed again. An endpoint that moved from
    /// one slice to another while nobody watched would have no name until the other slice comes. To be waited for, for a
    /// while.
    pub fn is_torn(&self) -> bool {
        self.is_synced() && self.cluster.is_listing()
    }

    /// Publishes what changed since the last call, and makes the cuts that are due.
    pub fn publish(&mut self) {
        self.publish_at(Instant::now());
    }

    /// [`Self::publish`] at a moment.
    pub fn publish_at(&mut self, now: Instant) {
        self.prepare();
        self.cut_at(now);
    }

    /// When [`Self::cut`] has something to do, if nothing is published until then.
    pub fn cut_due(&self) -> Option<Instant> {
        self.views.iter().filter_map(|published| published.cutter.due()).min()
    }

    /// Makes the cuts that are due of what is published.
    pub fn cut(&mut self) {
        self.cut_at(Instant::now());
    }

    fn cut_at(&mut self, now: Instant) {
        for Published { view, cutter, is_prepared, .. } in &mut self.views {
            let mut next = view.next();
            if cutter.cut(&mut next, now, unix_now()) | std::mem::take(is_prepared) {
                view.publish(&next);
            }
        }
    }

    /// Makes of what changed since the last call what [`Self::publish`] publishes. Followers hear of it at once. What is
    /// not published yet is changed in place, and not copied: this is for the first listing, when nobody asks.
    pub fn prepare(&mut self) {
        let dirty = self.cluster.take_dirty();
        if dirty.is_empty() {
            return;
        }
        for published in &mut self.views {
            self.maker.step(&self.cluster, published, &dirty);
        }
    }
}

impl Maker {
    /// Makes a view's next version of what is dirty.
    fn step(&mut self, cluster: &Cluster, published: &mut Published, dirty: &Dirty) {
        let Published { view, number, filter, followers, cutter, is_prepared } = published;
        let mut next = view.next();
        let before = (!followers.is_empty()).then(|| next.clone());
        let mut step = Step {
            cluster,
            number: *number,
            filter: *filter,
            options: view.options(),
            next: &mut next,
            delta: Delta::default(),
            touched: before.is_some().then(HashSet::default),
        };
        step.namespaces(dirty);
        if view.options().multicluster && !planted(Fault::ImportsAreServices) {
            step.imports(dirty, &mut self.schema);
        } else {
            step.services(dirty, &mut self.schema);
        }
        step.pods(dirty, &mut self.pod_namespaces);
        step.name_servers();
        let Step { mut delta, touched, .. } = step;
        let kinds = if view.options().multicluster { &self.kinds } else { &self.own_kinds };
        let is_synced = next.is_synced || cluster.is_synced(kinds);
        let is_unknown = !is_synced && cluster.is_synced(&self.own_kinds) && cluster.is_unknown(kinds);
        if delta.is_empty() && (is_synced, is_unknown) == (next.is_synced, next.is_unknown) {
            return;
        }
        (next.is_synced, next.is_unknown) = (is_synced, is_unknown);
        if !delta.is_empty() {
            next.version += 1;
            delta.version = next.version;
            cutter.note(&delta);
        }
        // Followers see what they hear of: where there are some, it is published now.
        *is_prepared = followers.is_empty() || delta.is_empty();
        if let (Some(before), Some(touched)) = (before.filter(|_| !delta.is_empty()), touched) {
            delta.pointers = pointers(&before, &next, touched);
            view.publish(&next);
            drop(next);
            for follower in followers {
                follower(&delta);
            }
        }
    }
}

impl Published {
    fn new(view: Arc<View>, number: usize, filter: usize) -> Self {
        Self { view, number, filter, followers: Vec::new(), cutter: Cutter::default(), is_prepared: false }
    }
}

/// What a view's next version is made with.
struct Step<'s> {
    cluster: &'s Cluster,
    /// The view's number.
    number: usize,
    filter: usize,
    options: &'s ViewOptions,
    next: &'s mut Snapshot,
    delta: Delta,
    /// Addresses that may point to something else, where somebody wants to know.
    touched: Option<HashSet<IpAddr>>,
}

impl Step<'_> {
    fn namespaces(&mut self, dirty: &Dirty) {
        for namespace in &dirty.namespaces {
            let Some(label) = Labels::parse(namespace).filter(|_| !namespace.contains('.')) else { continue };
            let exists = self.cluster.has_namespace(namespace, self.filter) && self.options.exposes(namespace);
            if exists != self.next.has_namespace(label.as_wire()) {
                self.next.set_namespace(&label, exists);
                self.delta.namespaces.push((label, exists));
            }
        }
    }

    fn services(&mut self, dirty: &Dirty, schema: &mut Schema) {
        for key in &dirty.services {
            self.service(key, schema);
        }
        if !self.delta.namespaces.is_empty() {
            // Names exist below namespaces that do, and come and go with them.
            for key in self.cluster.service_keys(&dirty.namespaces) {
                self.service(key, schema);
            }
        }
    }

    fn imports(&mut self, dirty: &Dirty, schema: &mut Schema) {
        for key in &dirty.imports {
            self.import(key, schema);
        }
        if !self.delta.namespaces.is_empty() {
            for key in self.cluster.import_keys(&dirty.namespaces) {
                self.import(key, schema);
            }
        }
    }

    /// A ServiceImport has names where its namespace exists and is exposed, and nothing points back to it.
    fn import(&mut self, key: &ObjectKey, schema: &mut Schema) {
        let Some(labels) = service_key(&key.name, &key.namespace) else { return };
        let has_namespace = self.cluster.has_namespace(&key.namespace, self.filter);
        let is_named = self.options.exposes(&key.namespace) && has_namespace;
        let old = self.next.service(labels.as_wire()).cloned();
        let new = match self.cluster.import(key, self.filter).filter(|_| is_named) {
            Some(import) => {
                let slices = self.cluster.slices_of_import(key, self.filter);
                let rules = Rules::of(self.options, self.cluster, &key.namespace, Some(import));
                let made_for = For { view: self.number, options: self.options, is_named, rules };
                schema.service(&labels, Some(import), slices, made_for, old.as_ref())
            }
            None => {
                schema.forget(self.number, &labels);
                None
            }
        };
        self.replace(labels, old, new);
    }

    fn service(&mut self, key: &ObjectKey, schema: &mut Schema) {
        let Some(labels) = service_key(&key.name, &key.namespace) else { return };
        let is_let_through = self.options.exposes(&key.namespace);
        let has_namespace = self.cluster.has_namespace(&key.namespace, self.filter);
        let is_named = is_let_through && (has_namespace || planted(Fault::NamespaceUnchecked));
        // A namespace must exist for PTR only where `namespaces` names some (plugin/kubernetes/reverse.go).
        let points_back = self.options.namespaces.is_empty() || is_let_through && has_namespace;
        let old = self.next.service(labels.as_wire()).cloned();
        let new = if is_named || points_back {
            let service = self.cluster.service(key, self.filter);
            let slices = self.cluster.slices_of(key, self.filter);
            let rules = Rules::of(self.options, self.cluster, &key.namespace, service);
            let made_for = For { view: self.number, options: self.options, is_named, rules };
            schema.service(&labels, service, slices, made_for, old.as_ref())
        } else {
            schema.forget(self.number, &labels);
            None
        };
        self.replace(labels, old, new);
    }

    fn replace(&mut self, labels: Labels, old: Option<Service>, new: Option<Service>) {
        if old != new {
            let points_back = !self.options.multicluster;
            let touched = self.next.set_service(labels.as_wire(), old.as_ref(), new.clone(), points_back);
            if let Some(all) = &mut self.touched {
                all.extend(touched);
            }
            self.delta.services.push(Replaced { key: labels, old, new });
        }
    }

    fn pods(&mut self, dirty: &Dirty, namespaces: &mut HashMap<Arc<str>, Arc<Labels>>) {
        if self.options.pods != Pods::Verified {
            return;
        }
        let mut changes: HashMap<(IpAddr, &Arc<str>), i64> = HashMap::default();
        for (key, before) in &dirty.pods {
            let (old, new) = (before.addresses(self.filter), self.cluster.pod_addresses(key, self.filter));
            for (address, change) in old.iter().map(|old| (old, -1)).chain(new.iter().map(|new| (new, 1))) {
                *changes.entry((address, &key.namespace)).or_default() += change;
            }
        }
        for ((address, namespace), change) in changes.into_iter().filter(|(_, change)| *change != 0) {
            if !namespaces.contains_key(namespace) {
                let Some(labels) = Labels::parse(namespace) else { continue };
                namespaces.insert(Arc::clone(namespace), Arc::new(labels));
            }
            if let Some(labels) = namespaces.get(namespace) {
                self.next.count_pods(address, labels, change);
                self.delta.pods.push((address, Arc::clone(labels), change));
            }
        }
    }

    fn name_servers(&mut self) {
        let servers = name_servers(self.cluster, self.filter, self.options);
        if *self.next.name_servers() != servers {
            let servers = Arc::new(servers);
            self.next.set_name_servers(Arc::clone(&servers));
            self.delta.name_servers = Some(servers);
        }
    }
}

/// The selectors that views ask about Services, each once.
pub fn selectors<'v>(options: impl Iterator<Item = &'v ViewOptions>) -> Vec<Selector> {
    let mut selectors: Vec<Selector> = Vec::new();
    for selector in options.flat_map(|options| &options.endpoint_pod_names).filter_map(|line| line.labels.as_ref()) {
        if !selectors.contains(selector) {
            selectors.push(selector.clone());
        }
    }
    selectors
}

/// Which of the touched addresses have other names than before.
pub(super) fn pointers(before: &Snapshot, after: &Snapshot, touched: HashSet<IpAddr>) -> Vec<Replaced<IpAddr, Names>> {
    let names = |content: &Snapshot, address| {
        let mut names = Vec::new();
        content.pointers(address, |pointed| names.push(pointed.to_labels()));
        names.sort();
        let ttl_secs = content.pointers_ttl_secs(address);
        (!names.is_empty()).then(|| Names { names: names.into_boxed_slice(), ttl_secs })
    };
    let replaced = |address| {
        let (old, new) = (names(before, address), names(after, address));
        (old != new).then_some(Replaced { key: address, old, new })
    };
    touched.into_iter().filter_map(replaced).collect()
}

/// The time as a serial counts it: seconds since 1970, wrapping in 2106 as serials do (RFC 1982).
pub fn unix_now() -> u32 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (elapsed.as_secs() & u64::from(u32::MAX)) as u32
}
