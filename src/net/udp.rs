//! UDP: one thread a socket, many datagrams at a time.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};

use super::composing::{self, Composer, Job};
use super::deferred::{Waiting, refresh};
use super::mmsg::{BATCH, Batch};
use super::{Exchange, Path, Service, SharedService};
use crate::answer::{Answered, Client, Folded, Outcome, Read, Transport};
use crate::panics::contain;

/// Datagrams that are still answered when a worker is to end, of those that wait in its socket.
const LAST_DATAGRAMS_MAX: usize = 1024;

/// The port of the discard protocol (RFC 863).
const DISCARD: u16 = 9;

/// Room for an answer that is kept from batch to batch, in octets: more than what clients take as a rule.
const ANSWER_OCTETS: usize = 4096;

/// Starts the thread that serves a socket. It ends when it is stopped, or when the socket fails for good.
pub(super) fn serve_udp(socket: UdpSocket, service: SharedService, composer: Composer) -> io::Result<UdpWorker> {
    let handle = socket.try_clone()?;
    let ending = Arc::new(AtomicBool::new(false));
    let worker = Worker { socket: Arc::new(socket), service, composer, ending: Arc::clone(&ending) };
    let thread = thread::Builder::new().name("udp".into()).spawn(move || worker.run())?;
    Ok(UdpWorker { socket: handle, ending, thread })
}

/// A thread that serves a socket.
#[derive(Debug)]
pub(super) struct UdpWorker {
    socket: UdpSocket,
    ending: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl UdpWorker {
    /// Asks it to answer what waits in its socket, and to end.
    pub(super) fn stop(&self) {
        // A socket that has a peer gets only what comes from there: from now on the kernel gives what is new to the other
        // sockets of this address, if there are any, and nothing is lost that would come while this one closes
        // (net/core/sock_reuseport.c, reuseport_select_sock_by_hash). The peer is the discard port of this host.
        let nobody = match self.socket.local_addr() {
            Ok(SocketAddr::V6(_)) => SocketAddr::from((Ipv6Addr::LOCALHOST, DISCARD)),
            _ => SocketAddr::from((Ipv4Addr::LOCALHOST, DISCARD)),
        };
        // Where there is no way to it, what comes meanwhile is answered or not, as when a process ends.
        let _ = self.socket.connect(nobody);
        self.ending.store(true, Ordering::Release);
        // Linux says that the socket is not connected, which is so, and yet wakes who waits for it (inet_shutdown in
        // net/ipv4/af_inet.c); from then on, reading gives what is queued and then nothing.
        let _ = socket2::SockRef::from(&self.socket).shutdown(std::net::Shutdown::Read);
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Asks the kernel to say to which address each datagram was sent: on a socket that listens on all addresses, the
/// reply must leave from that one (RFC 2181 section 4).
pub(super) fn want_destination(socket: &socket2::Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => setsockopt(socket, Ipv4PacketInfo, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

struct Worker {
    socket: Arc<UdpSocket>,
    service: SharedService,
    composer: Composer,
    ending: Arc<AtomicBool>,
}

impl Worker {
    fn run(self) {
        let mut batch = Batch::new(true);
        let mut names = [const { Folded::EMPTY }; BATCH];
        let mut answers: [Vec<u8>; BATCH] = std::array::from_fn(|_| Vec::with_capacity(ANSWER_OCTETS));
        let mut left = LAST_DATAGRAMS_MAX;
        while left > 0 {
            let is_ending = self.ending.load(Ordering::Acquire);
            let count = match batch.receive(&self.socket) {
                Ok(count) => count,
                // A reply's ICMP error, an interrupted call: no reason to stop.
                Err(error) if is_transient(&error) => continue,
                Err(_) => return,
            };
            // After the end there are no datagrams, and the kernel says so in datagrams from nobody.
            if is_ending && batch.way_back(0).client().is_none() {
                return;
            }
            contain(|| self.serve(&batch, count, &mut names, &mut answers));
            left -= if is_ending { count.min(left) } else { 0 };
        }
    }

    /// Answers a batch.
    fn serve(&self, batch: &Batch, count: usize, names: &mut [Folded; BATCH], answers: &mut [Vec<u8>; BATCH]) {
        let service = self.service.now();
        let Service { responder, observer, .. } = &**service;
        let received = Instant::now();
        let answering = responder.batch();
        let mut read: [Option<(SocketAddr, Read<'_, '_>)>; BATCH] = [const { None }; BATCH];
        for (((index, read), name), answer) in (0..count).zip(&mut read).zip(names).zip(answers.iter_mut()) {
            let Some(client) = batch.way_back(index).client() else { continue };
            // A panic costs one query.
            let packet = contain(|| answering.read(batch.query(index), name, Client::udp(client), answer));
            *read = packet.map(|packet| (client, packet));
        }
        answering.touch(read.iter().flatten().map(|(_, packet)| packet));

        let is_watched = observer.is_watching();
        let mut told: [Option<(SocketAddr, Answered<'_>)>; BATCH] = [const { None }; BATCH];
        let mut places = [0; BATCH];
        let mut answered = 0;
        let mut keep = |index, client, made| {
            if is_watched {
                told[answered] = Some((client, made));
            }
            places[answered] = index;
            answered += 1;
        };
        for ((index, read), answer) in read.iter().enumerate().zip(answers.iter_mut()) {
            let Some((client, packet)) = read else { continue };
            match contain(|| answering.answer(packet, answer)) {
                None | Some(Some(Outcome::Ignored)) => {}
                Some(Some(Outcome::Dropped(dropped))) => {
                    let exchange =
                        Exchange { client, transport: Transport::Udp, took: received.elapsed(), response: &[] };
                    observer.answered(&exchange, &dropped);
                }
                Some(Some(Outcome::Answered(made))) => keep(index, *client, made),
                Some(Some(Outcome::Refreshing(made, refreshes))) => {
                    refresh(&service, refreshes);
                    keep(index, *client, made);
                }
                Some(Some(Outcome::Deferred(deferred))) => {
                    let waiting = Waiting {
                        packet: batch.query(index).to_vec(),
                        client: *client,
                        transport: Transport::Udp,
                        received,
                        deferred,
                    };
                    let (socket, way_back) = (Arc::clone(&self.socket), *batch.way_back(index));
                    if !waiting.start(&service, move |answer| composing::send(&socket, way_back, &answer)) {
                        observer.shed();
                    }
                }
                Some(None | Some(Outcome::Transfer(_))) => self.composer.compose(Job {
                    service: Arc::clone(&service),
                    socket: Arc::clone(&self.socket),
                    packet: batch.query(index).to_vec(),
                    client: *client,
                    way_back: *batch.way_back(index),
                    received,
                }),
            }
        }
        // What was answered from may be replaced by now, and can go.
        drop(answering);
        let replies: [(usize, &[u8]); BATCH] =
            places.map(|index| (index, answers.get(index).map_or(&[][..], |answer| &**answer)));
        batch.send(&self.socket, replies.get(..answered).unwrap_or(&[]));
        if is_watched {
            let took = received.elapsed();
            for ((client, made), (_, response)) in told.iter().flatten().zip(&replies) {
                observer.answered(&Exchange { client, transport: Transport::Udp, took, response }, made);
            }
            observer.went(Path::Prepared, answered as u64);
        }
        for answer in answers {
            answer.shrink_to(ANSWER_OCTETS);
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    !matches!(error.raw_os_error(), Some(nix::libc::EBADF | nix::libc::ENOTSOCK | nix::libc::EINVAL))
}
