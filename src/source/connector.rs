//! kube's client on connections that notice when their other end is gone.
//!
//! A peer that dies without a word (a node that loses power, a firewall that forgets) leaves a TCP connection open for
//! ever where nothing is sent, and for a quarter of an hour where something is. kube sets neither keepalive nor
//! TCP_USER_TIMEOUT, and its connections speak HTTP/1.1, which has no pings.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Builder, Client as HttpClient};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config, Error};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tower::util::option_layer;
use tower::{BoxError, ServiceExt};

/// After so much silence the peer is asked whether it is there,
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// so often,
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// and so many times: a dead peer of an idle connection is noticed after 45 s.
const KEEPALIVE_RETRIES: u32 = 3;
/// What was sent must be acknowledged within this; Linux lets it decide over keepalive's retries too.
const USER_TIMEOUT: Duration = Duration::from_secs(45);

/// kube's client for a configuration; all but the connections is kube's.
///
/// # Errors
/// kube's, for a configuration that cannot work.
pub(super) fn client(config: Config) -> Result<Client, Error> {
    if config.proxy_url.is_some() {
        // Which proxies there are, kube knows.
        return Ok(ClientBuilder::try_from(config)?.build());
    }
    let connector = connector(config.connect_timeout).map_response(Buffered::new);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let http: HttpClient<_, Body> = Builder::new(TokioExecutor::new()).build(connector);
    // The layers agree on one type of error.
    let http = http.map_err(BoxError::from);
    let builder = ClientBuilder::new(http, config.default_namespace.clone())
        .with_layer(&config.extra_headers_layer()?)
        .with_layer(&option_layer(config.auth_layer()?))
        .with_layer(&config.base_uri_layer());
    Ok(builder.build())
}

fn connector(timeout: Option<Duration>) -> HttpConnector {
    let mut connector = HttpConnector::new();
    // TLS is a layer around this one.
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(timeout);
    connector.set_keepalive(Some(KEEPALIVE_IDLE));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(USER_TIMEOUT));
    connector
}

/// Octets that are asked of the kernel at a time. TLS asks for 4,096, which is less than most frames of a watch and a
/// quarter of what an API server encrypts at a time when it has much to say.
const READ_OCTETS: usize = 32 * 1024;

/// A connection that is read from in large pieces.
struct Buffered(TokioIo<BufReader<TcpStream>>);

impl Buffered {
    fn new(stream: TokioIo<TcpStream>) -> Self {
        Self(TokioIo::new(BufReader::with_capacity(READ_OCTETS, stream.into_inner())))
    }
}

impl Connection for Buffered {
    fn connected(&self) -> Connected {
        self.0.inner().get_ref().connected()
    }
}

impl Read for Buffered {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl Write for Buffered {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_dead_peer_is_noticed_within_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: http::Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let stream = connector(None).oneshot(uri).await.unwrap().into_inner();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        let (idle, interval) = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
        let noticed = idle + interval * socket.tcp_keepalive_retries().unwrap();
        assert!(noticed <= Duration::from_secs(60), "{noticed:?}");
        #[cfg(target_os = "linux")]
        assert!(socket.tcp_user_timeout().unwrap().is_some_and(|timeout| timeout <= Duration::from_secs(60)));
    }
}
