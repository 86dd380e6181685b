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
#[path = "../tests/support/mod.rs"]
mod support;

use cluster::{Cluster, Service, Shape};
use criterion::{Criterion, criterion_group, criterion_main};
use podzone::answer::Transport;
use podzone::answer::query::{Parsed, parse};
use podzone::zone::Labels;
use std::hint::black_box;
use support::dns::{self, Query};

fn query(name: &str, rtype: u16) -> Vec<u8> {
    Query::new(name, rtype).payload(4096).to_bytes()
}

/// A headless Service of so many pods.
fn headless(cluster: &Cluster, pods: usize) -> &Service {
    let mut services = cluster.services.iter().filter(|service| service.is_headless());
    services.find(|service| service.pods.len() == pods).expect("the cluster has every size up to 150")
}

fn pieces(criterion: &mut Criterion) {
    let cluster = Cluster::generate(Shape::Full, 1);
    let (_publisher, view) = library::publish(&cluster);
    let small = headless(&cluster, 8);
    let of_pod = query(&small.pod_fqdn(&small.pods[0]), dns::A);

    criterion.bench_function("parse and fold", |bencher| {
        bencher.iter(|| match parse(black_box(&of_pod)) {
            Parsed::Query(query) => query.question.is_some_and(|question| black_box(question.folded()).len() > 1),
            _ => false,
        });
    });

    let labels = [&small.name, &small.namespace].map(|text| Labels::parse(text).expect("a label"));
    let key = Labels::concat(&labels.each_ref().map(Labels::as_wire));
    criterion.bench_function("probe", |bencher| bencher.iter(|| view.service(black_box(key.as_wire())).is_some()));

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
                let outcome = responder.respond(black_box(&query), Transport::Udp, &mut answer);
                outcome.answered().is_some()
            });
        });
    }
}

criterion_group!(benches, pieces);
criterion_main!(benches);
