//! A connection. It takes turns with all others: in a turn, what has arrived is answered, and written at once.
//!
//! A connection that rests owns no buffer. Those that a turn needs are its thread's; only what is left over, a part of
//! a query or answers that the client does not take yet, is the connection's own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::sleep_until;

use super::places::Place;
use super::transfers::{Next, UnderWay};
use super::{LINGER, Stop, frames, stopped};
use crate::answer::{Asked, Client, Outcome, Rcode, Transport};
use crate::net::composing::answered_transfer;
use crate::net::deferred::{Waiting, refresh};
use crate::net::{Exchange, Path, Service, SharedService, TcpTimes};
use crate::transfer::Begun;
use crate::tsig;

/// Octets that are read in a turn: some hundreds of queries, which others wait for.
const QUERIES_OCTETS: usize = 16 * 1024;
/// Octets of answers after which a turn ends. A client that does not read is owed this and one answer at most.
const ANSWERS_OCTETS: usize = 32 * 1024;
/// Octets of a transfer after which a turn ends, as a rule with the first message: to make its records takes longer than
/// to answer as many octets of queries.
const TRANSFERRED_OCTETS: usize = 8 * 1024;
/// Queries of one connection that may wait for other servers at a time.
const WAITING_MAX: usize = 64;
/// How long a connection that is not read from waits for the next late answer; longer than any lookup takes.
const WAIT_MAX: Duration = Duration::from_secs(15);

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        queries: vec![0; QUERIES_OCTETS],
        answer: Vec::new(),
        answers: Vec::new(),
    });
}

/// What a turn needs.
struct Scratch {
    queries: Vec<u8>,
    answer: Vec<u8>,
    /// Answers are gathered here for one `write`.
    answers: Vec<u8>,
}

/// Answers to queries that had to wait, in the order in which they come (RFC 7766 section 6.2.1.1).
struct Late {
    sender: mpsc::UnboundedSender<Vec<u8>>,
    receiver: mpsc::UnboundedReceiver<Vec<u8>>,
    /// Queries that wait.
    waiting: usize,
}

/// How a turn ended, unless there is nothing to do.
enum Turn {
    /// There may be more to do, after the others' turns.
    More,
    /// The client takes no more answers for now.
    Stalled,
    /// The connection is to be closed.
    Ended,
}

pub(super) struct Connection {
    stream: TcpStream,
    pub(super) client: SocketAddr,
    service: SharedService,
    place: Place,
    /// What has arrived and could not be answered: a part of a query, or queries for which there was no room.
    kept: Vec<u8>,
    /// Answers that the client has not taken. While there are any, nothing is read.
    unsent: Vec<u8>,
    /// Only while queries wait.
    late: Option<Late>,
    /// Only while a transfer is under way. Until it ends nothing is read.
    transfer: Option<Box<UnderWay>>,
    /// Queries that may still come, at least 1 while any are read; `None` is any number.
    queries_left: Option<u64>,
    /// Whether queries are read.
    is_open: bool,
    /// Whether all connections are to end.
    is_ending: bool,
    /// When it has rested, or stalled, for too long.
    deadline: Instant,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, client: SocketAddr, service: SharedService, place: Place) -> Self {
        let TcpTimes { first_read, queries: queries_left, .. } = service.now().tcp;
        let deadline = Instant::now() + first_read;
        let (kept, unsent) = (Vec::new(), Vec::new());
        let (late, transfer) = (None, None);
        Self {
            stream,
            client,
            service,
            place,
            kept,
            unsent,
            late,
            transfer,
            queries_left,
            is_open: true,
            is_ending: false,
            deadline,
        }
    }

    pub(super) async fn serve(&mut self, mut stop: Stop) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut stopped = pin!(stopped(&mut stop));
        // A deadline that moves away leaves the alarm as it is: it is set again when it rings too early.
        let mut alarm = pin!(sleep_until(self.deadline.into()));
        let mut has_more = false;
        loop {
            tokio::select! {
                biased;
                () = yield_now(), if has_more => has_more = false,
                turn = poll_fn(|cx| SCRATCH.with_borrow_mut(|scratch| self.poll_turn(scratch, cx))), if !has_more => {
                    match turn? {
                        Turn::More => has_more = true,
                        Turn::Stalled => {}
                        Turn::Ended => return Ok(()),
                    }
                }
                () = &mut stopped, if !self.is_ending => {
                    self.is_ending = true;
                    self.deadline = Instant::now() + LINGER;
                }
                () = &mut alarm => if self.has_expired() {
                    return Ok(());
                },
            }
            if self.deadline < alarm.deadline().into_std() || alarm.is_elapsed() {
                alarm.as_mut().reset(self.deadline.into());
            }
        }
    }

    /// Answers what has arrived, until there is nothing to do or others have to have their turn.
    fn poll_turn(&mut self, scratch: &mut Scratch, cx: &mut Context<'_>) -> Poll<io::Result<Turn>> {
        loop {
            if !self.unsent.is_empty() {
                ready!(self.poll_unsent(cx))?;
            }
            let Scratch { queries, answer, answers } = &mut *scratch;
            answers.clear();
            self.take_late(answers, cx);
            self.take_transferred(answer, answers, cx);
            let mut fresh = ReadBuf::new(queries);
            if self.is_open && self.has_room() && !self.has_query() {
                match Pin::new(&mut self.stream).poll_read(cx, &mut fresh) {
                    // A client may close its side and still read (RFC 7766 section 6.2.4).
                    Poll::Ready(Ok(())) if fresh.filled().is_empty() => {
                        self.is_open = false;
                        self.deadline = Instant::now() + WAIT_MAX;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            let fresh = fresh.filled();
            if answers.is_empty() && fresh.is_empty() && !(self.has_query() && self.has_room()) {
                let is_done = !self.is_open && self.late.is_none() && self.transfer.is_none();
                return if is_done { Poll::Ready(Ok(Turn::Ended)) } else { Poll::Pending };
            }
            let now = Instant::now();
            let has_asked = self.take(fresh, now, answer, answers);
            if has_asked {
                self.place.asked(now);
            }
            // The clock runs for a whole query: one octet now and then does not hold a connection.
            if (has_asked || !answers.is_empty()) && !(self.is_ending && self.is_open) {
                self.deadline = now + self.rest();
            }
            if !self.send(answers, cx)? {
                self.deadline = now + self.service.now().tcp.write;
                return Poll::Ready(Ok(Turn::Stalled));
            }
            let goes_on = self.transfer.as_ref().is_some_and(|transfer| transfer.is_running());
            if fresh.len() == QUERIES_OCTETS || self.has_query() && self.has_room() || goes_on {
                return Poll::Ready(Ok(Turn::More));
            }
        }
    }

    /// Answers the whole queries of what was kept and what is fresh, as far as there is room; whether there was one.
    fn take(&mut self, fresh: &[u8], now: Instant, answer: &mut Vec<u8>, answers: &mut Vec<u8>) -> bool {
        let mut kept = std::mem::take(&mut self.kept);
        let fresh = frames::complete(&mut kept, fresh);
        let from_kept = self.answer(&kept, now, answer, answers);
        kept.drain(..from_kept);
        if !kept.is_empty() {
            kept.extend_from_slice(fresh);
            self.kept = kept;
            return from_kept > 0;
        }
        let from_fresh = self.answer(fresh, now, answer, answers);
        self.kept = fresh[from_fresh..].to_vec();
        from_kept + from_fresh > 0
    }

    /// Answers whole queries; how many octets those were.
    fn answer(&mut self, queries: &[u8], now: Instant, answer: &mut Vec<u8>, answers: &mut Vec<u8>) -> usize {
        let transport = Transport::Tcp;
        let service = self.service.held();
        let is_watched = service.observer.is_watching();
        let responder = &service.responder;
        let (mut prepared, mut composed) = (0, 0);
        let mut rest = queries;
        while answers.len() < ANSWERS_OCTETS
            && self.has_room()
            && let Some(packet) = frames::first(rest)
        {
            let (mut outcome, is_prepared) = responder.respond_telling(packet, Client::tcp(self.client), answer);
            let count = if is_prepared { &mut prepared } else { &mut composed };
            if let Outcome::Refreshing(_, refreshes) = &mut outcome {
                refresh(&service, std::mem::take(refreshes));
            }
            match outcome {
                Outcome::Ignored => {}
                Outcome::Dropped(dropped) => {
                    let exchange = Exchange { client: &self.client, transport, took: now.elapsed(), response: &[] };
                    service.observer.answered(&exchange, &dropped);
                }
                Outcome::Answered(answered) | Outcome::Refreshing(answered, _) => {
                    if is_watched {
                        let exchange =
                            Exchange { client: &self.client, transport, took: now.elapsed(), response: answer };
                        service.observer.answered(&exchange, &answered);
                        *count += 1;
                    }
                    frames::append(answers, answer);
                }
                Outcome::Deferred(deferred) => {
                    let (packet, client) = (packet.to_vec(), self.client);
                    self.wait(&service, Waiting { packet, client, transport, received: now, deferred });
                }
                Outcome::Transfer(asked) => self.begin_transfer(&service, asked, now, answer, answers),
            }
            rest = frames::behind_first(rest);
            if let Some(left) = &mut self.queries_left {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    // What has come behind the last one is not read.
                    self.is_open = false;
                    rest = &[];
                }
            }
        }
        for (path, answers) in [(Path::Prepared, prepared), (Path::Composed, composed)] {
            if answers > 0 {
                service.observer.went(path, answers);
            }
        }
        queries.len() - rest.len()
    }

    fn wait(&mut self, service: &Arc<Service>, waiting: Waiting) {
        let late = self.late.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            Late { sender, receiver, waiting: 0 }
        });
        let sender = late.sender.clone();
        let waits = waiting.start(service, move |answer| {
            // The connection may be gone by then.
            let _ = sender.send(answer);
        });
        late.waiting += usize::from(waits);
    }

    /// Begins a transfer, or says at once what there is to say.
    fn begin_transfer(
        &mut self,
        service: &Arc<Service>,
        mut asked: Asked,
        now: Instant,
        answer: &mut Vec<u8>,
        answers: &mut Vec<u8>,
    ) {
        let transfers = &service.transferring.transfers;
        match transfers.begin(&mut asked, self.client.ip(), Transport::Tcp, answer, tsig::now()) {
            Begun::Answered { rcode, flags } => {
                self.tell(service, (&asked.packet, asked.block), (rcode, flags), now, answer);
                frames::append(answers, answer);
            }
            Begun::Stream(stream) => {
                let asked = (asked.packet, asked.block);
                self.transfer = Some(Box::new(UnderWay::new(service, stream, self.client.ip(), asked)));
                self.deadline = now + WAIT_MAX;
            }
        }
    }

    /// Makes messages of the transfer that is under way.
    fn take_transferred(&mut self, answer: &mut Vec<u8>, answers: &mut Vec<u8>, cx: &mut Context<'_>) {
        let Some(mut transfer) = self.transfer.take() else { return };
        while answers.len() < TRANSFERRED_OCTETS {
            match transfer.poll_next(answer, cx) {
                Next::Wait => break,
                Next::End => return,
                Next::Broken => {
                    self.is_open = false;
                    self.kept.clear();
                    return;
                }
                Next::Message { is_first } => {
                    if is_first {
                        let flags = answer.get(2..4).map_or(0, |flags| u16::from_be_bytes([flags[0], flags[1]]));
                        let ended = (Rcode(flags & 0xf), flags);
                        let asked = (&*transfer.packet, transfer.block);
                        self.tell(&transfer.service, asked, ended, transfer.begun, answer);
                    }
                    frames::append(answers, answer);
                }
            }
        }
        self.transfer = Some(transfer);
    }

    /// Tells of an answer to a question for a transfer: of a stream, of its first message.
    fn tell(
        &self,
        service: &Service,
        (packet, block): (&[u8], usize),
        (rcode, flags): (Rcode, u16),
        begun: Instant,
        response: &[u8],
    ) {
        if service.observer.is_watching()
            && let Some(answered) = answered_transfer(packet, block, rcode, flags)
        {
            let (client, transport, took) = (&self.client, Transport::Tcp, begun.elapsed());
            service.observer.answered(&Exchange { client, transport, took, response }, &answered);
            service.observer.went(Path::Composed, 1);
        }
    }

    fn take_late(&mut self, answers: &mut Vec<u8>, cx: &mut Context<'_>) {
        let Some(late) = &mut self.late else { return };
        while late.waiting > 0
            && answers.len() < ANSWERS_OCTETS
            && let Poll::Ready(Some(answer)) = late.receiver.poll_recv(cx)
        {
            late.waiting -= 1;
            frames::append(answers, &answer);
        }
        if late.waiting == 0 {
            self.late = None;
        }
    }

    /// Writes answers, and keeps those that the client does not take; whether it took all.
    ///
    /// They stand in one piece. A `writev` of lengths and answers where they are measured 1.1 to 1.8 times as dear for 2
    /// to 100 answers of 300 octets, 1.0 to 1.2 times of 1,200; only beyond some thousand octets, which are rare, does
    /// the copy cost more than two more pieces do.
    fn send(&mut self, answers: &[u8], cx: &mut Context<'_>) -> io::Result<bool> {
        if answers.is_empty() {
            return Ok(true);
        }
        let written = match Pin::new(&mut self.stream).poll_write(cx, answers) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.unsent = answers[written..].to_vec();
        Ok(self.unsent.is_empty())
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.unsent.drain(..written)),
            }
        }
        self.unsent = Vec::new();
        self.deadline = Instant::now() + self.rest();
        Poll::Ready(Ok(()))
    }

    /// Whether a whole query is kept.
    fn has_query(&self) -> bool {
        frames::first(&self.kept).is_some()
    }

    /// Whether one more query may wait for other servers, and no transfer is under way. A client that has enough of them has to wait itself.
    fn has_room(&self) -> bool {
        self.transfer.is_none() && self.late.as_ref().is_none_or(|late| late.waiting < WAITING_MAX)
    }

    /// How long it may take until something happens.
    fn rest(&self) -> Duration {
        match self.is_open {
            false => WAIT_MAX,
            true if self.is_ending => LINGER,
            true => self.service.now().tcp.idle,
        }
    }

    /// Whether it is over. A client that sends no more still gets the answers that it waits for.
    fn has_expired(&mut self) -> bool {
        let now = Instant::now();
        if now < self.deadline {
            return false;
        }
        if !self.is_open || !self.unsent.is_empty() || self.late.is_none() && self.transfer.is_none() {
            return true;
        }
        self.is_open = false;
        self.deadline = now + WAIT_MAX;
        false
    }
}
