//! Opening sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBufForce, ReusePort, SndBufForce};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Queued connections that are not accepted yet: what the kernel allows at most by default since 5.4.
const BACKLOG: i32 = 4096;

/// Octets of queries, and of answers, that may wait in a UDP socket. The kernel's default holds less than 200 small
/// queries, which a burst of one client fills. Who may exceed `net.core.rmem_max` and `wmem_max` (CAP_NET_ADMIN) does;
/// others get what these allow.
const UDP_QUEUED_OCTETS: usize = 4 << 20;

/// The sockets of one address and port.
#[derive(Debug)]
pub struct Sockets {
    /// One for each UDP worker.
    pub udp: Vec<std::net::UdpSocket>,
    /// The TCP listener.
    pub tcp: std::net::TcpListener,
}

/// A socket that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}{}", advice(.cause, .address))]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub cause: io::Error,
}

fn advice(error: &io::Error, address: &SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "\n  another process has port {0}: stop it, or choose another port with -dns.port or in the Corefile \
             (`ss -lunp 'sport = :{0}'` shows which)",
            address.port()
        ),
        io::ErrorKind::PermissionDenied if address.port() < 1024 => format!(
            "\n  port {} is privileged: run as root, give the program CAP_NET_BIND_SERVICE, or choose a port over 1023 \
             with -dns.port",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("\n  no interface of this machine has the address {}: mend `bind`", address.ip())
        }
        _ => String::new(),
    }
}

/// The addresses that stand for "all": both families, or IPv4 alone where the machine has no IPv6.
fn unspecified(port: u16) -> Vec<SocketAddr> {
    let mut addresses = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))];
    if std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok() {
        addresses.push(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
    addresses
}

impl Sockets {
    /// Opens the sockets of an address; UDP gets one for each of `workers` (SO_REUSEPORT spreads the clients). `shared` is
    /// for an address [beside] others of this process.
    pub fn open(address: SocketAddr, workers: usize, shared: bool) -> Result<Self, ListenError> {
        let open = || -> io::Result<Self> {
            let tcp = tcp(address, shared)?;
            let udp = (0..workers.max(1)).map(|_| udp(address)).collect::<io::Result<_>>()?;
            Ok(Self { udp, tcp })
        };
        open().map_err(|cause| ListenError { address, cause })
    }

    /// Opens more UDP sockets of an address that is open.
    pub fn open_more(address: SocketAddr, workers: usize) -> Result<Vec<std::net::UdpSocket>, ListenError> {
        (0..workers).map(|_| udp(address)).collect::<io::Result<_>>().map_err(|cause| ListenError { address, cause })
    }

    /// The addresses to open for a port: those given, or all.
    pub fn addresses(bind: &[IpAddr], port: u16) -> Vec<SocketAddr> {
        if bind.is_empty() {
            unspecified(port)
        } else {
            bind.iter().map(|address| SocketAddr::new(*address, port)).collect()
        }
    }
}

/// Opens a socket that listens, where `own` may already listen at the same port: a system lets a port be had for all
/// addresses and for one only if all that have it share it (SO_REUSEPORT).
///
/// They share it for this moment alone, and only if it cannot be had otherwise: a second server on the port is a mistake
/// that must show.
pub(crate) fn beside<T, E: ListenFailure>(
    own: &[Arc<TcpListener>],
    mut open: impl FnMut(bool) -> Result<T, E>,
) -> Result<T, E> {
    match open(false) {
        Err(error) if error.is_in_use() && !own.is_empty() => {
            let share = |wanted: bool| {
                own.iter().for_each(|listener| {
                    // Where it is refused, the attempt fails as the first did.
                    let _ = setsockopt(&**listener, ReusePort, &wanted);
                })
            };
            share(true);
            let opened = open(true);
            share(false);
            opened
        }
        opened => opened,
    }
}

/// Why a socket does not listen.
pub(crate) trait ListenFailure {
    /// Whether somebody else has the port.
    fn is_in_use(&self) -> bool;
}

impl ListenFailure for ListenError {
    fn is_in_use(&self) -> bool {
        self.cause.kind() == io::ErrorKind::AddrInUse
    }
}

/// Listens, and no longer shares the port with those [beside] it, if it did.
pub(crate) fn listen(socket: &Socket, backlog: i32, shared: bool) -> io::Result<()> {
    socket.listen(backlog)?;
    if shared { socket.set_reuse_port(false) } else { Ok(()) }
}

fn tcp(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    listen(&socket, BACKLOG, shared)?;
    Ok(socket.into())
}

fn udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    if setsockopt(&socket, RcvBufForce, &UDP_QUEUED_OCTETS).is_err() {
        socket.set_recv_buffer_size(UDP_QUEUED_OCTETS)?;
    }
    if setsockopt(&socket, SndBufForce, &UDP_QUEUED_OCTETS).is_err() {
        socket.set_send_buffer_size(UDP_QUEUED_OCTETS)?;
    }
    if address.ip().is_unspecified() {
        super::udp::want_destination(&socket, address)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}
