//! What the pieces of an answer cost, on the synthetic cluster: `make bench-pieces`.
#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::expect_used)]

#[path = "compare/churn.rs"]
mod churn;
#[path = "compare/cluster.rs"]
mod cluster;
#[path = "compare/events.rs"]
mod events;
#[path = "compare/library.rs"]
mod library;
#[path = "compare/queries.rs"]
mod queries;
#[path = "../tests/support/mod.rs"]
mod support;

use arc_swap::ArcSwap;
use cluster::{Cluster, Shape};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dashmap::DashMap;
use podzone::answer::query::{Parsed, parse};
use podzone::answer::{Client, Folded, Outcome, Transport};
use podzone::model::{Event, Object};
use podzone::net::{Exchange, Observer as _, Path};
use podzone::zone::shards::{Shards, keyed_hash};
use podzone::zone::{Labels, Publisher, Service, View};
use queries::{Drawer, MIX};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use support::dns::{self, Query};

fn query(name: &str, rtype: u16) -> Vec<u8> {
    Query::new(name, rtype).payload(4096).to_bytes()
}

/// A headless Service of so many pods.
fn headless(cluster: &Cluster, pods: usize) -> &cluster::Service {
    let mut services = cluster.services.iter().filter(|service| service.is_headless());
    services.find(|service| service.pods.len() == pods).expect("the cluster has every size up to 150")
}

fn pieces(criterion: &mut Criterion) {
    let cluster = Cluster::generate(Shape::Full, 1);
    let (mut publisher, view) = library::publish(&cluster);
    changes(criterion, &cluster, &mut publisher);
    let small = headless(&cluster, 8);
    let of_pod = query(&small.pod_fqdn(&small.pods[0]), dns::A);

    criterion.bench_function("parse and fold", |bencher| {
        bencher.iter(|| match parse(black_box(&of_pod)) {
            Parsed::Query(query) => {
                query.question.is_some_and(|question| Folded::new(question.name).starts().len() > 1)
            }
            _ => false,
        });
    });

    let labels = [&small.name, &small.namespace].map(|text| Labels::parse(text).expect("a label"));
    let key = Labels::concat(&labels.each_ref().map(Labels::as_wire));
    criterion.bench_function("hash", |bencher| bencher.iter(|| keyed_hash(black_box(key.as_wire()))));
    let content = view.current();
    criterion.bench_function("probe", |bencher| bencher.iter(|| content.service(black_box(key.as_wire())).is_some()));
    drop(content);
    indexes(criterion, &view);
    batches(criterion, &cluster, &view);
    counts(criterion, &cluster, &view);

    let responder = library::responder(view.clone(), None);
    let srv = |pods| query(&format!("_http._tcp.{}", headless(&cluster, pods).fqdn()), dns::SRV);
    let answers = [
        ("answer: A of a pod", of_pod.clone()),
        ("answer: SRV of 8 targets", srv(8)),
        ("answer: SRV of 100 targets", srv(100)),
        ("answer: NXDOMAIN", query(&format!("gone.{}", small.fqdn()), dns::A)),
    ];
    for (title, query) in answers {
        let mut answer = Vec::with_capacity(1 << 16);
        criterion.bench_function(title, |bencher| {
            bencher.iter(|| {
                let outcome = responder.respond(black_box(&query), Client::unknown(Transport::Udp), &mut answer);
                outcome.answered().is_some()
            });
        });
    }
}

/// Batches of the standard mix, in memory that no cache holds, as a UDP worker answers them.
fn batches(criterion: &mut Criterion, cluster: &Cluster, view: &Arc<View>) {
    let responder = library::responder(Arc::clone(view), None);
    let (drawer, mut rng) = (Drawer::new(cluster), StdRng::seed_from_u64(3));
    let packets: Vec<Vec<u8>> =
        std::iter::repeat_with(|| drawer.mixed(&MIX, &mut rng).query().to_bytes()).take(100_000).collect();
    let mut names = [const { Folded::EMPTY }; BATCH];
    let mut answers: [Vec<u8>; BATCH] = std::array::from_fn(|_| Vec::with_capacity(1 << 16));
    let mut next = packets.chunks_exact(BATCH).cycle();
    criterion.bench_function("answer: 32 of the standard mix", |bencher| {
        bencher.iter(|| {
            let packets = next.next().unwrap_or_default();
            let batch = responder.batch();
            let places = names.iter_mut().zip(&mut answers).zip(packets);
            let read = places
                .map(|((name, answer), packet)| batch.read(packet, name, Client::unknown(Transport::Udp), answer));
            let read: Vec<_> = read.collect();
            batch.touch(read.iter());
            let outcomes = read.iter().zip(&mut answers).map(|(read, answer)| batch.answer(read, answer));
            outcomes.filter(|outcome| matches!(outcome, Some(Outcome::Answered(_)))).count()
        });
    });
}

/// What counting and timing a batch of answers takes, the clock's two readings among it.
fn counts(criterion: &mut Criterion, cluster: &Cluster, view: &Arc<View>) {
    let responder = library::responder(Arc::clone(view), None);
    let (drawer, mut rng) = (Drawer::new(cluster), StdRng::seed_from_u64(4));
    let packets: Vec<Vec<u8>> =
        std::iter::repeat_with(|| drawer.mixed(&MIX, &mut rng).query().to_bytes()).take(BATCH).collect();
    let answered: Vec<_> = packets
        .iter()
        .filter_map(|packet| {
            let mut answer = Vec::new();
            let outcome = responder.respond(packet, Client::unknown(Transport::Udp), &mut answer);
            Some((outcome.answered()?, answer))
        })
        .collect();
    assert_eq!(answered.len(), BATCH);
    let (witness, client) = (library::counting(), SocketAddr::from(([127, 0, 0, 1], 4000)));
    criterion.bench_function("count: 32 answers", |bencher| {
        bencher.iter(|| {
            let received = Instant::now();
            let took = received.elapsed();
            for (made, response) in &answered {
                witness.answered(&Exchange { client: &client, transport: Transport::Udp, took, response }, made);
            }
            witness.went(Path::Prepared, BATCH as u64);
        });
    });
}

/// From a changed slice to what is published: one pod takes the place of another.
fn changes(criterion: &mut Criterion, cluster: &Cluster, publisher: &mut Publisher) {
    for pods in [5, 100, 5000] {
        let service = headless(cluster, pods);
        let slice = events::slices(service).next().expect("a slice");
        let other = events::succeeding_slices(service).next().expect("a slice");
        let mut next = [slice, other].into_iter().cycle();
        criterion.bench_function(&format!("publish: a slice of a Service of {pods} endpoints"), |bencher| {
            bencher.iter_batched(
                || next.next().map(|slice| Event::Apply(Object::EndpointSlice(slice))),
                |event| {
                    event.into_iter().for_each(|event| publisher.handle(event));
                    publisher.publish();
                },
                BatchSize::PerIteration,
            );
        });
    }
}

/// The index against `DashMap`, each asked for batches of Services in an order that no cache foresees, while nobody
/// writes and while one thread does without a pause. Of what is found the first octets are read, as for an answer; a
/// version of the shards is taken once a batch, as the server does.
fn indexes(criterion: &mut Criterion, view: &View) {
    let mut services: Vec<Service> = view.current().services().cloned().collect();
    services.shuffle(&mut StdRng::seed_from_u64(1));
    let keys: Vec<Vec<u8>> = services.iter().map(|service| service.key().to_vec()).collect();

    let shards = ArcSwap::from_pointee(services.iter().fold(Shards::default(), |mut shards, service| {
        shards.set(service.key(), Some(service.clone()));
        shards
    }));
    let swap_one = |index: usize| {
        let mut next = Shards::clone(&shards.load());
        next.set(&keys[index], Some(services[index].clone()));
        shards.store(Arc::new(next));
    };
    let map: DashMap<Vec<u8>, Service, ahash::RandomState> =
        keys.iter().cloned().zip(services.iter().cloned()).collect();
    let insert_one = |index: usize| drop(map.insert(keys[index].clone(), services[index].clone()));

    let mut group = criterion.benchmark_group("index");
    // Not the order in which the entries, and so their memory, were made.
    let mut asked = keys.clone();
    asked.shuffle(&mut StdRng::seed_from_u64(2));
    let mut all = |title: &str, find: &dyn Fn(&[Vec<u8>]) -> usize| {
        let mut next = asked.chunks_exact(BATCH).cycle();
        group.bench_function(title, |bencher| bencher.iter(|| next.next().map(|batch| find(black_box(batch)))));
    };
    let in_shards = |batch: &[Vec<u8>]| {
        let shards = shards.load();
        batch.iter().filter_map(|key| shards.get(key)).map(|service| service.key().len()).sum()
    };
    let in_map =
        |batch: &[Vec<u8>]| batch.iter().filter_map(|key| map.get(key)).map(|service| service.key().len()).sum();
    all("shards, 32 look-ups", &in_shards);
    all("DashMap, 32 look-ups", &in_map);
    while_writing(keys.len(), &swap_one, || all("shards, 32 look-ups beside a writer", &in_shards));
    while_writing(keys.len(), &insert_one, || all("DashMap, 32 look-ups beside a writer", &in_map));
    for (title, write) in [("shards, a change", &swap_one as &dyn Fn(usize)), ("DashMap, a change", &insert_one)] {
        let mut next = (0..keys.len()).cycle();
        group.bench_function(title, |bencher| bencher.iter(|| next.next().map(write)));
    }
    group.finish();
}

/// Look-ups for which a version is held, as for a batch of datagrams.
const BATCH: usize = 32;

/// Runs something while another thread changes one of so many entries after the other.
fn while_writing(count: usize, write: &(impl Fn(usize) + Sync), run: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for index in (0..count).cycle().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                write(index);
            }
        });
        run();
        is_over.store(true, Ordering::Relaxed);
    });
}

criterion_group!(benches, pieces);
criterion_main!(benches);
