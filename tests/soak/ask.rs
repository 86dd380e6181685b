//! Those who ask: some compare each answer with the model, and dnsperf asks much.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::model::{Answer, Judgement, Question, Unit};
use super::support::dns::{self, Message, Query};

/// As patient as a stub resolver, which asks again when an answer does not come: once here.
const PATIENCE: Duration = Duration::from_secs(3);
/// Wrong answers that are told in full.
const TOLD: usize = 10;

/// What came of all questions.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) asked: AtomicU64,
    /// Of those, the questions during which the unit was being changed.
    pub(crate) in_flight: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) wrong: AtomicU64,
    /// Whether podzone may list, and not only watch.
    pub(crate) lists: AtomicBool,
    told: Mutex<Vec<String>>,
}

impl Findings {
    fn is_wrong(&self, what: String) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().expect("no thread panics");
        if told.len() < TOLD {
            told.push(what);
        }
    }

    /// Panics if there was a wrong answer.
    pub(crate) fn assert_none_wrong(&self, log: &str) {
        let told = self.told.lock().expect("no thread panics");
        assert!(told.is_empty(), "{} wrong answers:\n{}\n{log}", self.wrong.load(Ordering::Relaxed), told.join("\n"));
    }
}

/// How a question is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Udp,
    UdpWithEdns,
    Tcp,
}

fn send(server: SocketAddr, query: &Query, way: Way) -> io::Result<Message> {
    let bytes = query.to_bytes();
    let answer = match way {
        Way::Udp | Way::UdpWithEdns => dns::udp_within(server, &bytes, PATIENCE)?,
        Way::Tcp => dns::tcp_within(server, &bytes, PATIENCE)?,
    };
    let answer = Message::decode(&answer).map_err(io::Error::other)?;
    // As a stub resolver takes a cut answer: the whole is asked for over TCP.
    if answer.truncated() { dns::ask_tcp(server, query) } else { Ok(answer) }
}

/// Asks, once more where nothing comes.
pub(crate) fn ask(server: SocketAddr, query: &Query, way: Way, findings: &Findings) -> io::Result<Message> {
    send(server, query, way).or_else(|_| {
        findings.repeated.fetch_add(1, Ordering::Relaxed);
        send(server, query, way)
    })
}

/// Asks one question and compares the answer with all that may be right.
pub(crate) fn check(server: SocketAddr, unit: &Mutex<Unit>, question: Question, way: Way, findings: &Findings) {
    let (before, (name, rtype)) = {
        let unit = unit.lock().expect("no thread panics");
        (unit.before(), unit.asked(question))
    };
    let query = Query::new(&name, rtype);
    let query = if matches!(way, Way::UdpWithEdns) { query.payload(1232) } else { query };
    let answer = ask(server, &query, way, findings);
    findings.asked.fetch_add(1, Ordering::Relaxed);
    let message = match answer {
        Ok(message) => message,
        Err(error) => return findings.is_wrong(format!("{question:?} by {way:?}, {name}: {error}")),
    };
    let lists = findings.lists.load(Ordering::SeqCst);
    let judged = unit.lock().expect("no thread panics").judge(question, before, &Answer::of(&message), lists);
    match judged {
        Judgement::Right => {}
        Judgement::OneOfSome => drop(findings.in_flight.fetch_add(1, Ordering::Relaxed)),
        Judgement::Wrong(allowed) => {
            findings.is_wrong(format!("{question:?} by {way:?}, lists: {lists}: {message}\nallowed: {allowed:#?}"));
        }
    }
}

/// Asks this and that until it is over.
pub(crate) fn keep_asking(
    server: SocketAddr,
    units: &[Mutex<Unit>],
    seed: u64,
    over: &AtomicBool,
    findings: &Findings,
) {
    let mut dice = StdRng::seed_from_u64(seed);
    let questions: Vec<Vec<Question>> =
        units.iter().map(|unit| unit.lock().expect("no thread panics").questions()).collect();
    while !over.load(Ordering::Relaxed) {
        let number = dice.random_range(0..units.len());
        // Half of what is asked is of the Service itself, which has few names beside its endpoints' many.
        let few = if dice.random() { 8 } else { questions[number].len() };
        let question = questions[number][dice.random_range(0..few)];
        let way = [Way::Udp, Way::Udp, Way::UdpWithEdns, Way::Tcp][dice.random_range(0..4)];
        check(server, &units[number], question, way, findings);
        std::thread::sleep(Duration::from_millis(1));
    }
}
