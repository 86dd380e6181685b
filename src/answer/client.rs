//! Who asks, and how.

use std::net::SocketAddr;

/// How a query came, which decides how long its answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP: up to what the client takes.
    Udp,
    /// TCP: up to 65,535 octets, which is what its length prefix can say (RFC 1035 section 4.2.2).
    Tcp,
}

/// Where a query came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address and port that it was sent from.
    pub address: SocketAddr,
    /// How it was sent.
    pub transport: Transport,
}

impl Client {
    /// A client that sent a datagram.
    pub fn udp(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Udp }
    }

    /// A client whose address is not known: 0.0.0.0, port 0.
    pub fn unknown(transport: Transport) -> Self {
        Self { address: SocketAddr::from(([0; 4], 0)), transport }
    }

    /// A client at the other end of a connection.
    pub fn tcp(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Tcp }
    }
}
