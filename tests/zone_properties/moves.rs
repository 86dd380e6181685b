//! A large Service whose endpoints move between its slices, as a controller moves them when it fills, empties and packs
//! slices: whatever is told of that, the zone is that of the endpoints, not of the way that they took.

use std::collections::BTreeMap;

use super::*;

const SERVICES: [Option<&str>; 3] = [Some("web"), Some("beam"), None];
/// Endpoints share hosts' names where a Service's pods have several addresses, say.
const ADDRESSES_OF_A_HOST: usize = 2;

#[derive(Clone, Debug, Default)]
struct Slice {
    service: Option<&'static str>,
    /// Endpoints' numbers, and whether they are ready.
    endpoints: Vec<(usize, bool)>,
}

/// The slices of a cluster by their numbers.
#[derive(Clone, Debug, Default)]
struct Slices {
    slices: BTreeMap<usize, Slice>,
    /// Numbers are not given twice.
    next: usize,
    /// Whether endpoints have host names, each that of some.
    hosts: bool,
}

/// What a controller does. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Edit {
    /// An endpoint moves; both slices name it for a while, or neither does.
    Move {
        which: usize,
        to: usize,
        both: bool,
    },
    /// A slice names an endpoint of another one too.
    Again {
        which: usize,
        to: usize,
    },
    /// The slice forgets its endpoint.
    Forget {
        which: usize,
    },
    Flip {
        which: usize,
    },
    /// A slice's label names another Service, or none.
    Relabel {
        slice: usize,
        service: Option<&'static str>,
    },
    /// Half of a slice's endpoints go into a new one.
    Split {
        slice: usize,
    },
    /// All of a slice's endpoints go into another one, and it goes.
    Merge {
        slice: usize,
        to: usize,
    },
    /// The same in another order.
    Reverse {
        slice: usize,
    },
}

impl Slices {
    /// So many endpoints of one Service in so many slices.
    fn of_one_service(endpoints: usize, slices: usize, hosts: bool) -> Self {
        let mut made = BTreeMap::new();
        for endpoint in 0..endpoints {
            let slice: &mut Slice = made.entry(endpoint % slices).or_default();
            slice.service = Some("web");
            slice.endpoints.push((endpoint, true));
        }
        Self { slices: made, next: slices, hosts }
    }

    fn object(&self, number: usize) -> Object {
        let endpoint = |(endpoint, ready): &(usize, bool)| Endpoint {
            addresses: vec![EndpointAddress::Ip(address_of(*endpoint))],
            hostname: self.hosts.then(|| format!("host-{}", endpoint / ADDRESSES_OF_A_HOST).into()),
            target_name: Some(format!("pod-{endpoint}").into()),
            ready: Some(*ready),
            serving: None,
            terminating: None,
            zone: None,
        };
        let slice = &self.slices[&number];
        Object::EndpointSlice(EndpointSlice {
            key: key_of_slice(number),
            labels: Metadata::from([("tier".to_owned(), "front".to_owned())]),
            service: slice.service.map(Into::into),
            import: None,
            endpoints: slice.endpoints.iter().map(endpoint).collect(),
            ports: [EndpointPort { name: "http".into(), protocol: "TCP".into(), port: Some(80) }].into(),
        })
    }

    fn nth(&self, number: usize) -> usize {
        *self.slices.keys().nth(number % self.slices.len()).unwrap()
    }

    /// The slice and the place in it of some endpoint.
    fn endpoint(&self, number: usize) -> Option<(usize, usize)> {
        let places = self.slices.iter().flat_map(|(slice, it)| (0..it.endpoints.len()).map(move |at| (*slice, at)));
        places.clone().nth(number % places.count().max(1))
    }

    /// Makes the edit; the slices that it puts in place or takes away, in its order, each as it then is.
    fn edit(&mut self, edit: &Edit) -> Vec<(usize, Option<Object>)> {
        match *edit {
            Edit::Move { which, to, both } => {
                let Some((from, at)) = self.endpoint(which) else { return Vec::new() };
                let to = self.nth(to);
                let moved = self.slices[&from].endpoints[at];
                if from == to || self.names(to, moved.0) {
                    return Vec::new();
                }
                let mut told = Vec::new();
                for adds in [both, !both] {
                    let slice = if adds { to } else { from };
                    let endpoints = &mut self.slices.get_mut(&slice).unwrap().endpoints;
                    if adds {
                        endpoints.push(moved);
                    } else {
                        endpoints.retain(|endpoint| *endpoint != moved);
                    }
                    told.push((slice, Some(self.object(slice))));
                }
                told
            }
            Edit::Again { which, to } => {
                let Some((from, at)) = self.endpoint(which) else { return Vec::new() };
                let (to, again) = (self.nth(to), self.slices[&from].endpoints[at]);
                if self.names(to, again.0) {
                    return Vec::new();
                }
                self.change(to, |slice| slice.endpoints.push(again))
            }
            Edit::Forget { which } => {
                let Some((from, at)) = self.endpoint(which) else { return Vec::new() };
                self.change(from, |slice| {
                    slice.endpoints.remove(at);
                })
            }
            Edit::Flip { which } => {
                let Some((from, at)) = self.endpoint(which) else { return Vec::new() };
                self.change(from, |slice| slice.endpoints[at].1 = !slice.endpoints[at].1)
            }
            Edit::Relabel { slice, service } => self.change(self.nth(slice), |slice| slice.service = service),
            Edit::Reverse { slice } => self.change(self.nth(slice), |slice| slice.endpoints.reverse()),
            Edit::Split { slice } => {
                let (old, new) = (self.nth(slice), self.next);
                self.next += 1;
                let slice = self.slices.get_mut(&old).unwrap();
                let half =
                    Slice { service: slice.service, endpoints: slice.endpoints.split_off(slice.endpoints.len() / 2) };
                self.slices.insert(new, half);
                vec![(new, Some(self.object(new))), (old, Some(self.object(old)))]
            }
            Edit::Merge { slice, to } => {
                let (from, to) = (self.nth(slice), self.nth(to));
                if from == to || self.slices[&from].service != self.slices[&to].service {
                    return Vec::new();
                }
                let more = self.slices.remove(&from).unwrap().endpoints;
                let mut told = vec![(from, None)];
                let new: Vec<_> = more.into_iter().filter(|(endpoint, _)| !self.names(to, *endpoint)).collect();
                told.extend(self.change(to, |slice| slice.endpoints.extend(new)));
                told
            }
        }
    }

    fn names(&self, slice: usize, endpoint: usize) -> bool {
        self.slices[&slice].endpoints.iter().any(|(known, _)| *known == endpoint)
    }

    fn change(&mut self, number: usize, change: impl FnOnce(&mut Slice)) -> Vec<(usize, Option<Object>)> {
        change(self.slices.get_mut(&number).unwrap());
        vec![(number, Some(self.object(number)))]
    }
}

fn key_of_slice(number: usize) -> ObjectKey {
    // Their order is not that of the numbers.
    ObjectKey::new("a", format!("{}-{number}", ["x", "b", "m"][number % 3]))
}

fn address_of(endpoint: usize) -> IpAddr {
    IpAddr::from([10, 1, (endpoint / 250) as u8, (endpoint % 250) as u8])
}

/// Services that slices may name, and the first slices.
fn begin(slices: &Slices) -> Source {
    let mut source = Source::default();
    let front = || Metadata::from([("tier".to_owned(), "front".to_owned())]);
    let mut put = |object: Object| source.step(&Step::Put(object, Told::Once));
    put(Object::Namespace(Namespace { name: "a".into(), labels: Metadata::new() }));
    for name in ["web", "beam"] {
        let key = ObjectKey::new("a", name);
        put(Object::Service(Service {
            key,
            labels: front(),
            kind: ServiceKind::Headless,
            ports: [].into(),
            has_selector: true,
            settings: None,
        }));
    }
    slices.slices.keys().for_each(|number| drop(put(slices.object(*number))));
    source
}

/// The events of what an edit did to a slice.
fn tell(source: &mut Source, number: usize, object: Option<Object>, told: Told) -> Vec<Event> {
    let key = (Kind::EndpointSlice, key_of_slice(number));
    match object {
        Some(object) => source.step(&Step::Put(object, told)),
        None => match source.truth.keys().position(|known| *known == key) {
            Some(at) => source.step(&Step::Remove(at, told)),
            None => Vec::new(),
        },
    }
}

fn base(endpoints: std::ops::Range<usize>) -> impl Strategy<Value = Slices> {
    (endpoints, 2..7_usize, any::<bool>())
        .prop_map(|(endpoints, slices, hosts)| Slices::of_one_service(endpoints, slices, hosts))
}

/// Edits after which the same endpoints are named, each once if it was.
fn packing() -> impl Strategy<Value = Edit> {
    let any = any::<usize>;
    prop_oneof![
        6 => (any(), any(), proptest::bool::ANY).prop_map(|(which, to, both)| Edit::Move { which, to, both }),
        1 => any().prop_map(|slice| Edit::Split { slice }),
        1 => (any(), any()).prop_map(|(slice, to)| Edit::Merge { slice, to }),
        1 => any().prop_map(|slice| Edit::Reverse { slice }),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let any = any::<usize>;
    prop_oneof![
        6 => packing(),
        2 => (any(), any()).prop_map(|(which, to)| Edit::Again { which, to }),
        1 => any().prop_map(|which| Edit::Forget { which }),
        2 => any().prop_map(|which| Edit::Flip { which }),
        2 => (any(), select(&SERVICES[..])).prop_map(|(slice, service)| Edit::Relabel { slice, service }),
    ]
}

/// An edit, how it is told, and what comes then: a listing begins, or goes on, or all is published.
fn steps() -> impl Strategy<Value = Vec<(Edit, Told, Option<Step>)>> {
    let told = select(&[Told::Once, Told::Once, Told::Again, Told::Never][..]);
    let kind = Kind::EndpointSlice;
    let then = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Step::Begin(kind))),
        2 => (1..4_usize).prop_map(move |count| Some(Step::Go(kind, count))),
        3 => Just(Some(Step::Publish)),
    ];
    proptest::collection::vec((edit(), told, then), 1..30)
}

/// Listed and published.
fn bench_of(source: &mut Source) -> Bench {
    let mut bench = Bench::new();
    bench.take(source.finish());
    bench.show();
    bench
}

fn contents(bench: &Bench) -> Vec<BTreeSet<Record>> {
    bench.followed.iter().map(|followed| followed.lock().unwrap().records.clone()).collect()
}

fn all_versions(bench: &Bench) -> Vec<(u64, u32)> {
    bench.views.iter().map(|view| versions(view)).collect()
}

/// What a view answers of addresses is what the deltas said.
fn assert_pointers_are_published(bench: &Bench, endpoints: usize) {
    for (view, followed) in bench.views.iter().zip(&bench.followed) {
        let (view, followed) = (view.current(), followed.lock().unwrap());
        for address in (0..endpoints).map(address_of) {
            let expected = followed.content.pointers.get(&address).map_or(&[][..], |names| names);
            assert_eq!(names(&view, address), expected, "{address}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_way_endpoints_take_between_slices_the_zone_is_that_of_one_listing(
        mut slices in base(20..400),
        steps in steps(),
    ) {
        let mut source = begin(&slices);
        let mut bench = bench_of(&mut source);
        for (edit, told, then) in &steps {
            for (number, object) in slices.edit(edit) {
                bench.take(tell(&mut source, number, object, *told));
            }
            match then {
                Some(Step::Publish) => bench.show(),
                Some(step) => bench.take(source.step(step)),
                None => {}
            }
        }
        bench.take(source.finish());
        bench.publish(&source);
        assert_pointers_are_published(&bench, 400);

        let expected = bench_of(&mut begin(&slices));
        for (ended, expected) in bench.followed.iter().zip(&expected.followed) {
            prop_assert_eq!(&ended.lock().unwrap().content, &expected.lock().unwrap().content);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Told in one step, or found by a list, it is no change at all.
    #[test]
    fn packing_slices_anew_changes_no_record_and_moves_no_serial(
        mut slices in base(2..400),
        rounds in proptest::collection::vec((proptest::collection::vec(packing(), 1..12), any::<bool>()), 1..4),
    ) {
        let mut source = begin(&slices);
        let mut bench = bench_of(&mut source);
        let (records, before) = (contents(&bench), all_versions(&bench));
        for (edits, is_told) in &rounds {
            let told = if *is_told { Told::Once } else { Told::Never };
            for edit in edits {
                for (number, object) in slices.edit(edit) {
                    bench.take(tell(&mut source, number, object, told));
                }
            }
            bench.take(source.finish());
            bench.show();
            prop_assert_eq!(&contents(&bench), &records);
            prop_assert_eq!(&all_versions(&bench), &before);
        }
    }

    /// What moved while nobody watched is found by a list slice by slice, and between two of them no slice may name it.
    #[test]
    fn what_moved_unseen_is_named_all_through_the_listing(
        mut slices in base(2..40),
        edits in proptest::collection::vec(packing(), 1..12),
    ) {
        let mut source = begin(&slices);
        let mut bench = bench_of(&mut source);
        let records = contents(&bench);
        for (number, object) in edits.iter().flat_map(|edit| slices.edit(edit)).collect::<Vec<_>>() {
            bench.take(tell(&mut source, number, object, Told::Never));
        }
        bench.take(source.begin(Kind::EndpointSlice));
        while !source.listed(Kind::EndpointSlice) || bench.publisher.cluster().is_listing() {
            prop_assert!(bench.publisher.is_torn());
            bench.take(source.go(Kind::EndpointSlice, 1));
            if !bench.publisher.is_torn() {
                bench.show();
            }
            prop_assert_eq!(&contents(&bench), &records);
        }
        prop_assert!(!bench.publisher.is_torn());
    }

    /// The weight of SRV records counts how often endpoints are named; all else of a zone is the same at every step.
    #[test]
    fn an_endpoint_that_two_slices_name_for_a_while_is_one(
        mut slices in base(2..400),
        moves in proptest::collection::vec((any::<usize>(), any::<usize>()), 1..6),
    ) {
        let mut source = begin(&slices);
        let mut bench = bench_of(&mut source);
        let records = contents(&bench);
        for (which, to) in moves {
            for (number, object) in slices.edit(&Edit::Move { which, to, both: true }) {
                bench.take(tell(&mut source, number, object, Told::Once));
                bench.show();
                prop_assert_eq!(without_weights(contents(&bench)), without_weights(records.clone()));
            }
            prop_assert_eq!(&contents(&bench), &records);
        }
        assert_pointers_are_published(&bench, 400);
    }
}

fn without_weights(contents: Vec<BTreeSet<Record>>) -> Vec<BTreeSet<Record>> {
    let without = |mut record: Record| {
        if let Data::Srv { weight, .. } = &mut record.data {
            *weight = 0;
        }
        record
    };
    contents.into_iter().map(|records| records.into_iter().map(without).collect()).collect()
}
