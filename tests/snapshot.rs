//! The codec of snapshots: what is written comes back, and what was not written is refused, whatever it is.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use podzone::model::{
    Cluster, Endpoint, EndpointAddress, EndpointPort, EndpointSlice, Endpoints, Event, Filter, Import, Kept, Kind,
    Labels, Namespace, Object, ObjectKey, Pod, Selector, Service, ServiceKind, ServicePort, Settings, Visibility,
};
use podzone::snapshot::{self, Draft, Header, Record, Refused, Selection, Snapshot, VERSION, Walk};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const CLUSTER: &str = "https://api.example:6443";

// ---- objects --------------------------------------------------------------------------------------------------------

fn key() -> impl Strategy<Value = ObjectKey> {
    ("[a-z]{1,8}", "[a-z0-9.-]{1,70}").prop_map(|(namespace, name)| ObjectKey::new(namespace, name))
}

fn settings() -> impl Strategy<Value = Option<Box<Settings>>> {
    let annotations = [
        ("podzone.dev/endpoint-names", "both"),
        ("podzone.dev/pod-name-form", "kubelet"),
        ("podzone.dev/ptr", "canonical"),
        ("podzone.dev/publish-not-ready", "names"),
        ("podzone.dev/drain", "none"),
        ("podzone.dev/ttl", "17"),
        ("podzone.dev/portless-srv", "port-0"),
    ];
    proptest::sample::subsequence(annotations.to_vec(), 0..=annotations.len())
        .prop_map(|said| Settings::read(said, &mut Vec::new()))
}

fn service() -> impl Strategy<Value = Service> {
    let kind = prop_oneof![
        proptest::collection::vec(any::<IpAddr>(), 0..3).prop_map(ServiceKind::ClusterIp),
        Just(ServiceKind::Headless),
        ".{1,80}".prop_map(|name| ServiceKind::ExternalName(name.into())),
    ];
    let port = (".{0,15}", select(&["TCP", "UDP", "SCTP"][..]), any::<u16>())
        .prop_map(|(name, protocol, port)| ServicePort { name: name.into(), protocol: protocol.into(), port });
    (key(), kind, proptest::collection::vec(port, 0..4), any::<bool>(), settings()).prop_map(
        |(key, kind, ports, has_selector, settings)| Service {
            key,
            labels: Labels::new(),
            kind,
            ports: ports.into(),
            has_selector,
            settings,
        },
    )
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let address = prop_oneof![
        4 => any::<IpAddr>().prop_map(EndpointAddress::Ip),
        1 => ".{1,60}".prop_map(|name| EndpointAddress::Name(name.into())),
    ];
    let text = || option::of(".{1,80}".prop_map(String::into_boxed_str));
    let states = (any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<bool>>());
    (proptest::collection::vec(address, 0..4), text(), text(), states, text()).prop_map(
        |(addresses, hostname, target_name, (ready, serving, terminating), zone)| Endpoint {
            addresses,
            hostname,
            target_name,
            ready,
            serving,
            terminating,
            zone,
        },
    )
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let port = (".{0,15}", select(&["TCP", "UDP"][..]), any::<Option<u16>>())
        .prop_map(|(name, protocol, port)| EndpointPort { name: name.into(), protocol: protocol.into(), port });
    let import = option::of(
        (".{0,20}", ".{0,20}")
            .prop_map(|(service, cluster)| Box::new(Import { service: service.into(), cluster: cluster.into() })),
    );
    let endpoints = proptest::collection::vec(endpoint(), 0..6);
    (key(), option::of(".{0,20}"), import, endpoints, proptest::collection::vec(port, 0..3)).prop_map(
        |(key, service, import, endpoints, ports)| EndpointSlice {
            key,
            labels: Labels::new(),
            service: service.map(Into::into),
            import,
            endpoints: endpoints.into(),
            ports: ports.into(),
        },
    )
}

fn pod() -> impl Strategy<Value = Pod> {
    (key(), proptest::collection::vec(any::<IpAddr>(), 0..3)).prop_map(|(key, addresses)| {
        let addresses = addresses.into_iter().collect();
        Pod { key, labels: Labels::new(), addresses, terminating: false }
    })
}

/// Selected by what is among the first three selectors.
fn kept() -> impl Strategy<Value = Kept> {
    let object = prop_oneof![
        "[a-z]{1,20}".prop_map(|name| Object::Namespace(Namespace { name: name.into(), labels: Labels::new() })),
        service().prop_map(Object::Service),
        slice().prop_map(Object::EndpointSlice),
        pod().prop_map(Object::Pod),
        service().prop_map(Object::ServiceImport),
    ];
    (object, any::<u64>(), 0..8_u64).prop_map(|(object, visible, selected)| {
        Kept { object, visible: Visibility::from_bits(visible) }.with_selected(selected)
    })
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        6 => kept().prop_map(|kept| Record::Kept(Box::new(kept))),
        1 => (select(&Kind::ALL[..]), key()).prop_map(|(kind, key)| Record::Gone(kind, key)),
    ]
}

// ---- files ----------------------------------------------------------------------------------------------------------

struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cluster.snapshot")
    }

    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// All kinds, 64 filters and three selectors, so that all bits mean something.
struct Looked {
    filters: Vec<Filter>,
    selectors: Vec<Selector>,
}

impl Looked {
    fn new() -> Self {
        let selector = |number: usize| Selector::parse(&format!("number={number}")).unwrap();
        let filter = |number| Filter { labels: Some(selector(number)), ..Filter::default() };
        Self { filters: (0..64).map(filter).collect(), selectors: (0..3).map(selector).collect() }
    }

    fn selection(&self) -> Selection<'_> {
        Selection { kinds: &Kind::ALL, selector: None, filters: &self.filters, selectors: &self.selectors }
    }
}

fn write(path: &Path, selection: Selection<'_>, records: &[Record], at: SystemTime) -> u64 {
    let mut draft = Draft::begin(path, &Header::new(CLUSTER, selection, at)).unwrap();
    let mut octets = Vec::new();
    for record in records {
        snapshot::encode(record, &mut octets);
        if octets.len() > 1000 {
            draft.write(&std::mem::take(&mut octets)).unwrap();
        }
    }
    draft.write(&octets).unwrap();
    draft.finish().unwrap()
}

fn read(path: &Path, selection: Selection<'_>) -> Result<Vec<Record>, Refused> {
    let found = Snapshot::open(path, CLUSTER, selection)?;
    let (count, mut records) = (found.records, Vec::new());
    found.each(|record| records.push(record))?;
    assert_eq!(records.len() as u64, count);
    Ok(records)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_comes_back(records in proptest::collection::vec(record(), 0..20), secs in 0..4_000_000_000_u64) {
        let (file, looked) = (File::new(), Looked::new());
        let at = UNIX_EPOCH + Duration::from_secs(secs);
        let octets = write(&file.path(), looked.selection(), &records, at);
        prop_assert_eq!(octets, std::fs::metadata(file.path()).unwrap().len());
        prop_assert_eq!(file.names(), ["cluster.snapshot"]);
        prop_assert_eq!(Snapshot::open(&file.path(), CLUSTER, looked.selection()).unwrap().header.written(), at);
        prop_assert_eq!(read(&file.path(), looked.selection()).unwrap(), records);
    }

    /// A cut anywhere, a bit anywhere, an octet more or less anywhere.
    #[test]
    fn what_was_not_written_is_refused(
        records in proptest::collection::vec(record(), 1..8),
        places in proptest::collection::vec((any::<Index>(), 0..8_u32, 0..4_u8), 40),
    ) {
        let (file, looked) = (File::new(), Looked::new());
        write(&file.path(), looked.selection(), &records, UNIX_EPOCH);
        let whole = std::fs::read(file.path()).unwrap();
        for (place, bit, way) in places {
            let (mut octets, at) = (whole.clone(), place.index(whole.len()));
            match way {
                0 => octets.truncate(at),
                1 => octets.insert(at, octets[at] ^ 0x55),
                2 => drop(octets.remove(at)),
                _ => octets[at] ^= 1 << bit,
            }
            std::fs::write(file.path(), &octets).unwrap();
            let found = read(&file.path(), looked.selection());
            prop_assert!(found.is_err(), "{at} {bit} {way}: {found:?}");
        }
    }

    /// Octets that nobody wrote, behind what every snapshot begins with.
    #[test]
    fn nothing_but_a_snapshot_is_one(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (file, looked) = (File::new(), Looked::new());
        for start in [&b""[..], b"podzone snapshot\n", b"podzone snapshot\n\0\0\0\x01"] {
            std::fs::write(file.path(), [start, &octets].concat()).unwrap();
            prop_assert!(read(&file.path(), looked.selection()).is_err());
        }
    }
}

/// An object of a few, so that the same comes, changes and goes.
fn one_of_few() -> impl Strategy<Value = Object> {
    let key =
        || (select(&["a", "b"][..]), select(&["x", "y", "z"][..])).prop_map(|(of, name)| ObjectKey::new(of, name));
    prop_oneof![
        select(&["a", "b"][..])
            .prop_map(|name| Object::Namespace(Namespace { name: name.into(), labels: Labels::new() })),
        (key(), service()).prop_map(|(key, service)| Object::Service(Service { key, ..service })),
        (key(), slice()).prop_map(|(key, slice)| Object::EndpointSlice(EndpointSlice { key, ..slice })),
        (key(), pod()).prop_map(|(key, pod)| Object::Pod(Pod { key, ..pod })),
        (key(), service()).prop_map(|(key, import)| Object::ServiceImport(Service { key, ..import })),
    ]
}

fn key_of(object: &Object) -> ObjectKey {
    match object {
        Object::Namespace(namespace) => ObjectKey::new("", namespace.name.clone()),
        Object::Service(service) | Object::ServiceImport(service) => service.key.clone(),
        Object::EndpointSlice(slice) => slice.key.clone(),
        Object::Pod(pod) => pod.key.clone(),
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => one_of_few().prop_map(Event::Apply),
        2 => one_of_few().prop_map(|object| Event::Delete(object.kind(), key_of(&object))),
        1 => select(&Kind::ALL[..]).prop_map(Event::Begin),
        1 => select(&Kind::ALL[..]).prop_map(Event::End),
    ]
}

/// All that a cluster holds, in words.
fn content(cluster: &Cluster) -> BTreeMap<(Kind, ObjectKey), String> {
    let of_kind = |kind| cluster.keys(kind).into_iter().map(move |key| (kind, key));
    let all = Kind::ALL.into_iter().flat_map(of_kind);
    all.map(|(kind, key)| ((kind, key.clone()), format!("{:?}", cluster.kept(kind, &key).unwrap()))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever comes, changes and goes while a cluster is written, the file has what there was at the end.
    #[test]
    fn what_is_written_is_of_one_moment(
        before in proptest::collection::vec(event(), 0..20),
        meanwhile in proptest::collection::vec(proptest::collection::vec(event(), 0..4), 0..40),
        octets in select(&[1, 100, 600, 4096][..]),
    ) {
        let new = || Cluster::new(vec![Filter::default()], Vec::new()).with_imports();
        let mut cluster = new();
        before.into_iter().for_each(|event| cluster.handle(event));
        let (mut walk, mut meanwhile) = (Walk::begin(&Kind::ALL, &mut cluster), meanwhile.into_iter());
        let (mut file, mut written, mut steps) = (Vec::new(), None, 0);
        while written.is_none() {
            written = walk.step(&mut cluster, octets, &mut file);
            steps += 1;
            prop_assert!(steps < 1000, "it comes to its end");
            if written.is_none() {
                meanwhile.next().into_iter().flatten().for_each(|event| cluster.handle(event));
            }
        }
        prop_assert_eq!(written, Some(cluster.revision()));

        let place = File::new();
        let looked = Looked { filters: vec![Filter::default()], selectors: Vec::new() };
        let mut draft = Draft::begin(&place.path(), &Header::new(CLUSTER, looked.selection(), UNIX_EPOCH)).unwrap();
        draft.write(&file).unwrap();
        draft.finish().unwrap();
        let mut restored = new();
        for record in read(&place.path(), looked.selection()).unwrap() {
            match record {
                Record::Kept(kept) => restored.restore(*kept),
                Record::Gone(kind, key) => restored.forget(kind, &key),
            }
        }
        prop_assert_eq!(content(&restored), content(&cluster));
    }
}

#[test]
fn each_bit_counts_and_each_cut() {
    let (file, looked) = (File::new(), Looked::new());
    let name = |name: &str| Object::Namespace(Namespace { name: name.into(), labels: Labels::new() });
    let record = Record::Kept(Box::new(Kept { object: name("shop"), visible: Visibility::from_bits(1) }));
    write(&file.path(), looked.selection(), &[record], UNIX_EPOCH);
    let whole = std::fs::read(file.path()).unwrap();
    for at in 0..whole.len() {
        std::fs::write(file.path(), &whole[..at]).unwrap();
        assert!(read(&file.path(), looked.selection()).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut octets = whole.clone();
            octets[at] ^= 1 << bit;
            std::fs::write(file.path(), octets).unwrap();
            assert!(read(&file.path(), looked.selection()).is_err(), "octet {at}, bit {bit}");
        }
    }
    std::fs::write(file.path(), whole).unwrap();
    assert_eq!(read(&file.path(), looked.selection()).unwrap().len(), 1);
}

#[test]
fn a_reason_is_given() {
    let (file, looked) = (File::new(), Looked::new());
    let reason = |cluster: &str, selection: Selection<'_>| {
        Snapshot::open(&file.path(), cluster, selection).err().map(|refused| refused.to_string())
    };
    assert_eq!(reason(CLUSTER, looked.selection()).as_deref(), Some("there is none yet"));
    let less = Selection { kinds: &Kind::ALL[..3], filters: &looked.filters[..2], ..looked.selection() };
    write(&file.path(), Selection { selector: Some("a=b"), ..less }, &[], UNIX_EPOCH);
    let with = |selection| reason(CLUSTER, selection).unwrap_or_default();
    assert_eq!(with(Selection { selector: Some("a=b"), ..less }), "");
    assert_eq!(with(less), "it is of another configuration: its objects were selected by other labels");
    let labels = "it is of another configuration: the labels that select now were not asked for when it was written";
    assert_eq!(with(Selection { selector: Some("a=b"), filters: &looked.filters[1..3], ..less }), labels);
    let all = Selection { selector: Some("a=b"), kinds: &Kind::ALL, ..less };
    assert_eq!(with(all), "it is of another configuration: it has no objects of the kind Pod");
    let other = reason("https://other.example", Selection { selector: Some("a=b"), ..less });
    let expected = format!("it is of another cluster: {CLUSTER}, and not https://other.example");
    assert_eq!(other, Some(expected));

    let mut octets = std::fs::read(file.path()).unwrap();
    octets[20] = 9;
    std::fs::write(file.path(), &octets).unwrap();
    let expected = format!("its format has the version 9, and this podzone reads {VERSION}");
    assert_eq!(reason(CLUSTER, less), Some(expected));
    std::fs::write(file.path(), "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: None}\n")
        .unwrap();
    assert_eq!(with(less), "it is no snapshot of podzone");
    std::fs::remove_file(file.path()).unwrap();
    std::fs::create_dir(file.path()).unwrap();
    assert_eq!(with(less), "it is no snapshot of podzone");
}

/// Filters and selectors that stand in another order, or beside others, still mean the same objects.
#[test]
fn bits_follow_their_filters() {
    let (file, looked) = (File::new(), Looked::new());
    let service = |name: &str| Service {
        key: ObjectKey::new("shop", name),
        labels: Labels::new(),
        kind: ServiceKind::Headless,
        ports: Vec::new().into(),
        has_selector: true,
        settings: None,
    };
    let kept = |visible, selected| {
        let object = Object::Service(service("web"));
        Record::Kept(Box::new(Kept { object, visible: Visibility::from_bits(visible) }.with_selected(selected)))
    };
    let three = Selection { filters: &looked.filters[..3], ..looked.selection() };
    write(&file.path(), three, &[kept(0b101, 0b110)], UNIX_EPOCH);
    let filters = [looked.filters[2].clone(), looked.filters[1].clone()];
    let selectors = [looked.selectors[1].clone()];
    let two = Selection { filters: &filters, selectors: &selectors, ..three };
    assert_eq!(read(&file.path(), two).unwrap(), [kept(0b01, 0b1)]);
}

/// A draft that is given up leaves nothing; those of a killed process go when they are old.
#[test]
fn a_draft_leaves_what_was_there_before() {
    let (file, looked) = (File::new(), Looked::new());
    write(&file.path(), looked.selection(), &[], UNIX_EPOCH);
    let before = std::fs::read(file.path()).unwrap();
    let header = Header::new(CLUSTER, looked.selection(), SystemTime::now());
    let draft = Draft::begin(&file.path(), &header).unwrap();
    assert_eq!(file.names().len(), 2);
    // As if it were killed here.
    std::mem::forget(draft);
    snapshot::remove_drafts(&file.path(), Duration::from_secs(600));
    assert_eq!(file.names().len(), 2, "it may be somebody's");
    snapshot::remove_drafts(&file.path(), Duration::ZERO);
    assert_eq!(file.names(), ["cluster.snapshot"]);
    drop(Draft::begin(&file.path(), &header).unwrap());
    assert_eq!(file.names(), ["cluster.snapshot"]);
    assert_eq!(std::fs::read(file.path()).unwrap(), before);
}

/// What cannot be written says where and why.
#[test]
fn a_place_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("cluster.snapshot");
    let looked = Looked::new();
    let error = Draft::begin(&path, &Header::new(CLUSTER, looked.selection(), UNIX_EPOCH)).err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot make {}.new-", path.display())), "{error}");
    assert!(error.ends_with("No such file or directory (os error 2)"), "{error}");
}

/// docs/outages.md says so: an endpoint with a pod's name and a topology zone, in a slice of 100.
#[test]
fn an_endpoint_takes_some_30_octets() {
    let endpoint = |at| Endpoint {
        addresses: vec![EndpointAddress::Ip([10, 0, 0, at].into())],
        hostname: None,
        target_name: Some("beam-7d9f8b6c5-8wq4m".into()),
        ready: Some(true),
        serving: Some(true),
        terminating: Some(false),
        zone: Some("eu-central-1a".into()),
    };
    let object = Object::EndpointSlice(EndpointSlice {
        key: ObjectKey::new("default", "beam-x7k2p"),
        labels: Labels::new(),
        service: Some("beam".into()),
        import: None,
        endpoints: (0..100).map(endpoint).collect(),
        ports: vec![EndpointPort { name: "epmd".into(), protocol: "TCP".into(), port: Some(4369) }].into(),
    });
    let mut octets = Vec::new();
    snapshot::encode(&Record::Kept(Box::new(Kept { object, visible: Visibility::from_bits(1) })), &mut octets);
    assert!((2900..3100).contains(&octets.len()), "{} octets", octets.len());
}

/// The octets of version 1. Who changes them counts the version up: an older podzone would misread them, or refuse them as
/// damaged.
#[test]
fn records_of_this_version_are_these() {
    let endpoint = Endpoint {
        addresses: vec![EndpointAddress::Ip("10.0.0.7".parse().unwrap())],
        hostname: Some("h".into()),
        target_name: Some("pod".into()),
        ready: Some(true),
        serving: None,
        terminating: Some(false),
        zone: Some("z".into()),
    };
    let slice = EndpointSlice {
        key: ObjectKey::new("n", "s"),
        labels: Labels::new(),
        service: Some("web".into()),
        import: None,
        endpoints: Endpoints::from(vec![endpoint]),
        ports: vec![EndpointPort { name: "http".into(), protocol: "TCP".into(), port: Some(80) }].into(),
    };
    let mut octets = Vec::new();
    let object = Object::EndpointSlice(slice);
    snapshot::encode(&Record::Kept(Box::new(Kept { object, visible: Visibility::from_bits(3) })), &mut octets);
    snapshot::encode(&Record::Gone(Kind::Pod, ObjectKey::new("n", "p")), &mut octets);
    let text: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let (version, expected) = (1, RECORDS_OF_VERSION_1);
    assert_eq!((VERSION, text.as_str()), (version, expected));
}
const RECORDS_OF_VERSION_1: &str = "370a016e12017319030000000000000032260a037765621a10eb01040a000007\
    016803706f6400017a220d0a0468747470120354435018500b0a016e1201704a03506f64";

/// What one cluster gives, another takes, and a listing that finds the same changes nothing.
#[test]
fn a_restored_cluster_is_the_same_until_a_listing_says_otherwise() {
    let filters = vec![Filter { labels: Some(Selector::parse("app=web").unwrap()), ..Filter::default() }];
    let selectors = vec![Selector::parse("tier=front").unwrap()];
    let new = || Cluster::new(filters.clone(), Vec::new()).with_selectors(selectors.clone());
    let service = |name: &str, labels: &[(&str, &str)]| {
        Object::Service(Service {
            key: ObjectKey::new("shop", name),
            labels: labels
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
            kind: ServiceKind::Headless,
            ports: Vec::new().into(),
            has_selector: true,
            settings: None,
        })
    };
    let objects = [service("web", &[("app", "web"), ("tier", "front")]), service("db", &[])];
    let list = |cluster: &mut Cluster, objects: &[Object]| {
        cluster.handle(Event::Begin(Kind::Service));
        objects.iter().for_each(|object| cluster.handle(Event::Apply(object.clone())));
        cluster.handle(Event::End(Kind::Service));
    };
    let mut first = new();
    list(&mut first, &objects);

    let mut second = new();
    for key in first.keys(Kind::Service) {
        second.restore(first.kept(Kind::Service, &key).unwrap());
    }
    assert!(!second.is_synced(&[Kind::Service]), "what is restored counts when it is whole");
    second.set_restored(&[Kind::Service]);
    assert!(second.is_synced(&[Kind::Service]) && !second.is_listed(&[Kind::Service]));
    let web = ObjectKey::new("shop", "web");
    assert!(second.is_selected(second.service(&web, 0).unwrap(), &selectors[0]));
    assert!(second.service(&ObjectKey::new("shop", "db"), 0).is_none(), "its labels hide it");
    second.take_dirty();
    let before = second.revision();
    list(&mut second, &objects);
    assert_eq!((second.revision(), second.take_dirty().services.len()), (before, 0));
    assert!(second.is_listed(&[Kind::Service]) && second.restored().is_empty());

    let mut third = new();
    for key in first.keys(Kind::Service) {
        third.restore(first.kept(Kind::Service, &key).unwrap());
    }
    third.set_restored(&[Kind::Service]);
    third.handle(Event::Begin(Kind::Service));
    third.handle(Event::Apply(objects[0].clone()));
    assert_eq!(third.count(Kind::Service), 2, "a listing that is not whole takes nothing away");
    third.handle(Event::Begin(Kind::Service));
    third.handle(Event::Apply(objects[1].clone()));
    third.handle(Event::End(Kind::Service));
    assert_eq!(third.keys(Kind::Service), [ObjectKey::new("shop", "db")]);
}
