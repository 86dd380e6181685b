//! An open-loop client: queries leave on a fixed schedule whatever the answers do, a query's latency counts from the
//! time at which it was due, and every answer is held against its question.

use crate::flood::Flood;
use crate::support::dns;
use crate::wanted::Wanted;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use nix::unistd::Pid;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Sockets, and so source ports, as many as dnsperf takes.
const SOCKETS: usize = 8;
const BATCH: usize = 32;
const OCTETS_MAX: usize = 4096;
const RECEIVE_BUFFER_OCTETS: usize = 4 << 20;
/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// Of this many queries one may miss its time.
const UNSENT_SHARE_MAX: usize = 100;
/// What half of all answers are faster than, unless the machine does something else.
const LATE_US: f64 = 10_000.0;
/// IDs, and so the most queries of a socket that wait for an answer.
const IDS: usize = 1 << 16;

/// What to ask, and how often.
pub(crate) struct Plan<'p> {
    pub(crate) server: SocketAddr,
    pub(crate) questions: &'p [Wanted],
    /// Queries a second; none asks nothing, and leaves the flood alone.
    pub(crate) rate: u32,
    pub(crate) time: Duration,
    /// What else is sent.
    pub(crate) flood: Option<Flood>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) sent: usize,
    pub(crate) answers: usize,
    pub(crate) wrong: usize,
    /// Queries that were due and did not leave in time.
    unsent: usize,
    /// The first of the wrong ones.
    pub(crate) complaint: Option<String>,
    /// In nanoseconds, sorted.
    latencies: Vec<u32>,
}

impl Outcome {
    pub(crate) fn lost_or_wrong(&self) -> usize {
        self.sent - self.answers + self.wrong
    }

    /// Why this counts for nothing, if so.
    pub(crate) fn void(&self) -> Option<String> {
        let lost = self.sent - self.answers;
        if self.lost_or_wrong() > 0 {
            let complaint = self.complaint.as_deref().unwrap_or_default();
            return Some(format!("{lost} lost, {} wrong {complaint}", self.wrong));
        }
        let is_late = self.unsent > self.sent / UNSENT_SHARE_MAX || self.percentile(0.5) > LATE_US;
        is_late.then(|| format!("no CPU was left to client or server: {} queries did not leave in time", self.unsent))
    }

    /// The latency in microseconds below which this share of the answers stayed.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let place = (self.latencies.len() as f64 * share) as usize;
        let nanoseconds = self.latencies.get(place.min(self.latencies.len().saturating_sub(1)));
        nanoseconds.map_or(f64::NAN, |nanoseconds| f64::from(*nanoseconds) / 1000.0)
    }
}

/// A query without an answer.
#[derive(Clone, Copy)]
struct Open {
    question: u32,
    due: u64,
}

struct Client {
    socket: UdpSocket,
    open: Vec<Option<Open>>,
    next: u16,
    headers: [MultiHeaders<SockaddrIn>; 2],
}

/// Asks as planned, on a core of its own and without ever sleeping.
pub(crate) fn on_core(core: usize, plan: Plan<'_>) -> Outcome {
    bound_to(core, || run(plan))
}

/// Does something on a thread that is bound to a core.
pub(crate) fn bound_to<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut cores = CpuSet::new();
            cores.set(core).expect("a core's number");
            sched_setaffinity(Pid::from_raw(0), &cores).expect("a core");
            work()
        });
        client.join().expect("the client")
    })
}

fn run(mut plan: Plan<'_>) -> Outcome {
    let mut clients: Vec<_> = (0..SOCKETS).map(|_| Client::connect(plan.server)).collect();
    let mut outcome = Outcome::default();
    outcome.latencies.reserve((plan.time.as_secs_f64() * f64::from(plan.rate)) as usize + BATCH);
    let mut buffers = Box::new([[0; OCTETS_MAX]; BATCH]);
    let begin = Instant::now();
    let end = plan.time.as_nanos() as u64;
    let due = |index: usize| (index as u128 * 1_000_000_000 / u128::from(plan.rate.max(1))) as u64;
    let mut turn = 0;
    loop {
        let now = begin.elapsed().as_nanos() as u64;
        let client = &mut clients[turn % SOCKETS];
        turn += 1;
        if now < end {
            // What is due, at most a batch, from one socket.
            let mut count = 0;
            while plan.rate > 0 && count < BATCH && due(outcome.sent + count) <= now.min(end) {
                count += 1;
            }
            if count > 0 {
                client.send(plan.questions, outcome.sent, count, due);
                outcome.sent += count;
            }
            if let Some(flood) = &mut plan.flood {
                flood.send_due(now);
            }
        } else if outcome.answers == outcome.sent || now > end + PATIENCE.as_nanos() as u64 {
            break;
        }
        for client in &mut clients {
            client.receive(&mut buffers, &plan, begin, &mut outcome);
        }
    }
    let planned = (plan.time.as_secs_f64() * f64::from(plan.rate)) as usize;
    outcome.unsent = planned.saturating_sub(outcome.sent);
    outcome.latencies.sort_unstable();
    outcome
}

impl Client {
    fn connect(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.connect(server).expect("an address");
        socket.set_nonblocking(true).expect("a socket that does not wait");
        socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_OCTETS).expect("a receive buffer");
        let headers = [(); 2].map(|()| MultiHeaders::preallocate(BATCH, None));
        Self { socket, open: vec![None; IDS], next: 0, headers }
    }

    /// Sends so many queries from the first on.
    fn send(&mut self, questions: &[Wanted], first: usize, count: usize, due: impl Fn(usize) -> u64) {
        let mut heads = [[0; 2]; BATCH];
        for (index, head) in heads.iter_mut().enumerate().take(count) {
            let question = ((first + index) % questions.len()) as u32;
            *head = self.next.to_be_bytes();
            self.open[usize::from(self.next)] = Some(Open { question, due: due(first + index) });
            self.next = self.next.wrapping_add(1);
        }
        let parts: [_; BATCH] = std::array::from_fn(|index| {
            let query = &questions[(first + index) % questions.len()].query;
            [IoSlice::new(&heads[index]), IoSlice::new(&query[2..])]
        });
        let mut sent = 0;
        while sent < count {
            let parts = &parts[sent..count];
            let addresses = [None; BATCH];
            let result = sendmmsg(
                self.socket.as_raw_fd(),
                &mut self.headers[0],
                parts,
                &addresses[..parts.len()],
                [],
                MsgFlags::empty(),
            );
            match result.map(Iterator::count) {
                Ok(more) => sent += more,
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => panic!("sending: {error}"),
            }
        }
    }

    /// Takes in what has arrived, a batch at most.
    fn receive(
        &mut self,
        buffers: &mut [[u8; OCTETS_MAX]; BATCH],
        plan: &Plan<'_>,
        begin: Instant,
        outcome: &mut Outcome,
    ) {
        let (mut count, mut lengths) = (0, [0; BATCH]);
        {
            let mut parts = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
            let fd = self.socket.as_raw_fd();
            match recvmmsg(fd, &mut self.headers[1], parts.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
                Ok(messages) => {
                    for message in messages {
                        lengths[count] = message.bytes;
                        count += 1;
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                Err(error) => panic!("receiving: {error}"),
            }
        }
        let now = begin.elapsed().as_nanos() as u64;
        for (buffer, length) in buffers.iter().zip(lengths).take(count) {
            let answer = &buffer[..length];
            let id = answer.first_chunk().map(|id| usize::from(u16::from_be_bytes(*id)));
            // An answer to nothing is wrong.
            let Some(open) = id.and_then(|id| self.open[id].take()) else {
                outcome.wrong += 1;
                outcome.complaint.get_or_insert_with(|| format!("to no query: {answer:02x?}"));
                continue;
            };
            outcome.answers += 1;
            outcome.latencies.push(u32::try_from(now.saturating_sub(open.due)).unwrap_or(u32::MAX));
            let wanted = &plan.questions[open.question as usize];
            if !wanted.is_met_by(answer) {
                outcome.wrong += 1;
                outcome.complaint.get_or_insert_with(|| match dns::Message::decode(answer) {
                    Ok(message) => format!("{message}\nwanted {wanted:?}"),
                    Err(error) => format!("{error}: {answer:02x?}\nwanted {wanted:?}"),
                });
            }
        }
    }
}
