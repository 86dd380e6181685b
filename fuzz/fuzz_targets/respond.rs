//! Any packet as a query, over both transports: see [`check`] for what holds of the answers.

#![no_main]

#[path = "../../tests/support/paths.rs"]
mod paths;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use hickory_proto::op::{Message, MessageType};
use libfuzzer_sys::fuzz_target;
use podzone::answer::{Action, Ahead, Block, Chaos, Client, Local, Network, Policy, Responder, Rule, Transport};
use podzone::model::{
    Endpoint, EndpointAddress, EndpointPort, EndpointSlice, Event, Filter, Kind, Labels, Namespace, Object, ObjectKey,
    PodNames, Service, ServiceKind, ServicePort,
};
use podzone::zone::{Name, Pods, Publisher, View, ViewOptions};

/// Octets of a UDP answer to a client without EDNS, and the least that EDNS can offer (RFC 6891 section 6.2.3).
const PAYLOAD_MIN: usize = 512;
const TC: u8 = 0x02;

/// An answer, and what the client said that it takes.
struct Answer {
    octets: Vec<u8>,
    limit: usize,
}

static RESPONDER: LazyLock<Responder> = LazyLock::new(responder);

fn answer(packet: &[u8], transport: Transport) -> Option<Answer> {
    // What an earlier answer left must not show.
    let mut octets = vec![0xaa; 700];
    let answered = RESPONDER.respond(packet, Client::unknown(transport), &mut octets).answered()?;
    let limit = match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => answered.query.edns.map_or(PAYLOAD_MIN, |edns| PAYLOAD_MIN.max(edns.payload_octets.into())),
    };
    Some(Answer { octets, limit })
}

fuzz_target!(|packet: &[u8]| check(packet));

fn check(packet: &[u8]) {
    paths::agree(&RESPONDER, packet);
    let (udp, tcp) = match (answer(packet, Transport::Udp), answer(packet, Transport::Tcp)) {
        (None, None) => return,
        (Some(udp), Some(tcp)) => (udp, tcp),
        (udp, tcp) => panic!("answered over one transport only: UDP {}, TCP {}", udp.is_some(), tcp.is_some()),
    };
    for answer in [&udp, &tcp] {
        let octets = &answer.octets;
        assert_eq!(octets[..2], packet[..2], "the ID");
        let message = Message::from_vec(octets).expect("a message");
        assert_eq!(message.metadata.message_type, MessageType::Response);
        // A question, and options that are given back, are not left out: an answer without records may be as long as
        // its query.
        let empty = octets[6..10] == [0; 4] && octets[10..12] <= [0, 1][..];
        assert!(octets.len() <= answer.limit || empty && octets.len() <= packet.len(), "{} octets", octets.len());
    }
    if udp.octets[2] & TC == 0 {
        assert_eq!(udp.octets, tcp.octets, "not cut, and yet another answer");
    }
}

/// All that is answered ahead of zones, and what changes answers.
fn everything() -> Block {
    let chaos = Chaos { version: "1".into(), authors: vec!["a".repeat(255); 4], host: "h".into() };
    let network = Network::new([10, 0, 0, 0].into(), 8).into_iter().collect();
    let policy = |action, qtype| Policy { action, types: Some(vec![qtype]), networks: None };
    let elsewhere = Policy { action: Action::Drop, types: None, networks: Some(network) };
    let policies = vec![elsewhere, policy(Action::Block, 1), policy(Action::Filter, 28), policy(Action::Drop, 16)];
    let acl = vec![Rule { zones: vec![Name::parse(".").expect("a name")], policies }];
    let ahead = Ahead { local: Some(Local { prefix: true }), any: true, chaos: Some(chaos), acl };
    Block {
        nsid: Some(b"fuzz"[..].into()),
        minimal: true,
        ahead: Some(Box::new(ahead)),
        handles: true,
        ..Block::default()
    }
}

fn service(name: &str, kind: ServiceKind) -> Event {
    let ports = [ServicePort { name: "http".into(), protocol: "TCP".into(), port: 80 }].into();
    let (key, labels) = (ObjectKey::new("a", name), Labels::new());
    Event::Apply(Object::Service(Service { key, labels, kind, ports, has_selector: true, settings: None }))
}

fn slice(service: &str, count: u16) -> Event {
    let endpoint = |number: u16| Endpoint {
        addresses: vec![EndpointAddress::Ip(match number % 2 {
            0 => IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + u32::from(number))),
            _ => IpAddr::V6(Ipv6Addr::from((0xfd00_u128 << 112) + u128::from(number))),
        })],
        hostname: number.is_multiple_of(3).then(|| format!("h{number}").into()),
        target_name: None,
        ready: None,
        serving: None,
        terminating: None,
        zone: Some("z".into()),
    };
    Event::Apply(Object::EndpointSlice(EndpointSlice {
        key: ObjectKey::new("a", format!("{service}-1")),
        labels: Labels::new(),
        service: Some(service.into()),
        import: None,
        endpoints: (0..count).map(endpoint).collect(),
        ports: [EndpointPort { name: "http".into(), protocol: "TCP".into(), port: Some(80) }].into(),
    }))
}

/// Short names, which a fuzzer finds: two zones of one cluster, one with `bufsize`, and what is refused.
fn responder() -> Responder {
    let name = |text: &str| Name::parse(text).expect("a name");
    let view = |zones: &[&str]| {
        let zones: Vec<Name> = zones.iter().map(|zone| name(zone)).collect();
        Arc::new(View::new(
            ViewOptions {
                endpoint_pod_names: vec![PodNames::default()],
                zonal: true,
                pods: Pods::Insecure,
                local_addresses: vec![Ipv4Addr::new(192, 0, 2, 1).into()],
                ..ViewOptions::new(zones).expect("zones")
            },
            1,
        ))
    };
    let views = [view(&["k", "in-addr.arpa", "ip6.arpa"]), view(&["s"])];
    let filters = views.iter().map(|view| (Arc::clone(view), Filter::default())).collect();
    let mut publisher = Publisher::new(filters, vec![Kind::Service]);
    let cluster_ips = vec![Ipv4Addr::new(10, 96, 0, 1).into(), Ipv6Addr::new(0xfd, 0, 0, 0, 0, 0, 0, 1).into()];
    for event in [
        Event::Apply(Object::Namespace(Namespace { name: "a".into(), labels: Labels::new() })),
        Event::Begin(Kind::Service),
        service("w", ServiceKind::ClusterIp(cluster_ips)),
        service("b", ServiceKind::Headless),
        service("o", ServiceKind::ExternalName("b.a.svc.k".into())),
        service("x", ServiceKind::ExternalName("x.example".into())),
        Event::End(Kind::Service),
        slice("b", 60),
    ] {
        publisher.handle(event);
    }
    publisher.publish();
    let block = |view: Option<&Arc<View>>, bufsize, handles| {
        Arc::new(Block { view: view.cloned(), bufsize, handles, ..Block::default() })
    };
    let whole = block(Some(&views[0]), None, true);
    Responder::new([
        (name("k"), Arc::clone(&whole)),
        (name("in-addr.arpa"), Arc::clone(&whole)),
        (name("ip6.arpa"), whole),
        (name("s"), block(Some(&views[1]), Some(1000), true)),
        (name("r"), block(None, None, false)),
        (name("."), Arc::new(everything())),
    ])
}
