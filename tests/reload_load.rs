//! Reloads and restarts under load: no query is lost, none fails.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::dns::{self, A, Query, SRV};
use support::exposition::scrape;
use support::held::{descriptors, resident_kib};
use support::process::Scratch;
use support::server::{Program, Server};
use support::{dnsperf, page, wait_for};

const PATIENCE: Duration = Duration::from_secs(20);
const RELOADS: usize = 100;
/// Every so many reloads, the file's change is found and not told of.
const BY_FILE_EVERY: usize = 10;
const PER_SECOND: u32 = 20_000;
const SERVICES: usize = 200;
/// What memory may grow by between a fifth of the reloads and all of them.
const GROWTH_KIB: u64 = 4096;

fn manifests(scratch: &Scratch) {
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n".to_owned();
    for number in 0..SERVICES {
        text += &format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: shop}}\nspec: {{clusterIP: None, \
             ports: [{{name: http, port: 80}}]}}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: \
             {{name: s{number}-1, namespace: shop, labels: {{kubernetes.io/service-name: s{number}}}}}\naddressType: IPv4\n\
             endpoints: [{{addresses: [10.244.1.{0}], conditions: {{ready: true}}}}, {{addresses: [10.244.2.{0}], \
             conditions: {{ready: true}}}}]\nports: [{{name: http, port: 80, protocol: TCP}}]\n",
            number % 250
        );
    }
    fs::write(scratch.path().join("objects.yaml"), text).unwrap();
}

fn names() -> String {
    let name = |number| format!("s{number}.shop.svc.cluster.local");
    let all = (0..SERVICES).map(|number| format!("{} {}\n", name(number), if number % 2 == 0 { "A" } else { "SRV" }));
    all.chain(["absent.shop.svc.cluster.local A\n".into()]).collect()
}

/// What a reload puts to work, in turns: other options of the view, sockets that come and go, files that are wrong.
fn corefile(turn: usize, folder: &Scratch) -> (String, bool) {
    let ttl = 5 + turn % 3;
    let view = ["", "endpoint_pod_names", "namespaces shop"][turn % 3];
    let workers = [1, 2, 2, 1][turn % 4];
    let more = match turn % 5 {
        1 => "example.org:{port:other} {\n    bind 127.0.0.1\n    whoami\n}\n",
        2 => "cluster.local {\n    whoami\n}\n",
        3 => "example.org {\n    bind 127.0.0.1\n    nonsense\n}\n",
        4 => "example.org:{port:other} {\n    bind 127.0.0.1\n    health 127.0.0.1:{port:health}\n    errors\n}\n",
        _ => "",
    };
    let is_wrong = matches!(turn % 5, 2 | 3);
    let text = format!(
        "cluster.local {{\n    bind 127.0.0.1\n    multisocket {workers}\n    reload 2s 0\n    ready 127.0.0.1:{{port:ready}}\n    \
         prometheus 127.0.0.1:{{port:metrics}}\n    kubernetes {{\n        manifests {}\n        ttl {ttl}\n        {view}\n    \
         }}\n}}\n# {turn}\n{more}",
        folder.path().display()
    );
    // Two blocks of one zone at one address are refused.
    (text.replace("cluster.local {\n    whoami", "cluster.local {\n    bind 127.0.0.1\n    whoami"), is_wrong)
}

#[test]
fn a_hundred_reloads_lose_nothing() {
    let folder = Scratch::new();
    manifests(&folder);
    let mut server = Program::Podzone.start(&corefile(0, &folder).0);
    let asked = server.folder().join("names");
    fs::write(&asked, names()).unwrap();
    let (addr, process) = (server.addr(), server.process().id());
    let over = AtomicBool::new(false);
    let mut held = Vec::new();
    let load = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut sum = dnsperf::Load::default();
            while !over.load(Ordering::Relaxed) {
                let load = dnsperf::load(addr, &asked, PER_SECOND, 5);
                sum.sent += load.sent;
                sum.answered += load.answered;
                sum.failed += load.failed;
                sum.milliseconds += load.milliseconds;
            }
            sum
        });
        thread::sleep(Duration::from_millis(500));
        for turn in 1..=RELOADS {
            let (text, is_wrong) = corefile(turn, &folder);
            let end = if is_wrong { "stays at work" } else { "Reloading complete" };
            let ended = |server: &Server| server.log().matches(end).count();
            let before = ended(&server);
            server.rewrite_corefile(&text);
            if turn % BY_FILE_EVERY != 0 {
                server.process().signal("USR1");
            }
            wait_for("a reload", PATIENCE, || {
                let log = server.log();
                (ended(&server) > before).then_some(()).ok_or_else(|| format!("turn {turn}\n{text}\n{log}"))
            });
            if turn == RELOADS / 5 || turn == RELOADS {
                held.push((resident_kib(process), descriptors(process)));
            }
        }
        over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    let failed = scrape(&server)[&("coredns_reload_failed_total".to_owned(), BTreeMap::new())];
    println!("{RELOADS} reloads, {failed} refused: {load:?}; resident KiB, descriptors: {held:?}");
    assert_eq!(load.answered, load.sent, "{load:?}");
    assert_eq!(load.failed, 0, "{load:?}");
    assert!(load.sent > 50_000, "{load:?}");
    assert!(failed >= 2.0 * RELOADS as f64 / 5.0, "{failed}");
    let [(early, _), (late, _)] = held[..] else { panic!("{held:?}") };
    assert!(late < early + GROWTH_KIB, "{held:?}");
    // The two moments have other sockets; what is held is compared at equal ones, with a server that never reloaded. Both
    // have a connection for a moment after each look at `/ready`.
    let (first, _) = corefile(0, &folder);
    let before = server.log().matches("Reloading complete").count();
    server.rewrite_corefile(&first);
    server.process().signal("USR1");
    wait_for("a reload", PATIENCE, || {
        let log = server.log();
        (log.matches("Reloading complete").count() > before).then_some(()).ok_or(log)
    });
    let mut fresh = Program::Podzone.start(&first);
    wait_for("as many descriptors as a server that never reloaded", PATIENCE, || {
        let (held, right) = (descriptors(process), descriptors(fresh.process().id()));
        (held == right).then_some(()).ok_or_else(|| format!("{held}, not {right}"))
    });
    assert!(server.stop().is_some_and(|status| status.success()));
}

/// What clients do behind a Service: who is not ready gets no new queries, within a time that the kubelet and kube-proxy
/// take.
struct Clients {
    servers: Vec<SocketAddr>,
    ready: Vec<SocketAddr>,
    is_used: Vec<AtomicBool>,
    sent: AtomicU64,
    lost: AtomicU64,
    failed: AtomicU64,
}

impl Clients {
    fn probe(&self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            for (ready, is_used) in self.ready.iter().zip(&self.is_used) {
                let is_ready = page::get(*ready, "/ready").is_some_and(|(code, ..)| code == 200);
                is_used.store(is_ready, Ordering::Relaxed);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Keeps some queries under way at all times, each to a server that is ready.
    fn ask(&self, over: &AtomicBool) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut waiting: HashMap<u16, Instant> = HashMap::new();
        let (mut id, mut turn) = (0_u16, 0);
        let mut answer = [0; 4096];
        loop {
            let is_over = over.load(Ordering::Relaxed);
            while !is_over && waiting.len() < 16 {
                turn += 1;
                let server = turn % self.servers.len();
                if !self.is_used[server].load(Ordering::Relaxed) {
                    continue;
                }
                id = id.wrapping_add(1);
                let name = format!("s{}.shop.svc.cluster.local.", turn % SERVICES);
                let query = Query::new(&name, if turn % 2 == 0 { A } else { SRV }).id(id);
                socket.send_to(&query.to_bytes(), self.servers[server]).unwrap();
                self.sent.fetch_add(1, Ordering::Relaxed);
                waiting.insert(id, Instant::now());
            }
            if let Ok((octets, _)) = socket.recv_from(&mut answer) {
                let message = dns::Message::decode(&answer[..octets]).unwrap();
                if waiting.remove(&message.id).is_some() && (message.rcode != 0 || message.answers.is_empty()) {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            let before = waiting.len();
            waiting.retain(|_, sent| sent.elapsed() < Duration::from_secs(3));
            self.lost.fetch_add((before - waiting.len()) as u64, Ordering::Relaxed);
            if is_over && waiting.is_empty() {
                return;
            }
        }
    }
}

#[test]
fn two_servers_that_are_restarted_in_turn_lose_nothing() {
    let folder = Scratch::new();
    manifests(&folder);
    let corefile = format!(
        "cluster.local {{\n    bind 127.0.0.1\n    ready 127.0.0.1:{{port:ready}}\n    health 127.0.0.1:{{port:health}} {{\n        \
         lameduck 3s\n    }}\n    kubernetes {{\n        manifests {}\n    }}\n}}\n",
        folder.path().display()
    );
    let mut servers = [Program::Podzone.start(&corefile), Program::Podzone.start(&corefile)];
    let clients = Clients {
        servers: servers.iter().map(Server::addr).collect(),
        ready: servers.iter().map(|server| server.addr_of("ready")).collect(),
        is_used: servers.iter().map(|_| AtomicBool::new(true)).collect(),
        sent: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| clients.probe(&over));
        for _ in 0..2 {
            scope.spawn(|| clients.ask(&over));
        }
        for _ in 0..2 {
            for (server, is_used) in servers.iter_mut().zip(&clients.is_used) {
                thread::sleep(Duration::from_millis(500));
                assert!(server.stop().is_some_and(|status| status.success()), "{}", server.log());
                server.restart();
                wait_for("it is ready again", PATIENCE, || {
                    if is_used.load(Ordering::Relaxed) { Ok(()) } else { Err(server.log()) }
                });
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (sent, lost, failed) = (of(&clients.sent), of(&clients.lost), of(&clients.failed));
    println!("{sent} queries, {lost} lost, {failed} failed");
    assert_eq!((lost, failed), (0, 0), "{sent} queries");
    assert!(sent > 10_000, "{sent}");
}
