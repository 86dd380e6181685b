//! Asking our own `/health` once a second, as CoreDNS does (plugin/health/overloaded.go): on a machine that is overloaded
//! it takes long, and the metrics and the log say so before a kubelet does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::HOST;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::config::AdminAddress;
use crate::histogram::{Histogram, SLIM_BOUNDS};

/// How often,
const EVERY: Duration = Duration::from_secs(1);
/// how long an answer is waited for,
const LIMIT: Duration = Duration::from_secs(3);
/// and from when on it is told to have taken long.
const LONG: Duration = Duration::from_secs(1);

/// What came of all requests.
#[derive(Debug)]
pub struct HealthCounts {
    /// How long they took, those without an answer too.
    pub took: Histogram,
    failures: AtomicU64,
}

impl Default for HealthCounts {
    fn default() -> Self {
        Self { took: Histogram::new(&SLIM_BOUNDS), failures: AtomicU64::new(0) }
    }
}

impl HealthCounts {
    /// How many had no answer.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// Asks for as long as the runtime runs.
pub async fn probe(address: AdminAddress, counts: Arc<HealthCounts>) {
    let host = if address.host.is_empty() { "localhost".to_owned() } else { address.host };
    let url = format!("http://{}/health", AdminAddress { host: host.clone(), port: address.port });
    let mut connection = None;
    let mut ticks = interval_at(Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let begun = Instant::now();
        let asked = timeout(LIMIT, ask(&mut connection, (&host, address.port))).await;
        let took = begun.elapsed();
        counts.took.took(took);
        let failure = match asked {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {LIMIT:?}")),
        };
        if let Some(failure) = failure {
            connection = None;
            counts.failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(target: "plugin/health", "Local health request to {url:?} failed: {failure}");
        } else if took > LONG {
            tracing::warn!(target: "plugin/health", "Local health request to {url:?} took more than 1s: {took:?}");
        }
    }
}

/// Asks over the connection of the last time, or over a new one where there is none. Any answer will do.
async fn ask(connection: &mut Option<SendRequest<Empty<Bytes>>>, (host, port): (&str, u16)) -> io::Result<()> {
    let mut sender = match connection.take().filter(|sender| !sender.is_closed()) {
        Some(sender) => sender,
        None => {
            let stream = TcpStream::connect((host, port)).await?;
            let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
            // It ends with the connection.
            tokio::spawn(driver);
            sender
        }
    };
    let request = Request::get("/health").header(HOST, host).body(Empty::new()).map_err(io::Error::other)?;
    sender.ready().await.map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    response.into_body().collect().await.map_err(io::Error::other)?;
    *connection = Some(sender);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn after_ticks(counts: &HealthCounts, wanted: u64) {
        while counts.took.read().count() < wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_does_not_answer_is_counted() {
        // Takes connections, answers the first question of each, and closes it.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 256];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /health HTTP/1.1\r\n"));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").await.unwrap();
        });
        let counts = Arc::new(HealthCounts::default());
        let probe = tokio::spawn(probe(AdminAddress { host: "127.0.0.1".into(), port }, Arc::clone(&counts)));
        timeout(Duration::from_secs(10), after_ticks(&counts, 1)).await.unwrap();
        served.await.unwrap();
        assert_eq!(counts.failures(), 0);
        timeout(Duration::from_secs(10), after_ticks(&counts, 3)).await.unwrap();
        assert_eq!(counts.failures(), counts.took.read().count() - 1);
        probe.abort();
    }
}
