//! TCP (RFC 7766): a task a connection; all queries that have arrived are answered in one write.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{timeout, timeout_at};

use super::deferred::Waiting;
use super::{Exchange, SharedService};
use crate::answer::{Outcome, Transport};

/// What a TCP client may take. The defaults are CoreDNS's (core/dnsserver/server.go), which has no limit on
/// connections.
#[derive(Clone, Copy, Debug)]
pub struct TcpLimits {
    /// Connections at a time, over all clients.
    pub connections: usize,
    /// How long the first query may take to arrive.
    pub first_read: Duration,
    /// How long a connection may be idle between queries.
    pub idle: Duration,
    /// How long a client may take to accept an answer.
    pub write: Duration,
}

impl Default for TcpLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            first_read: Duration::from_secs(3),
            idle: Duration::from_secs(10),
            write: Duration::from_secs(5),
        }
    }
}

/// Octets of answers that are gathered before they are written.
const GATHERED_OCTETS: usize = 64 * 1024;
/// Queries of one connection that may wait for other servers at a time.
const WAITING_MAX: usize = 64;
/// How long a connection that is not read from waits for the next late answer; longer than any lookup takes.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// Octets that are read at a time.
const READ_OCTETS: usize = 4096;
/// How long to wait when no connection can be accepted, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a connection still listens when it is to end, for queries that have left their client.
const LINGER: Duration = Duration::from_millis(50);

/// Becomes true when TCP is to stop.
pub(super) type Stop = watch::Receiver<bool>;

/// Accepts connections until it is stopped, and returns when all of them have ended.
pub(super) async fn serve_tcp(
    listener: std::net::TcpListener,
    service: SharedService,
    limits: TcpLimits,
    stop: Stop,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(limits.connections));
    tokio::select! {
        () = accept(&listener, &service, limits, &places, &stop) => {}
        () = stopped(stop.clone()) => {
            // Connections that the kernel has made already.
            let _ = timeout(LINGER, accept(&listener, &service, limits, &places, &stop)).await;
        }
    }
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let _ = places.acquire_many(all).await;
    Ok(())
}

async fn stopped(mut stop: Stop) {
    // An error says that nobody is left to say it.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(
    listener: &TcpListener,
    service: &SharedService,
    limits: TcpLimits,
    places: &Arc<Semaphore>,
    stop: &Stop,
) {
    loop {
        // Without a place the connection waits in the kernel's queue.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, client)) => {
                let connection = Connection::new(stream, client, Arc::clone(service), limits);
                let stop = stop.clone();
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = connection.run(stop).await {
                        tracing::trace!(%client, %error, "tcp");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a TCP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    client: SocketAddr,
    service: SharedService,
    limits: TcpLimits,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    answer: Vec<u8>,
    /// Answers to queries that had to wait, in the order in which they come (RFC 7766 section 6.2.1.1).
    late: (mpsc::UnboundedSender<Vec<u8>>, mpsc::UnboundedReceiver<Vec<u8>>),
    /// Queries that wait.
    waiting: usize,
}

impl Connection {
    fn new(stream: TcpStream, client: SocketAddr, service: SharedService, limits: TcpLimits) -> Self {
        let (inbox, outbox, answer) = (Vec::new(), Vec::new(), Vec::new());
        Self { stream, client, service, limits, inbox, outbox, answer, late: mpsc::unbounded_channel(), waiting: 0 }
    }

    async fn run(mut self, stop: Stop) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut stopped = pin!(stopped(stop));
        let mut deadline = Instant::now() + self.limits.first_read;
        let mut is_open = true;
        loop {
            self.inbox.reserve(READ_OCTETS);
            let left = deadline.saturating_duration_since(Instant::now());
            // A client with enough queries waiting is not read from: it has to wait itself.
            let reads = is_open && self.waiting < WAITING_MAX;
            tokio::select! {
                biased;
                read = timeout(left, self.stream.read_buf(&mut self.inbox)), if reads => match read {
                    // A client may close its side and still read (RFC 7766 section 6.2.4).
                    Ok(Ok(0)) | Err(_) => is_open = false,
                    Ok(Ok(_)) => {
                        if self.answer_all().await? {
                            // The clock runs for a whole query: one octet now and then does not hold a connection.
                            deadline = Instant::now() + self.limits.idle;
                        }
                    }
                    Ok(Err(error)) => return Err(error),
                },
                Some(answer) = self.late.1.recv(), if self.waiting > 0 => {
                    self.waiting -= 1;
                    append(&mut self.outbox, &answer);
                    self.flush().await?;
                    deadline = Instant::now() + self.limits.idle;
                }
                () = &mut stopped => return self.finish().await,
                () = tokio::time::sleep(WAIT_MAX), if !reads && self.waiting > 0 => return Ok(()),
            }
            if !is_open && self.waiting == 0 {
                return Ok(());
            }
            // What is left is less than a query; a large one's room goes back.
            if self.inbox.is_empty() {
                self.inbox.shrink_to(READ_OCTETS);
                self.outbox.shrink_to(0);
                self.answer.shrink_to(0);
            }
        }
    }

    /// Answers what is on its way, and closes the connection.
    async fn finish(mut self) -> io::Result<()> {
        let deadline = tokio::time::Instant::now() + LINGER;
        while let Ok(read) = timeout_at(deadline, self.stream.read_buf(&mut self.inbox)).await {
            if read? == 0 {
                break;
            }
            self.answer_all().await?;
        }
        while self.waiting > 0
            && let Ok(Some(answer)) = timeout(WAIT_MAX, self.late.1.recv()).await
        {
            self.waiting -= 1;
            append(&mut self.outbox, &answer);
            self.flush().await?;
        }
        self.stream.shutdown().await
    }

    /// Answers every whole query that has arrived; whether there was one.
    async fn answer_all(&mut self) -> io::Result<bool> {
        let mut at = 0;
        while let Some(packet) = frame(self.inbox.get(at..).unwrap_or(&[])) {
            let octets = packet.len();
            let watched = self.service.observer.is_watching().then(Instant::now);
            match self.service.responder.respond(packet, Transport::Tcp, &mut self.answer) {
                Outcome::Ignored => {}
                Outcome::Answered(answered) => {
                    if let Some(received) = watched {
                        let (client, response) = (&self.client, &self.answer);
                        let exchange =
                            Exchange { client, transport: Transport::Tcp, took: received.elapsed(), response };
                        self.service.observer.answered(&exchange, &answered);
                    }
                    append(&mut self.outbox, &self.answer);
                }
                Outcome::Deferred(deferred) => {
                    let (packet, client, transport) = (packet.to_vec(), self.client, Transport::Tcp);
                    let received = watched.unwrap_or_else(Instant::now);
                    let late = self.late.0.clone();
                    let waiting = Waiting { packet, client, transport, received, deferred };
                    let waits = waiting.start(&self.service, move |answer| {
                        // The connection may be gone by then.
                        let _ = late.send(answer);
                    });
                    self.waiting += usize::from(waits);
                }
            }
            at += 2 + octets;
            if self.outbox.len() >= GATHERED_OCTETS {
                self.flush().await?;
            }
        }
        self.flush().await?;
        self.inbox.drain(..at);
        Ok(at > 0)
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.outbox.is_empty() {
            timeout(self.limits.write, self.stream.write_all(&self.outbox)).await??;
            self.outbox.clear();
        }
        Ok(())
    }
}

/// Puts a message behind others, with its length.
fn append(outbox: &mut Vec<u8>, message: &[u8]) {
    outbox.extend_from_slice(&u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
    outbox.extend_from_slice(message);
}

/// The first whole message of a stream, without its length.
fn frame(octets: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes(*octets.first_chunk::<2>()?));
    octets.get(2..2 + length)
}
