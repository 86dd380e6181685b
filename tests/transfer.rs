//! Zone transfers as a client sees them: what AXFR and IXFR give, who gets them, and who is told of changes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use podzone::tsig::{self, Algorithm, Key, Keyring, Signer, TsigRecord};
use podzone::zone::Name;
use support::dns::{self, A, AAAA, AXFR, FORMERR, Message, NOERROR, NS, Query, REFUSED, SERVFAIL, SOA};
use support::process::Scratch;
use support::server::{Program, Server};
use support::xfr::{self, axfr, ixfr, ixfr_query, serial};
use support::{ports, wait_for};

const NOTAUTH: u16 = 9;
/// A folder is looked at once a second, and to read a large one takes a busy machine a while.
const SOON: Duration = Duration::from_secs(40);
const SECRET: &str = "NoTCJU+DMqFWywaPyxSijrDEA/eC3nK0xi3AMEZuPVk=";

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n";

/// A Service of each kind, and what hangs on it.
const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIPs: ["10.96.0.10", "fd00:96::10"]
  ports: [{name: http, port: 80, protocol: TCP}, {port: 81, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: ["10.244.0.5"], targetRef: {kind: Pod, name: web-abc}}]
ports: [{name: http, port: 8080, protocol: TCP}]
---
apiVersion: v1
kind: Service
metadata: {name: beam, namespace: shop}
spec: {clusterIP: None, ports: [{name: epmd, port: 4369, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: beam-1, namespace: shop, labels: {kubernetes.io/service-name: beam}}
addressType: IPv4
endpoints:
- {addresses: ["10.244.1.1"], targetRef: {kind: Pod, name: beam-x1}}
- {addresses: ["10.244.1.2"], hostname: first, targetRef: {kind: Pod, name: beam-x2}}
- {addresses: ["10.244.1.3"], targetRef: {kind: Pod, name: dotted.name}}
ports: [{name: epmd, port: 4369, protocol: TCP}]
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: shop}
spec: {type: ExternalName, externalName: www.example.com}
---
apiVersion: v1
kind: Pod
metadata: {name: job, namespace: shop}
status: {podIP: 10.244.9.9, podIPs: [{ip: 10.244.9.9}]}
"#;

/// A server of manifests.
struct Cluster {
    server: Server,
    objects: PathBuf,
    _scratch: Scratch,
}

impl Cluster {
    /// `options` are lines of the server block behind `kubernetes`.
    fn start(objects: &str, options: &str) -> Self {
        Self::start_with("cluster.local 10.0.0.0/8", "pods verified\n endpoint_pod_names", objects, options)
    }

    fn start_with(zones: &str, kubernetes: &str, objects: &str, options: &str) -> Self {
        let scratch = Scratch::new();
        let folder = scratch.path().join("objects");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("objects.yaml");
        std::fs::write(&path, objects).unwrap();
        let corefile = format!(
            "{zones} {{\n bind 127.0.0.1\n prometheus 127.0.0.1:{{port:metrics}}\n kubernetes {zones} {{\n \
             manifests {}\n {kubernetes}\n }}\n {options}\n}}\n",
            folder.display()
        );
        Self { server: Program::Podzone.start(&corefile), objects: path, _scratch: scratch }
    }

    fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    fn serial(&self) -> u32 {
        serial(self.addr(), "cluster.local").expect("a serial")
    }

    /// Writes other objects, and waits until they are cut.
    fn change(&self, objects: &str) -> u32 {
        let before = self.serial();
        let new = self.objects.with_extension("new");
        std::fs::write(&new, objects).and_then(|()| std::fs::rename(&new, &self.objects)).unwrap();
        wait_for("a new serial", SOON, || match self.serial() {
            after if after != before => Ok(after),
            _ => Err(format!("still {before}")),
        })
    }
}

/// ClusterIP Services of these numbers.
fn services(numbers: impl Iterator<Item = u32>) -> String {
    let service = |number: u32| {
        let (high, low) = (number / 200, number % 200 + 1);
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: shop}}\nspec: {{clusterIP: \
             10.96.{high}.{low}, ports: [{{name: http, port: 80, protocol: TCP}}]}}\n---\n"
        )
    };
    NAMESPACE.to_owned() + &numbers.map(service).collect::<String>()
}

fn shown(zone: BTreeSet<dns::Record>) -> Vec<String> {
    let records = zone.into_iter().filter(|record| record.rtype != SOA);
    records.map(|record| format!("{} {} {}", record.owner, dns::type_text(record.rtype), record.data())).collect()
}

#[test]
fn a_transfer_holds_all_that_a_zone_holds() {
    let cluster = Cluster::start(OBJECTS, "transfer {\n to *\n }");
    let names = shown(axfr(cluster.addr(), "cluster.local").unwrap().zone());
    let mut expected: Vec<&str> = r#"
10-244-9-9.shop.pod.cluster.local. A 10.244.9.9
10-244-9-9.shop.pod.cluster.local. SRV 0 100 0 10-244-9-9.shop.pod.cluster.local.
_epmd._tcp.beam.shop.svc.cluster.local. A 10.244.1.1
_epmd._tcp.beam.shop.svc.cluster.local. A 10.244.1.2
_epmd._tcp.beam.shop.svc.cluster.local. A 10.244.1.3
_epmd._tcp.beam.shop.svc.cluster.local. SRV 0 33 4369 beam-x1.beam.shop.svc.cluster.local.
_epmd._tcp.beam.shop.svc.cluster.local. SRV 0 33 4369 dotted.name.beam.shop.svc.cluster.local.
_epmd._tcp.beam.shop.svc.cluster.local. SRV 0 33 4369 first.beam.shop.svc.cluster.local.
_http._tcp.web.shop.svc.cluster.local. A 10.96.0.10
_http._tcp.web.shop.svc.cluster.local. AAAA fd00:96::10
_http._tcp.web.shop.svc.cluster.local. SRV 0 50 80 web.shop.svc.cluster.local.
beam-x1.beam.shop.svc.cluster.local. A 10.244.1.1
beam-x1.beam.shop.svc.cluster.local. SRV 0 100 4369 beam-x1.beam.shop.svc.cluster.local.
beam.shop.svc.cluster.local. A 10.244.1.1
beam.shop.svc.cluster.local. A 10.244.1.2
beam.shop.svc.cluster.local. A 10.244.1.3
beam.shop.svc.cluster.local. SRV 0 33 4369 beam-x1.beam.shop.svc.cluster.local.
beam.shop.svc.cluster.local. SRV 0 33 4369 dotted.name.beam.shop.svc.cluster.local.
beam.shop.svc.cluster.local. SRV 0 33 4369 first.beam.shop.svc.cluster.local.
dns-version.cluster.local. TXT "1.1.0"
elsewhere.shop.svc.cluster.local. CNAME www.example.com.
first.beam.shop.svc.cluster.local. A 10.244.1.2
first.beam.shop.svc.cluster.local. SRV 0 100 4369 first.beam.shop.svc.cluster.local.
web-abc.web.shop.svc.cluster.local. A 10.244.0.5
web-abc.web.shop.svc.cluster.local. SRV 0 100 8080 web-abc.web.shop.svc.cluster.local.
web.shop.svc.cluster.local. A 10.96.0.10
web.shop.svc.cluster.local. AAAA fd00:96::10
web.shop.svc.cluster.local. SRV 0 25 80 web.shop.svc.cluster.local.
web.shop.svc.cluster.local. SRV 0 25 81 web.shop.svc.cluster.local.
"#
    .lines()
    .filter(|line| !line.is_empty())
    .collect();
    expected.sort_unstable();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, expected);

    let pointers = shown(axfr(cluster.addr(), "10.in-addr.arpa").unwrap().zone());
    let expected = [
        "1.1.244.10.in-addr.arpa. PTR beam-x1.beam.shop.svc.cluster.local.",
        "10.0.96.10.in-addr.arpa. PTR web.shop.svc.cluster.local.",
        "2.1.244.10.in-addr.arpa. PTR first.beam.shop.svc.cluster.local.",
        "3.1.244.10.in-addr.arpa. PTR dotted.name.beam.shop.svc.cluster.local.",
        "5.0.244.10.in-addr.arpa. PTR web-abc.web.shop.svc.cluster.local.",
        "dns-version.10.in-addr.arpa. TXT \"1.1.0\"",
    ];
    assert_eq!(pointers, expected);
}

/// Where the server's own address is an endpoint's, the zone has name servers; elsewhere itself.
#[test]
fn who_serves_the_zone_is_in_its_transfer() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("objects.yaml"), NAMESPACE).unwrap();
    let corefile = format!(
        "cluster.local 10.0.0.0/8 {{\n kubernetes {{\n manifests {}\n }}\n transfer {{\n to *\n }}\n}}\n",
        scratch.path().display()
    );
    let server = Program::Podzone.start(&corefile);
    for zone in ["cluster.local", "10.in-addr.arpa"] {
        let records = axfr(server.addr(), zone).unwrap().zone();
        let servers = server.ask(zone, NS);
        assert_eq!(servers.data_of(NS), [format!("ns.dns.{zone}.")]);
        for record in servers.answers.iter().chain(&servers.additionals) {
            assert!(records.contains(record), "{record}");
        }
        let of_servers = records.iter().filter(|record| [NS, A, AAAA].contains(&record.rtype)).count();
        assert_eq!(of_servers, servers.answers.len() + servers.additionals.len());
    }
}

#[test]
fn a_large_zone_comes_in_many_messages_of_one_version() {
    let cluster = Cluster::start(&services(0..1500), "transfer {\n to *\n }");
    let transfer = axfr(cluster.addr(), "cluster.local").unwrap();
    assert!(transfer.messages.len() > 5, "{} messages", transfer.messages.len());
    assert!(transfer.messages.iter().all(|message| message.size <= 16_384 && message.authoritative()));
    assert_eq!(transfer.zone().len(), 2 + 4 * 1500);

    // Changes while it is under way are not in it: a client that reads slowly gets what stood when it asked.
    let query = Query::new("cluster.local", AXFR).to_bytes();
    let mut connection = dns::Tcp::connect(cluster.addr(), SOON).unwrap();
    connection.send(&query).unwrap();
    let first = connection.receive().unwrap();
    assert!(Message::decode(&first).unwrap().answers.len() > 10);
    let later = cluster.change(&services(5..1505));
    let mut slow = vec![Message::decode(&first).unwrap()];
    while slow.last().unwrap().answers.last().unwrap().rtype != SOA {
        slow.push(Message::decode(&connection.receive().unwrap()).unwrap());
    }
    let records: BTreeSet<dns::Record> = slow.into_iter().flat_map(|message| message.answers).collect();
    assert_eq!(records, transfer.zone());
    assert_eq!(axfr(cluster.addr(), "cluster.local").unwrap().serial(), later);
}

#[test]
fn who_may_not_have_a_transfer_is_refused() {
    let closed = Cluster::start(&services(0..3), "transfer {\n to 192.0.2.1 127.0.0.9\n }");
    let none = Cluster::start(&services(0..3), "");
    for cluster in [&closed, &none] {
        for zone in ["cluster.local", "10.in-addr.arpa", "svc.cluster.local"] {
            assert_eq!(axfr(cluster.addr(), zone).unwrap_err(), REFUSED);
            assert_eq!(ixfr(cluster.addr(), zone, 1).unwrap_err(), REFUSED);
            let udp = dns::udp(cluster.addr(), &ixfr_query(zone, 1)).unwrap();
            assert_eq!(Message::decode(&udp).unwrap().rcode, REFUSED);
        }
    }
    // An address that is named gets it.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
    socket.connect(&closed.addr().into()).unwrap();
    let mut stream = std::net::TcpStream::from(socket);
    let query = Query::new("cluster.local", AXFR).to_bytes();
    use std::io::{Read as _, Write as _};
    stream.write_all(&[&(query.len() as u16).to_be_bytes(), &query[..]].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(Message::decode(&answer).unwrap().rcode, NOERROR);
}

#[test]
fn what_is_no_transfer_is_told_so() {
    let cluster = Cluster::start(&services(0..3), "transfer {\n to *\n }");
    let addr = cluster.addr();
    let code = |answer: std::io::Result<Vec<u8>>| Message::decode(&answer.unwrap()).unwrap().rcode;
    // RFC 5936 section 4.2.
    assert_eq!(code(dns::udp(addr, &Query::new("cluster.local", AXFR).to_bytes())), REFUSED);
    // RFC 5936 section 2.2.1: not the name of a zone.
    assert_eq!(axfr(addr, "svc.cluster.local").unwrap_err(), NOTAUTH);
    assert_eq!(axfr(addr, "nothing.shop.svc.cluster.local").unwrap_err(), NOTAUTH);
    assert_eq!(axfr(addr, "example.com").unwrap_err(), REFUSED);
    // Without a SOA nobody knows since when.
    let query = Query::new("cluster.local", dns::IXFR).to_bytes();
    assert_eq!(xfr::transfer(addr, &query).unwrap_err(), FORMERR);
    let mut wrong = ixfr_query("cluster.local", 1);
    let at = wrong.len() - 32 + 1;
    wrong[at] = A as u8;
    assert_eq!(xfr::transfer(addr, &wrong).unwrap_err(), FORMERR);
    // UPDATE (RFC 2136), and a NOTIFY, which is answered like a query.
    assert_eq!(code(dns::udp(addr, &Query::new("cluster.local", SOA).opcode(5).to_bytes())), dns::NOTIMP);
    assert_eq!(code(dns::udp(addr, &Query::new("cluster.local", SOA).opcode(4).to_bytes())), NOERROR);
}

#[test]
fn before_everything_was_listed_there_is_no_transfer() {
    let corefile = format!(
        "cluster.local {{\n bind 127.0.0.1\n kubernetes {{\n endpoint http://127.0.0.1:{}\n startup_timeout 100ms\n }}\n \
         transfer {{\n to *\n }}\n}}\n",
        ports::free()
    );
    let server = Program::Podzone.start(&corefile);
    assert_eq!(axfr(server.addr(), "cluster.local").unwrap_err(), SERVFAIL);
    assert_eq!(ixfr(server.addr(), "cluster.local", 1).unwrap_err(), SERVFAIL);
}

#[test]
fn changes_lead_from_any_version_to_the_last() {
    let cluster = Cluster::start(&services(0..20), "transfer {\n to *\n }");
    let addr = cluster.addr();
    let mut versions = vec![axfr(addr, "cluster.local").unwrap().zone()];
    let mut serials = vec![cluster.serial()];
    for shift in 1..5 {
        serials.push(cluster.change(&services(shift..20 + shift)));
        versions.push(axfr(addr, "cluster.local").unwrap().zone());
    }
    let last = *serials.last().unwrap();
    for (serial, version) in serials.iter().zip(&versions).take(4) {
        let changes = ixfr(addr, "cluster.local", *serial).unwrap();
        assert!(!changes.is_whole(), "an IXFR from {serial}");
        assert_eq!(changes.serial(), last);
        assert_eq!(&changes.applied_to(version.clone()), versions.last().unwrap());
    }
    // The last version, and one that is still to come: nothing to tell.
    for serial in [last, last.wrapping_add(1000), last.wrapping_add(0x7fff_ffff)] {
        let nothing = ixfr(addr, "cluster.local", serial).unwrap();
        assert_eq!((nothing.records.len(), nothing.serial()), (1, last), "serial {serial}");
    }
    // A version that nobody knows of: the whole zone.
    for serial in [serials[0] - 1000, 0, last.wrapping_add(0x8000_0001)] {
        let whole = ixfr(addr, "cluster.local", serial).unwrap();
        assert_eq!(&whole.zone(), versions.last().unwrap(), "serial {serial}");
    }
}

#[test]
fn over_udp_comes_what_fits_into_a_datagram_and_else_the_soa() {
    let cluster = Cluster::start(&services(0..20), "transfer {\n to *\n }");
    let (first, version) = (cluster.serial(), axfr(cluster.addr(), "cluster.local").unwrap().zone());
    let second = cluster.change(&services(1..20));
    let ask = |serial, payload: Option<u16>| {
        let mut query = ixfr_query("cluster.local", serial);
        if let Some(payload) = payload {
            query[11] = 1;
            query.extend([0, 0, 41]);
            query.extend(payload.to_be_bytes());
            query.extend([0; 6]);
        }
        Message::decode(&dns::udp(cluster.addr(), &query).unwrap()).unwrap()
    };
    let little = ask(first, None);
    assert!(little.size <= 512 && little.answers.len() > 1 && !little.truncated(), "{little}");
    let changes = xfr::Transfer { records: little.answers.clone(), messages: vec![little] };
    assert_eq!(changes.applied_to(version), axfr(cluster.addr(), "cluster.local").unwrap().zone());
    let third = cluster.change(&services(100..160));
    let much = ask(second, None);
    assert_eq!((much.answers.len(), xfr::serial_of(&much.answers[0])), (1, third));
    let more = ask(second, Some(1232));
    assert!(more.answers.len() == 1 && more.opt.is_some() && !more.truncated(), "{more}");
}

#[test]
fn dig_and_kdig_read_transfers_without_a_warning() {
    let cluster = Cluster::start(
        &services(0..2000),
        &format!("tsig {{\n secret xfr.key. {SECRET}\n require none\n }}\n transfer {{\n to *\n }}"),
    );
    let first = cluster.serial();
    cluster.change(&services(10..2010));
    let (port, key) = (cluster.addr().port().to_string(), format!("hmac-sha256:xfr.key:{SECRET}"));
    for program in ["dig", "kdig"] {
        for (kind, count) in [("AXFR".to_owned(), 4 * 2000 + 3), (format!("IXFR={first}"), 4 * 20 + 4)] {
            for signed in [false, true] {
                let mut command = Command::new(program);
                command.args(["@127.0.0.1", "-p", &port, "cluster.local", "-t", &kind]);
                if program == "dig" {
                    command.args(["+nostats"]);
                }
                if signed {
                    command.args(["-y", &key]);
                }
                let output = command.output().expect("it runs");
                let text =
                    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
                // A signature may spell anything.
                let said = text.lines().filter(|line| !line.contains("hmac-sha256"));
                let lower = said.collect::<Vec<_>>().join("\n").to_lowercase();
                assert!(output.status.success(), "{program} {kind}: {text}");
                for word in ["warning", "error", "fail", "bad", "couldn't", "malformed"] {
                    assert!(!lower.contains(word), "{program} {kind} says {word}: {text}");
                }
                let is_record = |line: &&str| {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    !line.starts_with(';') && words.get(2) == Some(&"IN")
                };
                let records = text.lines().filter(is_record).count();
                assert_eq!(records, count, "{program} {kind}: {text}");
            }
        }
    }
}

// ---- signatures -----------------------------------------------------------------------------------------------------

fn key(name: &str, secret: &str, algorithm: Algorithm) -> Arc<Key> {
    use base64::Engine as _;
    let secret = base64::engine::general_purpose::STANDARD.decode(secret).unwrap();
    Arc::new(Key::new(Name::parse(name).unwrap(), algorithm, secret))
}

fn signed(mut query: Vec<u8>, key: &Arc<Key>, time: u64) -> (Vec<u8>, Signer) {
    let mut signer = Signer::new(key);
    signer.sign(&mut query, time);
    (query, signer)
}

/// The signature record of an answer: where it begins, the code, the error in it and how long it is.
fn signature(answer: &[u8]) -> Option<(usize, u16, usize)> {
    let at = podzone::answer::query::last_record_at(answer)?;
    let record = TsigRecord::parse(answer, at)?;
    Some((at, record.error, record.mac.len()))
}

#[test]
fn a_transfer_that_must_be_signed_is_given_to_who_signs_well() {
    let options = format!("tsig {{\n secret xfr.key. {SECRET}\n require AXFR IXFR\n }}\n transfer {{\n to *\n }}");
    let cluster = Cluster::start(&services(0..5), &options);
    let addr = cluster.addr();
    let query = || Query::new("cluster.local", AXFR).to_bytes();
    assert_eq!(axfr(addr, "cluster.local").unwrap_err(), REFUSED);
    for algorithm in Algorithm::ALL {
        let (query, asked) = signed(query(), &key("xfr.key", SECRET, algorithm), tsig::now());
        let answer = dns::tcp(addr, &query).unwrap();
        let (at, error, _) = signature(&answer).expect("a signature");
        assert_eq!((answer[3] & 0xf, error), (0, 0));
        assert!(tsig::verify_reply(&answer, at, &asked, tsig::now()), "{algorithm:?}");
    }
    let (good, other) = (key("xfr.key", SECRET, Algorithm::Sha256), "AAAAAAAAAAAAAAAAAAAAAA==");
    let cases = [
        (key("other.key", SECRET, Algorithm::Sha256), 0, 17, 0),
        (key("xfr.key", other, Algorithm::Sha256), 0, 16, 0),
        (Arc::clone(&good), 400, 18, 32),
        (Arc::clone(&good), -400, 18, 32),
    ];
    for (key, late, error, octets) in cases {
        let (query, _) = signed(query(), &key, tsig::now().wrapping_add_signed(-late));
        for answer in [dns::tcp(addr, &query).unwrap(), dns::udp(addr, &query).unwrap()] {
            let message = Message::decode(&answer).unwrap();
            let (_, told, mac) = signature(&answer).expect("a record that says why");
            assert_eq!((message.rcode, told, mac), (NOTAUTH, error, octets), "{message}");
        }
    }
    // A query that is signed gets a signed answer, and one that is not, none.
    let (query, asked) = signed(Query::new("s1.shop.svc.cluster.local", A).to_bytes(), &good, tsig::now());
    for answer in [dns::udp(addr, &query).unwrap(), dns::tcp(addr, &query).unwrap()] {
        let (at, ..) = signature(&answer).expect("a signature");
        assert!(tsig::verify_reply(&answer, at, &asked, tsig::now()));
        assert_eq!(Message::decode(&answer).unwrap().data_of(A), ["10.96.0.2"]);
    }
    assert!(cluster.server.ask("s1.shop.svc.cluster.local", A).additionals.is_empty());
}

// ---- NOTIFY ---------------------------------------------------------------------------------------------------------

/// A secondary's ear.
fn ear() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// The next NOTIFY: its octets, who sent it, its zone and serial.
fn heard(ear: &UdpSocket) -> (Vec<u8>, SocketAddr, String, u32) {
    let mut octets = vec![0; 4096];
    let (length, from) = ear.recv_from(&mut octets).expect("a NOTIFY");
    octets.truncate(length);
    let message = Message::decode(&octets).unwrap();
    assert!(message.opcode() == 4 && !message.is_response() && message.authoritative(), "{message}");
    let [question] = &message.questions[..] else { panic!("{message}") };
    assert_eq!((question.rtype, question.class), (SOA, 1));
    let serial = xfr::serial_of(&message.answers[0]);
    (octets, from, question.name.clone(), serial)
}

fn take(ear: &UdpSocket, (octets, from, ..): &(Vec<u8>, SocketAddr, String, u32), signer: Option<Signer>) {
    let mut reply = octets[..12].to_vec();
    reply[2] |= 0x80;
    reply[6..12].fill(0);
    let end = 12 + octets[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
    reply.extend_from_slice(&octets[12..end]);
    if let Some(mut signer) = signer {
        signer.sign(&mut reply, tsig::now());
    }
    ear.send_to(&reply, from).unwrap();
}

#[test]
fn secondaries_are_told_of_each_version_until_they_say_that_they_heard() {
    let ear = ear();
    let to = format!("transfer {{\n to {}\n source 127.0.0.3\n }}", ear.local_addr().unwrap());
    let cluster = Cluster::start(&services(0..5), &to);
    let zones = |notices: &[(Vec<u8>, SocketAddr, String, u32)]| -> BTreeSet<String> {
        notices.iter().map(|(_, _, zone, _)| zone.clone()).collect()
    };
    let both: BTreeSet<String> = ["10.in-addr.arpa.".to_owned(), "cluster.local.".to_owned()].into();
    let first = [heard(&ear), heard(&ear)];
    assert_eq!(zones(&first), both);
    assert!(
        first.iter().all(|(_, from, _, serial)| from.ip().to_string() == "127.0.0.3" && *serial == cluster.serial())
    );
    // Nobody answered: they come again.
    let again = [heard(&ear), heard(&ear)];
    assert_eq!(zones(&again), both);
    again.iter().for_each(|notice| take(&ear, notice, None));
    ear.set_read_timeout(Some(Duration::from_millis(2500))).unwrap();
    assert!(ear.recv(&mut [0; 512]).is_err(), "what was heard is not told again");
    ear.set_read_timeout(Some(SOON)).unwrap();
    let serial = cluster.change(&services(1..6));
    let changed = [heard(&ear), heard(&ear)];
    assert_eq!(zones(&changed), both);
    assert!(changed.iter().all(|(_, _, _, told)| *told == serial));
}

#[test]
fn notify_key_signs_what_secondaries_are_told() {
    let ear = ear();
    let options = format!(
        "tsig {{\n secret told.key. {SECRET}\n }}\n transfer cluster.local {{\n to {}\n notify_key told.key\n }}",
        ear.local_addr().unwrap()
    );
    let _cluster = Cluster::start(&services(0..5), &options);
    let keys = || -> Keyring {
        use base64::Engine as _;
        let secret = base64::engine::general_purpose::STANDARD.decode(SECRET).unwrap();
        [Key::new(Name::parse("told.key").unwrap(), Algorithm::Sha256, secret)].into_iter().collect()
    };
    let notice = heard(&ear);
    assert_eq!(notice.2, "cluster.local.");
    let (at, ..) = signature(&notice.0).expect("a signature");
    let verified = tsig::verify(&notice.0, at, &keys(), tsig::now()).expect("a good one");
    // An answer that is not signed may be anybody's.
    take(&ear, &notice, None);
    let again = heard(&ear);
    drop(verified);
    let (at, ..) = signature(&again.0).expect("a signature");
    let signer = tsig::verify(&again.0, at, &keys(), tsig::now()).expect("a good one");
    take(&ear, &again, Some(signer));
    ear.set_read_timeout(Some(Duration::from_millis(3500))).unwrap();
    assert!(ear.recv(&mut [0; 512]).is_err(), "what was heard is not told again");
}
