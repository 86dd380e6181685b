//! One query has one answer, whatever carries it: well-formed, addressed to the query, and cut only where it must be.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/paths.rs"]
mod paths;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use hickory_proto::op::{Message, MessageType};
use podzone::answer::edns::Terms;
use podzone::answer::{Block, Client, Rcode, Responder, Transport};
use podzone::model::{
    Endpoint, EndpointAddress, EndpointPort, EndpointSlice, Event, Filter, Kind, Labels, Namespace, Object, ObjectKey,
    PodNames, Service, ServiceKind, ServicePort,
};
use podzone::zone::{Name, Pods, Publisher, View, ViewOptions};
use proptest::prelude::*;
use proptest::sample::select;

const BUFSIZE: u16 = 1000;
const TC: u16 = 0x0200;

// ---- what is asked --------------------------------------------------------------------------------------------------

fn service(name: &str, kind: ServiceKind) -> Event {
    let ports = [ServicePort { name: "http".into(), protocol: "TCP".into(), port: 80 }].into();
    Event::Apply(Object::Service(Service {
        key: ObjectKey::new("a", name),
        labels: Labels::new(),
        kind,
        ports,
        has_selector: true,
        settings: None,
    }))
}

/// A slice of so many endpoints, each with an address of one family.
fn slice(service: &str, count: u16) -> Event {
    let endpoint = |number: u16| {
        let address = match number % 2 {
            0 => IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + u32::from(number))),
            _ => IpAddr::V6(Ipv6Addr::from((0xfd00_u128 << 112) + u128::from(number))),
        };
        Endpoint {
            addresses: vec![EndpointAddress::Ip(address)],
            hostname: number.is_multiple_of(3).then(|| format!("host-{number}").into()),
            target_name: None,
            ready: None,
            serving: None,
            terminating: None,
            zone: Some(if number.is_multiple_of(2) { "even" } else { "Odd.x" }.into()),
        }
    };
    let ports = [EndpointPort { name: "http".into(), protocol: "TCP".into(), port: Some(80) }].into();
    Event::Apply(Object::EndpointSlice(EndpointSlice {
        key: ObjectKey::new("a", format!("{service}-1")),
        labels: Labels::new(),
        service: Some(service.into()),
        import: None,
        endpoints: (0..count).map(endpoint).collect(),
        ports,
    }))
}

/// Blocks of all sorts: two views of one cluster, one with `bufsize`; one that serves nothing; a root that has no view.
fn responder(endpoints: u16) -> Responder {
    responder_in("cluster.local", endpoints)
}

/// The same with another primary zone.
fn responder_in(primary: &str, endpoints: u16) -> Responder {
    let view = |zones: &[&str]| {
        let zones: Vec<Name> = zones.iter().map(|zone| Name::parse(zone).unwrap()).collect();
        let options = ViewOptions {
            endpoint_pod_names: vec![PodNames::default()],
            zonal: true,
            pods: Pods::Insecure,
            local_addresses: vec!["192.0.2.1".parse().unwrap(), "fd00::53".parse().unwrap()],
            ..ViewOptions::new(zones).unwrap()
        };
        Arc::new(View::new(options, 1))
    };
    let views = [view(&[primary, "second.example", "in-addr.arpa", "ip6.arpa"]), view(&["small.example"])];
    let filters = views.iter().map(|view| (Arc::clone(view), Filter::default())).collect();
    let mut publisher = Publisher::new(filters, vec![Kind::Service]);
    let external = |name: &str| ServiceKind::ExternalName(name.into());
    let namespace = Namespace { name: "a".into(), labels: Labels::new() };
    let events = [
        Event::Apply(Object::Namespace(namespace)),
        Event::Begin(Kind::Service),
        service("web", ServiceKind::ClusterIp(vec!["10.96.0.1".parse().unwrap(), "fd00:96::1".parse().unwrap()])),
        service("beam", ServiceKind::Headless),
        service("few", ServiceKind::Headless),
        service("out", external("www.example.com")),
        service("in", external("beam.a.svc.cluster.local")),
        Event::End(Kind::Service),
        slice("beam", endpoints),
        slice("few", 2),
    ];
    events.into_iter().for_each(|event| publisher.handle(event));
    publisher.publish();
    let block = |view: Option<&Arc<View>>, bufsize, handles| {
        Arc::new(Block { view: view.cloned(), bufsize, handles, ..Block::default() })
    };
    let whole = block(Some(&views[0]), None, true);
    let small = Arc::new(Block {
        view: views.get(1).cloned(),
        bufsize: Some(BUFSIZE),
        minimal: true,
        handles: true,
        ..Block::default()
    });
    Responder::new([
        (Name::parse(primary).unwrap(), Arc::clone(&whole)),
        (Name::parse("second.example").unwrap(), Arc::clone(&whole)),
        (Name::parse("in-addr.arpa").unwrap(), Arc::clone(&whole)),
        (Name::parse("ip6.arpa").unwrap(), whole),
        (Name::parse("small.example").unwrap(), small),
        (Name::parse("refused.example").unwrap(), block(None, None, false)),
        (Name::parse(".").unwrap(), block(None, None, true)),
    ])
}

fn asked() -> &'static Responder {
    static RESPONDER: LazyLock<Responder> = LazyLock::new(|| responder(60));
    &RESPONDER
}

const NAMES: [&str; 30] = [
    "cluster.local",
    "_http._tcp.beam.a.svc.second.example",
    "web.a.svc.second.example",
    "few.a.svc.second.example",
    "svc.cluster.local",
    "a.svc.cluster.local",
    "b.svc.cluster.local",
    "web.a.svc.cluster.local",
    "_http._tcp.web.a.svc.cluster.local",
    "beam.a.svc.cluster.local",
    "_http._tcp.beam.a.svc.cluster.local",
    "_._.beam.a.svc.cluster.local",
    "host-3.beam.a.svc.cluster.local",
    "even.pin._zone.beam.a.svc.cluster.local",
    "odd.x.prefer._zone.beam.a.svc.cluster.local",
    "none.pin._zone.beam.a.svc.cluster.local",
    "few.a.svc.cluster.local",
    "out.a.svc.cluster.local",
    "in.a.svc.cluster.local",
    "nobody.a.svc.cluster.local",
    "10-0-0-1.a.pod.cluster.local",
    "ns.dns.cluster.local",
    "dns-version.cluster.local",
    "1.0.96.10.in-addr.arpa",
    "2.0.0.10.in-addr.arpa",
    "9.9.9.9.in-addr.arpa",
    "beam.a.svc.small.example",
    "nobody.a.svc.small.example",
    "a.refused.example",
    "example.com",
];

#[derive(Clone, Debug)]
struct Query {
    bytes: Vec<u8>,
}

/// A name's wire form, some letters in upper case.
fn wire(name: &str, upper: u64) -> Vec<u8> {
    let mut wire = Name::parse(name).unwrap().as_wire().to_vec();
    for (at, octet) in wire.iter_mut().enumerate().filter(|(_, octet)| octet.is_ascii_lowercase()) {
        if upper >> (at % 64) & 1 == 1 {
            octet.make_ascii_uppercase();
        }
    }
    wire
}

fn question() -> impl Strategy<Value = Vec<u8>> {
    let known = (select(&NAMES[..]), select(&[0, 0, u64::MAX, 0x5a5a_a5a5_1234_4321][..]))
        .prop_map(|(name, upper)| wire(name, upper));
    let strange = proptest::collection::vec(any::<u8>(), 1..60)
        .prop_map(|label| [&[label.len() as u8][..], &label, &wire("a.svc.cluster.local", 0)].concat());
    // The longest names that there are.
    let long = (55..=57_u8).prop_map(|last| {
        let label = |length: u8| [vec![length], vec![b'x'; length.into()]].concat();
        [label(63), label(63), label(63), label(last - 8 - 2), wire("a.small.example", 0)[..].to_vec()].concat()
    });
    let rtype = prop_oneof![
        9 => select(&[1_u16, 2, 5, 6, 12, 15, 16, 28, 33, 33, 41, 43, 65, 251, 252, 255][..]),
        1 => any::<u16>(),
    ];
    let class = prop_oneof![9 => Just(1_u16), 1 => select(&[0_u16, 3, 254, 255][..])];
    (prop_oneof![8 => known, 1 => strange, 1 => long], rtype, class)
        .prop_map(|(name, rtype, class)| [name, rtype.to_be_bytes().to_vec(), class.to_be_bytes().to_vec()].concat())
}

/// An OPT record with this payload size.
fn opt(payload: u16, version: u8, dnssec_ok: bool, options: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let options: Vec<u8> = options
        .iter()
        .flat_map(|(code, data)| [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat())
        .collect();
    let [high, low] = payload.to_be_bytes();
    let fixed = [0, 0, 41, high, low, 0, version, u8::from(dnssec_ok) << 7, 0];
    [&fixed[..], &(options.len() as u16).to_be_bytes(), &options].concat()
}

fn edns() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![select(&[0_u16, 512, 1000, 1232, 4096, 65_535][..]), any::<u16>()];
    let data = proptest::collection::vec(any::<u8>(), 0..40);
    let options = proptest::collection::vec((select(&[3_u16, 8, 9, 10, 11, 12, 65_001][..]), data), 0..3);
    let version = select(&[0_u8, 0, 0, 0, 1, 255][..]);
    (payload, version, any::<bool>(), options)
        .prop_map(|(payload, version, dnssec_ok, options)| opt(payload, version, dnssec_ok, &options))
}

fn query() -> impl Strategy<Value = Query> {
    let flags = prop_oneof![
        4 => Just(0x0100_u16),
        // Any bits but QR, and a QUERY or NOTIFY.
        1 => (any::<u16>(), any::<bool>()).prop_map(|(bits, notify)| bits & 0x07ff | u16::from(notify) << 13),
    ];
    (any::<u16>(), flags, question(), proptest::option::of(edns())).prop_map(|(id, flags, question, edns)| {
        let counts = [0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
        let head = [&id.to_be_bytes()[..], &flags.to_be_bytes(), &counts].concat();
        Query { bytes: [head, question, edns.unwrap_or_default()].concat() }
    })
}

/// A query, some octets of which are others, more or fewer.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<proptest::sample::Index>(), any::<u8>(), 0..4_u8);
    (query(), proptest::collection::vec(change, 1..6)).prop_map(|(query, changes)| {
        let mut bytes = query.bytes;
        for (at, octet, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 | 1 => bytes[at] = octet,
                2 => bytes.insert(at, octet),
                _ => bytes.truncate(at.max(bytes.len().saturating_sub(20))),
            }
        }
        bytes
    })
}

// ---- what is answered -----------------------------------------------------------------------------------------------

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Answers, authority and additional records.
fn records(answer: &[u8]) -> usize {
    [6, 8, 10].iter().map(|at| usize::from(word(answer, *at))).sum()
}

/// Asks over both transports and checks what holds of any answer; `None` is silence.
fn check(responder: &Responder, query: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    // What stood in the buffer before is of no matter.
    let (mut udp, mut tcp) = (vec![0xff; 30], Vec::new());
    let over_udp = responder.respond(query, Client::unknown(Transport::Udp), &mut udp).answered();
    let over_tcp = responder.respond(query, Client::unknown(Transport::Tcp), &mut tcp).answered();
    assert_eq!(over_udp.is_some(), over_tcp.is_some(), "answered over one transport only");
    let answered = over_udp?;
    let (rcode, flags) = over_tcp.map(|answered| (answered.rcode, answered.flags)).unwrap();
    assert_eq!(answered.rcode, rcode, "response codes");

    for (answer, flags) in [(&udp, answered.flags), (&tcp, flags)] {
        assert_eq!(answer[..2], query[..2], "the ID");
        let message = Message::from_vec(answer).unwrap_or_else(|error| panic!("{error}: {answer:02x?}"));
        assert_eq!(message.metadata.message_type, MessageType::Response);
        assert_eq!(word(answer, 2), flags, "what is logged is what was sent");
        if let Some(question) = &answered.query.question {
            let raw = question.raw;
            assert_eq!((word(answer, 4), &answer[12..12 + raw.len()]), (1, raw), "the question");
        }
        assert_eq!(message.edns.is_some(), word(answer, 10) > 0 && answered.query.edns.is_some(), "EDNS in kind");
    }

    // The records over UDP are the first of those over TCP.
    let opt = answered.query.edns.map_or(0, |edns| edns.reply_octets(Terms::default()));
    let whole = matches!(rcode, Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS);
    let kept = &udp[12..udp.len() - if whole { 0 } else { opt }];
    assert_eq!(kept, &tcp[12..12 + kept.len()], "other records over UDP");
    if !whole {
        let left_out = records(&udp) < records(&tcp);
        assert_eq!(word(&udp, 2) & TC != 0, left_out || word(&tcp, 2) & TC != 0, "TC means that something is missing");
    }
    if records(&udp) == records(&tcp) {
        assert_eq!(udp, tcp, "the answers differ though all of it fits");
    }
    let limit = answered.query.edns.map_or(512, |edns| edns.payload_octets.max(512)).into();
    // Options that are given back are not left out; they are fewer octets than the query's own.
    assert!(udp.len() <= limit || records(&udp) <= 1 && udp.len() <= query.len(), "{} bytes of {limit}", udp.len());
    Some((udp, tcp))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_query_is_answered_alike_over_udp_and_tcp(query in query()) {
        prop_assert!(check(asked(), &query.bytes).is_some(), "a query was passed over");
    }

    #[test]
    fn what_is_prepared_is_what_would_be_composed(query in query()) {
        paths::agree(asked(), &query.bytes);
    }

    #[test]
    fn what_resembles_a_query_does_no_harm(query in mangled()) {
        check(asked(), &query);
        paths::agree(asked(), &query);
    }

    #[test]
    fn any_octets_do_no_harm(packet in proptest::collection::vec(any::<u8>(), 0..120)) {
        check(asked(), &packet);
        // Most are not even headers; with one of a query they get further.
        let header = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        check(asked(), &[&header[..], &packet].concat());
    }

    #[test]
    fn a_response_is_never_answered(query in query()) {
        let mut bytes = query.bytes;
        bytes[2] |= 0x80;
        prop_assert!(check(asked(), &bytes).is_none());
    }

    #[test]
    fn with_room_enough_udp_is_tcp(question in question(), options in proptest::collection::vec(any::<u8>(), 0..40)) {
        let head = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        let bytes = [&head[..], &question, &opt(65_535, 0, false, &[(10, options)])].concat();
        let (udp, tcp) = check(asked(), &bytes).unwrap();
        // `bufsize` lowers what the client offers.
        if udp.len() < usize::from(BUFSIZE) - 100 || !question.windows(5).any(|five| five.eq_ignore_ascii_case(b"small")) {
            prop_assert_eq!(udp, tcp);
        }
    }
}

/// Header, question and OPT record of a query in lower case.
fn plain(name: &str, rtype: u16, payload: u16) -> Vec<u8> {
    let head = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    [&head[..], &wire(name, 0), &rtype.to_be_bytes(), &[0, 1], &opt(payload, 0, false, &[])].concat()
}

#[test]
fn bufsize_is_the_most_over_udp() {
    for payload in [512, 999, 1000, 1001, 4096, 65_535] {
        let (udp, tcp) = check(asked(), &plain("beam.a.svc.small.example", 33, payload)).unwrap();
        let limit = payload.clamp(512, BUFSIZE).into();
        assert!(udp.len() <= limit && udp.len() > limit - 100, "{} bytes of {limit}", udp.len());
        assert!(word(&udp, 2) & TC != 0 && word(&tcp, 2) & TC == 0);
    }
}

#[test]
fn every_limit_is_kept_and_used() {
    for rtype in [1, 28, 33] {
        let (_, tcp) = check(asked(), &plain("beam.a.svc.cluster.local", rtype, 65_535)).unwrap();
        for payload in 512..=u16::try_from(tcp.len()).unwrap() + 1 {
            let (udp, _) = check(asked(), &plain("beam.a.svc.cluster.local", rtype, payload)).unwrap();
            assert!(udp.len() <= payload.into(), "{} bytes of {payload}", udp.len());
            // The OPT record's payload size is all that differs.
            assert_eq!(udp.len() == tcp.len(), tcp.len() <= payload.into(), "{} bytes of {payload}", tcp.len());
        }
    }
}

/// More than a message can hold is cut over TCP too, which says so. Over UDP the end comes sooner, whatever a client offers:
/// no datagram over IPv4 holds more than 65,507 octets (RFC 768), and one that is longer cannot be sent at all.
#[test]
fn tcp_and_udp_are_cut_at_their_own_limits() {
    let responder = responder(3000);
    for rtype in [28, 33] {
        let (udp, tcp) = check(&responder, &plain("beam.a.svc.cluster.local", rtype, 65_535)).unwrap();
        let cut = rtype == 33;
        assert_eq!((word(&tcp, 2) & TC != 0, word(&udp, 2) & TC != 0), (cut, cut), "{} octets", tcp.len());
        for (octets, limit) in [(tcp.len(), 65_535), (udp.len(), 65_507)] {
            assert!(octets <= limit && (!cut || octets > limit - 100), "{octets} octets of {limit}");
        }
    }
}

#[test]
fn an_address_points_to_no_name_that_is_too_long() {
    let label = |octets| "z".repeat(octets);
    let zone = [63, 63, 63, 50].map(label).join(".");
    let responder = responder_in(&zone, 6);
    for (address, answers) in [("1.0.96.10.in-addr.arpa", 1), ("0.0.0.10.in-addr.arpa", 0)] {
        let header = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let query = [&header[..], Name::parse(address).unwrap().as_wire(), &[0, 12, 0, 1]].concat();
        assert!(paths::agree(&responder, &query), "{address} is not prepared");
        let (_, tcp) = check(&responder, &query).unwrap();
        assert_eq!(word(&tcp, 6), answers, "{address}");
    }
}
