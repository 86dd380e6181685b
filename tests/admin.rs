//! What is told over HTTP, and how the process ends.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use support::dns::{self, A, AAAA, MX, NOERROR, NS, NXDOMAIN, PTR, Query, SOA, SRV, TXT};
use support::exposition::{Samples, Series, added, lint, scrape, scrape_text};
use support::page::get;
use support::server::{Program, Server};
use support::wait_for;

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);
const NAME: &str = "kubernetes.default.svc.cluster.local.";

/// The sample cluster, with all endpoints.
fn sample(health: &str) -> String {
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/sample");
    format!(
        "cluster.local in-addr.arpa {{\n errors\n bufsize\n loadbalance\n multisocket 2\n \
         health 127.0.0.1:{{port:health}} {{\n {health}\n }}\n \
         ready 127.0.0.1:{{port:ready}}\n prometheus 127.0.0.1:{{port:metrics}}\n \
         kubernetes cluster.local in-addr.arpa {{\n  manifests {manifests}\n }}\n}}\n\
         example.org {{\n ready 127.0.0.1:{{port:ready}}\n prometheus 127.0.0.1:{{port:metrics}}\n}}\n\
         quiet.test {{\n errors\n}}\n"
    )
}

/// A cluster whose API server refuses, in words that CoreDNS takes too.
const UNREACHABLE: &str = "cluster.local in-addr.arpa {
    errors
    bufsize
    loadbalance
    multisocket 2
    health 127.0.0.1:{port:health}
    ready 127.0.0.1:{port:ready}
    prometheus 127.0.0.1:{port:metrics}
    kubernetes cluster.local in-addr.arpa {
        endpoint http://127.0.0.1:{port:nobody}
        startup_timeout 1s
    }
}
example.org {
    prometheus 127.0.0.1:{port:metrics}
}
";

fn ready(server: &Server) -> Option<(u16, String)> {
    get(server.addr_of("ready"), "/ready").map(|(status, _, body)| (status, body))
}

fn expected(rows: &[(&[&str], u32)]) -> BTreeMap<Vec<String>, f64> {
    rows.iter().map(|(key, count)| (key.iter().map(ToString::to_string).collect(), f64::from(*count))).collect()
}

fn send(addr: SocketAddr, name: &str, rtype: u16, times: u32) {
    for _ in 0..times {
        dns::ask(addr, &Query::new(name, rtype)).expect("an answer");
    }
}

#[test]
fn every_query_is_counted_once_and_under_its_labels() {
    let server = Program::Podzone.start(&sample(""));
    assert_eq!(ready(&server), Some((200, "OK".into())));
    let (addr, v6) = (server.addr(), SocketAddr::from((Ipv6Addr::LOCALHOST, server.addr().port())));
    let before = scrape(&server);

    send(addr, NAME, A, 200);
    send(addr, "KUBERNETES.default.svc.cluster.local.", AAAA, 40);
    send(v6, "never.default.svc.cluster.local.", SRV, 30);
    send(addr, "1.0.96.10.in-addr.arpa.", PTR, 20);
    send(addr, "cluster.local.", 65_400, 5);
    send(addr, "example.org.", MX, 4);
    send(addr, "quiet.test.", A, 3);
    send(v6, "elsewhere.test.", NS, 7);
    for _ in 0..10 {
        dns::ask_tcp(addr, &Query::new("cluster.local.", SOA)).expect("an answer");
        let edns = dns::Edns { dnssec_ok: true, ..dns::Edns::default() };
        dns::ask(addr, &Query::new(NAME, A).edns(edns)).expect("an answer");
    }
    // What CoreDNS answers before it counts.
    let edns = dns::Edns { version: 1, ..dns::Edns::default() };
    dns::ask(addr, &Query::new(NAME, A).edns(edns)).expect("BADVERS");
    dns::ask(addr, &Query::new(NAME, A).opcode(5)).expect("NOTIMP");

    let rows = expected(&[
        (&["cluster.local.", "udp", "1", "A"], 210),
        (&["cluster.local.", "udp", "1", "AAAA"], 40),
        (&["cluster.local.", "udp", "2", "SRV"], 30),
        (&["cluster.local.", "udp", "1", "other"], 5),
        (&["cluster.local.", "tcp", "1", "SOA"], 10),
        (&["in-addr.arpa.", "udp", "1", "PTR"], 20),
        (&["example.org.", "udp", "1", "MX"], 4),
        (&["dropped", "udp", "2", "NS"], 7),
    ]);
    // An answer is counted after it was sent.
    let after = wait_for("all are counted", PATIENCE, || {
        let after = scrape(&server);
        let counted = added(&before, &after, "coredns_dns_requests_total", &["zone", "proto", "family", "type"]);
        if counted == rows { Ok(after) } else { Err(format!("{counted:#?}")) }
    });
    assert_eq!(
        added(&before, &after, "coredns_dns_responses_total", &["zone", "rcode", "plugin"]),
        expected(&[
            (&["cluster.local.", "NOERROR", "kubernetes"], 265),
            (&["cluster.local.", "NXDOMAIN", "kubernetes"], 30),
            (&["in-addr.arpa.", "NOERROR", "kubernetes"], 20),
            (&["example.org.", "SERVFAIL", ""], 4),
            (&["dropped", "REFUSED", ""], 7),
        ])
    );
    let zones: [(&[&str], u32); 4] =
        [(&["cluster.local."], 295), (&["in-addr.arpa."], 20), (&["example.org."], 4), (&["dropped"], 7)];
    for name in ["request_duration_seconds", "request_size_bytes", "response_size_bytes"] {
        let name = format!("coredns_dns_{name}_count");
        assert_eq!(added(&before, &after, &name, &["zone"]), expected(&zones), "{name}");
    }
    let dnssec = added(&before, &after, "coredns_dns_do_requests_total", &["server", "view", "zone"]);
    assert_eq!(dnssec, expected(&[(&["dns://:PORT", "", "cluster.local."], 10)]));
    // 12 octets of header, 24 of name, 4 of type and class.
    let octets = added(&before, &after, "coredns_dns_request_size_bytes_sum", &["zone", "proto"]);
    assert_eq!(octets[&vec!["in-addr.arpa.".to_owned(), "udp".to_owned()]], f64::from(20 * 40));

    let value = |name: &str, key: &str, wanted: &str| {
        let found = after.iter().find(|((known, labels), _)| known == name && labels[key] == wanted);
        found.map_or(f64::NAN, |(_, value)| *value)
    };
    assert_eq!(value("podzone_synced", "zone", "cluster.local."), 1.0);
    assert!(value("podzone_services", "zone", "cluster.local.") > 3.0);
    assert!(value("podzone_objects", "kind", "EndpointSlice") > 3.0);
    assert_eq!(value("podzone_source_failing", "kind", "Service"), 0.0);
    assert!(value("podzone_source_last_heard_age_seconds", "kind", "Service") < 5.0);
    // Each is counted as made in one way; those that CoreDNS does not count, and those of a block without it, too.
    let went: f64 = added(&before, &after, "podzone_answers_total", &[]).values().sum();
    assert_eq!(went, f64::from(326 + 2 + 3));
    assert!(value("podzone_answers_total", "path", "prepared") >= 200.0);
    for (name, least) in [("podzone_endpoints", 5.0), ("podzone_names", 8.0), ("podzone_index_bytes", 1000.0)] {
        assert!(value(name, "zone", "cluster.local.") >= least, "{name}");
    }
    wait_for("it asks itself whether it lives", PATIENCE, || {
        let page = scrape(&server);
        let count = |name: &str| page[&(format!("coredns_health_request_{name}"), BTreeMap::new())];
        assert_eq!(count("failures_total"), 0.0);
        if count("duration_seconds_count") >= 2.0 { Ok(()) } else { Err("not yet twice".into()) }
    });
    lint(&scrape_text(&server));
}

/// The names of all series and, for each, the names of its labels; the bounds of buckets count.
fn shape(samples: &Samples) -> BTreeSet<String> {
    let of_series = |(name, labels): &Series| {
        let names: Vec<_> = labels.keys().map(String::as_str).collect();
        let bound = labels.get("le").map_or("", String::as_str);
        format!("{name}{{{}}} {bound}", names.join(","))
    };
    let shared = ["coredns_dns_", "coredns_build_info", "coredns_panics_total", "coredns_plugin_enabled"];
    let is_shared = |series: &&Series| shared.iter().any(|name| series.0.starts_with(name));
    samples.keys().filter(is_shared).map(of_series).collect()
}

#[test]
fn series_are_those_of_coredns() {
    let ask_all = |server: &Server| {
        let before = scrape(server);
        send(server.addr(), NAME, A, 3);
        send(server.addr(), "1.0.96.10.in-addr.arpa.", PTR, 2);
        send(server.addr(), "a.in-addr.arpa.", 65_400, 1);
        send(server.addr(), "example.org.", TXT, 1);
        send(server.addr(), "elsewhere.test.", NS, 1);
        let edns = dns::Edns { dnssec_ok: true, ..dns::Edns::default() };
        dns::ask_tcp(server.addr(), &Query::new("cluster.local.", SOA).edns(edns)).expect("an answer");
        dns::ask_tcp(server.addr(), &Query::new("cluster.local.", SOA).class(3)).expect("an answer");
        let after = wait_for("all are counted", PATIENCE, || {
            let after = scrape(server);
            let counted: f64 = added(&before, &after, "coredns_dns_requests_total", &[]).values().sum();
            if counted == 10.0 { Ok(after) } else { Err(format!("{counted}")) }
        });
        (before, after)
    };
    let (ours, theirs) = (Program::Podzone.start(UNREACHABLE), Program::CoreDns.start(UNREACHABLE));
    let (ours_before, ours_after) = ask_all(&ours);
    let (theirs_before, theirs_after) = ask_all(&theirs);

    assert_eq!(shape(&ours_after), shape(&theirs_after));
    for (name, labels) in [
        ("coredns_dns_requests_total", &["server", "zone", "view", "proto", "family", "type"][..]),
        // CoreDNS's plugin is always the one behind prometheus, whichever answers.
        ("coredns_dns_responses_total", &["server", "zone", "view", "rcode"]),
        ("coredns_dns_do_requests_total", &["server", "zone", "view"]),
        ("coredns_dns_request_size_bytes_count", &["server", "zone", "view", "proto"]),
        ("coredns_dns_request_size_bytes_sum", &["server", "zone", "view", "proto"]),
        ("coredns_dns_response_size_bytes_count", &["server", "zone", "view", "proto"]),
        ("coredns_dns_request_duration_seconds_count", &["server", "zone", "view"]),
    ] {
        let counted = added(&ours_before, &ours_after, name, labels);
        assert!(!counted.is_empty(), "{name}");
        assert_eq!(counted, added(&theirs_before, &theirs_after, name, labels), "{name}");
    }
    let none = BTreeMap::new();
    let enabled = |samples| added(&none, samples, "coredns_plugin_enabled", &["server", "zone", "view", "name"]);
    assert_eq!(enabled(&ours_after), enabled(&theirs_after));

    // Both say what is not ready, podzone why.
    let (status, body) = ready(&theirs).expect("ready");
    assert_eq!((status, body.as_str()), (503, "kubernetes"));
    let (status, body) = ready(&ours).expect("ready");
    let mut lines = body.lines();
    assert_eq!((status, lines.next()), (503, Some("kubernetes")), "{body}");
    let reasons: Vec<_> = lines.collect();
    let url = format!("http://{}", ours.addr_of("nobody"));
    assert_eq!(reasons.len(), 3, "{body}");
    for kind in ["Namespace", "Service", "EndpointSlice"] {
        let prefix = format!("{url}: {kind}: not listed for ");
        let reason = reasons.iter().find(|reason| reason.starts_with(&prefix)).expect(kind);
        assert!(reason.contains(", failing for ") && reason.contains("refused"), "{reason}");
    }
    for server in [&ours, &theirs] {
        let plain = "text/plain; charset=utf-8".to_owned();
        assert_eq!(get(server.addr_of("health"), "/health"), Some((200, plain.clone(), "OK".into())));
        assert_eq!(get(server.addr_of("health"), "/"), Some((404, plain, "404 page not found\n".into())));
    }
    lint(&scrape_text(&ours));
}

/// A server with a pid file.
fn start_with_pid_file(corefile: &str) -> Server {
    let mut server = Server::spawn(Program::Podzone, corefile, &["-pidfile", "pid"]);
    server.wait_until_it_answers();
    assert!(server.folder().join("pid").exists());
    server
}

/// The exit code, and how long it took.
fn end(server: &mut Server) -> (Option<i32>, Duration) {
    let begin = Instant::now();
    let status = wait_for("podzone ends", PATIENCE, || server.process().ended().ok_or_else(String::new));
    assert!(!server.folder().join("pid").exists(), "the pid file is gone");
    (status.code(), begin.elapsed())
}

fn is_ending(server: &Server) {
    let said = Some((503, "Shutting down".to_owned()));
    wait_for(
        "ready says so",
        SECOND,
        || if ready(server) == said { Ok(()) } else { Err(format!("{:?}", ready(server))) },
    );
}

#[test]
fn a_lame_duck_still_answers_and_then_ends() {
    let mut server = start_with_pid_file(&sample("lameduck 2s"));
    server.process().signal("HUP");
    server.process().signal("USR1");
    std::thread::sleep(SECOND / 5);
    assert_eq!(ready(&server), Some((200, "OK".into())), "still there");

    let begin = Instant::now();
    server.process().signal("TERM");
    is_ending(&server);
    while begin.elapsed() < SECOND * 3 / 2 {
        assert_eq!(server.ask(NAME, A).rcode, NOERROR);
        assert_eq!(dns::ask_tcp(server.addr(), &Query::new("never.cluster.local.", A)).unwrap().rcode, NXDOMAIN);
        assert_eq!(get(server.addr_of("health"), "/health").map(|(status, ..)| status), Some(200));
        assert_eq!(ready(&server).map(|(status, _)| status), Some(503));
    }
    // An idle connection does not hold it up.
    let mut idle = dns::Tcp::connect(server.addr(), PATIENCE).unwrap();
    let (code, _) = end(&mut server);
    assert_eq!(code, Some(0), "{}", server.log());
    let took = begin.elapsed();
    assert!(took >= 2 * SECOND && took < 3 * SECOND, "{took:?}");
    assert!(idle.receive().is_err(), "closed");
    assert!(server.log().contains("[INFO] plugin/health: Going into lameduck mode for 2s\n"), "{}", server.log());
}

#[test]
fn what_has_arrived_is_answered_before_the_end() {
    let mut server = start_with_pid_file(&sample(""));
    let mut tcp = dns::Tcp::connect(server.addr(), PATIENCE).unwrap();
    let first = Query::new(NAME, A);
    tcp.send(&first.to_bytes()).unwrap();
    tcp.receive().unwrap();
    let udp = dns::Udp::connect(server.addr(), PATIENCE).unwrap();

    // It wakes to the queries and to the signal at once.
    server.process().signal("STOP");
    for id in 0..20 {
        tcp.send(&Query::new(NAME, A).id(id).to_bytes()).unwrap();
        udp.send(&Query::new(NAME, A).id(id).to_bytes()).unwrap();
    }
    let mut new = dns::Tcp::connect(server.addr(), PATIENCE).unwrap();
    new.send(&first.to_bytes()).unwrap();
    server.process().signal("TERM");
    server.process().signal("CONT");
    for id in 0..20 {
        for bytes in [tcp.receive().unwrap(), udp.receive().unwrap()] {
            let answer = dns::Message::decode(&bytes).unwrap();
            assert_eq!((answer.id, answer.rcode), (id, NOERROR));
        }
    }
    assert_eq!(dns::Message::decode(&new.receive().unwrap()).unwrap().id, first.id);
    assert!(tcp.receive().is_err() && new.receive().is_err(), "closed");
    let (code, took) = end(&mut server);
    assert_eq!(code, Some(0), "{}", server.log());
    assert!(took < SECOND, "{took:?}");
}

#[test]
fn a_second_interrupt_and_a_quit_end_it_at_once() {
    for (signals, code) in [(["INT", "INT"], 2), (["TERM", "QUIT"], 0)] {
        let mut server = start_with_pid_file(&sample("lameduck 1m"));
        server.process().signal(signals[0]);
        is_ending(&server);
        server.process().signal(signals[1]);
        let (ended, took) = end(&mut server);
        assert_eq!(ended, Some(code), "{signals:?}\n{}", server.log());
        assert!(took < SECOND, "{took:?}");
    }
}

#[test]
fn it_tells_that_it_is_not_ready_while_it_waits_and_ends_when_asked() {
    let corefile = UNREACHABLE.replace("startup_timeout 1s", "startup_timeout 1m");
    let mut server = Server::spawn(Program::Podzone, &corefile, &["-pidfile", "pid"]);
    let (status, body) = wait_for("ready answers", PATIENCE, || ready(&server).ok_or_else(|| server.log()));
    assert_eq!((status, body.lines().next()), (503, Some("kubernetes")));
    assert!(get(server.addr_of("health"), "/health").is_some());
    server.process().signal("TERM");
    let (code, took) = end(&mut server);
    assert_eq!(code, Some(0), "{}", server.log());
    assert!(took < SECOND, "{took:?}");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let first = Program::Podzone.start(&sample(""));
    let taken = first.addr_of("health").port();
    let corefile = format!("example.org {{\n health 127.0.0.1:{taken}\n errors\n}}\n");
    let mut second = Server::spawn(Program::Podzone, &corefile, &[]);
    let (code, _) = end(&mut second);
    assert_eq!(code, Some(2));
    let said = format!("cannot listen on 127.0.0.1:{taken} for health: Address already in use");
    assert!(second.log().contains(&said) && second.log().contains("ss -ltnp"), "{}", second.log());
}
