//! Directives whose answers depend on who asks, or on the host: CoreDNS is asked the same beside podzone.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use support::dns::{self, A, ANY, Edns, Message, NOERROR, Query, REFUSED, SRV, TXT, Tcp};
use support::process::Scratch;
use support::server::{Program, Server};

const PATIENCE: Duration = Duration::from_secs(5);
const CH: u16 = 3;
const NSID: u16 = 3;

/// What a Corefile's server answers; both programs are asked.
fn both(corefile: &str) -> [Server; 2] {
    [Program::CoreDns, Program::Podzone].map(|program| program.start(corefile))
}

/// Asks over UDP from a socket, whose port shows in the answer.
fn ask_from(socket: &UdpSocket, server: &Server, query: &Query) -> Message {
    socket.send_to(&query.to_bytes(), server.addr()).unwrap();
    let mut answer = [0; 4096];
    let (octets, _) = socket.recv_from(&mut answer).unwrap();
    Message::decode(&answer[..octets]).unwrap()
}

/// An answer without what differs from one query to the next.
fn essence(mut message: Message) -> Message {
    message.id = 0;
    message.size = 0;
    for section in [&mut message.answers, &mut message.authorities, &mut message.additionals] {
        section.sort();
    }
    message
}

#[test]
fn whoami_tells_the_client_its_address_port_and_transport() {
    let servers = both(".:{port} {\n bind 127.0.0.1\n whoami\n}\n");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let queries = [
        Query::new("Example.org", A),
        Query::new("example.org", SRV).payload(1232),
        Query::new(".", TXT),
        Query::new("example.org", A).class(CH),
    ];
    for query in queries {
        let [theirs, ours] = servers.each_ref().map(|server| essence(ask_from(&socket, server, &query)));
        assert_eq!(ours, theirs);
    }
    let answer = ask_from(&socket, &servers[1], &Query::new("example.org", A));
    let port = socket.local_addr().unwrap().port();
    let shown: Vec<String> = answer.additionals.iter().map(ToString::to_string).collect();
    let srv = format!("_udp.example.org. 0 IN SRV 0 0 {port} .");
    assert_eq!(shown, ["example.org. 0 IN A 127.0.0.1".to_owned(), srv]);
    let over_tcp = dns::ask_tcp(servers[1].addr(), &Query::new("example.org", A)).unwrap();
    assert!(over_tcp.additionals.iter().any(|record| record.owner == "_tcp.example.org."), "{over_tcp}");
}

#[test]
fn minimal_leaves_whoami_nothing_to_say() {
    let answers =
        both(".:{port} {\n bind 127.0.0.1\n minimal\n whoami\n}\n").map(|server| essence(server.ask("example.org", A)));
    assert_eq!(answers[0], answers[1]);
    assert!(answers[1].rcode == NOERROR && answers[1].additionals.is_empty());
}

#[test]
fn the_host_is_named_by_chaos_and_by_nsid() {
    let servers = both(".:{port} {\n bind 127.0.0.1\n chaos\n nsid\n whoami\n}\n");
    for name in ["hostname.bind", "id.server", "ID.Server"] {
        let query = Query::new(name, TXT).class(CH);
        let [theirs, ours] = servers.each_ref().map(|server| essence(dns::ask(server.addr(), &query).unwrap()));
        assert_eq!(ours, theirs);
        assert_eq!(ours.answers.len(), 1);
    }
    let nsid = Edns { payload: 1232, version: 0, dnssec_ok: false, options: vec![(NSID, Vec::new())] };
    let query = Query::new("example.org", TXT).edns(nsid);
    let [theirs, ours] = servers.each_ref().map(|server| dns::ask(server.addr(), &query).unwrap().opt.unwrap());
    assert_eq!(ours, theirs);
    let version = dns::ask(servers[1].addr(), &Query::new("version.bind", TXT).class(CH)).unwrap().data_of(TXT);
    assert_eq!(version, [concat!("\"podzone-", env!("CARGO_PKG_VERSION"), "\"")]);
}

#[test]
fn acl_drops_without_a_word_and_counts_each_client_by_itself() {
    let corefile = ".:{port} {\n bind 127.0.0.1\n acl {\n drop type ANY net 127.0.0.1\n block net 127.0.0.2\n \
                    filter net 127.0.0.3/32\n }\n whoami\n}\n";
    let servers = both(corefile);
    for server in &servers {
        let dropped =
            dns::udp_within(server.addr(), &Query::new("a.example", ANY).to_bytes(), Duration::from_millis(300));
        assert!(dropped.is_err(), "{dropped:?}");
    }
    for (last, rcode) in [(1, NOERROR), (2, REFUSED), (3, NOERROR), (4, NOERROR)] {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let query = Query::new("a.example", A);
        let [theirs, ours] = servers.each_ref().map(|server| essence(ask_from(&socket, server, &query)));
        assert_eq!(ours, theirs);
        assert_eq!(ours.rcode, rcode);
    }
}

#[test]
fn a_connection_ends_after_as_many_queries_as_timeouts_say() {
    let corefile = ".:{port} {\n bind 127.0.0.1\n timeouts {\n maxtcpqueries 3\n idle 1s\n }\n whoami\n}\n";
    for server in both(corefile) {
        let mut connection = Tcp::connect(server.addr(), PATIENCE).unwrap();
        let query = Query::new("example.org", A).to_bytes();
        for _ in 0..3 {
            connection.send(&query).unwrap();
            connection.receive().unwrap();
        }
        let _ = connection.send(&query);
        assert!(connection.receive().is_err(), "{:?} answered a fourth query", server.program);

        // Another one rests, and is closed after a second, not ten.
        let mut connection = Tcp::connect(server.addr(), PATIENCE).unwrap();
        connection.send(&query).unwrap();
        connection.receive().unwrap();
        let begun = Instant::now();
        assert!(connection.receive().is_err());
        assert!(begun.elapsed() < PATIENCE, "{:?} kept a resting connection", server.program);
    }
}

#[test]
fn cancel_ends_the_wait_for_an_upstream_that_does_not_answer() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let upstream: SocketAddr = silent.local_addr().unwrap();
    let corefile = format!(".:{{port}} {{\n bind 127.0.0.1\n cancel 200ms\n forward . {upstream}\n}}\n");
    let server = Program::Podzone.start(&corefile);
    let begun = Instant::now();
    let answer = dns::udp_within(server.addr(), &Query::new("example.org", A).to_bytes(), PATIENCE).unwrap();
    assert_eq!(Message::decode(&answer).unwrap().rcode, dns::SERVFAIL);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn debug_writes_debug_lines_and_others_do_not() {
    let log_of = |debug: &str| {
        let scratch = Scratch::new();
        let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: shop, name: passed-over}\n";
        std::fs::write(scratch.path().join("objects.yaml"), manifest).unwrap();
        let folder = scratch.path().display();
        let mut server = Program::Podzone.start(&format!(
            "cluster.local:{{port}} {{\n bind 127.0.0.1\n {debug}\n kubernetes {{\n manifests {folder}\n }}\n}}\n"
        ));
        server.stop();
        server.log()
    };
    assert!(log_of("debug").contains("[DEBUG]"), "{}", log_of("debug"));
    assert!(!log_of("errors").contains("[DEBUG]"));
}
