//! When what is received came, by the kernel's clock: whoever reads it may have had to wait for its core, which it shares
//! with the API server.

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Since the Unix epoch, as the kernel counts it (`CLOCK_REALTIME`).
pub(crate) type Instant = Duration;

const READ_OCTETS: usize = 16 * 1024;

/// Asks the kernel to note when what a socket receives came.
pub(crate) fn note(socket: &impl AsFd) {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true).expect("a socket that notes times");
}

/// Receives from such a socket; how many octets, and when the last of them came.
pub(crate) fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<(usize, Option<Instant>)> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut pieces = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut pieces, Some(&mut control), MsgFlags::empty())?;
    let time = |control| match control {
        ControlMessageOwned::ScmTimestampns(time) => Some(time.into()),
        _ => None,
    };
    let at = message.cmsgs()?.find_map(time);
    Ok((message.bytes, at))
}

/// When the last octets came that were read from a connection.
#[derive(Clone, Default)]
pub(crate) struct Last(Arc<Mutex<Option<Instant>>>);

impl Last {
    pub(crate) fn get(&self) -> Instant {
        self.0.lock().expect("a time").expect("the kernel's time of what was read")
    }
}

/// A connection that notes when what is read from it came.
pub(crate) struct Noted {
    stream: TokioIo<TcpStream>,
    last: Last,
}

impl Noted {
    pub(crate) fn new(stream: TokioIo<TcpStream>, last: Last) -> Self {
        note(stream.inner());
        Self { stream, last }
    }
}

impl Connection for Noted {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl Read for Noted {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut buffer = [0; READ_OCTETS];
        let room = into.remaining().min(READ_OCTETS);
        let stream = self.stream.inner();
        loop {
            ready!(stream.poll_read_ready(context))?;
            match stream.try_io(Interest::READABLE, || receive(stream, &mut buffer[..room])) {
                Ok((octets, at)) => {
                    let mut last = self.last.0.lock().expect("a time");
                    *last = at.or(*last);
                    into.put_slice(&buffer[..octets]);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Write for Noted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
