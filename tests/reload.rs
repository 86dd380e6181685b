//! Reloads: what a new Corefile changes, what it leaves, and what becomes of one that cannot be put to work.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::dns::{self, A, NOERROR, NS, Query, REFUSED, SRV, Tcp};
use support::exposition::scrape;
use support::held::descriptors;
use support::server::{Program, Server};
use support::{page, wait_for, xfr};

const PATIENCE: Duration = Duration::from_secs(20);

const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.244.0.7], conditions: {ready: true}, targetRef: {kind: Pod, name: web-x}}]
ports: [{name: http, port: 80, protocol: TCP}]
";
const WEB: &str = "web.shop.svc.cluster.local.";

/// A server of a folder of manifests. `{manifests}` in a Corefile stands for the line that names it.
fn start(corefile: &str) -> Server {
    let mut server = Server::spawn(Program::Podzone, "", &[]);
    server.process().terminate(PATIENCE);
    let manifests = server.folder().join("manifests");
    fs::create_dir(&manifests).unwrap();
    fs::write(manifests.join("objects.yaml"), OBJECTS).unwrap();
    server.rewrite_corefile(&filled(corefile));
    server.restart();
    server.wait_until_it_answers();
    server
}

fn filled(corefile: &str) -> String {
    corefile.replace("{manifests}", "manifests {folder}/manifests")
}

/// How often the log says this.
fn said(server: &Server, text: &str) -> usize {
    server.log().matches(text).count()
}

/// Writes another Corefile, and asks for it; waits until the log says that it was put to work, or that it was not.
fn reload(server: &mut Server, corefile: &str) {
    server.rewrite_corefile(&filled(corefile));
    signal(server);
}

fn signal(server: &mut Server) {
    let ends = |server: &Server| said(server, "Reloading complete") + said(server, "stays at work");
    let before = ends(server);
    server.process().signal("USR1");
    wait_for("a reload", PATIENCE, || if ends(server) > before { Ok(()) } else { Err(server.log()) });
}

/// The server's descriptors, when it has seen that its clients have gone: a number that stands for a second.
fn open_files(server: &mut Server) -> usize {
    let id = server.process().id();
    let mut last = (descriptors(id), 0);
    wait_for("descriptors that stand", PATIENCE, || {
        let now = descriptors(id);
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        (last.1 == 20).then_some(now).ok_or_else(|| format!("{now}"))
    })
}

/// Waits until the server has as many descriptors as it had.
fn holds_as_before(server: &mut Server, before: usize) {
    let id = server.process().id();
    wait_for("as many descriptors as before", PATIENCE, || {
        let now = descriptors(id);
        if now == before { Ok(()) } else { Err(format!("{now}, not {before}\n{}", server.log())) }
    });
}

fn ttl(server: &Server) -> u32 {
    server.ask(WEB, SRV).answers[0].ttl
}

const BLOCK: &str = "cluster.local {
    bind 127.0.0.1
    kubernetes {
        {manifests}
        ttl 5
    }
}
";

#[test]
fn what_is_answered_changes_and_nothing_is_listed_again() {
    let mut server = start(BLOCK);
    assert_eq!(ttl(&server), 5);
    // What is held is all that there is: another listing would fail.
    fs::rename(server.folder().join("manifests"), server.folder().join("gone")).unwrap();
    let more = "example.org {\n bind 127.0.0.1\n whoami\n}\n";
    reload(&mut server, &format!("{}{more}", BLOCK.replace("ttl 5", "ttl 30\n        endpoint_pod_names")));
    assert_eq!(ttl(&server), 30, "{}", server.log());
    assert_eq!(server.ask(WEB, SRV).answers[0].data(), "0 100 80 web-x.web.shop.svc.cluster.local.");
    assert_eq!(server.ask("example.org", A).rcode, NOERROR);
    // A second view of the same cluster, and the first goes.
    let other = BLOCK.replace("cluster.local", "other.test").replace("ttl 5", "ttl 7");
    reload(&mut server, &other);
    assert_eq!(server.ask(WEB, SRV).rcode, REFUSED);
    assert_eq!(server.ask("web.shop.svc.other.test.", A).answers[0].ttl, 7);
    // What is wanted through other labels is not held.
    reload(&mut server, &other.replace("ttl 7", "labels app=web"));
    assert_eq!(server.ask("web.shop.svc.other.test.", A).answers[0].ttl, 7);
    assert!(server.log().contains("cannot read the folder of manifests"), "{}", server.log());
    assert!(server.stop().is_some_and(|status| status.success()), "{}", server.log());
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_is_told() {
    let metrics = "example.org {\n bind 127.0.0.1\n prometheus 127.0.0.1:{port:metrics}\n}\n";
    let mut server = start(&format!("{BLOCK}{metrics}"));
    let before = open_files(&mut server);
    reload(&mut server, "cluster.local {\n bind 127.0.0.1\n kubernets\n loadbalance both ways\n}\n");
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("[ERROR]")).collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(lines[0].contains("SIGUSR1: ") && lines[0].contains("Corefile:3 - "), "{log}");
    assert!(lines[0].contains("Unknown directive 'kubernets'; did you mean 'kubernetes'?"), "{log}");
    assert!(lines[1].contains("plugin/loadbalance"), "{log}");
    assert_eq!(ttl(&server), 5);
    let failed = || scrape(&server)[&("coredns_reload_failed_total".to_owned(), BTreeMap::new())];
    assert_eq!(failed(), 1.0);
    fs::remove_file(server.folder().join("Corefile")).unwrap();
    signal(&mut server);
    assert!(server.log().contains("no such file or directory"), "{}", server.log());
    reload(&mut server, &format!("{}{metrics}", BLOCK.replace("ttl 5", "ttl 6")));
    assert_eq!(ttl(&server), 6);
    assert_eq!(scrape(&server)[&("coredns_reload_failed_total".to_owned(), BTreeMap::new())], 2.0);
    holds_as_before(&mut server, before);
}

#[test]
fn what_is_not_to_be_had_leaves_all_as_it_was_and_is_tried_again() {
    let mut server = start(&format!("{BLOCK}.:{{port:other}} {{\n bind 127.0.0.1\n reload 2s 0\n}}\n"));
    let before = open_files(&mut server);
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    let wanted = format!(
        "{}.:{port} {{\n bind 127.0.0.1\n reload 2s 0\n health 127.0.0.1:{{port:health}}\n}}\n",
        BLOCK.replace("ttl 5", "ttl 9")
    );
    reload(&mut server, &wanted);
    assert!(server.log().contains("another process has port"), "{}", server.log());
    assert_eq!(ttl(&server), 5);
    holds_as_before(&mut server, before);
    assert_eq!(page::get(server.addr_of("health"), "/health"), None);
    // It is wanted still, though nothing has changed.
    drop(held);
    wait_for("the port that is free", PATIENCE, || (ttl(&server) == 9).then_some(()).ok_or_else(|| server.log()));
    assert_eq!(page::get(server.addr_of("health"), "/health").map(|(code, ..)| code), Some(200));
    assert_eq!(dns::ask(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &Query::new(".", NS)).unwrap().rcode, REFUSED);
}

#[test]
fn sockets_come_and_go_and_those_that_stay_answer_all_along() {
    let block = |bind: &str, more: &str| format!("{}{more}", BLOCK.replace("bind 127.0.0.1", bind));
    let workers = |number: u32| format!("bind 127.0.0.1\n    multisocket {number}");
    let mut server = start(&block(&workers(1), ""));
    let before = open_files(&mut server);
    let other = "example.org:{port:other} {\n bind 127.0.0.1\n whoami\n}\n";
    let everywhere = "health :{port:health}";
    let steps = [
        (block(&workers(3), other), true),
        (block(&workers(1), other), true),
        // The same port, for all addresses and then for one again; an endpoint as well.
        (block(everywhere, ""), false),
        (block("bind 127.0.0.1\n    health 127.0.0.1:{port:health}", ""), false),
        (block(&workers(2), other), true),
    ];
    for (corefile, has_other) in steps {
        reload(&mut server, &corefile);
        assert!(!server.log().contains("stays at work"), "{corefile}\n{}", server.log());
        for _ in 0..20 {
            assert_eq!(ttl(&server), 5, "{corefile}");
            assert_eq!(dns::ask_tcp(server.addr(), &Query::new(WEB, A)).unwrap().answers.len(), 1, "{corefile}");
        }
        if corefile.contains("{port:health}") {
            assert_eq!(page::get(server.addr_of("health"), "/health").map(|(code, ..)| code), Some(200));
        }
        let other = dns::ask(server.addr_of("other"), &Query::new("example.org", A));
        assert_eq!(other.is_ok(), has_other, "{corefile}");
    }
    reload(&mut server, &block(&workers(1), ""));
    holds_as_before(&mut server, before);
}

#[test]
fn a_connection_that_stays_open_gets_the_new_answers() {
    let mut server = start(&BLOCK.replace("bind 127.0.0.1", "bind 127.0.0.1\n    timeouts {\n        idle 1m\n    }"));
    let mut connection = Tcp::connect(server.addr(), PATIENCE).unwrap();
    let ttl = |connection: &mut Tcp| {
        connection.send(&Query::new(WEB, SRV).to_bytes()).unwrap();
        dns::Message::decode(&connection.receive().unwrap()).unwrap().answers[0].ttl
    };
    assert_eq!(ttl(&mut connection), 5);
    reload(&mut server, &BLOCK.replace("ttl 5", "ttl 8"));
    assert_eq!(ttl(&mut connection), 8);
}

#[test]
fn files_that_change_are_read_again() {
    let mut server = start(BLOCK);
    let folder = server.folder().to_owned();
    // As a ConfigMap is mounted: what is read lies behind a link that is replaced.
    let version = |number: u32, ttl: u32| {
        let data = folder.join(format!("..{number}"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("zone"), filled(&BLOCK.replace("ttl 5", &format!("ttl {ttl}"))).replace("{folder}", "."))
            .unwrap();
        std::os::unix::fs::symlink(&data, folder.join("..new")).unwrap();
        fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    };
    version(1, 5);
    let own = ".:{port} {\n bind 127.0.0.1\n reload 2s 0s\n whoami\n}\nimport ..data/zone\n";
    reload(&mut server, own);
    assert_eq!(ttl(&server), 5, "{}", server.log());
    version(2, 11);
    wait_for("an import that changed", PATIENCE, || (ttl(&server) == 11).then_some(()).ok_or_else(|| server.log()));
    let complete = said(&server, "Reloading complete");
    server.rewrite_corefile(&own.replace("whoami", "whoami\n log"));
    wait_for("the Corefile that changed", PATIENCE, || {
        (said(&server, "Reloading complete") > complete).then_some(()).ok_or_else(|| server.log())
    });
    // What does not change is not put to work again; what says so no longer is not looked at.
    server.rewrite_corefile(&own.replace(" reload 2s 0s\n", ""));
    wait_for("the last look", PATIENCE, || {
        (said(&server, "Reloading complete") > complete + 1).then_some(()).ok_or_else(|| server.log())
    });
    version(3, 12);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(ttl(&server), 11, "{}", server.log());
    assert_eq!(said(&server, "Reloading complete"), complete + 2, "{}", server.log());
}

/// Both servers name the version of a configuration alike, so that one dashboard shows who runs what.
#[test]
fn the_version_of_a_configuration_is_that_of_coredns() {
    let folder = tempfile::tempdir().unwrap();
    let import = folder.path().join("block");
    fs::write(&import, "b.example, c.example {\n whoami\n log . \"<{name}> & {type}\"\n}\n").unwrap();
    let corefile = format!(
        "(common) {{\n errors\n}}\n.:{{port}} {{\n bind 127.0.0.1\n import common\n reload 2s 0s # how often\n \
         prometheus 127.0.0.1:{{port:metrics}}\n {{$PODZONE_TEST_UNSET}}\n}}\nimport {}\n",
        import.display()
    );
    let corefile = corefile.replace(" {$PODZONE_TEST_UNSET}\n", "");
    let mut servers = [Program::CoreDns, Program::Podzone].map(|program| {
        // The same ports, since they are part of it.
        program.start(&corefile.replace("{port:metrics}", "0").replace("{port}", "0"))
    });
    let versions = |server: &Server| -> Vec<String> {
        let log = server.log();
        let lines = log.lines().filter_map(|line| line.split_once("Running configuration SHA512 = "));
        lines.map(|(_, version)| version.trim().to_owned()).collect()
    };
    for server in &mut servers {
        wait_for("a version", PATIENCE, || if versions(server).len() == 1 { Ok(()) } else { Err(server.log()) });
    }
    assert_eq!(versions(&servers[0]), versions(&servers[1]));
    fs::write(&import, "b.example {\n whoami\n}\n\n\nd.example {\n errors\n whoami\n log a\n log b\n}\n").unwrap();
    for server in &mut servers {
        wait_for("another version", PATIENCE, || if versions(server).len() == 2 { Ok(()) } else { Err(server.log()) });
    }
    assert_eq!(versions(&servers[0]), versions(&servers[1]));
}

#[test]
fn the_version_is_told_by_a_metric_and_counts_go_on() {
    let corefile =
        format!("{BLOCK}.:{{port}} {{\n bind 127.0.0.1\n reload 1h\n prometheus 127.0.0.1:{{port:metrics}}\n}}\n");
    let mut server = start(&corefile.replace("kubernetes {", "prometheus 127.0.0.1:{port:metrics}\n    kubernetes {"));
    let version = |server: &Server| -> Vec<String> {
        let samples = scrape(server);
        let named = samples.into_keys().filter(|(name, _)| name == "coredns_reload_version_info");
        named.map(|(_, labels)| labels.into_values().collect::<Vec<_>>().join(" ")).collect()
    };
    let counted = |server: &Server| -> f64 {
        let samples = scrape(server);
        samples.iter().filter(|((name, _), _)| name == "coredns_dns_requests_total").map(|(_, count)| count).sum()
    };
    let first = version(&server);
    assert!(first.len() == 1 && first[0].starts_with("sha512 "), "{first:?}");
    let before = counted(&server);
    assert_eq!(ttl(&server), 5);
    let again = corefile.replace("kubernetes {", "prometheus 127.0.0.1:{port:metrics}\n    log\n    kubernetes {");
    reload(&mut server, &again);
    assert_ne!(version(&server), first);
    assert_eq!(version(&server).len(), 1);
    assert_eq!(ttl(&server), 5);
    assert_eq!(counted(&server), before + 2.0);
    assert_eq!(said(&server, "NOERROR qr,aa,rd"), 1, "{}", server.log());
}

#[test]
fn secondaries_see_a_later_version_of_what_changed() {
    let block = BLOCK.replace("kubernetes {", "transfer {\n        to *\n    }\n    kubernetes {");
    let mut server = start(&block);
    let first = xfr::axfr(server.addr(), "cluster.local").unwrap();
    reload(&mut server, &block);
    assert_eq!(xfr::axfr(server.addr(), "cluster.local").unwrap().serial(), first.serial());
    reload(&mut server, &block.replace("ttl 5", "ttl 20"));
    let second = xfr::axfr(server.addr(), "cluster.local").unwrap();
    assert!(second.serial() > first.serial(), "{} {}", first.serial(), second.serial());
    assert!(second.zone().iter().any(|record| record.ttl == 20));
}

#[test]
fn an_order_to_end_is_obeyed_while_a_reload_waits() {
    let mut server = start(BLOCK);
    // Nobody answers there, so that the cluster is never listed.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = format!("endpoint http://{}", silent.local_addr().unwrap());
    server.rewrite_corefile(&BLOCK.replace("{manifests}", &endpoint));
    server.process().signal("USR1");
    wait_for("the reload", PATIENCE, || (said(&server, "] Reloading") > 0).then_some(()).ok_or_else(|| server.log()));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ttl(&server), 5);
    assert!(server.stop().is_some_and(|status| status.success()), "{}", server.log());
}

/// The token that each request brought, and its path.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// An API server without objects, whose watches end after a while.
fn empty_api() -> (String, Asked) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, log) = (stream.unwrap(), Arc::clone(&log));
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut octet = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut octet).is_ok() {
                    request.extend(octet);
                }
                let request = String::from_utf8(request).unwrap();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                let token =
                    request.lines().find_map(|line| line.split_once("earer ").map(|(_, token)| token.to_owned()));
                let is_watch = path.contains("watch=true");
                log.lock().unwrap().push((token.unwrap_or_default(), path));
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(head.as_bytes());
                if is_watch {
                    std::thread::sleep(Duration::from_millis(2500));
                } else {
                    let _ = stream.write_all(br#"{"metadata":{"resourceVersion":"1"},"items":[]}"#);
                }
            });
        }
    });
    (url, asked)
}

fn kubeconfig(url: &str, token: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: '{url}'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: {token}}}}}]\n"
    )
}

#[test]
fn a_kubeconfig_that_changes_is_taken_up_and_nothing_is_listed_again() {
    let (url, asked) = empty_api();
    let mut server = start(BLOCK);
    let path = server.folder().join("kubeconfig");
    fs::write(&path, kubeconfig(&url, "first")).unwrap();
    let block = BLOCK
        .replace("{manifests}", "kubeconfig {folder}/kubeconfig")
        .replace("    kubernetes {", "    reload 2s 0s\n    kubernetes {");
    reload(&mut server, &block);
    let count = |wanted: &str, watches: bool| {
        let asked = asked.lock().unwrap();
        asked.iter().filter(|(token, path)| token == wanted && path.contains("watch=true") == watches).count()
    };
    wait_for("watches", PATIENCE, || if count("first", true) >= 3 { Ok(()) } else { Err(server.log()) });
    let lists = count("first", false);
    fs::write(&path, kubeconfig(&url, "second")).unwrap();
    wait_for("the new token", PATIENCE, || if count("second", true) >= 3 { Ok(()) } else { Err(server.log()) });
    assert_eq!(said(&server, "certificates or kubeconfigs have changed"), 1, "{}", server.log());
    assert_eq!((count("first", false), count("second", false)), (lists, 0), "{:?}", asked.lock().unwrap());
}

#[test]
fn standard_input_is_read_once() {
    let mut server = Server::piped(".:{port} {\n bind 127.0.0.1\n reload\n whoami\n}\n");
    server.wait_until_it_answers();
    server.process().signal("USR1");
    wait_for("the refusal", PATIENCE, || {
        (said(&server, "SIGUSR1: standard input is read once") == 1).then_some(()).ok_or_else(|| server.log())
    });
    assert_eq!(server.ask("example.org", A).rcode, NOERROR);
    assert_eq!(said(&server, "standard input is read once, whatever reload says"), 1);
}
