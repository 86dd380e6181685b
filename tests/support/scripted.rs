//! A DNS server that misbehaves by script: the first label of a question says how.
//!
//! - `slow-MS…` answers after so many milliseconds;
//! - `tc…` is cut over UDP, and whole over TCP;
//! - `wrongid`, `wrongquestion`, `garbage` (the right ID, then noise), `short` (three octets) answer so;
//! - `firstwrong` answers under a wrong ID, then right;
//! - `rcode-N…` answers with that code, and without records;
//! - `nodata…` answers without records;
//! - `close…` answers, and closes the connection;
//! - `lower…` answers with the question in lower case, `upper…` with its letters as they came, and the name itself, not a
//!   pointer to it, in the answer;
//! - `loopback…` has the address 127.0.0.1;
//! - `ttl-N…` has an address with the TTL N: 192.0.2.1 at first, and the next each time that the name is asked for; the
//!   answer is authentic if it was asked with AD, and unchecked if with CD;
//! - `soa-N-CODE…` answers with that code, and with a SOA whose TTL is N and whose last field is 900;
//! - `many-N…` has so many addresses, with the TTL 60;
//! - anything else has the address 192.0.2.99, and what [`Scripted::answer_with`] says instead.
//!
//! The letters of a question may come in any case.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::dns::Message;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Udp,
    Tcp,
}

/// A question that came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its name, letter for letter, with the final dot.
    pub name: String,
    pub over: Over,
    pub rtype: u16,
    pub recursion: bool,
    pub from: SocketAddr,
}

#[derive(Default)]
struct State {
    silent: AtomicBool,
    /// The code of all answers to questions without a script.
    rcode: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    ended: AtomicBool,
}

/// The server; its threads end soon after this value.
pub struct Scripted {
    addr: SocketAddr,
    state: Arc<State>,
}

impl Scripted {
    pub fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into())
    }

    /// At this address, which is the machine's own.
    pub fn start_at(address: IpAddr) -> Self {
        Self::start_with(address, None)
    }

    /// Its TCP port speaks TLS.
    pub fn start_tls(config: Arc<rustls::ServerConfig>) -> Self {
        Self::start_with(Ipv4Addr::LOCALHOST.into(), Some(config))
    }

    fn start_with(address: IpAddr, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let addr = SocketAddr::new(address, super::ports::free());
        let state = Arc::new(State::default());
        let udp = UdpSocket::bind(addr).expect("a free port");
        udp.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let of_udp = Arc::clone(&state);
        thread::spawn(move || serve_udp(&udp, &of_udp));
        let listener = TcpListener::bind(addr).expect("a free port");
        let of_tcp = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if of_tcp.ended.load(Ordering::Relaxed) {
                    return;
                }
                let (state, tls) = (Arc::clone(&of_tcp), tls.clone());
                state.connections.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || {
                    let from = stream.peer_addr().expect("an address");
                    match tls {
                        None => serve_stream(stream, from, &state),
                        Some(config) => {
                            let session = rustls::ServerConnection::new(config).expect("a session");
                            serve_stream(rustls::StreamOwned::new(session, stream), from, &state);
                        }
                    }
                });
            }
        });
        Self { addr, state }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether to take questions and never answer, health checks included.
    pub fn be_silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::Relaxed);
    }

    /// The code of all further answers to questions without a script.
    pub fn answer_with(&self, rcode: u16) {
        self.state.rcode.store(rcode.into(), Ordering::Relaxed);
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// How this name was asked for, each time.
    pub fn asked(&self, name: &str) -> Vec<Over> {
        let asked = self.questions();
        asked.iter().filter(|it| it.name.trim_end_matches('.').eq_ignore_ascii_case(name)).map(|it| it.over).collect()
    }

    /// All questions that came.
    pub fn questions(&self) -> Vec<Asked> {
        self.state.asked.lock().expect("no thread panics").clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve_udp(socket: &UdpSocket, state: &State) {
    let mut buffer = vec![0; 65_535];
    thread::scope(|scope| {
        while !state.ended.load(Ordering::Relaxed) {
            let Ok((octets, client)) = socket.recv_from(&mut buffer) else { continue };
            let query = buffer[..octets].to_vec();
            scope.spawn(move || {
                for answer in answers(&query, Over::Udp, client, state) {
                    let _ = socket.send_to(&answer, client);
                }
            });
        }
    });
}

fn serve_stream(mut stream: impl Read + Write, from: SocketAddr, state: &State) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        for answer in answers(&query, Over::Tcp, from, state) {
            let length = u16::try_from(answer.len()).expect("a short answer").to_be_bytes();
            let _ = stream.write_all(&[&length, &answer[..]].concat());
            let _ = stream.flush();
        }
        if query.get(13..18).is_some_and(|label| label.eq_ignore_ascii_case(b"close")) {
            return;
        }
    }
}

/// What to send, one after another.
fn answers(query: &[u8], over: Over, from: SocketAddr, state: &State) -> Vec<Vec<u8>> {
    let Ok(message) = Message::decode(query) else { return Vec::new() };
    let Some(question) = message.questions.first() else { return Vec::new() };
    let recursion = message.flags & 0x100 != 0;
    let asked = Asked { name: question.name.clone(), over, rtype: question.rtype, recursion, from };
    state.asked.lock().expect("no thread panics").push(asked);
    if state.silent.load(Ordering::Relaxed) {
        return Vec::new();
    }
    let name = question.name.to_ascii_lowercase();
    let script = name.split(['.', '-']).next().unwrap_or_default();
    let number = || -> u32 { name.split(['.', '-']).nth(1).and_then(|it| it.parse().ok()).expect("a number") };
    let with = |id: [u8; 2], flags: u16, addresses: u16, question: &[u8]| {
        let mut answer = id.to_vec();
        for word in [0x8180 | flags, 1, addresses, 0, 0] {
            answer.extend(word.to_be_bytes());
        }
        answer.extend(question);
        for _ in 0..addresses {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 99]);
        }
        answer
    };
    let id = [query[0], query[1]];
    let wrong = [query[0] ^ 0x55, query[1]];
    let name_end = 12 + query[12..].iter().position(|octet| *octet == 0).expect("a name");
    let asked = &query[12..name_end + 5];
    let good = with(id, 0, 1, asked);
    match script {
        "slow" => {
            thread::sleep(Duration::from_millis(number().into()));
            vec![good]
        }
        "tc" if over == Over::Udp => vec![with(id, 0x200, 0, asked)],
        "wrongid" => vec![with(wrong, 0, 1, asked)],
        "wrongquestion" => vec![with(id, 0, 1, b"\x05other\x00\x00\x01\x00\x01")],
        "garbage" => vec![[&id[..], &[0xff; 40]].concat()],
        "short" => vec![[&id[..], &[0x81]].concat()],
        "firstwrong" if over == Over::Udp => vec![with(wrong, 0, 1, asked), good],
        "rcode" => vec![with(id, u16::try_from(number()).expect("a code"), 0, asked)],
        "nodata" => vec![with(id, 0, 0, asked)],
        "ttl" => {
            let times = state.asked.lock().expect("no thread panics");
            let times = times.iter().filter(|it| it.name.eq_ignore_ascii_case(&question.name)).count();
            let mut answer = with(id, message.flags & 0x30, 1, asked);
            answer[2] = answer[2] & !1 | query[2] & 1;
            let at = answer.len();
            answer[at - 10..at - 6].copy_from_slice(&u32::to_be_bytes(number()));
            answer[at - 1] = u8::try_from(times).expect("few questions");
            vec![answer]
        }
        "soa" => {
            let code = name.split(['.', '-']).nth(2).and_then(|it| it.parse().ok()).expect("a code");
            let mut answer = with(id, code, 0, asked);
            answer[9] = 1;
            answer.extend([0xc0, 12, 0, 6, 0, 1]);
            answer.extend(u32::to_be_bytes(number()));
            answer.extend([0, 24, 0xc0, 12, 0xc0, 12]);
            answer.extend([1, 2, 3, 4, 900].into_iter().flat_map(u32::to_be_bytes));
            vec![answer]
        }
        "many" => {
            let count = u16::try_from(number()).expect("a count");
            let mut answer = with(id, 0, count, asked);
            for number in 0..usize::from(count) {
                answer[12 + asked.len() + 16 * number + 15] = u8::try_from(number + 1).expect("few addresses");
            }
            vec![answer]
        }
        "lower" if over == Over::Udp => vec![with(id, 0, 1, &asked.to_ascii_lowercase())],
        "upper" => {
            let owner = &asked[..asked.len() - 4];
            vec![[&with(id, 0, 1, asked)[..12 + asked.len()], owner, &good[12 + asked.len() + 2..]].concat()]
        }
        "loopback" if question.rtype == super::dns::A => {
            vec![[&good[..good.len() - 4], &[127, 0, 0, 1]].concat()]
        }
        "loopback" => vec![with(id, 0, 0, asked)],
        _ => match u16::try_from(state.rcode.load(Ordering::Relaxed)).expect("a code") {
            0 => vec![good],
            rcode => vec![with(id, rcode, 0, asked)],
        },
    }
}
