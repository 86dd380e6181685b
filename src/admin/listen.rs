//! Opening the sockets of the endpoints.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::config::AdminAddress;
use crate::net::{self, ListenFailure, beside};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// An endpoint that cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {name}: {cause}{}", advice(.cause, .address))]
pub struct AdminListenError {
    /// The directive.
    pub name: &'static str,
    /// Where.
    pub address: AdminAddress,
    /// Why.
    pub cause: io::Error,
}

fn advice(error: &io::Error, address: &AdminAddress) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "\n  another process has port {0}: stop it, or choose another port in the Corefile \
             (`ss -ltnp 'sport = :{0}'` shows which)",
            address.port
        ),
        io::ErrorKind::AddrNotAvailable => format!("\n  no interface of this machine has the address {}", address.host),
        _ => String::new(),
    }
}

impl ListenFailure for AdminListenError {
    fn is_in_use(&self) -> bool {
        self.cause.kind() == io::ErrorKind::AddrInUse
    }
}

/// Opens the socket of the endpoint `name`: on all addresses where none is named, else on one, of a name's addresses
/// on the first of IPv4, as Go does. `own` are sockets of this process that may have the port, on other addresses.
///
/// # Errors
/// If the name is not known, or the system does not give the socket.
pub async fn listen(
    name: &'static str,
    address: &AdminAddress,
    own: &[Arc<TcpListener>],
) -> Result<TcpListener, AdminListenError> {
    let refuse = |cause| AdminListenError { name, address: address.clone(), cause };
    let open = |socket: SocketAddr| beside(own, |shared| open(socket, shared).map_err(refuse));
    if address.host.is_empty() {
        let all = open(SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port)));
        // A machine without IPv6 has no such address.
        return match all {
            Err(error) if !error.is_in_use() => open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port))),
            all => all,
        };
    }
    let addresses: Vec<SocketAddr> =
        tokio::net::lookup_host((address.host.as_str(), address.port)).await.map_err(refuse)?.collect();
    let first = addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first());
    let first = first.ok_or_else(|| refuse(io::Error::other("the name has no address")))?;
    open(*first)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    net::listen(&socket, BACKLOG, shared)?;
    TcpListener::from_std(socket.into())
}
