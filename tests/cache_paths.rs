//! `cache` as a function of query, response and time: both paths give the same octets, and what was kept is what the
//! upstream said, but for TTLs and letters.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/paths.rs"]
mod paths;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use podzone::answer::{
    Block, Cache, CacheOptions, CacheSide, Client, Clock, Deferred, Forwarded, LookupError, Outcome, Prefetch, Refresh,
    Responder, ServeStale, Transport,
};
use proptest::prelude::*;

const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const AD: u16 = 0x0020;

/// A server that forwards everything, whose cache has a clock of the test's.
struct Server {
    responder: Responder,
    millis: Arc<AtomicU64>,
}

/// What became of a query.
enum Got {
    Answer(Vec<u8>),
    Refreshing(Vec<u8>, Vec<Refresh>),
    Asked(Deferred),
}

fn options() -> CacheOptions {
    let side = |max_ttl_secs| CacheSide { capacity: 1024, max_ttl_secs, min_ttl_secs: 5 };
    CacheOptions {
        zones: vec![podzone::zone::Name::parse(".").unwrap()],
        success: side(3600),
        denial: side(1800),
        servfail: Duration::from_secs(5),
        prefetch: None,
        stale: None,
        success_disabled: Vec::new(),
        denial_disabled: Vec::new(),
        keep_ttl: false,
        minimal: false,
    }
}

fn stale() -> ServeStale {
    ServeStale {
        up_to: Duration::from_secs(3600),
        verify: false,
        timeout: Duration::ZERO,
        ttl_secs: 0,
        recheck: Duration::ZERO,
        prefer_positive: false,
    }
}

impl Server {
    fn new(options: CacheOptions) -> Self {
        Self::with(options, Block::default())
    }

    fn with(options: CacheOptions, block: Block) -> Self {
        let millis = Arc::new(AtomicU64::new(1));
        let read = Arc::clone(&millis);
        let clock = Clock::new(move || Duration::from_millis(read.load(Ordering::Relaxed)));
        let root = podzone::zone::Name::parse(".").unwrap();
        let forwards = vec![Forwarded { from: root.clone(), except: Vec::new() }];
        let cache = Some(Arc::new(Cache::new(options, clock)));
        let block = Block { forwards, cache, handles: true, ..block };
        Self { responder: Responder::new([(root, Arc::new(block))]), millis }
    }

    fn later(&self, duration: Duration) {
        self.millis.fetch_add(duration.as_millis() as u64, Ordering::Relaxed);
    }

    fn ask(&self, query: &[u8]) -> Got {
        let mut out = Vec::new();
        match self.responder.respond_at_once(query, Client::unknown(Transport::Udp), &mut out) {
            Some(Outcome::Answered(_)) => Got::Answer(out),
            Some(Outcome::Refreshing(_, refreshes)) => Got::Refreshing(out, refreshes),
            Some(Outcome::Deferred(deferred)) => Got::Asked(deferred),
            other => panic!("{other:?}"),
        }
    }

    /// The answer that is kept, and nothing is asked.
    fn kept(&self, query: &[u8]) -> Vec<u8> {
        match self.ask(query) {
            Got::Answer(answer) => answer,
            Got::Refreshing(..) => panic!("it is asked for anew"),
            Got::Asked(_) => panic!("it is not kept"),
        }
    }

    fn is_kept(&self, query: &[u8]) -> bool {
        !matches!(self.ask(query), Got::Asked(_))
    }

    /// Asks, and has the upstream say this.
    fn told(&self, query: &[u8], response: Result<Vec<u8>, LookupError>) -> Vec<u8> {
        match self.ask(query) {
            Got::Asked(deferred) => self.resume(query, deferred, response),
            _ => panic!("it is kept"),
        }
    }

    fn resume(&self, query: &[u8], deferred: Deferred, response: Result<Vec<u8>, LookupError>) -> Vec<u8> {
        let mut out = Vec::new();
        self.responder.resume(query, Transport::Udp, deferred, vec![response], &mut out).unwrap();
        out
    }
}

fn failed() -> Result<Vec<u8>, LookupError> {
    Err(LookupError::servfail("nobody answers"))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn query(text: &str, rtype: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), rtype));
    message.to_vec().unwrap()
}

/// A response to a query, with these sections.
fn response(query: &[u8], code: ResponseCode, sections: [Vec<Record>; 3]) -> Vec<u8> {
    let asked = Message::from_vec(query).unwrap();
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.metadata.response_code = code;
    message.metadata.recursion_available = true;
    message.metadata.recursion_desired = true;
    message.add_query(asked.queries[0].clone());
    let [answers, authorities, additionals] = sections;
    message.add_answers(answers).add_authorities(authorities).add_additionals(additionals);
    message.to_vec().unwrap()
}

fn address(owner: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A(Ipv4Addr::new(192, 0, 2, last))))
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let data = SOA::new(name("ns.test."), name("admin.test."), 1, 2, 3, 4, minimum);
    Record::from_rdata(name("test."), ttl, RData::SOA(data))
}

fn yes(query: &[u8], ttl: u32, last: u8) -> Result<Vec<u8>, LookupError> {
    Ok(response(query, ResponseCode::NoError, [vec![address("www.test.", ttl, last)], vec![], vec![]]))
}

fn no(query: &[u8], ttl: u32) -> Result<Vec<u8>, LookupError> {
    Ok(response(query, ResponseCode::NXDomain, [vec![], vec![soa(ttl, 3600)], vec![]]))
}

fn servfail(query: &[u8]) -> Result<Vec<u8>, LookupError> {
    Ok(response(query, ResponseCode::ServFail, [vec![], vec![], vec![]]))
}

/// Code, last octet of the first address, TTL of the first record.
fn essence(answer: &[u8]) -> (ResponseCode, Option<u8>, Option<u32>) {
    let message = Message::from_vec(answer).unwrap();
    let last = message.answers.iter().find_map(|record| match &record.data {
        RData::A(address) => Some(address.0.octets()[3]),
        _ => None,
    });
    let ttl = message.answers.iter().chain(&message.authorities).next().map(|record| record.ttl);
    (message.metadata.response_code, last, ttl)
}

const YES: ResponseCode = ResponseCode::NoError;

fn www() -> Vec<u8> {
    query("www.test.", RecordType::A)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_ttl_runs_down_to_the_second_and_ends_the_entry() {
    let (server, query) = (Server::new(options()), www());
    assert_eq!(essence(&server.told(&query, yes(&query, 60, 1))), (YES, Some(1), Some(60)));
    for (passed, left) in [(999, 60), (1, 59), (57_000, 2), (1_999, 1)] {
        server.later(Duration::from_millis(passed));
        assert_eq!(essence(&server.kept(&query)), (YES, Some(1), Some(left)));
    }
    server.later(Duration::from_millis(1));
    assert!(!server.is_kept(&query));
}

#[test]
fn failures_last_as_long_as_they_are_let_and_hide_no_answer() {
    let options = CacheOptions { prefetch: Some(Prefetch { amount: 1, within: secs(60), percent: 90 }), ..options() };
    let (server, query) = (Server::new(options), www());
    server.told(&query, yes(&query, 100, 1));
    server.later(secs(11));
    let Got::Refreshing(answer, mut refreshes) = server.ask(&query) else { panic!("asked for anew") };
    assert_eq!(essence(&answer), (YES, Some(1), Some(89)));
    assert_eq!(refreshes.len(), 1);
    // Nobody else asks meanwhile.
    server.kept(&query);
    let Refresh { keeping, lookup } = refreshes.pop().unwrap();
    assert_eq!(lookup.query[3] & AD as u8, AD as u8, "whether it was checked is for who comes later");
    keeping.keep(servfail(&query));
    let Got::Refreshing(answer, _) = server.ask(&query) else { panic!("asked for anew") };
    assert_eq!(essence(&answer), (YES, Some(1), Some(89)), "the failure hides nothing");
    // Where nothing else is known it is served.
    server.later(secs(89));
    assert!(!server.is_kept(&query), "neither is there any more");
    assert_eq!(essence(&server.told(&query, servfail(&query))).0, ResponseCode::ServFail);
    server.later(Duration::from_millis(4_999));
    // A failure that is asked for often is asked for anew, too.
    let Got::Refreshing(answer, _) = server.ask(&query) else { panic!("asked for anew") };
    assert_eq!(essence(&answer).0, ResponseCode::ServFail);
    server.later(Duration::from_millis(1));
    assert!(!server.is_kept(&query));
}

#[test]
fn uses_count_for_prefetch_as_long_as_there_is_no_gap() {
    let options = CacheOptions { prefetch: Some(Prefetch { amount: 3, within: secs(10), percent: 10 }), ..options() };
    let (server, query) = (Server::new(options), www());
    server.told(&query, yes(&query, 100, 1));
    server.kept(&query);
    server.kept(&query);
    // A gap, and all begins anew.
    server.later(secs(90));
    server.kept(&query);
    server.kept(&query);
    let Got::Refreshing(_, refreshes) = server.ask(&query) else { panic!("the third with ten left") };
    for Refresh { keeping, .. } in refreshes {
        keeping.keep(yes(&query, 100, 2));
    }
    assert_eq!(essence(&server.kept(&query)), (YES, Some(2), Some(100)));
    // The uses go on counting.
    server.later(secs(5));
    for _ in 0..3 {
        server.kept(&query);
    }
}

#[test]
fn what_has_expired_is_served_for_so_long_and_asked_for_once() {
    let recheck = secs(30);
    let options = CacheOptions { stale: Some(ServeStale { up_to: secs(100), recheck, ..stale() }), ..options() };
    let (server, query) = (Server::new(options), www());
    server.told(&query, yes(&query, 10, 1));
    server.later(secs(10));
    let Got::Refreshing(answer, mut refreshes) = server.ask(&query) else { panic!("asked for anew") };
    assert_eq!(essence(&answer), (YES, Some(1), Some(0)));
    assert_eq!(essence(&server.kept(&query)), (YES, Some(1), Some(0)), "one asks");
    refreshes.pop().unwrap().keeping.keep(failed());
    assert_eq!(essence(&server.kept(&query)), (YES, Some(1), Some(0)), "and nobody for a while after that");
    server.later(recheck);
    let Got::Refreshing(_, refreshes) = server.ask(&query) else { panic!("asked for anew") };
    // What there is no room for is not asked for, and the next one may.
    drop(refreshes);
    server.kept(&query);
    server.later(recheck);
    let Got::Refreshing(_, mut refreshes) = server.ask(&query) else { panic!("asked for anew") };
    refreshes.pop().unwrap().keeping.keep(no(&query, 50));
    assert_eq!(essence(&server.kept(&query)), (ResponseCode::NXDomain, None, Some(50)), "a denial is what is so now");
    server.later(secs(150));
    assert!(!server.is_kept(&query), "for so long and no longer");
}

#[test]
fn what_has_expired_is_served_only_if_nobody_says_more() {
    let verify = ServeStale { verify: true, timeout: Duration::from_millis(100), ttl_secs: 30, ..stale() };
    let (server, query) = (Server::new(CacheOptions { stale: Some(verify), ..options() }), www());
    server.told(&query, yes(&query, 10, 1));
    server.later(secs(11));
    let refused = Ok(response(&query, ResponseCode::Refused, [vec![], vec![], vec![]]));
    for nothing in [failed(), servfail(&query), refused] {
        assert_eq!(essence(&server.told(&query, nothing)), (YES, Some(1), Some(30)));
    }
    // The client is told what is known when it has waited; what comes later is kept.
    let Got::Asked(mut deferred) = server.ask(&query) else { panic!("asked") };
    assert_eq!(deferred.patience(), Some(Duration::from_millis(100)));
    let late = deferred.give_up().unwrap();
    assert_eq!(essence(&server.resume(&query, deferred, failed())), (YES, Some(1), Some(30)));
    late.keep(yes(&query, 20, 2));
    assert_eq!(essence(&server.kept(&query)), (YES, Some(2), Some(20)));
}

#[test]
fn a_positive_answer_may_be_preferred_to_a_newer_denial() {
    let stale = ServeStale { prefer_positive: true, ..stale() };
    let (server, query) = (Server::new(CacheOptions { stale: Some(stale), ..options() }), www());
    server.told(&query, yes(&query, 10, 1));
    for other in [no(&query, 60), servfail(&query), Ok(response(&query, YES, [vec![], vec![], vec![]]))] {
        server.later(secs(11));
        let Got::Refreshing(answer, mut refreshes) = server.ask(&query) else { panic!("asked for anew") };
        assert_eq!(essence(&answer), (YES, Some(1), Some(0)));
        refreshes.pop().unwrap().keeping.keep(other);
    }
    let Got::Refreshing(answer, mut refreshes) = server.ask(&query) else { panic!("asked for anew") };
    assert_eq!(essence(&answer), (YES, Some(1), Some(0)));
    refreshes.pop().unwrap().keeping.keep(yes(&query, 10, 2));
    assert_eq!(essence(&server.kept(&query)), (YES, Some(2), Some(10)));
}

#[test]
fn aliases_are_followed_to_what_was_asked_for() {
    let alias = |owner: &str, target: &str| Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))));
    let cases: [(&str, [Vec<Record>; 2], bool, Option<u32>); 6] = [
        ("whole", [vec![alias("www.test.", "a.test."), address("a.test.", 60, 1)], vec![]], true, Some(60)),
        ("without end", [vec![alias("www.test.", "a.test.")], vec![]], false, None),
        ("denied at its end", [vec![alias("www.test.", "a.test.")], vec![soa(9, 30)]], true, Some(9)),
        (
            "of two",
            [vec![alias("www.test.", "a.test."), alias("www.test.", "b.test."), address("a.test.", 60, 1)], vec![]],
            false,
            None,
        ),
        ("in a circle", [vec![alias("www.test.", "a.test."), alias("a.test.", "www.test.")], vec![]], false, None),
        ("of another", [vec![address("other.test.", 60, 1)], vec![]], false, None),
    ];
    for (what, [answers, authority], is_kept, ttl) in cases {
        let (server, query) = (Server::new(options()), www());
        server.told(&query, Ok(response(&query, YES, [answers, authority, vec![]])));
        assert_eq!(server.is_kept(&query), is_kept, "{what}");
        if let Some(ttl) = ttl {
            assert_eq!(essence(&server.kept(&query)).2, Some(ttl), "{what}");
        }
    }
}

#[test]
fn answers_that_are_nobody_elses_are_not_kept() {
    let with = |opt: &[u8], record: &[u8]| {
        let mut query = www();
        query[11] = 1;
        [&query[..], opt, record].concat()
    };
    let subnet = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2];
    let signature = [&[0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 1, 0][..]].concat();
    let mut notify = www();
    notify[2] |= 4 << 3;
    for (what, query) in
        [("a subnet", with(&subnet, &[])), ("a signature", with(&[], &signature)), ("a notice", notify)]
    {
        let server = Server::new(options());
        let plain = www();
        server.told(&query, yes(&plain, 60, 1));
        assert!(!server.is_kept(&query), "{what}");
        // Nor is what others got given to them.
        server.told(&plain, yes(&plain, 60, 1));
        assert!(server.is_kept(&plain) && !server.is_kept(&query), "{what}");
    }
}

#[test]
fn expired_signatures_are_not_kept_for_who_asks_for_signatures() {
    // RRSIG of A, by test.: valid from 2001 to 2002, or from 2001 for as long as serial numbers reach from now.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as u32;
    for (expires, kept) in [(1_009_843_200_u32, false), (now.wrapping_add(86_400), true)] {
        let mut query = www();
        query[11] = 1;
        query.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
        let mut message = response(&www(), YES, [vec![address("www.test.", 60, 1)], vec![], vec![]]);
        message[7] = 2;
        let begins = now.wrapping_sub(86_400);
        message.extend([0xc0, 12, 0, 46, 0, 1, 0, 0, 0, 60, 0, 18 + 6 + 4, 0, 1, 13, 2, 0, 0, 0, 60]);
        message.extend([expires.to_be_bytes(), begins.to_be_bytes()].concat());
        message.extend([0, 7, 4, b't', b'e', b's', b't', 0, 1, 2, 3, 4]);
        message[11] = 1;
        message.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
        let server = Server::new(options());
        server.told(&query, Ok(message));
        assert_eq!(server.is_kept(&query), kept, "{expires}");
    }
}

#[test]
fn minimal_keeps_answers_alone() {
    let options = CacheOptions { minimal: true, ..options() };
    let server = Server::with(options, Block { minimal: true, ..Block::default() });
    let query = www();
    let sections = [vec![address("www.test.", 60, 1)], vec![ns()], vec![address("ns.test.", 9, 2)]];
    for answer in [server.told(&query, Ok(response(&query, YES, sections))), server.kept(&query)] {
        let message = Message::from_vec(&answer).unwrap();
        assert_eq!((message.answers.len(), message.authorities.len(), message.additionals.len()), (1, 0, 0));
        assert_eq!(message.answers[0].ttl, 60, "what is left out counts for nothing");
    }
}

fn ns() -> Record {
    Record::from_rdata(name("test."), 600, RData::NS(NS(name("ns.test."))))
}

// ---- any message ----------------------------------------------------------------------------------------------------

const NAMES: [&str; 6] = ["www.test.", "WWW.tESt.", "a.www.test.", "test.", "other.example.", "."];

fn record() -> impl Strategy<Value = Record> {
    let ttl = prop_oneof![0..10_u32, 10..5000_u32, any::<u32>()];
    let of = proptest::sample::select(&NAMES[..]);
    (of.clone(), of, ttl, any::<u8>(), 0..7_u8).prop_map(|(owner, target, ttl, octet, kind)| {
        let data = match kind {
            0 | 1 => RData::A(A(Ipv4Addr::new(192, 0, 2, octet))),
            2 => RData::AAAA(AAAA(Ipv6Addr::from(u128::from(octet)))),
            3 => RData::CNAME(CNAME(name(target))),
            4 => RData::MX(MX::new(octet.into(), name(target))),
            5 => RData::TXT(TXT::new(vec!["x".repeat(octet.into())])),
            _ => RData::NS(NS(name(target))),
        };
        Record::from_rdata(name(owner), ttl, data)
    })
}

/// A query for a name, and a response to it.
fn exchange() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let rtype = proptest::sample::select(&[RecordType::A, RecordType::AAAA, RecordType::MX, RecordType::CNAME][..]);
    let records = |most| proptest::collection::vec(record(), 0..most);
    let code = proptest::sample::select(
        &[YES, YES, YES, ResponseCode::NXDomain, ResponseCode::ServFail, ResponseCode::NotImp, ResponseCode::Refused][..],
    );
    let of = proptest::sample::select(&NAMES[..]);
    (of, rtype, code, (records(30), records(3), records(4)), (any::<bool>(), 0..2000_u32, any::<u32>())).prop_map(
        |(of, rtype, code, (answers, mut authority, additional), (has_soa, ttl, minimum))| {
            if has_soa {
                authority.push(soa(ttl, minimum));
            }
            let query = query(of, rtype);
            let response = response(&query, code, [answers, authority, additional]);
            (query, response)
        },
    )
}

/// All that an answer says but TTLs and letters.
fn said(answer: &[u8]) -> (ResponseCode, [Vec<String>; 3]) {
    let message = Message::from_vec(answer).unwrap();
    let words = |records: &[Record]| {
        let words = records.iter().map(|it| format!("{} {} {}", it.name, it.dns_class, it.data).to_lowercase());
        words.collect::<Vec<_>>()
    };
    let sections = [&message.answers, &message.authorities, &message.additionals].map(|records| words(records));
    (message.metadata.response_code, sections)
}

fn ttls(answer: &[u8]) -> Vec<u32> {
    let message = Message::from_vec(answer).unwrap();
    let records = message.answers.iter().chain(&message.authorities).chain(&message.additionals);
    records.map(|record| record.ttl).collect()
}

fn flags(answer: &[u8]) -> u16 {
    u16::from_be_bytes([answer[2], answer[3]])
}

/// The query in other letters, with another ID, and perhaps with EDNS.
fn other(query: &[u8], payload: Option<u16>) -> Vec<u8> {
    let mut other = query.to_vec();
    other[0] ^= 0x5a;
    let end = other.len() - 4;
    other[12..end].iter_mut().for_each(|octet| *octet = octet.to_ascii_uppercase());
    if let Some(payload) = payload {
        other[11] = 1;
        other.extend([&[0, 0, 41][..], &payload.to_be_bytes(), &[0; 4], &[0, 12, 0, 10, 0, 8], &[7; 8]].concat());
    }
    other
}

proptest! {
    // What fails becomes a case, not a seed.
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_is_what_was_said((query, response) in exchange(), payload in proptest::option::of(any::<u16>())) {
        let server = Server::new(options());
        let told = server.told(&query, Ok(response.clone()));
        let (response_said, whole) = (said(&response), response.len() <= 512);
        if whole {
            prop_assert_eq!(said(&told), response_said.clone());
            let ttls = ttls(&told);
            prop_assert!(ttls.iter().all(|ttl| *ttl == ttls[0] && *ttl <= 3600), "one TTL, within bounds: {:?}", ttls);
        }
        let query = other(&query, payload);
        if server.is_kept(&query) {
            server.later(secs(3));
            let kept = server.kept(&query);
            prop_assert_eq!(&kept[..2], &query[..2]);
            let question = Message::from_vec(&query).unwrap().queries;
            prop_assert_eq!(&Message::from_vec(&kept).unwrap().queries, &question);
            prop_assert_eq!(&kept[12..query.len().min(kept.len()).min(16)], &query[12..query.len().min(kept.len()).min(16)]);
            prop_assert!(flags(&kept) & AA != 0);
            prop_assert_eq!(Message::from_vec(&kept).unwrap().edns.is_some(), payload.is_some());
            let limit = usize::from(payload.unwrap_or(512).max(512));
            prop_assert!(kept.len() <= limit, "{} of {}", kept.len(), limit);
            if flags(&kept) & TC == 0 {
                prop_assert_eq!(said(&kept), response_said);
                if whole {
                    let expected: Vec<u32> = ttls(&told).iter().map(|ttl| ttl - 3).collect();
                    prop_assert_eq!(ttls(&kept), expected);
                }
            }
            // Word for word, whoever writes it.
            let mut composed = Vec::new();
            server.responder.respond_composed(&query, Client::unknown(Transport::Udp), &mut composed);
            prop_assert_eq!(kept, composed);
        }
        paths::agree(&server.responder, &query);
    }

    #[test]
    fn loadbalance_changes_nothing_but_the_order((query, response) in exchange()) {
        let turning = Server::with(options(), Block { rotates: true, ..Block::default() });
        let still = Server::new(options());
        turning.told(&query, Ok(response.clone()));
        still.told(&query, Ok(response));
        prop_assert_eq!(turning.is_kept(&query), still.is_kept(&query));
        if still.is_kept(&query) {
            let sorted = |answer: &[u8]| {
                let (code, sections) = said(answer);
                (code, sections.map(|mut words| { words.sort(); words }))
            };
            let (one, other) = (turning.kept(&query), still.kept(&query));
            prop_assert_eq!(sorted(&one), sorted(&other));
            prop_assert_eq!(one.len(), other.len());
        }
        paths::agree(&turning.responder, &query);
    }

    #[test]
    fn any_octets_do_no_harm(octets in proptest::collection::vec(any::<u8>(), 0..80), counts in any::<[u8; 3]>()) {
        let (server, query) = (Server::new(options()), www());
        let mut message = response(&query, YES, [vec![], vec![], vec![]]);
        for (at, count) in [7, 9, 11].into_iter().zip(counts) {
            message[at] = count % 4;
        }
        message.extend(octets);
        server.told(&query, Ok(message));
        paths::agree(&server.responder, &query);
    }
}
