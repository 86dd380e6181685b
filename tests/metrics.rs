//! Metrics: podzone counts what CoreDNS counts, under the same names, and `docs/metrics.md` lists all of them.
//!
//! Both servers follow one API server under one Corefile and are asked the same.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use support::dns::{self, A, AAAA, ANY, AXFR, CNAME, Edns, HTTPS, MX, NOERROR, NS, PTR, Query, SOA, SRV, TXT};
use support::exposition::{Family, Samples, added, families, lint, scrape, scrape_text};
use support::kube::{ControlPlane, Options};
use support::scripted::Scripted;
use support::server::{Program, Server};
use support::wait_for;

const PATIENCE: Duration = Duration::from_secs(20);

/// Families of CoreDNS that belong to directives which are not in this Corefile, or to Go, and why they are on its page.
const NOT_OURS: [(&str, &str); 2] =
    [("go_", "the runtime of Go"), ("coredns_hosts_", "`hosts`: a gauge without labels, which stands on every page")];

/// Labels whose values say which program it is, or where the sockets are.
const OWN_LABELS: [&str; 4] = ["version", "revision", "goversion", "host"];

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.3.1, selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: chosen, namespace: default}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: written, namespace: default}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: default}
spec: {type: ExternalName, externalName: www.outside.test}
";

/// A slice of a Service, written for what happened just now.
fn slice(service: &str, address: &str) -> String {
    let now = String::from_utf8(std::process::Command::new("date").args(["-u", "+%FT%T.%NZ"]).output().unwrap().stdout);
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-1\n  \
         namespace: default\n  labels: {{kubernetes.io/service-name: {service}}}\n  \
         annotations: {{endpoints.kubernetes.io/last-change-trigger-time: '{}'}}\naddressType: IPv4\n\
         endpoints: [{{addresses: [{address}], conditions: {{ready: true}}}}]\nports: [{{name: http, port: 80}}]\n",
        now.unwrap().trim()
    )
}

const SLICED: [&str; 3] = ["web", "chosen", "written"];

fn slices(last: u8) -> String {
    let all = SLICED.iter().enumerate();
    all.map(|(index, service)| slice(service, &format!("10.244.{index}.{last}"))).collect()
}

/// Nothing stands between `prometheus` and what answers, so that CoreDNS's `plugin` is what answered.
fn corefile(plane: &ControlPlane, upstream: &Scripted, dead: &Scripted) -> String {
    format!(
        "cluster.local in-addr.arpa {{
    health 127.0.0.1:{{port:health}}
    ready 127.0.0.1:{{port:ready}}
    prometheus 127.0.0.1:{{port:metrics}}
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {}
        pods insecure
    }}
}}
outside.test {{
    prometheus 127.0.0.1:{{port:metrics}}
    forward . {}
}}
dead.test {{
    prometheus 127.0.0.1:{{port:metrics}}
    forward . {} {{
        read_timeout 200ms
    }}
}}
",
        plane.kubeconfig().display(),
        upstream.addr(),
        dead.addr()
    )
}

/// Some hundred questions, over both transports.
fn questions() -> Vec<(Query, bool)> {
    let names = [
        "web.default.svc.cluster.local.",
        "chosen.default.svc.cluster.local.",
        "written.default.svc.cluster.local.",
        "10-244-1-7.chosen.default.svc.cluster.local.",
        "_http._tcp.web.default.svc.cluster.local.",
        "kubernetes.default.svc.cluster.local.",
        "10-1-2-3.default.pod.cluster.local.",
        "missing.default.svc.cluster.local.",
        "default.svc.cluster.local.",
        "Cluster.Local.",
        "dns-version.cluster.local.",
        "1.3.96.10.in-addr.arpa.",
        "9.9.9.9.in-addr.arpa.",
        "www.outside.test.",
        "outside.test.",
        "nobody.serves.this.test.",
    ];
    let types = [A, AAAA, SRV, PTR, TXT, SOA, NS, CNAME, MX, HTTPS, 99, 65_400];
    let mut found = Vec::new();
    for (place, name) in names.iter().enumerate() {
        for (turn, rtype) in types.iter().enumerate() {
            let query = Query::new(name, *rtype);
            let edns = |payload, dnssec_ok| Edns { payload, dnssec_ok, ..Edns::default() };
            let query = match (place + turn) % 4 {
                0 => query,
                1 => query.edns(edns(1232, true)),
                2 => query.edns(edns(4096, false)),
                // As long as a padding makes it; more than 512 octets in all CoreDNS does not read over UDP.
                _ => query.edns(Edns { options: vec![(12, vec![0; 30 * turn])], ..edns(1232, false) }),
            };
            found.push((query, (place * 7 + turn) % 5 == 0));
        }
    }
    found
}

fn ask(server: &Server, questions: &[(Query, bool)]) {
    for (query, over_tcp) in questions {
        let asked = if *over_tcp { dns::ask_tcp(server.addr(), query) } else { dns::ask(server.addr(), query) };
        asked.unwrap_or_else(|error| panic!("{:?}: {} {}: {error}", server.program, query.name, query.rtype));
    }
}

/// Waits until the address that a slice has last is answered.
fn wait_for_slices(server: &Server, last: u8) {
    for (index, service) in SLICED.iter().enumerate().skip(1) {
        let name = format!("10-244-{index}-{last}.{service}.default.svc.cluster.local.");
        wait_for(&format!("{name} at {:?}", server.program), PATIENCE, || {
            let answer = server.ask(&name, A);
            if answer.rcode == NOERROR { Ok(()) } else { Err(answer.to_string()) }
        });
    }
}

/// The page once so many queries more than `before` were counted: an answer is counted after it was sent.
fn counted(server: &Server, before: &Samples, queries: usize) -> Samples {
    wait_for("all are counted", PATIENCE, || {
        let after = scrape(server);
        let count: f64 = added(before, &after, "coredns_dns_requests_total", &[]).values().sum();
        if count == queries as f64 { Ok(after) } else { Err(format!("{:?}: {count} of {queries}", server.program)) }
    })
}

struct Both {
    ours: Server,
    theirs: Server,
    _plane: ControlPlane,
    _upstreams: [Scripted; 2],
}

impl Both {
    fn each(&self) -> [&Server; 2] {
        [&self.ours, &self.theirs]
    }
}

/// Both servers, when they have seen all objects; what their pages say before the questions and after them.
fn both() -> (Both, [(Samples, Samples); 2]) {
    let plane = ControlPlane::start(Options::default());
    plane.apply(&(OBJECTS.to_owned() + &slices(1)));
    let (upstream, dead) = (Scripted::start(), Scripted::start());
    let corefile = corefile(&plane, &upstream, &dead);
    let [ours, theirs] = [Program::Podzone, Program::CoreDns].map(|program| program.start(&corefile));
    [&ours, &theirs].iter().for_each(|server| wait_for_slices(server, 1));
    plane.apply(&slices(7));
    [&ours, &theirs].iter().for_each(|server| wait_for_slices(server, 7));
    // Started last, so that CoreDNS's first look at its pool finds none kept.
    dead.be_silent(true);
    let both = Both { ours, theirs, _plane: plane, _upstreams: [upstream, dead] };
    let before = both.each().map(scrape);
    let questions = questions();
    both.each().iter().for_each(|server| ask(server, &questions));
    let mut pages = before.map(|before| (before, Samples::new()));
    for (server, (before, after)) in both.each().into_iter().zip(&mut pages) {
        *after = counted(server, before, questions.len());
    }
    (both, pages)
}

/// The names of all series and, for each, the names of its labels and the values of those that are not the machine's.
fn shape(samples: &Samples) -> BTreeSet<String> {
    let of_series = |(name, labels): &(String, BTreeMap<String, String>)| {
        let label = |(name, value): (&String, &String)| match name.as_str() {
            name if OWN_LABELS.contains(&name) => name.to_owned(),
            _ => format!("{name}={value}"),
        };
        format!("{name}{{{}}}", labels.iter().map(label).collect::<Vec<_>>().join(","))
    };
    samples.keys().map(of_series).collect()
}

#[test]
fn podzone_counts_what_coredns_counts() {
    let (both, [(ours_before, ours), (theirs_before, theirs)]) = both();

    // Every family that CoreDNS has is ours too, with the same labels.
    let [our_page, their_page] = both.each().map(scrape_text);
    let (our_families, their_families) = (families(&our_page), families(&their_page));
    let mut lacking = Vec::new();
    for (name, family) in &their_families {
        if let Some((_, _reason)) = NOT_OURS.iter().find(|(prefix, _)| name.starts_with(prefix)) {
            assert_eq!(our_families.get(name), None, "{name} is said not to be ours");
            continue;
        }
        if our_families.get(name) != Some(family) {
            lacking.push(format!("{name}: {family:?}, podzone {:?}", our_families.get(name)));
        }
    }
    assert!(lacking.is_empty(), "{lacking:#?}");
    for (prefix, reason) in NOT_OURS {
        assert!(their_families.keys().any(|name| name.starts_with(prefix)), "CoreDNS has no {prefix}: {reason}");
    }

    // Every series that the questions make is ours too, with the same values in its labels.
    let made = ["coredns_dns_", "coredns_proxy_", "coredns_plugin_enabled", "coredns_health_", "coredns_forward_"];
    let of_queries = |samples: &Samples| -> BTreeSet<String> {
        let shape = shape(samples).into_iter();
        shape.filter(|series| made.iter().any(|prefix| series.starts_with(prefix))).collect()
    };
    let (our_shape, their_shape) = (of_queries(&ours), of_queries(&theirs));
    let missing: Vec<_> = their_shape.difference(&our_shape).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let beyond: Vec<_> = our_shape.difference(&their_shape).collect();
    assert!(beyond.is_empty(), "{beyond:#?}");

    for (name, labels) in [
        ("coredns_dns_requests_total", &["server", "zone", "view", "proto", "family", "type"][..]),
        ("coredns_dns_responses_total", &["server", "zone", "view", "rcode", "plugin"]),
        ("coredns_dns_do_requests_total", &["server", "zone", "view"]),
        ("coredns_dns_request_size_bytes_bucket", &["server", "zone", "view", "proto", "le"]),
        ("coredns_dns_request_size_bytes_sum", &["server", "zone", "view", "proto"]),
        ("coredns_dns_request_size_bytes_count", &["server", "zone", "view", "proto"]),
        ("coredns_dns_response_size_bytes_count", &["server", "zone", "view", "proto"]),
        ("coredns_dns_request_duration_seconds_count", &["server", "zone", "view"]),
        ("coredns_proxy_request_duration_seconds_count", &["proxy_name", "to", "rcode"]),
    ] {
        let counted = added(&ours_before, &ours, name, labels);
        assert!(!counted.is_empty(), "{name}");
        assert_eq!(counted, added(&theirs_before, &theirs, name, labels), "{name}");
    }
    // CoreDNS keeps connections, podzone does not: each exchange is a hit or a miss.
    let exchanges = |before: &Samples, after: &Samples| {
        let names = ["coredns_proxy_conn_cache_hits_total", "coredns_proxy_conn_cache_misses_total"];
        let mut sums: BTreeMap<Vec<String>, f64> = BTreeMap::new();
        for (labels, count) in names.into_iter().flat_map(|name| added(before, after, name, &["to", "proto"])) {
            *sums.entry(labels).or_default() += count;
        }
        sums
    };
    assert_eq!(exchanges(&ours_before, &ours), exchanges(&theirs_before, &theirs));
    assert!(!exchanges(&ours_before, &ours).is_empty());
    lint(&our_page);
}

/// Two sets of rules, and names of the host itself.
const GUARDED: &str = ". {
    bind 127.0.0.1
    prometheus 127.0.0.1:{port:metrics}
    local
    any
    acl example.org a.example.org {
        drop type TXT
        filter type AAAA
        block type SRV
        allow type MX
    }
    acl {
        block type NS
    }
    whoami
}
";

#[test]
fn what_acl_and_local_make_of_queries_is_counted() {
    let asked = [
        ("example.org.", vec![A, AAAA, SRV, MX, NS, TXT]),
        ("b.A.Example.org.", vec![AAAA, SRV, SRV, TXT]),
        ("other.test.", vec![A, NS, TXT, ANY]),
        ("localhost.", vec![A, NS]),
        ("www.localhost.", vec![A, MX]),
        ("localhost.example.org.", vec![AAAA]),
        ("1.0.0.127.in-addr.arpa.", vec![PTR]),
    ];
    let total: usize = asked.iter().map(|(_, types)| types.len()).sum();
    let [ours, theirs] = [Program::Podzone, Program::CoreDns].map(|program| {
        let server = program.start(GUARDED);
        let before = scrape(&server);
        for (name, types) in &asked {
            for rtype in types {
                let query = Query::new(name, *rtype);
                // To some of these no answer comes.
                let is_dropped = *rtype == TXT && name.to_lowercase().ends_with("example.org.");
                let limit = if is_dropped { Duration::from_millis(100) } else { PATIENCE };
                assert_eq!(dns::udp_within(server.addr(), &query.to_bytes(), limit).is_err(), is_dropped, "{query:?}");
            }
        }
        let after = counted(&server, &before, total);
        let of = |name: &str, labels: &[&str]| (name.to_owned(), added(&before, &after, name, labels));
        BTreeMap::from([
            of("coredns_acl_allowed_requests_total", &["server", "view"]),
            of("coredns_acl_blocked_requests_total", &["server", "zone", "view"]),
            of("coredns_acl_filtered_requests_total", &["server", "zone", "view"]),
            of("coredns_acl_dropped_requests_total", &["server", "zone", "view"]),
            of("coredns_local_localhost_requests_total", &[]),
            of("coredns_dns_responses_total", &["zone", "rcode"]),
            of("coredns_dns_response_size_bytes_count", &["zone", "proto"]),
        ])
    });
    assert_eq!(ours, theirs);
    assert_eq!(ours["coredns_local_localhost_requests_total"][&Vec::new()], 3.0, "{ours:?}");
}

/// A block whose first directive behind `prometheus` is the one that CoreDNS names for all of its answers.
fn guarded(plane: &ControlPlane, upstream: &Scripted) -> String {
    format!(
        "cluster.local {{
    prometheus 127.0.0.1:{{port:metrics}}
    transfer {{
        to *
    }}
    kubernetes cluster.local {{
        kubeconfig {}
    }}
}}
outside.test {{
    prometheus 127.0.0.1:{{port:metrics}}
    tsig {{
        secret key. c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0
        require A
    }}
    forward . {}
}}
",
        plane.kubeconfig().display(),
        upstream.addr()
    )
}

#[test]
fn transfers_and_refused_signatures_are_told_as_their_directives() {
    let plane = ControlPlane::start(Options::default());
    plane.apply(&(OBJECTS.to_owned() + &slices(1)));
    let upstream = Scripted::start();
    let corefile = guarded(&plane, &upstream);
    let [ours, theirs] = [Program::Podzone, Program::CoreDns].map(|program| {
        let server = program.start(&corefile);
        wait_for_slices(&server, 1);
        let before = scrape(&server);
        dns::ask_tcp(server.addr(), &Query::new("cluster.local.", AXFR)).expect("a transfer");
        // Over UDP there is none.
        dns::ask(server.addr(), &Query::new("cluster.local.", AXFR)).expect("REFUSED");
        for _ in 0..3 {
            dns::ask(server.addr(), &Query::new("www.outside.test.", A)).expect("REFUSED");
        }
        let after = counted(&server, &before, 5);
        added(&before, &after, "coredns_dns_responses_total", &["zone", "rcode", "plugin"])
    });
    assert_eq!(ours, theirs);
    let count =
        |zone: &str, rcode: &str, plugin: &str| ours.get(&[zone, rcode, plugin].map(str::to_owned)[..]).copied();
    assert_eq!(count("cluster.local.", "NOERROR", "transfer"), Some(1.0), "{ours:?}");
    assert_eq!(count("outside.test.", "REFUSED", "tsig"), Some(3.0), "{ours:?}");
}

/// The count of each kind of Service.
fn programmed(before: &Samples, after: &Samples) -> BTreeMap<String, f64> {
    let name = "coredns_kubernetes_dns_programming_duration_seconds_count";
    added(before, after, name, &["service_kind"]).into_iter().map(|(mut kind, count)| (kind.remove(0), count)).collect()
}

#[test]
fn the_programming_latency_is_told_for_each_kind_of_service() {
    let plane = ControlPlane::start(Options::default());
    plane.apply(&(OBJECTS.to_owned() + &slices(1)));
    let upstream = Scripted::start();
    let corefile = corefile(&plane, &upstream, &upstream);
    let servers = [Program::Podzone, Program::CoreDns].map(|program| program.start(&corefile));
    servers.iter().for_each(|server| wait_for_slices(server, 1));
    let before = servers.each_ref().map(scrape);
    assert_eq!(programmed(&Samples::new(), &before[0]), BTreeMap::new(), "a listing is no change");
    for round in 2..=6 {
        plane.apply(&slices(round));
        servers.iter().for_each(|server| wait_for_slices(server, round));
    }
    let after = servers.each_ref().map(|server| {
        wait_for("all are counted", PATIENCE, || {
            let after = scrape(server);
            let before = &before[usize::from(server.program == Program::CoreDns)];
            let counted = programmed(before, &after);
            if counted.values().sum::<f64>() == 15.0 { Ok(after) } else { Err(format!("{counted:?}")) }
        })
    });
    let [ours, theirs] = [0, 1].map(|index| programmed(&before[index], &after[index]));
    let expected = |rows: &[(&str, f64)]| rows.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
    // CoreDNS takes every headless Service for one with a selector.
    assert_eq!(theirs, expected(&[("cluster_ip", 5.0), ("headless_with_selector", 10.0)]));
    assert_eq!(
        ours,
        expected(&[("cluster_ip", 5.0), ("headless_with_selector", 5.0), ("headless_without_selector", 5.0)])
    );
    let sum = "coredns_kubernetes_dns_programming_duration_seconds_sum";
    for seconds in added(&before[0], &after[0], sum, &["service_kind"]).into_values() {
        assert!(seconds > 0.0 && seconds < 5.0 * PATIENCE.as_secs_f64(), "{seconds}");
    }
    // What was received is answered from at once, whatever it was before.
    let waits = |name: &str| added(&before[0], &after[0], &format!("podzone_change_to_answer_seconds_{name}"), &[]);
    let (count, sum): (f64, f64) = (waits("count").values().sum(), waits("sum").values().sum());
    assert!((5.0..=15.0).contains(&count) && sum / count < 1.0, "{sum} s in {count}");
}

/// The table of `docs/metrics.md`: name, type and labels of each family.
fn documented() -> BTreeMap<String, Family> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = std::fs::read_to_string(path).expect("docs/metrics.md");
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else { panic!("a row of four cells: {line}") };
        assert!(meaning.ends_with('.'), "{line}");
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        (name.trim_matches('`').to_owned(), Family { kind: kind.to_owned(), labels })
    };
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| `")).map(row).collect();
    let found: BTreeMap<_, _> = rows.iter().cloned().collect();
    assert_eq!(found.len(), rows.len(), "a metric stands twice");
    found
}

#[test]
fn every_metric_is_documented_and_every_documented_one_is_told() {
    // Listed in pages, so that lists have durations.
    let api_arguments = vec!["--feature-gates=WatchList=false".to_owned()];
    let plane = ControlPlane::start(Options { api_arguments, ..Options::default() });
    plane.apply(&(OBJECTS.to_owned() + &slices(1)));
    let (upstream, dead) = (Scripted::start(), Scripted::start());
    dead.be_silent(true);
    let more = "    transfer {\n        to *\n    }\n    reload 1h\n    acl {\n        block type MX\n        filter type NS\n        \
                drop type TXT\n    }\n    ready ";
    let corefile = corefile(&plane, &upstream, &dead).replace("    ready ", more);
    let corefile = corefile.replace("outside.test {\n", "outside.test {\n    cache\n");
    let theirs = Program::CoreDns.start(&corefile);
    // A loop, which would end CoreDNS, and a search path.
    let search = plane.folder().join("search");
    std::fs::write(&search, "search default.svc.cluster.local outside.test\n").expect("a search path");
    let path = format!("    autopath {}\n    forward . {}\n    ready ", search.display(), upstream.addr());
    let around = "loop.test {\n    loop\n    forward . 127.0.0.1:{port}\n}\n";
    let corefile = corefile.replace("    ready ", &path) + around;
    let server = Program::Podzone.start(&corefile);
    wait_for_slices(&server, 1);
    plane.apply(&slices(2));
    wait_for_slices(&server, 2);
    wait_for_slices(&theirs, 2);
    let requests = families(&scrape_text(&theirs));
    let requests = requests.into_iter().filter(|(name, _)| name.starts_with("coredns_kubernetes_rest_client_"));
    let requests: BTreeMap<_, _> = requests.collect();
    assert_eq!(requests.len(), 3, "{requests:?}");
    let edns = Edns { dnssec_ok: true, ..Edns::default() };
    dns::ask(server.addr(), &Query::new("www.outside.test.", A).edns(edns)).expect("an answer");
    dns::ask_tcp(server.addr(), &Query::new("cluster.local.", AXFR)).expect("a transfer");
    dns::ask(server.addr(), &Query::new("a.dead.test.", A)).expect("SERVFAIL");
    let found = dns::ask(server.addr(), &Query::new("www.default.svc.cluster.local.", A)).expect("an answer");
    assert_eq!(found.rcode, dns::NOERROR, "{found}");
    for rtype in [MX, NS, TXT] {
        let limit = Duration::from_millis(300);
        let _ = dns::udp_within(server.addr(), &Query::new("cluster.local.", rtype).to_bytes(), limit);
    }
    let documented = documented();
    wait_for("all that is documented is told", PATIENCE, || {
        let told = families(&scrape_text(&server));
        let missing: Vec<_> = documented.keys().filter(|name| !told.contains_key(*name)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("not told: {missing:?}")) }
    });
    let page = scrape_text(&server);
    for (name, family) in requests {
        assert_eq!(families(&page).get(&name), Some(&family), "{name}");
    }
    for (name, family) in families(&page) {
        assert_eq!(documented.get(&name), Some(&family), "docs/metrics.md: {name}");
    }
    lint(&page);
}
