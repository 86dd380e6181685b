//! What the options of `forward` make of upstreams: which is asked, how often, over which connections.
//!
//! Each scenario runs on CoreDNS too, so that it is known to hold what it claims; where podzone differs by design, the
//! scenario says so.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use support::dns::{self, Message, Query, Udp};
use support::exposition::{added, scrape};
use support::pki::Pki;
use support::process::Scratch;
use support::scripted::{Asked, Over, Scripted};
use support::server::{Program, Server};
use support::{ports, wait_for};

on_both! {
    the_first_directive_that_is_about_a_name_is_asked,
    answers_are_left_to_the_next_directive,
    another_upstream_is_asked_where_one_fails,
    attempts_are_counted,
    nobody_is_asked_where_all_are_down,
    somebody_is_asked_where_all_are_down,
    what_never_is_down_is_never_checked,
    checks_ask_as_they_are_told,
    upstreams_take_turns,
    a_connection_is_used_again_until_it_expires,
    a_connection_ends_with_its_age,
    so_many_idle_connections_are_kept,
    a_connection_that_was_closed_costs_no_answer,
    upstreams_are_asked_over_tls,
    a_client_shows_its_certificate,
    queries_leave_from_the_source_address,
    names_of_upstreams_are_looked_up,
    upstreams_of_the_other_family_are_asked,
    what_is_refused_is_counted,
    signed_queries_are_handed_on_octet_for_octet,
}

fn start(program: Program, lines: &str) -> Server {
    program.start(&format!(". {{\n    bind 127.0.0.1\n    prometheus 127.0.0.1:{{port:metrics}}\n{lines}\n}}\n"))
}

fn code(server: &Server, name: &str) -> u16 {
    server.ask(name, dns::A).rcode
}

fn times(upstream: &Scripted, name: &str) -> usize {
    upstream.asked(name).len()
}

/// A count, over all of its series.
fn count(server: &Server, name: &str) -> f64 {
    added(&Default::default(), &scrape(server), name, &[]).values().sum()
}

fn the_first_directive_that_is_about_a_name_is_asked(program: Program) {
    let [a, b, rest] = [(); 3].map(|()| Scripted::start());
    let lines = format!(
        "forward a.test {}\nforward b.test {} {{\n except c.b.test\n}}\nforward b.a.test {}\nforward . {}",
        a.addr(),
        b.addr(),
        b.addr(),
        rest.addr()
    );
    let server = start(program, &lines);
    for (name, expected) in [
        ("a.test", [1, 0, 0]),
        // The order decides, and not how long a zone is.
        ("b.a.test", [1, 0, 0]),
        ("x.b.test", [0, 1, 0]),
        ("c.b.test", [0, 0, 1]),
        ("other", [0, 0, 1]),
    ] {
        assert_eq!(code(&server, name), dns::NOERROR, "{name}");
        assert_eq!([&a, &b, &rest].map(|it| times(it, name)), expected, "{name}");
    }
}

fn answers_are_left_to_the_next_directive(program: Program) {
    let [first, second, third] = [(); 3].map(|()| Scripted::start());
    let lines = format!(
        "forward . {} {{\n next NXDOMAIN refused\n next_on_nodata\n}}\n\
         forward two.test {} {{\n next NXDOMAIN\n}}\nforward test {} {{\n next NXDOMAIN\n}}",
        first.addr(),
        second.addr(),
        third.addr()
    );
    let server = start(program, &lines);
    let upstreams = [&first, &second, &third];
    for (name, asked, rcode) in [
        ("one.test", [1, 0, 0], dns::NOERROR),
        // SERVFAIL is not among the codes.
        ("rcode-2.test", [1, 0, 0], dns::SERVFAIL),
        ("rcode-5.two.test", [1, 1, 0], dns::REFUSED),
        // The last one's answer stands, whatever it says.
        ("rcode-3.two.test", [1, 1, 1], dns::NXDOMAIN),
        ("nodata.test", [1, 0, 1], dns::NOERROR),
        // Nobody is left whom it is for.
        ("rcode-3.other", [1, 0, 0], dns::SERVFAIL),
    ] {
        assert_eq!(code(&server, name), rcode, "{name}");
        assert_eq!(upstreams.map(|it| times(it, name)), asked, "{name}");
    }
    let alone = start(program, &format!("forward . {} {{\n next NXDOMAIN\n next_on_nodata\n}}", first.addr()));
    assert_eq!(code(&alone, "rcode-3.alone"), dns::NXDOMAIN);
    assert_eq!(code(&alone, "nodata.alone"), dns::NOERROR);
}

fn another_upstream_is_asked_where_one_fails(program: Program) {
    let [first, second, third] = [(); 3].map(|()| Scripted::start());
    let lines = format!(
        "forward . {} {} {} {{\n policy sequential\n failover SERVFAIL Refused\n}}",
        first.addr(),
        second.addr(),
        third.addr()
    );
    let server = start(program, &lines);
    let upstreams = [&first, &second, &third];
    first.answer_with(dns::SERVFAIL);
    second.answer_with(dns::REFUSED);
    assert_eq!(code(&server, "a.test"), dns::NOERROR);
    assert_eq!(upstreams.map(|it| times(it, "a.test")), [1, 1, 1]);
    third.answer_with(dns::SERVFAIL);
    assert_eq!(code(&server, "b.test"), dns::SERVFAIL, "that of the last one");
    assert_eq!(upstreams.map(|it| times(it, "b.test")), [1, 1, 1]);
    first.answer_with(dns::NXDOMAIN);
    assert_eq!(code(&server, "c.test"), dns::NXDOMAIN);
    assert_eq!(upstreams.map(|it| times(it, "c.test")), [1, 0, 0]);
}

fn attempts_are_counted(program: Program) {
    let (silent, up) = (Scripted::start(), Scripted::start());
    for (most, expected, tried) in [("1", dns::SERVFAIL, 1), ("2", dns::NOERROR, 1)] {
        let lines = format!(
            "forward . {} {} {{\n policy sequential\n max_fails 0\n read_timeout 300ms\n max_connect_attempts {most}\n}}",
            silent.addr(),
            up.addr()
        );
        silent.be_silent(false);
        let server = start(program, &lines);
        silent.be_silent(true);
        let name = format!("of-{most}.test");
        assert_eq!(code(&server, &name), expected, "{most}");
        assert_eq!(times(&silent, &name), tried, "{most}");
    }
    // Two for each, or as many as there is time for.
    for (option, least, most) in [("", 2, 2), ("max_connect_attempts 0", 10, 17)] {
        let lines = format!("forward . {} {{\n max_fails 0\n read_timeout 300ms\n {option}\n}}", silent.addr());
        silent.be_silent(false);
        let server = start(program, &lines);
        silent.be_silent(true);
        let name = format!("{}.test", if option.is_empty() { "two" } else { "many" });
        let client = Udp::connect(server.addr(), Duration::from_secs(8)).unwrap();
        client.send(&Query::new(&name, dns::A).to_bytes()).unwrap();
        assert_eq!(Message::decode(&client.receive().unwrap()).unwrap().rcode, dns::SERVFAIL);
        let tried = times(&silent, &name);
        assert!((least..=most).contains(&tried), "{option}: {tried}");
    }
}

/// Makes an upstream be down.
fn take_down(server: &Server, upstream: &Scripted) {
    upstream.be_silent(true);
    let begin = Instant::now();
    let asked = || upstream.questions().iter().filter(|it| it.name == ".").count();
    let before = asked();
    assert_eq!(code(server, "first.test"), dns::SERVFAIL);
    // Each check waits for a second.
    wait_for("three checks have failed", Duration::from_secs(10), || {
        if asked() - before >= 4 { Ok(()) } else { Err(format!("{} after {:?}", asked() - before, begin.elapsed())) }
    });
}

fn nobody_is_asked_where_all_are_down(program: Program) {
    let upstream = Scripted::start();
    let options = "health_check 50ms\n read_timeout 200ms\n failfast_all_unhealthy_upstreams";
    let server = start(program, &format!("forward . {} {{\n {options}\n}}", upstream.addr()));
    take_down(&server, &upstream);
    assert_eq!(code(&server, "second.test"), dns::SERVFAIL);
    assert_eq!(times(&upstream, "second.test"), 0);
    assert_eq!(count(&server, "coredns_forward_healthcheck_broken_total"), 1.0);
    upstream.be_silent(false);
    wait_for("it is up", Duration::from_secs(5), || match code(&server, "third.test") {
        dns::NOERROR => Ok(()),
        other => Err(other.to_string()),
    });
}

fn somebody_is_asked_where_all_are_down(program: Program) {
    let upstream = Scripted::start();
    let options = "health_check 5s\n max_fails 1\n read_timeout 200ms";
    let server = start(program, &format!("forward . {} {{\n {options}\n}}", upstream.addr()));
    upstream.be_silent(true);
    // A check fails after a second, the next comes after five more.
    let begin = Instant::now();
    assert_eq!(code(&server, "first.test"), dns::SERVFAIL);
    wait_for("it is down", Duration::from_secs(12), || {
        let before = count(&server, "coredns_forward_healthcheck_broken_total");
        assert_eq!(code(&server, "again.test"), dns::SERVFAIL);
        let after = count(&server, "coredns_forward_healthcheck_broken_total");
        if after > before { Ok(()) } else { Err(format!("{after} after {:?}", begin.elapsed())) }
    });
    let failures = count(&server, "coredns_proxy_healthcheck_failures_total");
    assert_eq!(failures, 2.0);
    upstream.be_silent(false);
    assert_eq!(code(&server, "second.test"), dns::NOERROR, "it is asked, though no check has found it up");
    assert_eq!(times(&upstream, "second.test"), 1);
}

fn what_never_is_down_is_never_checked(program: Program) {
    let upstream = Scripted::start();
    let server = start(
        program,
        &format!("forward . {} {{\n max_fails 0\n health_check 20ms\n read_timeout 100ms\n}}", upstream.addr()),
    );
    upstream.be_silent(true);
    let roots = || upstream.questions().iter().filter(|it| it.name == ".").count();
    let before = roots();
    for number in 0..4 {
        let name = format!("n{number}.test");
        assert_eq!(code(&server, &name), dns::SERVFAIL);
        assert_eq!(times(&upstream, &name), 2);
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(roots(), before);
    assert_eq!(count(&server, "coredns_proxy_healthcheck_failures_total"), 0.0);
}

fn checks_ask_as_they_are_told(program: Program) {
    for (options, name, recursion, over) in [
        ("health_check 50ms", ".", true, Over::Udp),
        ("health_check 50ms no_rec domain Check.Example", "check.example.", false, Over::Udp),
        ("health_check 50ms domain check.example\n force_tcp", "check.example.", true, Over::Tcp),
    ] {
        let upstream = Scripted::start();
        let server = start(program, &format!("forward . {} {{\n {options}\n read_timeout 200ms\n}}", upstream.addr()));
        // What the harness asked does not count.
        let before = upstream.questions().len();
        upstream.be_silent(true);
        assert_eq!(code(&server, "first.test"), dns::SERVFAIL);
        let is_check = |it: &Asked| it.rtype == dns::NS && it.name == name;
        let check = wait_for("a check", Duration::from_secs(5), || {
            let asked = upstream.questions().split_off(before);
            asked.iter().find(|it| is_check(it)).cloned().ok_or_else(|| format!("{asked:?}"))
        });
        assert_eq!((check.recursion, check.over), (recursion, over), "{options}");
    }
}

fn upstreams_take_turns(program: Program) {
    let upstreams = [(); 3].map(|()| Scripted::start());
    let to: Vec<String> = upstreams.iter().map(|it| it.addr().to_string()).collect();
    let asked = |policy: &str| {
        let server = start(program, &format!("forward . {} {{\n policy {policy}\n}}", to.join(" ")));
        let before = upstreams.each_ref().map(|it| it.questions().len());
        let order: Vec<usize> = (0..60)
            .map(|number| {
                let name = format!("{policy}-{number}.test");
                assert_eq!(code(&server, &name), dns::NOERROR);
                upstreams.iter().position(|it| times(it, &name) == 1).expect("one was asked")
            })
            .collect();
        assert_eq!(upstreams.iter().zip(before).map(|(it, before)| it.questions().len() - before).sum::<usize>(), 60);
        order
    };
    assert!(asked("sequential").iter().all(|number| *number == 0));
    let round = asked("round_robin");
    assert!(round.windows(2).all(|two| two[1] == (two[0] + 1) % 3), "{round:?}");
    let random = asked("random");
    // Of 60 by chance, fewer than six come to one upstream once in 10,000 runs.
    assert!((0..3).all(|number| random.iter().filter(|it| **it == number).count() >= 6), "{random:?}");
    assert!(!random.windows(2).all(|two| two[1] == (two[0] + 1) % 3), "{random:?}");
}

fn a_connection_is_used_again_until_it_expires(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &format!("forward . {} {{\n force_tcp\n expire 1s\n}}", upstream.addr()));
    wait_for("the harness's connection has expired", Duration::from_secs(5), || {
        std::thread::sleep(Duration::from_millis(1200));
        Ok::<_, String>(())
    });
    let (before, counted) = (upstream.connections(), scrape(&server));
    for number in 0..5 {
        assert_eq!(code(&server, &format!("n{number}.test")), dns::NOERROR);
    }
    assert_eq!(upstream.connections() - before, 1);
    let names = ["coredns_proxy_conn_cache_misses_total", "coredns_proxy_conn_cache_hits_total"];
    let counts = names.map(|name| added(&counted, &scrape(&server), name, &["proto"]));
    let to_tcp = |count: f64| std::collections::BTreeMap::from([(vec!["tcp".to_owned()], count)]);
    assert_eq!(counts, [to_tcp(1.0), to_tcp(4.0)]);
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(code(&server, "late.test"), dns::NOERROR);
    assert_eq!(upstream.connections() - before, 2);
}

fn a_connection_ends_with_its_age(program: Program) {
    let upstream = Scripted::start();
    let server =
        start(program, &format!("forward . {} {{\n force_tcp\n expire 900ms\n max_age 1s\n}}", upstream.addr()));
    let (before, begin) = (upstream.connections(), Instant::now());
    while begin.elapsed() < Duration::from_millis(2600) {
        assert_eq!(code(&server, "often.test"), dns::NOERROR);
        std::thread::sleep(Duration::from_millis(50));
    }
    // It was never idle for long.
    let made = upstream.connections() - before;
    assert!((2..=4).contains(&made), "{made}");
}

/// Asks several at a time, so that each needs a connection.
fn at_once(server: &Server, turn: &str) {
    let client = Udp::connect(server.addr(), Duration::from_secs(5)).unwrap();
    for id in 0..4 {
        client.send(&Query::new(&format!("slow-300-{turn}{id}"), dns::A).id(id).to_bytes()).unwrap();
    }
    for _ in 0..4 {
        assert_eq!(Message::decode(&client.receive().unwrap()).unwrap().rcode, dns::NOERROR);
    }
}

fn so_many_idle_connections_are_kept(program: Program) {
    for (option, second) in [("", 0), ("max_idle_conns 1", 3)] {
        let upstream = Scripted::start();
        let server = start(program, &format!("forward . {} {{\n force_tcp\n {option}\n}}", upstream.addr()));
        at_once(&server, "a");
        // The harness leaves a connection or two behind.
        let first = upstream.connections();
        assert!((4..=6).contains(&first), "{first}");
        at_once(&server, "b");
        assert_eq!(upstream.connections() - first, second, "{option}");
    }
}

fn a_connection_that_was_closed_costs_no_answer(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &format!("forward . {} {{\n force_tcp\n max_connect_attempts 1\n}}", upstream.addr()));
    for number in 0..10 {
        assert_eq!(code(&server, &format!("close-{number}.test")), dns::NOERROR);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A server's side of TLS, with a certificate for these names.
fn tls(pki: &Pki, name: &str, alternative_names: &str, asks_who: bool) -> Arc<rustls::ServerConfig> {
    pki.certificate(name, &format!("/CN={name}"), Some(alternative_names));
    let certificates = |file: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(pki.path(file)).unwrap().map(Result::unwrap).collect()
    };
    let key = PrivateKeyDer::from_pem_file(pki.path(&format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = if asks_who {
        let mut roots = rustls::RootCertStore::empty();
        certificates("ca.crt").into_iter().for_each(|certificate| roots.add(certificate).unwrap());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    Arc::new(builder.with_single_cert(certificates(&format!("{name}.crt")), key).unwrap())
}

fn pki(folder: &Path) -> Pki {
    Pki::create(&folder.join("pki"))
}

fn upstreams_are_asked_over_tls(program: Program) {
    let scratch = Scratch::new();
    let pki = pki(scratch.path());
    let named = Scripted::start_tls(tls(&pki, "named", "DNS:dns.example", false));
    let numbered = Scripted::start_tls(tls(&pki, "numbered", "IP:127.0.0.1", false));
    let ca = pki.path("ca.crt");
    let ca = ca.display();
    let cases = [
        (format!("forward . tls://{} {{\n tls {ca}\n tls_servername dns.example\n}}", named.addr()), dns::NOERROR),
        (format!("forward . tls://127.0.0.1%dns.example:{} {{\n tls {ca}\n}}", named.addr().port()), dns::NOERROR),
        // Without a name, the certificate must be that of the address.
        (format!("forward . tls://{} {{\n tls {ca}\n}}", numbered.addr()), dns::NOERROR),
        (format!("forward . tls://{} {{\n tls {ca}\n}}", named.addr()), dns::SERVFAIL),
        (format!("forward . tls://{} {{\n tls {ca}\n tls_servername other.example\n}}", named.addr()), dns::SERVFAIL),
        // The system does not know the authority.
        (format!("forward . tls://{} {{\n tls_servername dns.example\n}}", named.addr()), dns::SERVFAIL),
    ];
    for (lines, expected) in &cases {
        let server = start(program, lines);
        assert_eq!(code(&server, "over-tls.test"), *expected, "{lines}");
    }
    // One connection serves many, and their count is told as CoreDNS tells it.
    let server = start(program, &cases[0].0);
    assert_eq!(code(&server, "warm.test"), dns::NOERROR);
    let (before, counted) = (named.connections(), scrape(&server));
    for number in 0..5 {
        let answer = dns::ask_tcp(server.addr(), &Query::new(&format!("n{number}.test"), dns::A)).unwrap();
        assert_eq!(answer.data_of(dns::A).len(), 1);
    }
    assert_eq!(named.connections(), before);
    let hits = added(&counted, &scrape(&server), "coredns_proxy_conn_cache_hits_total", &["proto"]);
    assert_eq!(hits.into_iter().collect::<Vec<_>>(), [(vec!["tcp-tls".to_owned()], 5.0)]);
    assert!(named.questions().iter().all(|it| it.over == Over::Tcp), "nothing goes out in the clear");
}

fn a_client_shows_its_certificate(program: Program) {
    let scratch = Scratch::new();
    let pki = pki(scratch.path());
    let upstream = Scripted::start_tls(tls(&pki, "asking", "IP:127.0.0.1", true));
    pki.certificate("client", "/CN=client", None);
    let [ca, chain, key] = ["ca.crt", "client.crt", "client.key"].map(|file| pki.path(file).display().to_string());
    for (files, expected) in [(format!("{chain} {key} {ca}"), dns::NOERROR), (ca.clone(), dns::SERVFAIL)] {
        let server = start(program, &format!("forward . tls://{} {{\n tls {files}\n}}", upstream.addr()));
        assert_eq!(code(&server, "who.test"), expected, "{files}");
    }
}

fn queries_leave_from_the_source_address(program: Program) {
    let upstream = Scripted::start();
    for (option, name) in [("", "udp"), ("force_tcp", "tcp")] {
        let options = format!("source_address 127.0.0.7\n {option}");
        let server = start(program, &format!("forward . {} {{\n {options}\n}}", upstream.addr()));
        for number in 0..3 {
            assert_eq!(code(&server, &format!("{name}-{number}.test")), dns::NOERROR);
        }
    }
    assert!(upstream.questions().iter().all(|it| it.from.ip().to_string() == "127.0.0.7"));
}

fn names_of_upstreams_are_looked_up(program: Program) {
    let (resolver, upstream) = (Scripted::start(), Scripted::start());
    let dead = ports::free();
    let lines = format!(
        "forward . loopback.test:{} {{\n resolver 127.0.0.1:{dead} {}\n}}",
        upstream.addr().port(),
        resolver.addr()
    );
    let server = start(program, &lines);
    assert_eq!(code(&server, "x.test"), dns::NOERROR);
    assert_eq!(times(&upstream, "x.test"), 1);
    assert_eq!(times(&resolver, "loopback.test"), 2, "A and AAAA");
    // The system knows this one.
    let server = start(program, &format!("forward . localhost:{}", upstream.addr().port()));
    assert_eq!(code(&server, "y.test"), dns::NOERROR);
    assert_eq!(times(&upstream, "y.test"), 1);
}

fn upstreams_of_the_other_family_are_asked(program: Program) {
    let upstream = Scripted::start_at(std::net::Ipv6Addr::LOCALHOST.into());
    for (option, name) in [("", "udp"), ("force_tcp", "tcp")] {
        let server = start(program, &format!("forward . {} {{\n {option}\n}}", upstream.addr()));
        for number in 0..3 {
            let name = format!("{name}-{number}.test");
            assert_eq!(code(&server, &name), dns::NOERROR);
            assert_eq!(times(&upstream, &name), 1);
        }
    }
}

fn what_is_refused_is_counted(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &format!("forward . {} {{\n max_concurrent 1\n}}", upstream.addr()));
    // CoreDNS gives a place back a moment after the answer.
    std::thread::sleep(Duration::from_millis(100));
    let client = Udp::connect(server.addr(), Duration::from_secs(5)).unwrap();
    client.send(&Query::new("slow-1800-a.test", dns::A).to_bytes()).unwrap();
    wait_for("it is under way", Duration::from_secs(5), || match times(&upstream, "slow-1800-a.test") {
        1 => Ok(()),
        times => Err(times.to_string()),
    });
    // The harness's own may have been among them while it started.
    let before = count(&server, "coredns_forward_max_concurrent_rejects_total");
    for _ in 0..3 {
        assert_eq!(code(&server, "more.test"), dns::REFUSED);
    }
    assert_eq!(count(&server, "coredns_forward_max_concurrent_rejects_total"), before + 3.0);
    assert_eq!(Message::decode(&client.receive().unwrap()).unwrap().rcode, dns::NOERROR);
}

/// A signature is of all octets but the ID, so that not even a letter's case may change (RFC 8945 section 5.5).
fn signed_queries_are_handed_on_octet_for_octet(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &format!("forward . {}", upstream.addr()));
    let name = "Signed.With-Many-Letters.Test";
    let mut query = Query::new(name, dns::A).to_bytes();
    query[11] = 1;
    // TSIG, class ANY, TTL 0: HMAC-SHA-256, a time, 300 s, a MAC of 32 octets, the original ID, no error, nothing else.
    query.extend(b"\x03key\0\x00\xfa\x00\xff\0\0\0\0\x00\x3d\x0bhmac-sha256\0\0\0\x65\0\0\0\x01\x2c\x00\x20");
    query.extend([7; 32]);
    query.extend([query[0], query[1], 0, 0, 0, 0]);
    dns::udp_within(server.addr(), &query, Duration::from_secs(5)).unwrap();
    let asked = upstream.questions();
    assert_eq!(asked.iter().filter(|it| it.name == format!("{name}.")).count(), 1, "{asked:?}");
}

/// Puts another Corefile to work.
fn reload(server: &mut Server, corefile: &str) {
    let done = |server: &Server| server.log().matches("Reloading complete").count();
    let before = done(server);
    server.rewrite_corefile(corefile);
    server.process().signal("USR1");
    wait_for("the reload", Duration::from_secs(10), || if done(server) > before { Ok(()) } else { Err(server.log()) });
}

#[test]
fn what_is_known_of_an_upstream_outlives_a_reload() {
    let (upstream, other) = (Scripted::start(), Scripted::start());
    let corefile = |more: &str, options: &str| {
        format!(
            ".:{{port}} {{\n bind 127.0.0.1\n prometheus 127.0.0.1:{{port:metrics}}\n{more}\n \
             forward . {} {{\n force_tcp\n {options}\n }}\n}}\n",
            upstream.addr()
        )
    };
    let mut server = Program::Podzone.start(&corefile("", ""));
    assert_eq!(code(&server, "before.test"), dns::NOERROR);
    let made = upstream.connections();
    let exchanges = |server: &Server| count(server, "coredns_proxy_request_duration_seconds_count");
    let counted = exchanges(&server);
    reload(&mut server, &corefile(&format!("forward other.test {}", other.addr()), ""));
    assert_eq!(code(&server, "after.test"), dns::NOERROR);
    assert_eq!(code(&server, "x.other.test"), dns::NOERROR);
    assert_eq!(times(&other, "x.other.test"), 1);
    assert_eq!(upstream.connections(), made, "the connection is the same");
    assert_eq!(exchanges(&server), counted + 2.0);
    reload(&mut server, &corefile("", "expire 20s"));
    assert_eq!(code(&server, "later.test"), dns::NOERROR);
    assert_eq!(upstream.connections(), made + 1, "other options, other connections");
}

#[test]
fn an_authority_that_changes_is_taken_up() {
    let scratch = Scratch::new();
    let (old, new) = (Pki::create(&scratch.path().join("old")), Pki::create(&scratch.path().join("new")));
    let upstream = Scripted::start_tls(tls(&new, "upstream", "IP:127.0.0.1", false));
    let ca = scratch.path().join("ca.crt");
    std::fs::copy(old.path("ca.crt"), &ca).unwrap();
    let lines = format!("reload 2s 0s\nforward . tls://{} {{\n tls {}\n}}", upstream.addr(), ca.display());
    let server = start(Program::Podzone, &lines);
    assert_eq!(code(&server, "before.test"), dns::SERVFAIL);
    std::fs::copy(new.path("ca.crt"), &ca).unwrap();
    wait_for("the new authority", Duration::from_secs(10), || match code(&server, "after.test") {
        dns::NOERROR => Ok(()),
        other => Err(format!("{other}: {}", server.log())),
    });
}

#[test]
fn a_name_that_nobody_knows_stops_the_start_and_no_reload() {
    let upstream = Scripted::start();
    let corefile = |to: &str| format!(".:{{port}} {{\n bind 127.0.0.1\n forward . {to}\n}}\n");
    let missing = format!("rcode-3.test {{\n resolver {}\n }}", upstream.addr());
    let mut refused = Server::spawn(Program::Podzone, &corefile(&missing), &[]);
    let status = wait_for("its end", Duration::from_secs(10), || refused.process().ended().ok_or_else(String::new));
    assert_eq!(status.code(), Some(2), "{}", refused.log());
    assert!(refused.log().contains("failed to resolve \"rcode-3.test\""), "{}", refused.log());

    let mut server = Program::Podzone.start(&corefile(&upstream.addr().to_string()));
    server.rewrite_corefile(&corefile(&missing));
    server.process().signal("USR1");
    wait_for("the refusal", Duration::from_secs(10), || {
        if server.log().contains("failed to resolve") { Ok(()) } else { Err(server.log()) }
    });
    assert_eq!(code(&server, "still.test"), dns::NOERROR);
}
