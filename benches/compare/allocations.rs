//! What answering takes from the heap.

use crate::cluster::Cluster;
use crate::library;
use crate::wanted::Wanted;
use podzone::answer::{Client, Outcome, Transport};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Larger than any answer.
const ANSWER_OCTETS: usize = 1 << 16;

/// Calls of the allocator for each query that is answered; the whole process has to rest meanwhile.
pub(crate) fn per_query(cluster: &Cluster, questions: &[Wanted]) -> f64 {
    let (_publisher, view) = library::publish(cluster);
    let responder = library::responder(view, None);
    let mut answer = Vec::with_capacity(ANSWER_OCTETS);
    let region = Region::new(ALLOCATOR);
    let answered = questions.iter().filter(|wanted| {
        let outcome = responder.respond(&wanted.query, Client::unknown(Transport::Udp), &mut answer);
        matches!(outcome, Outcome::Answered(_)) && wanted.is_met_by(&answer)
    });
    let answered = answered.count();
    let change = region.change();
    assert_eq!(answered, questions.len(), "every question is answered rightly");
    (change.allocations + change.reallocations) as f64 / questions.len() as f64
}
