//! A DNS server that misbehaves by script: the first label of a question says how.
//!
//! - `slow-MS…` answers after so many milliseconds;
//! - `tc…` is cut over UDP, and whole over TCP;
//! - `wrongid`, `wrongquestion`, `garbage` (the right ID, then noise), `short` (three octets) answer so;
//! - `firstwrong` answers under a wrong ID, then right;
//! - anything else has one address.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
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

#[derive(Default)]
struct State {
    silent: AtomicBool,
    asked: Mutex<Vec<(String, Over)>>,
    ended: AtomicBool,
}

/// The server; its threads end soon after this value.
pub struct Scripted {
    addr: SocketAddr,
    state: Arc<State>,
}

impl Scripted {
    pub fn start() -> Self {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, super::ports::free()));
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
                let state = Arc::clone(&of_tcp);
                thread::spawn(move || serve_tcp(stream, &state));
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

    /// How this name was asked for, each time.
    pub fn asked(&self, name: &str) -> Vec<Over> {
        let asked = self.state.asked.lock().expect("no thread panics");
        asked.iter().filter(|(it, _)| it.trim_end_matches('.') == name).map(|(_, over)| *over).collect()
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
                for answer in answers(&query, Over::Udp, state) {
                    let _ = socket.send_to(&answer, client);
                }
            });
        }
    });
}

fn serve_tcp(mut stream: TcpStream, state: &State) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        for answer in answers(&query, Over::Tcp, state) {
            let length = u16::try_from(answer.len()).expect("a short answer").to_be_bytes();
            let _ = stream.write_all(&[&length, &answer[..]].concat());
        }
    }
}

/// What to send, one after another.
fn answers(query: &[u8], over: Over, state: &State) -> Vec<Vec<u8>> {
    let Ok(message) = Message::decode(query) else { return Vec::new() };
    let Some(question) = message.questions.first() else { return Vec::new() };
    state.asked.lock().expect("no thread panics").push((question.name.clone(), over));
    if state.silent.load(Ordering::Relaxed) {
        return Vec::new();
    }
    let script = question.name.split(['.', '-']).next().unwrap_or_default();
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
            let wait = question.name.split('-').nth(1).and_then(|it| it.parse().ok()).expect("milliseconds");
            thread::sleep(Duration::from_millis(wait));
            vec![good]
        }
        "tc" if over == Over::Udp => vec![with(id, 0x200, 0, asked)],
        "wrongid" => vec![with(wrong, 0, 1, asked)],
        "wrongquestion" => vec![with(id, 0, 1, b"\x05other\x00\x00\x01\x00\x01")],
        "garbage" => vec![[&id[..], &[0xff; 40]].concat()],
        "short" => vec![[&id[..], &[0x81]].concat()],
        "firstwrong" if over == Over::Udp => vec![with(wrong, 0, 1, asked), good],
        _ => vec![good],
    }
}
