//! Exchanges over TCP and TLS, one at a time on a connection, as CoreDNS has it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::letters::Letters;
use super::reply::{Fit, Question};

/// Octets that are made room for at first: more than most answers have.
const ROOM_OCTETS: usize = 1024;

/// How an upstream's connections are secured.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    /// What certificates are checked with.
    pub(super) config: Arc<rustls::ClientConfig>,
    /// The name that the upstream's must have.
    pub(super) name: ServerName<'static>,
}

/// A connection to an upstream.
pub(super) struct Connection {
    stream: Stream,
    /// When it was made.
    pub(super) created: Instant,
    /// When it was used last.
    pub(super) used: Instant,
}

enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// Makes one; it does not end by itself if nobody answers.
    ///
    /// # Errors
    /// If nobody listens there, or the certificate is not as it must be.
    pub(super) async fn open(to: SocketAddr, source: Option<IpAddr>, tls: Option<&Tls>) -> io::Result<Self> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let tcp = socket.connect(to).await?;
        tcp.set_nodelay(true)?;
        let stream = match tls {
            None => Stream::Tcp(tcp),
            Some(tls) => {
                let connector = TlsConnector::from(Arc::clone(&tls.config));
                Stream::Tls(Box::new(connector.connect(tls.name.clone(), tcp).await?))
            }
        };
        let now = Instant::now();
        Ok(Self { stream, created: now, used: now })
    }

    /// Whether the other side has closed it, as far as that is known, or has sent what nobody asked for.
    pub(super) fn is_over(&self) -> bool {
        match &self.stream {
            Stream::Tcp(tcp) => {
                !matches!(tcp.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            // Tickets for the next handshake may wait to be read.
            Stream::Tls(_) => false,
        }
    }

    /// Asks once; the answer, and whether the connection can be used again. It does not end by itself if nobody answers.
    ///
    /// # Errors
    /// If the connection ends first.
    pub(super) async fn exchange(&mut self, question: Question<'_>) -> io::Result<(Vec<u8>, bool)> {
        let exchanged = match &mut self.stream {
            Stream::Tcp(tcp) => exchange(tcp, question).await,
            Stream::Tls(tls) => exchange(&mut **tls, question).await,
        };
        self.used = Instant::now();
        exchanged
    }
}

async fn exchange<S>(stream: &mut S, question: Question<'_>) -> io::Result<(Vec<u8>, bool)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let id: u16 = rand::random();
    let octets = u16::try_from(question.query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut buffer = Vec::with_capacity(ROOM_OCTETS.max(2 + question.query.len()));
    buffer.extend_from_slice(&octets.to_be_bytes());
    buffer.extend_from_slice(&id.to_be_bytes());
    buffer.extend_from_slice(question.query.get(2..).unwrap_or_default());
    stream.write_all(&buffer).await?;
    stream.flush().await?;
    buffer.clear();
    loop {
        let end = 2 + match buffer.first_chunk::<2>() {
            Some(length) => usize::from(u16::from_be_bytes(*length)),
            None => 0,
        };
        if buffer.len() < end.max(2) {
            buffer.reserve(end.saturating_sub(buffer.len()).max(1));
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            continue;
        }
        let message = buffer.get(2..end).unwrap_or_default();
        // Nobody but the other end can have written this: its letters may be as it likes.
        if question.fits(id, Letters::KEPT, message) != Fit::Wrong {
            return Ok((message.to_vec(), buffer.len() == end));
        }
        buffer.drain(..end);
    }
}
