//! What the server answers is what it transfers: a server under the same Corefile gives its zones. Every record of a
//! positive answer stands in the zone that its owner falls into, and every record of the zones is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::compare::canonical;
use crate::configurations::Configuration;
use crate::names::Shape;
use crate::outside;
use crate::pair::wait_for_name;
use crate::questions::Question;
use crate::support::dns::{self, Message, Query, Record, Tcp};
use crate::support::server::{Program, Server};
use crate::support::wait_for;
use crate::support::xfr;

/// Names that may be only a way to ask, and have no end (docs/transfer.md).
const ENDLESS: [Shape; 4] = [Shape::PortVariant, Shape::PodVariant, Shape::ReverseVariant, Shape::Mutated];
const CUT_WITHIN: Duration = Duration::from_secs(10);
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// The zones of a server, fetched as they are needed.
pub(crate) struct Transferred {
    configuration: &'static Configuration,
    server: Server,
    /// By name; none where there is no such zone.
    zones: BTreeMap<String, Option<BTreeSet<Record>>>,
    /// Records that were looked for.
    pub(crate) looked_for: usize,
}

impl Transferred {
    /// Starts a server that gives away the zones of a Corefile.
    pub(crate) fn start(configuration: &'static Configuration, corefile: &str, markers: &[String]) -> Self {
        let lines = corefile.lines().map(|line| match line.trim_start().starts_with("kubernetes") {
            true => format!("transfer {{\n to *\n}}\n{line}\n"),
            false => format!("{line}\n"),
        });
        let server = Program::Podzone.start(&lines.collect::<String>());
        for name in markers {
            wait_for_name(server.addr(), configuration.name, name);
            // What is answered is cut a moment later.
            if let Some((_, zone)) = name.split_once(".svc.") {
                let cut = || xfr::axfr(server.addr(), zone).map_err(|rcode| format!("rcode {rcode}"));
                wait_for(&format!("a version of {zone}"), CUT_WITHIN, cut);
            }
        }
        Self { configuration, server, zones: BTreeMap::new(), looked_for: 0 }
    }

    /// Looks for every record of an answer; what is not there.
    pub(crate) fn missing(&mut self, question: &Question, answer: &Message) -> Vec<String> {
        let is_cluster_own = answer.rcode == dns::NOERROR && answer.authoritative() && answer.opt_count <= 1;
        let is_made_up = question.shape == Shape::Pod && self.configuration.makes_pods_up(&question.query.name);
        if !is_cluster_own || ENDLESS.contains(&question.shape) || is_made_up {
            return Vec::new();
        }
        let answers: Vec<Record> = answer.answers.iter().map(canonical).collect();
        let additionals = answer.additionals.iter().map(canonical);
        let records = answers.iter().cloned().chain(additionals);
        let asked = answers.first().map(|record| record.owner.clone()).unwrap_or_default();
        let missing = records.filter(|record| self.lacks(record, record.owner == asked));
        missing.map(|record| format!("{question:?}: {record}")).collect()
    }

    fn lacks(&mut self, record: &Record, is_asked: bool) -> bool {
        // What others were asked for, and where an alias leads to, is in no zone.
        let Some(zone) = self.zone_of(&record.owner) else { return !self.configuration.forwards() };
        let Some(held) = &self.zones[&zone] else { return true };
        self.looked_for += 1;
        if held.contains(record) || outside::has(record) {
            return false;
        }
        let holds = |name: &str| held.iter().any(|other| other.owner == name);
        let has_others = holds(&record.owner);
        let is_excused = match record.rtype {
            // What is preferred to a topology zone without endpoints is all that there is elsewhere.
            _ if record.owner.contains(".prefer._zone.") => !holds(&record.owner.replace(".prefer.", ".pin.")),
            // An alias among aliases or addresses: only one of them can stand in a zone.
            dns::CNAME => has_others,
            // An alias may lead to a name that is only a way to ask.
            _ => !is_asked && !has_others,
        };
        !is_excused
    }

    /// Asks for every record of every zone that was fetched; those that are not answered.
    pub(crate) fn unconfirmed(&self) -> Vec<String> {
        let mut connection = Tcp::connect(self.server.addr(), ANSWERS_WITHIN).expect("a connection");
        let records = self.zones.values().flatten().flatten();
        let mut sets: BTreeMap<(&str, u16), Vec<&Record>> = BTreeMap::new();
        records.for_each(|record| sets.entry((&record.owner, record.rtype)).or_default().push(record));
        let mut unconfirmed = Vec::new();
        for ((owner, rtype), set) in sets {
            connection.send(&Query::new(owner, rtype).to_bytes()).expect("a query is sent");
            let answer = Message::decode(&connection.receive().expect("an answer")).expect("a message");
            let answered: BTreeSet<Record> = answer.answers.iter().map(canonical).collect();
            // Some are more than a message holds.
            let lacks = |record: &&Record| !answer.truncated() && !answered.contains(*record);
            let rcode = answer.rcode;
            unconfirmed.extend(set.into_iter().filter(lacks).map(|record| format!("{record}: rcode {rcode}")));
        }
        unconfirmed
    }

    /// The longest zone that a name is in.
    fn zone_of(&mut self, name: &str) -> Option<String> {
        let starts = [0].into_iter().chain(name.match_indices('.').map(|(at, _)| at + 1));
        let above: Vec<&str> = starts.map(|at| &name[at..]).filter(|it| !it.is_empty()).collect();
        let mut longest = None;
        for zone in above.into_iter().rev() {
            let server = self.server.addr();
            let held = self.zones.entry(zone.to_owned()).or_insert_with(|| fetch(server, zone));
            if held.is_some() {
                longest = Some(zone.to_owned());
            }
        }
        longest
    }
}

fn fetch(server: SocketAddr, zone: &str) -> Option<BTreeSet<Record>> {
    Some(xfr::axfr(server, zone).ok()?.zone().iter().map(canonical).collect())
}
