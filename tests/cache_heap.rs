//! An answer that is kept is given without taking anything from the heap.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::alloc::System;
use std::net::Ipv4Addr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use podzone::answer::{
    Block, Cache, CacheCounts, CacheOptions, CacheSide, Client, Clock, Forwarded, Outcome, Prefetch, Responder,
    Transport,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_hit_takes_nothing_from_the_heap() {
    let side = CacheSide { capacity: 1024, max_ttl_secs: 3600, min_ttl_secs: 5 };
    let root = podzone::zone::Name::parse(".").unwrap();
    let options = CacheOptions {
        zones: vec![root.clone()],
        success: side,
        denial: side,
        servfail: std::time::Duration::ZERO,
        prefetch: Some(Prefetch { amount: 10, within: std::time::Duration::from_secs(60), percent: 10 }),
        stale: None,
        success_disabled: Vec::new(),
        denial_disabled: Vec::new(),
        keep_ttl: false,
        minimal: false,
    };
    let block = Block {
        forwards: vec![Forwarded { from: root.clone(), except: Vec::new() }],
        cache: Some(Arc::new(Cache::new(options, Clock::default()))),
        rotates: true,
        handles: true,
        ..Block::default()
    };
    let counts = vec![Some(Arc::new(CacheCounts::default()))];
    let responder = Responder::new([(root, Arc::new(block))]).with_cache_counts(counts);
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii("www.test.").unwrap(), RecordType::A));
    let mut response = query.clone();
    response.metadata.message_type = MessageType::Response;
    for last in 1..=8 {
        let data = RData::A(A(Ipv4Addr::new(192, 0, 2, last)));
        response.add_answer(Record::from_rdata(Name::from_ascii("www.test.").unwrap(), 3600, data));
    }
    let (mut query, response) = (query.to_vec().unwrap(), response.to_vec().unwrap());
    // EDNS with a cookie, which is given back.
    query[11] = 1;
    query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    let client = Client::unknown(Transport::Udp);
    let mut out = Vec::with_capacity(4096);
    let Some(Outcome::Deferred(deferred)) = responder.respond_at_once(&query, client, &mut out) else {
        panic!("it is asked for");
    };
    responder.resume(&query, Transport::Udp, deferred, vec![Ok(response)], &mut out).unwrap();
    // What a thread makes at its first answer it makes once.
    let mut hit = || matches!(responder.respond_at_once(&query, client, &mut out), Some(Outcome::Answered(_)));
    assert!(hit());
    let region = Region::new(ALLOCATOR);
    let hits = (0..1000).filter(|_| hit()).count();
    let change = region.change();
    assert_eq!((hits, change.allocations, change.reallocations), (1000, 0, 0), "{change:?}");
    assert_eq!(Message::from_vec(&out).unwrap().answers.len(), 8);
}
