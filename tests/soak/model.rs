//! What the cluster holds, and which answers that allows.
//!
//! The cluster is made of units, each a Service and its slices, that share no name and no address. podzone hears of a
//! unit in two streams, Services and EndpointSlices, each in the order in which it was written, and of one before the
//! other. So a [`Track`] of each stream keeps the states from the last that podzone is known to have reached to the last
//! that was begun to be written, and an answer is right if some pair of such states gives it: exactly one where nothing
//! is being changed. While podzone lists, it takes object after object of the list, and what the list lacks goes at its
//! end: then each object may be in any of its own states.
//!
//! What podzone has reached, marks tell. A change in a stream ends with an object that is made, the next mark, and one
//! that is deleted, the last. podzone misses the last mark only when it has heard of that in its order, or at the end of
//! a list, and so has heard of everything before. Then the same is true of the next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use super::support::dns::{A, AAAA, Message, NOERROR, NXDOMAIN, PTR, SOA, SRV};

/// How a unit's Service resolves; the numbers choose among its addresses and its aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ClusterIp(u8),
    Headless,
    Alias(u8),
}

/// The stream of Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Services {
    pub(crate) service: Option<Kind>,
    pub(crate) mark: u32,
}

/// The stream of EndpointSlices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slices {
    pub(crate) slices: BTreeMap<u8, Slice>,
    pub(crate) mark: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Whether its label names another Service, which does not exist.
    pub(crate) is_elsewhere: bool,
    /// Pods, and whether they are ready.
    pub(crate) endpoints: BTreeMap<u16, bool>,
}

/// The states of a stream that podzone may be in.
#[derive(Debug)]
pub(crate) struct Track<T> {
    states: VecDeque<T>,
    /// The number of the first of `states`.
    first: u64,
    /// The number of the last that podzone is known to have reached.
    reached: u64,
}

/// Who asks notes what was reached before it asks; so many states later its answer has come.
const KEPT: usize = 1000;

impl<T: Clone + PartialEq> Track<T> {
    pub(crate) fn new(state: T) -> Self {
        Self { states: VecDeque::from([state]), first: 0, reached: 0 }
    }

    pub(crate) fn last(&self) -> &T {
        self.states.back().expect("a track is never empty")
    }

    fn last_number(&self) -> u64 {
        self.first + self.states.len() as u64 - 1
    }

    /// To be told before the write is sent.
    pub(crate) fn begin(&mut self, state: T) {
        self.states.push_back(state);
        while self.states.len() > KEPT && self.first < self.reached {
            self.states.pop_front();
            self.first += 1;
        }
    }

    /// podzone is known to have come to the first such state.
    pub(crate) fn reach(&mut self, is_it: impl Fn(&T) -> bool) {
        let from = (self.reached - self.first) as usize;
        if let Some(at) = self.states.iter().skip(from).position(is_it) {
            self.reached += at as u64;
        }
    }

    /// The last state that podzone is known to have come to.
    pub(crate) fn reached(&self) -> &T {
        &self.states[(self.reached - self.first) as usize]
    }

    /// How many states podzone may be in beside the one that it has reached.
    pub(crate) fn pending(&self) -> u64 {
        self.last_number() - self.reached
    }

    fn since(&self, number: u64) -> impl Iterator<Item = &T> + Clone {
        assert!(number >= self.first, "state {number} is forgotten, {} is the first", self.first);
        self.states.iter().skip((number - self.first) as usize)
    }
}

/// What may be asked of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Address,
    SixAddress,
    Port,
    Endpoint(u16),
    /// An endpoint's name below the Service that a slice may name instead.
    Elsewhere(u16),
    Pointer(u16),
    ClusterPointer(u8),
    Never,
}

/// An answer as far as it is compared: all but the order of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    rcode: u16,
    answers: BTreeSet<String>,
    additional: BTreeSet<String>,
    is_denial: bool,
}

/// The addresses that a unit's Service may have, and its aliases.
pub(crate) const VARIANTS: u8 = 4;

#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) number: u16,
    /// How many pods it may have; below 512.
    pub(crate) pods: u16,
    pub(crate) services: Track<Services>,
    pub(crate) slices: Track<Slices>,
}

/// What is thought of an answer.
pub(crate) enum Judgement {
    Right,
    /// Of those that are right while something is being changed.
    OneOfSome,
    /// These would have been right.
    Wrong(Vec<Answer>),
}

/// What podzone had reached of a unit when it was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    services: u64,
    slices: u64,
}

impl Unit {
    pub(crate) fn new(number: u16, pods: u16, service: Kind, slices: BTreeMap<u8, Slice>) -> Self {
        Self {
            number,
            pods,
            services: Track::new(Services { service: Some(service), mark: 1 }),
            slices: Track::new(Slices { slices, mark: 1 }),
        }
    }

    pub(crate) fn namespace(&self) -> String {
        format!("soak-{}", self.number % 3)
    }

    /// An object's name, as told by what stands before the unit's number.
    pub(crate) fn named(&self, what: &str) -> String {
        format!("{what}{}", self.number)
    }

    fn zone(&self, what: &str) -> String {
        format!("{}.{}.svc.cluster.local.", self.named(what), self.namespace())
    }

    pub(crate) fn pod_address(&self, pod: u16) -> Ipv4Addr {
        (u32::from(Ipv4Addr::new(10, 64, 0, 0)) + u32::from(self.number) * 512 + u32::from(pod) + 1).into()
    }

    pub(crate) fn cluster_address(&self, variant: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 98 + (self.number >> 8) as u8, self.number as u8, variant + 1)
    }

    pub(crate) fn alias(variant: u8) -> String {
        format!("target-{variant}.elsewhere.test.")
    }

    /// The Service of the mark of Services.
    pub(crate) fn services_mark(&self, mark: u32) -> String {
        format!("{}-{mark}", self.named("ms"))
    }

    /// The slice of the mark of slices, all of one Service, and the pod in it.
    pub(crate) fn slices_mark(&self, mark: u32) -> String {
        format!("{}-{mark}", self.named("ml"))
    }

    /// The names that exist as long as the marks of these states.
    pub(crate) fn mark_names(&self, services: &Services, slices: &Slices) -> [String; 2] {
        let below = format!("{}.svc.cluster.local.", self.namespace());
        let (of_services, of_slices) = (self.services_mark(services.mark), self.slices_mark(slices.mark));
        [format!("{of_services}.{below}"), format!("{of_slices}.{}.{below}", self.named("ml"))]
    }

    /// All that may be asked of it.
    pub(crate) fn questions(&self) -> Vec<Question> {
        let of_pods =
            (0..self.pods).flat_map(|pod| [Question::Endpoint(pod), Question::Elsewhere(pod), Question::Pointer(pod)]);
        let pointers = (0..VARIANTS).map(Question::ClusterPointer);
        let fixed = [Question::Address, Question::SixAddress, Question::Port, Question::Never];
        fixed.into_iter().chain(pointers).chain(of_pods).collect()
    }

    /// Name and type.
    pub(crate) fn asked(&self, question: Question) -> (String, u16) {
        let reverse = |address: Ipv4Addr| {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        };
        match question {
            Question::Address => (self.zone("s"), A),
            Question::SixAddress => (self.zone("s"), AAAA),
            Question::Port => (format!("_http._tcp.{}", self.zone("s")), SRV),
            Question::Endpoint(pod) => (format!("p{pod}.{}", self.zone("s")), A),
            Question::Elsewhere(pod) => (format!("p{pod}.{}", self.zone("x")), A),
            Question::Pointer(pod) => (reverse(self.pod_address(pod)), PTR),
            Question::ClusterPointer(variant) => (reverse(self.cluster_address(variant)), PTR),
            Question::Never => (format!("never.{}", self.zone("s")), A),
        }
    }

    pub(crate) fn before(&self) -> Before {
        Before { services: self.services.reached, slices: self.slices.reached }
    }

    /// Whether an answer is right, to who asked when `before` was reached and has it now; else what would be.
    pub(crate) fn judge(&self, question: Question, before: Before, given: &Answer, lists: bool) -> Judgement {
        let mut allowed = self.allowed(question, before);
        if lists && !allowed.contains(given) {
            allowed = self.allowed_within_a_list(question, before);
        }
        match allowed.contains(given) {
            true if allowed.len() == 1 => Judgement::Right,
            true => Judgement::OneOfSome,
            false => Judgement::Wrong(allowed),
        }
    }

    /// What the states of the streams allow.
    fn allowed(&self, question: Question, before: Before) -> Vec<Answer> {
        let mut allowed: Vec<Answer> = Vec::new();
        for services in self.services.since(before.services) {
            for slices in self.slices.since(before.slices) {
                let answer = self.answer(question, services.service, slices);
                if !allowed.contains(&answer) {
                    allowed.push(answer);
                }
            }
        }
        allowed
    }

    /// What the states of the objects allow, each by itself.
    fn allowed_within_a_list(&self, question: Question, before: Before) -> Vec<Answer> {
        let mut mixed = vec![Slices::default()];
        let numbers: BTreeSet<u8> =
            self.slices.since(before.slices).flat_map(|state| state.slices.keys().copied()).collect();
        for number in numbers {
            let mut states: Vec<Option<&Slice>> = Vec::new();
            for state in self.slices.since(before.slices) {
                if !states.contains(&state.slices.get(&number)) {
                    states.push(state.slices.get(&number));
                }
            }
            let with = |mix: &Slices, slice: Option<&Slice>| {
                let mut mix = mix.clone();
                mix.slices.extend(slice.map(|slice| (number, slice.clone())));
                mix
            };
            mixed = mixed.iter().flat_map(|mix| states.iter().map(move |slice| with(mix, *slice))).collect();
        }
        let mut allowed: Vec<Answer> = Vec::new();
        for services in self.services.since(before.services) {
            for slices in &mixed {
                let answer = self.answer(question, services.service, slices);
                if !allowed.contains(&answer) {
                    allowed.push(answer);
                }
            }
        }
        allowed
    }

    /// The one answer of one state, after the Kubernetes DNS specification as CoreDNS reads it.
    fn answer(&self, question: Question, service: Option<Kind>, slices: &Slices) -> Answer {
        let (name, _) = self.asked(question);
        // Pairs, each as often as it is named: the weight of SRV records counts them.
        let ready = |elsewhere: bool| {
            let slices = slices.slices.values().filter(move |slice| slice.is_elsewhere == elsewhere);
            slices.flat_map(|slice| slice.endpoints.iter().filter(|(_, ready)| **ready).map(|(pod, _)| *pod))
        };
        let address = |owner: &str, address: Ipv4Addr| format!("{owner} 5 IN A {address}");
        let pod = |pod: u16| format!("p{pod}.{}", self.zone("s"));
        match (question, service) {
            (Question::Address, Some(Kind::ClusterIp(variant))) => {
                Answer::some([address(&name, self.cluster_address(variant))])
            }
            (Question::Address, Some(Kind::Headless)) => {
                Answer::some(ready(false).map(|pod| address(&name, self.pod_address(pod))))
            }
            (Question::Address | Question::SixAddress, Some(Kind::Alias(variant))) => {
                Answer::some([format!("{name} 5 IN CNAME {}", Self::alias(variant))])
            }
            (Question::SixAddress, Some(Kind::ClusterIp(_))) => Answer::nothing(NOERROR),
            (Question::SixAddress, Some(Kind::Headless)) if ready(false).next().is_some() => Answer::nothing(NOERROR),
            (Question::Port, Some(Kind::ClusterIp(variant))) => {
                let target = self.zone("s");
                let additional = BTreeSet::from([address(&target, self.cluster_address(variant))]);
                Answer { additional, ..Answer::some([format!("{name} 5 IN SRV 0 100 80 {target}")]) }
            }
            (Question::Port, Some(Kind::Headless)) => {
                let weight = (100 / ready(false).count().max(1)).max(1);
                let records = ready(false).map(|it| format!("{name} 5 IN SRV 0 {weight} 8080 {}", pod(it)));
                let additional = ready(false).map(|it| address(&pod(it), self.pod_address(it))).collect();
                Answer { additional, ..Answer::some(records) }
            }
            (Question::Endpoint(pod), Some(Kind::ClusterIp(_) | Kind::Headless)) => {
                Answer::some(ready(false).filter(|it| *it == pod).map(|it| address(&name, self.pod_address(it))))
            }
            (Question::Pointer(pod), _) => {
                let of = |what: &'static str, is_elsewhere| {
                    let names = ready(is_elsewhere).filter(|it| *it == pod);
                    names.map(move |it| format!("p{it}.{}", self.zone(what)))
                };
                Answer::some(of("s", false).chain(of("x", true)).map(|it| format!("{name} 5 IN PTR {it}")))
            }
            (Question::ClusterPointer(variant), Some(Kind::ClusterIp(known))) if known == variant => {
                Answer::some([format!("{name} 5 IN PTR {}", self.zone("s"))])
            }
            _ => Answer::nothing(NXDOMAIN),
        }
    }
}

impl Answer {
    /// These records, or no such name where there are none.
    fn some(records: impl IntoIterator<Item = String>) -> Self {
        let answers: BTreeSet<String> = records.into_iter().collect();
        if answers.is_empty() {
            return Self::nothing(NXDOMAIN);
        }
        Self { rcode: NOERROR, answers, ..Self::default() }
    }

    fn nothing(rcode: u16) -> Self {
        Self { rcode, is_denial: true, ..Self::default() }
    }

    /// What a message says.
    pub(crate) fn of(message: &Message) -> Self {
        Self {
            rcode: message.rcode,
            answers: message.answers.iter().map(ToString::to_string).collect(),
            additional: message.additionals.iter().map(ToString::to_string).collect(),
            is_denial: message.authorities.iter().map(|record| record.rtype).eq([SOA]),
        }
    }
}
