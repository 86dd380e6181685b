//! A made-up internet of 10,000 names behind `forward`: podzone's answers are CoreDNS's, asked once and again; and upstreams
//! that go and come back, beside CoreDNS.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::dns::{self, A, AAAA, MX, Message, NOERROR, NXDOMAIN, Query, REFUSED, SERVFAIL, TXT};
use support::internet::Internet;
use support::server::{Program, Server};
use support::wait_for;

const NAMES: usize = 10_000;
/// Who asks at a time.
const CLIENTS: usize = 16;
/// Long, for a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAMS: [Program; 2] = [Program::CoreDns, Program::Podzone];

/// The names, each with what is asked of it.
fn question(number: usize) -> Query {
    let kind = match number % 100 {
        0..40 => "a",
        40..60 => "cname",
        60..70 => "text",
        70..85 => "nx",
        85..89 => "fail",
        89..92 => "lame",
        92 => "slow",
        93..97 => "tc",
        97..99 => "spoof",
        _ => "nothing",
    };
    let rtype = match (kind, number % 7) {
        ("text", _) => TXT,
        ("tc", _) => A,
        (_, 0..4) => A,
        (_, 4..6) => AAAA,
        _ => MX,
    };
    let query = Query::new(&format!("{kind}-{number}.test"), rtype);
    match number % 3 {
        0 => query,
        1 => query.payload(1232),
        _ => query.payload(4096),
    }
}

/// What an answer says; TTLs run where answers are kept.
fn essence(message: &Message) -> String {
    let mut text = format!(
        "rcode {} aa {} tc {} ra {} questions {}",
        message.rcode,
        message.authoritative(),
        message.truncated(),
        message.recursion_available(),
        message.questions.len()
    );
    for section in [&message.answers, &message.authorities, &message.additionals] {
        let mut lines: Vec<String> = section
            .iter()
            .map(|record| format!("{} {} {}", record.owner.to_ascii_lowercase(), record.rtype, record.data()))
            .collect();
        lines.sort();
        text += &format!("\n{lines:?}");
    }
    text
}

#[test]
fn forwarded_answers_are_coredns_answers() {
    let (internet, upstream) = Internet::start();
    let corefile =
        format!(".:{{port}} {{\n bind 127.0.0.1\n cache 30\n forward . {upstream} {{\n  max_fails 0\n }}\n}}\n");
    let servers = PROGRAMS.map(|program| program.start(&corefile));
    for round in ["first", "second"] {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut wrong = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= NAMES {
                    return wrong;
                }
                let query = question(number);
                let [theirs, ours] = servers.each_ref().map(|server| {
                    let answer = if number.is_multiple_of(11) {
                        dns::ask_tcp(server.addr(), &query)
                    } else {
                        dns::ask(server.addr(), &query)
                    };
                    answer.map_or_else(|error| format!("{error}"), |answer| essence(&answer))
                });
                if ours != theirs {
                    wrong.push(format!("{query:?}\npodzone: {ours}\nCoreDNS: {theirs}"));
                }
            }
        };
        let wrong: Vec<String> = thread::scope(|scope| {
            let workers: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(work)).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        assert!(
            wrong.is_empty(),
            "{round} time, {} of {NAMES}:\n{}",
            wrong.len(),
            wrong[..wrong.len().min(5)].join("\n")
        );
    }
    // What was compared is what it should be, and not one mistake twice.
    let ours = &servers[1];
    let code = |name: &str| ours.ask(name, A).rcode;
    let codes = ["a-1.test", "nx-71.test", "fail-85.test", "lame-90.test"].map(code);
    assert_eq!(codes, [NOERROR, NXDOMAIN, SERVFAIL, REFUSED]);
    assert_eq!(ours.ask("spoof-98.test", A).data_of(A), ["192.0.2.98"]);
    assert!(internet.answered() >= NAMES);
    // What is kept whole is given as far as it fits: some never come over TCP.
    for query in [Query::new("tc-93.test", A), Query::new("tc-93.test", A).payload(1232)] {
        let cut = servers.each_ref().map(|server| {
            assert_eq!(dns::ask_tcp(server.addr(), &query).unwrap().answers.len(), 120);
            let cut = dns::ask(server.addr(), &query).unwrap();
            (cut.truncated(), cut.answers.len(), cut.size, cut.opt.is_some())
        });
        assert_eq!(cut[0], cut[1]);
        assert!(cut[1].0 && cut[1].1 > 25, "{cut:?}");
    }
}

/// How an upstream is away.
#[derive(Clone, Copy, Debug)]
enum Away {
    /// It takes questions and says nothing.
    Silent,
    /// Its host says that nobody is there.
    Closed,
}

/// What clients saw in a phase.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    asked: usize,
    /// Without an answer, or with SERVFAIL.
    lost: usize,
    /// Answered after more than a second.
    late: usize,
}

/// Asks for new names, by several clients, each its next when the last is done.
fn ask(server: &Server, phase: usize) -> Seen {
    const EACH: usize = 40;
    let client = |client: usize| {
        let mut seen = Seen::default();
        for number in 0..EACH {
            let name = format!("a-{}.test", (phase * CLIENTS + client) * EACH + number);
            let begun = Instant::now();
            let answer = dns::udp_within(server.addr(), &Query::new(&name, A).to_bytes(), PATIENCE);
            seen.asked += 1;
            let code = answer.ok().and_then(|answer| Message::decode(&answer).ok()).map(|answer| answer.rcode);
            seen.lost += usize::from(code != Some(NOERROR));
            seen.late += usize::from(begun.elapsed() > Duration::from_secs(1));
            thread::sleep(Duration::from_millis(20));
        }
        seen
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
        clients.into_iter().map(|it| it.join().unwrap()).fold(Seen::default(), |sum, seen| Seen {
            asked: sum.asked + seen.asked,
            lost: sum.lost + seen.lost,
            late: sum.late + seen.late,
        })
    })
}

/// Two upstreams, which may go.
struct Upstreams {
    there: [Option<Internet>; 2],
    addrs: [SocketAddr; 2],
}

impl Upstreams {
    fn start() -> Self {
        let [(first, first_addr), (second, second_addr)] = [Internet::start(), Internet::start()];
        Self { there: [Some(first), Some(second)], addrs: [first_addr, second_addr] }
    }

    fn go(&mut self, which: usize, how: Away) {
        match how {
            Away::Silent => self.there[which].as_ref().unwrap().be_away(true),
            Away::Closed => {
                self.there[which] = None;
                wait_for("a closed port", PATIENCE, || self.open(which).map(drop).ok_or_else(|| "open".to_owned()));
            }
        }
    }

    fn come_back(&mut self, which: usize, how: Away) {
        match how {
            Away::Silent => self.there[which].as_ref().unwrap().be_away(false),
            Away::Closed => {
                let (udp, tcp) = wait_for("its port", PATIENCE, || self.open(which).ok_or_else(|| "taken".to_owned()));
                self.there[which] = Some(Internet::on(udp, tcp));
            }
        }
    }

    fn open(&self, which: usize) -> Option<(UdpSocket, TcpListener)> {
        let addr = self.addrs[which];
        Some((UdpSocket::bind(addr).ok()?, TcpListener::bind(addr).ok()?))
    }
}

/// What becomes of queries while upstreams are away and when they come back: one of two, then both.
fn outage(program: Program, how: Away) -> [Seen; 4] {
    let mut upstreams = Upstreams::start();
    let [first, second] = upstreams.addrs;
    let server = program.start(&format!(".:{{port}} {{\n bind 127.0.0.1\n errors\n forward . {first} {second}\n}}\n"));
    assert_eq!(ask(&server, 0).lost, 0, "{program:?}");
    upstreams.go(0, how);
    let one_away = ask(&server, 1);
    upstreams.come_back(0, how);
    let one_back = ask(&server, 2);
    let answered = upstreams.there[0].as_ref().unwrap().answered();
    wait_for("the first is asked again", PATIENCE, || {
        ask(&server, 3);
        let now = upstreams.there[0].as_ref().unwrap().answered();
        (now > answered).then_some(()).ok_or_else(|| "not asked".to_owned())
    });
    upstreams.go(0, how);
    upstreams.go(1, how);
    let both_away = {
        // None is answered: a few say enough.
        let begun = Instant::now();
        let mut seen = Seen::default();
        for number in 0..3 {
            let query = Query::new(&format!("a-{number}.gone.test"), A);
            let answer = dns::udp_within(server.addr(), &query.to_bytes(), PATIENCE).expect("an answer, if a bad one");
            seen.asked += 1;
            seen.lost += usize::from(Message::decode(&answer).unwrap().rcode == SERVFAIL);
        }
        eprintln!("{program:?}, both {how:?}: SERVFAIL after {} ms on average", begun.elapsed().as_millis() / 3);
        seen
    };
    let begun = Instant::now();
    upstreams.come_back(0, how);
    upstreams.come_back(1, how);
    wait_for("an answer again", PATIENCE, || {
        let query = Query::new(&format!("a-{}.test", begun.elapsed().as_millis()), A);
        let answer = dns::udp_within(server.addr(), &query.to_bytes(), PATIENCE).map_err(|error| error.to_string())?;
        let code = Message::decode(&answer)?.rcode;
        (code == NOERROR).then_some(()).ok_or_else(|| format!("{code}"))
    });
    eprintln!("{program:?}, both {how:?}: answers {} ms after they are back", begun.elapsed().as_millis());
    let both_back = ask(&server, 4);
    [one_away, one_back, both_away, both_back]
}

#[test]
fn no_query_is_lost_that_coredns_does_not_lose() {
    for how in [Away::Silent, Away::Closed] {
        let seen = thread::scope(|scope| {
            let running = PROGRAMS.map(|program| scope.spawn(move || outage(program, how)));
            running.map(|it| it.join().unwrap())
        });
        for (program, phases) in PROGRAMS.iter().zip(&seen) {
            for (phase, Seen { asked, lost, late }) in
                ["one away", "one back", "both away", "both back"].iter().zip(phases)
            {
                eprintln!("| {how:?} | {phase} | {program:?} | {asked} | {lost} | {late} |");
            }
        }
        let [_, [one_away, one_back, both_away, both_back]] = seen;
        // One of two is enough for every query, in time or late.
        assert_eq!((one_away.lost, one_back.lost, both_back.lost), (0, 0, 0), "{how:?}: {seen:?}");
        assert_eq!(both_away.lost, both_away.asked, "{how:?}");
    }
}
