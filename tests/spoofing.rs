//! What somebody who does not see the questions can make podzone believe: nothing, but by luck (docs/security.md).
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use support::dns::{self, Message, Query, Udp};
use support::ports;
use support::scripted::{Over, Scripted};
use support::server::{Program, Server};

/// Forged answers to ports and IDs by chance, unless `PODZONE_FORGERIES` says how many.
const FORGERIES: usize = 200_000;
const PATIENCE: Duration = Duration::from_secs(5);
/// What a forger says, and what is so.
const FORGED: [u8; 4] = [203, 0, 113, 66];
const TRUE: [u8; 4] = [192, 0, 2, 1];

fn start(upstream: SocketAddr, options: &str) -> Server {
    Program::Podzone.start(&format!(". {{\n bind 127.0.0.1\n forward . {upstream} {{\n {options}\n }}\n}}\n"))
}

/// The answer to a query, with this address.
fn answer(query: &[u8], address: [u8; 4]) -> Vec<u8> {
    let question_end = 12 + query[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
    let mut answer = query[..question_end].to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    answer.extend(address);
    answer
}

fn question_name(query: &[u8]) -> String {
    Message::decode(query).unwrap().questions[0].name.clone()
}

/// Says so when it goes, also if a test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An upstream whose every datagram is in the test's hands. It answers what the harness asks while podzone starts.
struct ByHand {
    socket: UdpSocket,
    addr: SocketAddr,
}

impl ByHand {
    fn start(options: &str) -> (Self, Server) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, ports::free())).unwrap();
        let by_hand = Self { addr: socket.local_addr().unwrap(), socket };
        by_hand.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let is_started = AtomicBool::new(false);
        let listener = TcpListener::bind(by_hand.addr).unwrap();
        let server = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_started.load(Ordering::Relaxed) {
                    if let Some((query, from)) = by_hand.receive() {
                        by_hand.socket.send_to(&answer(&query, TRUE), from).unwrap();
                    }
                }
            });
            scope.spawn(|| answer_over_tcp(&listener, &is_started));
            let _ending = Ending(&is_started);
            start(by_hand.addr, options)
        });
        by_hand.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        (by_hand, server)
    }

    fn receive(&self) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = [0; 1024];
        let (octets, from) = self.socket.recv_from(&mut buffer).ok()?;
        Some((buffer[..octets].to_vec(), from))
    }

    /// The question for a name. What the harness asked may still come, and forgeries that met this very port.
    fn question(&self, name: &str) -> (Vec<u8>, SocketAddr) {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let Some((query, from)) = self.receive() else { continue };
            if query[2] & 0x80 == 0 && question_name(&query).trim_end_matches('.').eq_ignore_ascii_case(name) {
                return (query, from);
            }
        }
        panic!("nobody asked for {name}");
    }
}

/// Answers every question truly, until it is told to end.
fn answer_over_tcp(listener: &TcpListener, has_ended: &AtomicBool) {
    use std::io::{Read as _, Write as _};
    listener.set_nonblocking(true).unwrap();
    while !has_ended.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut query = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut query).unwrap();
            let answer = answer(&query, TRUE);
            stream.write_all(&[&(answer.len() as u16).to_be_bytes(), &answer[..]].concat()).unwrap();
        }
    }
}

fn addresses(message: &Message) -> Vec<String> {
    message.data_of(dns::A)
}

fn text(address: [u8; 4]) -> Vec<String> {
    vec![Ipv4Addr::from(address).to_string()]
}

/// The ports that the kernel chooses from.
fn ports_of_chance() -> std::ops::RangeInclusive<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let mut bounds = text.split_whitespace().map(|bound| bound.parse().unwrap());
    bounds.next().unwrap()..=bounds.next().unwrap()
}

/// A forger who can send from the upstream's address, and knows what is asked and when, has to guess all else.
#[test]
fn forged_answers_to_any_port_and_id_are_not_taken() {
    let count = std::env::var("PODZONE_FORGERIES").map_or(FORGERIES, |count| count.parse().expect("a number"));
    let (upstream, server) = ByHand::start("read_timeout 60s\n max_fails 0");
    let client = Udp::connect(server.addr(), PATIENCE).unwrap();
    let (mut rng, range) = (rand::rng(), ports_of_chance());
    let (mut sent, mut questions) = (0, 0);
    while sent < count {
        questions += 1;
        let name = format!("victim{questions}.bank.example");
        client.send(&Query::new(&name, dns::A).id(9).to_bytes()).unwrap();
        let (query, from) = upstream.question(&name);
        let begin = Instant::now();
        // As long as the true answer is under way.
        let mut forged = answer(&query, FORGED);
        forged[12..40].make_ascii_lowercase();
        while sent < count && begin.elapsed() < Duration::from_secs(1) {
            forged[..2].copy_from_slice(&rng.random::<[u8; 2]>());
            let port = rng.random_range(range.clone());
            let _ = upstream.socket.send_to(&forged, SocketAddr::new(from.ip(), port));
            sent += 1;
        }
        upstream.socket.send_to(&answer(&query, TRUE), from).unwrap();
        let answer = Message::decode(&client.receive().expect("an answer")).unwrap();
        assert_eq!(addresses(&answer), text(TRUE), "after {sent} forgeries to {questions} questions");
    }
    println!("{sent} forgeries to {questions} questions");
}

/// One who knows the port too sends all IDs, and is found out by the letters: then nobody but the upstream can answer,
/// since TCP is asked.
#[test]
fn forged_answers_to_the_right_port_with_every_id_are_not_taken() {
    let (upstream, server) = ByHand::start("read_timeout 4s\n max_fails 0");
    let client = Udp::connect(server.addr(), PATIENCE).unwrap();
    let has_ended = AtomicBool::new(false);
    let listener = TcpListener::bind(upstream.addr).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| answer_over_tcp(&listener, &has_ended));
        let name = "a-name-with-many-letters-in-it.bank.example";
        let _ending = Ending(&has_ended);
        client.send(&Query::new(name, dns::A).id(9).to_bytes()).unwrap();
        let (query, from) = upstream.question(name);
        assert_ne!(question_name(&query), format!("{name}."), "in 2^35 runs this happens once");
        let mut forged = answer(&query, FORGED);
        forged[12..55].make_ascii_lowercase();
        for id in 0..=u16::MAX {
            forged[..2].copy_from_slice(&id.to_be_bytes());
            let _ = upstream.socket.send_to(&forged, from);
            if id % 64 == 0 {
                // More at a time would not fit into the socket's buffer, and the right one might be lost.
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        let answer = Message::decode(&client.receive().expect("an answer")).unwrap();
        assert_eq!(addresses(&answer), text(TRUE));
        assert_eq!(answer.questions[0].name, format!("{name}."), "the client's letters");
    });
}

/// One who sees the question, and cannot send from the upstream's address.
#[test]
fn answers_from_elsewhere_are_not_taken() {
    let (upstream, server) = ByHand::start("read_timeout 4s\n max_fails 0");
    let client = Udp::connect(server.addr(), PATIENCE).unwrap();
    client.send(&Query::new("www.bank.example", dns::A).id(9).to_bytes()).unwrap();
    let (query, from) = upstream.question("www.bank.example");
    let forgers = [
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), upstream.addr.port())).unwrap(),
    ];
    for forger in &forgers {
        forger.send_to(&answer(&query, FORGED), from).unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    upstream.socket.send_to(&answer(&query, TRUE), from).unwrap();
    let answer = Message::decode(&client.receive().expect("an answer")).unwrap();
    assert_eq!(addresses(&answer), text(TRUE));
}

/// Of 1,000 questions each has a port, an ID and letters of its own.
#[test]
fn ports_ids_and_letters_are_of_chance() {
    const QUESTIONS: usize = 1000;
    let (upstream, server) = ByHand::start("read_timeout 4s\n max_fails 0");
    let client = Udp::connect(server.addr(), PATIENCE).unwrap();
    let (mut ports, mut ids, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let name = "the-quick-brown-fox.jumps-over.example";
    for id in 0..QUESTIONS {
        client.send(&Query::new(name, dns::A).id(id as u16).to_bytes()).unwrap();
        let (query, from) = upstream.question(name);
        ports.insert(from.port());
        ids.insert(u16::from_be_bytes([query[0], query[1]]));
        names.insert(question_name(&query));
        upstream.socket.send_to(&answer(&query, TRUE), from).unwrap();
        client.receive().expect("an answer");
    }
    // Of as many by chance out of 28,232, eighteen are expected to be there already; 60 are ten standard deviations more.
    for (what, found) in [("ports", &ports), ("IDs", &ids)] {
        assert!(found.len() >= QUESTIONS - 60, "{what}: {} of {QUESTIONS}", found.len());
    }
    // Each eighth of them all has its share of about 125.
    let shares = |found: &BTreeSet<u16>, of: std::ops::RangeInclusive<u16>| {
        let (first, width) = (u32::from(*of.start()), of.len() as u32);
        let mut shares = [0; 8];
        for it in found {
            assert!(of.contains(it), "{it}");
            shares[((u32::from(*it) - first) * 8 / width) as usize] += 1;
        }
        shares
    };
    for shares in [shares(&ports, ports_of_chance()), shares(&ids, 0..=u16::MAX)] {
        assert!(shares.iter().all(|share| (60..200).contains(share)), "{shares:?}");
    }
    assert_eq!(names.len(), QUESTIONS, "32 letters");
}

/// The client sees its own letters, wherever the upstream repeats what it was asked.
#[test]
fn clients_get_their_own_letters_back() {
    let upstream = Scripted::start();
    let server = start(upstream.addr(), "");
    for name in ["Www.Example.", "upper.EXAMPLE.", "UPPER-2.example.", "lower-0.Example."] {
        for ask in [dns::ask, dns::ask_tcp] {
            let answer = ask(server.addr(), &Query::new(name, dns::A)).unwrap();
            assert_eq!(answer.questions[0].name, name, "{answer}");
            assert_eq!(answer.answers.len(), 1, "{answer}");
            assert_eq!(answer.answers[0].owner, name, "{answer}");
        }
    }
    let asked = upstream.questions();
    let over = |over: Over| asked.iter().filter(move |it| it.over == over && it.name != ".");
    assert!(over(Over::Udp).any(|it| it.name.to_lowercase() == "www.example." && it.name != "Www.Example."));
    assert!(over(Over::Tcp).any(|it| it.name == "Www.Example."), "TCP needs no such thing");
}

/// Some servers answer in lower case, whatever they are asked. Their answers come over TCP, until it is clear that this is
/// how they are.
#[test]
fn an_upstream_that_does_not_keep_letters_is_asked_without() {
    let upstream = Scripted::start();
    let server = start(upstream.addr(), "");
    let over: Vec<Vec<Over>> = (0..6)
        .map(|number| {
            let name = format!("lower-{number}.with-some-letters.example");
            let answer = server.ask(&name, dns::A);
            assert_eq!(answer.data_of(dns::A), ["192.0.2.99"]);
            upstream.asked(&name)
        })
        .collect();
    let (doubted, known) = over.split_at(3);
    assert!(doubted.iter().all(|over| *over == [Over::Udp, Over::Tcp]), "{over:?}");
    assert!(known.iter().all(|over| *over == [Over::Udp]), "{over:?}");
    assert!(server.log().contains("does not repeat the letters"), "{}", server.log());
    let last = upstream.questions().pop().unwrap();
    assert_eq!(last.name, "lower-5.with-some-letters.example.");
    // One whose letters are doubted but twice in a row is asked with them again.
    let other = Scripted::start();
    let server = start(other.addr(), "");
    for number in 0..8 {
        let script = if number % 3 == 2 { "keeps" } else { "lower" };
        let name = format!("{script}-{number}.with-some-letters.example");
        assert_eq!(server.ask(&name, dns::A).rcode, dns::NOERROR);
        let expected = if script == "lower" { vec![Over::Udp, Over::Tcp] } else { vec![Over::Udp] };
        assert_eq!(other.asked(&name), expected, "{name}");
    }
}
