//! Questions for transfers that are cut, changed or made up: each gets a sound answer, or none, and no panic.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use podzone::answer::{Block, Client, Outcome, Required, Responder, Signing, Transport};
use podzone::model::{Event, Filter, Kind, Labels, Namespace, Object, ObjectKey, PodNames, Service, ServiceKind};
use podzone::transfer::{Allowed, Begun, Counters, Served, Stanza, Transfers, Versions};
use podzone::tsig::{Algorithm, Key, Keyring, Signer};
use podzone::zone::{Name, Publisher, View, ViewOptions};
use proptest::prelude::*;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NOW: u64 = 1_700_000_000;
const NAMES: u8 = 200;

struct Server {
    responder: Responder,
    transfers: Transfers,
    /// The serials that there were.
    serials: Vec<u32>,
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn key() -> Key {
    Key::new(name("k.key"), Algorithm::Sha256, b"a secret".to_vec())
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let options = ViewOptions {
        endpoint_pod_names: vec![PodNames::default()],
        local_addresses: vec![Ipv4Addr::new(192, 0, 2, 1).into()],
        ..ViewOptions::new(vec![name("k"), name("10.in-addr.arpa")]).unwrap()
    };
    let view = Arc::new(View::new(options, 1));
    let versions = Arc::new(Versions::default());
    let mut publisher = Publisher::new(vec![(Arc::clone(&view), Filter::default())], vec![Kind::Service]);
    let (follower, followed) = (Arc::clone(&versions), Arc::clone(&view));
    publisher.follow_cuts(0, Box::new(move |cut| follower.cut(followed.options(), cut)));
    let service = |number: u8, last: u8| {
        let kind = ServiceKind::ClusterIp(vec![Ipv4Addr::new(10, 0, number, last).into()]);
        let key = ObjectKey::new("a", format!("s{number}"));
        Event::Apply(Object::Service(Service {
            key,
            labels: Labels::new(),
            kind,
            ports: [].into(),
            has_selector: true,
            settings: None,
        }))
    };
    let begin = [
        Event::Apply(Object::Namespace(Namespace { name: "a".into(), labels: Labels::new() })),
        Event::Begin(Kind::Service),
    ];
    let services = (0..NAMES).map(|number| service(number, 1)).chain([Event::End(Kind::Service)]);
    begin.into_iter().chain(services).for_each(|event| publisher.handle(event));
    let mut now = Instant::now();
    publisher.publish_at(now);
    let mut serials = vec![view.current().serial()];
    for number in 0..5 {
        publisher.handle(service(number, 2));
        now += Duration::from_secs(1);
        publisher.publish_at(now);
        serials.push(view.current().serial());
    }
    let signing = Signing { zones: vec![name("k")], types: Required::default(), opcodes: Required::default() };
    let transfers = vec![name(".")];
    let block =
        Block { view: Some(Arc::clone(&view)), signing: Some(signing), transfers, handles: true, ..Block::default() };
    let block = Arc::new(block);
    let zones = view.options().zones.iter().map(|zone| (zone.clone(), Arc::clone(&block)));
    let keys: Keyring = [key()].into_iter().collect();
    let stanzas = vec![Stanza { zones: vec![name(".")], allowed: Allowed::All }];
    let served = Served { view: Arc::clone(&view), versions, stanzas, counters: Arc::new(Counters::default()) };
    Server {
        responder: Responder::new(zones.collect::<Vec<_>>()).with_keys(keys),
        transfers: Transfers(HashMap::from([(0, vec![served])])),
        serials,
    }
});

fn query(zone: &[u8], qtype: u16, serial: Option<u32>, edns: Option<u16>) -> Vec<u8> {
    let counts = [0, 1, 0, 0, 0, u8::from(serial.is_some()), 0, u8::from(edns.is_some())];
    let mut query = [&[0x12, 0x34, 0, 0][..], &counts, zone, &qtype.to_be_bytes(), &[0, 1]].concat();
    if let Some(serial) = serial {
        query.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0]);
        query.extend(serial.to_be_bytes());
        query.extend([0; 16]);
    }
    if let Some(payload) = edns {
        query.extend([0, 0, 41]);
        query.extend(payload.to_be_bytes());
        query.extend([0; 6]);
    }
    query
}

/// All messages that a packet gets.
fn ask(packet: &[u8], transport: Transport) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    match SERVER.responder.respond(packet, Client::unknown(transport), &mut out) {
        Outcome::Ignored | Outcome::Dropped(_) | Outcome::Deferred(_) => Vec::new(),
        Outcome::Answered(_) | Outcome::Refreshing(..) => vec![out],
        Outcome::Transfer(mut asked) => {
            match SERVER.transfers.begin(&mut asked, CLIENT, transport, &mut out, podzone::tsig::now()) {
                Begun::Answered { .. } => vec![out],
                Begun::Stream(mut stream) => {
                    assert_eq!(transport, Transport::Tcp);
                    let mut messages = Vec::new();
                    while stream.next(&mut out, NOW) {
                        messages.push(out.clone());
                    }
                    messages
                }
            }
        }
    }
}

fn check(packet: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        let messages = ask(packet, transport);
        for message in &messages {
            assert!(message.len() <= 16_384 && message[..2] == packet[..2]);
            Message::from_vec(message).unwrap_or_else(|error| panic!("{error}: {message:02x?}"));
        }
        assert!(transport == Transport::Tcp || messages.len() <= 1);
    }
}

fn zone() -> impl Strategy<Value = Vec<u8>> {
    let zones = [&b"\x01k\0"[..], b"\x01K\0", b"\x0210\x07in-addr\x04arpa\0", b"\x03svc\x01k\0", b"\x01x\0", b"\0"];
    prop::sample::select(zones.map(<[u8]>::to_vec).to_vec())
}

fn serial() -> impl Strategy<Value = Option<u32>> {
    let known = any::<prop::sample::Index>().prop_map(|index| Some(SERVER.serials[index.index(SERVER.serials.len())]));
    prop_oneof![3 => known, 1 => any::<u32>().prop_map(Some), 1 => Just(None)]
}

proptest! {
    #[test]
    fn whatever_is_asked_gets_a_sound_answer(
        zone in zone(),
        qtype in prop::sample::select(vec![251_u16, 252, 6]),
        serial in serial(),
        edns in prop::option::of(prop::sample::select(vec![0_u16, 512, 1232, 4096])),
        is_signed in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut packet = query(&zone, qtype, serial, edns);
        if is_signed {
            Signer::new(&Arc::new(key())).sign(&mut packet, podzone::tsig::now());
        }
        for (at, octet) in changes {
            let at = at.index(packet.len());
            packet[at] = octet;
        }
        if let Some(cut) = cut {
            packet.truncate(cut.index(packet.len()));
        }
        if packet.len() >= 2 {
            check(&packet);
        }
    }
}

#[test]
fn a_question_that_is_sound_gets_what_it_asks_for() {
    let answers = |zone: &[u8], qtype, serial, transport| {
        let messages = ask(&query(zone, qtype, serial, None), transport);
        messages.iter().map(|message| Message::from_vec(message).unwrap().answers.len()).sum::<usize>()
    };
    let [first, .., last] = SERVER.serials[..] else { panic!("serials") };
    let zone = b"\x01k\0";
    // Each name, its servers, the schema's version, and the SOA twice.
    let whole = usize::from(NAMES) + 5;
    assert_eq!(answers(zone, 252, None, Transport::Tcp), whole);
    assert_eq!(answers(b"\x0210\x07in-addr\x04arpa\0", 252, None, Transport::Tcp), whole);
    assert_eq!(answers(zone, 251, Some(first), Transport::Tcp), 2 + 5 * 4);
    assert_eq!(answers(zone, 251, Some(last), Transport::Tcp), 1);
    assert_eq!(answers(zone, 251, Some(last - 1), Transport::Udp), 2 + 4);
    assert_eq!(answers(zone, 251, Some(7), Transport::Tcp), whole);
    assert_eq!(answers(zone, 251, Some(7), Transport::Udp), 1);
}
