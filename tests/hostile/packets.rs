//! A running server, and those who send it what they should not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::crafted::{self, KNOWN, Packet, Reply};
use super::good_client::GoodClient;
use super::load::settled_descriptors;
use super::manifests::{COREFILE, service};
use super::support::dns::{self, A, Message, NOERROR, Query, Tcp, Udp};
use super::support::held::resident_kib;
use super::support::process::Scratch;
use super::support::server::{Program, Server};

const PATIENCE: Duration = Duration::from_secs(10);
/// The server gives a connection 3 s for its first query; more than that on a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(20);
const RANDOM: usize = 2000;
const HELD: usize = 200;
const SHORT_LIVED: usize = 2000;
/// Of the allocator's making; a leak of one buffer a packet or connection would be more.
const GROWTH_KIB_MAX: u64 = 16 * 1024;
/// Descriptors of an idle server: sockets, pipes, the runtime's own.
const DESCRIPTORS_MAX: usize = 64;

/// A way to send messages and get messages.
trait Channel {
    fn send(&mut self, octets: &[u8]) -> std::io::Result<()>;
    fn receive(&mut self) -> std::io::Result<Vec<u8>>;
}

impl Channel for Udp {
    fn send(&mut self, octets: &[u8]) -> std::io::Result<()> {
        Self::send(self, octets)
    }
    fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        Self::receive(self)
    }
}

impl Channel for Tcp {
    fn send(&mut self, octets: &[u8]) -> std::io::Result<()> {
        Self::send(self, octets)
    }
    fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        Self::receive(self)
    }
}

/// Sends a packet, and a query behind it: one worker serves both in order, so that what comes before the query's
/// answer is the packet's.
fn replies(channel: &mut dyn Channel, packet: &Packet) -> Vec<Vec<u8>> {
    let marker = Query::new(KNOWN, A).id(0xbeef).to_bytes();
    channel.send(&packet.octets).expect("a packet is sent");
    channel.send(&marker).expect("a query is sent");
    let mut replies = Vec::new();
    loop {
        let reply = channel.receive().unwrap_or_else(|error| panic!("{}: no answer behind it: {error}", packet.what));
        // A random packet may have this ID; it is no known question.
        if reply[..2] == marker[..2] && Message::decode(&reply).is_ok_and(|reply| reply.data_of(A) == ["10.96.0.1"]) {
            return replies;
        }
        replies.push(reply);
    }
}

fn check(channel: &mut dyn Channel, packet: &Packet) {
    let replies = replies(channel, packet);
    let what = &packet.what;
    assert!(replies.len() <= 1, "{what}: {} answers", replies.len());
    let Some(reply) = replies.first() else {
        assert!(!matches!(packet.reply, Reply::Code(_)), "{what}: no answer, but {:?}", packet.reply);
        return;
    };
    let message = Message::decode(reply).unwrap_or_else(|error| panic!("{what}: {error}: {reply:02x?}"));
    assert_eq!(reply[..2], packet.octets[..2], "{what}: the ID");
    assert!(message.is_response() && message.trailing == 0, "{what}: {message}");
    match packet.reply {
        Reply::Silence => panic!("{what}: answered: {message}"),
        Reply::Code(code) => assert_eq!(message.rcode, code, "{what}: {message}"),
        Reply::Any => {}
    }
}

fn send_all(server: SocketAddr, packets: &[Packet]) {
    let mut udp = Udp::connect(server, PATIENCE).unwrap();
    let mut tcp = Tcp::connect(server, PATIENCE).unwrap();
    for packet in packets {
        check(&mut udp, packet);
        check(&mut tcp, packet);
    }
}

/// A query with its length in front.
fn framed() -> Vec<u8> {
    let query = Query::new(KNOWN, A).to_bytes();
    [&u16::try_from(query.len()).unwrap().to_be_bytes()[..], &query].concat()
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
    stream.set_read_timeout(Some(CLOSED_WITHIN)).unwrap();
    stream
}

/// Reads until the server closes.
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    match stream.read_to_end(&mut octets) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error}"),
    }
    octets
}

/// A frame that ends anywhere gets no answer, one that comes in two pieces does.
fn cut_frames(server: SocketAddr) {
    let frame = framed();
    for at in 0..frame.len() {
        let mut stream = connect(server);
        stream.write_all(&frame[..at]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(rest(&stream).is_empty(), "an answer to {at} octets of a frame");

        let mut stream = connect(server);
        stream.set_nodelay(true).unwrap();
        stream.write_all(&frame[..at]).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        stream.write_all(&frame[at..]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = rest(&stream);
        assert_eq!(Message::decode(&answer[2..]).unwrap().rcode, NOERROR, "a frame in two pieces, cut at {at}");
    }
}

/// Frames of the least and the most octets before a query do not hold it up.
fn odd_frames(server: SocketAddr) {
    for (length, reply) in [(0, Reply::Silence), (1, Reply::Silence), (65_535, Reply::Code(dns::FORMERR))] {
        let mut tcp = Tcp::connect(server, PATIENCE).unwrap();
        check(&mut tcp, &Packet { what: format!("a frame of {length} octets"), octets: vec![0; length], reply });
    }
    let mut stream = connect(server);
    stream.write_all(&[0; 100_000]).unwrap();
    stream.write_all(&framed()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(Message::decode(&rest(&stream)[2..]).unwrap().rcode, NOERROR, "behind frames of nothing");
}

/// Connections that begin a frame and say no more are closed, however many.
fn held_frames(server: SocketAddr) {
    let frame = framed();
    let held: Vec<TcpStream> = (0..HELD)
        .map(|number| {
            let mut stream = connect(server);
            stream.write_all(&frame[..number % frame.len()]).unwrap();
            stream
        })
        .collect();
    // The largest that a frame may be, all but its last octet.
    let mut large = connect(server);
    large.write_all(&[&[0xff; 2][..], &[0; 65_534]].concat()).unwrap();
    for stream in held.iter().chain([&large]) {
        assert!(rest(stream).is_empty(), "an answer to half a frame");
    }
}

fn short_connections(server: SocketAddr) {
    for number in 0..SHORT_LIVED {
        let stream = connect(server);
        if number % 2 == 1 {
            // Closed with a RST.
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
}

fn hostility(server: SocketAddr) {
    let mut begin = Instant::now();
    let mut step = |what: &str| {
        println!("{what}: {:?}", begin.elapsed());
        begin = Instant::now();
    };
    send_all(server, &crafted::named());
    step("named packets");
    send_all(server, &crafted::random(RANDOM));
    step("random packets");
    cut_frames(server);
    step("cut frames");
    odd_frames(server);
    step("odd frames");
    held_frames(server);
    step("held frames");
    short_connections(server);
    step("short connections");
}

fn start() -> (Server, Scratch) {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("web.yaml"), service("web", "10.96.0.1")).unwrap();
    (Program::Podzone.start(&COREFILE.replace("FOLDER", &scratch.path().to_string_lossy())), scratch)
}

#[test]
fn hostile_packets_cost_nobody_else_anything() {
    let (mut server, _folder) = start();
    let (addr, id) = (server.addr(), server.process().id());
    // Buffers and the allocator's arenas come to their size.
    hostility(addr);
    let descriptors = settled_descriptors(id, DESCRIPTORS_MAX, PATIENCE);
    let memory = resident_kib(id);

    let clients = [GoodClient::start(addr, dns::udp_within), GoodClient::start(addr, dns::tcp_within)];
    hostility(addr);
    let [udp, tcp] = clients.map(GoodClient::stop);
    println!("the good client saw {udp:?} over UDP, {tcp:?} over TCP");
    assert!(udp.answers > 100 && tcp.answers > 100, "the good client asked too little: {udp:?}, {tcp:?}");
    assert!(tcp.retries == 0 && udp.retries * 100 <= udp.answers, "{udp:?}, {tcp:?}");

    let after = settled_descriptors(id, descriptors, PATIENCE);
    let grown = resident_kib(id).saturating_sub(memory);
    println!("{memory} KiB and {descriptors} descriptors before, {grown} KiB more and {after} descriptors after");
    assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB more than {memory}");
    assert!(server.process().ended().is_none(), "{}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert!(server.stop().is_some_and(|status| status.success()), "{}", server.log());
}
