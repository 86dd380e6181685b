//! The Corefiles that Kubernetes installs run as they are: kubeadm's, and NodeLocal DNSCache's, each where its ports, its
//! resolv.conf and its service account are its own, beside CoreDNS with the same file; and what a libc finds through them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod libc;
mod node_local;
mod search_path;
mod sources;
mod stage;

use std::net::{Ipv4Addr, SocketAddr};

use stage::Stage;
use support::dns::{self, A, AAAA, HINFO, Message, NS, PTR, Query, SOA, SRV, TXT};
use support::server::Program;

pub(crate) const KUBEADM: &str = include_str!("../../deploy/stock/kubeadm.Corefile");
pub(crate) const NODE_LOCAL: &str = include_str!("../../deploy/stock/nodelocal.Corefile");

#[test]
fn the_files_are_what_the_installers_write() {
    assert_eq!(KUBEADM, sources::kubeadm("cluster.local"));
    let placeholders = [
        ("DNS__DOMAIN", "cluster.local"),
        ("LOCAL__DNS", "169.254.20.10"),
        ("DNS__SERVER", "10.96.0.10"),
        ("CLUSTER__DNS", "10.96.0.11"),
        ("UPSTREAM__SERVERS", "/etc/resolv.conf"),
    ];
    assert_eq!(NODE_LOCAL, sources::node_local(&placeholders));
}

/// `podzone check` finds nothing in it, where it is to run.
pub(crate) fn is_silent(stage: &Stage, server: &stage::Server) {
    let mut check = stage.as_pod(&server.host, &Program::Podzone.path());
    let output = check.arg("check").arg("-conf").arg(&server.corefile).output().unwrap();
    let said = [output.stdout, output.stderr].map(|octets| String::from_utf8(octets).unwrap()).concat();
    assert!(
        output.status.success() && said.trim_end().ends_with(": nothing is wrong") && said.lines().count() == 1,
        "{said}"
    );
}

/// An answer without what differs from one query to the next: of what was forwarded, and may be cached, the TTLs too.
pub(crate) fn essence(message: &Message, has_ttl: bool) -> String {
    let mut sections = String::new();
    for section in [&message.answers, &message.authorities, &message.additionals] {
        let mut lines: Vec<String> = section
            .iter()
            // The serial is the moment of the last change.
            .map(|record| if record.rtype == SOA { format!("{} SOA", record.owner) } else { record.to_string() })
            .map(|line| if has_ttl { line } else { without_ttl(&line) })
            .collect();
        lines.sort();
        sections += &format!("{lines:?}\n");
    }
    let (rcode, aa, tc, ra) =
        (message.rcode, message.authoritative(), message.truncated(), message.recursion_available());
    format!("rcode {rcode} aa {aa} tc {tc} ra {ra}\n{sections}")
}

fn without_ttl(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    if words.len() > 2 {
        words.remove(1);
    }
    words.join(" ")
}

#[test]
fn kubeadms_corefile_runs_as_it_is() {
    let stage = Stage::get();
    let programs = [(Program::CoreDns, "kubeadm-coredns", 2), (Program::Podzone, "kubeadm-podzone", 3)];
    let mut servers = programs.map(|(program, name, octet)| stage.serve(program, name, octet, KUBEADM));
    for server in &mut servers {
        server.wait_until_it_answers(server.address());
        server.wait_until_ready();
        assert_eq!(server.page("127.0.0.1:8080", "/health").map(|(status, _)| status), Some(200));
        let (_, metrics) = server.page("127.0.0.1:9153", "/metrics").expect("metrics");
        assert!(metrics.contains("coredns_dns_requests_total"), "{metrics}");
    }
    let [theirs, ours] = &servers;
    is_silent(stage, ours);
    let of_cluster = [
        ("web.default.svc.cluster.local", A),
        ("web.default.svc.cluster.local", AAAA),
        ("Web.Default.svc.cluster.local", SRV),
        ("_http._tcp.web.default.svc.cluster.local", SRV),
        ("api.shop.svc.cluster.local", A),
        ("api.shop.svc.cluster.local", AAAA),
        ("db.default.svc.cluster.local", A),
        ("db.default.svc.cluster.local", AAAA),
        ("db.default.svc.cluster.local", SRV),
        ("db-0.db.default.svc.cluster.local", A),
        ("empty.default.svc.cluster.local", A),
        ("inside.default.svc.cluster.local", A),
        ("missing.default.svc.cluster.local", A),
        ("missing.missing.svc.cluster.local", AAAA),
        ("default.svc.cluster.local", A),
        ("10-244-1-1.default.pod.cluster.local", A),
        ("cluster.local", SOA),
        ("1.20.96.10.in-addr.arpa", PTR),
        ("1.1.244.10.in-addr.arpa", PTR),
    ];
    let of_others = [
        // CoreDNS's `cache` has it for 30 s.
        ("dns-version.cluster.local", TXT),
        ("a-1.test", A),
        ("a-2.test", AAAA),
        ("a-1.test", AAAA),
        ("cname-4.test", A),
        ("nx-1.test", A),
        ("fail-1.test", A),
        ("lame-1.test", A),
        ("spoof-4.test", A),
        ("tc-1.test", A),
        ("text-3.test", TXT),
        ("a-1.test", HINFO),
        ("outside.default.svc.cluster.local", A),
        ("nowhere.default.svc.cluster.local", A),
        ("9.9.9.9.in-addr.arpa", PTR),
    ];
    for (name, rtype, is_own) in of_cluster
        .iter()
        .map(|(name, rtype)| (name, rtype, true))
        .chain(of_others.iter().map(|(name, rtype)| (name, rtype, false)))
    {
        for query in [Query::new(name, *rtype), Query::new(name, *rtype).payload(1232)] {
            // Twice: what may be kept is kept now.
            for _ in 0..2 {
                let [of_them, of_us] = [theirs, ours].map(|server| {
                    let addr = SocketAddr::from((server.address(), 53));
                    let answer = stage.client.inside(|| dns::ask(addr, &query));
                    essence(&answer.unwrap_or_else(|error| panic!("{name}: {error}")), is_own)
                });
                assert_eq!(of_us, of_them, "{query:?}");
            }
        }
    }
    let over_tcp = stage.client.inside(|| dns::ask_tcp((ours.address(), 53).into(), &Query::new("tc-1.test", A)));
    assert_eq!(over_tcp.unwrap().answers.len(), 120);
    let none = ours.ask_at(Ipv4Addr::LOCALHOST, &Query::new(".", NS));
    assert_eq!(none.rcode, dns::NOERROR);
    assert!(!ours.process.log().contains("ERROR"), "{}", ours.process.log());
}
