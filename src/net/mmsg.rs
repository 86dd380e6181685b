//! Many datagrams in one system call: `recvmmsg` and `sendmmsg`, with the address that each came from and was sent to.
//!
//! This is the crate's only unsafe code. What the safe wrappers of `nix` lack is a control message of its own for each
//! datagram that is sent: on a socket that listens on all addresses, each reply must leave from the address that its
//! query was sent to (RFC 2181 section 4). The control message of the query says which that is, and is given back with
//! the reply as it came.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::mem::zeroed;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;

use nix::libc;

/// Datagrams that are read, and answered, at a time. More only makes the first wait for the last.
pub(super) const BATCH: usize = 32;
/// The longest query that is read whole, in octets. Queries are shorter than 300 octets, cookies and padding included
/// (RFC 8467 pads to 128); what is longer is cut off and so is malformed.
pub(super) const QUERY_OCTETS_MAX: usize = 4096;

/// Octets of an address of either family, and of the control message that names the destination in either.
const ADDRESS_OCTETS: usize = size_of::<libc::sockaddr_in6>();
const CONTROL_OCTETS: usize = 64;

/// Where a datagram came from, and how a reply gets there.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
pub(super) struct WayBack {
    control: [u8; CONTROL_OCTETS],
    address: [u8; ADDRESS_OCTETS],
    address_octets: u32,
    control_octets: usize,
}

impl WayBack {
    const NOWHERE: Self =
        Self { control: [0; CONTROL_OCTETS], address: [0; ADDRESS_OCTETS], address_octets: 0, control_octets: 0 };

    /// The client; `None` where there is none to reply to.
    pub(super) fn client(&self) -> Option<SocketAddr> {
        let octets = self.address.get(..self.address_octets as usize)?;
        let (family, rest) = octets.split_first_chunk::<2>()?;
        let (port, rest) = rest.split_first_chunk::<2>()?;
        let port = Some(u16::from_be_bytes(*port)).filter(|port| *port != 0)?;
        match i32::from(u16::from_ne_bytes(*family)) {
            libc::AF_INET => {
                let address = Ipv4Addr::from(*rest.first_chunk::<4>()?);
                Some(SocketAddrV4::new(address, port).into())
            }
            libc::AF_INET6 => {
                let (flow, rest) = rest.split_first_chunk::<4>()?;
                let (address, rest) = rest.split_first_chunk::<16>()?;
                let scope = u32::from_ne_bytes(*rest.first_chunk::<4>()?);
                Some(SocketAddrV6::new(Ipv6Addr::from(*address), port, u32::from_ne_bytes(*flow), scope).into())
            }
            _ => None,
        }
    }

    /// A header for `recvmsg`, which writes the way back here.
    fn incoming(&mut self, part: &mut libc::iovec) -> libc::msghdr {
        let (address, control) = (self.address.as_mut_ptr(), self.control.as_mut_ptr());
        header(part, address.cast(), ADDRESS_OCTETS as u32, control.cast(), CONTROL_OCTETS)
    }

    /// A header for `sendmsg`, which writes nothing here, though the types say that it might.
    fn outgoing(&self, part: &mut libc::iovec) -> libc::msghdr {
        let (address, control) = (self.address.as_ptr().cast_mut(), self.control.as_ptr().cast_mut());
        header(part, address.cast(), self.address_octets, control.cast(), self.control_octets)
    }

    /// Sends one reply.
    pub(super) fn send(&self, socket: &UdpSocket, reply: &[u8]) -> io::Result<()> {
        let mut part = outgoing(reply);
        let header = self.outgoing(&mut part);
        // SAFETY: the header points to `self`, `part` and `reply`, which outlive the call, with their own lengths.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// A message header of one buffer, an address and a control message.
fn header(
    part: &mut libc::iovec,
    address: *mut libc::c_void,
    address_octets: u32,
    control: *mut libc::c_void,
    control_octets: usize,
) -> libc::msghdr {
    // SAFETY: a msghdr is integers and pointers, for which all zeros are a value.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = address;
    header.msg_namelen = address_octets;
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header.msg_control = if control_octets > 0 { control } else { null_mut() };
    header.msg_controllen = control_octets;
    header
}

/// A buffer to send from. The kernel does not write to it, though the type says that it might.
fn outgoing(octets: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() }
}

const NO_PART: libc::iovec = libc::iovec { iov_base: null_mut(), iov_len: 0 };

/// Room for a batch of datagrams.
pub(super) struct Batch {
    queries: Box<[[u8; QUERY_OCTETS_MAX]]>,
    octets: [u32; BATCH],
    ways: Box<[WayBack; BATCH]>,
    /// Whether the system has calls for many datagrams; sandboxes lack them. Else each takes a call.
    has_batches: Cell<bool>,
}

impl Batch {
    /// Room for [`BATCH`] datagrams.
    pub(super) fn new(has_batches: bool) -> Self {
        Self {
            queries: vec![[0; QUERY_OCTETS_MAX]; BATCH].into(),
            octets: [0; BATCH],
            ways: Box::new([WayBack::NOWHERE; BATCH]),
            has_batches: Cell::new(has_batches),
        }
    }

    /// Waits for a datagram, and takes as many as there are; how many.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        if self.has_batches.get() {
            match self.receive_many(socket) {
                Err(error) if is_lacking(&error) => self.has_batches.set(false),
                received => return received,
            }
        }
        self.receive_one(socket)
    }

    fn receive_many(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut parts = [NO_PART; BATCH];
        // SAFETY: an mmsghdr is integers and pointers, for which all zeros are a value.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let rooms = self.queries.iter_mut().zip(self.ways.iter_mut());
        for ((header, part), (query, way)) in headers.iter_mut().zip(&mut parts).zip(rooms) {
            *part = libc::iovec { iov_base: query.as_mut_ptr().cast(), iov_len: QUERY_OCTETS_MAX };
            header.msg_hdr = way.incoming(part);
        }
        // SAFETY: as many headers as are said, each with pointers to `parts`, `self.queries` and `self.ways`, which
        // nobody else touches during the call, and their true lengths.
        let received = unsafe {
            let flags = libc::MSG_WAITFORONE as _;
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), BATCH as u32, flags, null_mut())
        };
        let count = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for ((header, octets), way) in headers.iter().zip(&mut self.octets).zip(self.ways.iter_mut()).take(count) {
            *octets = header.msg_len;
            way.address_octets = header.msg_hdr.msg_namelen;
            way.control_octets = header.msg_hdr.msg_controllen;
        }
        Ok(count)
    }

    fn receive_one(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let (Some(query), Some(way)) = (self.queries.first_mut(), self.ways.first_mut()) else { return Ok(0) };
        let mut part = libc::iovec { iov_base: query.as_mut_ptr().cast(), iov_len: QUERY_OCTETS_MAX };
        let mut header = way.incoming(&mut part);
        // SAFETY: the header points to `part`, `query` and `way`, which nobody else touches during the call, with their
        // true lengths.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
        self.octets[0] = u32::try_from(received).map_err(|_| io::Error::last_os_error())?;
        way.address_octets = header.msg_namelen;
        way.control_octets = header.msg_controllen;
        Ok(1)
    }

    /// A datagram of the last batch.
    pub(super) fn query(&self, index: usize) -> &[u8] {
        let octets = self.octets.get(index).map_or(0, |octets| *octets as usize);
        self.queries.get(index).and_then(|query| query.get(..octets)).unwrap_or(&[])
    }

    /// Where a datagram of the last batch came from.
    pub(super) fn way_back(&self, index: usize) -> &WayBack {
        self.ways.get(index).unwrap_or(&WayBack::NOWHERE)
    }

    /// Sends replies to datagrams of the last batch, each with its index. One that cannot be sent is passed over: a
    /// client that is gone, a filter.
    pub(super) fn send(&self, socket: &UdpSocket, replies: &[(usize, &[u8])]) {
        let mut left = replies;
        while !left.is_empty() {
            let sent = if self.has_batches.get() { self.send_many(socket, left) } else { Ok(0) };
            let sent = match sent {
                // The first of them failed, or there are no batches: it is sent, or fails, alone.
                Err(_) | Ok(0) => {
                    let (index, reply) = left[0];
                    let alone = self.way_back(index).send(socket, reply);
                    if let (Err(lacking), Ok(())) = (sent, &alone)
                        && is_lacking(&lacking)
                    {
                        self.has_batches.set(false);
                    }
                    if let Err(error) = alone {
                        tracing::trace!(%error, "udp");
                    }
                    1
                }
                Ok(sent) => sent,
            };
            left = left.get(sent..).unwrap_or(&[]);
        }
    }

    fn send_many(&self, socket: &UdpSocket, replies: &[(usize, &[u8])]) -> io::Result<usize> {
        let mut parts = [NO_PART; BATCH];
        // SAFETY: an mmsghdr is integers and pointers, for which all zeros are a value.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let mut count = 0;
        for ((header, part), (index, reply)) in headers.iter_mut().zip(&mut parts).zip(replies) {
            *part = outgoing(reply);
            header.msg_hdr = self.way_back(*index).outgoing(part);
            count += 1;
        }
        // SAFETY: as many headers as are said, each with pointers to `parts`, `replies` and `self.ways`, which outlive
        // the call, and their true lengths; the kernel reads all of them and writes `msg_len` alone.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Whether a call is not to be had here: unknown to the kernel, or refused by a sandbox.
fn is_lacking(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EACCES))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn exchange(has_batches: bool, listen: &str) {
        let listen: SocketAddr = listen.parse().unwrap();
        let socket = socket2::Socket::new(socket2::Domain::for_address(listen), socket2::Type::DGRAM, None).unwrap();
        super::super::udp::want_destination(&socket, listen).unwrap();
        socket.bind(&listen.into()).unwrap();
        let server = UdpSocket::from(socket);
        let port = server.local_addr().unwrap().port();
        // A datagram to the second address of loopback is to be answered from there.
        let (own, servers): (&str, &[&str]) =
            if listen.is_ipv4() { ("127.0.0.1:0", &["127.0.0.1", "127.0.0.2"]) } else { ("[::1]:0", &["::1"]) };
        let client = UdpSocket::bind(own).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut asked = Vec::new();
        for index in 0..40u8 {
            let server = servers[usize::from(index) % servers.len()];
            client.send_to(&vec![index; 10 + usize::from(index)], (server, port)).unwrap();
            asked.push(server.to_owned());
        }
        let mut batch = Batch::new(has_batches);
        let mut answered = 0;
        while answered < asked.len() {
            let count = batch.receive(&server).unwrap();
            assert!(count > 0 && count <= if has_batches { BATCH } else { 1 });
            let replies: Vec<(usize, Vec<u8>)> =
                (0..count).map(|index| (index, batch.query(index).iter().rev().copied().collect())).collect();
            for index in 0..count {
                assert_eq!(batch.way_back(index).client(), Some(client.local_addr().unwrap()));
            }
            let replies: Vec<(usize, &[u8])> = replies.iter().map(|(index, reply)| (*index, &**reply)).collect();
            batch.send(&server, &replies);
            answered += count;
        }
        for (index, server) in asked.iter().enumerate() {
            let mut reply = [0; 100];
            let (octets, from) = client.recv_from(&mut reply).unwrap();
            assert_eq!(octets, 10 + index);
            assert_eq!(reply[0], index as u8);
            assert_eq!(from.ip().to_string(), *server);
        }
    }

    #[test]
    fn replies_go_back_the_way_that_queries_came() {
        for has_batches in [true, false] {
            exchange(has_batches, "0.0.0.0:0");
            exchange(has_batches, "[::]:0");
        }
    }
}
