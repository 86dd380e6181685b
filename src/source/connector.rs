//! kube's client on connections that notice when their other end is gone.
//!
//! A peer that dies without a word (a node that loses power, a firewall that forgets) leaves a TCP connection open for
//! ever where nothing is sent, and for a quarter of an hour where something is. kube sets neither keepalive nor
//! TCP_USER_TIMEOUT, and its connections speak HTTP/1.1, which has no pings.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client as HttpClient};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config, Error};
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
    let connector = config.rustls_https_connector_with_connector(connector(config.connect_timeout))?;
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
