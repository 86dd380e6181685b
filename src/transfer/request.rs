//! Who may have a transfer, and of what.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::counters::{Counters, Outcome};
use super::message::{Head, Zone};
use super::stream::Stream;
use super::versions::{Since, Versions};
use crate::answer::edns::{Terms, reply_limit};
use crate::answer::query::{Parsed, Query, bits, ixfr_serial, parse, rtype};
use crate::answer::{Asked, Rcode, Transport};
use crate::zone::{Contents, Name, View, ZoneFilter};

/// Who may have transfers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Everybody: `to *`.
    All,
    /// These.
    These(Vec<IpAddr>),
}

impl Allowed {
    fn has(&self, client: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::These(addresses) => addresses.contains(&client.to_canonical()),
        }
    }
}

/// What one `transfer` directive says.
#[derive(Clone, Debug)]
pub struct Stanza {
    /// The zones that it is about.
    pub zones: Vec<Name>,
    /// Who may have them.
    pub allowed: Allowed,
}

/// A server block whose zones are transferred.
#[derive(Clone, Debug)]
pub struct Served {
    /// The block's view.
    pub view: Arc<View>,
    /// Its versions.
    pub versions: Arc<Versions>,
    /// The block's directives.
    pub stanzas: Vec<Stanza>,
    /// What is counted.
    pub counters: Arc<Counters>,
}

impl Served {
    /// The directive that is about a name: that of the longest zone that the name is in (plugin/transfer/transfer.go,
    /// func longestMatch).
    pub fn stanza(&self, name: &Name) -> Option<usize> {
        let within = |stanza: &Stanza| {
            let zones = stanza.zones.iter().filter(|zone| name.is_within(zone));
            zones.map(|zone| zone.as_wire().len()).max()
        };
        let matches = self.stanzas.iter().enumerate().filter_map(|(index, stanza)| Some((within(stanza)?, index)));
        // Of equal ones the first.
        matches.max_by_key(|(octets, index)| (*octets, std::cmp::Reverse(*index))).map(|(_, index)| index)
    }

    /// A zone of the view as its records are written.
    pub(super) fn zone(&self, name: &Name) -> Zone {
        let options = self.view.options();
        let filter = ZoneFilter::new(options, name);
        let (ttl_secs, primary) = (options.ttl_secs, options.primary.clone());
        let (soa_ttl_secs, soa_minimum_secs) = (options.soa_ttl_secs(), options.soa_minimum_secs());
        Zone { filter, primary, ttl_secs, soa_ttl_secs, soa_minimum_secs }
    }
}

/// The transfers of a listener: of each of a block's views, by [`Block::id`](crate::answer::Block::id).
#[derive(Clone, Debug, Default)]
pub struct Transfers(pub HashMap<usize, Vec<Served>>);

/// What becomes of a question for a transfer.
#[derive(Debug)]
pub enum Begun {
    /// One message says it all.
    Answered {
        /// Its code.
        rcode: Rcode,
        /// Its header bits.
        flags: u16,
    },
    /// A stream of messages.
    Stream(Box<Stream>),
}

impl Transfers {
    /// Begins a transfer. Where one message says it all, that is made in `out`.
    pub fn begin(&self, asked: &mut Asked, client: IpAddr, transport: Transport, out: &mut Vec<u8>, now: u64) -> Begun {
        match self.stream(asked, client, transport, out, now) {
            Ok(Some(stream)) => Begun::Stream(stream),
            Ok(None) => Begun::Answered { rcode: Rcode::NOERROR, flags: flags_of(out) },
            Err(rcode) => self.refuse(asked, rcode, out, now),
        }
    }

    /// Says no.
    fn refuse(&self, asked: &mut Asked, rcode: Rcode, out: &mut Vec<u8>, now: u64) -> Begun {
        if let Some(served) = self.0.get(&asked.block).and_then(|views| views.first()) {
            let outcome = if rcode == Rcode::SERVFAIL { Outcome::Failed } else { Outcome::Refused };
            served.counters.count(outcome);
        }
        out.clear();
        if let Parsed::Query(query) = parse(&asked.packet) {
            Head::of(&query).write_refusal(rcode, &opt_of(&query, asked.bufsize), out);
            if let Some(signer) = &mut asked.signer {
                signer.sign(out, now);
            }
        }
        Begun::Answered { rcode, flags: flags_of(out) }
    }

    /// The stream, if the answer is one; otherwise it is in `out`.
    fn stream(
        &self,
        asked: &mut Asked,
        client: IpAddr,
        transport: Transport,
        out: &mut Vec<u8>,
        now: u64,
    ) -> Result<Option<Box<Stream>>, Rcode> {
        let Parsed::Query(query) = parse(&asked.packet) else { return Err(Rcode::FORMERR) };
        let question = query.question.ok_or(Rcode::FORMERR)?;
        let views = self.0.get(&asked.block).ok_or(Rcode::REFUSED)?;
        let name = Name::of_wire(question.name).ok_or(Rcode::FORMERR)?;
        let holds = |served: &&Served| served.view.options().zones.contains(&name);
        let served = views.iter().find(holds).or_else(|| views.first()).ok_or(Rcode::REFUSED)?;
        let stanza = served.stanza(&name).and_then(|index| served.stanzas.get(index)).ok_or(Rcode::REFUSED)?;
        if !stanza.allowed.has(client) {
            return Err(Rcode::REFUSED);
        }
        if !served.view.options().zones.contains(&name) {
            return Err(Rcode::NOTAUTH);
        }
        let serial = match question.qtype {
            rtype::IXFR => Some(ixfr_serial(&asked.packet).ok_or(Rcode::FORMERR)?),
            _ => None,
        };
        // Until everything was listed there is no version that could be told.
        let (content, since) = served.versions.since(serial).ok_or(Rcode::SERVFAIL)?;
        let (head, zone, last) = (Head::of(&query), served.zone(&name), content.serial());
        let opt = opt_of(&query, asked.bufsize);
        let counters = &served.counters;
        let soa = |signer| Stream::soa(head.clone(), zone.clone(), last).with(signer, opt.clone(), counters);
        let whole = |signer, since| {
            let (head, zone) = (head.clone(), zone.clone());
            let stream = match since {
                Since::Changes(changes) => Stream::incremental(head, zone, last, changes),
                _ => {
                    let filter = zone.filter.clone();
                    Stream::full(head, zone, last, Contents::new(Arc::clone(&served.view), content, filter))
                }
            };
            stream.with(signer, opt.clone(), counters)
        };
        let limit = reply_limit(transport, query.edns.as_ref(), asked.bufsize);
        if matches!(since, Since::Nothing) {
            let mut stream = soa(asked.signer.take().map(|signer| *signer));
            stream.next_within(limit, out, now);
            served.counters.ended(&stream.summary());
            return Ok(None);
        }
        let signer = asked.signer.take().map(|signer| *signer);
        if transport == Transport::Tcp {
            return Ok(Some(Box::new(whole(signer, since))));
        }
        // What does not fit into a datagram is told by the SOA: the client comes over TCP (RFC 1995 section 2).
        let mut stream = whole(signer.clone(), since);
        stream.next_within(limit, out, now);
        if !stream.is_done() {
            stream = soa(signer);
            stream.next_within(limit, out, now);
        }
        served.counters.ended(&stream.summary());
        Ok(None)
    }
}

impl Head {
    fn of(query: &Query<'_>) -> Self {
        let question = query.question.map(|question| question.raw.to_vec()).unwrap_or_default();
        Self { id: query.id, flags: query.flags & (bits::OPCODE | bits::RD | bits::CD), question }
    }
}

fn flags_of(message: &[u8]) -> u16 {
    message.get(2..4).map_or(0, |flags| u16::from_be_bytes([flags[0], flags[1]]))
}

/// The OPT record of an answer; empty where the client speaks no EDNS.
fn opt_of(query: &Query<'_>, bufsize: Option<u16>) -> Vec<u8> {
    let mut opt = Vec::new();
    if let Some(edns) = &query.edns {
        edns.write_reply(&mut opt, Terms::unnamed(bufsize));
    }
    opt
}
