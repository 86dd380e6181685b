//! UDP: one thread a socket, one datagram at a time.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt};

use super::deferred::Waiting;
use super::{Exchange, SharedService};
use crate::answer::{Outcome, Transport};
use crate::panics::contain;

/// The largest datagram that IP can carry.
const DATAGRAM_OCTETS_MAX: usize = 65_535;

/// Datagrams that are still answered when a worker is to end, of those that wait in its socket.
const LAST_DATAGRAMS_MAX: usize = 1024;

/// Starts the thread that serves a socket. It ends when it is stopped, or when the socket fails for good.
pub(super) fn serve_udp(socket: UdpSocket, service: SharedService) -> io::Result<UdpWorker> {
    let handle = socket.try_clone()?;
    let ending = Arc::new(AtomicBool::new(false));
    let worker = Worker::new(socket, service, Arc::clone(&ending));
    let thread = thread::Builder::new().name("udp".into()).spawn(move || worker.run())?;
    Ok(UdpWorker { socket: handle, ending, thread })
}

/// A thread that serves a socket.
#[derive(Debug)]
pub(super) struct UdpWorker {
    socket: UdpSocket,
    ending: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl UdpWorker {
    /// Asks it to answer what waits in its socket, and to end.
    pub(super) fn stop(&self) {
        self.ending.store(true, Ordering::Release);
        // Linux says that the socket is not connected, which is so, and yet wakes who waits for it (inet_shutdown in
        // net/ipv4/af_inet.c); from then on, reading gives what is queued and then nothing.
        let _ = socket2::SockRef::from(&self.socket).shutdown(std::net::Shutdown::Read);
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Asks the kernel to say to which address each datagram was sent: on a socket that listens on all addresses, the
/// reply must leave from that one (RFC 2181 section 4).
pub(super) fn want_destination(socket: &socket2::Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => setsockopt(socket, Ipv4PacketInfo, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

struct Worker {
    socket: Arc<UdpSocket>,
    service: SharedService,
    ending: Arc<AtomicBool>,
    packet: Vec<u8>,
    answer: Vec<u8>,
    control: Vec<u8>,
}

/// The address that a datagram was sent to.
enum Destination {
    V4(nix::libc::in_pktinfo),
    V6(nix::libc::in6_pktinfo),
}

impl Worker {
    fn new(socket: UdpSocket, service: SharedService, ending: Arc<AtomicBool>) -> Self {
        Self {
            socket: Arc::new(socket),
            service,
            ending,
            packet: vec![0; DATAGRAM_OCTETS_MAX],
            answer: Vec::with_capacity(DATAGRAM_OCTETS_MAX),
            control: nix::cmsg_space!(nix::libc::in6_pktinfo),
        }
    }

    fn run(mut self) {
        let mut left = LAST_DATAGRAMS_MAX;
        while left > 0 {
            let is_ending = self.ending.load(Ordering::Acquire);
            // The buffers are written anew for every datagram.
            match contain(|| self.serve_one()).unwrap_or(Ok(true)) {
                Ok(true) => {}
                Ok(false) if is_ending => return,
                Ok(false) => {}
                // A client that is gone, a full buffer, a filter: of one datagram, and no reason to stop for others.
                Err(error) if is_transient(&error) => tracing::trace!(%error, "udp"),
                Err(_) => return,
            }
            left -= usize::from(is_ending);
        }
    }

    /// Whether there was a datagram.
    fn serve_one(&mut self) -> io::Result<bool> {
        let mut parts = [IoSliceMut::new(&mut self.packet)];
        let fd = self.socket.as_raw_fd();
        let received = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut self.control), MsgFlags::empty())?;
        let octets = received.bytes;
        let Some(peer) = received.address else { return Ok(false) };
        let destination = received.cmsgs().ok().into_iter().flatten().find_map(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(Destination::V4(info)),
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(Destination::V6(info)),
            _ => None,
        });
        let Some(client) = socket_address(&peer).filter(|client| client.port() != 0) else { return Ok(true) };
        let watched = self.service.observer.is_watching().then(Instant::now);
        let packet = self.packet.get(..octets).unwrap_or(&[]);
        let answered = match self.service.responder.respond(packet, Transport::Udp, &mut self.answer) {
            Outcome::Ignored => return Ok(true),
            Outcome::Answered(answered) => answered,
            Outcome::Deferred(deferred) => {
                let received = watched.unwrap_or_else(Instant::now);
                let waiting =
                    Waiting { packet: packet.to_vec(), client, transport: Transport::Udp, received, deferred };
                let socket = Arc::clone(&self.socket);
                waiting.start(&self.service, move |answer| {
                    if let Err(error) = send(&socket, &answer, destination.as_ref(), &peer) {
                        tracing::trace!(%error, "udp");
                    }
                });
                return Ok(true);
            }
        };
        let sent = send(&self.socket, &self.answer, destination.as_ref(), &peer);
        if let Some(received) = watched {
            let exchange = Exchange { client: &client, transport: Transport::Udp, received, response: &self.answer };
            self.service.observer.answered(&exchange, &answered);
        }
        sent?;
        Ok(true)
    }
}

/// Sends an answer from the address that the query was sent to.
fn send(socket: &UdpSocket, answer: &[u8], from: Option<&Destination>, to: &SockaddrStorage) -> io::Result<()> {
    let control = match from {
        Some(Destination::V4(info)) => Some(ControlMessage::Ipv4PacketInfo(info)),
        Some(Destination::V6(info)) => Some(ControlMessage::Ipv6PacketInfo(info)),
        None => None,
    };
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(answer)], control.as_slice(), MsgFlags::empty(), Some(to))?;
    Ok(())
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from((v4.ip(), v4.port())));
    }
    address.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port())))
}

fn is_transient(error: &io::Error) -> bool {
    !matches!(error.raw_os_error(), Some(nix::libc::EBADF | nix::libc::ENOTSOCK | nix::libc::EINVAL))
}
