//! TCP clients share a server: none of them, however it behaves, has what the others need.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use podzone::answer::{Answered, Block, Forwarded, Lookup, LookupError, Responder, Transport};
use podzone::net::{
    Elsewhere, Exchange, Observer, Service, Serving, SharedService, Sockets, TcpPlaces, TcpTimes, Transferring,
    WaitingRoom,
};
use podzone::zone::Name;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

const PATIENCE: Duration = Duration::from_secs(20);
/// Makes two connections differ in when they were used last.
const TICK: Duration = Duration::from_millis(5);

// ---- the server -----------------------------------------------------------------------------------------------------

/// How many answers each client was given.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<HashMap<SocketAddr, usize>>>);

impl Answers {
    fn of(&self, client: &TcpStream) -> usize {
        self.0.lock().unwrap().get(&client.local_addr().unwrap()).copied().unwrap_or_default()
    }
}

impl Observer for Answers {
    fn is_watching(&self) -> bool {
        true
    }

    fn answered(&self, exchange: &Exchange<'_>, _: &Answered<'_>) {
        *self.0.lock().unwrap().entry(*exchange.client).or_default() += 1;
    }

    fn shed(&self) {}
}

/// An upstream that fails, when it may.
struct Upstream {
    asked: Arc<AtomicUsize>,
    may_fail: Arc<Semaphore>,
}

impl Elsewhere for Upstream {
    fn ask(&self, _: Lookup, _: Transport) -> BoxFuture<'_, Result<Vec<u8>, LookupError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            let _leave = self.may_fail.acquire().await;
            Err(LookupError::servfail("it may"))
        })
    }
}

/// A server on a runtime. With one thread, that of the test, time stands still for it whenever the test does not wait.
struct Server {
    runtime: Runtime,
    serving: Serving,
    addr: SocketAddr,
    answers: Answers,
    asked: Arc<AtomicUsize>,
    may_fail: Arc<Semaphore>,
}

impl Server {
    /// Asks its upstream about `example`, and refuses all else.
    fn start(mut runtime: Builder, places: TcpPlaces, tcp: TcpTimes) -> Self {
        let runtime = runtime.enable_all().build().unwrap();
        let sockets = Sockets::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1, false).unwrap();
        let addr = sockets.tcp.local_addr().unwrap();
        let forward = Forwarded { from: Name::parse("example").unwrap(), except: Vec::new() };
        let block = Block { forwards: vec![forward], handles: true, ..Block::default() };
        let (answers, asked, may_fail) = (Answers::default(), Arc::default(), Arc::new(Semaphore::new(0)));
        let service = Service {
            responder: Responder::new([(Name::parse("example").unwrap(), Arc::new(block))]),
            observer: Box::new(answers.clone()),
            elsewhere: Arc::new(Upstream { asked: Arc::clone(&asked), may_fail: Arc::clone(&may_fail) }),
            waiting: WaitingRoom::new(runtime.handle().clone()),
            transferring: Transferring::default(),
            tcp,
        };
        let mut serving = Serving::default();
        serving.serve(addr, sockets, SharedService::new(service), places).unwrap();
        Self { runtime, serving, addr, answers, asked, may_fail }
    }

    /// Serves until something has come about.
    fn until(&self, what: &str, has_come: impl Fn() -> bool) {
        let begin = Instant::now();
        self.runtime.block_on(async {
            while !has_come() {
                assert!(begin.elapsed() < PATIENCE, "{what} did not come about");
                yield_now().await;
            }
        });
    }
}

fn two_threads() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2);
    builder
}

// ---- clients --------------------------------------------------------------------------------------------------------

fn query(id: u16, name: &[u8]) -> Vec<u8> {
    let head = [&id.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    [&head[..], name, b"\0\x01\0\x01"].concat()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

fn refused(id: u16) -> Vec<u8> {
    framed(&query(id, b"\x07nowhere\0"))
}

fn connect_from(client: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((IpAddr::from(client), 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

fn connect(server: SocketAddr) -> TcpStream {
    connect_from([127, 0, 0, 1], server)
}

/// The next answer, but for its length.
fn receive(mut client: &TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    client.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    client.read_exact(&mut answer).unwrap();
    answer
}

fn is_answered(mut client: &TcpStream) {
    client.write_all(&refused(7)).unwrap();
    assert_eq!(receive(client)[..2], [0, 7]);
    std::thread::sleep(TICK);
}

fn is_closed(mut client: &TcpStream) {
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "an answer, where the end was expected");
}

/// A client that asks as much as it can.
struct Flood {
    client: TcpStream,
    queries: Vec<u8>,
    /// Octets that were written of the queries, round after round.
    written: usize,
}

impl Flood {
    fn start(server: SocketAddr) -> Self {
        let client = connect(server);
        client.set_nonblocking(true).unwrap();
        Self { client, queries: refused(7).repeat(1000), written: 0 }
    }

    /// Writes what can be written.
    fn write(&mut self) -> std::io::Result<()> {
        loop {
            match self.client.write(&self.queries[self.written % self.queries.len()..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what can be read.
    fn read(&mut self) -> std::io::Result<()> {
        let mut answers = [0; 65_536];
        loop {
            match self.client.read(&mut answers) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

// ---- the rules ------------------------------------------------------------------------------------------------------

#[test]
fn a_flood_of_queries_leaves_others_their_turn() {
    const OTHERS: usize = 50;
    const ROUNDS: usize = 20;
    /// Some turns of the flood, while each of the others has one.
    const MEANWHILE_MAX: usize = 2000;
    let server = Server::start(Builder::new_current_thread(), TcpPlaces::default(), TcpTimes::default());
    let mut flood = Flood::start(server.addr);
    let others: Vec<TcpStream> = (0..OTHERS).map(|_| connect(server.addr)).collect();
    for round in 1..=ROUNDS {
        flood.write().unwrap();
        for mut other in &others {
            other.write_all(&refused(7)).unwrap();
        }
        let before = server.answers.of(&flood.client);
        let asked = flood.written / refused(7).len() - before;
        assert!(asked > 2 * MEANWHILE_MAX, "{asked} queries are no flood");
        server.until("an answer to each", || others.iter().all(|other| server.answers.of(other) == round));
        let meanwhile = server.answers.of(&flood.client) - before;
        assert!(meanwhile <= MEANWHILE_MAX, "{meanwhile} queries of the flood in round {round}");
        for other in &others {
            receive(other);
        }
        flood.read().unwrap();
    }
    assert!(server.answers.of(&flood.client) >= ROUNDS, "the flood has its turn, too");
}

#[test]
fn who_does_not_read_is_answered_no_further_and_closed() {
    /// More than the kernel keeps of queries and answers.
    const WRITTEN_MAX: usize = 64 << 20;
    let times = TcpTimes { write: Duration::from_millis(300), ..TcpTimes::default() };
    let server = Server::start(two_threads(), TcpPlaces::default(), times);
    let mut flood = Flood::start(server.addr);
    let begin = Instant::now();
    while flood.write().is_ok() {
        assert!(flood.written < WRITTEN_MAX, "{} octets were taken of a client that reads nothing", flood.written);
        assert!(begin.elapsed() < PATIENCE, "it was not closed");
        std::thread::sleep(TICK);
    }
    is_answered(&connect(server.addr));
}

#[test]
fn who_reads_late_gets_all_answers() {
    const QUERIES: u16 = 5_000;
    let server = Server::start(two_threads(), TcpPlaces::default(), TcpTimes::default());
    let client = connect(server.addr);
    let mut writer = client.try_clone().unwrap();
    let written = std::thread::spawn(move || {
        for id in 0..QUERIES {
            writer.write_all(&refused(id)).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    // Small enough that it fills up.
    socket2::SockRef::from(&client).set_recv_buffer_size(4096).unwrap();
    for id in 0..QUERIES {
        assert_eq!(receive(&client)[..2], id.to_be_bytes());
    }
    is_closed(&client);
    written.join().unwrap();
}

#[test]
fn queries_in_any_pieces_are_answered_in_order() {
    let server = Server::start(two_threads(), TcpPlaces::default(), TcpTimes::default());
    let mut dice = StdRng::seed_from_u64(53);
    for round in 0..40 {
        let (mut octets, mut ids) = (Vec::new(), Vec::new());
        for id in 0..200_u16 {
            match dice.random_range(0..60) {
                // The shortest, which is passed over, and the longest.
                0 => octets.extend([0, 0]),
                1 => {
                    octets.extend(framed(&[&id.to_be_bytes()[..], &[0; 65_533]].concat()));
                    ids.push(id);
                }
                _ => {
                    octets.extend(refused(id));
                    ids.push(id);
                }
            }
        }
        let client = connect(server.addr);
        let mut writer = client.try_clone().unwrap();
        // From single octets to all at once; the rest at once after 3,000 pieces.
        let longest = 1 << (round % 18);
        let pieces: Vec<usize> = (0..3000).map(|_| dice.random_range(1..=longest)).collect();
        let written = std::thread::spawn(move || {
            let mut rest = &octets[..];
            for piece in pieces {
                let (now, later) = rest.split_at(piece.min(rest.len()));
                writer.write_all(now).unwrap();
                rest = later;
            }
            writer.write_all(rest).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        for id in ids {
            assert_eq!(receive(&client)[..2], id.to_be_bytes(), "in pieces of up to {longest} octets");
        }
        is_closed(&client);
        written.join().unwrap();
    }
}

#[test]
fn a_query_in_drops_does_not_hold_a_connection() {
    let times = TcpTimes { first_read: Duration::from_millis(300), ..TcpTimes::default() };
    let server = Server::start(two_threads(), TcpPlaces::default(), times);
    let mut client = connect(server.addr);
    client.write_all(&[0xff, 0xff]).unwrap();
    let begin = Instant::now();
    while client.write_all(&[0]).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it was not closed");
        std::thread::sleep(TICK);
    }
}

#[test]
fn so_many_queries_of_a_connection_wait_and_all_are_answered_in_the_end() {
    const QUERIES: u16 = 300;
    const WAITING_MAX: usize = 64;
    let server = Server::start(Builder::new_current_thread(), TcpPlaces::default(), TcpTimes::default());
    let mut client = connect(server.addr);
    for id in 0..QUERIES {
        client.write_all(&framed(&query(id, b"\x07example\0"))).unwrap();
    }
    // A client that has asked everything may say so.
    client.shutdown(Shutdown::Write).unwrap();
    server.until("as many as may wait", || server.asked.load(Ordering::SeqCst) == WAITING_MAX);
    server.runtime.block_on(async {
        for _ in 0..1000 {
            yield_now().await;
        }
    });
    assert_eq!(server.asked.load(Ordering::SeqCst), WAITING_MAX);
    server.may_fail.add_permits(1);
    server.until("an answer to each", || server.answers.of(&client) == usize::from(QUERIES));
    server.runtime.block_on(async {
        for _ in 0..1000 {
            yield_now().await;
        }
    });
    let mut ids: Vec<u16> =
        (0..QUERIES).map(|_| receive(&client)).map(|it| u16::from_be_bytes([it[0], it[1]])).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..QUERIES).collect::<Vec<_>>());
    is_closed(&client);
}

#[test]
fn a_newcomer_takes_the_place_of_the_idlest_of_whoever_holds_most() {
    let places = TcpPlaces { connections: 6, connections_per_client: 4 };
    let server = Server::start(two_threads(), places, TcpTimes::default());
    let from = |client: u8| {
        let stream = connect_from([127, 0, 0, client], server.addr);
        is_answered(&stream);
        stream
    };
    let few = [from(2), from(3), from(3)];
    let most = [from(4), from(4), from(4)];
    is_answered(&most[0]);
    let newcomer = from(5);
    is_closed(&most[1]);
    for left in few.iter().chain([&most[0], &most[2], &newcomer]) {
        is_answered(left);
    }
}

#[test]
fn a_client_with_all_that_it_may_have_gives_up_its_own_idlest() {
    let places = TcpPlaces { connections: 20, connections_per_client: 3 };
    let server = Server::start(two_threads(), places, TcpTimes::default());
    let from = |client: u8| {
        let stream = connect_from([127, 0, 0, client], server.addr);
        is_answered(&stream);
        stream
    };
    let other = from(2);
    let own = [from(3), from(3), from(3)];
    is_answered(&own[0]);
    let newest = from(3);
    is_closed(&own[1]);
    for left in [&other, &own[0], &own[2], &newest] {
        is_answered(left);
    }
    // What was closed counts no more.
    drop(own);
    let again = [from(3), from(3)];
    for left in [&newest, &again[0], &again[1], &other] {
        is_answered(left);
    }
}

#[test]
fn a_flood_does_not_hold_up_the_end() {
    let server = Server::start(two_threads(), TcpPlaces::default(), TcpTimes::default());
    let mut flood = Flood::start(server.addr);
    let flooding = std::thread::spawn(move || while flood.write().and_then(|()| flood.read()).is_ok() {});
    let other = connect(server.addr);
    is_answered(&other);
    assert!(server.runtime.block_on(async { server.serving.stop(PATIENCE).await }));
    is_closed(&other);
    flooding.join().unwrap();
}
