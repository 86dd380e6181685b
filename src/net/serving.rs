//! Everything that serves DNS, to be stopped together.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::SharedService;
use super::tcp::{TcpLimits, serve_tcp};
use super::udp::{UdpWorker, serve_udp};

/// How often the end of the UDP threads is looked for.
const THREAD_POLL: Duration = Duration::from_millis(5);

/// Sockets at work. They end with the process, or with [`Serving::stop`].
#[derive(Debug)]
pub struct Serving {
    stop: watch::Sender<bool>,
    udp: Vec<UdpWorker>,
    tcp: JoinSet<io::Result<()>>,
}

impl Default for Serving {
    fn default() -> Self {
        Self { stop: watch::Sender::new(false), udp: Vec::new(), tcp: JoinSet::new() }
    }
}

impl Serving {
    /// Serves a UDP socket on a thread of its own.
    ///
    /// # Errors
    /// If the system gives no thread, or no second handle of the socket.
    pub fn udp(&mut self, socket: UdpSocket, service: SharedService) -> io::Result<()> {
        self.udp.push(serve_udp(socket, service)?);
        Ok(())
    }

    /// Serves a TCP listener on the runtime, in which this must be called.
    pub fn tcp(&mut self, listener: TcpListener, service: SharedService, limits: TcpLimits) {
        self.tcp.spawn(serve_tcp(listener, service, limits, self.stop.subscribe()));
    }

    /// Takes nothing new in, answers what has arrived, and closes all sockets; whether that was done within `limit`.
    pub async fn stop(mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        self.stop.send_replace(true);
        for worker in &self.udp {
            worker.stop();
        }
        while self.udp.iter().any(|worker| !worker.has_ended()) {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(THREAD_POLL).await;
        }
        while let Ok(ended) = timeout_at(deadline, self.tcp.join_next()).await {
            if ended.is_none() {
                return true;
            }
        }
        false
    }
}
