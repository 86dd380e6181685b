//! Overload of what is costly is shed and counted, and takes nothing from what is prepared.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;
use podzone::answer::{Answered, Block, Lookup, LookupError, Responder, Transport};
use podzone::net::{
    Elsewhere, Exchange, Observer, Service, Serving, SharedService, Sockets, TcpPlaces, TcpTimes, Transferring,
    WaitingRoom,
};
use podzone::zone::{Name, View, ViewOptions};

const PATIENCE: Duration = Duration::from_secs(20);
/// As many as wait to be composed, and one that is.
const HELD: usize = 1024 + 1;
const SHED: usize = 300;

const A: u16 = 1;
const SOA: u16 = 6;

/// Holds the first composed answer up, and with it the thread that composes.
struct Gate {
    reached: Mutex<Option<Sender<()>>>,
    open: Mutex<Receiver<()>>,
    shed: Arc<AtomicUsize>,
}

impl Observer for Gate {
    fn is_watching(&self) -> bool {
        true
    }

    fn answered(&self, _: &Exchange<'_>, answered: &Answered<'_>) {
        let is_composed = answered.query.question.is_some_and(|question| question.qtype == SOA);
        if is_composed && let Some(reached) = self.reached.lock().unwrap().take() {
            reached.send(()).unwrap();
            self.open.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
    }

    fn shed(&self) {
        self.shed.fetch_add(1, Ordering::SeqCst);
    }
}

struct Nobody;

impl Elsewhere for Nobody {
    fn ask(&self, _: Lookup, _: Transport) -> BoxFuture<'_, Result<Vec<u8>, LookupError>> {
        Box::pin(async { Err(LookupError::servfail("nobody is asked")) })
    }
}

fn view() -> Arc<View> {
    let zone = Name::parse("cluster.local").unwrap();
    let view = View::new(ViewOptions::new(vec![zone]).unwrap(), 1);
    view.set_synced();
    Arc::new(view)
}

fn query(id: usize, name: &str, rtype: u16) -> Vec<u8> {
    let head = [&u16::try_from(id).unwrap().to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    [&head[..], Name::parse(name).unwrap().as_wire(), &rtype.to_be_bytes(), &[0, 1]].concat()
}

fn ids(client: &UdpSocket, count: usize) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..count)
        .map(|_| {
            let mut answer = [0; 512];
            let octets = client.recv(&mut answer).expect("an answer");
            assert!(octets > 12 && answer[2] & 0x80 != 0);
            usize::from(u16::from_be_bytes([answer[0], answer[1]]))
        })
        .collect();
    ids.sort_unstable();
    ids
}

#[test]
fn what_is_prepared_is_answered_while_what_is_composed_is_shed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ((reached, is_reached), (open, is_open)) = (channel(), channel());
    let shed = Arc::new(AtomicUsize::new(0));
    let gate = Gate { reached: Mutex::new(Some(reached)), open: Mutex::new(is_open), shed: Arc::clone(&shed) };
    let block = Block { view: Some(view()), handles: true, ..Block::default() };
    let service = SharedService::new(Service {
        responder: Responder::new([(Name::parse("cluster.local").unwrap(), Arc::new(block))]),
        observer: Box::new(gate),
        elsewhere: Arc::new(Nobody),
        waiting: WaitingRoom::new(runtime.handle().clone()),
        transferring: Transferring::default(),
        tcp: TcpTimes::default(),
    });
    let sockets = Sockets::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1, false).unwrap();
    let addr = sockets.udp[0].local_addr().unwrap();
    let mut serving = Serving::default();
    serving.serve(addr, sockets, service, TcpPlaces::default()).unwrap();
    let client = || {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.connect(addr).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // All that waited is answered at once, and must find room.
        setsockopt(&client, RcvBufForce, &(4 << 20)).unwrap();
        client
    };
    let (costly, good) = (client(), client());

    costly.send(&query(0, "cluster.local", SOA)).unwrap();
    is_reached.recv_timeout(PATIENCE).unwrap();
    // One by one with good queries between, so that none is lost for want of room in a socket.
    let mut asked = 0;
    for id in 1..HELD + SHED {
        costly.send(&query(id, "cluster.local", SOA)).unwrap();
        if id % 50 == 0 {
            good.send(&query(asked, "gone.a.svc.cluster.local", A)).unwrap();
            assert_eq!(ids(&good, 1), [asked]);
            asked += 1;
        }
    }
    good.send(&query(asked, "gone.a.svc.cluster.local", A)).unwrap();
    assert_eq!(ids(&good, 1), [asked]);
    // All that came before the last good query has found its place, or none.
    assert_eq!(shed.load(Ordering::SeqCst), SHED);

    open.send(()).unwrap();
    assert_eq!(ids(&costly, HELD), (0..HELD).collect::<Vec<_>>(), "what waited is answered");
    assert!(runtime.block_on(serving.stop(PATIENCE)));
}
