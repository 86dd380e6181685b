//! A made-up internet: one server that knows every name right below `test.`, by rules. What stands before the first dash says
//! how a name is, the number behind it which of its kind it is:
//!
//! - `a-N`: an IPv4 address, and, where N is even, an IPv6 address;
//! - `cname-N`: an alias, over up to five others, to `a-N`;
//! - `text-N`: up to 3,000 octets of text;
//! - `nx-N` does not exist; `fail-N` is SERVFAIL; `lame-N` is REFUSED;
//! - `slow-N`: like `a-N`, after 300 ms;
//! - `tc-N`: so many addresses that they need TCP;
//! - `spoof-N`: like `a-N`, but another address comes first, under an ID that was guessed wrong.
//!
//! Other names right below `test.` exist, and have no records; all else does not exist. Answers over UDP are cut at what the client takes.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::dns::{A, AAAA, CNAME, Message, NXDOMAIN, REFUSED, SERVFAIL, SOA, TXT};
use super::dns_text::parse_name;

/// How long `slow` names take.
const SLOW: Duration = Duration::from_millis(300);
const TTL_SECS: u32 = 300;

#[derive(Default)]
struct State {
    is_away: AtomicBool,
    has_ended: AtomicBool,
    asked: AtomicUsize,
    names: Mutex<Vec<String>>,
}

/// The server; its threads end soon after this value.
pub struct Internet {
    state: Arc<State>,
}

impl Internet {
    /// One on these sockets.
    pub fn on(udp: UdpSocket, tcp: TcpListener) -> Self {
        let state = Arc::new(State::default());
        udp.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let of_udp = Arc::clone(&state);
        thread::spawn(move || serve_udp(&udp, &of_udp));
        let of_tcp = Arc::clone(&state);
        tcp.set_nonblocking(true).expect("a socket");
        thread::spawn(move || {
            while !of_tcp.has_ended.load(Ordering::Relaxed) {
                match tcp.accept() {
                    Ok((stream, _)) => {
                        let state = Arc::clone(&of_tcp);
                        thread::spawn(move || serve_tcp(stream, &state));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Self { state }
    }

    /// One on loopback, and where it is.
    pub fn start() -> (Self, SocketAddr) {
        loop {
            let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            let addr = udp.local_addr().expect("an address");
            // The same port may be taken over TCP.
            if let Ok(tcp) = TcpListener::bind(addr) {
                return (Self::on(udp, tcp), addr);
            }
        }
    }

    /// Whether it takes questions and never answers, as a host does that has lost its power.
    pub fn be_away(&self, is_away: bool) {
        self.state.is_away.store(is_away, Ordering::SeqCst);
    }

    /// How many questions it has answered.
    pub fn answered(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// The names that it was asked for, in lower case, each time.
    pub fn names(&self) -> Vec<String> {
        self.state.names.lock().expect("no thread panics").clone()
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        self.state.has_ended.store(true, Ordering::Relaxed);
    }
}

fn serve_udp(socket: &UdpSocket, state: &Arc<State>) {
    let mut buffer = vec![0; 4096];
    while !state.has_ended.load(Ordering::Relaxed) {
        let Ok((octets, client)) = socket.recv_from(&mut buffer) else { continue };
        let query = buffer[..octets].to_vec();
        let Some(answer) = Answer::to(&query, false, state) else { continue };
        if !answer.is_slow {
            for message in &answer.messages {
                let _ = socket.send_to(message, client);
            }
            continue;
        }
        let socket = socket.try_clone().expect("a socket");
        thread::spawn(move || {
            thread::sleep(SLOW);
            for message in &answer.messages {
                let _ = socket.send_to(message, client);
            }
        });
    }
}

fn serve_tcp(mut stream: std::net::TcpStream, state: &State) {
    use std::io::{Read as _, Write as _};
    stream.set_nonblocking(false).expect("a socket");
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        let Some(answer) = Answer::to(&query, true, state) else { continue };
        if answer.is_slow {
            thread::sleep(SLOW);
        }
        for message in &answer.messages {
            let length = u16::try_from(message.len()).expect("a short answer").to_be_bytes();
            let _ = stream.write_all(&[&length, &message[..]].concat());
        }
    }
}

struct Answer {
    messages: Vec<Vec<u8>>,
    is_slow: bool,
}

/// A response in the making.
struct Draft<'q> {
    query: &'q [u8],
    question: &'q [u8],
    rcode: u16,
    answers: Vec<Vec<u8>>,
    /// Names that do not exist, or have nothing of a type, come with a SOA.
    denies: bool,
}

impl Answer {
    fn to(query: &[u8], is_tcp: bool, state: &State) -> Option<Self> {
        let message = Message::decode(query).ok()?;
        let question = message.questions.first()?;
        let name = question.name.to_ascii_lowercase();
        if state.is_away.load(Ordering::SeqCst) {
            return None;
        }
        state.asked.fetch_add(1, Ordering::SeqCst);
        state.names.lock().expect("no thread panics").push(name.clone());
        let end = 12 + query.get(12..)?.iter().position(|octet| *octet == 0)? + 5;
        let mut draft = Draft { query, question: query.get(12..end)?, rcode: 0, answers: Vec::new(), denies: false };
        let first = name.split('.').next().unwrap_or_default();
        let (kind, number) = first.split_once('-').unwrap_or((first, "0"));
        let number: u32 = number.parse().unwrap_or(0);
        let rtype = question.rtype;
        let limit = match (is_tcp, &message.opt) {
            (true, _) => 65_535,
            (false, None) => 512,
            (false, Some(opt)) => usize::from(opt.payload).max(512),
        };
        let labels: Vec<&str> = name.split('.').collect();
        match kind {
            _ if !matches!(labels[..], [_, "test", ""] | ["test", ""] | ["", ""]) => draft.rcode = NXDOMAIN,
            "a" | "slow" | "spoof" => draft.addresses(&[0xc0, 12], rtype, number),
            "cname" => {
                let mut owner = vec![0xc0, 12];
                for step in 1..=number % 5 {
                    let next = parse_name(&format!("c{step}-{number}.test."));
                    draft.record(&owner, CNAME, &next);
                    owner = next;
                }
                let last = parse_name(&format!("a-{number}.test."));
                draft.record(&owner, CNAME, &last);
                draft.addresses(&last, rtype, number);
            }
            "text" if rtype == TXT => {
                let chunks = number % 60 + 1;
                for chunk in 0..chunks {
                    let text = format!("{chunk:050}");
                    draft.record(&[0xc0, 12], TXT, &[&[50], text.as_bytes()].concat());
                }
            }
            "tc" if rtype == A => (0..120).for_each(|host| draft.record(&[0xc0, 12], A, &[198, 51, 100, host])),
            "nx" => draft.rcode = NXDOMAIN,
            "fail" => draft.rcode = SERVFAIL,
            "lame" => draft.rcode = REFUSED,
            _ => {}
        }
        draft.denies = draft.rcode == NXDOMAIN || draft.rcode == 0 && draft.answers.is_empty();
        let right = draft.message(limit);
        let mut messages = vec![right];
        if kind == "spoof" && !is_tcp {
            let mut forged = Draft { answers: Vec::new(), denies: false, ..draft };
            forged.record(&[0xc0, 12], A, &[203, 0, 113, 66]);
            let mut forged = forged.message(limit);
            forged[0] ^= 0x55;
            messages.insert(0, forged);
        }
        Some(Self { messages, is_slow: kind == "slow" })
    }
}

impl Draft<'_> {
    fn record(&mut self, owner: &[u8], rtype: u16, rdata: &[u8]) {
        let length = u16::try_from(rdata.len()).expect("short data").to_be_bytes();
        let [t0, t1] = rtype.to_be_bytes();
        self.answers.push([owner, &[t0, t1, 0, 1], &TTL_SECS.to_be_bytes(), &length, rdata].concat());
    }

    fn addresses(&mut self, owner: &[u8], rtype: u16, number: u32) {
        let [.., high, low] = number.to_be_bytes();
        match rtype {
            A => self.record(owner, A, &[192, 0, 2, low % 250]),
            AAAA if number.is_multiple_of(2) => {
                self.record(owner, AAAA, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low]);
            }
            _ => {}
        }
    }

    fn message(&self, limit: usize) -> Vec<u8> {
        let with = |answers: &[Vec<u8>], flags: u16| {
            let soa = if self.denies { soa() } else { Vec::new() };
            let mut message = self.query[..2].to_vec();
            // Recursion was desired, and is to be had.
            let counts = [0x8180 | flags | self.rcode, 1, answers.len() as u16, u16::from(self.denies), 0];
            counts.iter().for_each(|word| message.extend(word.to_be_bytes()));
            [&message, self.question, &answers.concat(), &soa].concat()
        };
        let whole = with(&self.answers, 0);
        if whole.len() <= limit { whole } else { with(&[], 0x200) }
    }
}

/// That of `test.`, whose denials may be kept for a minute.
fn soa() -> Vec<u8> {
    let zone = parse_name("test.");
    let times: Vec<u8> = [1u32, 3600, 600, 86_400, 60].iter().flat_map(|time| time.to_be_bytes()).collect();
    let rdata = [&parse_name("ns.test."), &parse_name("admin.test."), &times].map(|part| &part[..]).concat();
    let length = u16::try_from(rdata.len()).expect("short data").to_be_bytes();
    let [t0, t1] = SOA.to_be_bytes();
    [&zone[..], &[t0, t1, 0, 1], &60u32.to_be_bytes(), &length, &rdata].concat()
}
