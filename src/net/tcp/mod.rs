//! TCP (RFC 7766): connections are accepted here; each is a task of its own ([`connection`]) in a place of its own
//! ([`places`]).

mod connection;
mod frames;
mod places;
mod transfers;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use self::connection::Connection;
use self::places::Places;
use super::SharedService;

pub use self::transfers::{Slots, Transferring};

/// How many connections there may be. CoreDNS has no limit.
///
/// A newcomer is always let in; who has to go is the connection that nobody misses. A client that has all that one
/// client may have gives up its own idlest connection. When all places are taken, the client that holds the most gives
/// up its idlest, so that whoever hoards connections disturbs nobody who holds few. A client is an address.
#[derive(Clone, Copy, Debug)]
pub struct TcpPlaces {
    /// Connections at a time, over all clients.
    pub connections: usize,
    /// Connections of one client. The default is a quarter of all: one address may be a node's cache, which holds a
    /// connection for each query that it waits for, or many clients behind a NAT, but never everybody.
    pub connections_per_client: usize,
}

impl Default for TcpPlaces {
    fn default() -> Self {
        Self { connections: 10_000, connections_per_client: 2_500 }
    }
}

/// How long TCP clients may take, and how much. The defaults are CoreDNS's (core/dnsserver/server.go).
#[derive(Clone, Copy, Debug)]
pub struct TcpTimes {
    /// How long the first query may take to arrive.
    pub first_read: Duration,
    /// How long a connection may be idle between queries.
    pub idle: Duration,
    /// How long a client may take to accept an answer.
    pub write: Duration,
    /// Queries of one connection, after whose answers it is closed.
    pub queries: Option<u64>,
}

impl Default for TcpTimes {
    fn default() -> Self {
        Self {
            first_read: Duration::from_secs(3),
            idle: Duration::from_secs(10),
            write: Duration::from_secs(5),
            queries: None,
        }
    }
}

/// How long to wait when no connection can be accepted, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections are still accepted and read when TCP is to end, for queries that have left their client.
const LINGER: Duration = Duration::from_millis(50);

/// Becomes true when TCP is to stop.
pub(super) type Stop = watch::Receiver<bool>;

/// Accepts connections until it is stopped, and returns when all of them have ended.
pub(super) async fn serve_tcp(listener: Arc<TcpListener>, service: SharedService, limits: TcpPlaces, mut stop: Stop) {
    let places = Arc::new(Places::new(limits));
    // Its receivers are the connections: it is closed when the last of them has ended.
    let ending = watch::Sender::new(false);
    tokio::select! {
        () = accept(&listener, &service, &places, &ending) => {}
        () = stopped(&mut stop) => {
            ending.send_replace(true);
            // Connections that the kernel has made already.
            let _ = timeout(LINGER, accept(&listener, &service, &places, &ending)).await;
        }
    }
    drop(listener);
    ending.closed().await;
}

async fn stopped(stop: &mut Stop) {
    // An error says that nobody is left to say it.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Lets every connection in. tokio goes back to the kernel's event queue only when none waits to be accepted, so that
/// one wake accepts as many as have come.
async fn accept(listener: &TcpListener, service: &SharedService, places: &Arc<Places>, ending: &watch::Sender<bool>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let place = places.take(client.ip());
                let seat = place.seat();
                let mut connection = Connection::new(stream, client, service.clone(), place);
                let stop = ending.subscribe();
                // It is served where it is: a future that it is moved into would hold it twice.
                let task = tokio::spawn(async move {
                    if let Err(error) = connection.serve(stop).await {
                        tracing::trace!(client = %connection.client, %error, "tcp");
                    }
                });
                seat.is_taken_by(task.abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a TCP connection");
                if matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE)) {
                    // Fewer connections fit than were allowed.
                    places.shed_one();
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
