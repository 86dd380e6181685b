//! Exchanges over UDP: each from a port of its own, which goes with it.
//!
//! A socket is connected while it is used: the kernel chooses a port by chance, says at once when nobody listens at the
//! other end, and drops what others send. It is disconnected when it has been answered, which gives the port back, and what
//! has come since is thrown away. A socket that is used again that way costs the system half as much as a new one; a
//! *port* that was used again would be one that a forger may learn, or guess for many questions at once. docs/security.md
//! says what that leaves to chance.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::letters::Letters;
use super::reply::{Fit, Question};

/// The most octets of a datagram.
const DATAGRAM_OCTETS_MAX: usize = 65_535;
/// Sockets without a port that are kept; more are closed.
const SOCKETS_MAX: usize = 64;
/// Datagrams that are thrown away of a socket; one that has more is closed.
const LATE_MAX: usize = 16;

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

/// Sockets to one upstream, none of which has a port.
pub(super) struct Sockets {
    to: SocketAddr,
    source: Option<IpAddr>,
    idle: Mutex<Vec<UdpSocket>>,
}

impl Sockets {
    /// Sockets that ask there, from this address if one is said.
    pub(super) fn new(to: SocketAddr, source: Option<IpAddr>) -> Self {
        Self { to, source, idle: Mutex::default() }
    }

    /// Asks once. It does not end by itself if nobody answers.
    ///
    /// # Errors
    /// If nobody listens there, or the system has no socket.
    pub(super) async fn exchange(&self, question: Question<'_>, letters: Letters) -> io::Result<Received> {
        let id: u16 = rand::random();
        let socket = self.open()?;
        SockRef::from(&socket).connect(&self.to.into())?;
        send(&socket, question, id, letters)?;
        loop {
            // A refusal makes it neither readable nor writable, so that it is waited for apart.
            let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
            if ready.is_error() {
                if let Some(error) = socket.take_error()? {
                    return Err(error);
                }
                // It is over, which has to be said.
                let _ = socket.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
            }
            match receive(&socket, self.to, question, id, letters) {
                Ok((Fit::Right, message)) => {
                    self.give_back(socket);
                    return Ok(Received::Answer(message));
                }
                Ok((Fit::OtherLetters, _)) => return Ok(Received::OtherLetters),
                // Something else does not stand in the way of the answer.
                Ok((Fit::Wrong, _)) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn open(&self) -> io::Result<UdpSocket> {
        if let Some(socket) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(socket);
        }
        let socket = Socket::new(Domain::for_address(self.to), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        UdpSocket::from_std(socket.into())
    }

    /// Keeps a socket, without its port and without what came late.
    fn give_back(&self, socket: UdpSocket) {
        if rustix::net::connect_unspec(&socket).is_err() {
            return;
        }
        let late = || SockRef::from(&socket).recv(&mut [MaybeUninit::uninit()]).is_ok();
        if (0..LATE_MAX).all(|_| late()) {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < SOCKETS_MAX {
            idle.push(socket);
        }
    }
}

fn send(socket: &UdpSocket, question: Question<'_>, id: u16, letters: Letters) -> io::Result<()> {
    SENT.with_borrow_mut(|sent| {
        sent.clear();
        sent.extend_from_slice(question.query);
        if let Some(place) = sent.first_chunk_mut::<2>() {
            *place = id.to_be_bytes();
        }
        letters.turn(sent, question.name_end());
        // A socket that has nothing under way has room for a datagram.
        SockRef::from(socket).send(sent).map(|_| ())
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
        // The kernel sees to that; nothing is lost by looking.
        let is_theirs = (from.ip(), from.port()) == (to.ip(), to.port());
        let message = buffer.get(..octets).filter(|_| is_theirs).unwrap_or_default();
        let fit = question.fits(id, letters, message);
        Ok((fit, if fit == Fit::Right { message.to_vec() } else { Vec::new() }))
    })
}
