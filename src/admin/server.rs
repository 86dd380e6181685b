//! A small HTTP/1 server: one path a socket, beside `ready` another.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::metrics::Metrics;
use super::readiness::{Readiness, State};
use crate::config::Monitor;

/// Connections at a time to one socket.
const CONNECTIONS_MAX: usize = 128;
/// How long a request may take to arrive, an answer to leave, and a connection to be idle: CoreDNS's times.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection lives at most, so that no client holds a place for long.
const LIFE: Duration = Duration::from_secs(60);
/// How long to wait when no connection can be accepted, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What `ready` tells beside its own page.
const CONFLICTS: &str = "/conflicts";

/// What a socket tells.
#[derive(Debug)]
pub enum Page {
    /// `/health`: that the process runs.
    Health,
    /// `/ready`: whether everything is known. `/conflicts`: which names do not hold what a pod expects of its own.
    Ready {
        /// What is told.
        readiness: Arc<Readiness>,
        /// Whether that is looked at each time.
        monitor: Monitor,
        /// What `until-ready` remembers.
        latch: AtomicBool,
    },
    /// `/metrics`: what was counted.
    Metrics(Arc<Metrics>),
}

impl Page {
    fn path(&self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Ready { .. } => "/ready",
            Self::Metrics(_) => "/metrics",
        }
    }

    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        if let (Self::Ready { readiness, .. }, CONFLICTS) = (self, path) {
            return response(StatusCode::OK, TEXT, readiness.conflicts());
        }
        if path != self.path() {
            return response(StatusCode::NOT_FOUND, TEXT, "404 page not found\n");
        }
        match self {
            Self::Health => response(StatusCode::OK, TEXT, "OK"),
            Self::Ready { readiness, monitor, latch } => {
                let latch = (*monitor == Monitor::UntilReady).then_some(latch);
                match readiness.state(latch) {
                    State::Ready => match readiness.notes() {
                        notes if notes.is_empty() => response(StatusCode::OK, TEXT, "OK"),
                        notes => response(StatusCode::OK, TEXT, format!("OK\n{notes}")),
                    },
                    State::Ending => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "Shutting down"),
                    State::Opening => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "Starting"),
                    State::Waiting(names) => {
                        tracing::info!(target: "plugin/ready", "Plugins not ready: {names:?}");
                        let body = format!("{names}\n{}", readiness.reasons());
                        response(StatusCode::SERVICE_UNAVAILABLE, TEXT, body)
                    }
                }
            }
            Self::Metrics(metrics) => match metrics.text() {
                Ok(text) => response(StatusCode::OK, HeaderValue::from_static(Metrics::CONTENT_TYPE), text),
                // No value of ours is outside the format.
                Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
            },
        }
    }
}

fn response(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A page that may be replaced by another while it is told.
#[derive(Debug)]
pub struct SharedPage(ArcSwap<Page>);

impl SharedPage {
    /// This page is the first.
    pub fn new(page: Page) -> Self {
        Self(ArcSwap::from_pointee(page))
    }

    /// Tells another from now on.
    pub fn replace(&self, page: Page) {
        self.0.store(Arc::new(page));
    }
}

/// Tells a page to everybody who asks, for as long as the runtime runs.
pub async fn serve(listener: Arc<TcpListener>, page: Arc<SharedPage>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let page = Arc::clone(&page);
                tokio::spawn(async move {
                    let _place = place;
                    converse(stream, &page).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for {}", page.0.load().path());
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, page: &SharedPage) {
    let answer = |request: Request<Incoming>| {
        let response = page.0.load().answer(request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    let mut connection = pin!(connection);
    // What goes wrong in one is its client's affair.
    if timeout(LIFE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(PATIENCE, connection).await;
    }
}
