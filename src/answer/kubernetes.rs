//! Answers from a view: what each type of question gets at what stands at a name (plugin/kubernetes/handler.go and
//! plugin/backend_lookup.go).

use std::net::IpAddr;

use super::alias;
use super::fall::Fall;
use super::folded::Folded;
use super::locate::{Located, Pod, locate, locate_in_cluster, reverse_address};
use super::message::{Message, Owner, Section, address_type};
use super::query::{HEADER_OCTETS, Question, bits, rtype};
use super::rcode::Rcode;
use super::responder::Responder;
use crate::zone::contents::{SCHEMA_VERSION_AT, SCHEMA_VERSION_TTL_SECS, SOA_NAMES, SOA_TIMES, schema_version};
use crate::zone::faults::{Fault, planted};
use crate::zone::records::{Entry, Selected, weight};
use crate::zone::{Labels, Name, Snapshot, View};

/// A view's question: the zone that it falls into, and where.
pub(super) struct Asked<'a> {
    pub(super) view: &'a View,
    pub(super) content: &'a Snapshot,
    pub(super) zone: &'a Name,
    pub(super) zone_at: usize,
    pub(super) question: &'a Question<'a>,
    /// The question's name in lower case.
    pub(super) name: &'a [u8],
}

/// How an answer ends.
enum Ending {
    /// Records were written.
    Answered,
    /// The name exists, and there are no records to give.
    NoData,
    /// There is no such name.
    NameError,
    /// It is not for clients: transfers.
    Refused,
    /// A chain of aliases leaves all views.
    Elsewhere(Vec<alias::Record>),
}

/// What a view makes of a question.
pub(super) enum Verdict {
    /// It is answered, with this code.
    Answered(Rcode),
    /// It is for whoever comes next.
    PassedOn,
    /// The answer's end is elsewhere.
    Elsewhere(Vec<alias::Record>),
}

/// Answers a question from a view that its name falls into. Names that do not exist are passed on below the zones that
/// `fallthrough` names.
pub(super) fn answer(
    responder: &Responder,
    fall: Fall<'_>,
    question: &Question<'_>,
    name: &Folded,
    message: &mut Message<'_>,
) -> Verdict {
    let Fall { view, zone, zone_at } = fall;
    let content = &*view.current();
    let asked = Asked { view, content, zone, zone_at, question, name: name.as_wire() };
    let ending = match question.qtype {
        rtype::A | rtype::AAAA => asked.addresses(responder, message),
        rtype::SRV => asked.srv(message),
        rtype::PTR => asked.ptr(message),
        rtype::TXT => asked.txt(message),
        rtype::CNAME => asked.cname(message),
        rtype::SOA => asked.soa(message),
        rtype::NS if zone_at == 0 => asked.ns(message),
        rtype::AXFR | rtype::IXFR => Ending::Refused,
        _ => asked.nothing(),
    };
    match ending {
        Ending::Answered => {
            message.set(bits::AA);
            Verdict::Answered(Rcode::NOERROR)
        }
        Ending::Refused => Verdict::Answered(Rcode::REFUSED),
        Ending::NoData => Verdict::Answered(asked.deny(message, Rcode::NOERROR)),
        Ending::NameError if asked.is_passed_on() => Verdict::PassedOn,
        Ending::NameError => Verdict::Answered(asked.deny(message, Rcode::NXDOMAIN)),
        Ending::Elsewhere(chain) => Verdict::Elsewhere(chain),
    }
}

impl Asked<'_> {
    fn ttl(&self) -> u32 {
        self.view.options().ttl_secs
    }

    /// The TTL of what is selected of a Service.
    fn ttl_of(&self, selected: &Selected<'_>) -> u32 {
        selected.ttl_secs.unwrap_or_else(|| self.ttl())
    }

    fn locate(&self) -> Located<'_> {
        locate(self.view, self.content, self.name, self.zone_at)
    }

    /// Whether a name that does not exist goes to whoever comes next. Before everything was listed once, a name of the
    /// cluster may exist, and nobody else is to deny it; but a reverse zone is often all of the tree (kubeadm's is), and
    /// most of its addresses are none of the cluster's.
    fn is_passed_on(&self) -> bool {
        let known = self.content.is_synced() || self.zone.is_reverse();
        known && self.view.options().passes_on(self.name)
    }

    /// A denial. What is not known before everything was listed once may exist, or have more than is known of it, so that
    /// it is no denial then.
    pub(super) fn deny(&self, message: &mut Message<'_>, rcode: Rcode) -> Rcode {
        if !planted(Fault::NegativeNotAuthoritative) {
            message.set(bits::AA);
        }
        self.write_soa(message, Section::Authority);
        if self.content.is_synced() { rcode } else { Rcode::SERVFAIL }
    }

    /// Where the zone stands in the message: within the question, whose letters it so keeps.
    fn zone_at_in_message(&self) -> u16 {
        u16::try_from(HEADER_OCTETS + self.zone_at).unwrap_or_default()
    }

    fn write_soa(&self, message: &mut Message<'_>, section: Section) -> bool {
        let options = self.view.options();
        let ttl = match section {
            _ if planted(Fault::SoaTtlUncapped) => self.ttl(),
            Section::Authority => options.denial_ttl_secs(),
            _ => options.soa_ttl_secs(),
        };
        let zone = self.zone_at_in_message();
        message.record(section, Owner::At(zone), rtype::SOA, ttl, |message| {
            SOA_NAMES.iter().for_each(|labels| message.name_below(labels, zone));
            let [refresh, retry, expire] = SOA_TIMES;
            // The last is the negative TTL (RFC 2308 section 4).
            for word in [self.content.serial(), refresh, retry, expire, options.soa_minimum_secs()] {
                message.octets(&word.to_be_bytes());
            }
        })
    }

    fn soa(&self, message: &mut Message<'_>) -> Ending {
        if self.zone_at == 0 {
            self.write_soa(message, Section::Answer);
            return Ending::Answered;
        }
        if planted(Fault::SoaBelowApexNxdomain) { Ending::NameError } else { Ending::NoData }
    }

    fn addresses(&self, responder: &Responder, message: &mut Message<'_>) -> Ending {
        let qtype = self.question.qtype;
        let mut wrote = false;
        let mut write = |message: &mut Message<'_>, ttl: u32, address: IpAddr| {
            if address_type(address) == qtype {
                message.address(Section::Answer, Owner::QUESTION, ttl, address);
                wrote = true;
            }
        };
        match self.locate() {
            Located::Missing => return Ending::NameError,
            Located::Empty | Located::Drained => {}
            Located::NameServer => {
                let mut seen = Vec::new();
                for address in self.content.name_servers().addresses() {
                    if !seen.contains(&address) {
                        seen.push(address);
                        write(message, self.ttl(), address);
                    }
                }
            }
            Located::Pod(pod) => write(message, self.ttl(), pod.address),
            Located::Service(selected) => {
                if !selected.aliases.is_empty() {
                    return self.aliases(responder, &selected, message);
                }
                let ttl = self.ttl_of(&selected);
                for entry in selected.entries.iter().filter(|entry| entry.has(Entry::FIRST_ADDRESS)) {
                    write(message, ttl, entry.address);
                }
            }
        }
        if wrote { Ending::Answered } else { Ending::NoData }
    }

    /// Addresses by way of aliases.
    fn aliases(&self, responder: &Responder, selected: &Selected<'_>, message: &mut Message<'_>) -> Ending {
        let seen = alias::Seen { view: self.view, content: self.content, zone: self.zone };
        let chain = alias::follow(responder, seen, self.name, self.question.qtype, selected);
        if chain.iter().any(|record| matches!(record.data, alias::Data::Elsewhere { .. })) {
            return Ending::Elsewhere(chain);
        }
        alias::write(&chain, message);
        if chain.is_empty() { Ending::NoData } else { Ending::Answered }
    }

    fn srv(&self, message: &mut Message<'_>) -> Ending {
        match self.locate() {
            Located::Missing => Ending::NameError,
            Located::Empty | Located::Drained | Located::NameServer => Ending::NoData,
            Located::Pod(pod) => self.srv_of_pod(&pod, message),
            Located::Service(selected) => self.srv_of_service(&selected, message),
        }
    }

    /// A pod has an SRV record of its own, with port 0: CoreDNS gives it one (func findPods leaves the port unset).
    fn srv_of_pod(&self, pod: &Pod, message: &mut Message<'_>) -> Ending {
        let target = self.name.get(pod.at..).unwrap_or(&[]);
        let weight = weight(pod.pods);
        let mut target_at = None;
        message.record(Section::Answer, Owner::QUESTION, rtype::SRV, self.ttl(), |message| {
            target_at = write_srv(message, weight, 0, &[target]);
        });
        let owner = target_at.map_or(Owner::QUESTION, Owner::At);
        message.address(Section::Additional, owner, self.ttl(), pod.address);
        Ending::Answered
    }

    fn srv_of_service(&self, selected: &Selected<'_>, message: &mut Message<'_>) -> Ending {
        let weight = selected.weight();
        let (key, ttl) = (selected.key, self.ttl_of(selected));
        let zone = self.zone.as_wire();
        // Where each target was written first, for its glue to point to; entries are in the order of their targets.
        let mut targets: Vec<(u32, Option<u16>)> = Vec::new();
        let mut wrote = false;
        for entry in selected.entries.iter().filter(|entry| entry.has(Entry::FIRST_SRV)) {
            wrote = true;
            let mut at = None;
            let fits = message.record(Section::Answer, Owner::QUESTION, rtype::SRV, ttl, |message| {
                at = write_srv(message, weight, entry.port, &[selected.target(entry), key, b"\x03svc", zone]);
            });
            if !fits {
                return Ending::Answered;
            }
            if targets.last().is_none_or(|(target, _)| *target != entry.target) {
                targets.push((entry.target, at));
            }
        }
        if planted(Fault::AliasInSrv) {
            for alias in &selected.aliases {
                wrote = true;
                message.record(Section::Answer, Owner::QUESTION, rtype::SRV, ttl, |message| {
                    write_srv(message, weight, 0, &[alias.as_wire()]);
                });
            }
        }
        if !wrote {
            return Ending::NoData;
        }
        let mut targets = targets.into_iter().peekable();
        let service_at = self.service_at(key);
        for entry in selected.entries.iter().filter(|entry| entry.has(Entry::FIRST_GLUE)) {
            if planted(Fault::NoGlue) || planted(Fault::GlueIpv4Only) && entry.address.is_ipv6() {
                continue;
            }
            while targets.peek().is_some_and(|(target, _)| *target != entry.target) {
                targets.next();
            }
            let written = targets.peek().and_then(|(_, at)| *at);
            let owner = written.map_or_else(|| Owner::Below(selected.target(entry), service_at), Owner::At);
            if !message.address(Section::Additional, owner, ttl, entry.address) {
                break;
            }
        }
        Ending::Answered
    }

    /// Where the Service's own name stands in the message: at the end of the question.
    fn service_at(&self, key: &[u8]) -> u16 {
        u16::try_from((HEADER_OCTETS + self.zone_at).saturating_sub(key.len() + 4)).unwrap_or_default()
    }

    fn ptr(&self, message: &mut Message<'_>) -> Ending {
        let name = self.name;
        let Some(address) = reverse_address(&Folded::new(name)) else {
            return match locate_in_cluster(self.view, self.content, name, self.zone_at) {
                Located::Missing => Ending::NameError,
                _ => Ending::NoData,
            };
        };
        let mut is_known = false;
        if !self.content.is_synced() {
            // Some of its names are not all of them.
            self.content.pointers(address, |_| is_known = true);
            return if is_known { Ending::NoData } else { Ending::NameError };
        }
        let ttl = self.content.pointers_ttl_secs(address).unwrap_or_else(|| self.ttl());
        let primary = &self.view.options().primary;
        self.content.pointers(address, |pointed| {
            is_known = true;
            if let Some(target) = Name::join(&pointed.to_labels(), primary) {
                message.record(Section::Answer, Owner::QUESTION, rtype::PTR, ttl, |message| {
                    message.name(target.as_wire());
                });
            }
        });
        if is_known { Ending::Answered } else { Ending::NameError }
    }

    fn txt(&self, message: &mut Message<'_>) -> Ending {
        let name = self.name;
        if &name[..self.zone_at] == SCHEMA_VERSION_AT {
            let version = schema_version(self.view.options().multicluster);
            message.record(Section::Answer, Owner::QUESTION, rtype::TXT, SCHEMA_VERSION_TTL_SECS, |message| {
                message.octets(&[u8::try_from(version.len()).unwrap_or_default()]);
                message.octets(version);
            });
            return Ending::Answered;
        }
        // Only where other records stand does CoreDNS say that there is no text; elsewhere, even at the apex, it
        // denies the name (plugin/kubernetes/kubernetes.go, func Services).
        let something = match locate_in_cluster(self.view, self.content, name, self.zone_at) {
            Located::Pod(_) | Located::Drained => true,
            Located::Service(selected) => !selected.is_empty(),
            Located::Empty => planted(Fault::TxtAlwaysNodata),
            Located::Missing | Located::NameServer => false,
        };
        if something { Ending::NoData } else { Ending::NameError }
    }

    fn cname(&self, message: &mut Message<'_>) -> Ending {
        match self.locate() {
            Located::Missing => return Ending::NameError,
            Located::Service(selected) => {
                if let Some(alias) = selected.aliases.first().filter(|_| selected.entries.is_empty()) {
                    message.record(Section::Answer, Owner::QUESTION, rtype::CNAME, self.ttl_of(&selected), |message| {
                        message.name(alias.as_wire());
                    });
                    return Ending::Answered;
                }
            }
            Located::Empty | Located::Drained | Located::Pod(_) | Located::NameServer => {}
        }
        Ending::NoData
    }

    fn ns(&self, message: &mut Message<'_>) -> Ending {
        if !self.content.is_synced() {
            return Ending::NoData;
        }
        let servers = self.content.name_servers();
        // The zone's letter case is the question's, as in the SOA.
        let full = |labels: &Labels| [labels.as_wire(), self.question.name].concat();
        for (labels, _) in &servers.0 {
            message.record(Section::Answer, Owner::QUESTION, rtype::NS, self.ttl(), |message| {
                message.name(&full(labels));
            });
        }
        for (labels, addresses) in &servers.0 {
            for address in addresses {
                message.address(Section::Additional, Owner::Name(&full(labels)), self.ttl(), *address);
            }
        }
        if servers.0.is_empty() { Ending::NoData } else { Ending::Answered }
    }

    /// A type of which there are no records: the name exists or does not.
    fn nothing(&self) -> Ending {
        match self.locate() {
            Located::Missing => Ending::NameError,
            _ => Ending::NoData,
        }
    }
}

/// Writes SRV data; the target stands uncompressed (RFC 2782). Returns where the target begins.
fn write_srv(message: &mut Message<'_>, weight: u16, port: u16, target: &[&[u8]]) -> Option<u16> {
    for word in [0, weight, port] {
        message.octets(&word.to_be_bytes());
    }
    let at = message.position();
    for labels in target {
        message.octets(labels);
    }
    at
}
