//! With removals held back, whatever is told and in whatever order: a name that is served is that of an endpoint that exists,
//! or that existed within the hold time; nothing that exists lacks its name; and every SRV target resolves.

use podzone::model::{HoldNote, Lost, MassRemoval};

use super::*;

const HOLD: Duration = Duration::from_secs(1);
/// What a step takes, and a publication.
const STEP: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_millis(400);

/// What was told: what exists, and what was left out by a listing, and when.
#[derive(Default)]
struct Told {
    there: BTreeMap<(Kind, ObjectKey), Object>,
    gone: BTreeMap<(Kind, ObjectKey), (Object, Instant)>,
    /// What a listing under way has named.
    named: HashMap<Kind, BTreeSet<ObjectKey>>,
}

impl Told {
    fn hear(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Begin(kind) => drop(self.named.insert(*kind, BTreeSet::new())),
            Event::Apply(object) => {
                let (kind, key) = (object.kind(), key_of(object));
                if let Some(named) = self.named.get_mut(&kind) {
                    named.insert(key.clone());
                }
                self.gone.remove(&(kind, key.clone()));
                self.there.insert((kind, key), object.clone());
            }
            Event::Delete(kind, key) => {
                self.there.remove(&(*kind, key.clone()));
                self.gone.remove(&(*kind, key.clone()));
            }
            Event::End(kind) => {
                let named = self.named.remove(kind).unwrap_or_default();
                let left_out: Vec<_> =
                    self.there.keys().filter(|(of, key)| of == kind && !named.contains(key)).cloned().collect();
                for key in left_out {
                    let object = self.there.remove(&key).unwrap();
                    self.gone.insert(key, (object, now));
                }
                // Of other kinds, who asks for it decides.
                self.gone.retain(|(of, _), (_, since)| of != kind || *since + HOLD > now);
            }
            Event::Triggered(..) | Event::Unknown(_) => {}
        }
    }

    /// What is gone for so long is gone, but for kinds of which a listing may bring it back.
    fn forget(&mut self, now: Instant) {
        let named = &self.named;
        self.gone.retain(|(kind, _), (_, since)| named.contains_key(kind) || *since + HOLD > now);
    }

    fn there(&self) -> Vec<Object> {
        self.there.values().cloned().collect()
    }

    fn there_or_lately(&self) -> Vec<Object> {
        self.there.values().chain(self.gone.values().map(|(object, _)| object)).cloned().collect()
    }
}

/// The addresses of names in the first view.
fn addresses(content: &Content) -> BTreeSet<(Labels, IpAddr)> {
    let of_record = |record: Record| match record.data {
        Data::Address(address) => Some((record.owner, address)),
        _ => None,
    };
    content.records().into_iter().filter_map(of_record).collect()
}

/// Those where exactly these objects are.
fn addresses_of(objects: Vec<Object>) -> BTreeSet<(Labels, IpAddr)> {
    let mut bench = Bench::new();
    for kind in Kind::ALL {
        let of_kind = objects.iter().filter(|object| object.kind() == kind).cloned();
        bench.take(std::iter::once(Event::Begin(kind)).chain(of_kind.map(Event::Apply)).collect());
        bench.take(vec![Event::End(kind)]);
    }
    bench.show();
    let followed = bench.followed[0].lock().unwrap();
    addresses(&followed.content)
}

impl Bench {
    fn hold(&mut self, told: &mut Told, events: Vec<Event>) {
        for event in events {
            told.hear(&event, self.now);
            self.publisher.handle_at(event, self.now);
        }
    }

    fn release(&mut self, told: &mut Told) {
        told.forget(self.now);
        self.publisher.cluster_mut().release(self.now, STEP, |_| false);
    }

    fn assert_served_between(&mut self, told: &Told) {
        self.publisher.publish_at(self.now);
        if !self.publisher.is_synced() {
            return;
        }
        for (view, (followed, responder)) in self.views.iter().zip(self.followed.iter().zip(&self.responders)) {
            if view.current().is_synced() {
                assert_targets_resolve(responder, &followed.lock().unwrap().content.records());
            }
        }
        let served = addresses(&self.followed[0].lock().unwrap().content);
        // What a listing under way has named or not yet: both are served as they were last told.
        let (least, most) = (addresses_of(told.there()), addresses_of(told.there_or_lately()));
        let missing: Vec<_> = least.difference(&served).collect();
        assert!(missing.is_empty(), "these exist and have no name: {missing:?}");
        let ghosts: Vec<_> = served.difference(&most).collect();
        assert!(ghosts.is_empty(), "these are served, and have not been there for {HOLD:?}: {ghosts:?}");
    }
}

#[derive(Clone, Debug)]
enum Change {
    Step(Step),
    /// One of the objects that went comes back as it was.
    Back(usize),
}

/// Steps that lose objects where nobody watches, bring some back, and list again, whole or in part.
fn losses() -> impl Strategy<Value = Vec<Change>> {
    let told = || select(&[super::Told::Once, super::Told::Once, super::Told::Again, super::Told::Never][..]);
    let kind = || select(&[Kind::Namespace, Kind::Service, Kind::EndpointSlice, Kind::EndpointSlice, Kind::Pod][..]);
    let steps = prop_oneof![
        3 => (object(), told()).prop_map(|(object, told)| vec![Step::Put(object, told)]),
        4 => any::<usize>().prop_map(|number| vec![Step::Remove(number, super::Told::Never)]),
        1 => any::<usize>().prop_map(|number| vec![Step::Remove(number, super::Told::Once)]),
        4 => kind().prop_map(|kind| vec![Step::Begin(kind), Step::Go(kind, usize::MAX)]),
        1 => kind().prop_map(|kind| vec![Step::Begin(kind)]),
        1 => (kind(), 1..4_usize).prop_map(|(kind, count)| vec![Step::Go(kind, count)]),
        5 => Just(vec![Step::Publish]),
    ];
    let steps = steps.prop_map(|steps| steps.into_iter().map(Change::Step).collect());
    let changes = prop_oneof![6 => steps, 1 => any::<usize>().prop_map(|number| vec![Change::Back(number)])];
    proptest::collection::vec(changes, 1..80).prop_map(|changes| changes.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_served_exists_or_did_within_the_hold_time(
        first in proptest::collection::vec(object(), 5..20),
        changes in losses(),
        percent in select(&[0, 0, 30, 50, 99][..]),
    ) {
        let (mut source, mut bench, mut told) = (Source::default(), Bench::new(), Told::default());
        let rule = MassRemoval { percent, time: HOLD };
        bench.publisher.cluster_mut().set_mass_removal(Some(rule), bench.now);
        for object in first {
            source.truth.insert((object.kind(), key_of(&object)), object);
        }
        let events = source.finish();
        bench.hold(&mut told, events);
        let mut lost: Vec<Object> = Vec::new();
        for change in changes {
            bench.now += STEP;
            let step = match change {
                Change::Step(step) => step,
                Change::Back(_) if lost.is_empty() => continue,
                Change::Back(number) => Step::Put(lost.swap_remove(number % lost.len()), super::Told::Once),
            };
            let before = source.truth.clone();
            let events = source.step(&step);
            lost.extend(before.into_iter().filter(|(key, _)| !source.truth.contains_key(key)).map(|(_, object)| object));
            bench.hold(&mut told, events);
            if matches!(step, Step::Publish) {
                bench.now += PAUSE;
                bench.release(&mut told);
                bench.assert_served_between(&told);
            }
        }
        let events = source.finish();
        bench.hold(&mut told, events);
        bench.assert_served_between(&told);
        // When the time is over, what is told is all there is.
        bench.now += HOLD;
        bench.release(&mut told);
        bench.assert_served_between(&told);
        prop_assert!(told.gone.is_empty() && bench.publisher.cluster().held().count() == 0);
        prop_assert_eq!(addresses(&bench.followed[0].lock().unwrap().content), addresses_of(told.there()));
    }
}

fn slice_of(name: &str, endpoints: u8) -> Event {
    let endpoint = |at| Endpoint {
        addresses: vec![EndpointAddress::Ip([10, 0, 1, at].into())],
        hostname: None,
        target_name: None,
        ready: None,
        serving: None,
        terminating: None,
        zone: None,
    };
    Event::Apply(Object::EndpointSlice(EndpointSlice {
        key: ObjectKey::new("a", name),
        labels: Metadata::new(),
        service: Some("web".into()),
        import: None,
        endpoints: (0..endpoints).map(endpoint).collect(),
        ports: Vec::new().into(),
    }))
}

/// The share is of endpoints and not of slices; what is exactly the share is no more than it.
#[test]
fn a_share_is_one_of_endpoints() {
    let cases: [(&[&str], bool); 5] =
        [(&["large"], false), (&["small", "tiny"], false), (&["large", "tiny"], false), (&["tiny"], true), (&[], true)];
    for (left, holds) in cases {
        let mut bench = Bench::new();
        let time = Duration::from_secs(60);
        bench.publisher.cluster_mut().set_mass_removal(Some(MassRemoval { percent: 50, time }), bench.now);
        let all = [("large", 10), ("small", 8), ("tiny", 2)];
        let list = |bench: &mut Bench, names: &[&str]| {
            bench.take(vec![Event::Begin(Kind::EndpointSlice)]);
            let named = all.iter().filter(|(name, _)| names.contains(name));
            bench.take(named.map(|(name, endpoints)| slice_of(name, *endpoints)).collect());
            bench.take(vec![Event::End(Kind::EndpointSlice)]);
            bench.publisher.cluster_mut().take_hold_notes()
        };
        assert_eq!(list(&mut bench, &["large", "small", "tiny"]), [], "nothing was there before");
        let notes = list(&mut bench, left);
        let lost: u8 = all.iter().filter(|(name, _)| !left.contains(name)).map(|(_, endpoints)| endpoints).sum();
        let began = HoldNote::Began {
            kind: Kind::EndpointSlice,
            objects: 3 - left.len(),
            lost: Lost { lost: lost.into(), of: 20 },
            time,
        };
        assert_eq!(notes, if holds { vec![began] } else { Vec::new() }, "{left:?}");
        let count = bench.publisher.cluster().count(Kind::EndpointSlice);
        assert_eq!(count, if holds { 3 } else { left.len() }, "{left:?}");
    }
}

/// What a watch says is deleted is deleted: somebody said so, of each.
#[test]
fn what_is_deleted_one_by_one_is_not_held() {
    let mut bench = Bench::new();
    let time = Duration::from_secs(60);
    bench.publisher.cluster_mut().set_mass_removal(Some(MassRemoval { percent: 0, time }), bench.now);
    bench.take(vec![Event::Begin(Kind::EndpointSlice), slice_of("one", 3), slice_of("two", 3)]);
    bench.take(vec![Event::End(Kind::EndpointSlice)]);
    let delete = |name: &str| Event::Delete(Kind::EndpointSlice, ObjectKey::new("a", name));
    bench.take(vec![delete("one")]);
    assert_eq!(bench.publisher.cluster().count(Kind::EndpointSlice), 1);
    // So it is of what is held already.
    bench.take(vec![Event::Begin(Kind::EndpointSlice), Event::End(Kind::EndpointSlice)]);
    assert_eq!(bench.publisher.cluster().held().collect::<Vec<_>>(), [(Kind::EndpointSlice, 1)]);
    bench.take(vec![delete("two")]);
    let cluster = bench.publisher.cluster_mut();
    assert_eq!((cluster.count(Kind::EndpointSlice), cluster.held().count()), (0, 0));
    assert!(matches!(cluster.take_hold_notes()[..], [HoldNote::Began { .. }, HoldNote::Returned { .. }]));
}

/// Where nobody looks at endpoints, or there are none, the share is of objects; pods are counted as pods.
#[test]
fn without_endpoints_objects_count() {
    let mut bench = Bench::new();
    let time = Duration::from_secs(60);
    bench.publisher.cluster_mut().set_mass_removal(Some(MassRemoval { percent: 50, time }), bench.now);
    let names = |count: usize| {
        let name =
            |at| Event::Apply(Object::Namespace(Namespace { name: format!("n{at}").into(), labels: Metadata::new() }));
        (0..count).map(name).collect::<Vec<_>>()
    };
    for (count, there) in [(10, 10), (5, 5), (2, 5)] {
        bench.take(vec![Event::Begin(Kind::Namespace)]);
        bench.take(names(count));
        bench.take(vec![Event::End(Kind::Namespace)]);
        assert_eq!(bench.publisher.cluster().count(Kind::Namespace), there);
    }
}

/// A listing that is under way may bring back what is held, however long it takes; so may an API server that is away.
#[test]
fn what_may_come_back_is_waited_for() {
    let mut bench = Bench::new();
    let time = Duration::from_secs(60);
    bench.publisher.cluster_mut().set_mass_removal(Some(MassRemoval { percent: 50, time }), bench.now);
    let now = Instant::now();
    let tell = |bench: &mut Bench, event, after| bench.publisher.handle_at(event, now + after);
    let (begin, end) = (Event::Begin(Kind::EndpointSlice), Event::End(Kind::EndpointSlice));
    for event in [begin.clone(), slice_of("one", 3), slice_of("two", 3), end.clone(), begin.clone(), end.clone()] {
        tell(&mut bench, event, Duration::ZERO);
    }
    let count = |bench: &Bench| bench.publisher.cluster().count(Kind::EndpointSlice);
    let release = |bench: &mut Bench, after, is_away: bool| {
        bench.publisher.cluster_mut().release(now + after, Duration::from_secs(1), |_| is_away);
        count(bench)
    };
    assert_eq!(bench.publisher.cluster().release_due(), Some(now + time));
    assert_eq!(release(&mut bench, time - STEP, false), 2, "too soon");
    assert_eq!(release(&mut bench, time, true), 2, "nobody can say");
    assert_eq!(bench.publisher.cluster().release_due(), Some(now + time + Duration::from_secs(1)));
    tell(&mut bench, begin.clone(), time);
    assert_eq!(release(&mut bench, 2 * time, false), 2, "it may be listed yet");
    tell(&mut bench, slice_of("one", 3), 2 * time);
    tell(&mut bench, end, 2 * time);
    assert_eq!(count(&bench), 1, "and was not");
    assert_eq!(bench.publisher.cluster().release_due(), None);
}
