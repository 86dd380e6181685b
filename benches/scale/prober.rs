//! How long after a bare watcher a server's answers know of a change.

use crate::api;
use crate::support::dns;
use crate::swap::Swap;
use crate::watcher::Watcher;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Until an answer shows a change.
const LIMIT: Duration = Duration::from_secs(10);
/// For one answer.
const ANSWER_LIMIT: Duration = Duration::from_millis(200);
/// Between an answer and the next query. Asking without a pause would keep the server busy with that, and take the core
/// from the API server; the kernel makes it about twice as long.
const PAUSE: Duration = Duration::from_micros(50);

pub(crate) struct Prober<'p> {
    runtime: Handle,
    client: kube::Client,
    watcher: &'p Watcher,
    /// Another one, which only shows how far apart two are told of one change.
    other: &'p Watcher,
    /// Milliseconds between both, of each change.
    pub(crate) apart: Vec<f64>,
    socket: UdpSocket,
    next: u16,
}

impl<'p> Prober<'p> {
    pub(crate) fn new(
        runtime: Handle,
        client: kube::Client,
        [watcher, other]: [&'p Watcher; 2],
        server: SocketAddr,
    ) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.connect(server).expect("an address");
        socket.set_read_timeout(Some(ANSWER_LIMIT)).expect("a timeout");
        Self { runtime, client, watcher, other, apart: Vec::new(), socket, next: 0 }
    }

    /// Makes a change; milliseconds from the instant at which the watcher was told of it to the arrival of the first
    /// answer that has it. That is negative where the server was told first, and fast.
    pub(crate) fn change(&mut self, swap: &mut Swap) -> f64 {
        let change = swap.next();
        let (client, path, body) = (self.client.clone(), change.path.to_owned(), change.body);
        let version = self.runtime.spawn(async move { api::put(&client, &path, body).await });
        let answered = self.poll(change.query, change.address);
        let version = self.runtime.block_on(version).expect("a written slice");
        let (told, other) = (self.watcher.saw(version), self.other.saw(version));
        self.apart.push((told.max(other) - told.min(other)).as_secs_f64() * 1e3);
        match answered.checked_duration_since(told) {
            Some(later) => later.as_secs_f64() * 1e3,
            None => -(told - answered).as_secs_f64() * 1e3,
        }
    }

    /// Asks for a name until it has the address; when that was.
    fn poll(&mut self, query: dns::Query, address: Ipv4Addr) -> Instant {
        let (begin, address) = (Instant::now(), address.to_string());
        let mut buffer = [0; 4096];
        loop {
            self.next = self.next.wrapping_add(1);
            self.socket.send(&query.clone().id(self.next).to_bytes()).expect("a query");
            loop {
                match self.socket.recv(&mut buffer) {
                    Ok(octets) => {
                        let now = Instant::now();
                        let answer = dns::Message::decode(&buffer[..octets]).expect("a message");
                        if answer.id != self.next {
                            // To a query that was given up.
                            continue;
                        }
                        match answer.rcode {
                            dns::NOERROR if answer.data_of(dns::A) == [address.as_str()] => return now,
                            dns::NXDOMAIN => break,
                            _ => panic!("neither the old answer nor the new one: {answer}"),
                        }
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                    Err(error) => panic!("the server: {error}"),
                }
            }
            assert!(begin.elapsed() < LIMIT, "{} is not there after {LIMIT:?}", query.name);
            std::thread::sleep(PAUSE);
        }
    }
}
