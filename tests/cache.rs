//! `cache`: what others answered is kept, for how long, and what is served of it.
//!
//! Each scenario runs on CoreDNS too, so that it is known to hold what it claims; where podzone differs by design, the
//! scenario says so.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::dns::{self, Edns, Message, Query};
use support::exposition::{added, scrape};
use support::scripted::{Over, Scripted};
use support::server::{Program, Server};
use support::wait_for;

const PATIENCE: Duration = Duration::from_secs(60);

on_both! {
    answers_are_kept_and_their_ttls_run_down,
    ttls_have_bounds,
    denials_are_kept_as_long_as_their_soa_says,
    failures_are_kept_for_a_while,
    answers_for_other_bits_are_others,
    letters_are_the_clients,
    what_is_cut_is_not_kept,
    ttls_may_be_kept_as_they_are,
    what_is_disabled_is_not_kept,
    only_the_zones_of_the_cache_are_kept,
    what_is_asked_for_often_is_asked_again_before_it_expires,
    what_has_expired_is_served_and_asked_for,
    what_has_expired_is_verified_first,
    verifying_ends_with_its_timeout,
    what_is_too_much_is_evicted,
    kept_answers_outlive_their_upstream,
    loadbalance_turns_what_is_kept,
    acl_comes_before_the_cache,
    the_kubeadm_block_is_served,
}

/// A server with these lines, and with an upstream that is never taken for down.
fn start(program: Program, upstream: &Scripted, lines: &str) -> Server {
    program.start(&format!(
        ". {{\n    bind 127.0.0.1\n    prometheus 127.0.0.1:{{port:metrics}}\n    {lines}\n    \
         forward . {} {{\n        max_fails 0\n        read_timeout 300ms\n    }}\n}}\n",
        upstream.addr()
    ))
}

/// The last octets of the addresses of an answer, sorted, and the TTL of its first record.
fn told(answer: &Message) -> (Vec<u8>, u32) {
    let records = if answer.answers.is_empty() { &answer.authorities } else { &answer.answers };
    let ttl = records.first().map_or(0, |record| record.ttl);
    let data = answer.data_of(dns::A);
    let mut last: Vec<u8> = data.iter().map(|it| it.rsplit('.').next().unwrap().parse().unwrap()).collect();
    last.sort_unstable();
    (last, ttl)
}

fn ask(server: &Server, name: &str) -> (Vec<u8>, u32) {
    told(&server.ask(name, dns::A))
}

fn times(upstream: &Scripted, name: &str) -> usize {
    upstream.asked(name).len()
}

/// Asks until the TTL is as it should be; the addresses then.
fn ask_until(server: &Server, name: &str, wanted: impl Fn(u32) -> bool) -> Vec<u8> {
    wait_for(&format!("the TTL of {name}"), PATIENCE, || {
        let (addresses, ttl) = ask(server, name);
        if wanted(ttl) { Ok(addresses) } else { Err(format!("{addresses:?} {ttl}")) }
    })
}

fn answers_are_kept_and_their_ttls_run_down(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "cache");
    assert_eq!(ask(&server, "ttl-300-a.test"), (vec![1], 300));
    assert_eq!(ask_until(&server, "ttl-300-a.test", |ttl| ttl < 300), [1]);
    let later = dns::ask_tcp(server.addr(), &Query::new("ttl-300-a.test", dns::A)).unwrap();
    assert_eq!(told(&later).0, [1], "over TCP too");
    assert!(later.authoritative() && later.recursion_available() && later.recursion_desired(), "{later}");
    assert_eq!(upstream.asked("ttl-300-a.test"), [Over::Udp]);
    assert_eq!(ask(&server, "ttl-300-b.test").0, [1], "another name");
    assert_eq!(server.ask("ttl-300-a.test", dns::AAAA).rcode, dns::NOERROR, "another type");
    assert_eq!(times(&upstream, "ttl-300-a.test"), 2);
}

fn ttls_have_bounds(program: Program) {
    let upstream = Scripted::start();
    for (lines, name, ttl) in [
        ("cache", "ttl-1-a.test", 5),
        ("cache", "ttl-100000-a.test", 3600),
        ("cache 10", "ttl-60-b.test", 10),
        ("cache 10 {\n success 2000 20 15\n }", "ttl-1-c.test", 15),
        ("cache 10 {\n success 2000 20 15\n }", "ttl-60-c.test", 20),
        ("cache {\n success 2000 20 30\n }", "ttl-1-d.test", 20),
        ("cache", "soa-5000-3-a.test", 900),
        ("cache 100", "soa-500-0-b.test", 100),
        ("cache {\n denial 2000 50 40\n }", "soa-5-3-c.test", 40),
        ("cache {\n denial 2000 50 40\n }", "soa-500-3-c.test", 50),
    ] {
        // With CoreDNS the last field of a SOA counts for nothing, so that a denial is kept for as long as it is let.
        let ttl = if program == Program::CoreDns && ttl == 900 { 1800 } else { ttl };
        let server = start(program, &upstream, lines);
        assert_eq!(ask(&server, name).1, ttl, "{lines}: {name}");
    }
}

fn denials_are_kept_as_long_as_their_soa_says(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "cache");
    for (name, rcode, kept) in [
        ("soa-70-3-a.test", dns::NXDOMAIN, true),
        ("soa-70-0-a.test", dns::NOERROR, true),
        // Without a SOA nothing says for how long.
        ("rcode-3-a.test", dns::NXDOMAIN, false),
        ("rcode-5-a.test", dns::REFUSED, false),
        ("rcode-4-a.test", dns::NOTIMP, true),
    ] {
        for _ in 0..2 {
            let answer = server.ask(name, dns::A);
            assert_eq!(
                (answer.rcode, answer.authorities.len()),
                (rcode, usize::from(name.starts_with("soa"))),
                "{name}"
            );
        }
        assert_eq!(times(&upstream, name), if kept { 1 } else { 2 }, "{name}");
    }
    ask_until(&server, "soa-70-3-a.test", |ttl| (1..70).contains(&ttl));
    assert_eq!(times(&upstream, "soa-70-3-a.test"), 1);
}

fn failures_are_kept_for_a_while(program: Program) {
    let upstream = Scripted::start();
    for (option, kept) in [("", true), ("servfail 1m", true), ("servfail 0", false)] {
        let server = start(program, &upstream, &format!("cache {{\n {option}\n keepttl\n }}"));
        let name = format!("rcode-2-{kept}{}.test", option.len());
        for _ in 0..2 {
            assert_eq!(server.ask(&name, dns::A).rcode, dns::SERVFAIL);
        }
        assert_eq!(times(&upstream, &name), if kept { 1 } else { 2 }, "{option}");
    }
    let server = start(program, &upstream, "cache {\n servfail 1s\n }");
    wait_for("it is asked again", PATIENCE, || {
        server.ask("rcode-2-again.test", dns::A);
        let times = times(&upstream, "rcode-2-again.test");
        if times > 1 { Ok(()) } else { Err(times.to_string()) }
    });
}

fn answers_for_other_bits_are_others(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "cache");
    let name = "ttl-300-a.test";
    let query = || Query::new(name, dns::A);
    let dnssec_ok = || Edns { dnssec_ok: true, ..Edns::default() };
    // Recursion, which CoreDNS does not look at.
    let without_recursion = if program == Program::CoreDns { 1 } else { 5 };
    let cases = [
        (query(), 1, false),
        (query().ad(true), 1, true),
        (query().payload(1232), 1, false),
        (query().cd(true), 2, false),
        (query().edns(dnssec_ok()), 3, true),
        (query().edns(dnssec_ok()).cd(true), 4, true),
        (query().rd(false), without_recursion, false),
    ];
    for _ in 0..2 {
        for (query, expected, is_authentic) in &cases {
            let answer = dns::ask(server.addr(), query).unwrap();
            assert_eq!((told(&answer).0, answer.id), (vec![*expected], query.id), "{query:?}: {answer}");
            assert_eq!(answer.authentic_data(), *is_authentic, "{query:?}: {answer}");
            let flags = (answer.recursion_desired(), answer.checking_disabled());
            assert_eq!(flags, (query.recursion_desired, query.checking_disabled), "{answer}");
            assert_eq!(answer.opt.is_some(), query.edns.is_some());
            let asks_for_dnssec = query.edns.as_ref().is_some_and(|edns| edns.dnssec_ok);
            assert_eq!(answer.opt.as_ref().is_some_and(|opt| opt.dnssec_ok), asks_for_dnssec);
        }
    }
}

fn letters_are_the_clients(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "cache");
    for name in ["ttl-300-a.test.", "TTL-300-A.tEST.", "Ttl-300-a.Test."] {
        let answer = server.ask(name, dns::A);
        assert_eq!((answer.questions[0].name.as_str(), told(&answer).0), (name, vec![1]));
    }
    assert_eq!(times(&upstream, "ttl-300-a.test"), 1);
}

fn what_is_cut_is_not_kept(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "cache");
    for _ in 0..2 {
        assert!(server.ask("tc-a.test", dns::A).truncated());
    }
    assert_eq!(upstream.asked("tc-a.test"), [Over::Udp, Over::Udp]);
    // What came whole over TCP is there for all; who has no room for it is told so.
    let whole = |name: &str| dns::ask_tcp(server.addr(), &Query::new(name, dns::A)).unwrap();
    assert_eq!(whole("tc-a.test").data_of(dns::A).len(), 1);
    assert_eq!(server.ask("tc-a.test", dns::A).data_of(dns::A).len(), 1);
    assert_eq!(whole("many-100.test").data_of(dns::A).len(), 100);
    let cut = server.ask("many-100.test", dns::A);
    assert!(cut.truncated() && cut.authoritative(), "{cut}");
    let roomy = dns::ask(server.addr(), &Query::new("many-100.test", dns::A).payload(4096)).unwrap();
    assert_eq!((roomy.truncated(), roomy.data_of(dns::A).len()), (false, 100));
    assert_eq!(upstream.asked("tc-a.test")[2..], [Over::Tcp]);
    assert_eq!(upstream.asked("many-100.test"), [Over::Tcp]);
}

fn ttls_may_be_kept_as_they_are(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "cache {\n keepttl\n }");
    let other = start(program, &upstream, "cache");
    assert_eq!(ask(&server, "ttl-300-a.test"), (vec![1], 300));
    // When one TTL of the same age has run down, the other has not.
    ask(&other, "ttl-300-b.test");
    ask_until(&other, "ttl-300-b.test", |ttl| ttl < 299);
    assert_eq!(ask(&server, "ttl-300-a.test"), (vec![1], 300));
    assert_eq!(times(&upstream, "ttl-300-a.test"), 1);
}

fn what_is_disabled_is_not_kept(program: Program) {
    let upstream = Scripted::start();
    let lines = "cache 30 {\n disable success no.Test other.test\n disable denial no.test\n }";
    let server = start(program, &upstream, lines);
    for (name, kept) in [
        ("ttl-300-a.no.test", false),
        ("ttl-300-a.b.other.test", false),
        ("ttl-300-a.yes.test", true),
        ("soa-60-3.no.test", false),
        ("soa-60-3.other.test", true),
    ] {
        for _ in 0..2 {
            assert!(ask(&server, name).1 >= 29, "the TTL has its bound all the same: {name}");
        }
        assert_eq!(times(&upstream, name), if kept { 1 } else { 2 }, "{name}");
    }
}

fn only_the_zones_of_the_cache_are_kept(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "cache 30 kept.test also.test");
    for (name, ttl, asked) in [("ttl-300.kept.test", 30, 1), ("ttl-300.a.Also.test", 30, 1), ("ttl-300.test", 300, 2)] {
        assert_eq!(ask(&server, name).1, ttl, "{name}");
        ask(&server, name);
        assert_eq!(times(&upstream, name), asked, "{name}");
    }
}

fn what_is_asked_for_often_is_asked_again_before_it_expires(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "cache {\n prefetch 3 1m 90%\n }");
    let (often, seldom) = ("ttl-20-often.test", "ttl-20-seldom.test");
    assert_eq!((ask(&server, often).1, ask(&server, seldom).1), (20, 20));
    wait_for("it is asked again", PATIENCE, || {
        let (addresses, ttl) = ask(&server, often);
        if addresses != [1] { Ok(()) } else { Err(ttl.to_string()) }
    });
    // Over TCP, which cuts nothing; nobody waited for it.
    assert_eq!(upstream.asked(often), [Over::Udp, Over::Tcp]);
    assert_eq!(times(&upstream, seldom), 1);
    let prefetches = added(&BTreeMap::new(), &scrape(&server), "coredns_cache_prefetch_total", &["zones"]);
    assert_eq!(prefetches, BTreeMap::from([(vec![".".to_owned()], 1.0)]));
}

fn what_has_expired_is_served_and_asked_for(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "cache {\n success 2000 1 1\n serve_stale\n }");
    let name = "ttl-1-a.test";
    assert_eq!(ask(&server, name), (vec![1], 1));
    upstream.be_silent(true);
    assert_eq!(ask_until(&server, name, |ttl| ttl == 0), [1]);
    // However long nobody answers.
    wait_for("it was asked for", PATIENCE, || {
        assert_eq!(ask(&server, name), (vec![1], 0));
        let asked = upstream.asked(name);
        if asked.contains(&Over::Tcp) { Ok(()) } else { Err(format!("{asked:?}")) }
    });
    upstream.be_silent(false);
    let fresh = ask_until(&server, name, |ttl| ttl == 1);
    assert!(fresh != [1], "{fresh:?}");
    let stale = added(&BTreeMap::new(), &scrape(&server), "coredns_cache_served_stale_total", &[]);
    assert!(stale[&Vec::new()] >= 2.0, "{stale:?}");
}

fn what_has_expired_is_verified_first(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "cache {\n success 2000 1 1\n serve_stale 1h verify 0 30s\n }");
    let name = "ttl-1-a.test";
    assert_eq!(ask(&server, name), (vec![1], 1));
    upstream.be_silent(true);
    assert_eq!(ask_until(&server, name, |ttl| ttl != 1), [1]);
    assert_eq!(ask(&server, name), (vec![1], 30), "with the TTL that is said");
    upstream.be_silent(false);
    let (addresses, ttl) = ask(&server, name);
    assert!(addresses != [1] && ttl == 1, "{addresses:?} {ttl}");
    // A failure is not what is so now, a denial is.
    let (failing, denied) = ("rcode-2-a.test", "soa-1-3-a.test");
    assert_eq!(server.ask(failing, dns::A).rcode, dns::SERVFAIL);
    assert_eq!(server.ask(denied, dns::A).rcode, dns::NXDOMAIN);
}

fn verifying_ends_with_its_timeout(program: Program) {
    let upstream = Scripted::start();
    let lines = "cache {\n success 2000 1 1\n serve_stale 1h verify 50ms\n }";
    // An upstream that takes its time answers in the end.
    let forward = format!("forward . {} {{\n max_fails 0\n }}", upstream.addr());
    let server = program.start(&format!(". {{\n    bind 127.0.0.1\n    {lines}\n    {forward}\n}}\n"));
    let name = "slow-1500-a.test";
    assert_eq!(ask(&server, name), (vec![99], 1));
    assert_eq!(ask_until(&server, name, |ttl| ttl == 0), [99]);
    assert_eq!(ask_until(&server, name, |ttl| ttl == 1), [99], "what came too late is there for the next");
}

fn what_is_too_much_is_evicted(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "cache {\n success 1\n }");
    for number in 0..1500 {
        ask(&server, &format!("ttl-300-{number}.test"));
    }
    let page = scrape(&server);
    let of = |name: &str| added(&BTreeMap::new(), &page, name, &["type", "zones", "view"]);
    let success = vec!["success".to_owned(), ".".to_owned(), String::new()];
    let (entries, evictions) = (of("coredns_cache_entries"), of("coredns_cache_evictions_total"));
    assert!((500.0..=1024.0).contains(&entries[&success]), "{entries:?}");
    assert!(entries[&success] + evictions[&success] >= 1500.0, "{entries:?} {evictions:?}");
}

fn kept_answers_outlive_their_upstream(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "cache");
    assert_eq!(ask(&server, "ttl-300-a.test").0, [1]);
    upstream.be_silent(true);
    assert_eq!(ask(&server, "ttl-300-a.test").0, [1]);
    assert_eq!(server.ask("ttl-300-b.test", dns::A).rcode, dns::SERVFAIL);
    upstream.be_silent(false);
    assert_eq!(ask(&server, "ttl-300-b.test").1, 300, "that nobody answered is not kept");
}

fn loadbalance_turns_what_is_kept(program: Program) {
    let upstream = Scripted::start();
    let server = start(program, &upstream, "loadbalance\n    cache");
    let mut orders = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let answer = server.ask("many-3.test", dns::A);
        assert_eq!(told(&answer).0, [1, 2, 3]);
        orders.insert(answer.answers.iter().map(|record| record.data()).collect::<Vec<_>>());
    }
    // Each comes once in six times: that one does not is less likely than one in ten thousand.
    assert_eq!(orders.len(), 6, "{orders:?}");
    assert_eq!(times(&upstream, "many-3.test"), 1);
}

fn acl_comes_before_the_cache(program: Program) {
    let upstream = Scripted::start();
    let lines = "cache\n    acl {\n        block type AAAA net 127.0.0.0/8\n    }";
    let server = start(program, &upstream, lines);
    assert_eq!(server.ask("ttl-300-a.test", dns::AAAA).rcode, dns::REFUSED);
    assert_eq!(ask(&server, "ttl-300-a.test").0, [1]);
    assert_eq!(server.ask("ttl-300-a.test", dns::AAAA).rcode, dns::REFUSED);
}

fn the_kubeadm_block_is_served(program: Program) {
    let upstream = Scripted::start();
    let lines = "cache 30 {\n       disable success cluster.local\n       disable denial cluster.local\n    }";
    let server = start(program, &upstream, lines);
    for (name, asked) in [("ttl-60-a.test", 1), ("ttl-60-a.default.svc.cluster.local", 2)] {
        assert_eq!(ask(&server, name).1, 30);
        ask(&server, name);
        assert_eq!(times(&upstream, name), asked, "{name}");
    }
}

/// What is counted of the same questions.
#[test]
fn podzone_counts_what_coredns_counts() {
    let [ours, theirs] = [Program::Podzone, Program::CoreDns].map(|program| {
        let upstream = Scripted::start();
        let server = start(program, &upstream, "cache 30 test example");
        let before = scrape(&server);
        for (name, count) in [
            ("ttl-300-a.test", 4),
            ("ttl-300-b.test", 1),
            ("soa-60-3-a.test", 3),
            ("soa-60-0-a.test", 2),
            ("rcode-2-a.test", 2),
            ("rcode-5-a.test", 2),
            ("tc-a.test", 2),
            ("ttl-300-a.elsewhere", 2),
        ] {
            for _ in 0..count {
                server.ask(name, dns::A);
            }
        }
        let after = scrape(&server);
        let of = |name: &str, labels: &[&str]| (name.to_owned(), added(&before, &after, name, labels));
        let (each, of_stores) = (["server", "zones", "view"], ["server", "type", "zones", "view"]);
        BTreeMap::from([
            of("coredns_cache_entries", &of_stores),
            of("coredns_cache_hits_total", &of_stores),
            of("coredns_cache_requests_total", &each),
            of("coredns_cache_misses_total", &each),
            of("coredns_cache_prefetch_total", &each),
            of("coredns_cache_drops_total", &each),
            of("coredns_cache_served_stale_total", &each),
            of("coredns_cache_evictions_total", &of_stores),
        ])
    });
    assert_eq!(ours, theirs);
    assert_eq!(ours["coredns_cache_requests_total"].values().sum::<f64>(), 16.0);
}

/// A cluster's own answers are as new as the cluster, with the TTLs that CoreDNS's cache gives them at first.
#[test]
fn the_clusters_zones_are_never_kept() {
    let service = |address: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\n\
             spec: {{clusterIP: {address}, ports: [{{port: 80}}]}}\n"
        )
    };
    let folder = support::process::Scratch::new();
    let file = folder.path().join("web.yaml");
    std::fs::write(&file, service("10.96.0.1")).unwrap();
    let view = format!("kubernetes cluster.local {{\n manifests {}\n ttl", folder.path().display());
    for (lines, ttl, denied) in [
        (format!("{view} 30\n }}"), 30, 30),
        (format!("cache 10\n {view} 30\n }}"), 10, 10),
        (format!("cache\n {view} 0\n }}"), 5, 5),
        (format!("cache 100 {{\n denial 2000 20\n }}\n {view} 30\n }}"), 30, 20),
        (format!("cache 10 other.test\n {view} 30\n }}"), 30, 30),
        (format!("cache 10\n {view} 30\n negative_ttl 1\n }}"), 10, 1),
    ] {
        std::fs::write(&file, service("10.96.0.1")).unwrap();
        let server = Program::Podzone.start(&format!(". {{\n bind 127.0.0.1\n {lines}\n forward . 192.0.2.1\n}}\n"));
        let (web, missing) = ("web.shop.svc.cluster.local", "missing.shop.svc.cluster.local");
        wait_for("it is known", PATIENCE, || {
            if ask(&server, web) == (vec![1], ttl) { Ok(()) } else { Err(lines.clone()) }
        });
        assert_eq!(ask(&server, missing).1, denied, "{lines}");
        std::fs::write(&file, service("10.96.0.2")).unwrap();
        wait_for(
            "its change",
            PATIENCE,
            || if ask(&server, web) == (vec![2], ttl) { Ok(()) } else { Err(lines.clone()) },
        );
    }
}

/// A reload keeps what is kept where the same is said of it; CoreDNS begins anew.
#[test]
fn what_is_kept_outlives_a_reload() {
    let upstream = Scripted::start();
    let corefile = |more: &str, of_cache: &str| {
        format!(
            ". {{\n    bind 127.0.0.1\n    prometheus 127.0.0.1:{{port:metrics}}\n    {more}\n    cache {of_cache}\n    \
             forward . {}\n}}\n",
            upstream.addr()
        )
    };
    let mut server = Program::Podzone.start(&corefile("", "300"));
    assert_eq!(ask(&server, "ttl-300-a.test").0, [1]);
    let name = "version.bind.";
    for (more, of_cache, kept) in
        [("chaos one", "300", true), ("chaos two", "200", false), ("chaos three\n    minimal", "200", false)]
    {
        let before = times(&upstream, "ttl-300-a.test");
        server.rewrite_corefile(&corefile(more, of_cache));
        server.process().signal("USR1");
        let version = more.split_whitespace().nth(1).unwrap();
        wait_for("it is at work", PATIENCE, || {
            let answer = dns::ask(server.addr(), &Query::new(name, dns::TXT).class(3)).map_err(|it| it.to_string())?;
            if answer.to_string().contains(version) { Ok(()) } else { Err(answer.to_string()) }
        });
        ask(&server, "ttl-300-a.test");
        assert_eq!(times(&upstream, "ttl-300-a.test") == before, kept, "{more}: {of_cache}");
    }
    // What was counted goes on.
    let page = scrape(&server);
    let requests = added(&BTreeMap::new(), &page, "coredns_cache_requests_total", &[]);
    assert!(requests[&Vec::new()] >= 4.0, "{requests:?}");
}
