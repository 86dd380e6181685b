//! EDNS(0) (RFC 6891), answered as CoreDNS answers it (request/request.go).

use super::client::Transport;
use super::query::rtype;
use super::rcode::Rcode;
use crate::zone::faults::{Fault, planted};

/// The most octets that a UDP datagram holds over IPv4 (RFC 768 and RFC 791: 65,535 less the headers), whatever a client
/// offers. A longer one cannot be sent at all.
const DATAGRAM_OCTETS_MAX: u16 = 65_507;
/// The smallest payload size that counts (RFC 6891 section 6.2.3), which is also the limit without EDNS.
pub(super) const PAYLOAD_OCTETS_MIN: u16 = 512;
/// Octets of an OPT record without its options: root name, type, class, TTL, length.
const OPT_HEAD_OCTETS: usize = 11;
/// Octets of an option's code and length.
const OPTION_HEAD_OCTETS: usize = 4;
/// The `DO` bit of an OPT record's flags (RFC 3225).
const DO: u32 = 0x8000;

/// NSID (RFC 5001).
const NSID: u16 = 3;
/// Options that are given back as they came: NSID, EXPIRE, COOKIE, TCP KEEPALIVE, PADDING. CoreDNS does so
/// (request/edns0.go), and dig shows a cookie so echoed; all others are left out.
const ECHOED: [u16; 5] = [NSID, 9, 10, 11, 12];
/// EDNS Client Subnet (RFC 7871).
const SUBNET: u16 = 8;
/// Extended DNS Errors (RFC 8914).
const EXTENDED_ERROR: u16 = 15;
/// The payload size of an answer with an extended error to a client without EDNS.
const UNASKED_PAYLOAD_OCTETS: u16 = 4096;

/// What a server block has to say in the OPT records of its answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms<'b> {
    /// `bufsize`: the largest payload size to honour, in octets.
    pub bufsize: Option<u16>,
    /// `nsid`: what the server is called, for clients that ask.
    pub nsid: Option<&'b [u8]>,
}

impl Terms<'_> {
    /// The same without a name: where no plugin answers, CoreDNS's `nsid` has no part in it.
    pub fn unnamed(bufsize: Option<u16>) -> Self {
        Self { bufsize, nsid: None }
    }
}

/// A query's OPT record.
#[derive(Clone, Copy, Debug)]
pub struct Edns<'a> {
    /// The payload size that the client takes over UDP, in octets, as sent.
    pub payload_octets: u16,
    /// The version.
    pub version: u8,
    /// Whether the client wants DNSSEC records; there are none, but the bit is given back.
    pub dnssec_ok: bool,
    options: &'a [u8],
    /// Where its class stands in the query.
    class_at: usize,
}

impl<'a> Edns<'a> {
    /// Reads an OPT record's class, TTL and data; `None` if the options are malformed.
    pub fn parse(class: u16, ttl: u32, options: &'a [u8], class_at: usize) -> Option<Self> {
        let [_, version, ..] = ttl.to_be_bytes();
        let edns = Self { payload_octets: class, version, dnssec_ok: ttl & DO != 0, options, class_at };
        edns.split().all(|option| option.is_some()).then_some(edns)
    }

    /// The largest reply over UDP, in octets, with `bufsize` in force.
    pub fn limit(&self, bufsize: Option<u16>) -> usize {
        if planted(Fault::PayloadSizeIgnored) {
            return PAYLOAD_OCTETS_MIN.into();
        }
        usize::from(self.offered(bufsize).clamp(PAYLOAD_OCTETS_MIN, DATAGRAM_OCTETS_MAX))
    }

    /// The payload size that the reply names: the client's own, or `bufsize` where that is less.
    fn offered(&self, bufsize: Option<u16>) -> u16 {
        self.payload_octets.min(bufsize.unwrap_or(u16::MAX))
    }

    /// Octets of the reply's OPT record.
    pub fn reply_octets(&self, terms: Terms<'_>) -> usize {
        let options = match self.wanted_name(terms) {
            Some(name) => OPTION_HEAD_OCTETS + name.len(),
            None => self.echoed().map(<[u8]>::len).sum::<usize>(),
        };
        OPT_HEAD_OCTETS + options
    }

    /// Writes the reply's OPT record. Where the server's name is wanted, it stands alone and with `DO`, as in CoreDNS
    /// (plugin/nsid/nsid.go).
    pub fn write_reply(&self, out: &mut Vec<u8>, terms: Terms<'_>) {
        let name = self.wanted_name(terms);
        let copied = self.dnssec_ok && !planted(Fault::DoNotCopied);
        let flags = if copied || name.is_some() { DO } else { 0 };
        write_opt(out, self.offered(terms.bufsize), flags, self.reply_octets(terms) - OPT_HEAD_OCTETS);
        match name {
            Some(name) => write_option(out, NSID, name),
            None => self.echoed().for_each(|option| out.extend_from_slice(option)),
        }
    }

    /// The server's name, if it has one and the client asks for it.
    pub(super) fn wanted_name<'b>(&self, terms: Terms<'b>) -> Option<&'b [u8]> {
        terms.nsid.filter(|_| self.split().flatten().any(|(code, _)| code == NSID))
    }

    /// Whether it says for which subnet it asks (RFC 7871).
    pub(super) fn has_subnet(&self) -> bool {
        self.split().flatten().any(|(code, _)| code == SUBNET)
    }

    /// Lowers the payload size in a copy of the query to `bufsize`.
    pub(super) fn limit_in(&self, query: &mut [u8], bufsize: u16) {
        if let Some(class) = query.get_mut(self.class_at..self.class_at + 2) {
            class.copy_from_slice(&self.offered(Some(bufsize)).to_be_bytes());
        }
    }

    /// Writes an OPT record into a query that is made for this one's sake. Options stay at home.
    pub(super) fn write_query(&self, out: &mut Vec<u8>) {
        write_opt(out, self.payload_octets, if self.dnssec_ok { DO } else { 0 }, 0);
    }

    /// Makes the OPT record of another server's response, which begins at `at` and has this TTL, ours: the payload size
    /// and `DO` are the client's; extended code and options stay.
    pub(super) fn rewrite_reply(&self, response: &mut [u8], at: usize, ttl: u32, bufsize: Option<u16>) {
        let flags = if self.dnssec_ok { DO } else { 0 };
        let ttl = ttl & 0xff00_0000 | flags;
        // Root name, type: three octets.
        if let Some(class) = response.get_mut(at + 3..at + 5) {
            class.copy_from_slice(&self.offered(bufsize).to_be_bytes());
        }
        if let Some(place) = response.get_mut(at + 5..at + 9) {
            place.copy_from_slice(&ttl.to_be_bytes());
        }
    }

    fn echoed(&self) -> impl Iterator<Item = &'a [u8]> {
        self.split().flatten().filter(|(code, _)| ECHOED.contains(code)).map(|(_, octets)| octets)
    }

    fn split(&self) -> impl Iterator<Item = Option<(u16, &'a [u8])>> + use<'a> {
        split(self.options)
    }
}

/// Code and whole octets of each option; a `None` where they are malformed.
fn split(mut rest: &[u8]) -> impl Iterator<Item = Option<(u16, &[u8])>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let option = rest.first_chunk::<OPTION_HEAD_OCTETS>().and_then(|head| {
            let octets = OPTION_HEAD_OCTETS + usize::from(u16::from_be_bytes([head[2], head[3]]));
            Some((u16::from_be_bytes([head[0], head[1]]), rest.get(..octets)?))
        });
        rest = option.map_or(&[], |(_, octets)| rest.get(octets.len()..).unwrap_or(&[]));
        Some(option)
    })
}

/// The most octets that a reply may have.
pub fn reply_limit(transport: Transport, edns: Option<&Edns<'_>>, bufsize: Option<u16>) -> usize {
    match (transport, edns) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, Some(edns)) => edns.limit(bufsize),
        (Transport::Udp, None) => usize::from(PAYLOAD_OCTETS_MIN),
    }
}

/// Writes the OPT record that says which version is spoken here. CoreDNS gives it no payload size
/// (plugin/pkg/edns/edns.go, func Version).
pub(super) fn write_badvers(out: &mut Vec<u8>) {
    write_opt(out, 0, u32::from(Rcode::BADVERS.0 >> 4) << 24, 0);
}

/// Writes the OPT record of an answer that says why it is no other: with `DO`, and also for clients without EDNS, as
/// CoreDNS does (plugin/acl/acl.go).
pub(super) fn write_extended_error(out: &mut Vec<u8>, edns: Option<&Edns<'_>>, terms: Terms<'_>, code: u16) {
    let name = edns.and_then(|edns| edns.wanted_name(terms));
    let payload = edns.map_or(UNASKED_PAYLOAD_OCTETS, |edns| edns.offered(terms.bufsize));
    let octets = OPTION_HEAD_OCTETS + 2 + name.map_or(0, |name| OPTION_HEAD_OCTETS + name.len());
    write_opt(out, payload, DO, octets);
    write_option(out, EXTENDED_ERROR, &code.to_be_bytes());
    name.into_iter().for_each(|name| write_option(out, NSID, name));
}

/// Puts the server's name into the options of another server's OPT record, in the place of that one's.
pub(super) fn with_name(options: &[u8], name: &[u8]) -> Vec<u8> {
    let mut named = Vec::with_capacity(options.len() + OPTION_HEAD_OCTETS + name.len());
    for (_, option) in split(options).flatten().filter(|(code, _)| *code != NSID) {
        named.extend_from_slice(option);
    }
    write_option(&mut named, NSID, name);
    named
}

fn write_option(out: &mut Vec<u8>, code: u16, data: &[u8]) {
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(data);
}

pub(super) fn write_opt(out: &mut Vec<u8>, payload_octets: u16, ttl: u32, options_octets: usize) {
    out.push(0);
    out.extend_from_slice(&rtype::OPT.to_be_bytes());
    out.extend_from_slice(&payload_octets.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&u16::try_from(options_octets).unwrap_or_default().to_be_bytes());
}
