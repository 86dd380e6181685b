//! Everything that serves DNS: sockets come and go, what is answered on them is replaced, and all are stopped together.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::composing::Composer;
use super::listen::{ListenError, Sockets, beside};
use super::tcp::{TcpPlaces, serve_tcp};
use super::udp::{UdpWorker, serve_udp};
use super::{SharedService, WaitingRoom};

/// How often the end of the UDP threads is looked for.
const THREAD_POLL: Duration = Duration::from_millis(5);

/// Sockets at work. They end with the process, or with [`Serving::stop`].
#[derive(Default)]
pub struct Serving {
    listeners: BTreeMap<SocketAddr, Listening>,
    /// Composes what the UDP workers do not answer at once. It ends when all of them have.
    composer: Option<(Composer, JoinHandle<()>)>,
}

/// What listens at an address.
struct Listening {
    service: SharedService,
    udp: Vec<UdpWorker>,
    /// Where queries of the UDP workers wait for other servers.
    waiting: WaitingRoom,
    /// Where connections are accepted, as long as they are.
    accepting: Weak<TcpListener>,
    tcp: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Serving {
    /// Serves the sockets of an address: UDP on a thread for each, TCP on the runtime that the service's queries wait on.
    ///
    /// # Errors
    /// If the system gives no thread, or no second handle of a socket.
    pub fn serve(
        &mut self,
        address: SocketAddr,
        sockets: Sockets,
        service: SharedService,
        places: TcpPlaces,
    ) -> io::Result<()> {
        let waiting = service.now().waiting.clone();
        let (stop, stopped) = watch::channel(false);
        let (listener, tcp) = {
            let _entered = waiting.runtime().enter();
            let listener = Arc::new(TcpListener::from_std(sockets.tcp)?);
            let mut tcp = JoinSet::new();
            let accepting = Arc::downgrade(&listener);
            tcp.spawn(serve_tcp(listener, service.clone(), places, stopped));
            (accepting, tcp)
        };
        let listening = Listening { service, udp: Vec::new(), waiting, accepting: listener, tcp, stop };
        self.listeners.insert(address, listening);
        self.add(address, sockets.udp)
    }

    /// Serves more UDP sockets of an address that is served.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub fn add(&mut self, address: SocketAddr, sockets: Vec<std::net::UdpSocket>) -> io::Result<()> {
        let Some(listening) = self.listeners.get_mut(&address) else { return Ok(()) };
        let (composer, _) = match &mut self.composer {
            Some(composer) => composer,
            none => none.insert(Composer::start()?),
        };
        for socket in sockets {
            listening.udp.push(serve_udp(socket, listening.service.clone(), composer.clone())?);
        }
        Ok(())
    }

    /// The addresses that are served.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.keys().copied()
    }

    /// What is answered at an address, and how many UDP sockets it has.
    pub fn at(&self, address: &SocketAddr) -> Option<(&SharedService, usize)> {
        self.listeners.get(address).map(|listening| (&listening.service, listening.udp.len()))
    }

    /// Opens the sockets of one more address. Those of a port may stand beside each other though one of them is for all
    /// addresses: the more special is asked first, and the other takes over when it goes.
    ///
    /// # Errors
    /// As [`Sockets::open`].
    pub fn open(&self, address: SocketAddr, workers: usize) -> Result<Sockets, ListenError> {
        let same_port = self.listeners.iter().filter(|(served, _)| served.port() == address.port());
        let own: Vec<Arc<TcpListener>> = same_port.filter_map(|(_, served)| served.accepting.upgrade()).collect();
        beside(&own, |shared| Sockets::open(address, workers, shared))
    }

    /// Stops some of the UDP workers of an address, so that so many are left, and answers what has arrived for them;
    /// whether that was done within `limit`.
    pub async fn shrink(&mut self, address: &SocketAddr, left: usize, limit: Duration) -> bool {
        let Some(listening) = self.listeners.get_mut(address) else { return true };
        let surplus = listening.udp.split_off(left.min(listening.udp.len()));
        surplus.iter().for_each(UdpWorker::stop);
        ended_by(Instant::now() + limit, || surplus.iter().all(UdpWorker::has_ended)).await
    }

    /// Takes nothing new in at an address, answers what has arrived, and closes its sockets; whether that was done within
    /// `limit`.
    pub async fn close(&mut self, address: &SocketAddr, limit: Duration) -> bool {
        let Some(mut listening) = self.listeners.remove(address) else { return true };
        let deadline = Instant::now() + limit;
        listening.begin_to_stop();
        ended_by(deadline, || listening.udp.iter().all(UdpWorker::has_ended)).await && listening.ended(deadline).await
    }

    /// Takes nothing new in, answers what has arrived, and closes all sockets; whether that was done within `limit`.
    pub async fn stop(mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        self.listeners.values().for_each(Listening::begin_to_stop);
        let all_ended = || self.listeners.values().flat_map(|listening| &listening.udp).all(UdpWorker::has_ended);
        if !ended_by(deadline, all_ended).await {
            return false;
        }
        if let Some((composer, thread)) = self.composer.take() {
            drop(composer);
            if !ended_by(deadline, || thread.is_finished()).await {
                return false;
            }
        }
        for listening in self.listeners.values_mut() {
            if !listening.ended(deadline).await {
                return false;
            }
        }
        true
    }
}

impl Listening {
    fn begin_to_stop(&self) {
        self.stop.send_replace(true);
        self.udp.iter().for_each(UdpWorker::stop);
    }

    /// Waits until nobody waits for other servers, and all connections have ended; whether that came about in time.
    async fn ended(&mut self, deadline: Instant) -> bool {
        if timeout_at(deadline, self.waiting.emptied()).await.is_err() {
            return false;
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
    use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};

    use super::*;
    use futures::future::BoxFuture;
    use tokio::runtime::Handle;

    use crate::answer::{Answered, Lookup, LookupError, Responder, Transport};
    use crate::net::{Elsewhere, Exchange, Observer, Service, Sockets, TcpTimes, Transferring};

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
            tcp: TcpTimes::default(),
        };
        (SharedService::new(service), is_reached, open)
    }

    fn query(id: u16) -> Vec<u8> {
        let head = [&id.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
        [&head[..], b"\x07example\0\0\x01\0\x01"].concat()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    fn sockets() -> (Sockets, SocketAddr, SocketAddr) {
        let sockets = Sockets::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1, false).unwrap();
        let (udp, tcp) = (sockets.udp[0].local_addr().unwrap(), sockets.tcp.local_addr().unwrap());
        (sockets, udp, tcp)
    }

    #[test]
    fn datagrams_that_wait_are_answered() {
        let (sockets, addr, _) = sockets();
        let runtime = runtime();
        let (service, is_reached, open) = gated(runtime.handle());
        let mut serving = Serving::default();
        serving.serve(addr, sockets, service, TcpPlaces::default()).unwrap();
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
        serving.serve(addr, sockets, service, TcpPlaces::default()).unwrap();
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
        serving.serve(addr, sockets, service, TcpPlaces::default()).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.send_to(&query(0), addr).unwrap();
        is_reached.recv_timeout(PATIENCE).unwrap();
        assert!(!runtime.block_on(serving.stop(Duration::from_millis(100))));
    }
}
