//! `autopath`: the first question of a search path gets the answer of the first name of it that exists.
//!
//! Clients are told apart by their addresses: 127.0.0.2 and so on stand for pods.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use support::dns::{A, AAAA, HINFO, Message, NOERROR, NXDOMAIN, Query, REFUSED, SERVFAIL, SRV, Tcp};
use support::exposition::scrape;
use support::scripted::{Over, Scripted};
use support::server::{Program, Server};

const PATIENCE: Duration = Duration::from_secs(60);

/// Who asks.
const DEFAULT: &str = "127.0.0.2";
const SHOP: &str = "127.0.0.3";
/// Two pods have this address: a node's, or one that is used again.
const BOTH: &str = "127.0.0.4";
/// A pod that has ended had this one.
const ENDED: &str = "127.0.0.5";
const NOBODY: &str = "127.0.0.6";

const CLUSTER: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: default}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: ClusterIP, clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: default}
spec: {type: ExternalName, externalName: db.example.net}
";

fn pod(name: &str, namespace: &str, address: &str, phase: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{containers: [{{name: c, image: i}}]}}
status: {{phase: {phase}, podIP: {address}, podIPs: [{{ip: {address}}}]}}
"
    )
}

fn cluster(folder: &Path) {
    let pods = [
        pod("a", "default", DEFAULT, "Running"),
        pod("b", "shop", SHOP, "Running"),
        pod("c", "default", BOTH, "Running"),
        pod("d", "shop", BOTH, "Running"),
        pod("e", "default", ENDED, "Succeeded"),
    ];
    std::fs::create_dir(folder.join("cluster")).unwrap();
    std::fs::write(folder.join("cluster/all.yaml"), CLUSTER.to_owned() + &pods.concat()).unwrap();
}

fn corefile(more: &str, autopath: &str) -> String {
    format!(
        ".:{{port}} {{
    bind 127.0.0.1
    errors
    prometheus 127.0.0.1:{{port:metrics}}
    {more}
    autopath {autopath}
    kubernetes cluster.local in-addr.arpa {{
        manifests {{folder}}/cluster
        pods verified
        fallthrough in-addr.arpa
    }}
}}
"
    )
}

fn start(corefile: &str) -> Server {
    let mut server = Server::spawn(Program::Podzone, "example.org {\n bind 127.0.0.1\n whoami\n}\n", &[]);
    server.wait_until_it_answers();
    cluster(server.folder());
    server.rewrite_corefile(corefile);
    server.process().kill();
    server.restart();
    server.wait_until_it_answers();
    server
}

fn ask_as(server: &Server, client: &str, query: &Query) -> Message {
    let socket = UdpSocket::bind((client, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&query.to_bytes(), server.addr()).unwrap();
    let mut answer = [0; 4096];
    let (octets, _) = socket.recv_from(&mut answer).unwrap();
    Message::decode(&answer[..octets]).unwrap()
}

/// Code and answers, as text.
fn told(message: &Message) -> (u16, Vec<String>) {
    (message.rcode, message.answers.iter().map(ToString::to_string).collect())
}

fn told_as(server: &Server, client: &str, name: &str, rtype: u16) -> (u16, Vec<String>) {
    told(&ask_as(server, client, &Query::new(name, rtype)))
}

fn autopathed(server: &Server) -> f64 {
    let samples = scrape(server);
    samples.into_iter().filter(|((name, _), _)| name == "coredns_autopath_success_total").map(|(_, count)| count).sum()
}

const NOTHING: (u16, Vec<String>) = (NXDOMAIN, Vec::new());

#[test]
fn a_pod_gets_the_first_name_of_its_search_path_that_exists() {
    let upstream = Scripted::start();
    let server = start(&corefile(&format!("forward . {}", upstream.addr()), "@kubernetes"));
    let name = "Www.example.org.default.svc.cluster.local";
    let found = (
        NOERROR,
        vec![format!("{name}. 60 IN CNAME Www.example.org."), "Www.example.org. 60 IN A 192.0.2.99".to_owned()],
    );
    assert_eq!(told_as(&server, DEFAULT, name, A), found);
    assert_eq!(autopathed(&server), 1.0);
    // Only the name itself leaves the cluster: all others are known not to exist.
    let names: Vec<String> =
        upstream.questions().into_iter().filter(|it| it.rtype != HINFO).map(|it| it.name).collect();
    assert!(names.iter().all(|name| ["www.example.org.", "."].contains(&&*name.to_ascii_lowercase())), "{names:?}");

    // A Service of another namespace, by its short name.
    let web = "web.shop.default.svc.cluster.local";
    let found = (
        NOERROR,
        vec![
            format!("{web}. 5 IN CNAME web.shop.svc.cluster.local."),
            "web.shop.svc.cluster.local. 5 IN A 10.96.0.7".to_owned(),
        ],
    );
    assert_eq!(told_as(&server, DEFAULT, web, A), found);
    let srv = ask_as(&server, DEFAULT, &Query::new("_http._tcp.web.shop.default.svc.cluster.local", SRV));
    assert_eq!(srv.data_of(SRV), ["0 100 80 web.shop.svc.cluster.local."]);
    assert_eq!(srv.additionals.len(), 1, "{srv}");

    // What the first name has is told as ever, and an alias once.
    let outside = told_as(&server, DEFAULT, "outside.default.svc.cluster.local", A);
    let alias = "outside.default.svc.cluster.local. 5 IN CNAME db.example.net.".to_owned();
    assert_eq!(outside, (NOERROR, vec![alias, "db.example.net. 60 IN A 192.0.2.99".to_owned()]));
    // The name exists, without records of this type: that is an answer, to both questions of a client.
    let nodata = ask_as(&server, DEFAULT, &Query::new("nodata.example.org.default.svc.cluster.local", AAAA));
    assert_eq!(told(&nodata), (NOERROR, Vec::new()));
    // Nobody has it: the client hears of its own name, and goes on itself.
    let missing = ask_as(&server, DEFAULT, &Query::new("rcode-3.example.org.default.svc.cluster.local", A));
    assert_eq!(told(&missing), NOTHING);
    assert!(missing.authorities.iter().all(|record| record.owner == "cluster.local."), "{missing}");
    assert_eq!(told_as(&server, DEFAULT, "rcode-2.example.org.default.svc.cluster.local", A), (SERVFAIL, vec![]));

    // The namespace itself, names above and beside it, and those of other trees.
    for name in ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"] {
        assert_eq!(told_as(&server, DEFAULT, name, A), (NOERROR, Vec::new()), "{name}");
    }
    assert_eq!(told_as(&server, DEFAULT, "www.example.org.svc.cluster.local", A), NOTHING);
    assert_eq!(told_as(&server, DEFAULT, "www.example.org.cluster.local", A), NOTHING);
    assert_eq!(told_as(&server, DEFAULT, "1.2.3.127.in-addr.arpa", A).0, NOERROR);

    // Over TCP, and with a name for which there is no room.
    let mut tcp = Tcp::connect(server.addr(), PATIENCE).unwrap();
    tcp.send(&Query::new(name, A).to_bytes()).unwrap();
    // It comes from 127.0.0.1, which is no pod's.
    assert_eq!(told(&Message::decode(&tcp.receive().unwrap()).unwrap()), NOTHING);
    assert!(upstream.asked("Www.example.org").iter().all(|over| *over == Over::Udp));
}

#[test]
fn only_pods_have_search_paths_and_each_its_own() {
    let upstream = Scripted::start();
    let server = start(&corefile(&format!("forward . {}", upstream.addr()), "@kubernetes"));
    let [of_default, of_shop] = ["default", "shop"].map(|space| format!("www.example.org.{space}.svc.cluster.local"));
    let has = |client, name: &str| told_as(&server, client, name, A) != NOTHING;
    let table =
        [DEFAULT, SHOP, BOTH, ENDED, NOBODY].map(|client| (client, has(client, &of_default), has(client, &of_shop)));
    let expected = [
        (DEFAULT, true, false),
        (SHOP, false, true),
        // Both have one that is right, whichever is listed first.
        (BOTH, true, true),
        (ENDED, false, false),
        (NOBODY, false, false),
    ];
    assert_eq!(table, expected);
    // What one client was told is nobody else's.
    for client in [NOBODY, DEFAULT, NOBODY, SHOP] {
        assert_eq!(has(client, &of_default), client == DEFAULT, "{client}");
    }
}

#[test]
fn what_names_have_is_cached_and_what_one_client_is_told_is_not() {
    let upstream = Scripted::start();
    let server = start(&corefile(&format!("cache 30\n    forward . {}", upstream.addr()), "@kubernetes"));
    let name = |space: &str| format!("www.example.org.{space}.svc.cluster.local");
    for _ in 0..3 {
        for (client, space) in [(DEFAULT, "default"), (SHOP, "shop"), (BOTH, "default"), (BOTH, "shop")] {
            let (rcode, answers) = told_as(&server, client, &name(space), A);
            assert_eq!(rcode, NOERROR);
            assert!(answers[0].ends_with(" IN CNAME www.example.org."), "{answers:?}");
            assert!(answers[1].ends_with(" IN A 192.0.2.99") && answers.len() == 2, "{answers:?}");
        }
        for (client, space) in [(NOBODY, "default"), (SHOP, "default"), (DEFAULT, "shop")] {
            assert_eq!(told_as(&server, client, &name(space), A), NOTHING, "{client} {space}");
        }
    }
    assert_eq!(upstream.asked("www.example.org").len(), 1);
    assert_eq!(autopathed(&server), 12.0);
}

#[test]
fn the_search_path_of_a_file_is_everybodys() {
    let upstream = Scripted::start();
    let server = start(&corefile(&format!("forward . {}", upstream.addr()), "@kubernetes"));
    std::fs::write(server.folder().join("resolv.conf"), "search rcode-3.test cluster.local\n").unwrap();
    let mut server = server;
    server.rewrite_corefile(&corefile(&format!("forward . {}", upstream.addr()), "{folder}/resolv.conf"));
    server.process().kill();
    server.restart();
    server.wait_until_it_answers();
    upstream.answer_with(NXDOMAIN);
    assert_eq!(told_as(&server, NOBODY, "x.rcode-3.test", A), NOTHING);
    // `web.shop.svc` is found below the second, here by a client that is none of the cluster's.
    let name = "web.shop.svc.rcode-3.test";
    let found = (
        NOERROR,
        vec![
            format!("{name}. 5 IN CNAME web.shop.svc.cluster.local."),
            "web.shop.svc.cluster.local. 5 IN A 10.96.0.7".to_owned(),
        ],
    );
    assert_eq!(told_as(&server, NOBODY, name, A), found);
}

#[test]
fn names_that_nobody_here_is_for_are_passed_over() {
    let server = start(&corefile("", "@kubernetes"));
    // Without `forward`: CoreDNS says SERVFAIL (coredns/coredns#2552).
    assert_eq!(told_as(&server, DEFAULT, "www.example.org.default.svc.cluster.local", A), NOTHING);
    assert_eq!(told_as(&server, DEFAULT, "web.shop.default.svc.cluster.local", A).0, NOERROR);
}

#[test]
fn what_acl_refuses_is_refused_by_every_name() {
    let upstream = Scripted::start();
    let acl = format!("acl secret.example.org {{\n        block\n    }}\n    forward . {}", upstream.addr());
    let server = start(&corefile(&acl, "@kubernetes"));
    assert_eq!(told_as(&server, DEFAULT, "secret.example.org", A), (REFUSED, vec![]));
    assert_eq!(told_as(&server, DEFAULT, "secret.example.org.default.svc.cluster.local", A), (REFUSED, vec![]));
    assert_eq!(told_as(&server, DEFAULT, "www.example.org.default.svc.cluster.local", A).0, NOERROR);
    assert!(upstream.asked("secret.example.org").is_empty());
}
