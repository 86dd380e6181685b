//! Telling secondaries of new versions (NOTIFY, RFC 1996): each zone once for each version, sooner or later again until
//! it is heard, and never one before the last was heard or given up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::transfer::{Notice, Outcome, Reply, Subject};

/// How long what is cut waits to be told, so that all of a change is.
const PAUSE: Duration = Duration::from_millis(50);
/// How long an answer is waited for, the first time; each time twice as long. A secondary that is away for less than a
/// minute hears of what it missed; RFC 1996 section 3.6 suggests as much.
const PATIENCE: Duration = Duration::from_secs(1);
const ATTEMPTS_MAX: u32 = 6;
/// The largest answer.
const REPLY_OCTETS: usize = 4096;

/// A server that is told of new versions of a view's zones.
pub struct Secondary {
    /// Where.
    pub address: SocketAddr,
    /// From which address, if it matters.
    pub source: Option<IpAddr>,
    /// Of what.
    pub subject: Subject,
}

/// What a secondary is to hear of a zone.
struct Pending {
    zone: usize,
    attempts: u32,
    /// When it is told, or told again.
    at: Instant,
    notice: Option<Notice>,
    /// Whether there is a newer version than the one that was told of.
    is_stale: bool,
}

/// Tells a secondary of each version, whose serial the channel says. Ends with the channel.
pub async fn notify(secondary: Secondary, mut serials: watch::Receiver<Option<u32>>) {
    let mut telling = Telling { secondary, socket: None, pending: Vec::new(), is_heard: true };
    telling.tell_all();
    let mut reply = vec![0; REPLY_OCTETS];
    loop {
        let next = telling.pending.iter().map(|pending| pending.at).min();
        tokio::select! {
            changed = serials.changed() => {
                if changed.is_err() {
                    return;
                }
                telling.tell_all();
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let serial = *serials.borrow();
                telling.send_due(serial).await;
            }
            received = receive(telling.socket.as_ref(), &mut reply), if telling.socket.is_some() => match received {
                Ok(octets) => telling.take(&reply[..octets]),
                // A secondary that is not there: that is found out by its silence.
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
        }
    }
}

async fn receive(socket: Option<&UdpSocket>, reply: &mut [u8]) -> io::Result<usize> {
    match socket {
        Some(socket) => socket.recv(reply).await,
        None => std::future::pending().await,
    }
}

struct Telling {
    secondary: Secondary,
    socket: Option<UdpSocket>,
    pending: Vec<Pending>,
    /// Whether it was heard the last time, or never tried: what goes on is said once.
    is_heard: bool,
}

impl Telling {
    /// There is a new version.
    fn tell_all(&mut self) {
        let at = Instant::now() + PAUSE;
        for zone in 0..self.secondary.subject.zones.len() {
            match self.pending.iter_mut().find(|pending| pending.zone == zone) {
                None => self.pending.push(Pending { zone, attempts: 0, at, notice: None, is_stale: false }),
                // It is told of once this was heard, or when this is told again.
                Some(pending) => pending.is_stale = pending.notice.is_some(),
            }
        }
    }

    /// Sends what is due.
    async fn send_due(&mut self, serial: Option<u32>) {
        let now = Instant::now();
        if self.socket.is_none() {
            match self.connect().await {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => self.complain(&format!("no socket: {error}")),
            }
        }
        let mut unheard = Vec::new();
        for pending in self.pending.iter_mut().filter(|pending| pending.at <= now) {
            if pending.attempts >= ATTEMPTS_MAX {
                unheard.push(pending.zone);
                continue;
            }
            // Not everything was listed yet: the channel will say.
            let told = serial.and_then(|serial| self.secondary.subject.notice(pending.zone, serial, rand::random()));
            let Some(notice) = told else {
                unheard.push(pending.zone);
                continue;
            };
            if let Some(socket) = &self.socket {
                // Nobody there, a full buffer, a filter: as if it were lost.
                let _ = socket.send(&notice.message).await;
            }
            (pending.notice, pending.is_stale) = (Some(notice), false);
            pending.at = now + PATIENCE * (1 << pending.attempts);
            pending.attempts += 1;
        }
        if unheard.is_empty() {
            return;
        }
        let was_tried = |pending: &Pending| unheard.contains(&pending.zone) && pending.attempts > 0;
        if self.pending.iter().any(was_tried) {
            self.complain("no answer");
        }
        for _ in self.pending.iter().filter(|pending| was_tried(pending)) {
            self.secondary.subject.served.counters.count(Outcome::Unheard);
        }
        self.pending.retain(|pending| !unheard.contains(&pending.zone));
    }

    /// Takes an answer in.
    fn take(&mut self, reply: &[u8]) {
        let read = |pending: &Pending| match pending.notice.as_ref().map(|notice| notice.read(reply)) {
            None | Some(Reply::Foreign) => None,
            Some(read) => Some(read),
        };
        let found = self.pending.iter().enumerate().find_map(|(index, pending)| Some((index, read(pending)?)));
        match found {
            Some((index, Reply::Taken)) => {
                let Pending { zone, is_stale, .. } = self.pending.swap_remove(index);
                if is_stale {
                    let at = Instant::now() + PAUSE;
                    self.pending.push(Pending { zone, attempts: 0, at, notice: None, is_stale: false });
                }
                self.is_heard = true;
                self.secondary.subject.served.counters.count(Outcome::Notified);
            }
            // It may be taken later: its configuration is mended, its signature's clock is set.
            Some((_, Reply::Refused(rcode))) => self.complain(&format!("response code {rcode}")),
            Some((_, Reply::Foreign)) | None => {}
        }
    }

    async fn connect(&self) -> io::Result<UdpSocket> {
        let Secondary { address, source, .. } = &self.secondary;
        let any = match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((source.unwrap_or(any), 0)).await?;
        socket.connect(address).await?;
        Ok(socket)
    }

    fn complain(&mut self, reason: &str) {
        if std::mem::replace(&mut self.is_heard, false) {
            let address = self.secondary.address;
            tracing::warn!(target: "plugin/transfer", "notify was not accepted by \"{address}\": {reason}");
        }
    }
}
