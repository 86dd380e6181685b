//! One exchange over UDP: each from a socket and a port of its own, which go with it.
//!
//! A socket is connected: the kernel then says at once when nobody listens there, and drops what others send. It is not
//! kept: a port that answers more than one question is one that a forger may learn, or guess for all of them at once.
//! docs/security.md says what that leaves to chance.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rand::RngExt as _;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::letters::Letters;
use super::reply::{Fit, Question};

/// The most octets of a datagram.
const DATAGRAM_OCTETS_MAX: usize = 65_535;
/// The lowest port that is used: those below are for well-known services (RFC 6335 section 6).
const PORT_MIN: u16 = 1024;
/// How many ports are tried before the kernel chooses one: others may have them.
const PORTS_TRIED: usize = 16;

thread_local! {
    static SENT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static RECEIVED: RefCell<Box<[u8]>> = RefCell::new(vec![0; DATAGRAM_OCTETS_MAX].into());
}

/// What came back.
#[derive(Debug)]
pub(super) enum Received {
    /// The answer.
    Answer(Vec<u8>),
    /// An answer, but for the case of its question's letters: from a server that does not keep them, or from a forger who
    /// had luck with all else.
    OtherLetters,
}

/// Asks once. It does not end by itself if nobody answers.
///
/// # Errors
/// If nobody listens there, or the system has no socket.
pub(super) async fn exchange(
    to: SocketAddr,
    source: Option<IpAddr>,
    question: Question<'_>,
    letters: Letters,
) -> io::Result<Received> {
    let id: u16 = rand::random();
    let socket = open(to, source)?;
    send(&socket, question, id, letters)?;
    let socket = UdpSocket::from_std(socket)?;
    loop {
        // A refusal makes it neither readable nor writable, so that it is waited for apart.
        let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
        if ready.is_error() {
            return Err(socket.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()));
        }
        match receive(&socket, to, question, id, letters) {
            Ok((Fit::Right, message)) => return Ok(Received::Answer(message)),
            Ok((Fit::OtherLetters, _)) => return Ok(Received::OtherLetters),
            // Something else does not stand in the way of the answer.
            Ok((Fit::Wrong, _)) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn open(to: SocketAddr, source: Option<IpAddr>) -> io::Result<std::net::UdpSocket> {
    let any = match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let source = source.unwrap_or(any);
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    let mut rng = rand::rng();
    let has_port = (0..PORTS_TRIED).find_map(|_| {
        // The kernel's own choice has fewer: its range is less than half of all (ip_local_port_range).
        match socket.bind(&SocketAddr::new(source, rng.random_range(PORT_MIN..=u16::MAX)).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            bound => Some(bound),
        }
    });
    has_port.unwrap_or_else(|| socket.bind(&SocketAddr::new(source, 0).into()))?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

fn send(socket: &std::net::UdpSocket, question: Question<'_>, id: u16, letters: Letters) -> io::Result<()> {
    SENT.with_borrow_mut(|sent| {
        sent.clear();
        sent.extend_from_slice(question.query);
        if let Some(place) = sent.first_chunk_mut::<2>() {
            *place = id.to_be_bytes();
        }
        letters.turn(sent, question.name_end());
        // A socket that has sent nothing has room for a datagram.
        socket.send(sent).map(|_| ())
    })
}

fn receive(
    socket: &UdpSocket,
    to: SocketAddr,
    question: Question<'_>,
    id: u16,
    letters: Letters,
) -> io::Result<(Fit, Vec<u8>)> {
    RECEIVED.with_borrow_mut(|buffer| {
        let (octets, from) = socket.try_recv_from(buffer)?;
        // What came between the socket's first breath and its connection may be anybody's.
        let is_theirs = (from.ip(), from.port()) == (to.ip(), to.port());
        let message = buffer.get(..octets).filter(|_| is_theirs).unwrap_or_default();
        let fit = question.fits(id, letters, message);
        Ok((fit, if fit == Fit::Right { message.to_vec() } else { Vec::new() }))
    })
}
