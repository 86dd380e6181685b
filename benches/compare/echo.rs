//! A bare UDP echo: what any server on this machine pays at least. It gives each query back as a response.

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvfrom, recvmmsg, sendmmsg, sendto};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

/// Datagrams that one system call takes.
const BATCH: usize = 32;
const OCTETS_MAX: usize = 4096;
/// What podzone asks for.
const RECEIVE_BUFFER_OCTETS: usize = 4 << 20;
const HEADER_OCTETS: usize = 12;

/// How to echo.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Echo {
    #[arg(long)]
    pub(crate) port: u16,
    /// 32 datagrams a system call, in place of one.
    #[arg(long)]
    pub(crate) batched: bool,
    /// Octets behind the query, so that replies are as long as answers.
    #[arg(long)]
    pub(crate) padding: usize,
}

/// Echoes until the process is ended.
pub(crate) fn serve(echo: Echo) {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
    socket.set_recv_buffer_size(RECEIVE_BUFFER_OCTETS).expect("a receive buffer");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, echo.port)).into()).expect("the port");
    let fd = socket.as_raw_fd();
    if echo.batched { batches(fd, echo.padding) } else { singles(fd, echo.padding) }
}

fn batches(fd: RawFd, padding: usize) {
    let mut buffers = Box::new([[0; OCTETS_MAX]; BATCH]);
    let mut received = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut sent = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    loop {
        let (mut count, mut lengths, mut clients) = (0, [0; BATCH], [None; BATCH]);
        {
            let mut parts = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
            let batch = recvmmsg(fd, &mut received, parts.iter_mut(), MsgFlags::MSG_WAITFORONE, None);
            for message in batch.expect("queries") {
                (lengths[count], clients[count]) = (message.bytes, message.address);
                count += 1;
            }
        }
        for (buffer, length) in buffers.iter_mut().zip(&mut lengths).take(count) {
            *length = reply(buffer, *length, padding);
        }
        let parts: [_; BATCH] = std::array::from_fn(|index| [IoSlice::new(&buffers[index][..lengths[index]])]);
        // A client that is gone is no reason to stop.
        let _ = sendmmsg(fd, &mut sent, &parts[..count], &clients[..count], [], MsgFlags::empty()).map(Iterator::count);
    }
}

fn singles(fd: RawFd, padding: usize) {
    let mut buffer = [0; OCTETS_MAX];
    loop {
        let (length, client) = recvfrom::<SockaddrIn>(fd, &mut buffer).expect("a query");
        let length = reply(&mut buffer, length, padding);
        let _ = sendto(fd, &buffer[..length], &client.expect("an address"), MsgFlags::empty());
    }
}

/// Makes a response of a query; its length.
fn reply(buffer: &mut [u8; OCTETS_MAX], query: usize, padding: usize) -> usize {
    if query >= HEADER_OCTETS {
        buffer[2] |= 0x80;
    }
    (query + padding).min(OCTETS_MAX)
}
