//! NodeLocal DNSCache's Corefile on a node: two addresses that are brought up beside, a block for each tree
//! of names, the cluster's names over TCP.

use std::net::{Ipv4Addr, SocketAddr};

use crate::stage::Stage;
use crate::support::dns::{self, A, NXDOMAIN, PTR, Query};
use crate::support::server::Program;
use crate::{KUBEADM, NODE_LOCAL, essence, is_silent};

const LOCAL: Ipv4Addr = Ipv4Addr::new(169, 254, 20, 10);
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The Service of the cluster's DNS that does not lead back to the node.
const CLUSTER: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 11);

#[test]
fn node_locals_corefile_runs_as_it_is() {
    let stage = Stage::get();
    let mut cluster = stage.serve(Program::Podzone, "cluster-dns", 30, KUBEADM);
    cluster.wait_until_it_answers(cluster.address());
    cluster.host.ip(&["address", "add", &format!("{CLUSTER}/32"), "dev", "lo"]);
    let nodes = [(Program::CoreDns, "node-coredns", 31), (Program::Podzone, "node-podzone", 32)];
    let mut servers = nodes.map(|(program, name, octet)| {
        let host = stage.host(name, Ipv4Addr::new(10, 244, 0, octet));
        // As docs/deploy.md says.
        for address in [LOCAL, SERVICE] {
            host.ip(&["address", "add", &format!("{address}/32"), "dev", "lo"]);
        }
        host.ip(&["route", "add", &CLUSTER.to_string(), "via", "10.244.0.30"]);
        stage.serve_on(program, host, NODE_LOCAL)
    });
    for server in &mut servers {
        server.wait_until_it_answers(LOCAL);
        server.wait_until_it_answers(SERVICE);
        assert_eq!(server.page(&format!("{LOCAL}:8080"), "/health").map(|(status, _)| status), Some(200));
    }
    let [theirs, ours] = &servers;
    is_silent(stage, ours);
    let questions = [
        ("web.default.svc.cluster.local", A),
        ("db.default.svc.cluster.local", A),
        ("missing.default.svc.cluster.local", A),
        ("1.20.96.10.in-addr.arpa", PTR),
        ("a-1.test", A),
        ("cname-3.test", A),
        ("nx-1.test", A),
    ];
    for (name, rtype) in questions {
        for address in [LOCAL, SERVICE] {
            let query = Query::new(name, rtype).payload(1232);
            let [of_them, of_us] = [theirs, ours].map(|server| essence(&server.ask_at(address, &query), false));
            assert_eq!(of_us, of_them, "{name} at {address}");
        }
    }
    assert_eq!(ours.ask_at(LOCAL, &Query::new("nx-1.test", A)).rcode, NXDOMAIN);
    // Nothing listens but where `bind` says.
    let elsewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
    assert!(ours.host.inside(|| dns::ask_tcp(elsewhere, &Query::new("a-1.test", A))).is_err());
    let (_, metrics) = ours.page("127.0.0.1:9253", "/metrics").expect("metrics");
    // `force_tcp` for the cluster's names, and UDP for all others.
    let line = |wanted: &[&str]| metrics.lines().any(|line| wanted.iter().all(|part| line.contains(part)));
    assert!(line(&["coredns_proxy_conn_cache_misses_total", "10.96.0.11:53", "proto=\"tcp\""]), "{metrics}");
    assert!(!line(&["coredns_proxy_conn_cache_misses_total", "10.96.0.11:53", "proto=\"udp\""]), "{metrics}");
    assert!(line(&["coredns_proxy_conn_cache_misses_total", "10.244.0.9:53", "proto=\"udp\""]), "{metrics}");
    assert!(!ours.process.log().contains("ERROR"), "{}", ours.process.log());
}
