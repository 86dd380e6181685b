//! Cuts: a secondary that takes in what each changes holds what a transfer of all would give it, and each record of that
//! is what a query gets.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use podzone::answer::{Client, Responder, Transport};
use podzone::model::{Event, Filter, Kind, Namespace, Object, ObjectKey, Service, ServiceKind};
use podzone::zone::{Changes, Contents, Cut, Data, Name, Publisher, Record, Snapshot, View, ViewOptions, ZoneFilter};

use super::{Bench, Metadata, Source};

/// A secondary of all zones of a view.
pub(super) struct Secondary {
    zones: Vec<(ZoneFilter, HashSet<Record>)>,
    /// The last cut.
    latest: Option<Snapshot>,
    serials: Vec<u32>,
}

impl Secondary {
    pub(super) fn follow(publisher: &mut Publisher, index: usize, view: &Arc<View>) -> Arc<Mutex<Self>> {
        let zones = view.options().zones.iter().map(|zone| (ZoneFilter::new(view.options(), zone), HashSet::new()));
        let secondary = Arc::new(Mutex::new(Self { zones: zones.collect(), latest: None, serials: Vec::new() }));
        let (follower, view) = (Arc::clone(&secondary), Arc::clone(view));
        publisher.follow_cuts(index, Box::new(move |cut| follower.lock().unwrap().cut(&view, cut)));
        secondary
    }

    fn cut(&mut self, view: &Arc<View>, cut: &Cut<'_>) {
        assert_eq!(cut.before.is_none(), self.latest.is_none(), "the first cut is of all");
        let serial = cut.after.serial();
        if let Some(last) = self.serials.last() {
            assert!(serial.wrapping_sub(*last).cast_signed() > 0, "serial {last} to {serial}");
            assert!(!cut.delta.is_empty(), "nothing was cut");
        }
        self.serials.push(serial);
        self.latest = Some(cut.after.clone());
        let changes = Changes::of(view.options(), cut);
        for (filter, records) in &mut self.zones {
            if cut.before.is_none() {
                *records = contents(view, cut.after, filter);
                continue;
            }
            for record in changes.of_zone(filter, |side| &side.removed).filter(|record| is_of(filter, record)) {
                assert!(records.remove(record), "{}: {record:?} goes, and was not there", filter.zone());
            }
            for record in changes.of_zone(filter, |side| &side.added).filter(|record| is_of(filter, record)) {
                assert!(records.insert(record.clone()), "{}: {record:?} comes, and was there", filter.zone());
            }
        }
    }

    /// What it holds is all that there is.
    pub(super) fn check(&self, view: &Arc<View>) {
        let Some(latest) = &self.latest else { return };
        assert_eq!(view.current().serial(), latest.serial(), "the SOA speaks of the last cut");
        for (filter, records) in &self.zones {
            let whole = contents(view, latest, filter);
            let (lacks, has): (Vec<_>, Vec<_>) =
                (whole.difference(records).collect(), records.difference(&whole).collect());
            assert!(lacks.is_empty() && has.is_empty(), "{}: lacks {lacks:?}, has {has:?}", filter.zone());
        }
    }

    /// Each record that it holds is what a query gets; and what a query gets at one of its names, it holds.
    pub(super) fn check_answers(&self, responder: &Responder) {
        for (filter, records) in &self.zones {
            let held: BTreeSet<Answer> = records.iter().map(|record| answer_of(filter, record)).collect();
            let servers = ask(responder, filter.zone().as_wire(), 2);
            let owners: BTreeSet<Vec<u8>> = records.iter().map(|record| owner_of(filter, record)).collect();
            let mut answered = BTreeSet::new();
            for owner in &owners {
                for rtype in [1, 2, 5, 12, 16, 28, 33] {
                    let shown = text_of(owner);
                    let of_owner =
                        ask(responder, owner, rtype).into_iter().filter(|(name, of, _)| *name == shown && *of == rtype);
                    answered.extend(of_owner);
                }
            }
            let silent: Vec<_> =
                held.iter().filter(|held| !answered.contains(*held) && !servers.contains(*held)).collect();
            assert!(silent.is_empty(), "{}: held, and not answered: {silent:?}", filter.zone());
            let lacks: Vec<_> = answered.difference(&held).collect();
            assert!(lacks.is_empty(), "{}: answered, and not held: {lacks:?}", filter.zone());
        }
    }
}

/// A record: owner, type, data.
type Answer = (String, u16, Vec<u8>);

fn is_of(filter: &ZoneFilter, record: &Record) -> bool {
    filter.owner(record, &mut Vec::new())
}

/// All records of a zone, each once.
fn contents(view: &Arc<View>, content: &Snapshot, filter: &ZoneFilter) -> HashSet<Record> {
    let all: Vec<Record> = Contents::new(Arc::clone(view), content.clone(), filter.clone())
        .filter(|record| is_of(filter, record))
        .collect();
    let distinct: HashSet<Record> = all.iter().cloned().collect();
    assert_eq!(all.len(), distinct.len(), "{}: a record twice", filter.zone());
    distinct
}

fn owner_of(filter: &ZoneFilter, record: &Record) -> Vec<u8> {
    let mut owner = Vec::new();
    assert!(filter.owner(record, &mut owner));
    owner
}

fn text_of(name: &[u8]) -> String {
    Name::of_wire(name).expect("a name").to_string().to_lowercase()
}

/// A record as it is answered.
fn answer_of(filter: &ZoneFilter, record: &Record) -> Answer {
    let below = |labels: &[u8]| [labels, filter.zone().as_wire()].concat();
    let (rtype, data) = match &record.data {
        Data::Address(std::net::IpAddr::V4(address)) => (1, address.octets().to_vec()),
        Data::Address(std::net::IpAddr::V6(address)) => (28, address.octets().to_vec()),
        Data::Srv { weight, port, target } => {
            let words = [0, *weight, *port].map(u16::to_be_bytes).concat();
            (33, [words, below(target.as_wire())].concat())
        }
        Data::Alias(target) => (5, target.as_wire().to_vec()),
        Data::NameServer(target) => (2, below(target.as_wire())),
        Data::Ptr { target, .. } => (12, [target.as_wire(), b"\x07cluster\x05local\0"].concat()),
        Data::SchemaVersion => (16, [&[5], filter.schema_version()].concat()),
    };
    (text_of(&owner_of(filter, record)), rtype, data)
}

/// The answers and additional records that a question gets.
fn ask(responder: &Responder, name: &[u8], rtype: u16) -> BTreeSet<Answer> {
    let header = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let query = [&header[..], name, &rtype.to_be_bytes(), &[0, 1]].concat();
    let mut out = Vec::new();
    // What leads out of the zone is asked of others.
    let Some(_) = responder.respond(&query, Client::unknown(Transport::Tcp), &mut out).answered() else {
        return BTreeSet::new();
    };
    let message = Message::from_vec(&out).expect("a message");
    let wire = |record: &hickory_proto::rr::Record| {
        let mut octets = Vec::new();
        let mut encoder = hickory_proto::serialize::binary::BinEncoder::new(&mut octets);
        hickory_proto::serialize::binary::BinEncodable::emit(&record.data, &mut encoder).expect("data");
        (record.name.to_ascii().to_lowercase(), u16::from(record.record_type()), octets)
    };
    message.answers.iter().chain(&message.additionals).map(wire).collect()
}

fn service(name: &str, address: &str) -> Event {
    let kind = ServiceKind::ClusterIp(vec![address.parse().expect("an address")]);
    let (key, labels) = (ObjectKey::new("a", name), Metadata::new());
    Event::Apply(Object::Service(Service { key, labels, kind, ports: [].into(), has_selector: true, settings: None }))
}

/// A bench whose cluster was listed, and has a namespace.
fn listed() -> (Bench, Instant) {
    let mut bench = Bench::new();
    bench.take(Source::default().finish());
    bench.take(vec![Event::Apply(Object::Namespace(Namespace { name: "a".into(), labels: Metadata::new() }))]);
    bench.show();
    let now = bench.now;
    (bench, now)
}

fn serial(bench: &Bench) -> u32 {
    bench.views[0].current().serial()
}

#[test]
fn the_first_change_after_a_quiet_second_is_cut_at_once_and_the_others_at_its_end() {
    let (mut bench, begin) = listed();
    let at = |millis: u64| begin + Duration::from_millis(millis);
    let publish = |bench: &mut Bench, millis: u64, event: Event| {
        bench.take(vec![event]);
        bench.publisher.publish_at(at(millis));
        serial(bench)
    };
    let first = publish(&mut bench, 5000, service("web", "10.0.0.1"));
    for step in 1..10 {
        let address = format!("10.0.1.{step}");
        assert_eq!(publish(&mut bench, 5000 + 100 * step, service("web", &address)), first, "step {step}");
        assert_eq!(bench.publisher.cut_due(), Some(at(6000)));
    }
    bench.publisher.publish_at(at(5999));
    assert_eq!(serial(&bench), first);
    bench.publisher.publish_at(at(6000));
    let second = serial(&bench);
    assert_eq!(second, first + 1);
    assert_eq!(bench.publisher.cut_due(), None);
    assert_eq!(publish(&mut bench, 6500, service("db", "10.0.0.2")), second);
    bench.publisher.publish_at(at(7000));
    assert_eq!(serial(&bench), second + 1);
    assert_eq!(bench.cuts[0].lock().unwrap().serials.last(), Some(&(second + 1)));
}

#[test]
fn what_changed_and_changed_back_moves_no_serial() {
    let (mut bench, begin) = listed();
    bench.take(vec![service("web", "10.0.0.1")]);
    bench.publisher.publish_at(begin + Duration::from_secs(5));
    let before = serial(&bench);
    let delete = Event::Delete(Kind::Service, ObjectKey::new("a", "web"));
    for (millis, event) in [(5100, delete), (5200, service("web", "10.0.0.1"))] {
        bench.take(vec![event]);
        bench.publisher.publish_at(begin + Duration::from_millis(millis));
    }
    bench.publisher.publish_at(begin + Duration::from_secs(20));
    assert_eq!(serial(&bench), before);
    assert_eq!(bench.publisher.cut_due(), None, "and nothing is left to be cut");
}

#[test]
fn a_view_without_followers_is_cut_all_the_same() {
    let options = ViewOptions::new(vec![Name::parse("cluster.local").unwrap()]).unwrap();
    let view = Arc::new(View::new(options, 1000));
    let mut publisher = Publisher::new(vec![(Arc::clone(&view), Filter::default())], Kind::ALL.to_vec());
    for event in Source::default().finish() {
        publisher.handle(event);
    }
    let begin = Instant::now();
    publisher.publish_at(begin);
    let first = view.current().serial();
    assert!(first.wrapping_sub(1000).cast_signed() > 0);
    publisher.handle(Event::Apply(Object::Namespace(Namespace { name: "a".into(), labels: Metadata::new() })));
    publisher.publish_at(begin + Duration::from_secs(2));
    let second = view.current().serial();
    assert_ne!(second, first);
    publisher.publish_at(begin + Duration::from_secs(4));
    assert_eq!(view.current().serial(), second);
}
