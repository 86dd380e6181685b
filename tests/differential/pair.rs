//! Two servers under the same Corefile, asked the same.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::ask::{Answers, Asker, Outcome};
use crate::cluster::{Cluster, Markers};
use crate::compare::{Aspect, Transport, differences};
use crate::configurations::Configuration;
use crate::differences::{Difference, Entry};
use crate::questions::Question;
use crate::report::Tally;
use crate::support::dns::{self, Query};
use crate::support::server::{Program, Server};
use crate::transferred::Transferred;

/// Clients of each pair.
const THREADS: usize = 2;
/// How long servers may be apart after a change: each watches the API for itself.
const SETTLES_WITHIN: Duration = Duration::from_secs(3);
const SYNC_LIMIT: Duration = Duration::from_secs(30);

/// The reference and the server under test.
pub(crate) struct Pair {
    pub(crate) configuration: &'static Configuration,
    theirs: Server,
    ours: Server,
}

impl Pair {
    /// Starts both, and does not wait.
    pub(crate) fn spawn(ours: Program, configuration: &'static Configuration, corefile: &str) -> Self {
        let spawn = |program| Server::spawn(program, corefile, &[]);
        Self { configuration, theirs: spawn(Program::CoreDns), ours: spawn(ours) }
    }

    pub(crate) fn wait_until_they_answer(&mut self) {
        self.theirs.wait_until_it_answers();
        self.ours.wait_until_it_answers();
    }

    /// Waits until both have seen everything that was written before the markers of this round.
    pub(crate) fn wait_for_markers(&self, cluster: &Cluster, round: usize) {
        let markers = Markers::new(cluster, round);
        for server in [&self.theirs, &self.ours] {
            for name in self.configuration.marker_names(&markers) {
                wait_for_name(server.addr(), self.configuration.name, &name);
            }
        }
    }

    /// Asks both all questions, and looks in a transfer for what the server under test answers.
    pub(crate) fn compare(&self, questions: &[Question], entries: &[Entry], transferred: Option<Transferred>) -> Tally {
        let next = AtomicUsize::new(0);
        let tally = Mutex::new(Tally::default());
        let transferred = transferred.map(Mutex::new);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let mut client = Client {
                        pair: self,
                        transferred: transferred.as_ref(),
                        theirs: Asker::new(self.theirs.addr()),
                        ours: Asker::new(self.ours.addr()),
                    };
                    while let Some(question) = questions.get(next.fetch_add(1, Ordering::Relaxed)) {
                        client.compare(question, entries, &tally);
                    }
                });
            }
        });
        let mut tally = tally.into_inner().expect("no client panicked");
        if let Some(transferred) = transferred {
            let transferred = transferred.into_inner().expect("no client panicked");
            tally.transferred += transferred.looked_for;
            for record in transferred.unconfirmed() {
                tally.mismatch(|| format!("=== {}: not answered: {record}", self.configuration.name));
            }
        }
        tally
    }
}

/// NOERROR is enough: a namespace's name has no records.
pub(crate) fn wait_for_name(server: SocketAddr, configuration: &str, name: &str) {
    crate::support::wait_for(&format!("{configuration}: {name} at {server}"), SYNC_LIMIT, || {
        match dns::ask(server, &Query::new(name, dns::A)) {
            Ok(message) if message.rcode == dns::NOERROR => Ok(()),
            Ok(message) => Err(message.to_string()),
            Err(error) => Err(error.to_string()),
        }
    });
}

struct Client<'a> {
    pair: &'a Pair,
    transferred: Option<&'a Mutex<Transferred>>,
    theirs: Asker,
    ours: Asker,
}

impl Client<'_> {
    fn compare(&mut self, question: &Question, entries: &[Entry], tally: &Mutex<Tally>) {
        let lock = || tally.lock().expect("no client panicked");
        let configuration = self.pair.configuration;
        let (ours, theirs) = self.ask(question);
        lock().count(configuration.name, question, &theirs);
        if let (Some(transferred), Some(answer)) = (self.transferred, ours.tcp.answer()) {
            let missing = transferred.lock().expect("no client panicked").missing(question, answer);
            for record in missing {
                lock().mismatch(|| format!("=== {}: not transferred: {record}", configuration.name));
            }
        }
        match verdict(question, configuration, &ours, &theirs, entries) {
            Verdict::Equal => return,
            Verdict::Explained(id) => return lock().explain(id),
            Verdict::Different(_) if lock().is_hopeless() => return lock().mismatch(String::new),
            Verdict::Different(_) => {}
        }
        let begin = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let (ours, theirs) = self.ask(question);
            match verdict(question, configuration, &ours, &theirs, entries) {
                Verdict::Equal => {
                    eprintln!("settled late: {}", question.dig(self.pair.theirs.addr(), false));
                    return lock().settled += 1;
                }
                Verdict::Explained(id) => return lock().explain(id),
                Verdict::Different(_) if begin.elapsed() < SETTLES_WITHIN => {}
                Verdict::Different(found) => {
                    return lock().mismatch(|| self.mismatch(question, &found, &ours, &theirs));
                }
            }
        }
    }

    fn ask(&mut self, question: &Question) -> (Answers, Answers) {
        self.theirs.start(question);
        self.ours.start(question);
        let ours = self.ours.finish(question);
        (ours, self.theirs.finish(question))
    }

    fn mismatch(&self, question: &Question, found: &Found, ours: &Answers, theirs: &Answers) -> String {
        let mut text = format!("=== {:?}, configuration {}", question.shape, self.pair.configuration.name);
        for (index, (transport, aspects)) in found.iter().enumerate() {
            let tcp = *transport == Transport::Tcp;
            text += &format!("\n{transport:?} differs in {aspects:?}");
            if index > 0 && found[0].1 == *aspects {
                continue;
            }
            let of = |it: &Answers| shown(if tcp { &it.tcp } else { &it.udp });
            let dig = question.dig(self.pair.theirs.addr(), tcp);
            text += &format!("\n{dig}\n--- reference\n{}\n--- under test\n{}", of(theirs), of(ours));
        }
        text
    }
}

fn shown(outcome: &Outcome) -> String {
    const LONGEST: usize = 3000;
    let mut text = match outcome {
        Outcome::Answer(message) => message.to_string(),
        other => format!("{other:?}"),
    };
    if text.len() > LONGEST {
        let end = (LONGEST..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        text.truncate(end);
        text += "\n…";
    }
    text
}

/// What differs, by transport.
pub(crate) type Found = Vec<(Transport, BTreeSet<Aspect>)>;

/// How two servers' answers to a question compare.
pub(crate) enum Verdict<'a> {
    Equal,
    /// By the entry of this id.
    Explained(&'a str),
    Different(Found),
}

/// Compares; every transport's difference must be explained.
pub(crate) fn verdict<'a>(
    question: &Question,
    configuration: &Configuration,
    ours: &Answers,
    theirs: &Answers,
    entries: &'a [Entry],
) -> Verdict<'a> {
    let found = differences(question, ours, theirs);
    let explanation = |(transport, aspects): &(Transport, BTreeSet<Aspect>)| {
        let (ours, theirs) = match transport {
            Transport::Udp => (&ours.udp, &theirs.udp),
            Transport::Tcp => (&ours.tcp, &theirs.tcp),
        };
        let difference = Difference { question, configuration, transport: *transport, aspects, ours, theirs };
        entries.iter().find(|it| it.allows(&difference)).map(|it| it.id.as_str())
    };
    let explanations: Option<Vec<&str>> = found.iter().map(explanation).collect();
    match explanations {
        None => Verdict::Different(found),
        Some(explanations) => explanations.first().map_or(Verdict::Equal, |id| Verdict::Explained(id)),
    }
}
