//! What is answered ahead of the zones, in CoreDNS's order (plugin.cfg): `local`, `any`, `chaos`, and, after signatures,
//! `acl`.

use super::acl::{self, Acl, Action};
use super::edns;
use super::folded::Folded;
use super::message::{Message, Owner, Section};
use super::query::{HEADER_OCTETS, rtype};
use super::rcode::Rcode;
use super::responder::{Accepted, Answered, By, Outcome, Received, answered, begin, finish};

/// Those directives of a block.
#[derive(Clone, Debug, Default)]
pub struct Ahead {
    /// `local`
    pub local: Option<Local>,
    /// `any`: what asks for all records gets one that says why not (RFC 8482).
    pub any: bool,
    /// `chaos`
    pub chaos: Option<Chaos>,
    /// `acl`
    pub acl: Acl,
}

/// `local`: the names of this host alone (RFC 6761 section 6.3, RFC 6303).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Whether names that begin with `localhost.` are this host's: what a search list makes of `localhost`.
    pub prefix: bool,
}

/// `chaos`: what the server says of itself, in class CH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// For `version.bind` and `version.server`, at most 255 octets.
    pub version: String,
    /// For `authors.bind`, each at most 255 octets.
    pub authors: Vec<String>,
    /// For `hostname.bind` and `id.server`, at most 255 octets.
    pub host: String,
}

/// Class CH (RFC 1035 section 3.2.4).
const CLASS_CH: u16 = 3;
/// A week: the TTL of all records of `local`, in seconds (plugin/local/local.go).
const LOCAL_TTL_SECS: u32 = 604_800;
/// As it says what it stands for (plugin/any/any.go).
const ANY_TTL_SECS: u32 = 8482;
const ANY_HINFO: &[u8] = b"\x0dANY obsoleted\x0cSee RFC 8482";
const LOCALHOST: &[u8] = b"\x09localhost\0";
const LOCALHOST_ADDRESS: &[u8] = b"\x011\x010\x010\x03127\x07in-addr\x04arpa\0";
const LOCAL_ZONES: [&[u8]; 4] =
    [LOCALHOST, b"\x010\x07in-addr\x04arpa\0", b"\x03127\x07in-addr\x04arpa\0", b"\x03255\x07in-addr\x04arpa\0"];
/// Extended errors (RFC 8914 sections 4.16 and 4.18).
const BLOCKED: u16 = 15;
const FILTERED: u16 = 17;

impl Ahead {
    /// Answers a query, or lets it go on.
    pub(super) fn accept<'p, 'n>(&self, received: Received<'p, 'n>, out: &mut Vec<u8>) -> Accepted<'p, 'n> {
        let own = self.own(&received, out);
        // Whoever has to sign does so first.
        let outcome = match own {
            None if !received.is_guarded => self.refuse(&received, out),
            own => own,
        };
        match outcome {
            Some(Outcome::Answered(answered)) => Accepted::Answered(answered),
            Some(Outcome::Dropped(dropped)) => Accepted::Dropped(dropped),
            Some(_) => Accepted::Ignored,
            None => Accepted::Query(received),
        }
    }

    /// What `local`, `any` and `chaos` answer.
    fn own<'p>(&self, received: &Received<'p, '_>, out: &mut Vec<u8>) -> Option<Outcome<'p>> {
        let &Received { query, question, block, client, .. } = received;
        // Nothing is begun for a query that goes on, as nearly all do.
        let local = self.local.filter(|local| local.has(received.name));
        let is_any = self.any && question.qtype == rtype::ANY;
        let is_chaos = question.qclass == CLASS_CH && question.qtype == rtype::TXT;
        let chaos = self.chaos.as_ref().filter(|_| is_chaos);
        if local.is_none() && !is_any && chaos.is_none() {
            return None;
        }
        let mut message = begin(&query, block, client.transport, 0, out);
        let (rcode, by) = match (local.and_then(|local| local.answer(received, &mut message)), chaos) {
            (Some(rcode), _) => (rcode, By::Local),
            (None, _) if is_any => {
                message.record(Section::Answer, Owner::QUESTION, rtype::HINFO, ANY_TTL_SECS, |message| {
                    message.octets(ANY_HINFO);
                });
                (Rcode::NOERROR, By::Any)
            }
            (None, chaos) => {
                message = message.with_class(CLASS_CH);
                (chaos?.answer(received, &mut message)?, By::Chaos)
            }
        };
        let flags = finish(message, &query, rcode, block.terms());
        Some(Outcome::Answered(Answered { by, ..answered(query, Some(block.id), rcode, flags) }))
    }

    /// What `acl` makes of a query, if it does not let it go on.
    pub(super) fn refuse<'p>(&self, received: &Received<'p, '_>, out: &mut Vec<u8>) -> Option<Outcome<'p>> {
        let &Received { query, question, name, block, client, .. } = received;
        let by_acl = |rcode, flags| Answered { by: By::Acl, ..answered(query, Some(block.id), rcode, flags) };
        let (action, _) = acl::decide(&self.acl, name, question.qtype, client.address.ip());
        let (rcode, reason) = match action {
            Action::Allow => return None,
            Action::Drop => return Some(Outcome::Dropped(by_acl(Rcode::NOERROR, 0))),
            Action::Block => (Rcode::REFUSED, BLOCKED),
            Action::Filter => (Rcode::NOERROR, FILTERED),
        };
        let opt = |out: &mut Vec<u8>| edns::write_extended_error(out, query.edns.as_ref(), block.terms(), reason);
        let flags = Message::reply(out, &query, usize::MAX).finish(rcode, Some(opt));
        Some(Outcome::Answered(by_acl(rcode, flags)))
    }
}

impl Local {
    /// Whether a name is of this host alone.
    fn has(self, name: &Folded) -> bool {
        self.is_below_localhost(name) || LOCAL_ZONES.iter().any(|zone| name.within(zone).is_some())
    }

    /// Whether a name is not `localhost` and yet means it.
    pub fn is_below_localhost(self, name: &Folded) -> bool {
        let wire = name.as_wire();
        let is_prefixed = self.prefix && wire.starts_with(&LOCALHOST[..LOCALHOST.len() - 1]);
        wire != LOCALHOST && (is_prefixed || name.within(LOCALHOST).is_some())
    }

    /// Answers a name of this host alone; `None` for all others.
    fn answer(self, received: &Received<'_, '_>, message: &mut Message<'_>) -> Option<Rcode> {
        let (name, qtype) = (received.name, received.question.qtype);
        let wire = name.as_wire();
        if self.is_below_localhost(name) {
            return Some(host(qtype, message));
        }
        let (zone, zone_at) = LOCAL_ZONES.iter().find_map(|zone| Some((*zone, name.within(zone)?)))?;
        let owner = Owner::At(u16::try_from(HEADER_OCTETS + zone_at).unwrap_or_default());
        Some(match qtype {
            _ if wire == LOCALHOST_ADDRESS => {
                if qtype == rtype::PTR {
                    record(message, Section::Answer, Owner::QUESTION, rtype::PTR, LOCALHOST);
                } else {
                    soa(message, Section::Authority, owner);
                }
                Rcode::NOERROR
            }
            _ if zone_at != 0 => {
                soa(message, Section::Authority, owner);
                Rcode::NXDOMAIN
            }
            rtype::SOA => {
                soa(message, Section::Answer, owner);
                Rcode::NOERROR
            }
            rtype::NS => {
                record(message, Section::Answer, owner, rtype::NS, LOCALHOST);
                Rcode::NOERROR
            }
            _ if zone == LOCALHOST => host(qtype, message),
            _ => {
                soa(message, Section::Authority, owner);
                Rcode::NOERROR
            }
        })
    }
}

/// The addresses of this host.
fn host(qtype: u16, message: &mut Message<'_>) -> Rcode {
    match qtype {
        rtype::A => record(message, Section::Answer, Owner::QUESTION, rtype::A, &[127, 0, 0, 1]),
        rtype::AAAA => {
            record(message, Section::Answer, Owner::QUESTION, rtype::AAAA, &std::net::Ipv6Addr::LOCALHOST.octets());
        }
        _ => soa(message, Section::Authority, Owner::QUESTION),
    }
    Rcode::NOERROR
}

fn record(message: &mut Message<'_>, section: Section, owner: Owner<'_>, rtype: u16, rdata: &[u8]) {
    message.record(section, owner, rtype, LOCAL_TTL_SECS, |message| message.octets(rdata));
}

fn soa(message: &mut Message<'_>, section: Section, owner: Owner<'_>) {
    message.record(section, owner, rtype::SOA, LOCAL_TTL_SECS, |message| {
        message.octets(LOCALHOST);
        message.octets(b"\x04root");
        message.octets(LOCALHOST);
        // Serial, refresh, retry, expire, and the TTL of denials.
        for time in [1, 0, 0, 0, LOCAL_TTL_SECS] {
            message.octets(&time.to_be_bytes());
        }
    });
}

impl Chaos {
    fn answer(&self, received: &Received<'_, '_>, message: &mut Message<'_>) -> Option<Rcode> {
        let mut txt = |text: &str| {
            message.record(Section::Answer, Owner::QUESTION, rtype::TXT, 0, |message| {
                message.octets(&[u8::try_from(text.len()).unwrap_or_default()]);
                message.octets(text.as_bytes());
            });
        };
        match received.name.as_wire() {
            b"\x07authors\x04bind\0" => self.authors.iter().for_each(|author| txt(author)),
            b"\x07version\x04bind\0" | b"\x07version\x06server\0" => txt(&self.version),
            b"\x08hostname\x04bind\0" | b"\x02id\x06server\0" => txt(&self.host),
            _ => return None,
        }
        Some(Rcode::NOERROR)
    }
}
