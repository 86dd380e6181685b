//! Whatever the order in which a cluster's changes arrive, the zone ends the same, and is sound at every step.
//!
//! A [`Source`] tells a publisher of a cluster as a real one does: each kind is listed and then watched, the kinds in any
//! order among each other; events are repeated, or missed until the next listing; listings break off and begin again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "zone_properties/cuts.rs"]
mod cuts;
#[path = "zone_properties/holds.rs"]
mod holds;
#[path = "zone_properties/moves.rs"]
mod moves;
#[path = "support/paths.rs"]
mod paths;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use podzone::answer::{Block, Client, Responder, Transport};
use podzone::model::{
    Endpoint, EndpointAddress, EndpointNames, EndpointPort, EndpointSlice, Event, Filter, Import, Kind,
    Labels as Metadata, Namespace, Object, ObjectKey, Pod, PodNameForm, PodNames, Selector, Service, ServiceKind,
    ServicePort, Settings,
};
use podzone::zone::delta::service_records;
use podzone::zone::name_servers::NameServers;
use podzone::zone::{
    Data, Delta, Labels, Name, Names, Pods, Publisher, Record, Replaced, Service as Packed, Snapshot, View,
    ViewOptions, Wanted,
};
use proptest::prelude::*;
use proptest::sample::select;

const NAMESPACES: [&str; 2] = ["a", "b"];
const ADDRESSES: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "fd00::1", "fd00::"];
const SERVICES: [&str; 3] = ["web", "beam", "db"];
const FIRST_SERIAL: u32 = 1000;

// ---- clusters -------------------------------------------------------------------------------------------------------

fn key(names: &'static [&'static str]) -> impl Strategy<Value = ObjectKey> {
    (select(&NAMESPACES[..]), select(names)).prop_map(|(namespace, name)| ObjectKey::new(namespace, name))
}

fn address() -> impl Strategy<Value = IpAddr> {
    select(&ADDRESSES[..]).prop_map(|text| text.parse().unwrap())
}

/// The views' selector is `tier=front`.
fn metadata() -> impl Strategy<Value = Metadata> {
    select(&[None, Some("front"), Some("front"), Some("back")][..])
        .prop_map(|tier| tier.map(|tier| ("tier".to_owned(), tier.to_owned())).into_iter().collect())
}

/// A port's name, protocol and number.
fn port() -> impl Strategy<Value = (&'static str, &'static str, u16)> {
    (select(&["", "http", "epmd"][..]), select(&["TCP", "UDP"][..]), select(&[80, 4369][..]))
}

fn service() -> impl Strategy<Value = Object> {
    let external = ["example.com", "web.a.svc.cluster.local", "db.b.svc.cluster.local", "10.0.0.9"];
    let kind = prop_oneof![
        3 => proptest::collection::vec(address(), 0..3).prop_map(ServiceKind::ClusterIp),
        4 => Just(ServiceKind::Headless),
        1 => select(external.to_vec()).prop_map(|name| ServiceKind::ExternalName(name.into())),
    ];
    service_of(kind).prop_map(Object::Service)
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let long = "x".repeat(64);
    let target =
        select(vec![None, Some("pod-0".to_owned()), Some("pod-1".to_owned()), Some("po.d".to_owned()), Some(long)]);
    let address = prop_oneof![
        9 => address().prop_map(EndpointAddress::Ip),
        1 => Just(EndpointAddress::Name("host.example.com".into())),
    ];
    let ready = select(&[None, Some(true), Some(true), Some(false)][..]);
    let hostname = select(&[None, None, Some("h0"), Some("pod-1")][..]);
    let zone = select(&[None, Some("a"), Some("B.c")][..]);
    let state = (ready, select(&[None, Some(true), Some(false)][..]), select(&[None, None, Some(true)][..]));
    (proptest::collection::vec(address, 0..3), hostname, target, state, zone).prop_map(
        |(addresses, hostname, target, (ready, serving, terminating), zone)| Endpoint {
            addresses,
            hostname: hostname.map(Into::into),
            target_name: target.map(Into::into),
            ready,
            serving,
            terminating,
            zone: zone.map(Into::into),
        },
    )
}

/// What a Service says of its names, by annotations.
fn settings() -> impl Strategy<Value = Option<Box<Settings>>> {
    let names = select(&[None, None, None, Some("ip"), Some("pod"), Some("both")][..]);
    let form = select(&[None, Some("coredns"), Some("kubelet")][..]);
    let ttl = select(&[None, None, Some("1"), Some("60")][..]);
    let portless = select(&[None, None, Some("none"), Some("port-0")][..]);
    let ptr = select(&[None, None, None, Some("canonical"), Some("none")][..]);
    let early = || select(&[None, None, Some("none"), Some("names")][..]);
    (names, form, ttl, portless, ptr, early(), early()).prop_map(|(names, form, ttl, portless, ptr, early, late)| {
        let annotations = [
            ("podzone.dev/endpoint-names", names),
            ("podzone.dev/pod-name-form", form),
            ("podzone.dev/ttl", ttl),
            ("podzone.dev/portless-srv", portless),
            ("podzone.dev/ptr", ptr),
            ("podzone.dev/publish-not-ready", early),
            ("podzone.dev/drain", late),
        ];
        let given = annotations.into_iter().filter_map(|(key, value)| Some((key, value?)));
        Settings::read(given, &mut Vec::new())
    })
}

fn service_of(kind: impl Strategy<Value = ServiceKind>) -> impl Strategy<Value = Service> {
    (key(&SERVICES), metadata(), kind, proptest::collection::vec(port(), 0..3), settings()).prop_map(
        |(key, labels, kind, ports, settings)| {
            let port = |(name, protocol, port): (&str, &str, u16)| ServicePort {
                name: name.into(),
                protocol: protocol.into(),
                port,
            };
            Service { key, labels, kind, ports: ports.into_iter().map(port).collect(), has_selector: true, settings }
        },
    )
}

/// A Service of other clusters.
fn service_import() -> impl Strategy<Value = Object> {
    let kind = prop_oneof![
        2 => proptest::collection::vec(address(), 0..3).prop_map(ServiceKind::ClusterIp),
        3 => Just(ServiceKind::Headless),
    ];
    service_of(kind).prop_map(Object::ServiceImport)
}

/// What an imported slice says of where it belongs. Nobody should leave out the cluster, and somebody will.
fn import() -> impl Strategy<Value = Option<Box<Import>>> {
    let import = (select(&["web", "beam", "beam", "gone"][..]), select(&["east", "west", "We.st", ""][..]));
    let import =
        import.prop_map(|(service, cluster)| Box::new(Import { service: service.into(), cluster: cluster.into() }));
    proptest::option::of(import)
}

fn slice() -> impl Strategy<Value = Object> {
    let service = select(&[None, Some("web"), Some("beam"), Some("beam"), Some("gone")][..]);
    let port = (port(), any::<bool>()).prop_map(|((name, protocol, port), numbered)| EndpointPort {
        name: name.into(),
        protocol: protocol.into(),
        port: numbered.then_some(port),
    });
    let contents = (proptest::collection::vec(endpoint(), 0..4), proptest::collection::vec(port, 0..3));
    (key(&["s0", "s1", "s2"]), metadata(), service, import(), contents).prop_map(
        |(key, labels, service, import, (endpoints, ports))| {
            Object::EndpointSlice(EndpointSlice {
                key,
                labels,
                service: service.map(Into::into),
                import,
                endpoints: endpoints.into(),
                ports: ports.into(),
            })
        },
    )
}

/// Pods that are going are left out: what is known of them depends on what came before, see the last test.
fn pod() -> impl Strategy<Value = Object> {
    (key(&["pod-0", "pod-1"]), metadata(), proptest::collection::vec(address(), 0..3)).prop_map(
        |(key, labels, addresses)| {
            Object::Pod(Pod { key, labels, addresses: addresses.into_iter().collect(), terminating: false })
        },
    )
}

fn namespace() -> impl Strategy<Value = Object> {
    (select(&NAMESPACES[..]), metadata())
        .prop_map(|(name, labels)| Object::Namespace(Namespace { name: name.into(), labels }))
}

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![2 => namespace(), 4 => service(), 6 => slice(), 2 => pod(), 3 => service_import()]
}

fn key_of(object: &Object) -> ObjectKey {
    match object {
        Object::Namespace(namespace) => ObjectKey::new("", namespace.name.clone()),
        Object::Service(service) => service.key.clone(),
        Object::EndpointSlice(slice) => slice.key.clone(),
        Object::Pod(pod) => pod.key.clone(),
        Object::ServiceImport(import) => import.key.clone(),
    }
}

// ---- telling of them ------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Once,
    /// With the kind's last changes again, in their order, as a watch that begins from an older version.
    Again,
    /// Not at all, until the next listing.
    Never,
}

#[derive(Clone, Debug)]
enum Step {
    Put(Object, Told),
    /// Takes away the object of this number among those that are there.
    Remove(usize, Told),
    /// A listing begins; one that is under way breaks off.
    Begin(Kind),
    /// A listing goes on by so many objects.
    Go(Kind, usize),
    Publish,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let told = || select(&[Told::Once, Told::Once, Told::Again, Told::Never][..]);
    let kind = || select(&Kind::ALL[..]);
    let step = prop_oneof![
        10 => (object(), told()).prop_map(|(object, told)| Step::Put(object, told)),
        3 => (any::<usize>(), told()).prop_map(|(number, told)| Step::Remove(number, told)),
        2 => kind().prop_map(Step::Begin),
        4 => (kind(), 1..9_usize).prop_map(|(kind, count)| Step::Go(kind, count)),
        4 => Just(Step::Publish),
    ];
    proptest::collection::vec(step, 1..80)
}

#[derive(Default)]
struct Stream {
    /// What a listing under way has still to name; `None` outside of one.
    rest: Option<Vec<Object>>,
    listed: bool,
    /// Something was missed since the last listing began.
    stale: bool,
    /// Changes since the last listing began.
    told: Vec<Event>,
    /// Those that wait for the listing to end.
    deferred: Vec<Event>,
}

#[derive(Default)]
struct Source {
    truth: BTreeMap<(Kind, ObjectKey), Object>,
    streams: HashMap<Kind, Stream>,
}

impl Source {
    /// The events that a step brings.
    fn step(&mut self, step: &Step) -> Vec<Event> {
        match step {
            Step::Put(object, told) => {
                self.truth.insert((object.kind(), key_of(object)), object.clone());
                self.tell(object.kind(), Event::Apply(object.clone()), *told)
            }
            Step::Remove(number, told) => {
                let Some((kind, key)) = self.truth.keys().nth(number % self.truth.len().max(1)).cloned() else {
                    return Vec::new();
                };
                self.truth.remove(&(kind, key.clone()));
                self.tell(kind, Event::Delete(kind, key), *told)
            }
            Step::Begin(kind) => self.begin(*kind),
            Step::Go(kind, count) => self.go(*kind, *count),
            Step::Publish => Vec::new(),
        }
    }

    fn tell(&mut self, kind: Kind, event: Event, told: Told) -> Vec<Event> {
        let stream = self.streams.entry(kind).or_default();
        stream.stale |= told == Told::Never;
        if told == Told::Never || !stream.listed && stream.rest.is_none() {
            return Vec::new();
        }
        stream.told.push(event.clone());
        let mut events = vec![event];
        if told == Told::Again {
            events.extend_from_slice(&stream.told[stream.told.len().saturating_sub(3)..]);
        }
        if stream.rest.is_some() {
            stream.deferred.append(&mut events);
        }
        events
    }

    fn begin(&mut self, kind: Kind) -> Vec<Event> {
        let objects = self.truth.iter().filter(|((of, _), _)| *of == kind).map(|(_, object)| object.clone()).collect();
        let listed = self.streams.get(&kind).is_some_and(|stream| stream.listed);
        self.streams.insert(kind, Stream { rest: Some(objects), listed, ..Stream::default() });
        vec![Event::Begin(kind)]
    }

    fn go(&mut self, kind: Kind, count: usize) -> Vec<Event> {
        let Some(stream) = self.streams.get_mut(&kind) else { return Vec::new() };
        let Some(rest) = &mut stream.rest else { return Vec::new() };
        let mut events: Vec<Event> = rest.drain(..count.min(rest.len())).map(Event::Apply).collect();
        if rest.is_empty() {
            events.push(Event::End(kind));
            events.append(&mut stream.deferred);
            stream.rest = None;
            stream.listed = true;
        }
        events
    }

    /// What is missing for everything to have been told.
    fn finish(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for kind in Kind::ALL {
            events.extend(self.go(kind, usize::MAX));
            if self.streams.get(&kind).is_none_or(|stream| stream.stale || !stream.listed) {
                events.extend(self.begin(kind));
                events.extend(self.go(kind, usize::MAX));
            }
        }
        events
    }

    fn listed(&self, kind: Kind) -> bool {
        self.streams.get(&kind).is_some_and(|stream| stream.listed)
    }
}

// ---- what is published ----------------------------------------------------------------------------------------------

/// What one view's deltas say, taken together.
#[derive(Default, PartialEq, Debug)]
struct Content {
    services: BTreeMap<Labels, Packed>,
    pointers: BTreeMap<IpAddr, Names>,
    pods: BTreeMap<(IpAddr, Labels), i64>,
    namespaces: BTreeSet<Labels>,
    name_servers: Arc<NameServers>,
}

#[derive(Default)]
struct Followed {
    content: Content,
    records: BTreeSet<Record>,
    version: u64,
}

impl Content {
    fn apply(&mut self, delta: &Delta) {
        fn replace<K: Ord + Clone + Debug, V: PartialEq + Clone + Debug>(
            map: &mut BTreeMap<K, V>,
            change: &Replaced<K, V>,
        ) {
            assert_ne!(change.old, change.new, "{:?} is replaced by itself", change.key);
            let old = match &change.new {
                Some(new) => map.insert(change.key.clone(), new.clone()),
                None => map.remove(&change.key),
            };
            assert_eq!(old, change.old, "{:?}", change.key);
        }
        delta.services.iter().for_each(|change| replace(&mut self.services, change));
        delta.pointers.iter().for_each(|change| replace(&mut self.pointers, change));
        for (address, namespace, change) in &delta.pods {
            let pods = self.pods.entry((*address, Labels::clone(namespace))).or_default();
            *pods += change;
        }
        self.pods.retain(|_, pods| *pods != 0);
        for (namespace, exists) in &delta.namespaces {
            let changed =
                if *exists { self.namespaces.insert(namespace.clone()) } else { self.namespaces.remove(namespace) };
            assert!(changed, "namespace {namespace} {exists} again");
        }
        if let Some(servers) = &delta.name_servers {
            self.name_servers = Arc::clone(servers);
        }
    }

    /// Every record, each once.
    fn records(&self) -> Vec<Record> {
        let pointer = |address: &IpAddr, ttl_secs: Option<u32>, target: &Labels| Record {
            owner: Labels::default(),
            ttl_secs,
            data: Data::Ptr { address: *address, target: target.clone() },
        };
        let services = self.services.values().flat_map(service_records);
        let pointers = self
            .pointers
            .iter()
            .flat_map(|(address, names)| names.iter().map(|name| pointer(address, names.ttl_secs, name)));
        services.chain(pointers).collect()
    }
}

impl Followed {
    fn apply(&mut self, delta: &Delta) {
        assert!(!delta.is_empty(), "an empty delta was published");
        assert_eq!(delta.version, self.version + 1, "versions count deltas");
        self.version = delta.version;
        self.content.apply(delta);
        for record in delta.removed() {
            assert!(self.records.remove(&record), "removed, but was not there: {record:?}");
        }
        for record in delta.added() {
            assert!(self.records.insert(record.clone()), "added, but was there: {record:?}");
        }
    }
}

struct Bench {
    publisher: Publisher,
    views: Vec<Arc<View>>,
    followed: Vec<Arc<Mutex<Followed>>>,
    cuts: Vec<Arc<Mutex<cuts::Secondary>>>,
    responders: Vec<Responder>,
    filters: Vec<Filter>,
    /// How many views came late.
    late: usize,
    /// The time of the next publication: each comes so late that all that was published before is cut.
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let options = |namespaces: &[&str], pod_names: bool, pods, local: &[&str]| ViewOptions {
            namespaces: namespaces.iter().map(|name| (*name).into()).collect(),
            endpoint_pod_names: if pod_names { vec![PodNames::default()] } else { Vec::new() },
            pods,
            local_addresses: local.iter().map(|text| text.parse().unwrap()).collect(),
            ..ViewOptions::new(["cluster.local", "in-addr.arpa"].map(|zone| Name::parse(zone).unwrap()).into()).unwrap()
        };
        let of_imports = |options| ViewOptions { multicluster: true, ..options };
        let selector = || Some(Selector::parse("tier=front").unwrap());
        let front = Filter { labels: selector(), ..Filter::default() };
        let of_front = Filter { namespace_labels: selector(), ..Filter::default() };
        let blind = Filter { no_endpoints: true, ..Filter::default() };
        let zonal = ViewOptions { zonal: true, ignore_empty_service: true, ..options(&[], true, Pods::Disabled, &[]) };
        let both = PodNames {
            names: EndpointNames::Both,
            form: PodNameForm::Kubelet,
            namespaces: vec!["b".into()],
            labels: Some(Selector::parse("tier=front").unwrap()),
        };
        let some = ViewOptions {
            canonical_ptr: true,
            publish_not_ready: true,
            drain: true,
            endpoint_pod_names: vec![both, PodNames { namespaces: vec!["a".into()], ..PodNames::default() }],
            ..options(&[], false, Pods::Disabled, &["10.0.0.1"])
        };
        let busy = ViewOptions { ignore_empty_service: true, ..options(&[], false, Pods::Disabled, &["10.0.0.1"]) };
        let views = [
            (options(&[], false, Pods::Insecure, &[]), Filter::default()),
            (options(&[], true, Pods::Verified, &["10.0.0.1", "fd00::1"]), Filter::default()),
            (options(&["a"], true, Pods::Disabled, &["10.0.0.2"]), Filter::default()),
            (options(&[], false, Pods::Verified, &[]), front.clone()),
            (zonal, of_front),
            (some.clone(), Filter::default()),
            (options(&[], false, Pods::Disabled, &["10.0.0.1"]), blind.clone()),
            (of_imports(options(&[], true, Pods::Verified, &["10.0.0.1"])), Filter::default()),
            (of_imports(options(&["a"], false, Pods::Disabled, &[])), front),
            (of_imports(busy), blind),
            (of_imports(some), Filter::default()),
        ];
        let views: Vec<(Arc<View>, Filter)> =
            views.into_iter().map(|(options, filter)| (Arc::new(View::new(options, FIRST_SERIAL)), filter)).collect();
        let mut publisher = Publisher::new(views.clone(), Kind::ALL.to_vec());
        let (mut followed, mut cuts) = (Vec::new(), Vec::new());
        for (index, (view, _)) in views.iter().enumerate() {
            cuts.push(cuts::Secondary::follow(&mut publisher, index, view));
            let follower = Arc::new(Mutex::new(Followed::default()));
            followed.push(Arc::clone(&follower));
            publisher.follow(index, Box::new(move |delta| follower.lock().unwrap().apply(delta)));
        }
        let (views, filters): (Vec<Arc<View>>, Vec<Filter>) = views.into_iter().unzip();
        let responder = |view: &Arc<View>| {
            let block = Arc::new(Block { view: Some(Arc::clone(view)), handles: true, ..Block::default() });
            Responder::new(view.options().zones.iter().map(|zone| (zone.clone(), Arc::clone(&block))))
        };
        let responders = views.iter().map(responder).collect();
        Self { publisher, views, followed, cuts, responders, filters, late: 0, now: Instant::now() }
    }

    fn show(&mut self) {
        self.now += Duration::from_secs(1);
        self.publisher.publish_at(self.now);
    }

    fn take(&mut self, events: Vec<Event>) {
        events.into_iter().for_each(|event| self.publisher.handle(event));
    }

    /// A view that comes late is made of what is held, and is what one is that was there from the beginning.
    fn assert_late_views_are_whole(&mut self) {
        let at = self.late % self.views.len();
        self.late += 1;
        if self.views[at].current().version() == 0 {
            // Nothing was seen yet, not even that nobody has this server's own addresses.
            return;
        }
        let number = |filter: &Filter| self.publisher.filters().iter().position(|known| known == filter).unwrap();
        let wanted = |view: &Arc<View>, filter: &Filter| (Arc::clone(view), number(filter), None);
        let before: Vec<Wanted> = self.views.iter().zip(&self.filters).map(|(view, of)| wanted(view, of)).collect();
        let late = Arc::new(View::new(self.views[at].options().clone(), FIRST_SERIAL));
        let all: Vec<Wanted> = std::iter::once(wanted(&late, &self.filters[at]))
            .chain(before.iter().map(|(view, filter, _)| (Arc::clone(view), *filter, None)))
            .collect();
        self.publisher.set_views(all);
        {
            let late = late.current();
            assert_view_is(&late, &self.followed[at].lock().unwrap().content);
            assert_eq!(late.is_synced(), self.views[at].current().is_synced());
        }
        self.publisher.set_views(before);
    }

    /// Publishes, and checks what must hold at every step.
    fn publish(&mut self, source: &Source) {
        self.show();
        self.assert_late_views_are_whole();
        for (view, secondary) in self.views.iter().zip(&self.cuts) {
            secondary.lock().unwrap().check(view);
        }
        for (view, (followed, responder)) in self.views.iter().zip(self.followed.iter().zip(&self.responders)) {
            let followed = followed.lock().unwrap();
            let is_of_imports = view.options().multicluster;
            let view = &*view.current();
            let is_needed = |kind: &Kind| *kind != Kind::ServiceImport || is_of_imports;
            assert_eq!(view.is_synced(), Kind::ALL.into_iter().filter(is_needed).all(|kind| source.listed(kind)));
            assert_eq!(view.version(), followed.version);
            assert_view_is(view, &followed.content);
            let records: Vec<Record> = followed.content.records();
            let distinct: BTreeSet<Record> = records.iter().cloned().collect();
            assert_eq!(records.len(), distinct.len(), "a record twice: {records:?}");
            assert!(distinct == followed.records, "deltas and content differ:\n{distinct:?}\n{:?}", followed.records);
            if view.is_synced() {
                assert_targets_resolve(responder, &records);
            }
            assert_paths_agree(responder, &records, view.is_synced());
            if !view.is_synced() {
                assert_nothing_is_denied(responder);
                assert_no_set_is_given(responder, &followed.content);
            }
        }
    }
}

/// The names of an address, sorted.
fn names(view: &Snapshot, address: IpAddr) -> Vec<Labels> {
    let mut names = Vec::new();
    view.pointers(address, |name| names.push(name.to_labels()));
    names.sort();
    names
}

/// The index that answers come from holds what the deltas say, and nothing else.
fn assert_view_is(view: &Snapshot, content: &Content) {
    let named = content.services.values().filter(|service| service.has_names());
    assert_eq!(view.service_count(), named.count());
    assert_eq!(view.services().count(), content.services.len());
    for (key, service) in &content.services {
        assert_eq!(view.service(key.as_wire()), Some(service), "{key}");
    }
    for address in ADDRESSES.map(|text| text.parse::<IpAddr>().unwrap()) {
        let known = content.pointers.get(&address).map_or(&[][..], |names| names);
        assert_eq!(names(view, address), known, "pointers of {address}");
        let known = content.pods.iter().filter(|((of, _), _)| *of == address);
        let known: BTreeMap<&Labels, i64> = known.map(|((_, namespace), pods)| (namespace, *pods)).collect();
        let pods = view.pod_namespaces(address).map(|(namespace, pods)| (namespace, i64::from(pods)));
        assert_eq!(pods.collect::<BTreeMap<_, _>>(), known, "pods of {address}");
    }
    for namespace in NAMESPACES {
        let label = Labels::parse(namespace).unwrap();
        assert_eq!(view.has_namespace(label.as_wire()), content.namespaces.contains(&label), "{namespace}");
    }
    assert_eq!(*view.name_servers(), *content.name_servers);
}

fn versions(view: &View) -> (u64, u32) {
    let content = view.current();
    (content.version(), content.serial())
}

/// What is prepared is what would be composed, of every name that has records and of some that have none. Once the zone
/// is synced, Services' addresses and SRV records are prepared but for aliases and endpoints' own SRV records.
fn assert_paths_agree(responder: &Responder, records: &[Record], is_synced: bool) {
    let zone = Name::parse("cluster.local").unwrap();
    let fixed = [
        "web.a.svc",
        "gone.a.svc",
        "gone.beam.a.svc",
        "_http.beam.b.svc",
        "_._tcp.beam.a.svc",
        "http.tcp.beam.b.svc",
        "_http.tcp.beam.b.svc",
        "pod-0.east.beam.a.svc",
        "po.d.beam.a.svc",
    ];
    let fixed = fixed.map(|text| Labels::parse(text).unwrap());
    let owners: BTreeSet<&Labels> = records.iter().map(|record| &record.owner).chain(&fixed).collect();
    let names = owners.into_iter().filter_map(|owner| Name::join(owner, &zone));
    let reverse = ["1.0.0.10.in-addr.arpa", "9.0.0.10.in-addr.arpa"].map(|text| Name::parse(text).unwrap());
    let mut at_once = 0;
    for name in names.chain(reverse) {
        for rtype in [1, 28, 33, 12, 65] {
            at_once += u32::from(paths::agree(responder, &query(&name, rtype)));
        }
    }
    assert_eq!(at_once > 0, is_synced, "{at_once} answers were prepared");
}

/// Asks over TCP; gives the response code and the number of answers.
fn ask(responder: &Responder, name: &Name, rtype: u16) -> (u8, u16) {
    let mut out = Vec::new();
    responder.respond(&query(name, rtype), Client::unknown(Transport::Tcp), &mut out).answered().expect("an answer");
    (out[3] & 0xf, u16::from_be_bytes([out[6], out[7]]))
}

fn query(name: &Name, rtype: u16) -> Vec<u8> {
    let header = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], name.as_wire(), &rtype.to_be_bytes(), &[0, 1]].concat()
}

/// A name is never advertised before it resolves. Only with a dotted pod name or cluster's id it never does: it has a label
/// too many.
fn assert_targets_resolve(responder: &Responder, records: &[Record]) {
    let zone = Name::parse("cluster.local").unwrap();
    let targets: BTreeSet<&Labels> = records
        .iter()
        .filter_map(|record| match &record.data {
            Data::Srv { target, .. } => Some(target),
            _ => None,
        })
        .filter(|target| !target.to_string().starts_with("po.d.") && !target.to_string().contains(".we.st."))
        .collect();
    for target in targets {
        let name = Name::join(target, &zone).unwrap();
        let found = [1, 28].map(|rtype| ask(responder, &name, rtype));
        assert!(found.iter().any(|(rcode, answers)| *rcode == 0 && *answers > 0), "{name} does not resolve: {found:?}");
    }
}

/// What is not known before everything was listed may exist.
fn assert_nothing_is_denied(responder: &Responder) {
    let names = [
        "cluster.local",
        "a.svc.cluster.local",
        "web.a.svc.cluster.local",
        "_http._tcp.beam.b.svc.cluster.local",
        "pod-0.beam.a.svc.cluster.local",
        "10-0-0-1.a.pod.cluster.local",
        "1.0.0.10.in-addr.arpa",
        "nothing.cluster.local",
    ];
    for name in names {
        // A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, HTTPS
        for rtype in [1, 2, 5, 6, 12, 16, 28, 33, 65] {
            let (rcode, answers) = ask(responder, &Name::parse(name).unwrap(), rtype);
            assert!(rcode == 0 && answers > 0 || rcode == 2, "{name} type {rtype}: rcode {rcode}, {answers} answers");
        }
    }
}

/// Nor is some of a set given, while there may be more: of endpoints, of an address's names, of the zone's servers.
fn assert_no_set_is_given(responder: &Responder, content: &Content) {
    let zone = Name::parse("cluster.local").unwrap();
    let headless = content.services.values().filter(|service| service.is_headless());
    let owners: BTreeSet<Labels> = headless.flat_map(service_records).map(|record| record.owner).collect();
    for name in owners.iter().filter_map(|owner| Name::join(owner, &zone)) {
        for rtype in [1, 28, 33, 5] {
            assert_eq!(ask(responder, &name, rtype), (2, 0), "{name} type {rtype}");
        }
    }
    for (name, rtype) in [("1.0.0.10.in-addr.arpa", 12), ("cluster.local", 2)] {
        assert_eq!(ask(responder, &Name::parse(name).unwrap(), rtype), (2, 0), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_events_ends_in_the_zone_of_one_listing(steps in steps()) {
        let (mut source, mut bench) = (Source::default(), Bench::new());
        for step in &steps {
            let events = source.step(step);
            bench.take(events);
            if matches!(step, Step::Publish) {
                bench.publish(&source);
            }
        }
        bench.take(source.finish());
        bench.publish(&source);
        for (secondary, responder) in bench.cuts.iter().zip(&bench.responders) {
            secondary.lock().unwrap().check_answers(responder);
        }

        let (mut fresh, mut expected) = (Source::default(), Bench::new());
        fresh.truth = source.truth.clone();
        expected.take(fresh.finish());
        expected.publish(&fresh);
        for (ended, expected) in bench.followed.iter().zip(&expected.followed) {
            prop_assert_eq!(&ended.lock().unwrap().content, &expected.lock().unwrap().content);
        }

        // A relist that finds nothing new changes nothing, not even the serial.
        let before: Vec<(u64, u32)> = bench.views.iter().map(|view| versions(view)).collect();
        for kind in Kind::ALL {
            let mut events = source.begin(kind);
            events.extend(source.go(kind, usize::MAX));
            bench.take(events);
            bench.publish(&source);
        }
        let after: Vec<(u64, u32)> = bench.views.iter().map(|view| versions(view)).collect();
        prop_assert_eq!(before, after);
    }
}

/// A pod that is going keeps its name until it is gone; one that was never seen before has none.
#[test]
fn a_pod_that_is_going_keeps_what_it_had() {
    let pod = |name: &str, address: &str, terminating| {
        let key = ObjectKey::new("a", name);
        let addresses = address.parse().into_iter().collect();
        Event::Apply(Object::Pod(Pod { key, labels: Metadata::new(), addresses, terminating }))
    };
    let namespaces_of =
        |bench: &Bench, address: &str| bench.views[1].current().pod_namespaces(address.parse().unwrap()).count();
    let mut bench = Bench::new();
    bench.take(vec![Event::Begin(Kind::Pod), pod("pod-0", "10.0.0.1", false), pod("pod-1", "10.0.0.2", true)]);
    bench.take(vec![Event::End(Kind::Pod), pod("pod-0", "10.0.0.3", true)]);
    bench.show();
    assert_eq!(["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|address| namespaces_of(&bench, address)), [1, 0, 0]);

    // A relist that names it does not lose it, one that does not takes it away.
    bench.take(vec![Event::Begin(Kind::Pod), pod("pod-0", "10.0.0.1", true), Event::End(Kind::Pod)]);
    bench.show();
    assert_eq!(namespaces_of(&bench, "10.0.0.1"), 1);
    bench.take(vec![Event::Begin(Kind::Pod), Event::End(Kind::Pod)]);
    bench.show();
    assert_eq!(namespaces_of(&bench, "10.0.0.1"), 0);
}

/// With no endpoint of its own, the server itself is the zone's: `ns.dns` with its addresses.
#[test]
fn without_a_service_in_front_the_own_addresses_serve_the_zone() {
    let mut bench = Bench::new();
    bench.take(Source::default().finish());
    bench.show();
    let expected =
        vec![(Labels::parse("ns.dns").unwrap(), vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()])];
    assert_eq!(*bench.views[1].current().name_servers(), NameServers(expected));
    assert_eq!(*bench.views[0].current().name_servers(), NameServers::default());
}

/// What an API server does not have is not waited for, takes nothing from the cluster's own names, and comes when it has.
#[test]
fn without_service_imports_only_their_view_waits() {
    let mut bench = Bench::new();
    let (mut source, [own, of_imports]) = (Source::default(), [0, 7]);
    let state = |bench: &Bench, view: usize| {
        let content = bench.views[view].current();
        (content.is_synced(), content.is_unknown(), content.is_awaited())
    };
    bench.take(vec![Event::Unknown(Kind::ServiceImport)]);
    bench.publisher.publish();
    assert_eq!([own, of_imports].map(|view| state(&bench, view)), [(false, false, true); 2], "others may come yet");
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::ServiceImport) {
        bench.take(source.begin(kind));
        bench.take(source.go(kind, usize::MAX));
    }
    bench.publisher.publish();
    assert!(bench.publisher.is_synced());
    assert_eq!(state(&bench, own), (true, false, false));
    assert_eq!(state(&bench, of_imports), (false, true, false));
    bench.take(source.begin(Kind::ServiceImport));
    bench.publisher.publish();
    assert_eq!(state(&bench, of_imports), (false, false, true), "now it is there");
    bench.take(source.go(Kind::ServiceImport, usize::MAX));
    bench.take(vec![Event::Unknown(Kind::ServiceImport)]);
    bench.publisher.publish();
    assert_eq!(state(&bench, of_imports), (true, false, false), "what was there once is kept");
}
