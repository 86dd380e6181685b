//! Bad input at a bounded rate, beside the good queries of the same client.

use nix::errno::Errno;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

/// What floods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Packets that are no sound queries: cut, or of random octets.
    Malformed,
    /// Queries for names that nobody has asked for before, none of which exists.
    RandomNames,
    /// Pieces of TCP messages that are never whole, on connections that come and go.
    HalfFrames,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Malformed, Kind::RandomNames, Kind::HalfFrames];

/// Connections that are open at a time.
const CONNECTIONS: usize = 100;
/// Pieces after which a connection is given up for a new one.
const PIECES: usize = 200;
/// As many at a time, so that the good queries' schedule is kept.
const BURST: usize = 8;

pub(crate) struct Flood {
    kind: Kind,
    /// Datagrams, or pieces, a second.
    rate: u32,
    server: SocketAddr,
    udp: UdpSocket,
    tcp: Vec<Option<(TcpStream, usize)>>,
    rng: StdRng,
    sent: u64,
}

impl Flood {
    pub(crate) fn new(kind: Kind, rate: u32, server: SocketAddr) -> Self {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        udp.connect(server).expect("an address");
        udp.set_nonblocking(true).expect("a socket that does not wait");
        let tcp = (0..CONNECTIONS).map(|_| None).collect();
        Self { kind, rate, server, udp, tcp, rng: StdRng::seed_from_u64(1), sent: 0 }
    }

    /// Sends what is due so many nanoseconds after the begin, and drops what comes back.
    pub(crate) fn send_due(&mut self, now: u64) {
        let due = (u128::from(now) * u128::from(self.rate) / 1_000_000_000) as u64;
        for _ in 0..BURST.min(due.saturating_sub(self.sent) as usize) {
            self.sent += 1;
            match self.kind {
                Kind::Malformed => self.send(Self::malformed),
                Kind::RandomNames => self.send(Self::random_name),
                Kind::HalfFrames => self.piece(),
            }
        }
        let mut dropped = [0; 512];
        while self.udp.recv(&mut dropped).is_ok() {}
    }

    fn send(&mut self, make: fn(&mut StdRng) -> Vec<u8>) {
        match self.udp.send(&make(&mut self.rng)) {
            Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => {}
            sent => drop(sent.expect("the server")),
        }
    }

    fn malformed(rng: &mut StdRng) -> Vec<u8> {
        let mut packet = Self::random_name(rng);
        if rng.random() {
            let cut = rng.random_range(0..packet.len());
            packet.truncate(cut);
        } else {
            // Behind the flags, so that it remains a query.
            rng.fill_bytes(&mut packet[4..]);
        }
        packet
    }

    fn random_name(rng: &mut StdRng) -> Vec<u8> {
        let mut packet = vec![0; 12];
        rng.fill_bytes(&mut packet[..2]);
        packet[5] = 1;
        packet.push(16);
        packet.extend((0..16).map(|_| rng.random_range(b'a'..=b'z')));
        packet.extend(b"\x07team-00\x03svc\x07cluster\x05local\0\0\x01\0\x01");
        packet
    }

    /// Sends one octet of a message of 65,535, on one connection after the other.
    fn piece(&mut self) {
        let place = self.sent as usize % CONNECTIONS;
        let server = self.server;
        let (stream, pieces) = self.tcp[place].get_or_insert_with(|| {
            let stream = TcpStream::connect(server).expect("a connection");
            stream.set_nonblocking(true).expect("a stream that does not wait");
            stream.set_nodelay(true).expect("a stream that sends at once");
            (stream, 0)
        });
        *pieces += 1;
        let is_gone = match stream.write(&[0xff]) {
            Ok(_) => false,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        if is_gone || *pieces == PIECES {
            self.tcp[place] = None;
        }
    }
}
