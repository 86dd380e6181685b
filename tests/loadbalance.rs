//! `loadbalance`: addresses and mail exchangers in another order each time, and nothing else changed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use podzone::answer::{Block, Client, Forwarded, Outcome, Responder, Transport};
use proptest::prelude::*;
use proptest::sample::select;
use support::dns;
use support::process::Scratch;
use support::server::{Program, Server};

// ---- any upstream's response ----------------------------------------------------------------------------------------

const NAMES: [&str; 8] = [
    "www.example.org.",
    "WWW.example.org.",
    "a.b.c.www.example.org.",
    "mail.example.org.",
    "example.org.",
    "org.",
    ".",
    "elsewhere.test.",
];

fn name() -> impl Strategy<Value = Name> {
    select(&NAMES[..]).prop_map(|name| Name::from_ascii(name).unwrap())
}

fn moving() -> impl Strategy<Value = RData> {
    prop_oneof![
        4 => any::<u32>().prop_map(|bits| RData::A(A(Ipv4Addr::from(bits)))),
        2 => any::<u128>().prop_map(|bits| RData::AAAA(AAAA(Ipv6Addr::from(bits)))),
        3 => (any::<u16>(), name()).prop_map(|(preference, name)| RData::MX(MX::new(preference, name))),
    ]
}

fn still() -> impl Strategy<Value = RData> {
    prop_oneof![
        name().prop_map(|name| RData::CNAME(CNAME(name))),
        name().prop_map(|name| RData::NS(NS(name))),
        (any::<u16>(), name()).prop_map(|(port, name)| RData::SRV(SRV::new(0, 1, port, name))),
        "[a-z]{0,40}".prop_map(|text| RData::TXT(TXT::new(vec![text]))),
        (name(), name()).prop_map(|(server, mail)| RData::SOA(SOA::new(server, mail, 1, 2, 3, 4, 5))),
    ]
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let record = (name(), 0..3_u32, prop_oneof![2 => moving(), 1 => still()])
        .prop_map(|(name, ttl, data)| Record::from_rdata(name, ttl, data));
    prop::collection::vec(record, 0..9)
}

fn response(qtype: RecordType, code: ResponseCode, sections: [Vec<Record>; 3]) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.metadata.response_code = code;
    message.add_query(Query::query(Name::from_ascii(NAMES[0]).unwrap(), qtype));
    let [answers, authorities, additionals] = sections;
    message.add_answers(answers).add_authorities(authorities).add_additionals(additionals);
    message.to_vec().unwrap()
}

/// What the client of a server that forwards everything gets to hear.
fn relayed(response: &[u8], rotates: bool) -> Vec<u8> {
    let root = podzone::zone::Name::parse(".").unwrap();
    let forwards = vec![Forwarded { from: root.clone(), except: Vec::new() }];
    let responder = Responder::new([(root, Arc::new(Block { forwards, rotates, handles: true, ..Block::default() }))]);
    let qtype = u16::from(Message::from_vec(response).map_or(RecordType::A, |message| message.queries[0].query_type()));
    let query = dns::Query::new(NAMES[0], qtype).id(7).to_bytes();
    let mut out = Vec::new();
    let Outcome::Deferred(deferred) = responder.respond(&query, Client::unknown(Transport::Tcp), &mut out) else {
        panic!("it is forwarded");
    };
    responder.resume(&query, Transport::Tcp, deferred, vec![Ok(response.to_vec())], &mut out).unwrap();
    out
}

fn sections(message: &Message) -> [&[Record]; 3] {
    [&message.answers, &message.authorities, &message.additionals]
}

fn words(records: &[Record]) -> Vec<String> {
    // As text: names that differ in letter case alone are equal, and must not become each other.
    records.iter().map(|record| format!("{record} {:?}", record.data)).collect()
}

fn sorted(records: &[Record]) -> Vec<String> {
    let mut words = words(records);
    words.sort();
    words
}

fn of_kind(records: &[Record], kinds: &[RecordType]) -> Vec<String> {
    let chosen = records.iter().filter(|record| kinds.contains(&record.record_type())).cloned();
    words(&chosen.collect::<Vec<_>>())
}

const MOVING: [RecordType; 3] = [RecordType::A, RecordType::AAAA, RecordType::MX];

proptest! {
    // What fails becomes a case, not a seed.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn only_the_order_changes(sections_in in [records(), records(), records()]) {
        let response = response(RecordType::ANY, ResponseCode::NoError, sections_in);
        let (plain, rotated) = (relayed(&response, false), relayed(&response, true));
        prop_assert_eq!(&plain[..12], &rotated[..12], "the header");
        prop_assert!(rotated.len() <= plain.len());
        let stays = plain == rotated;
        let (plain, rotated) = (Message::from_vec(&plain).unwrap(), Message::from_vec(&rotated).unwrap());
        prop_assert_eq!(&plain.queries, &rotated.queries);
        // A target of SRV is not compressed, so that an alias that points into it may have to stay behind it.
        let has_srv = plain.answers.iter().chain(&plain.authorities).chain(&plain.additionals)
            .any(|record| record.record_type() == RecordType::SRV);
        for (before, after) in sections(&plain).into_iter().zip(sections(&rotated)) {
            prop_assert_eq!(sorted(before), sorted(after));
            // Aliases, then what has no order to change, then addresses, then exchangers.
            let place = |record: &Record| match record.record_type() {
                RecordType::CNAME => 0,
                RecordType::A | RecordType::AAAA => 2,
                RecordType::MX => 3,
                _ => 1,
            };
            prop_assert!(after.is_sorted_by_key(place) || stays && has_srv, "{:?}", words(after));
            let still = [RecordType::CNAME];
            prop_assert_eq!(of_kind(before, &still), of_kind(after, &still));
            let still = [RecordType::NS, RecordType::SRV, RecordType::TXT, RecordType::SOA];
            prop_assert_eq!(of_kind(before, &still), of_kind(after, &still));
        }
    }

    /// An upstream may be anybody: what is broken stays as broken as it was, and what can be read stays what it was.
    #[test]
    fn damaged_responses_are_not_damaged_further(
        sections_in in [records(), records(), records()],
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut response = response(RecordType::ANY, ResponseCode::NoError, sections_in);
        for (at, octet) in damage {
            let at = 12 + at.index(response.len() - 12);
            response[at] = octet;
        }
        let (plain, rotated) = (relayed(&response, false), relayed(&response, true));
        prop_assert_eq!(&plain[..12], &rotated[..12], "the header");
        if let Ok(plain) = Message::from_vec(&plain) {
            let rotated = Message::from_vec(&rotated).expect("what could be read still can");
            for (before, after) in sections(&plain).into_iter().zip(sections(&rotated)) {
                prop_assert_eq!(sorted(before), sorted(after));
            }
        }
    }

    #[test]
    fn each_record_that_may_move_is_the_first_at_times(
        kind in select(&MOVING[..]),
        count in 2..6_u16,
        section in 0..3_usize,
        (other, others) in (still(), 0..3_usize),
    ) {
        let owner = Name::from_ascii(NAMES[0]).unwrap();
        let data = |number: u16| match kind {
            RecordType::A => RData::A(A(Ipv4Addr::from(u32::from(number)))),
            RecordType::AAAA => RData::AAAA(AAAA(Ipv6Addr::from(u128::from(number)))),
            // Each exchanger's name is compressed against another's.
            _ => RData::MX(MX::new(10, Name::from_ascii(format!("mx{number}.mail.example.org.")).unwrap())),
        };
        let mut records: Vec<Record> =
            (1..=count).map(|number| Record::from_rdata(owner.clone(), 5, data(number))).collect();
        records.extend(vec![Record::from_rdata(owner.clone(), 5, other); others]);
        let mut sections_in = [const { Vec::new() }; 3];
        sections_in[section] = records;
        let response = response(RecordType::ANY, ResponseCode::NoError, sections_in);
        let mut firsts = BTreeSet::new();
        let mut tries = 0..200;
        while firsts.len() < count.into() && tries.next().is_some() {
            let message = Message::from_vec(&relayed(&response, true)).unwrap();
            firsts.insert(of_kind(sections(&message)[section], &[kind]).swap_remove(0));
        }
        prop_assert_eq!(firsts.len(), usize::from(count), "{:?}", firsts);
    }
}

#[test]
fn failures_and_transfers_stay_as_they_are() {
    let owner = Name::from_ascii(NAMES[0]).unwrap();
    let record = |number: u32| Record::from_rdata(owner.clone(), 5, RData::A(A(Ipv4Addr::from(number))));
    let records: Vec<Record> = (1..9).map(record).collect();
    for (qtype, code) in [
        (RecordType::A, ResponseCode::NXDomain),
        (RecordType::A, ResponseCode::ServFail),
        (RecordType::AXFR, ResponseCode::NoError),
        (RecordType::IXFR, ResponseCode::NoError),
    ] {
        let response = response(qtype, code, [records.clone(), Vec::new(), records.clone()]);
        for _ in 0..50 {
            assert_eq!(relayed(&response, true), relayed(&response, false), "{qtype} {code}");
        }
    }
}

// ---- a server -------------------------------------------------------------------------------------------------------

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: beam}
spec: {clusterIP: None, ports: [{port: 4369, name: epmd}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: alias}
spec: {type: ExternalName, externalName: beam.shop.svc.cluster.local}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: beam-1, labels: {kubernetes.io/service-name: beam}}
addressType: IPv4
ports: [{port: 4369, name: epmd}]
endpoints:
- {addresses: [10.244.0.1], hostname: a}
- {addresses: [10.244.0.2], hostname: b}
- {addresses: [10.244.0.3], hostname: c}
- {addresses: [10.244.0.4], hostname: d}
- {addresses: [10.244.0.5], hostname: e}
";
const BEAM: &str = "beam.shop.svc.cluster.local.";
const ALIAS: &str = "alias.shop.svc.cluster.local.";
const QUERIES: usize = 20;

struct Cluster {
    server: Server,
    _objects: Scratch,
}

/// podzone with these objects, and this line in its server block.
fn cluster(line: &str) -> Cluster {
    let objects = Scratch::new();
    std::fs::write(objects.path().join("objects.yaml"), OBJECTS).unwrap();
    let corefile = format!(
        ". {{\n bind 127.0.0.1\n {line}\n kubernetes cluster.local {{\n manifests {}\n }}\n}}\n",
        objects.path().display()
    );
    Cluster { server: Program::Podzone.start(&corefile), _objects: objects }
}

/// The addresses of a section of so many answers, in their order; over UDP and TCP.
fn orders(
    server: SocketAddr,
    name: &str,
    rtype: u16,
    section: impl Fn(&dns::Message) -> &[dns::Record],
) -> Vec<Vec<String>> {
    let query = dns::Query::new(name, rtype).payload(1232);
    let messages = (0..QUERIES).flat_map(|_| [dns::ask(server, &query), dns::ask_tcp(server, &query)]);
    let addresses = |message: dns::Message| {
        let records = section(&message).iter().filter(|record| record.rtype == dns::A);
        records.map(dns::Record::data).collect()
    };
    messages.map(|message| addresses(message.expect("an answer"))).collect()
}

/// Whether the order changes, over both transports; the set must not.
fn changes(orders: &[Vec<String>]) -> bool {
    let set: BTreeSet<&String> = orders[0].iter().collect();
    assert_eq!(set.len(), 5, "{:?}", orders[0]);
    assert!(orders.iter().all(|order| order.len() == 5 && order.iter().collect::<BTreeSet<_>>() == set), "{orders:?}");
    let firsts = |transport: usize| orders.iter().skip(transport).step_by(2).map(|order| &order[0]);
    let changing = [0, 1].map(|transport| firsts(transport).collect::<BTreeSet<_>>().len() > 1);
    assert_eq!(changing[0], changing[1], "over UDP (left) and TCP: {orders:?}");
    changing[0]
}

#[test]
fn the_first_address_changes_and_the_set_stays() {
    for line in ["loadbalance", "loadbalance round_robin"] {
        let cluster = cluster(line);
        let server = cluster.server.addr();
        assert!(changes(&orders(server, BEAM, dns::A, |message| &message.answers)), "{line}");
        assert!(changes(&orders(server, BEAM, dns::SRV, |message| &message.additionals)), "{line}: beside SRV");
        assert!(changes(&orders(server, ALIAS, dns::A, |message| &message.answers)), "{line}: behind an alias");
        for _ in 0..QUERIES {
            assert_eq!(cluster.server.ask(ALIAS, dns::A).answers[0].rtype, dns::CNAME, "{line}: the alias is first");
        }
    }
}

#[test]
fn without_the_directive_the_order_stays() {
    let cluster = cluster("");
    let server = cluster.server.addr();
    assert!(!changes(&orders(server, BEAM, dns::A, |message| &message.answers)));
    assert!(!changes(&orders(server, BEAM, dns::SRV, |message| &message.additionals)));
    assert!(!changes(&orders(server, ALIAS, dns::A, |message| &message.answers)));
}

#[test]
fn forwarded_answers_rotate_in_the_block_that_says_so() {
    let upstream = cluster("");
    let up = upstream.server.addr();
    let server = |line: &str| Program::Podzone.start(&format!(". {{\n bind 127.0.0.1\n {line}\n forward . {up}\n}}\n"));
    for (line, expected) in [("loadbalance", true), ("", false)] {
        let server = server(line);
        assert_eq!(changes(&orders(server.addr(), BEAM, dns::A, |message| &message.answers)), expected, "{line}");
    }
}

/// Both programs before the same upstream, with this directive.
fn in_front(upstream: &Cluster, directive: &str) -> [Server; 2] {
    let up = upstream.server.addr();
    [Program::CoreDns, Program::Podzone]
        .map(|program| program.start(&format!(". {{\n bind 127.0.0.1\n {directive}\n forward . {up}\n}}\n")))
}

fn last_octets(orders: &[Vec<String>]) -> Vec<Vec<u8>> {
    let last = |address: &String| address.rsplit('.').next().unwrap().parse().unwrap();
    orders.iter().map(|order| order.iter().map(last).collect()).collect()
}

#[test]
fn addresses_that_are_preferred_come_first_in_their_subnets_order() {
    const PREFER: &str = "loadbalance {\n prefer 10.244.0.4/31 fd00::/8 10.244.0.2/32\n }";
    let upstream = cluster("");
    let own = cluster(PREFER);
    let mut asked: Vec<SocketAddr> = vec![own.server.addr()];
    let forwarding = in_front(&upstream, PREFER);
    asked.extend(forwarding.iter().map(Server::addr));
    for server in asked {
        let mut firsts = BTreeSet::new();
        let answers = orders(server, BEAM, dns::A, |message| &message.answers);
        let additionals = orders(server, BEAM, dns::SRV, |message| &message.additionals);
        for order in last_octets(&answers).into_iter().chain(last_octets(&additionals)) {
            let sorted = |part: &[u8]| part.iter().copied().collect::<BTreeSet<_>>();
            assert_eq!(sorted(&order[..2]), BTreeSet::from([4, 5]), "{order:?}");
            assert_eq!(order[2], 2, "{order:?}");
            firsts.insert(order[0]);
        }
        assert_eq!(firsts.len(), 2, "chance decides among them");
        let behind_alias = orders(server, ALIAS, dns::A, |message| &message.answers);
        assert!(last_octets(&behind_alias).iter().all(|order| order[2] == 2), "{behind_alias:?}");
    }
}

#[test]
fn an_address_is_the_first_as_often_as_it_weighs() {
    let upstream = cluster("");
    let folder = Scratch::new();
    let file = folder.path().join("weights");
    std::fs::write(&file, format!("# of 20\n{BEAM}\n10.244.0.3 16\n")).unwrap();
    let directive = format!("loadbalance weighted {} {{\n reload 200ms\n }}", file.display());
    let own = cluster(&directive);
    let forwarding = in_front(&upstream, &directive);
    let servers = [own.server.addr(), forwarding[0].addr(), forwarding[1].addr()];
    let share = |server: SocketAddr, wanted: u8| {
        let all: Vec<_> = (0..5).flat_map(|_| orders(server, BEAM, dns::A, |message| &message.answers)).collect();
        let all = last_octets(&all);
        for order in &all {
            // Two have changed places at most.
            assert!(order.iter().zip(1..).filter(|(is, was)| **is != *was).count() <= 2, "{order:?}");
        }
        all.iter().filter(|order| order[0] == wanted).count() as f64 / all.len() as f64
    };
    for server in servers {
        // A fair choice of 200 strays further than this from 0.8 once in 10^7 times.
        let found = share(server, 3);
        assert!((0.65..0.95).contains(&found), "{server}: {found}");
    }
    std::fs::write(&file, format!("{BEAM}\n10.244.0.5 255\n")).unwrap();
    for server in servers {
        support::wait_for("other weights", std::time::Duration::from_secs(10), || match share(server, 5) {
            found if found > 0.9 => Ok(()),
            found => Err(format!("{server}: {found}")),
        });
    }
    std::fs::write(&file, "not an address\n").unwrap();
    support::wait_for("the complaint", std::time::Duration::from_secs(10), || {
        let log = own.server.log();
        if log.contains("plugin/loadbalance: could not parse weight line") { Ok(()) } else { Err(log) }
    });
    assert!(share(servers[0], 5) > 0.9, "what is wrong changes nothing");
}

#[test]
fn a_block_with_nothing_else_fails_as_coredns_does() {
    for program in [Program::Podzone, Program::CoreDns] {
        let server = program.start(". {\n bind 127.0.0.1\n loadbalance\n}\n");
        assert_eq!(server.ask("www.example.org.", dns::A).rcode, dns::SERVFAIL, "{program:?}");
    }
}
