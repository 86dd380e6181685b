//! Everything that serves DNS, to be stopped together.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::composing::Composer;
use super::tcp::{TcpLimits, serve_tcp};
use super::udp::{UdpWorker, serve_udp};
use super::{SharedService, WaitingRoom};

/// How often the end of the UDP threads is looked for.
const THREAD_POLL: Duration = Duration::from_millis(5);

/// Sockets at work. They end with the process, or with [`Serving::stop`].
#[derive(Debug)]
pub struct Serving {
    stop: watch::Sender<bool>,
    udp: Vec<UdpWorker>,
    /// Composes what the UDP workers do not answer at once. It ends when all of them have.
    composer: Option<(Composer, JoinHandle<()>)>,
    tcp: JoinSet<io::Result<()>>,
    /// Where queries of the UDP workers wait for other servers.
    waiting: Vec<WaitingRoom>,
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            stop: watch::Sender::new(false),
            udp: Vec::new(),
            composer: None,
            tcp: JoinSet::new(),
            waiting: Vec::new(),
        }
    }
}

impl Serving {
    /// Serves a UDP socket on a thread of its own.
    ///
    /// # Errors
    /// If the system gives no thread, or no second handle of the socket.
    pub fn udp(&mut self, socket: UdpSocket, service: SharedService) -> io::Result<()> {
        self.waiting.push(service.waiting.clone());
        let (composer, _) = match &mut self.composer {
            Some(composer) => composer,
            none => none.insert(Composer::start()?),
        };
        self.udp.push(serve_udp(socket, service, composer.clone())?);
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
        if !ended_by(deadline, || self.udp.iter().all(UdpWorker::has_ended)).await {
            return false;
        }
        if let Some((composer, thread)) = self.composer.take() {
            drop(composer);
            if !ended_by(deadline, || thread.is_finished()).await {
                return false;
            }
        }
        for room in &self.waiting {
            if timeout_at(deadline, room.emptied()).await.is_err() {
                return false;
            }
        }
        while let Ok(ended) = timeout_at(deadline, self.tcp.join_next()).await {
            if ended.is_none() {
                return true;
            }
        }
        false
    }
}

/// Waits until threads have ended; whether they did by the deadline.
async fn ended_by(deadline: Instant, has_ended: impl Fn() -> bool) -> bool {
    while !has_ended() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(THREAD_POLL).await;
    }
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};

    use super::*;
    use futures::future::BoxFuture;
    use tokio::runtime::Handle;

    use crate::answer::{Answered, Lookup, LookupError, Responder, Transport};
    use crate::net::{Elsewhere, Exchange, Observer, Service, Sockets, Transferring};

    /// More than are read from a connection at a time, and fewer than a socket's buffer holds.
    const QUERIES: u16 = 180;
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Holds the first answer up.
    struct Gate {
        reached: Mutex<Option<Sender<()>>>,
        open: Mutex<Receiver<()>>,
    }

    impl Observer for Gate {
        fn is_watching(&self) -> bool {
            true
        }

        fn shed(&self) {}

        fn answered(&self, _: &Exchange<'_>, _: &Answered<'_>) {
            if let Some(reached) = self.reached.lock().unwrap().take() {
                reached.send(()).unwrap();
                self.open.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            }
        }
    }

    struct Nobody;

    impl Elsewhere for Nobody {
        fn ask(&self, _: Lookup, _: Transport) -> BoxFuture<'_, Result<Vec<u8>, LookupError>> {
            Box::pin(async { Err(LookupError::servfail("nobody is asked")) })
        }
    }

    fn gated(runtime: &Handle) -> (SharedService, Receiver<()>, Sender<()>) {
        let ((reached, is_reached), (open, is_open)) = (channel(), channel());
        let gate = Gate { reached: Mutex::new(Some(reached)), open: Mutex::new(is_open) };
        let service = Service {
            responder: Responder::new([]),
            observer: Box::new(gate),
            elsewhere: Arc::new(Nobody),
            waiting: WaitingRoom::new(runtime.clone()),
            transferring: Transferring::default(),
        };
        (Arc::new(service), is_reached, open)
    }

    fn query(id: u16) -> Vec<u8> {
        let head = [&id.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
        [&head[..], b"\x07example\0\0\x01\0\x01"].concat()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    fn sockets() -> (Sockets, SocketAddr, SocketAddr) {
        let sockets = Sockets::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1).unwrap();
        let (udp, tcp) = (sockets.udp[0].local_addr().unwrap(), sockets.tcp.local_addr().unwrap());
        (sockets, udp, tcp)
    }

    #[test]
    fn datagrams_that_wait_are_answered() {
        let (sockets, addr, _) = sockets();
        let runtime = runtime();
        let (service, is_reached, open) = gated(runtime.handle());
        let mut serving = Serving::default();
        for socket in sockets.udp {
            serving.udp(socket, Arc::clone(&service)).unwrap();
        }
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        for id in 0..QUERIES {
            client.send_to(&query(id), addr).unwrap();
        }
        is_reached.recv_timeout(PATIENCE).unwrap();
        let stopped = runtime.block_on(async {
            let stopped = tokio::spawn(serving.stop(PATIENCE));
            sleep(Duration::from_millis(50)).await;
            open.send(()).unwrap();
            stopped.await.unwrap()
        });
        assert!(stopped);
        for id in 0..QUERIES {
            let mut answer = [0; 512];
            client.recv_from(&mut answer).unwrap();
            assert_eq!(answer[..2], id.to_be_bytes());
        }
    }

    #[test]
    fn queries_that_wait_in_a_connection_are_answered_and_it_is_closed() {
        let (sockets, _, addr) = sockets();
        let runtime = runtime();
        let (service, is_reached, open) = gated(runtime.handle());
        let mut serving = Serving::default();
        {
            let _entered = runtime.enter();
            serving.tcp(sockets.tcp, service, TcpLimits::default());
        }
        let mut client = TcpStream::connect(addr).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        for id in 0..QUERIES {
            let query = query(id);
            let length = u16::try_from(query.len()).unwrap();
            client.write_all(&[&length.to_be_bytes(), &query[..]].concat()).unwrap();
        }
        is_reached.recv_timeout(PATIENCE).unwrap();
        let stopped = runtime.block_on(async {
            let stopped = tokio::spawn(serving.stop(PATIENCE));
            sleep(Duration::from_millis(50)).await;
            open.send(()).unwrap();
            stopped.await.unwrap()
        });
        assert!(stopped);
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).unwrap();
        assert_eq!(answers.len(), usize::from(QUERIES) * (2 + query(0).len()));
    }

    #[test]
    fn what_never_ends_is_left_behind() {
        let (sockets, addr, _) = sockets();
        let runtime = runtime();
        let (service, is_reached, _open) = gated(runtime.handle());
        let mut serving = Serving::default();
        for socket in sockets.udp {
            serving.udp(socket, Arc::clone(&service)).unwrap();
        }
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.send_to(&query(0), addr).unwrap();
        is_reached.recv_timeout(PATIENCE).unwrap();
        assert!(!runtime.block_on(serving.stop(Duration::from_millis(100))));
    }
}
